//! `cargo xtask sweep`: every field of a package changed, alone and in pairs, in the library and by the finished tool.

use anyhow::Result;

use crate::options;
use crate::project::{self, cargo};
use crate::results::Results;

pub(crate) fn run(args: &[String]) -> Result<()> {
    let write = options::write("sweep", args)?;
    let results = Results::new("sweep")?;
    for package in [&["--package", "pspf-core", "--all-features"][..], &["--package", "packer"]] {
        let mut tests = cargo(&["test", "--locked"]);
        tests.args(package).args(["--test", "fields", "--", "--nocapture"]).env("PSPF_TEST_FULL", "1");
        project::run(results.tell(&mut tests))?;
    }
    results.finish("Changed packages", write)
}
