//! `packer doctor`

use packer::doctor::{self, Finding, Verdict};
use packer::progress::Silent;
use packer::{Error, Kind, Result};

use super::{print, print_json};

/// Look at what this machine has for packing and running packages, and say what to do about the rest
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every line is ok, a note (worth knowing, everything works) or a problem (something will fail), with the next step. \
Nothing is installed or changed. With a problem the exit code is 109.

Example: packer doctor")]
pub(super) struct Args {
    /// Print a report for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let findings = doctor::examine(&Silent);
    if args.json {
        print_json(&findings)?;
    } else {
        print(&findings.iter().map(line).collect::<Vec<_>>().join("\n"));
    }
    match findings.iter().filter(|finding| finding.verdict == Verdict::Problem).count() {
        0 => Ok(()),
        count => Err(Error::new(Kind::Configuration, "something here will fail")
            .found(format!("{count} problem{}", if count == 1 { "" } else { "s" }))
            .hint("do what stands behind each of them")),
    }
}

fn line(finding: &Finding) -> String {
    let verdict = match finding.verdict {
        Verdict::Ok => "ok",
        Verdict::Note => "note",
        Verdict::Problem => "problem",
    };
    let hint = finding.hint.as_ref().map_or(String::new(), |hint| format!("\n{:20}try: {hint}", ""));
    format!("{verdict:7}  {:9}  {}{hint}", finding.about, finding.found)
}
