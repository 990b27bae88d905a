//! `cargo xtask faults` and `cargo xtask soak`: what ordinary test runs take a sample of, whole, and its report.

use anyhow::Result;

use crate::options::{self, Takes};
use crate::project::{self, cargo, root};

/// How many cycles a soak has unless the command says otherwise.
const CYCLES: u64 = 100_000;

pub(crate) fn run(args: &[String]) -> Result<()> {
    let write = options::write("faults", args)?;
    test("faults", &[("PSPF_TEST_FULL", "1")], write)
}

pub(crate) fn soak(args: &[String]) -> Result<()> {
    let (mut write, mut cycles) = (false, CYCLES);
    let options = &mut [("--cycles", Takes::Number(&mut cycles)), ("--write", Takes::Nothing(&mut write))];
    options::read("soak", args, options)?;
    test("soak", &[("PSPF_TEST_CYCLES", &cycles.to_string())], write)
}

/// A file of packer's tests, in view of the user.
fn test(name: &str, variables: &[(&str, &str)], write: bool) -> Result<()> {
    let mut test = cargo(&["test", "--locked", "--package", "packer", "--test", name, "--", "--nocapture"]);
    test.env("PSPF_TEST_NO_SKIP", "1").envs(variables.iter().copied());
    if write {
        test.env("PSPF_TEST_REPORT", root().join("benches/RESULTS-faults.md"));
    }
    project::run(&mut test)
}
