//! `packer inspect`

use std::path::PathBuf;

use packer::Result;
use packer::inspect::{self, Inspection};
use packer::package_file::PackageFile;

use super::{origin, print, print_json, size};

/// Show what is in a package, without running or extracting anything
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: packer inspect dist/hello-cli-1.0.0.psp")]
pub(super) struct Args {
    /// The package
    file: PathBuf,
    /// Print a report for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let inspection = inspect::inspect(&PackageFile::open(&args.file)?)?;
    if args.json {
        return print_json(&inspection);
    }
    print(&describe(&inspection));
    Ok(())
}

fn describe(package: &Inspection) -> String {
    let mut lines = vec![format!("{} {} ({})", package.name, package.version, size(package.size))];
    if let Some(problem) = &package.problem {
        lines.push(format!("  NOT TO BE TRUSTED: {}", problem.replace('\n', "\n  ")));
    }
    lines.push(format!("  grade     {}", package.grade));
    lines.push(format!("  key       {}{}", package.key_id, origin(package.key_origin)));
    lines.push(format!("  command   {}", package.command));
    for (name, target) in &package.entry_points {
        lines.push(format!("  offers    {name} ({target})"));
    }
    lines.push(format!("  launcher  {}, metadata {}", size(package.launcher_size), size(package.metadata_size)));
    lines.push(format!("  slots     {}", package.slots.len()));
    let width = package.slots.iter().map(|slot| slot.id.len()).max().unwrap_or(0);
    for slot in &package.slots {
        let original = slot.original_size.map_or(String::new(), |original| format!(" of {}", size(original)));
        let files = slot.files.map_or(String::new(), |files| format!(", {files} files"));
        lines.push(format!(
            "    {:>3}  {:width$}  {}  {}, {}  {:>10}{original}{files} -> {}",
            slot.index,
            slot.id,
            slot.operations,
            slot.purpose,
            slot.lifecycle,
            size(slot.size),
            slot.target,
        ));
    }
    lines.join("\n")
}
