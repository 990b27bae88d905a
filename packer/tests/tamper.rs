//! Changed packages: `packer verify` refuses every flipped byte, and a package refuses to start where it can.
//!
//! `PSPF_TEST_FULL=1` (`cargo xtask test --full`) takes more positions in every part.

mod common;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Finish as _, Finished, Scratch};

const TRAILER: usize = 8_200;

/// The parts of a package, found by the offsets of docs/format.md sections 1 to 3.
struct Parts {
    bytes: Vec<u8>,
    parts: Vec<(String, std::ops::Range<usize>)>,
}

impl Parts {
    fn of(package: &Path) -> Self {
        let bytes = fs::read(package).unwrap();
        let index = bytes.len() - TRAILER + 4;
        let at = |offset: usize| u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap()) as usize;
        let (launcher, metadata, metadata_len) = (at(index + 16), at(index + 24), at(index + 32));
        let (table, table_len) = (at(index + 40), at(index + 48));
        let mut parts = vec![
            ("launcher".to_owned(), 0..launcher),
            ("metadata".to_owned(), metadata..metadata + metadata_len),
            ("slot table".to_owned(), table..table + table_len),
        ];
        for number in 0..table_len / 64 {
            let (offset, size) = (at(table + number * 64 + 16), at(table + number * 64 + 24));
            parts.push((format!("slot {number}"), offset..offset + size));
        }
        parts.push(("start magic".to_owned(), index - 4..index));
        parts.push(("index".to_owned(), index..index + 8_192));
        parts.push(("end magic".to_owned(), index + 8_192..bytes.len()));
        // What lies between them is padding.
        let mut covered = parts.clone();
        covered.sort_by_key(|(_, range)| range.start);
        for pair in covered.windows(2) {
            if pair[0].1.end < pair[1].1.start {
                parts.push((format!("padding after the {}", pair[0].0), pair[0].1.end..pair[1].1.start));
            }
        }
        Self { bytes, parts }
    }

    fn part(&self, name: &str) -> std::ops::Range<usize> {
        self.parts.iter().find(|(part, _)| part == name).unwrap_or_else(|| panic!("no {name}")).1.clone()
    }
}

/// At most `count` positions spread over a range, its first and last byte among them.
fn spread(range: &std::ops::Range<usize>, count: usize) -> Vec<usize> {
    let last = range.len() - 1;
    let steps = count.min(range.len()).max(2) - 1;
    let mut positions: Vec<usize> = (0..=steps).map(|step| range.start + last * step / steps).collect();
    positions.dedup();
    positions
}

fn verify(package: &Path) -> Finished {
    common::packer().arg("verify").arg(package).finish()
}

#[test]
fn a_flipped_byte_in_any_part_is_found_by_verify() {
    let Some(hello) = common::hello() else { return };
    let scratch = Scratch::new();
    let changed = scratch.join("changed.psp");
    common::copy_package(&hello, &changed);
    let parts = Parts::of(&hello);
    let per_part = if std::env::var_os("PSPF_TEST_FULL").is_some() { 400 } else { 12 };
    let file = OpenOptions::new().write(true).open(&changed).unwrap();
    for (name, range) in &parts.parts {
        for (round, position) in spread(range, per_part).into_iter().enumerate() {
            let flipped = parts.bytes[position] ^ (1 << (round % 8));
            file.write_all_at(&[flipped], position as u64).unwrap();
            let refusal = verify(&changed);
            assert!(matches!(refusal.code(), Some(102 | 107)), "byte {position}, in the {name}: {refusal}");
            file.write_all_at(&[parts.bytes[position]], position as u64).unwrap();
        }
    }
    verify(&changed).exits(0);
}

#[test]
fn bytes_before_after_or_missing_are_found_by_verify() {
    let Some(hello) = common::hello() else { return };
    let scratch = Scratch::new();
    let changed = scratch.join("changed.psp");
    let whole = fs::read(&hello).unwrap();
    let metadata = Parts::of(&hello).part("metadata").start;
    let variants: [(&str, Vec<u8>); 5] = [
        ("a byte after the trailer", [&*whole, b"\0"].concat()),
        ("a byte before the launcher", [b"\0", &*whole].concat()),
        ("a page between launcher and metadata", [&whole[..metadata], &[0; 4096], &whole[metadata..]].concat()),
        ("the package twice", whole.repeat(2)),
        ("one byte less", whole[..whole.len() - 1].to_vec()),
    ];
    for (what, bytes) in variants {
        fs::write(&changed, bytes).unwrap();
        let refusal = verify(&changed);
        assert!(matches!(refusal.code(), Some(102 | 107)), "{what}: {refusal}");
    }
}

#[test]
fn a_changed_package_refuses_its_first_start_and_prepares_nothing() {
    let Some(hello) = common::hello() else { return };
    let parts = Parts::of(&hello);
    for name in ["metadata", "slot table", "slot 0", "slot 1", "slot 2", "start magic", "index", "end magic"] {
        let range = parts.part(name);
        let position = range.start + range.len() / 3;
        let scratch = Scratch::new();
        let changed = flipped(&hello, position, &scratch);
        let mut start = Command::new(&changed);
        start.env_clear().env("PSPF_CACHE_DIR", scratch.dir("cache"));
        let refusal = start.finish().exits_with_one_of(&[102, 103, 107]).prints_nothing();
        assert!(!refusal.stderr().is_empty(), "a reason was expected for the flipped byte in the {name}: {refusal}");
        assert!(common::envs(&scratch.join("cache")).is_empty(), "a workenv was published in spite of the {name}");
    }
}

#[test]
fn the_launcher_checks_its_own_bytes() {
    let Some(hello) = common::hello() else { return };
    // The ELF header's padding bytes mean nothing to the kernel, so the program itself still starts.
    const PADDING: usize = 10;
    let scratch = Scratch::new();
    let changed = flipped(&hello, PADDING, &scratch);
    let mut start = Command::new(&changed);
    start.env_clear().env("PSPF_CACHE_DIR", scratch.dir("cache")).finish().exits(107).prints_nothing();
}

#[test]
fn a_changed_head_is_refused_with_a_warm_cache_too() {
    let Some(hello) = common::hello() else { return };
    let parts = Parts::of(&hello);
    let scratch = Scratch::new();
    let start = |package: &Path| {
        let mut start = Command::new(package);
        start.env_clear().env("PSPF_CACHE_DIR", scratch.dir("cache")).finish()
    };
    start(&hello).exits(0);
    for name in ["metadata", "slot table", "index"] {
        let range = parts.part(name);
        let other = Scratch::new();
        let changed = flipped(&hello, range.start + range.len() / 3, &other);
        start(&changed).exits_with_one_of(&[102, 107]).prints_nothing();
    }
    start(&hello).exits(0).stays_quiet();
}

#[test]
fn a_truncated_package_refuses_to_start() {
    let Some(hello) = common::hello() else { return };
    let scratch = Scratch::new();
    let bytes = fs::read(&hello).unwrap();
    let half = scratch.join("half");
    fs::write(&half, &bytes[..bytes.len() / 2]).unwrap();
    let package = executable(&half, &scratch);
    let mut start = Command::new(&package);
    start.env_clear().env("PSPF_CACHE_DIR", scratch.dir("cache")).finish().exits(102).prints_nothing();
}

#[test]
fn packer_run_refuses_a_changed_slot_before_anything_runs() {
    let Some(hello) = common::hello() else { return };
    let parts = Parts::of(&hello);
    let scratch = Scratch::new();
    let changed = flipped(&hello, parts.part("slot 2").start + 100, &scratch);
    let mut run = common::packer();
    run.arg("run").arg(&changed).env("PSPF_CACHE_DIR", scratch.dir("cache"));
    run.finish().exits_with_one_of(&[103, 107]).prints_nothing().says("error: ");
}

#[test]
fn a_package_opened_through_a_link_is_checked_like_any_other() {
    let Some(hello) = common::hello() else { return };
    let scratch = Scratch::new();
    symlink(&hello, scratch.join("link.psp")).unwrap();
    verify(&scratch.join("link.psp")).exits(0);
}

/// An executable copy with one bit changed.
fn flipped(package: &Path, position: usize, scratch: &Scratch) -> PathBuf {
    let mut bytes = fs::read(package).unwrap();
    bytes[position] ^= 1;
    let raw = scratch.join("flipped");
    fs::write(&raw, bytes).unwrap();
    executable(&raw, scratch)
}

/// The file again, written by another process, so that it can be executed at once.
fn executable(raw: &Path, scratch: &Scratch) -> PathBuf {
    let package = scratch.join("package.psp");
    common::copy_package(raw, &package);
    Command::new("chmod").arg("755").arg(&package).finish().exits(0);
    package
}

#[test]
fn a_changed_package_can_be_looked_into_when_nobody_has_to_vouch_for_it() {
    let scratch = Scratch::new();
    let package = common::Signed::by("a").write(&scratch.join("app.psp"));
    let parts = Parts::of(&package);
    let mut bytes = parts.bytes.clone();
    let slot = parts.part("slot 0");
    bytes[slot.start] = b'E';
    fs::write(&package, &bytes).unwrap();
    let extract = |options: &[&str]| {
        let output = scratch.join("out");
        let _ = fs::remove_file(&output);
        let mut command = common::packer();
        command.arg("extract").args(options).arg(&package).args(["0"]).arg(&output);
        (command.finish(), output)
    };
    let (refused, output) = extract(&[]);
    refused.exits(107).prints_nothing();
    assert!(!output.exists());
    let (told, output) = extract(&["--unsafe"]);
    told.exits(0).prints_nothing().says("nobody vouches").says("do not run it");
    assert_eq!(fs::read(&output).unwrap(), &bytes[slot]);
    assert_eq!(fs::metadata(&output).unwrap().permissions().mode() & 0o111, 0);
    common::packer().args(["extract", "--unsafe"]).arg(&package).args(["9"]).arg(scratch.join("x")).finish().exits(105);
}
