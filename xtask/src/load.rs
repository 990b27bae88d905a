//! `cargo xtask load`: many starts at once.

use std::process::Command;

use anyhow::{Result, bail};

use crate::project::{self, cargo};

pub(crate) fn run(args: &[String]) -> Result<()> {
    for arg in args {
        if !["--write", "--quick"].contains(&arg.as_str()) {
            bail!("load does not know {arg:?}; it takes --write and --quick");
        }
    }
    // Both in one directory: the bench starts the packer that lies beside it.
    project::run(&mut cargo(&["build", "--locked", "--release", "--package", "packer", "--package", "benches"]))?;
    project::run(Command::new(project::target().join("release/bench")).arg("--load").args(args))
}
