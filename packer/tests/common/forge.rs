//! Changing the bytes of a finished package, of any builder, so that all of its parts still fit each other: by the offsets
//! of docs/format.md sections 2 and 3.1.

use std::fs;
use std::ops::Range;
use std::path::Path;

use pspf_core::format::{Index, index};
use pspf_core::sign::{KeyId, SecretKey};
use pspf_core::{Digest, container};

// Offsets in the index.
pub const PACKAGE_SIZE: usize = 8;
pub const LAUNCHER_SIZE: usize = 16;
pub const METADATA_OFFSET: usize = 24;
pub const METADATA_SIZE: usize = 32;
pub const TABLE_OFFSET: usize = 40;
pub const TABLE_SIZE: usize = 48;
pub const PUBLIC_KEY: usize = 64;
pub const METADATA_DIGEST: usize = 96;
pub const SIGNATURE: usize = 128;
pub const KEY_FINGERPRINT: usize = 1376;
pub const RESERVED: Range<usize> = 1568..index::SIZE;

// Offsets in a descriptor.
pub const OFFSET: usize = 16;
pub const SIZE: usize = 24;
pub const CHECKSUM: usize = 48;
pub const ZEROS: usize = 60;

/// The index, the end magic behind it.
const FROM_THE_END: usize = index::SIZE + 4;
const DESCRIPTOR: usize = 64;

/// A package that is being changed.
#[derive(Debug, Clone)]
pub struct Forged {
    pub bytes: Vec<u8>,
}

impl Forged {
    pub fn of(package: &Path) -> Self {
        Self { bytes: fs::read(package).expect("a package") }
    }

    /// Where the index begins.
    pub fn index(&self) -> usize {
        self.bytes.len() - FROM_THE_END
    }

    /// A number of the index.
    pub fn number(&self, field: usize) -> usize {
        self.u64_at(self.index() + field) as usize
    }

    /// Sets a number of the index.
    pub fn set_number(&mut self, field: usize, number: u64) {
        self.put(self.index() + field, &number.to_le_bytes());
    }

    /// Where the descriptor of a slot begins.
    pub fn descriptor(&self, slot: usize) -> usize {
        self.number(TABLE_OFFSET) + slot * DESCRIPTOR
    }

    /// Where the stored bytes of a slot lie.
    pub fn slot(&self, slot: usize) -> Range<usize> {
        let descriptor = self.descriptor(slot);
        let (offset, size) = (self.u64_at(descriptor + OFFSET), self.u64_at(descriptor + SIZE));
        offset as usize..(offset + size) as usize
    }

    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// The document.
    pub fn json(&self) -> String {
        let container = &self.bytes[self.number(METADATA_OFFSET)..][..self.number(METADATA_SIZE)];
        let mut json = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(container), &mut json).expect("a document");
        json
    }

    /// Replaces the document and moves what lies behind it. The signature stays the old one.
    pub fn set_json(&mut self, json: &str) {
        let (metadata, table) = (self.number(METADATA_OFFSET), self.number(TABLE_OFFSET));
        let container = container::encode(json.as_bytes());
        let mut head = [&self.bytes[..metadata], &container[..]].concat();
        head.resize(head.len().next_multiple_of(8), 0);
        self.set_number(METADATA_SIZE, container.len() as u64);
        self.put(self.index() + METADATA_DIGEST, &Digest::of(&container).0);
        self.replace_before(table, head);
    }

    /// Pushes bytes in at `at`, which lies between the launcher and the table, and moves what lies behind them.
    pub fn insert(&mut self, at: usize, bytes: &[u8]) {
        let table = self.number(TABLE_OFFSET);
        let head = [&self.bytes[..at], bytes, &self.bytes[at..table]].concat();
        if at <= self.number(METADATA_OFFSET) {
            self.set_number(METADATA_OFFSET, (self.number(METADATA_OFFSET) + bytes.len()) as u64);
        }
        self.replace_before(table, head);
    }

    /// Signs the document, which is rewritten so that it names the key where it names one.
    pub fn sign(&mut self, key: &SecretKey) {
        self.set_key(&key.public_key());
        let signature = key.sign(self.json().as_bytes());
        self.put(self.index() + SIGNATURE, &signature);
    }

    /// Puts another public key wherever the package names its own. The signature stays the old one.
    pub fn set_key(&mut self, public_key: &[u8; 32]) {
        let at = self.index() + PUBLIC_KEY;
        let old: [u8; 32] = self.bytes[at..at + 32].try_into().expect("32 bytes");
        let json = self.json();
        let renamed = json.replace(&KeyId::of(&old).to_string(), &KeyId::of(public_key).to_string());
        if renamed != json {
            self.set_json(&renamed);
        }
        let index = self.index();
        self.put(index + PUBLIC_KEY, public_key);
        if self.bytes[index + KEY_FINGERPRINT] != 0 {
            self.put(index + KEY_FINGERPRINT, &Digest::of(public_key).to_hex());
        }
    }

    /// Makes the index's checksum fit, as everybody can.
    pub fn mend(&mut self) {
        let sum = self.fitting_checksum();
        self.put(self.index() + 4, &sum.to_le_bytes());
    }

    /// The checksum that is written in the index.
    pub fn checksum(&self) -> u32 {
        u32::from_le_bytes(self.bytes[self.index() + 4..][..4].try_into().expect("four bytes"))
    }

    /// Makes `checksum` the one that fits, by changing reserved bytes.
    pub fn bend_checksum_to(&mut self, checksum: u32) {
        const MODULUS: u64 = 65_521;
        self.mend();
        let (have, want) = (u64::from(self.checksum()), u64::from(checksum));
        let lacking = |shift: u64| (want >> shift) % (1 << 16) + MODULUS - (have >> shift) % (1 << 16);
        // Adler-32: a byte adds its value to the lower sum, and its value once for each byte from it to the end to the upper one.
        let (mut lower, upper) = (lacking(0), lacking(16) % MODULUS);
        let end = self.index() + index::SIZE;
        let (mut from_end, mut added) = (1, 0);
        while lower > 0 {
            let value = lower.min(200);
            self.bytes[end - from_end] = value as u8;
            added += value * from_end as u64;
            lower -= value;
            from_end += 1;
        }
        // Moving a one forward adds as much as it moves.
        let mut missing = (upper + MODULUS - added % MODULUS) % MODULUS;
        let mut place = 1;
        while missing > 0 {
            let step = missing.min(5000);
            self.bytes[end - place] -= 1;
            self.bytes[end - place - step as usize] += 1;
            missing -= step;
            place += 1;
        }
        self.put(self.index() + 4, &checksum.to_le_bytes());
        assert_eq!(self.fitting_checksum(), checksum, "the arithmetic of this test");
    }

    fn fitting_checksum(&self) -> u32 {
        let block = self.bytes[self.index()..][..index::SIZE].try_into().expect("an index");
        Index::from_block(block).computed_checksum()
    }

    /// Puts `head` in front of the table, wherever that lay before.
    fn replace_before(&mut self, table: usize, head: Vec<u8>) {
        let moved = head.len() as u64;
        let slots = self.number(TABLE_SIZE) / DESCRIPTOR;
        let tail = self.bytes.split_off(table);
        self.bytes = head;
        self.bytes.extend(tail);
        self.set_number(TABLE_OFFSET, moved);
        self.set_number(PACKAGE_SIZE, self.bytes.len() as u64);
        for slot in 0..slots {
            let at = self.descriptor(slot) + OFFSET;
            let offset = self.u64_at(at) + moved - table as u64;
            self.put(at, &offset.to_le_bytes());
        }
        self.mend();
    }

    fn u64_at(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().expect("eight bytes"))
    }
}
