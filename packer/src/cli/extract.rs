//! `packer extract` and `packer extract-all`

use std::path::PathBuf;

use packer::Result;
use packer::extract::{self, Existing};

use super::SlotLimit;

/// Extract one slot of a package
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: packer extract dist/hello-cli-1.0.0.psp application-code code/")]
pub(super) struct Args {
    /// The package
    file: PathBuf,
    /// The slot's id or index, as packer inspect shows them
    slot: String,
    /// What to make of it: a directory for an archive, a file for anything else
    output: PathBuf,
    /// Replace what is there
    #[arg(short, long)]
    force: bool,
    /// Look into a package that is unsigned or was changed: check nothing. The slot goes by its number
    #[arg(long = "unsafe")]
    is_unsafe: bool,
    #[command(flatten)]
    limit: SlotLimit,
}

/// Extract all slots of a package
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: packer extract-all dist/hello-cli-1.0.0.psp slots/")]
pub(super) struct AllArgs {
    /// The package
    file: PathBuf,
    /// The directory to make, with a directory or file for each slot
    output: PathBuf,
    /// Replace what is there
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    limit: SlotLimit,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let (file, existing) = (args.limit.open(&args.file)?, existing(args.force));
    if !args.is_unsafe {
        return extract::slot(&file, &args.slot, &args.output, existing);
    }
    extract::unverified_slot(&file, &args.slot, &args.output, existing, args.limit.max_slot_size)?;
    eprintln!("warning: nobody vouches for {}: look at it, do not run it", args.output.display());
    Ok(())
}

pub(super) fn run_all(args: &AllArgs) -> Result<()> {
    extract::all(&args.limit.open(&args.file)?, &args.output, existing(args.force))
}

fn existing(force: bool) -> Existing {
    if force { Existing::Replace } else { Existing::Keep }
}
