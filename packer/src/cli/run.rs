//! `packer run`

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use packer::Result;
use packer::progress::Progress;

use super::SlotLimit;

/// Check a whole package, then run it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A package with several commands starts the one that --entry names, else the one that PSPF_ENTRY names, else the one that \
FILE is called like, else its own. packer inspect FILE lists them.

Examples: packer run dist/hello-cli-1.0.0.psp --exit 3
          packer run --entry myapp-admin myapp-1.0.0.psp --help")]
pub(super) struct Args {
    #[command(flatten)]
    limit: SlotLimit,
    /// Start the package's command of this name; stands before FILE
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    entry: Option<String>,
    /// The package
    file: PathBuf,
    /// Arguments for the app, as they are
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    args: Vec<OsString>,
}

pub(super) fn run(args: Args) -> Result<()> {
    let file = args.limit.open(&args.file)?;
    Err(packer::run::run(&file, args.entry.as_deref(), args.args, &Notes))
}

/// Notes alone: the app's own output follows.
struct Notes;

impl Progress for Notes {
    fn note(&self, line: &str) {
        eprintln!("note: {line}");
    }
}
