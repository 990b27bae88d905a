//! `packer pack`

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

use packer::keys::Choice;
use packer::pack::{Options, Packed};
use packer::{Error, Kind, Result};

use super::progress::Shown;
use super::{print, print_json, size};

/// Pack a project into one signed file that runs anywhere
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: packer pack --manifest pyproject.toml --output dist/")]
pub(super) struct Args {
    /// The manifest: a pyproject.toml, or app.toml or app.json for a program that is not Python; or its directory
    #[arg(long, value_name = "FILE|DIR", default_value = ".")]
    manifest: PathBuf,
    /// The package to write, or the directory to write it to [default: ./NAME-VERSION.psp]
    #[arg(long, value_name = "FILE|DIR")]
    output: Option<PathBuf>,
    /// The Python to pack: an installation's prefix, its executable, or a python-build-standalone archive
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// A launcher to use in place of the built-in one
    #[arg(long, value_name = "FILE")]
    launcher_bin: Option<PathBuf>,
    /// The private key that signs (PKCS#8 PEM) [default: one that packer makes and keeps for you]
    #[arg(long, value_name = "FILE", conflicts_with = "key_seed")]
    private_key: Option<PathBuf>,
    /// The public key that belongs to it, to be sure
    #[arg(long, value_name = "FILE", requires = "private_key")]
    public_key: Option<PathBuf>,
    /// Derive the key from a text: reproducible, but whoever knows the text can sign
    #[arg(long, value_name = "TEXT")]
    key_seed: Option<String>,
    /// Run the package afterwards, with the arguments that follow --
    #[arg(long)]
    run: bool,
    /// Print a report for programs
    #[arg(long)]
    json: bool,
    /// Print nothing but errors
    #[arg(long)]
    quiet: bool,
    /// Arguments for the app
    #[arg(last = true, requires = "run", value_name = "ARGS")]
    args: Vec<OsString>,
}

pub(super) fn run(args: Args) -> Result<()> {
    let options = Options {
        manifest: args.manifest,
        output: args.output,
        python: args.python,
        launcher: args.launcher_bin,
        key: key(args.private_key, args.public_key, args.key_seed),
    };
    let progress = Shown::new(args.quiet);
    let packed = packer::pack::pack(&options, &progress)?;
    drop(progress);
    if args.json {
        print_json(&packed)?;
    } else if !args.quiet && args.run {
        // Standard output belongs to the app.
        eprintln!("{}\n", describe(&packed));
    } else if !args.quiet {
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
    lines.extend(packed.python.as_ref().map(|python| format!("  python  {python}")));
    let direct = path.components().count() == 1;
    lines.push(format!("  run     {}{}", if direct { "./" } else { "" }, path.display()));
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
