//! One gzip member whose chunks the signed claims list (docs/format.md section 5, "Chunks").
//!
//! Each chunk is inflated in one call into a buffer of its own size, and each starts with an empty history, so that
//! they can be inflated in any order.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

#[cfg(feature = "foreign")]
use pspf_inflate::Crc32;
use pspf_inflate::{End, INPUT_SLACK, Inflater, OUTPUT_SLACK};

use super::Stage;
use crate::claims::Chunks;
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Part, Result};
use crate::source::Source;

/// Undoes chunked gzip.
pub struct Chunked<'a> {
    source: &'a dyn Source,
    part: Part,
    at: u64,
    chunks: &'a Chunks,
    next: usize,
    /// Original bytes that the chunks to come still give.
    left: u64,
    original_size: u64,
    inflater: Box<Inflater>,
    /// The stored bytes that were read last, and room behind them.
    stored: Vec<u8>,
    original: Vec<u8>,
    used: usize,
    size: usize,
    hasher: Hasher,
    /// Without it nothing is lost where the digest of these bytes is signed, and a start takes a twentieth less.
    #[cfg(feature = "foreign")]
    crc: Crc32,
}

impl<'a> Chunked<'a> {
    /// `size` stored bytes at `offset`, which the caller has checked to lie inside the source. Checks the chunk table
    /// against both sizes.
    pub fn new(
        source: &'a dyn Source,
        part: Part,
        (offset, size): (u64, u64),
        chunks: &'a Chunks,
        original_size: u64,
    ) -> Result<Self> {
        let sum = chunks.stored.iter().try_fold(FRAME, |sum, stored| sum.checked_add(u64::from(*stored)));
        if sum != Some(size) {
            return Err(Error::malformed(part, 0, "chunks that add up to the slot's size", "other sizes"));
        }
        if chunks.original == 0 || original_size.div_ceil(chunks.original).max(1) != chunks.stored.len() as u64 {
            return Err(Error::malformed(part, 0, "as many chunks as the original size needs", "another number"));
        }
        // Both are at most a little more than [`limits::CHUNK`](crate::limits::CHUNK), which the claims were checked against.
        let stored = chunks.stored.iter().max().map_or(0, |stored| *stored as usize);
        let original = chunks.original.min(original_size);
        let mut stage = Self {
            source,
            part,
            at: offset,
            chunks,
            next: 0,
            left: original_size,
            original_size,
            inflater: Inflater::new(),
            stored: vec![0; stored.max(HEADER) + INPUT_SLACK],
            original: vec![0; original as usize + OUTPUT_SLACK],
            used: 0,
            size: 0,
            hasher: Hasher::new(),
            #[cfg(feature = "foreign")]
            crc: Crc32::new(),
        };
        stage.read(HEADER)?;
        if stage.stored[..4] != [0x1f, 0x8b, 8, 0] {
            return Err(stage.malformed("a gzip header without flags", "other bytes"));
        }
        Ok(stage)
    }

    /// Reads and hashes the next `count` stored bytes.
    fn read(&mut self, count: usize) -> Result<()> {
        self.source.read_exact_at(self.at, &mut self.stored[..count])?;
        self.hasher.update(&self.stored[..count]);
        self.at += count as u64;
        Ok(())
    }

    fn inflate(&mut self) -> Result<()> {
        let stored = self.chunks.stored[self.next] as usize;
        let last = self.next + 1 == self.chunks.stored.len();
        let size = self.left.min(self.chunks.original) as usize;
        self.read(stored)?;
        let end = if last { End::Final } else { End::Flush };
        let inflated = self.inflater.inflate((&self.stored, stored), (&mut self.original, size), end);
        if inflated.is_err() {
            return Err(self.malformed("a chunk that is as large as the claims say", "another one"));
        }
        #[cfg(feature = "foreign")]
        self.crc.update(&self.original[..size]);
        (self.used, self.size) = (0, size);
        self.left -= size as u64;
        self.next += 1;
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn malformed(&self, expected: &'static str, found: &'static str) -> Error {
        Error::malformed(self.part.clone(), self.at, expected, found)
    }
}

impl Stage for Chunked<'_> {
    fn fill(&mut self) -> Result<&[u8]> {
        while self.used == self.size && self.next < self.chunks.stored.len() {
            self.inflate()?;
        }
        Ok(&self.original[self.used..self.size])
    }

    fn consume(&mut self, count: usize) {
        self.used = (self.used + count).min(self.size);
    }

    fn finish(&mut self) -> Result<Digest> {
        if !self.fill()?.is_empty() {
            return Err(self.malformed("the end of the gzip data", "more of it"));
        }
        self.read(TRAILER)?;
        #[cfg(feature = "foreign")]
        let differs = self.stored[..4] != self.crc.finish().to_le_bytes();
        #[cfg(not(feature = "foreign"))]
        let differs = false;
        if differs || self.stored[4..TRAILER] != (self.original_size as u32).to_le_bytes() {
            return Err(self.malformed("the CRC-32 and size of what was inflated", "others"));
        }
        Ok(core::mem::take(&mut self.hasher).finish())
    }
}

const HEADER: usize = 10;
const TRAILER: usize = 8;
/// What surrounds the chunks.
const FRAME: u64 = (HEADER + TRAILER) as u64;
