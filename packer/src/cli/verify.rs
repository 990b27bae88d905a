//! `packer verify`

use std::path::PathBuf;

use packer::Result;
use packer::inspect::{self, Verification};
use packer::package_file::{self, PackageFile};
use packer::trust::{Decision, Subject, Trust, plain};
use serde::Serialize;

use super::{origin, print, print_json};

/// Check every byte of a package against its signature, and its key against those that are known
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: packer verify dist/hello-cli-1.0.0.psp")]
pub(super) struct Args {
    /// The package
    file: PathBuf,
    /// Read the files inside the slots, too: that they unpack to what was signed. Every byte is checked in any case
    #[arg(long)]
    deep: bool,
    /// Print a report for programs
    #[arg(long)]
    json: bool,
}

/// What `packer verify` prints. The JSON of this is a stable interface.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    verification: Verification,
    /// The application, when the signature holds and the package names one.
    app_id: Option<String>,
    /// Its release; 0 when it has no counter.
    release: Option<u64>,
    /// What becomes of its key; null when a check failed.
    trust: Option<Decision>,
    /// How many files, links and empty directories were read inside the slots; null without `--deep`.
    files: Option<u64>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let file = PackageFile::open(&args.file)?;
    let (report, verification) = inspect::verify(&file, &mut |_| {});
    let public_key = file.package().index().public_key();
    let subject = report.metadata.as_ref().map(|metadata| Subject::new(&args.file, metadata, public_key));
    let trust = match &subject {
        Some(subject) if verification.valid => Some(Trust::of_this_machine()?.decide(subject)),
        _ => None,
    };
    let (app_id, release) = subject.map_or((None, None), |subject| (subject.app_id, Some(subject.release)));
    let files = match args.deep && verification.valid {
        true => Some(inspect::read_files(&file)?),
        false => None,
    };
    let report_of = Report { verification, app_id, release, trust, files };
    if args.json {
        print_json(&report_of)?;
    }
    if let Some(error) = report.failure() {
        return Err(package_file::not_intact(error, &args.file));
    }
    if !args.json {
        print(&describe(&report_of));
    }
    match report_of.trust.and_then(|decision| decision.refusal(&args.file)) {
        Some(refusal) => Err(refusal),
        None => Ok(()),
    }
}

fn describe(report: &Report) -> String {
    let verification = &report.verification;
    let covered = match verification.grade {
        "sealed" => "intact: the signature answers for every byte",
        _ => "intact as far as its signature goes",
    };
    let mut lines = vec![format!("{}: {covered}", verification.file.display())];
    if let (Some(name), Some(version)) = (&verification.name, &verification.version) {
        lines.push(format!("  package  {} {}", plain(name), plain(version)));
    }
    if let Some(app_id) = &report.app_id {
        let release = report.release.filter(|release| *release != 0);
        let release = release.map_or(String::new(), |release| format!(", release {release}"));
        lines.push(format!("  app      {}{release}", plain(app_id)));
    }
    lines.push(format!("  grade    {}", verification.grade));
    if let Some(key) = &verification.key_id {
        lines.push(format!("  key      {key}{}", origin(verification.key_origin)));
    }
    if let Some(trust) = &report.trust {
        lines.push(format!("  trust    {}", trust.reason));
    }
    let checks: Vec<&str> = verification.checks.iter().map(|check| check.name.as_str()).collect();
    lines.push(format!("  checked  {}", checks.join(", ")));
    if let Some(files) = report.files {
        lines.push(format!("  deep     {files} files inside the slots unpack to what was signed"));
        lines.push("           (packer verify reads every byte without --deep, too)".to_owned());
    }
    if !verification.not_covered.is_empty() {
        lines.push(format!("  not covered  {}", verification.not_covered.join(", ")));
    }
    lines.join("\n")
}
