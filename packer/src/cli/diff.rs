//! `packer diff`

use std::path::PathBuf;

use packer::Result;
use packer::diff::{self, Change, Difference, FileChange, MetadataChange};
use packer::package_file::PackageFile;
use pspf_core::error::printable;

use super::{print, print_json, size};

/// Show what is different between two packages: metadata, slots, and the files inside of those
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: packer diff myapp-1.0.0.psp myapp-1.1.0.psp")]
pub(super) struct Args {
    /// The package before
    #[arg(value_name = "A")]
    before: PathBuf,
    /// The package after
    #[arg(value_name = "B")]
    after: PathBuf,
    /// Print a report for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let difference = diff::diff(&PackageFile::open(&args.before)?, &PackageFile::open(&args.after)?)?;
    if args.json {
        return print_json(&difference);
    }
    print(&describe(&difference));
    Ok(())
}

fn describe(difference: &Difference) -> String {
    if difference.same {
        return "the same: metadata, launcher, slots and files".to_owned();
    }
    let sizes = change_of_size(Some(difference.size_before), Some(difference.size_after));
    let mut lines = vec![format!("different: {sizes}")];
    lines.extend(difference.metadata.iter().map(|change| format!("  {}", field(change))));
    if !difference.same_launcher {
        lines.push("  ~ launcher".to_owned());
    }
    for slot in &difference.slots {
        let sizes = change_of_size(slot.size_before, slot.size_after);
        lines.push(format!("  {} slot {}  {sizes}", mark(slot.change), printable(&slot.id)));
        lines.extend(slot.fields.iter().map(|change| format!("      {}", field(change))));
        for FileChange { path, change, size_before, size_after } in &slot.files {
            let sizes = change_of_size(*size_before, *size_after);
            lines.push(format!("      {} {}  {sizes}", mark(*change), printable(path)));
        }
    }
    lines.join("\n")
}

fn field(change: &MetadataChange) -> String {
    let MetadataChange { field, before, after } = change;
    match (before, after) {
        (None, Some(after)) => format!("+ {field}: {after}"),
        (Some(before), None) => format!("- {field}: {before}"),
        (before, after) => {
            format!("~ {field}: {} -> {}", before.as_deref().unwrap_or(""), after.as_deref().unwrap_or(""))
        }
    }
}

fn mark(change: Change) -> char {
    match change {
        Change::Added => '+',
        Change::Removed => '-',
        Change::Changed => '~',
    }
}

fn change_of_size(before: Option<u64>, after: Option<u64>) -> String {
    match (before, after) {
        (Some(before), Some(after)) if before == after => format!("{} as before", size(before)),
        (Some(before), Some(after)) => format!("{} -> {}", size(before), size(after)),
        (Some(bytes), None) | (None, Some(bytes)) => size(bytes),
        (None, None) => String::new(),
    }
}
