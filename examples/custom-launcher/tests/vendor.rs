//! Packages with this launcher in front, made by packer's library and started.

use std::path::{Path, PathBuf};
use std::process::Command;

use packer::keys::Choice;
use packer::launchers;
use packer::pack::{Check, Options};
use packer::progress::Silent;
use packer::slots::{Defaults, Symbols};

/// `examples/any-binary` behind the custom launcher, signed with the key of a seed.
fn package(seed: &str, directory: &Path) -> PathBuf {
    let options = Options {
        manifest: Path::new(env!("CARGO_MANIFEST_DIR")).join("../any-binary"),
        output: Some(directory.join(format!("{seed}.psp"))),
        python: None,
        extras: Vec::new(),
        frozen: false,
        launcher: launchers::Choice::File(env!("CARGO_BIN_EXE_custom-launcher").into()),
        platform: None,
        key: Choice::Seed(seed.to_owned()),
        defaults: Defaults::default(),
        symbols: Symbols::Keep,
        jobs: None,
        check: Check::Verify,
    };
    packer::pack::pack(&options, &Silent).unwrap().path
}

#[test]
fn what_the_vendor_signed_runs_and_nothing_else_does() {
    let scratch = tempfile::tempdir().unwrap();
    let start = |seed: &str| {
        let mut start = Command::new(package(seed, scratch.path()));
        start.env_clear().env("HOME", scratch.path()).env("HELLO_LANG", "de").arg("two words").output().unwrap()
    };
    let started = start("vendor");
    assert_eq!(String::from_utf8_lossy(&started.stdout), "Servus!\ntwo words\n", "{started:?}");
    let refused = start("somebody else");
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(107), 0), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("which is not the vendor's"), "{refused:?}");
}
