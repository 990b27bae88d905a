//! `packer link`

use std::path::PathBuf;

use packer::Result;
use packer::extract::Existing;
use packer::link::{self, Form, Linked};

use super::{SlotLimit, print, print_json};

/// Make a package's commands callable by their names
///
/// The directory gets a link to the package for each of its entry points. A package that is started by such a link starts that
/// command. Every byte of the package is checked first.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The links hold the package's path: when it moves, make them again. packer inspect FILE lists the entry points.

Example: packer link myapp-1.0.0.psp ~/.local/bin")]
pub(super) struct Args {
    #[command(flatten)]
    limit: SlotLimit,
    /// The package
    file: PathBuf,
    /// The directory for the links, best one that is on PATH; made when it is absent
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Copy the package under each name, where links cannot be
    #[arg(long)]
    copy: bool,
    /// Replace files, and links to other packages, that have these names
    #[arg(long, short)]
    force: bool,
    /// Print a report for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let file = args.limit.open(&args.file)?;
    let form = if args.copy { Form::Copy } else { Form::Link };
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    let linked = link::link(&file, &args.directory, form, existing)?;
    if args.json {
        return print_json(&linked);
    }
    print(&describe(&linked));
    Ok(())
}

fn describe(linked: &Linked) -> String {
    let Linked { package, directory, links, .. } = linked;
    let mut lines = Vec::new();
    for link in links {
        let path = link.path.display();
        lines.push(match (link.new, link.form) {
            (true, Form::Link) => format!("linked {path} -> {}", package.display()),
            (true, Form::Copy) => format!("copied {path}"),
            (false, _) => format!("kept   {path}"),
        });
    }
    if !linked.executable {
        lines.push(format!("  next  make the package a program: chmod +x {}", package.display()));
    }
    if !linked.on_path {
        lines.push(format!("  next  the directory is not on PATH: export PATH=\"{}:$PATH\"", directory.display()));
    }
    lines.join("\n")
}
