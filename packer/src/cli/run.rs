//! `packer run`

use std::ffi::OsString;
use std::path::PathBuf;

use packer::Result;
use packer::progress::Progress;

use super::SlotLimit;

/// Check a whole package, then run it
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: packer run dist/hello-cli-1.0.0.psp --exit 3")]
pub(super) struct Args {
    #[command(flatten)]
    limit: SlotLimit,
    /// The package
    file: PathBuf,
    /// Arguments for the app, as they are
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    args: Vec<OsString>,
}

pub(super) fn run(args: Args) -> Result<()> {
    let file = args.limit.open(&args.file)?;
    Err(packer::run::run(&file, args.args, &Notes))
}

/// Notes alone: the app's own output follows.
struct Notes;

impl Progress for Notes {
    fn note(&self, line: &str) {
        eprintln!("note: {line}");
    }
}
