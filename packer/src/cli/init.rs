//! `packer init`, and what `packer pack` says of a folder without a manifest.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use packer::guess::{self, Proposal};
use packer::{Error, Kind, Result};

use super::print;

/// Write a manifest for a folder that has none, from what is in it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Recognised are Rust (Cargo.toml), Go (go.mod), Python (requirements.txt, setup.py, main.py, packages), Node (package.json), \
a static site (index.html), a single program, and a shell script. What was guessed is said; an existing manifest is never overwritten.

Example: packer init myproject/ && packer pack myproject/")]
pub(super) struct Args {
    /// The folder
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let folder = &args.folder;
    if guess::has_manifest(folder) {
        return Err(Error::new(Kind::Io, "there is a manifest already, and it is not overwritten")
            .file(folder)
            .hint(format!("packer pack {}", folder.display())));
    }
    let proposal = guess::guess(folder)?.ok_or_else(|| guess::unrecognised(folder))?;
    let path = folder.join(proposal.file);
    // Never over something that appeared meanwhile.
    let write = || OpenOptions::new().write(true).create_new(true).open(&path)?.write_all(proposal.text.as_bytes());
    write().map_err(|error: io::Error| Error::io("cannot write the manifest", &path, &error))?;
    print(&format!("wrote {} for {}", path.display(), proposal.what));
    print(&reasons(&proposal));
    print(&format!("  next  look at it, then: packer pack {}", folder.display()));
    Ok(())
}

/// Shows what `packer init` would write for a folder without a manifest. Gives the error to end with; `None` where nothing
/// is recognised.
pub(super) fn propose(folder: &Path) -> Result<Option<Error>> {
    let Some(proposal) = guess::guess(folder)? else { return Ok(None) };
    eprintln!("this looks like {}; a manifest for it, as {}:\n", proposal.what, proposal.file);
    for line in proposal.text.lines() {
        eprintln!("    {line}");
    }
    eprintln!("\n{}", reasons(&proposal));
    let missing = Error::new(Kind::Configuration, "there is no manifest here").file(folder);
    Ok(Some(missing.hint(format!("packer init {} writes this one", folder.display()))))
}

fn reasons(proposal: &Proposal) -> String {
    proposal.reasons.iter().map(|reason| format!("  guessed  {reason}")).collect::<Vec<_>>().join("\n")
}
