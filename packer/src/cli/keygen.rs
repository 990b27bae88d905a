//! `packer keygen`

use std::path::PathBuf;

use packer::Result;
use packer::keys;
use packer::passphrase::{Asked, Passphrase};

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
    /// Encrypt the private key; the passphrase is PSPF_KEY_PASSPHRASE, or in PSPF_KEY_PASSPHRASE_FILE, or typed
    #[arg(long)]
    passphrase: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let passphrase = args.passphrase.then(|| Passphrase::find(Asked::Twice)).transpose()?;
    let id = keys::generate(&args.out_dir, passphrase.as_ref())?;
    let private = args.out_dir.join(keys::PRIVATE);
    let public = args.out_dir.join(keys::PUBLIC);
    let how =
        if args.passphrase { "encrypted; keep the passphrase, nobody can get it back" } else { "keep it to yourself" };
    print(&format!("made key {id}\n  private  {} ({how})\n  public   {}", private.display(), public.display()));
    Ok(())
}
