//! `cargo xtask test`: everything that has to hold before a change is good.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::install::{self, Tools};
use crate::options::{self, Takes};
use crate::project::{self, LAUNCHER_TARGET, cargo, cargo_example, cargo_freestanding};
use crate::steps::{Outcome, Steps};
use crate::vectors;
use crate::{fuzz, size};

const DENY_WARNINGS: [&str; 3] = ["--", "-D", "warnings"];

/// Feature sets that somebody builds: the launcher's, the packer's, and what lies between.
const FEATURE_SETS: &[(&str, &[&str])] = &[
    ("pspf-core", &["", "std", "build", "std,build", "foreign"]),
    ("launcher", &["", "std", "all", "all,std"]),
    ("packer", &[""]),
];

pub(crate) fn run(args: &[String]) -> Result<()> {
    let (mut install, mut full) = (false, false);
    let options = &mut [("--install", Takes::Nothing(&mut install)), ("--full", Takes::Nothing(&mut full))];
    options::read("test", args, options)?;
    let strict = install || std::env::var_os("CI").is_some_and(|value| value == "true");
    let mut steps = Steps::new(strict);
    if install {
        steps.step("install what the tests need", || install::install().map(|()| Outcome::Done));
    }
    let tools = Tools::find();

    steps.step("formatting", || formatting(&tools));
    steps.step("lints", || lints(&tools));
    steps.step("lints of every feature set", || lints_of_features(&tools));
    steps.step("documentation", documentation);
    steps.step("no std: the launcher links without it", || size::run(&[]).map(|()| Outcome::Done));
    steps.step("licences, bans and sources", || licences(&tools));
    steps.step("tests of the launcher's runtime", || {
        let args = ["test", "--locked", "--target", LAUNCHER_TARGET, "--features", "selfcheck"];
        done(&mut cargo_freestanding(&args))
    });
    // Cargo builds the library with every feature that some test wants.
    steps.step("tests of the small launcher's archives", || {
        let small = ["--no-default-features", "--features", "std"];
        let mut tests = cargo(&["test", "--locked", "--package", "pspf-core", "--test", "other_tars"]);
        done(tools.tell(tests.args(small), strict, full))
    });
    if full {
        steps.step("other people's vectors", || match vectors::lacks() {
            Some(reason) => Ok(Outcome::Skipped(reason)),
            None => vectors::run(&[]).map(|()| Outcome::Done),
        });
    }
    let skipped = project::target().join("skipped-tests");
    let _ = fs::remove_file(&skipped);
    steps.step("tests", || {
        let mut tests = cargo(&["test", "--locked", "--workspace", "--no-fail-fast"]);
        tests.env("PSPF_TEST_SKIPPED", &skipped);
        done(tools.tell(&mut tests, strict, full))
    });
    for line in fs::read_to_string(&skipped).unwrap_or_default().lines() {
        let (test, reason) = line.split_once(": ").unwrap_or((line, "no reason was given"));
        steps.skipped(test, reason);
    }
    steps.finish()
}

fn formatting(tools: &Tools) -> Result<Outcome> {
    if let Some(reason) = tools.lacks_component("fmt") {
        return Ok(Outcome::Skipped(reason));
    }
    project::run(&mut cargo(&["fmt", "--all", "--check"]))?;
    project::run(&mut cargo_freestanding(&["fmt", "--check"]))?;
    project::run(&mut cargo_example(&["fmt", "--check"]))?;
    project::run(cargo(&["fmt", "--check"]).current_dir(project::root().join("examples/rust-binary")))?;
    done(&mut fuzz::cargo_fuzz(&["fmt", "--check"]))
}

fn lints(tools: &Tools) -> Result<Outcome> {
    if let Some(reason) = tools.lacks_component("clippy") {
        return Ok(Outcome::Skipped(reason));
    }
    let args = ["clippy", "--locked", "--workspace", "--all-targets"];
    project::run(cargo(&args).args(DENY_WARNINGS))?;
    let args = ["clippy", "--locked", "--target", LAUNCHER_TARGET, "--all-targets", "--features", "selfcheck"];
    project::run(cargo_freestanding(&args).args(DENY_WARNINGS))?;
    let args = ["clippy", "--locked", "--target", LAUNCHER_TARGET];
    project::run(cargo_example(&args).args(DENY_WARNINGS))?;
    let args = ["clippy", "--locked", "--no-default-features", "--all-targets"];
    done(fuzz::cargo_fuzz(&args).args(DENY_WARNINGS))
}

fn lints_of_features(tools: &Tools) -> Result<Outcome> {
    if let Some(reason) = tools.lacks_component("clippy") {
        return Ok(Outcome::Skipped(reason));
    }
    for (package, sets) in FEATURE_SETS {
        for features in *sets {
            let args = ["clippy", "--locked", "--package", package, "--no-default-features", "--features", features];
            project::run(cargo(&args).args(DENY_WARNINGS))?;
        }
    }
    Ok(Outcome::Done)
}

fn documentation() -> Result<Outcome> {
    let strict = |mut command: Command| project::run(command.env("RUSTDOCFLAGS", "-D warnings"));
    strict(cargo(&["doc", "--locked", "--workspace", "--no-deps"]))?;
    for (package, sets) in FEATURE_SETS {
        for features in *sets {
            let args = ["doc", "--locked", "--no-deps", "--package", package, "--no-default-features", "--features"];
            strict(cargo(&[&args[..], &[features]].concat()))?;
        }
    }
    strict(cargo_freestanding(&["doc", "--locked", "--no-deps", "--lib", "--target", LAUNCHER_TARGET]))?;
    Ok(Outcome::Done)
}

fn licences(tools: &Tools) -> Result<Outcome> {
    let Some(cargo_deny) = &tools.cargo_deny else {
        return Ok(Outcome::Skipped("cargo-deny is not installed".to_owned()));
    };
    for manifest in [project::root(), project::freestanding(), project::freestanding_example(), fuzz::directory()] {
        let mut deny = Command::new(cargo_deny);
        deny.arg("--manifest-path").arg(manifest.join("Cargo.toml"));
        deny.arg("--config").arg(project::root().join("deny.toml")).arg("--locked");
        project::run(deny.args(["check", "--hide-inclusion-graph", "licenses", "bans", "sources"]))?;
    }
    Ok(Outcome::Done)
}

fn done(command: &mut Command) -> Result<Outcome> {
    project::run(command).map(|()| Outcome::Done)
}
