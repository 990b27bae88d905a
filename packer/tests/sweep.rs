//! Whole sweeps over a package, in this process: no changed byte, no cut and nothing added gets past the checks that
//! `packer verify` makes ([`pspf_core::verify::report`]; that the command makes them is in `tamper.rs`).
//!
//! `PSPF_TEST_FULL=1` (`cargo xtask test --full`) tries every value of every byte, and every byte of the real launcher.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{App, Finish as _};
use flate2::{Compress, Compression, Crc, FlushCompress};
use pspf_core::format::{Index, index, trailer};
use pspf_core::sign::SecretKey;
use pspf_core::{Package, container, verify};

/// Where the index begins, seen from the end of the file.
const INDEX: usize = 8196;

/// Slots of every kind that packer writes, behind a launcher of some hundred bytes or the real one.
fn package(launcher: Option<&[u8]>) -> Vec<u8> {
    let files = [("app/bin/app", "#!/bin/sh\n"), ("app/text", &"text ".repeat(90)), ("raw", "raw\n"), ("empty", "")];
    let manifest = r#"
[policy]
refuse_root = true
[execution]
command = "{workenv}/app/bin/app"
[[slots]]
id = "app"
source = "app"
[[slots]]
id = "raw"
source = "raw"
operations = "raw"
[[slots]]
id = "zipped"
source = "app/text"
operations = "gzip"
[[slots]]
id = "empty"
source = "empty"
[[slots]]
id = "last"
source = "raw"
operations = "raw"
"#;
    let scratch = common::Scratch::new();
    let path = scratch.join("launcher");
    let options: Vec<&std::ffi::OsStr> = match launcher {
        Some(launcher) => {
            std::fs::write(&path, launcher).expect("a launcher");
            vec!["--launcher-bin".as_ref(), path.as_os_str()]
        }
        None => vec![],
    };
    let app = App::with(&files, manifest, &options);
    let bytes = std::fs::read(app.package()).expect("the package");
    assert!(passes(&bytes), "what was packed is intact");
    bytes
}

fn small_package() -> Vec<u8> {
    package(Some(&tiny_program()))
}

/// An executable that `--launcher-bin` takes: an ELF header, and nothing that it could load.
fn tiny_program() -> Vec<u8> {
    let mut program = b"\x7fELF\x02\x01\x01".to_vec();
    program.resize(16, 0);
    // e_type: executable; e_machine: x86-64; e_version
    program.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    program.resize(52, 0);
    // e_ehsize, and program headers and sections of which there are none
    program.extend([64, 0, 56, 0, 0, 0, 64, 0, 0, 0, 0, 0]);
    program.extend([0x90; 100]);
    program
}

fn passes(file: &[u8]) -> bool {
    Package::open(file).is_ok_and(|package| verify::report(&package, &mut |_| {}).passed())
}

fn is_full() -> bool {
    std::env::var_os("PSPF_TEST_FULL").is_some()
}

/// Tries `changes` at every `stride`th position of a range, each alone, on all cores; the number of changes, and those
/// that passed.
fn sweep(
    good: &[u8],
    range: Range<usize>,
    stride: usize,
    changes: &(dyn Fn(usize) -> Vec<u8> + Sync),
    mend: bool,
) -> usize {
    let tried = AtomicUsize::new(0);
    let next = AtomicUsize::new(range.start);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let mut file = good.to_vec();
                let index_at = file.len() - INDEX;
                let checksum = index_at + 4..index_at + 8;
                loop {
                    let at = next.fetch_add(stride, Ordering::Relaxed);
                    if at >= range.end {
                        return;
                    }
                    for flipped in changes(at) {
                        file[at] ^= flipped;
                        if mend {
                            let block = file[index_at..index_at + index::SIZE].try_into().expect("an index");
                            let sum = Index::from_block(block).computed_checksum();
                            file[checksum.clone()].copy_from_slice(&sum.to_le_bytes());
                        }
                        assert!(!passes(&file), "byte {at} of {} may be changed by {flipped:#04x}", file.len());
                        file[at] ^= flipped;
                        file[checksum.clone()].copy_from_slice(&good[good.len() - INDEX + 4..][..4]);
                        tried.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    tried.into_inner()
}

fn every_bit(_: usize) -> Vec<u8> {
    (0..8).map(|bit| 1 << bit).collect()
}

fn every_value(_: usize) -> Vec<u8> {
    (1..=255).collect()
}

fn one_bit(at: usize) -> Vec<u8> {
    vec![1 << (at % 8)]
}

#[test]
fn no_bit_of_a_package_can_change() {
    let good = small_package();
    let changes = if is_full() { every_value } else { every_bit };
    let tried = sweep(&good, 0..good.len(), 1, &changes, false);
    let per_byte = if is_full() { 255 } else { 8 };
    assert_eq!(tried, good.len() * per_byte);
    println!("{tried} changes of {} bytes, all refused", good.len());
}

/// Everybody can compute the index's checksum, so that it alone would refuse nothing.
#[test]
fn no_bit_of_the_index_can_change_with_a_checksum_that_fits() {
    let good = small_package();
    let start = good.len() - INDEX;
    // Changes of the checksum itself are undone by mending it.
    let mut tried = sweep(&good, start..start + 4, 1, &every_bit, true);
    tried += sweep(&good, start + 8..start + index::SIZE, 1, &every_bit, true);
    assert_eq!(tried, (index::SIZE - 4) * 8);
    println!("{tried} changes of the index, all refused");
}

#[test]
fn no_byte_of_the_real_launcher_can_change() {
    let good = package(None);
    let launcher = 0..u64::from_le_bytes(good[good.len() - INDEX + 16..][..8].try_into().unwrap()) as usize;
    let stride = if is_full() { 1 } else { 61 };
    let tried = sweep(&good, launcher.clone(), stride, &one_bit, false);
    assert_eq!(tried, launcher.len().div_ceil(stride));
    println!("{tried} changes of a launcher of {} bytes, all refused", launcher.len());
}

#[test]
fn no_part_of_a_package_is_a_package() {
    let good = small_package();
    for size in 0..good.len() {
        assert!(!passes(&good[..size]), "the first {size} of {} bytes pass", good.len());
        assert!(!passes(&good[good.len() - size..]), "the last {size} of {} bytes pass", good.len());
    }
}

#[test]
fn nothing_can_be_put_before_behind_or_into_a_package() {
    let good = small_package();
    let end = &good[good.len() - trailer::SIZE..];
    for (what, added) in [
        ("a zero", &b"\0"[..]),
        ("a page of zeros", &[0; 4096]),
        ("the end magic", &end[trailer::SIZE - 4..]),
        ("another trailer", end),
        ("the package again", &good),
    ] {
        for at in 0..=good.len() {
            // Long pieces at every place would only take long.
            if added.len() > 1 && at % 97 != 0 && at != good.len() && at != good.len() - trailer::SIZE {
                continue;
            }
            let file = [&good[..at], added, &good[at..]].concat();
            assert!(!passes(&file), "{what} at byte {at} of {} passes", good.len());
            // With an index that says how long the file is.
            let sized = with_package_size(&file);
            assert!(!passes(&sized), "{what} at byte {at} of {} passes with the size mended", good.len());
        }
    }
}

/// The file with its own size, and a checksum that fits, in the last index.
fn with_package_size(file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    let (start, size) = (file.len() - INDEX, file.len() as u64);
    file[start + 8..start + 16].copy_from_slice(&size.to_le_bytes());
    mend(&mut file);
    file
}

fn mend(file: &mut [u8]) {
    let start = file.len() - INDEX;
    let block = file[start..start + index::SIZE].try_into().expect("an index");
    let sum = Index::from_block(block).computed_checksum();
    file[start + 4..start + 8].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn the_signed_document_cannot_be_packed_in_another_way() {
    let good = small_package();
    let package = Package::open(&*good).unwrap();
    let json = package.json().unwrap();
    assert!(passes(&with_container(&good, &container::encode(&json))), "the tools of this test");
    let size = package.container().len();
    let canonical = package.container().to_vec();
    let mut timed = canonical.clone();
    timed[4] = 1;
    let mut other_system = canonical.clone();
    other_system[9] = 3;
    let variants = [
        ("deflated", member(&json, 9, 0)),
        ("deflated, as long as before", member_of_size(&json, size)),
        ("with a time", timed),
        ("from another system", other_system),
        ("in two stored blocks", in_two_blocks(&json)),
        ("and another member", [&canonical[..], &member(b"", 9, 0)].concat()),
        ("and a zero", [&canonical[..], b"\0"].concat()),
    ];
    for (what, container) in variants {
        assert_ne!(container, canonical, "{what}");
        let file = with_container(&good, &container);
        let opened = Package::open(&*file).unwrap_or_else(|error| panic!("{what}: the index was not rebuilt: {error}"));
        let refusal = verify::report(&opened, &mut |_| {});
        assert!(!refusal.passed(), "{what}: {refusal:?}");
    }
}

#[test]
fn claims_of_a_later_version_are_told_to_be_unknown_and_count_for_nothing() {
    let good = small_package();
    let json = String::from_utf8(Package::open(&*good).unwrap().json().unwrap()).unwrap();
    let later = json.replace("\"x-pspf-claims\":{\"v\":1,", "\"x-pspf-claims\":{\"v\":2,\"more\":true,");
    let mut file = with_container(&good, &container::encode(later.as_bytes()));
    let signature = SecretKey::from_seed_text("the tests of packer").sign(later.as_bytes());
    let start = file.len() - INDEX;
    file[start + 128..start + 192].copy_from_slice(&signature);
    mend(&mut file);
    let scratch = common::Scratch::new();
    let package = scratch.join("later.psp");
    std::fs::write(&package, file).unwrap();
    let verdict = common::packer().arg("verify").arg(&package).finish().exits(0);
    let verdict = verdict.prints("intact as far as its signature goes").prints("slots-only");
    verdict.prints("not covered  claims of a version that this program does not know, ");
    let report = common::packer().arg("verify").arg(&package).arg("--json").finish().exits(0).json();
    assert_eq!((&report["valid"], &report["key_origin"]), (&true.into(), &serde_json::Value::Null));
}

/// One gzip member with an extra field of this many bytes (none: no such field).
fn member(json: &[u8], level: u32, extra: usize) -> Vec<u8> {
    let mut member = vec![0x1f, 0x8b, 8, if extra > 0 { 4 } else { 0 }, 0, 0, 0, 0, 0, 0xff];
    if extra > 0 {
        member.extend(((extra - 2) as u16).to_le_bytes());
        member.resize(10 + extra, 0);
    }
    let mut deflated = Vec::with_capacity(json.len() + 1000);
    Compress::new(Compression::new(level), false).compress_vec(json, &mut deflated, FlushCompress::Finish).unwrap();
    member.extend(deflated);
    sealed(member, json)
}

/// A deflated member that takes as many bytes as another one, so that every offset stays.
fn member_of_size(json: &[u8], size: usize) -> Vec<u8> {
    let short = member(json, 9, 0).len();
    let member = member(json, 9, size - short);
    assert_eq!(member.len(), size);
    member
}

fn in_two_blocks(json: &[u8]) -> Vec<u8> {
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let (first, second) = json.split_at(json.len() / 2);
    for (last, block) in [(0, first), (1, second)] {
        let size = block.len() as u16;
        member.push(last);
        member.extend(size.to_le_bytes());
        member.extend((!size).to_le_bytes());
        member.extend(block);
    }
    sealed(member, json)
}

fn sealed(mut member: Vec<u8>, json: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(json);
    member.extend(crc.sum().to_le_bytes());
    member.extend((json.len() as u32).to_le_bytes());
    member
}

/// The package with other bytes around its document, and everything in table and index that follows from them.
fn with_container(good: &[u8], container: &[u8]) -> Vec<u8> {
    let package = Package::open(good).unwrap();
    let (metadata, table) = (package.index().metadata_offset() as usize, package.index().table_offset() as usize);
    let mut file = [&good[..metadata], container].concat();
    file.resize(file.len().next_multiple_of(8), 0);
    let new_table = file.len();
    file.extend(&good[table..]);
    let moved = |offset: u64| offset + new_table as u64 - table as u64;
    for (slot, descriptor) in package.table().iter().enumerate() {
        put(&mut file, new_table + slot * 64 + 16, moved(descriptor.offset));
    }
    let start = file.len() - INDEX;
    let size = file.len() as u64;
    put(&mut file, start + 8, size);
    put(&mut file, start + 32, container.len() as u64);
    put(&mut file, start + 40, new_table as u64);
    file[start + 96..start + 128].copy_from_slice(&pspf_core::Digest::of(container).0);
    mend(&mut file);
    file
}

fn put(file: &mut [u8], at: usize, number: u64) {
    file[at..at + 8].copy_from_slice(&number.to_le_bytes());
}
