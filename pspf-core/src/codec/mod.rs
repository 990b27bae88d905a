//! Operation chains undone: a pull pipeline of [`Stage`]s from the stored bytes to the original ones.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::claims::Chunks;
use crate::digest::{Digest, Hasher};
use crate::error::{Error, ErrorKind, Part, Result};
use crate::format::{Operation, Operations};
use crate::source::Source;

mod chunked;
mod gzip;

pub use chunked::Chunked;
pub use gzip::Gzip;

/// One step of undoing a chain. Like `std::io::BufRead`, with an end that proves something.
pub trait Stage {
    /// The bytes that are ready, reading more when there are none; empty only at the end.
    fn fill(&mut self) -> Result<&[u8]>;

    /// Says that `count` of these bytes were used; at most as many as [`fill`](Self::fill) gave.
    fn consume(&mut self, count: usize);

    /// Checks that everything ended where and how it should, and gives the digest of the stored bytes.
    fn finish(&mut self) -> Result<Digest>;
}

/// The stages that undo `operations` (all but `tar`, which the [`archive`](crate::archive) reader undoes) over
/// `size` stored bytes at `offset`.
pub fn open<'a>(
    source: &'a dyn Source,
    part: Part,
    (offset, size): (u64, u64),
    operations: Operations,
    chunks: Option<(&'a Chunks, u64)>,
) -> Result<Box<dyn Stage + 'a>> {
    let steps = operations.steps()?;
    let steps: Vec<_> = steps.into_iter().filter(|step| *step != Operation::Tar).collect();
    if let ([Operation::Gzip], Some((chunks, original_size))) = (steps.as_slice(), chunks) {
        return Ok(Box::new(Chunked::new(source, part, (offset, size), chunks, original_size)?));
    }
    let mut stage: Box<dyn Stage + 'a> = Box::new(Stored::new(source, part.clone(), offset, size));
    for step in steps.iter().rev() {
        stage = match step {
            Operation::Gzip => Box::new(Gzip::new(stage, part.clone())),
            other => return Err(ErrorKind::Unsupported { what: other.name().into() }.into()),
        };
    }
    Ok(stage)
}

/// The stored bytes as they are, hashed as they pass.
pub struct Stored<'a> {
    source: &'a dyn Source,
    part: Part,
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    used: usize,
    hasher: Hasher,
}

impl<'a> Stored<'a> {
    /// `size` bytes at `offset`, which the caller has checked to lie inside the source.
    pub fn new(source: &'a dyn Source, part: Part, offset: u64, size: u64) -> Self {
        Self { source, part, at: offset, end: offset + size, buffer: Vec::new(), used: 0, hasher: Hasher::new() }
    }
}

impl Stage for Stored<'_> {
    fn fill(&mut self) -> Result<&[u8]> {
        if self.used == self.buffer.len() && self.at < self.end {
            let size = (self.end - self.at).min(BUFFER as u64) as usize;
            self.buffer.resize(size, 0);
            self.used = 0;
            if let Err(error) = self.source.read_exact_at(self.at, &mut self.buffer) {
                self.buffer.clear();
                return Err(error);
            }
            self.at += size as u64;
            self.hasher.update(&self.buffer);
        }
        Ok(&self.buffer[self.used..])
    }

    fn consume(&mut self, count: usize) {
        self.used = (self.used + count).min(self.buffer.len());
    }

    fn finish(&mut self) -> Result<Digest> {
        let left = self.end - self.at + (self.buffer.len() - self.used) as u64;
        if left > 0 {
            return Err(Error::malformed(
                self.part.clone(),
                self.end - left,
                "the end",
                alloc::format!("{left} more bytes"),
            ));
        }
        Ok(core::mem::take(&mut self.hasher).finish())
    }
}

/// How much is read at a time.
const BUFFER: usize = 128 << 10;
