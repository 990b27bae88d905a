//! `packer inspect`

use std::path::PathBuf;

use packer::contents::{FileKind, SlotFile};
use packer::inspect::{self, Inspection};
use packer::package_file::PackageFile;
use packer::sbom::{self, Summary};
use packer::{Error, Kind, Result};
use pspf_core::error::printable;

use super::{origin, print, print_json, size};

/// Show what is in a package, without running or extracting anything
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: packer inspect dist/hello-cli-1.0.0.psp --files")]
pub(super) struct Args {
    /// The package
    file: PathBuf,
    /// Show the files inside the slots, as a tree
    #[arg(long)]
    files: bool,
    /// Print what the package is made of, and nothing else: its SBOM, CycloneDX as JSON
    #[arg(long, conflicts_with_all = ["files", "json"])]
    sbom: bool,
    /// Print a report for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let file = PackageFile::open(&args.file)?;
    if args.sbom {
        let sbom = sbom::read(&file)?.ok_or_else(|| {
            Error::new(Kind::Arguments, "this package has no SBOM")
                .file(&args.file)
                .expected("a slot of lifecycle attestation with an SBOM in it")
                .found("none")
                .hint("pack it again with packer, which writes one")
        })?;
        return print_json(&sbom);
    }
    let inspection = if args.files { inspect::inspect_with_files(&file)? } else { inspect::inspect(&file)? };
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
    for entry in &package.entry_points {
        let does = entry.calls.as_ref().unwrap_or(&entry.command);
        lines.push(format!("  offers    {} ({})", printable(&entry.name), printable(does)));
    }
    lines.push(format!("  launcher  {}, metadata {}", size(package.launcher_size), size(package.metadata_size)));
    if let Some(Summary { format, version, components }) = &package.sbom {
        let plural = if *components == 1 { "" } else { "s" };
        lines.push(format!("  SBOM      {format} {version}, {components} component{plural}"));
    }
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
        tree("         ", "", slot.entries.as_deref().unwrap_or_default(), &mut lines);
    }
    lines.join("\n")
}

/// Adds a line for each of these files, which all begin with `below`, and for the directories that they are in.
fn tree(indent: &str, below: &str, files: &[SlotFile], lines: &mut Vec<String>) {
    let mut rest = files;
    while let Some(first) = rest.first() {
        let name = first.path[below.len()..].split('/').next().unwrap_or_default();
        let path = format!("{below}{name}");
        let inside = format!("{path}/");
        let count = rest.iter().take_while(|file| file.path == path || file.path.starts_with(&inside)).count();
        let (here, after) = rest.split_at(count.max(1));
        let what = match here.iter().find(|file| file.path == path).filter(|_| here.len() == 1) {
            Some(file) => match (&file.kind, &file.target) {
                (FileKind::Directory, _) => "/".to_owned(),
                (FileKind::Symlink, Some(target)) => format!(" -> {}", printable(target)),
                (FileKind::Hardlink, Some(target)) => format!(" = {}", printable(target)),
                _ if file.mode & 0o111 != 0 => format!("*  {}", size(file.size)),
                _ => format!("  {}", size(file.size)),
            },
            None => {
                let bytes = here.iter().map(|file| file.size).sum();
                format!("/  {}", size(bytes))
            }
        };
        lines.push(format!("{indent}{}{what}", printable(name)));
        let within: Vec<SlotFile> = here.iter().filter(|file| file.path != path).cloned().collect();
        tree(&format!("{indent}  "), &inside, &within, lines);
        rest = after;
    }
}
