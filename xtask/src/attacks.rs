//! `cargo xtask attacks`: what becomes of packages that are attacked, ours and the reference's, in one table.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use crate::install::{FLAVORPACK, Tools};
use crate::project::{self, cargo, output, root};

/// The page with the table, and what it lies between.
const PAGE: &str = "docs/trust.md";
const BEGIN: &str = "<!-- attacks: written by `cargo xtask attacks --write` -->\n";
const END: &str = "<!-- end of attacks -->\n";
/// How many cells the tests write for each maker, behind the attack's number and name.
const CELLS: usize = 3;

pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut write = false;
    for arg in args {
        match arg.as_str() {
            "--write" => write = true,
            other => bail!("attacks does not know {other:?}; it takes --write"),
        }
    }
    let results = project::target().join("attacks");
    let _ = fs::remove_dir_all(&results);
    fs::create_dir_all(&results).with_context(|| format!("{} cannot be made", results.display()))?;
    // Nothing may be skipped: half a table would prove nothing.
    let mut tests = cargo(&["test", "--locked", "--package", "packer", "--test", "attacks"]);
    // One after the other: some count memory or keep both cores busy, and must not meet.
    tests.args(["--", "--test-threads=1"]);
    tests.env("PSPF_ATTACKS_RESULTS", &results);
    project::run(Tools::find().tell(&mut tests, true, false))?;
    let table = table(&results)?;
    print!("{table}");
    if write {
        replace(&root().join(PAGE), &table)?;
    }
    Ok(())
}

fn table(results: &Path) -> Result<String> {
    let (ours, reference) = (lines(results, "ours")?, lines(results, "reference")?);
    let attacks = |lines: &[Vec<String>]| lines.iter().map(|line| line[..2].to_vec()).collect::<Vec<_>>();
    ensure!(!ours.is_empty() && attacks(&ours) == attacks(&reference), "an attack was not tried on both");
    let version = FLAVORPACK.replace("==", " ");
    let mut text = format!(
        "| # | attack | starts itself | `packer run` | `packer verify` | {version}: Rust launcher | Go launcher | `flavor verify` |\n\
         |---:|---|---|---|---|---|---|---|\n"
    );
    for (ours, reference) in ours.iter().zip(&reference) {
        let cells = [&ours[..], &reference[2..]].concat();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    let date = output("date", &["+%Y-%m-%d"]).unwrap_or_default();
    let _ = writeln!(text, "\nMade by `cargo xtask attacks --write`, {date}.");
    Ok(text)
}

/// What the tests have written about one maker, in the order of the attacks.
fn lines(results: &Path, maker: &str) -> Result<Vec<Vec<String>>> {
    let mut files = Vec::new();
    for file in fs::read_dir(results).context("no results")? {
        let path = file?.path();
        if path.to_string_lossy().ends_with(&format!("-{maker}")) {
            files.push(path);
        }
    }
    files.sort();
    let mut lines = Vec::new();
    for file in files {
        let line: Vec<String> = fs::read_to_string(&file)?.split('\t').map(str::to_owned).collect();
        ensure!(line.len() == 2 + CELLS, "{} has {} cells", file.display(), line.len());
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
