//! The reference implementation, flavorpack 0.5.4 from PyPI, looks at our packages.

mod common;

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use common::{Finish as _, Finished, Scratch};

fn flavor(flavor: &Path, args: &[&Path], home: &Path) -> Finished {
    // It keeps a cache of its own; not in the home directory of whoever runs the tests.
    Command::new(flavor).args(args).env("HOME", home).env("XDG_CACHE_HOME", home.join(".cache")).finish()
}

#[test]
fn flavor_verify_accepts_our_packages() {
    let Some(program) = common::flavor() else { return };
    let scratch = Scratch::new();
    for package in [common::hello(), common::probe()].into_iter().flatten() {
        flavor(&program, &["verify".as_ref(), &package], &scratch.dir("home")).exits(0);
    }
}

#[test]
fn flavor_verify_refuses_one_of_them_after_a_change() {
    let (Some(program), Some(hello)) = (common::flavor(), common::hello()) else { return };
    let scratch = Scratch::new();
    let changed = scratch.join("changed.psp");
    common::copy_package(&hello, &changed);
    let bytes = std::fs::read(&hello).unwrap();
    let index = bytes.len() - 8196;
    let metadata = u64::from_le_bytes(bytes[index + 24..index + 32].try_into().unwrap());
    let file = std::fs::OpenOptions::new().write(true).open(&changed).unwrap();
    file.write_all_at(b"X", metadata + 100).unwrap();
    drop(file);
    let refusal = flavor(&program, &["verify".as_ref(), &changed], &scratch.dir("home"));
    assert_ne!(refusal.code(), Some(0), "an acceptance that means nothing: {refusal}");
}

#[test]
fn flavor_inspect_lists_the_slots() {
    let (Some(program), Some(hello)) = (common::flavor(), common::hello()) else { return };
    let scratch = Scratch::new();
    let report = flavor(&program, &["inspect".as_ref(), &hello], &scratch.dir("home")).exits(0);
    for slot in ["python-runtime", "python-environment", "application-code"] {
        assert!(report.stdout().contains(slot), "{slot} was expected in {report}");
    }
}
