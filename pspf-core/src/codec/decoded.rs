//! What bzip2, xz and zstd have in common: a decoder that appends to a buffer, as a [`Stage`].

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Stage;
use crate::digest::Digest;
use crate::error::{Error, Part, Result};

/// Undoes one format.
pub(super) trait Decoder {
    /// Appends what comes next to `out`, which is empty, and says whether that was the last of it. `out` may stay
    /// empty for a while, but not without using input.
    fn decode(&mut self, input: &mut Input<'_>, out: &mut Vec<u8>) -> Result<bool>;
}

/// A decoder over a stage, as a stage.
pub(super) struct Decoded<'a, D> {
    input: Input<'a>,
    decoder: D,
    out: Vec<u8>,
    used: usize,
    /// How it went on after `out`: `true` when that was the end. An error stays.
    ended: Result<bool>,
}

/// What a decoder reads.
pub(super) struct Input<'a> {
    stage: Box<dyn Stage + 'a>,
    part: Part,
}

impl<'a, D: Decoder> Decoded<'a, D> {
    /// Undoes what `decoder` knows over what `stage` gives; `part` is named in errors.
    pub(super) fn new(stage: Box<dyn Stage + 'a>, part: Part, decoder: D) -> Self {
        Self { input: Input { stage, part }, decoder, out: Vec::new(), used: 0, ended: Ok(false) }
    }
}

impl<D: Decoder> Stage for Decoded<'_, D> {
    fn fill(&mut self) -> Result<&[u8]> {
        while self.used == self.out.len() && !self.ended.clone()? {
            self.out.clear();
            self.used = 0;
            self.ended = self.decoder.decode(&mut self.input, &mut self.out);
            if self.ended.is_err() {
                self.out.clear();
            }
        }
        Ok(&self.out[self.used..])
    }

    fn consume(&mut self, count: usize) {
        self.used = (self.used + count).min(self.out.len());
    }

    fn finish(&mut self) -> Result<Digest> {
        if !self.fill()?.is_empty() {
            return Err(self.input.malformed("the end of the compressed data", "more of it"));
        }
        self.input.stage.finish()
    }
}

impl Input<'_> {
    /// The bytes that are ready; empty only at the end.
    pub(super) fn fill(&mut self) -> Result<&[u8]> {
        self.stage.fill()
    }

    /// Says that `count` of these bytes were used.
    pub(super) fn consume(&mut self, count: usize) {
        self.stage.consume(count);
    }

    /// Fills `bytes`, or fails; says `what` ended too early.
    #[cfg(any(feature = "xz", feature = "zstd"))]
    pub(super) fn take(&mut self, mut bytes: &mut [u8], what: &'static str) -> Result<()> {
        while !bytes.is_empty() {
            let ready = self.stage.fill()?;
            let size = ready.len().min(bytes.len());
            if size == 0 {
                return Err(self.malformed(what, "the end"));
            }
            bytes[..size].copy_from_slice(&ready[..size]);
            bytes = &mut bytes[size..];
            self.stage.consume(size);
        }
        Ok(())
    }

    /// The data is not what it should be.
    #[cold]
    pub(super) fn malformed(&self, expected: &'static str, found: &'static str) -> Error {
        Error::malformed(self.part.clone(), 0, expected, found)
    }
}
