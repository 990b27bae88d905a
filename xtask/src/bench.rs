//! `cargo xtask bench`: the project's numbers.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::project::{self, cargo};

pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut given = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--write" | "--quick" => given.push(arg.into()),
            "--peers" => given.extend([arg.into(), project::peers().join("flavorpack")]),
            "--python" => given.extend([PathBuf::from(arg), rest.next().context("--python needs a path")?.into()]),
            other => bail!("bench does not know {other:?}; it takes --write, --quick, --peers and --python FILE"),
        }
    }
    // Both in one directory: the bench starts the packer that lies beside it.
    project::run(&mut cargo(&["build", "--locked", "--release", "--package", "packer", "--package", "benches"]))?;
    project::run(Command::new(project::target().join("release/bench")).args(given))
}
