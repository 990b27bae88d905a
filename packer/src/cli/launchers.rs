//! `packer launchers`

use std::path::PathBuf;

use packer::launchers::{self, Dialect, Naming, Registered, Registry};
use packer::platform::Platform;
use packer::{Error, Kind, Result};
use serde::Serialize;

use super::{print, print_json, size};

/// See which launchers packages can get, and add others
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A launcher is the program at the front of a package. packer carries its own for Linux on x86-64; for other platforms, \
add those of another maker. FlavorPack's wheels carry one in Rust and one in Go. Example:

  pip download flavorpack --no-deps --only-binary=:all: --platform win_amd64
  packer launchers add flavorpack-*-win_amd64.whl
  packer pack --platform windows_amd64 --launcher go")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The launchers that packages can get
    #[command(after_help = "Example: packer launchers list")]
    List {
        /// Print a report for programs
        #[arg(long)]
        json: bool,
    },
    /// Add a launcher, or those in a wheel
    #[command(after_help = "Example: packer launchers add flavorpack-0.5.4-py3-none-win_amd64.whl")]
    Add(Add),
    /// What is known of a launcher
    #[command(after_help = "Example: packer launchers info go-0.5.4-windows_amd64")]
    Info {
        /// Its name, as packer launchers list shows it
        name: String,
        /// Print a report for programs
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Add {
    /// A launcher (an ELF, Mach-O or PE executable), or a wheel (.whl) that carries some
    file: PathBuf,
    /// What to call it: the name for --launcher [default: from the file's name]
    #[arg(long, value_name = "NAME")]
    kind: Option<String>,
    /// Its version [default: from the file's name, else from its content]
    #[arg(long, value_name = "TEXT")]
    version: Option<String>,
}

/// A launcher as `packer launchers list` shows it. The JSON of this is a stable interface.
#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    kind: String,
    version: String,
    platform: String,
    size: u64,
    /// Whose rules its packages keep to: packer or flavorpack.
    reads: &'static str,
    /// SHA-256 of the file; only in `info`.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// The file; null for those that packer carries.
    path: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let registry = Registry::of_this_user()?;
    match &args.command {
        Command::List { json } => list(&registry, *json),
        Command::Add(add) => {
            let naming = Naming { kind: add.kind.clone(), version: add.version.clone() };
            for added in registry.add(&add.file, &naming)? {
                let Registered { name, size: bytes, .. } = added;
                print(&format!("added {name} ({})", size(bytes)));
            }
            Ok(())
        }
        Command::Info { name, json } => info(&registry, name, *json),
    }
}

fn list(registry: &Registry, json: bool) -> Result<()> {
    let mut all = carried();
    for launcher in registry.list()? {
        all.push(shown(registry, launcher, false)?);
    }
    if json {
        return print_json(&all);
    }
    let width = all.iter().map(|launcher| launcher.name.len()).max().unwrap_or(0);
    let line = |launcher: &Shown| {
        let Shown { name, platform, size: bytes, .. } = launcher;
        let whose = if launcher.path.is_some() { "added" } else { "packer's own" };
        let limits = if launcher.reads == FLAVORPACK { ", reads what FlavorPack writes" } else { "" };
        format!("{name:width$}  {platform:13}  {:>10}  {whose}{limits}", size(*bytes))
    };
    print(&all.iter().map(line).collect::<Vec<_>>().join("\n"));
    Ok(())
}

fn info(registry: &Registry, name: &str, json: bool) -> Result<()> {
    let own = carried().into_iter().find(|launcher| launcher.name == name);
    let found = match (own, registry.find(name, None)?) {
        (Some(own), _) => own,
        (None, Some(added)) => shown(registry, added, true)?,
        (None, None) => {
            let names = carried().into_iter().map(|launcher| launcher.name);
            let names: Vec<String> = names.chain(registry.list()?.into_iter().map(|added| added.name)).collect();
            return Err(Error::new(Kind::Arguments, "there is no launcher of this name")
                .expected(names.join(", "))
                .found(name)
                .hint("packer launchers add FILE adds one"));
        }
    };
    if json {
        return print_json(&found);
    }
    let Shown { name, kind, version, platform, size: bytes, reads, .. } = &found;
    let reads = match *reads {
        FLAVORPACK => "gzip alone, no symbolic links; every archive goes to the workenv's root, and packer sees to it",
        _ => "everything that packer writes",
    };
    let mut lines = vec![
        name.clone(),
        format!("  kind      {kind}"),
        format!("  version   {version}"),
        format!("  platform  {platform}"),
        format!("  size      {}", size(*bytes)),
        format!("  reads     {reads}"),
    ];
    lines.extend(found.sha256.iter().map(|digest| format!("  sha256    {digest}")));
    lines.extend(found.path.iter().map(|path| format!("  file      {}", path.display())));
    print(&lines.join("\n"));
    Ok(())
}

fn carried() -> Vec<Shown> {
    let platform = launchers::built_in().and_then(Platform::of_program);
    let platform = platform.map_or(String::new(), |platform| platform.to_string());
    let shown = |(name, bytes): (&str, u64)| Shown {
        name: name.to_owned(),
        kind: "rust".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        platform: platform.clone(),
        size: bytes,
        reads: PACKER,
        sha256: None,
        path: None,
    };
    launchers::carried().into_iter().map(shown).collect()
}

fn shown(registry: &Registry, launcher: Registered, digest: bool) -> Result<Shown> {
    let program = registry.read(&launcher)?;
    let reads = match Dialect::of(&program) {
        Dialect::Packer => PACKER,
        Dialect::FlavorPack => FLAVORPACK,
    };
    let sha256 = digest.then(|| pspf_core::Digest::of(&program).to_string());
    let Registered { name, kind, version, platform, size, path } = launcher;
    Ok(Shown { name, kind, version, platform: platform.to_string(), size, reads, sha256, path: Some(path) })
}

/// What packer writes.
const PACKER: &str = "packer";
/// What FlavorPack's launchers read.
const FLAVORPACK: &str = "flavorpack";
