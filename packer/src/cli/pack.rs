//! `packer pack`

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use packer::guess;
use packer::keys::Choice;
use packer::launchers;
use packer::pack::{Check, Options, Packed};
use packer::platform::Platform;
use packer::preview::{Preview, PreviewSlot as Slot};
use packer::slots::{Compression, Defaults, Symbols};
use packer::{Error, Kind, Result};

use super::progress::Shown;
use super::verbosity::Verbosity;
use super::{init, print, print_json, size};

/// Pack a project into one signed file that runs anywhere
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: packer pack --manifest pyproject.toml --output dist/")]
pub(super) struct Args {
    /// The project's directory, or its manifest: the same as --manifest [default: the current directory]
    #[arg(value_name = "DIR|FILE", conflicts_with = "manifest")]
    project: Option<PathBuf>,
    /// The manifest: a pyproject.toml, or app.toml or app.json for a program that is not Python; or its directory
    #[arg(long, value_name = "FILE|DIR")]
    manifest: Option<PathBuf>,
    /// The package to write, or the directory to write it to [default: ./NAME-VERSION.psp]
    #[arg(long, value_name = "FILE|DIR")]
    output: Option<PathBuf>,
    /// The Python to pack: an installation's prefix, its executable, or a python-build-standalone archive
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Install this extra of the project (project.optional-dependencies) as well; may be given several times
    #[arg(long = "extra", value_name = "NAME")]
    extras: Vec<String>,
    /// Install exactly what uv.lock or pylock.toml says, and refuse one that does not fit the manifest
    #[arg(long)]
    frozen: bool,
    /// What the package runs on [default: this machine's platform]
    #[arg(long, value_name = "PLATFORM", value_parser = PossibleValuesParser::new(Platform::TARGETS))]
    platform: Option<String>,
    /// The launcher in front of it: rust, go, or a name that packer launchers list shows [default: packer's own]
    #[arg(long, value_name = "NAME", conflicts_with = "launcher_bin")]
    launcher: Option<String>,
    /// The same, as a file
    #[arg(long, value_name = "FILE")]
    launcher_bin: Option<PathBuf>,
    /// How slots are compressed that name nothing else in the manifest [default: gzip]
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(Compression::NAMES))]
    compression: Option<String>,
    /// How hard they are compressed: 1 to 9, with zstd to 19 [default: the compression's own]
    #[arg(long, value_name = "N", value_parser = level)]
    level: Option<u64>,
    /// How many threads compress [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = jobs)]
    jobs: Option<NonZeroUsize>,
    /// Leave out what only debuggers read in programs and libraries (ELF files)
    #[arg(long)]
    strip: bool,
    /// The private key that signs (PKCS#8 PEM) [default: one that packer makes and keeps for you]
    #[arg(long, value_name = "FILE", conflicts_with = "key_seed")]
    private_key: Option<PathBuf>,
    /// The public key that belongs to it, to be sure
    #[arg(long, value_name = "FILE", requires = "private_key")]
    public_key: Option<PathBuf>,
    /// Derive the key from a text: reproducible, but whoever knows the text can sign
    #[arg(long, value_name = "TEXT")]
    key_seed: Option<String>,
    /// Do not read the package again to verify it: faster, for those who verify it themselves
    #[arg(long)]
    no_verify: bool,
    /// Only say what would be done: nothing is installed, built or written
    #[arg(long, conflicts_with = "run")]
    dry_run: bool,
    /// Run the package afterwards, with the arguments that follow --
    #[arg(long)]
    run: bool,
    /// Print a report for programs
    #[arg(long)]
    json: bool,
    /// Arguments for the app
    #[arg(last = true, requires = "run", value_name = "ARGS")]
    args: Vec<OsString>,
}

fn level(text: &str) -> std::result::Result<u64, &'static str> {
    text.parse().map_err(|_| "a level is a number from 1 to 9, for zstd to 19")
}

fn jobs(text: &str) -> std::result::Result<NonZeroUsize, &'static str> {
    text.parse().map_err(|_| "a number of threads, 1 or more")
}

pub(super) fn run(args: Args, verbosity: &Verbosity) -> Result<()> {
    let quiet = verbosity.is_quiet();
    let manifest = args.manifest.or(args.project).unwrap_or_else(|| PathBuf::from("."));
    if manifest.is_dir()
        && !guess::has_manifest(&manifest)
        && let Some(proposal) = init::propose(&manifest)?
    {
        return Err(proposal);
    }
    let options = Options {
        manifest,
        output: args.output,
        python: args.python,
        extras: args.extras,
        frozen: args.frozen,
        launcher: match (args.launcher, args.launcher_bin) {
            (_, Some(file)) => launchers::Choice::File(file),
            (Some(name), None) => launchers::Choice::Named(name),
            (None, None) => launchers::Choice::Automatic,
        },
        platform: args.platform.as_deref().and_then(Platform::from_name),
        key: key(args.private_key, args.public_key, args.key_seed),
        defaults: Defaults {
            compression: args.compression.as_deref().and_then(Compression::from_name),
            level: args.level,
        },
        symbols: if args.strip { Symbols::Strip } else { Symbols::Keep },
        jobs: args.jobs,
        check: if args.no_verify { Check::Skip } else { Check::Verify },
    };
    let progress = Shown::new(verbosity.level()?);
    if args.dry_run {
        let preview = packer::preview::preview(&options, &progress)?;
        drop(progress);
        if args.json {
            return print_json(&preview);
        }
        print(&describe_preview(&preview));
        return Ok(());
    }
    let packed = packer::pack::pack(&options, &progress)?;
    drop(progress);
    if args.json {
        print_json(&packed)?;
    } else if !quiet && args.run {
        // Standard output belongs to the app.
        eprintln!("{}\n", describe(&packed));
    } else if !quiet {
        print(&describe(&packed));
    }
    if !args.run {
        return Ok(());
    }
    let path = std::path::absolute(&packed.path).unwrap_or(packed.path);
    let error = std::process::Command::new(&path).args(args.args).exec();
    Err(Error::new(Kind::Execution, "the package was written, but it cannot be started here")
        .file(&path)
        .found(error.to_string())
        .hint("check that the directory's file system allows programs to run (noexec)"))
}

/// The flags, else the seed in the environment, else the user's own key.
fn key(private: Option<PathBuf>, public: Option<PathBuf>, seed: Option<String>) -> Choice {
    if let Some(private) = private {
        return Choice::Files { private, public };
    }
    let from_env = |name| std::env::var(name).ok().filter(|seed: &String| !seed.is_empty());
    match seed.or_else(|| from_env("PSPF_SEED")).or_else(|| from_env("FLAVOR_SEED")) {
        Some(seed) => Choice::Seed(seed),
        None => Choice::Automatic,
    }
}

/// What a person wants to know.
fn describe(packed: &Packed) -> String {
    let Packed { path, name, version, .. } = packed;
    let mut lines = vec![format!("packed {name} {version} as {} ({})", path.display(), size(packed.size))];
    let width = packed.slots.iter().map(|slot| slot.id.len()).max().unwrap_or(0).max("launcher".len());
    lines.push(format!("  {:width$}  {:>10}", "launcher", size(packed.launcher_size)));
    for slot in &packed.slots {
        lines.push(format!(
            "  {:width$}  {:>10}  of {:>10}, {} files",
            slot.id,
            size(slot.size),
            size(slot.original_size),
            slot.files
        ));
    }
    let origin = match packed.key_origin {
        "auto" => "packer's own for you",
        "seed" => "from a seed: anybody may know it",
        _ => "yours",
    };
    lines.push(format!("  key     {} ({origin})", packed.key_id));
    let glibc = packed.glibc.as_ref().map_or(String::new(), |glibc| format!(" with glibc {glibc} or newer"));
    lines.push(format!("  needs   {}{glibc}", machine(&packed.platform)));
    if !packed.verified {
        lines.push("  check   none (--no-verify): packer verify does it".to_owned());
    }
    if let Some(sbom) = &packed.sbom {
        lines.push(format!("  SBOM    {} {}, {} components", sbom.format, sbom.version, sbom.components));
    }
    lines.extend(packed.python.as_ref().map(|python| format!("  python  {python}")));
    if packed.commands.len() > 1 {
        lines.push(format!("  offers  {} (packer link makes them callable)", packed.commands.join(", ")));
    }
    let direct = path.components().count() == 1;
    lines.push(format!("  run     {}{}", if direct { "./" } else { "" }, path.display()));
    lines.join("\n")
}

/// The same of a package that would be made.
fn describe_preview(preview: &Preview) -> String {
    let Preview { path, name, slots, .. } = preview;
    let version = preview.version.as_deref().unwrap_or("(the build backend decides the version)");
    let mut lines = vec![format!("would pack {name} {version} as {}", path.display())];
    lines.extend(preview.steps.iter().map(|step| format!("  first     {step}")));
    lines.extend(preview.afterwards.iter().map(|step| format!("  then      run {step}")));
    lines.push(format!("  command   {}", preview.command));
    lines.extend(preview.entry_points.iter().map(|entry| format!("  offers    {} ({})", entry.name, entry.starts)));
    lines.push(format!("  launcher  {}, {}", preview.launcher, size(preview.launcher_size)));
    lines.push(format!("  key       {}", preview.key));
    lines.push(format!("  needs     {}", machine(&preview.platform)));
    lines.push(format!("  slots     {}", slots.len()));
    let width = slots.iter().map(|slot| slot.id.len()).max().unwrap_or(0);
    for slot in slots {
        let level = slot.level.map_or(String::new(), |level| format!(" level {level}"));
        let from = match (slot.original_size, slot.files) {
            (Some(bytes), Some(files)) => format!("{}, {files} files of {}", size(bytes), slot.source),
            _ => slot.source.clone(),
        };
        let Slot { id, operations, lifecycle, target, .. } = slot;
        lines.push(format!("    {id:width$}  {operations}{level}  {lifecycle}  {from} -> {target}"));
    }
    lines.push("  layout".to_owned());
    let width = preview.layout.iter().map(|part| part.part.len()).max().unwrap_or(0);
    for part in &preview.layout {
        let bytes = part.size.map_or("known once it is packed".to_owned(), |bytes| format!("{bytes} bytes"));
        let offset = part.offset.map_or(String::new(), |offset| format!(" from byte {offset}"));
        lines.push(format!("    {:width$}  {bytes}{offset}", part.part));
    }
    lines.push("nothing was written".to_owned());
    lines.join("\n")
}

/// "linux_amd64" as a person says it.
fn machine(platform: &str) -> String {
    let (os, arch) = platform.split_once('_').unwrap_or((platform, ""));
    let os = match os {
        "linux" => "Linux",
        "darwin" => "macOS",
        "windows" => "Windows",
        other => other,
    };
    match arch {
        "" => os.to_owned(),
        "amd64" => format!("{os} on x86_64"),
        other => format!("{os} on {other}"),
    }
}
