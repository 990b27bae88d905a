//! `cargo xtask vectors`: archives, gzip files and signatures that other projects test their readers with. They are
//! fetched by cargo and apt into the target directory; none is kept here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::options;
use crate::project::{self, cargo, output};
use crate::results::Results;

/// A manifest for crates whose packages have test data in them.
const CRATES: &str = "[package]\nname = \"vectors\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
                      [dependencies]\nastral-tokio-tar = \"=0.7.0\"\nflate2 = \"=1.1.11\"\n";
/// Debian's packages of test data, both in Debian 12.
const PACKAGES: [&str; 2] = ["golang-1.19-src", "libpython3.11-testsuite"];

/// What is taken from where: the place below the fetched files, the endings of the files, where they go.
const TAKEN: &[(&str, &str, &str)] = &[
    ("crates/vendor/astral-tokio-tar/tests/archives", ".tar", "tar/astral-tokio-tar"),
    ("crates/vendor/flate2/tests", ".gz", "gzip"),
    ("debian/usr/share/go-1.19/src/archive/tar/testdata", ".tar", "tar/go"),
    ("debian/usr/share/go-1.19/src/crypto/ed25519/testdata", ".gz", "."),
    ("debian/usr/lib/python3.11/test", ".tar", "tar/cpython"),
];

pub(crate) fn run(args: &[String]) -> Result<()> {
    let write = options::write("vectors", args)?;
    if let Some(reason) = lacks() {
        bail!("{reason}");
    }
    let vectors = fetch()?;
    let results = Results::new("vectors")?;
    let all = ["--all-features", "--test", "ed25519", "--test", "other_tars", "--test", "codecs"];
    let small = ["--no-default-features", "--features", "std", "--test", "other_tars"];
    for (what, names) in
        [(&all[..], &["wycheproof", "authors", "small_order", "other_peoples"][..]), (&small, &["other_peoples"])]
    {
        let mut tests = cargo(&["test", "--locked", "--package", "pspf-core"]);
        tests.args(what).args(["--", "--nocapture"]).args(names).env("PSPF_TEST_VECTORS", &vectors);
        project::run(results.tell(&mut tests))?;
    }
    results.finish("Other people's vectors", write)
}

/// Why they cannot be fetched here.
pub(crate) fn lacks() -> Option<String> {
    let is_there = |package: &&str| output("apt-cache", &["show", package]).is_some_and(|said| !said.is_empty());
    let missing: Vec<&str> = PACKAGES.into_iter().filter(|package| !is_there(package)).collect();
    (!missing.is_empty()).then(|| format!("apt knows no {}; Debian 12 has them", missing.join(" and ")))
}

/// Fetches what is not there yet; gives the directory that the tests look into.
fn fetch() -> Result<PathBuf> {
    let fetched = project::target().join("vectors");
    let ready = fetched.join("ready");
    if ready.exists() {
        return Ok(ready);
    }
    let (crates, debian, taken) = (fetched.join("crates"), fetched.join("debian"), fetched.join("taken"));
    for directory in [&crates.join("src"), &debian, &taken] {
        let _ = fs::remove_dir_all(directory);
        fs::create_dir_all(directory).with_context(|| format!("{} cannot be made", directory.display()))?;
    }
    fs::write(crates.join("Cargo.toml"), CRATES)?;
    fs::write(crates.join("src/lib.rs"), "")?;
    project::run(cargo(&["vendor", "--quiet"]).current_dir(&crates)).context("the crates cannot be fetched")?;
    project::run(Command::new("apt-get").args(["download", "--quiet"]).args(PACKAGES).current_dir(&debian))?;
    for package in files(&debian, ".deb")? {
        project::run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&debian))?;
    }
    for (from, ending, to) in TAKEN {
        let found = files(&fetched.join(from), ending)?;
        ensure!(!found.is_empty(), "there is no {ending} in {from}");
        let to = taken.join(to);
        fs::create_dir_all(&to)?;
        for path in found {
            fs::copy(&path, to.join(path.file_name().unwrap_or_default()))?;
        }
    }
    // Under its name only when everything is there.
    fs::rename(&taken, &ready)?;
    Ok(ready)
}

fn files(directory: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("{} cannot be read", directory.display()))? {
        let path = entry?.path();
        if path.is_file() && path.to_string_lossy().ends_with(ending) {
            files.push(path);
        }
    }
    Ok(files)
}
