//! `packer completions` and `packer man`: what follows from the command line's own description.

use std::fs;
use std::path::PathBuf;

use clap::CommandFactory as _;
use clap_complete::Shell;
use packer::{Error, Result};

use super::{Cli, print};

/// Print what makes a shell complete packer's commands and options
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example, for the shell that you use:
  bash  packer completions bash > ~/.local/share/bash-completion/completions/packer
  zsh   packer completions zsh > ~/.zfunc/_packer      (with fpath+=~/.zfunc before compinit)
  fish  packer completions fish > ~/.config/fish/completions/packer.fish")]
pub(super) struct CompletionArgs {
    /// The shell
    shell: Shell,
}

/// Write manual pages, one for each command
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: packer man ~/.local/share/man/man1 && man packer-pack")]
pub(super) struct ManArgs {
    /// The directory to write them to; it is made where it is missing
    directory: PathBuf,
}

pub(super) fn completions(args: &CompletionArgs) {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "packer", &mut script);
    print(String::from_utf8_lossy(&script).trim_end());
}

pub(super) fn man(args: &ManArgs) -> Result<()> {
    let directory = &args.directory;
    fs::create_dir_all(directory).map_err(|error| Error::io("cannot create the directory", directory, &error))?;
    clap_mangen::generate_to(Cli::command(), directory)
        .map_err(|error| Error::io("cannot write the manual pages", directory, &error))
}
