//! The command line: what was typed becomes calls of the library, one file per command.

mod clean;
mod diff;
mod doctor;
mod documents;
mod extract;
mod init;
mod inspect;
mod keygen;
mod launchers;
mod link;
mod pack;
mod policy;
mod progress;
mod run;
mod schema;
mod trust;
mod verbosity;
mod verify;
mod workenv;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use packer::package_file::PackageFile;
use packer::{Kind, Result};

/// Turns an application into one signed native executable.
#[derive(Debug, Parser)]
#[command(name = "packer", version, arg_required_else_help = true)]
#[command(after_help = "\
Example, in a project with a pyproject.toml:
  packer pack --run

packer COMMAND --help says more about each, with an example.")]
struct Cli {
    #[command(flatten)]
    verbosity: verbosity::Verbosity,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a manifest for a folder that has none, from what is in it
    Init(init::Args),
    /// Pack a project into one signed file that runs anywhere
    Pack(Box<pack::Args>),
    /// Check every byte of a package against its signature
    Verify(verify::Args),
    /// Show what is in a package, without running or extracting anything
    Inspect(inspect::Args),
    /// Extract one slot of a package
    Extract(extract::Args),
    /// Extract all slots of a package
    ExtractAll(extract::AllArgs),
    /// Show what is different between two packages
    Diff(diff::Args),
    /// Make a pair of signing keys
    Keygen(keygen::Args),
    /// See which launchers packages can get, and add others
    Launchers(launchers::Args),
    /// Check a whole package, then run it
    Run(run::Args),
    /// Make a package's commands callable by their names
    Link(link::Args),
    /// Say whose packages you trust, and see what is known
    Trust(trust::Args),
    /// What this machine demands of packages
    Policy(policy::Args),
    /// See what packages have extracted on this machine, and clean it up
    Workenv(workenv::Args),
    /// Remove the build cache, and what packages have extracted and do not use now
    Clean(clean::Args),
    /// Look at what this machine has for packing and running packages
    Doctor(doctor::Args),
    /// Print what makes a shell complete packer's commands and options
    Completions(documents::CompletionArgs),
    /// Print the JSON Schema of a manifest, for editors
    Schema(schema::Args),
    /// Write manual pages, one for each command
    Man(documents::ManArgs),
}

/// How much comes out of a slot of another builder's package.
#[derive(Debug, clap::Args)]
struct SlotLimit {
    /// What a slot may inflate to in packages that do not say how much it is: bytes, or a number with K, M or G
    #[arg(long, value_name = "SIZE", default_value = "8G", value_parser = bytes)]
    max_slot_size: u64,
}

impl SlotLimit {
    fn open(&self, file: &Path) -> Result<PackageFile> {
        Ok(PackageFile::open(file)?.with_slot_limit(self.max_slot_size))
    }
}

/// Reads a size as it is typed; K, M and G are powers of 1024.
fn bytes(text: &str) -> std::result::Result<u64, &'static str> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: Option<u64> = digits.parse().ok();
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or("a size is a number of bytes, like 500000, 64K or 2G")
}

/// Runs what was typed, and says how it ended.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to do about a terminal that cannot be written to.
            let _ = error.print();
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return ExitCode::from(if asked { 0 } else { Kind::Arguments as u8 });
        }
    };
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Red at a terminal, unless NO_COLOR or CLICOLOR say otherwise; CLICOLOR_FORCE makes it so anywhere. Where it
            // cannot be told the code has to say it.
            let _ = writeln!(io::stderr(), "{} {error}", console::style("error:").red().bold().for_stderr());
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(cli: Cli) -> Result<()> {
    let Cli { verbosity, command } = cli;
    match command {
        Command::Init(args) => init::run(&args),
        Command::Pack(args) => pack::run(*args, &verbosity),
        Command::Verify(args) => verify::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Extract(args) => extract::run(&args),
        Command::ExtractAll(args) => extract::run_all(&args),
        Command::Keygen(args) => keygen::run(&args),
        Command::Launchers(args) => launchers::run(&args),
        Command::Run(args) => run::run(args),
        Command::Link(args) => link::run(&args),
        Command::Trust(args) => trust::run(&args),
        Command::Policy(args) => policy::run(&args),
        Command::Workenv(args) => workenv::run(&args, &verbosity),
        Command::Clean(args) => clean::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => {
            documents::completions(&args);
            Ok(())
        }
        Command::Schema(args) => {
            schema::run(&args);
            Ok(())
        }
        Command::Man(args) => documents::man(&args),
    }
}

/// Prints a report for programs, which must not take a part of it for all. A reader that has seen enough is no error.
fn print_json(report: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(report).map_err(|error| {
        packer::Error::new(Kind::Io, "the report cannot be written as JSON").found(error.to_string())
    })?;
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(packer::Error::io("the report cannot be written", "standard output", &error))
        }
        _ => Ok(()),
    }
}

/// Prints a line. A reader that has seen enough (`| head`) is no error.
fn print(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// A size as people read it.
fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// Who could sign with a key, by what its signer says of it; with a blank in front.
fn origin(origin: Option<&str>) -> &'static str {
    match origin {
        Some("seed") => " (from a seed: anybody may know it)",
        Some("auto") => " (made by packer for its user)",
        Some("given") => " (its maker chose it)",
        _ => " (its maker does not say how it came to be)",
    }
}
