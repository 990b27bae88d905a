//! `packer clean`

use packer::Result;
use packer::clean::{self, BuildCache};
use packer::workenvs::{Collected, Store, Which};
use serde::Serialize;

use super::{print, print_json, size, workenv};

/// Remove the build cache, and everything that packages have extracted and do not use now
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Packing and first starts take longer afterwards; nothing else is lost that they cannot make again, but what apps have \
written into their own workenvs. packer workenv gc removes only what was not used for a while.

Example: packer clean --dry-run")]
pub(super) struct Args {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Print a report for programs
    #[arg(long)]
    json: bool,
}

/// What `packer clean` prints. The JSON of this is a stable interface.
#[derive(Serialize)]
struct Report<'a> {
    build_cache: &'a BuildCache,
    workenvs: &'a Collected,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let cache = clean::build_cache(args.dry_run)?;
    let collected = Store::open()?.collect(&Which::All, args.dry_run)?;
    if args.json {
        print_json(&Report { build_cache: &cache, workenvs: &collected })?;
    } else {
        let verb = if args.dry_run { "would remove" } else { "removed" };
        let BuildCache { path, bytes, files } = &cache;
        print(&format!("{verb} the build cache {}: {files} files, {}", path.display(), size(*bytes)));
        print(&workenv::told(&collected));
    }
    workenv::deleted(&collected)
}
