//! `cargo xtask attacks`: what becomes of packages that are attacked, ours and the reference's, in one table.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::install::{FLAVORPACK, Tools};
use crate::options;
use crate::project::{self, cargo, root};
use crate::results::{self, Results};

/// The page with the table, and what it lies between.
const PAGE: &str = "docs/trust.md";
const BEGIN: &str = "<!-- attacks: written by `cargo xtask attacks --write` -->\n";
const END: &str = "<!-- end of attacks -->\n";
/// How many cells the tests write behind the attack's number and name, for packages of packer's and of the reference.
const OURS: usize = 4;
const REFERENCE: usize = 3;

pub(crate) fn run(args: &[String]) -> Result<()> {
    let write = options::write("attacks", args)?;
    let results = Results::new("attacks")?;
    // Nothing may be skipped: half a table would prove nothing.
    let mut tests = cargo(&["test", "--locked", "--package", "packer", "--test", "attacks"]);
    // One after the other: some count memory or keep both cores busy, and must not meet.
    tests.args(["--", "--test-threads=1"]);
    project::run(Tools::find().tell(results.tell(&mut tests), true, false))?;
    let table = table(&results)?;
    print!("{table}");
    if write {
        replace(&root().join(PAGE), &table)?;
    }
    Ok(())
}

fn table(results: &Results) -> Result<String> {
    let sections = results.sections()?;
    let (ours, reference) = (lines(&sections, "ours", OURS)?, lines(&sections, "reference", REFERENCE)?);
    let attacks = |lines: &[Vec<String>]| lines.iter().map(|line| line[..2].to_vec()).collect::<Vec<_>>();
    ensure!(!ours.is_empty() && attacks(&ours) == attacks(&reference), "an attack was not tried on both");
    let version = FLAVORPACK.replace("==", " ");
    let mut text = format!(
        "| # | attack | starts itself | the same under a policy | `packer run` | `packer verify` | {version}: Rust launcher | Go launcher | `flavor verify` |\n\
         |---:|---|---|---|---|---|---|---|---|\n"
    );
    for (ours, reference) in ours.iter().zip(&reference) {
        let cells = [&ours[..], &reference[2..]].concat();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    let _ = writeln!(text, "\nMade by `cargo xtask attacks --write`, {}.", results::today());
    Ok(text)
}

/// What the tests have written about one maker, in the order of the attacks.
fn lines(sections: &[(String, String)], maker: &str, cells: usize) -> Result<Vec<Vec<String>>> {
    let ending = format!("-{maker}");
    let mut lines = Vec::new();
    for (file, text) in sections.iter().filter(|(file, _)| file.ends_with(&ending)) {
        let line: Vec<String> = text.split('\t').map(str::to_owned).collect();
        ensure!(line.len() == 2 + cells, "{file} has {} cells", line.len());
        lines.push(line);
    }
    Ok(lines)
}

/// Puts the table into the page.
fn replace(page: &Path, table: &str) -> Result<()> {
    let text = fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    let (before, rest) = text.split_once(BEGIN).with_context(|| format!("{PAGE} has no line {BEGIN:?}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("{PAGE} has no line {END:?}"))?;
    let text = [before, BEGIN, "\n", table, "\n", END, after].concat();
    fs::write(page, text).with_context(|| format!("cannot write {}", page.display()))
}
