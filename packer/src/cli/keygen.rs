//! `packer keygen`

use std::path::PathBuf;

use packer::Result;
use packer::keys;

use super::print;

/// Make a pair of signing keys
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: packer keygen --out-dir keys/\n         packer pack --private-key keys/flavor-private.key"
)]
pub(super) struct Args {
    /// The directory to write flavor-private.key and flavor-public.key to
    #[arg(long, value_name = "DIR", default_value = "keys")]
    out_dir: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let id = keys::generate(&args.out_dir)?;
    let private = args.out_dir.join(keys::PRIVATE);
    let public = args.out_dir.join(keys::PUBLIC);
    print(&format!(
        "made key {id}\n  private  {} (keep it to yourself)\n  public   {}",
        private.display(),
        public.display()
    ));
    Ok(())
}
