//! Operation chains undone: a pull pipeline of [`Stage`]s from the stored bytes to the original ones.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::claims::Chunks;
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Part, Result};
#[cfg(feature = "foreign")]
use crate::format::Operation;
use crate::format::Operations;
use crate::source::Source;

#[cfg(feature = "bzip2")]
mod bzip2;
mod chunked;
#[cfg(any(feature = "bzip2", feature = "xz", feature = "zstd"))]
mod decoded;
#[cfg(feature = "foreign")]
mod gzip;
#[cfg(feature = "xz")]
mod xz;
#[cfg(feature = "zstd")]
mod zstd;

pub use chunked::Chunked;
#[cfg(feature = "foreign")]
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
/// `size` stored bytes at `offset`. `window` is how far back xz and zstd may look, in bytes:
/// [`CLAIMED_WINDOW`](crate::limits::CLAIMED_WINDOW) or [`WINDOW`](crate::limits::WINDOW).
#[cfg_attr(not(feature = "foreign"), expect(unused_variables, reason = "nothing has a window"))]
pub fn open<'a>(
    source: &'a dyn Source,
    part: Part,
    (offset, size): (u64, u64),
    operations: Operations,
    chunks: Option<(&'a Chunks, u64)>,
    window: u64,
) -> Result<Box<dyn Stage + 'a>> {
    match (operations, chunks) {
        (Operations::RAW | Operations::TAR, _) => Ok(Box::new(Stored::new(source, part, offset, size))),
        (Operations::GZIP | Operations::TAR_GZIP, Some((chunks, original_size))) => {
            Ok(Box::new(Chunked::new(source, part, (offset, size), chunks, original_size)?))
        }
        #[cfg(not(feature = "foreign"))]
        _ => Err(Error::left_out(&operations.name())),
        #[cfg(feature = "foreign")]
        _ => {
            let mut stage: Box<dyn Stage + 'a> = Box::new(Stored::new(source, part.clone(), offset, size));
            for step in operations.steps()?.iter().rev() {
                stage = undo(*step, stage, part.clone(), window)?;
            }
            Ok(stage)
        }
    }
}

/// The stage that undoes one step over what `stage` gives; `part` is named in errors. `window` is that of [`open`].
///
/// Each takes exactly one member, stream or frame, with nothing after it, and compares every checksum in it. A step
/// whose feature is off is [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
#[cfg_attr(not(any(feature = "xz", feature = "zstd")), expect(unused_variables, reason = "nothing else has a window"))]
#[cfg(feature = "foreign")]
pub fn undo<'a>(step: Operation, stage: Box<dyn Stage + 'a>, part: Part, window: u64) -> Result<Box<dyn Stage + 'a>> {
    Ok(match step {
        Operation::Tar => stage,
        Operation::Gzip => Box::new(Gzip::new(stage, part)),
        #[cfg(feature = "bzip2")]
        Operation::Bzip2 => bzip2::open(stage, part),
        #[cfg(feature = "xz")]
        Operation::Xz => xz::open(stage, part, window),
        #[cfg(feature = "zstd")]
        Operation::Zstd => zstd::open(stage, part, window),
        #[cfg(not(all(feature = "bzip2", feature = "xz", feature = "zstd")))]
        other => return Err(Error::left_out(other.name())),
    })
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
            if self.buffer.is_empty() {
                // Zeroed once: later reads go over it.
                self.buffer = alloc::vec![0; size];
            }
            self.buffer.truncate(size);
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
            return Err(Error::malformed(self.part.clone(), self.end - left, "the end", "more bytes"));
        }
        Ok(core::mem::take(&mut self.hasher).finish())
    }
}

/// How much is read at a time.
const BUFFER: usize = 32 << 10;

#[cfg(all(test, not(all(feature = "bzip2", feature = "xz", feature = "zstd"))))]
mod tests {
    use super::*;

    #[test]
    fn a_codec_that_is_left_out_is_named_together_with_the_launcher_that_has_it() {
        let source: &[u8] = b"";
        for (feature, chain) in [
            (cfg!(feature = "bzip2"), "tar.bz2"),
            (cfg!(feature = "xz"), "tar.xz"),
            (cfg!(feature = "zstd"), "tar.zst"),
        ] {
            let operations = Operations::from_name(chain).unwrap();
            let opened = open(&source, Part::File, (0, 0), operations, None, crate::limits::WINDOW);
            if feature {
                assert!(opened.is_ok(), "{chain}");
            } else {
                let error = opened.err().expect(chain);
                let expected = alloc::format!("this build does not read {} (pspf-launcher-all does)", &chain[4..]);
                assert_eq!(alloc::string::ToString::to_string(&error), expected);
            }
        }
    }
}
