//! The command line: what was typed becomes calls of the library, one file per command.

mod extract;
mod inspect;
mod keygen;
mod pack;
mod progress;
mod run;
mod verify;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use packer::{Kind, Result};

/// Turns an application into one signed native executable.
#[derive(Debug, Parser)]
#[command(name = "packer", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Pack a project into one signed file that runs anywhere
    Pack(pack::Args),
    /// Check every byte of a package against its signature
    Verify(verify::Args),
    /// Show what is in a package, without running or extracting anything
    Inspect(inspect::Args),
    /// Extract one slot of a package
    Extract(extract::Args),
    /// Extract all slots of a package
    ExtractAll(extract::AllArgs),
    /// Make a pair of signing keys
    Keygen(keygen::Args),
    /// Check a whole package, then run it
    Run(run::Args),
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
    match dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Pack(args) => pack::run(args),
        Command::Verify(args) => verify::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Extract(args) => extract::run(&args),
        Command::ExtractAll(args) => extract::run_all(&args),
        Command::Keygen(args) => keygen::run(&args),
        Command::Run(args) => run::run(args),
    }
}

/// Prints a report for programs.
fn print_json(report: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(report).map_err(|error| {
        packer::Error::new(Kind::Io, "the report cannot be written as JSON").found(error.to_string())
    })?;
    print(&text);
    Ok(())
}

/// Prints a line. A reader that has seen enough (`| head`) is no error.
fn print(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A size as people read it.
fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
