//! `cargo xtask fuzz`: the fuzz targets, by libFuzzer where it is there, else by an engine for stable Rust.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};

use crate::project::{self, cargo, output};

/// What each target gets, in minutes, unless the command says otherwise.
const MINUTES: u64 = 1;

pub(crate) fn run(args: &[String]) -> Result<()> {
    let (mut minutes, mut stable, mut targets) = (MINUTES, false, Vec::new());
    let known = targets_there()?;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seed-corpus" => return project::run(&mut stable_cargo(&["--bin", "seeds"])),
            "--minutes" => {
                let number = args.next().context("--minutes needs a number")?;
                minutes = number.parse().with_context(|| format!("--minutes needs a number, not {number:?}"))?;
            }
            "--stable" => stable = true,
            name if known.iter().any(|target| target == name) => targets.push(name.to_owned()),
            other => bail!(
                "fuzz does not know {other:?}; it takes --minutes N, --stable, --seed-corpus and these targets: {}",
                known.join(", ")
            ),
        }
    }
    if targets.is_empty() {
        targets = known;
    }
    let reason = if stable { Some("--stable was asked for".to_owned()) } else { lacks_libfuzzer() };
    match reason {
        None => {
            println!("engine: libFuzzer, guided by coverage, with AddressSanitizer (nightly, cargo-fuzz)");
            libfuzzer(&targets, minutes)
        }
        Some(reason) => {
            println!("engine: the one for stable Rust, changes at random without coverage ({reason})");
            stable_engine(&targets, minutes)
        }
    }
}

/// Every target, by the names of their programs.
fn targets_there() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for file in fs::read_dir(directory().join("fuzz_targets")).context("fuzz/fuzz_targets cannot be read")? {
        names.extend(file?.path().file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// What is missing of it; nothing when it can be used.
fn lacks_libfuzzer() -> Option<String> {
    if output("rustup", &["run", "nightly", "rustc", "--version"]).is_none() {
        return Some("no nightly toolchain: rustup toolchain install nightly".to_owned());
    }
    let cargo_fuzz = output("rustup", &["run", "nightly", "cargo", "fuzz", "--version"]);
    cargo_fuzz.is_none().then(|| "no cargo-fuzz: cargo install --locked cargo-fuzz".to_owned())
}

fn libfuzzer(targets: &[String], minutes: u64) -> Result<()> {
    let mut failed = Vec::new();
    for target in targets {
        let corpus = directory().join("corpus").join(target);
        fs::create_dir_all(&corpus).with_context(|| format!("{} cannot be made", corpus.display()))?;
        let mut command = Command::new("rustup");
        command.args(["run", "nightly", "cargo", "fuzz", "run", target]).arg(corpus);
        // What is found goes into the first directory; these stay as they are.
        let kept = ["seeds", "regressions"].map(|kind| directory().join(kind).join(target));
        command.args(kept.iter().filter(|directory| directory.exists()));
        command.args(["--", "-timeout=10", "-rss_limit_mb=1024", "-max_len=16384", "-print_final_stats=1"]);
        command.arg(format!("-max_total_time={}", minutes * 60));
        // Set by the cargo that runs this one, and meant for its toolchain.
        for name in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
            command.env_remove(name);
        }
        command.current_dir(project::root()).env("CARGO_TARGET_DIR", built());
        if project::run(&mut command).is_err() {
            failed.push(target.as_str());
        }
    }
    ensure!(failed.is_empty(), "findings, or no start: {}; findings are in fuzz/artifacts/", failed.join(", "));
    Ok(())
}

fn stable_engine(targets: &[String], minutes: u64) -> Result<()> {
    let seconds = (minutes * 60).to_string();
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()).to_string();
    let mut command = stable_cargo(&["--bin", "stable", "--", &seconds, &seed]);
    project::run(command.args(targets)).context("findings are in fuzz/artifacts/")
}

/// Cargo, running a program of the fuzz package without libFuzzer.
fn stable_cargo(args: &[&str]) -> Command {
    let mut command = cargo_fuzz(&["run", "--locked", "--release", "--no-default-features"]);
    command.args(args);
    command
}

/// Cargo in the fuzz package.
pub(crate) fn cargo_fuzz(args: &[&str]) -> Command {
    let mut command = cargo(args);
    command.current_dir(directory()).env("CARGO_TARGET_DIR", built());
    command
}

/// Where the fuzz package's programs go, apart from ours: they are built with other flags.
fn built() -> PathBuf {
    project::target().join("fuzz")
}

/// The fuzz package, a workspace of its own.
pub(crate) fn directory() -> PathBuf {
    project::root().join("fuzz")
}
