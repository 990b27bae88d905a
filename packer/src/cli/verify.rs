//! `packer verify`

use std::path::PathBuf;

use packer::Result;
use packer::inspect::{self, Verification};
use packer::package_file::{self, PackageFile};

use super::{print, print_json};

/// Check every byte of a package against its signature
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: packer verify dist/hello-cli-1.0.0.psp")]
pub(super) struct Args {
    /// The package
    file: PathBuf,
    /// Print a report for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let file = PackageFile::open(&args.file)?;
    let (report, verification) = inspect::verify(&file, &mut |_| {});
    if args.json {
        print_json(&verification)?;
    }
    if let Some(error) = report.failure() {
        return Err(package_file::not_intact(error, &args.file));
    }
    if !args.json {
        print(&describe(&verification));
    }
    Ok(())
}

fn describe(verification: &Verification) -> String {
    let covered = match verification.grade {
        "sealed" => "intact: the signature answers for every byte",
        _ => "intact as far as its signature goes",
    };
    let mut lines = vec![format!("{}: {covered}", verification.file.display())];
    if let (Some(name), Some(version)) = (&verification.name, &verification.version) {
        lines.push(format!("  package  {name} {version}"));
    }
    lines.push(format!("  grade    {}", verification.grade));
    if let Some(key) = &verification.key_id {
        let origin = verification.key_origin.map_or(String::new(), |origin| format!(" ({origin})"));
        lines.push(format!("  key      {key}{origin}"));
    }
    let checks: Vec<&str> = verification.checks.iter().map(|check| check.name.as_str()).collect();
    lines.push(format!("  checked  {}", checks.join(", ")));
    if !verification.not_covered.is_empty() {
        lines.push(format!("  not covered  {}", verification.not_covered.join(", ")));
    }
    lines.join("\n")
}
