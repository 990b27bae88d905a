//! `cargo xtask load`: many starts at once.

use std::process::Command;

use anyhow::Result;

use crate::options::{self, Takes};
use crate::project::{self, cargo};

pub(crate) fn run(args: &[String]) -> Result<()> {
    let (mut write, mut quick) = (false, false);
    let options = &mut [("--write", Takes::Nothing(&mut write)), ("--quick", Takes::Nothing(&mut quick))];
    options::read("load", args, options)?;
    // Both in one directory: the bench starts the packer that lies beside it.
    project::run(&mut cargo(&["build", "--locked", "--release", "--package", "packer", "--package", "benches"]))?;
    let mut bench = Command::new(project::target().join("release/bench"));
    bench.arg("--load");
    for (wanted, option) in [(write, "--write"), (quick, "--quick")] {
        if wanted {
            bench.arg(option);
        }
    }
    project::run(&mut bench)
}
