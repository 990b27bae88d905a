//! Sources that fail, read short, change or lie: an error or the same result, never a panic, never a proof.

mod common;

use std::cell::Cell;

use common::{document, drain, key, raw, read_source, sample};
use pspf_core::build::Builder;
use pspf_core::sign::KeyOrigin;
use pspf_core::verify::report;
use pspf_core::{ErrorKind, Package, Result, Source};

#[test]
fn a_source_that_reads_short_gives_the_same_report_and_the_same_contents() {
    let good = sample();
    let mut broken = good.clone();
    broken[5] ^= 1;
    for file in [&good, &broken] {
        let whole = format!("{:?}", report(&Package::open(file.as_slice()).unwrap(), &mut |_| {}));
        for most in [1, 7, 4096] {
            let short = Short { bytes: file, most };
            assert_eq!(format!("{:?}", report(&Package::open(&short).unwrap(), &mut |_| {})), whole);
            assert_eq!(read_source(&short), read_source(file.as_slice()));
        }
    }
}

#[test]
fn a_source_that_fails_at_any_read_is_a_failing_source_and_nothing_worse() {
    let good = sample();
    let reads = {
        let source = Failing { bytes: &good, left: Cell::new(usize::MAX) };
        read_source(&source).unwrap();
        usize::MAX - source.left.get()
    };
    assert!(reads > 10);
    for left in 0..reads {
        let error = read_source(&Failing { bytes: &good, left: Cell::new(left) }).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Source { errno: Some(5), .. }), "read {left}: {error}");
    }
}

#[test]
fn a_reader_that_is_asked_again_after_an_error_gives_no_proof_of_other_bytes() {
    let good = sample();
    let contents = read_source(good.as_slice()).unwrap();
    let source = Failing { bytes: &good, left: Cell::new(usize::MAX) };
    let package = Package::open(&source).unwrap();
    let verified = package.verify().unwrap();
    let mut failed = 0;
    for (index, content) in (0..).zip(&contents) {
        for reads in 0..5 {
            source.left.set(usize::MAX);
            let mut slot = verified.slot(index).unwrap();
            source.left.set(reads);
            let mut read = Vec::new();
            // It fails once; then the source is well again.
            for _ in 0..2 {
                while let Ok(ready) = slot.fill() {
                    let size = ready.len();
                    if size == 0 {
                        break;
                    }
                    read.extend_from_slice(ready);
                    slot.consume(size);
                }
                failed += u32::from(source.left.get() == 0);
                source.left.set(usize::MAX);
            }
            if slot.finish().is_ok() {
                assert!(read == *content, "slot {index} after {reads} reads");
            }
        }
    }
    assert!(failed > 0);
}

#[test]
fn a_source_that_is_shorter_than_it_says_is_a_failing_source() {
    let good = sample();
    for left in [0, 100, good.len() - 8200, good.len() - 1] {
        let error = read_source(&Lying { bytes: &good[..left], len: good.len() as u64 }).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Source { errno: None, .. }), "{left} bytes: {error}");
    }
    for len in [u64::MAX, u64::MAX - 1, 1 << 63] {
        let error = read_source(&Lying { bytes: &good, len }).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Source { errno: None, .. }), "{len} bytes: {error}");
    }
}

#[test]
fn a_source_that_is_longer_than_it_says_is_read_as_the_file_that_it_claims_to_be() {
    let good = sample();
    for len in 0..good.len() as u64 {
        assert!(read_source(&Lying { bytes: &good, len }).is_err(), "{len} bytes");
    }
    let longer = [&good[..], &good[..]].concat();
    assert_eq!(read_source(&Lying { bytes: &longer, len: good.len() as u64 }), read_source(good.as_slice()));
}

#[test]
fn a_source_whose_length_changes_is_not_asked_twice() {
    let good = sample();
    let source = Growing { bytes: &good, asked: Cell::new(0) };
    assert_eq!(read_source(&source), read_source(good.as_slice()));
    assert_eq!(source.asked.get(), 1);
}

#[test]
fn a_source_that_says_it_read_more_than_it_was_asked_for_gives_an_error_or_the_same() {
    let good = sample();
    for most in [1, 100, usize::MAX] {
        for claim in [1, 4096, usize::MAX] {
            let read = read_source(&Boasting { bytes: &good, most, claim, reads: Cell::new(0) });
            if most == usize::MAX {
                assert_eq!(read, read_source(good.as_slice()));
            } else {
                assert!(read.is_err(), "{most} bytes read, {claim} more claimed");
            }
        }
    }
}

#[test]
fn a_source_whose_bytes_change_after_they_were_checked_gives_no_proof() {
    let good = sample();
    let source = Changing { bytes: &good, changed: Cell::new(false) };
    let package = Package::open(&source).unwrap();
    let verified = package.verify().unwrap();
    for index in 0..2 {
        source.changed.set(false);
        verified.check_slot(index, &mut |_| {}).unwrap();
        source.changed.set(true);
        let proof = verified.slot(index).and_then(|mut slot| {
            drain(&mut slot)?;
            slot.finish()
        });
        assert!(proof.is_err(), "slot {index}");
    }
}

#[test]
fn a_package_is_not_built_from_a_launcher_that_cannot_be_read() {
    let launcher = Failing { bytes: b"launcher", left: Cell::new(0) };
    let error = Builder::new(document(), &launcher).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Source { errno: Some(5), .. }), "{error}");
}

#[test]
fn a_full_disk_is_an_error_at_every_byte() {
    let (slot, stored) = raw("slot", b"content");
    let launcher: &[u8] = b"launcher";
    let head = Builder::new(document(), &launcher).unwrap().slot(slot).sign(&key(), KeyOrigin::Given).unwrap();
    let mut file = Vec::new();
    head.write(&launcher, &[&stored], &mut file).unwrap();
    for room in 0..file.len() {
        let mut disk = vec![0; room];
        head.write(&launcher, &[&stored], &mut disk.as_mut_slice()).unwrap_err();
    }
    let mut disk = vec![0; file.len()];
    head.write(&launcher, &[&stored], &mut disk.as_mut_slice()).unwrap();
    assert!(disk == file);
}

/// Gives so many bytes for each read at most.
struct Short<'a> {
    bytes: &'a [u8],
    most: usize,
}

impl Source for Short<'_> {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let size = buf.len().min(self.most);
        self.bytes.read_at(offset, &mut buf[..size])
    }
}

/// Fails for good after so many reads.
struct Failing<'a> {
    bytes: &'a [u8],
    left: Cell<usize>,
}

impl Source for Failing<'_> {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        match self.left.get().checked_sub(1) {
            Some(left) => self.left.set(left),
            None => return Err(ErrorKind::Source { at: offset, len: buf.len() as u64, errno: Some(5) }.into()),
        }
        self.bytes.read_at(offset, buf)
    }
}

/// Says that it has `len` bytes.
struct Lying<'a> {
    bytes: &'a [u8],
    len: u64,
}

impl Source for Lying<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.bytes.read_at(offset, buf)
    }
}

/// Says that it is longer every time.
struct Growing<'a> {
    bytes: &'a [u8],
    asked: Cell<u64>,
}

impl Source for Growing<'_> {
    fn len(&self) -> u64 {
        let len = self.bytes.len() as u64 + self.asked.get();
        self.asked.set(self.asked.get() + 1);
        len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.bytes.read_at(offset, buf)
    }
}

/// Reads `most` bytes at most, and says every other time that it were `claim` more.
struct Boasting<'a> {
    bytes: &'a [u8],
    most: usize,
    claim: usize,
    reads: Cell<usize>,
}

impl Source for Boasting<'_> {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let size = buf.len().min(self.most);
        self.reads.set(self.reads.get() + 1);
        let claim = if self.reads.get().is_multiple_of(2) { self.claim } else { 0 };
        Ok(self.bytes.read_at(offset, &mut buf[..size])?.saturating_add(claim))
    }
}

/// Gives other bytes from a moment on.
struct Changing<'a> {
    bytes: &'a [u8],
    changed: Cell<bool>,
}

impl Source for Changing<'_> {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let read = self.bytes.read_at(offset, buf)?;
        if let (true, Some(byte)) = (self.changed.get(), buf[..read].last_mut()) {
            *byte ^= 1;
        }
        Ok(read)
    }
}
