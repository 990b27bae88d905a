//! Reading a slot: its operations undone, a hard cap on what comes out, a proof at the end.

use alloc::boxed::Box;

use crate::claims::SlotClaim;
use crate::codec::{self, Stage};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Part, Result};
use crate::format::Descriptor;
use crate::limits;
use crate::source::Source;

/// Reads a slot. `fill` and `consume` work like those of `std::io::BufRead`.
pub struct SlotReader<'a> {
    stage: Box<dyn Stage + 'a>,
    index: u32,
    /// How many bytes may come out.
    cap: u64,
    /// Whether exactly that many have to.
    exact: bool,
    expected: Option<Digest>,
    /// The descriptor's checksum, where its builder signed no digest.
    #[cfg(feature = "foreign")]
    checksum: Option<u64>,
    consumed: u64,
}

/// The stored bytes of a slot were the ones that the signature vouches for, and they gave exactly what it
/// promises. Only a reader of a verified package gives one; only with one may a slot be published.
#[derive(Debug, PartialEq, Eq)]
pub struct Proof {
    index: u32,
    digest: Digest,
}

impl<'a> SlotReader<'a> {
    pub(crate) fn claimed(
        source: &'a dyn Source,
        index: u32,
        descriptor: &Descriptor,
        claim: &'a SlotClaim,
    ) -> Result<Self> {
        let chunks = claim.chunks.as_ref().map(|chunks| (chunks, claim.original_size));
        let range = (descriptor.offset, descriptor.size);
        let stage = codec::open(source, Part::Slot(index), range, claim.operations, chunks, limits::CLAIMED_WINDOW)?;
        Ok(Self {
            stage,
            index,
            cap: claim.original_size,
            exact: true,
            expected: Some(claim.digest),
            #[cfg(feature = "foreign")]
            checksum: None,
            consumed: 0,
        })
    }

    #[cfg(feature = "foreign")]
    pub(crate) fn signed(
        source: &'a dyn Source,
        index: u32,
        descriptor: &Descriptor,
        digest: Option<Digest>,
        cap: u64,
    ) -> Result<Self> {
        let reader = Self::unverified(source, index, descriptor, cap)?;
        let checksum = digest.is_none().then_some(descriptor.checksum);
        Ok(Self { expected: digest, checksum, ..reader })
    }

    pub(crate) fn unverified(source: &'a dyn Source, index: u32, descriptor: &Descriptor, cap: u64) -> Result<Self> {
        let range = (descriptor.offset, descriptor.size);
        let stage = codec::open(source, Part::Slot(index), range, descriptor.operations, None, limits::WINDOW)?;
        Ok(Self {
            stage,
            index,
            cap,
            exact: false,
            expected: None,
            #[cfg(feature = "foreign")]
            checksum: None,
            consumed: 0,
        })
    }

    /// How many bytes were consumed so far.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Checks the end: everything was read, nothing is left over, size and digest are the promised ones.
    ///
    /// `None` for a slot of an unverified package, or one whose digest its builder did not sign.
    pub fn finish(mut self) -> Result<Option<Proof>> {
        let index = self.index;
        let expected = self.expected;
        let digest = Stage::finish(&mut self)?;
        #[cfg(feature = "foreign")]
        if let Some(checksum) = self.checksum.filter(|checksum| *checksum != digest.hint()) {
            return Err(Error::malformed(Part::Slot(index), 0, checksum, digest.hint()));
        }
        match expected {
            None => Ok(None),
            Some(expected) if expected == digest => Ok(Some(Proof { index, digest })),
            Some(expected) => Err(Error::malformed(Part::Slot(index), 0, expected, digest)),
        }
    }

    /// The bytes that are ready, reading more when there are none; empty only at the end.
    pub fn fill(&mut self) -> Result<&[u8]> {
        let ready = self.stage.fill()?;
        let found = self.consumed.saturating_add(ready.len() as u64);
        if found > self.cap {
            return Err(ErrorKind::TooLarge { what: "what a slot inflates to", allowed: self.cap, found }.into());
        }
        Ok(ready)
    }

    /// Says that `count` of these bytes were used.
    pub fn consume(&mut self, count: usize) {
        self.consumed += count as u64;
        self.stage.consume(count);
    }
}

impl Stage for SlotReader<'_> {
    fn fill(&mut self) -> Result<&[u8]> {
        self.fill()
    }

    fn consume(&mut self, count: usize) {
        self.consume(count);
    }

    fn finish(&mut self) -> Result<Digest> {
        let more = !self.fill()?.is_empty();
        if more || (self.exact && self.consumed != self.cap) {
            let found = self.consumed + u64::from(more);
            return Err(Error::malformed(Part::Slot(self.index), 0, self.cap, found));
        }
        self.stage.finish()
    }
}

impl Proof {
    /// Which slot.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// SHA-256 of its stored bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl core::fmt::Debug for SlotReader<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SlotReader")
            .field("index", &self.index)
            .field("consumed", &self.consumed)
            .finish_non_exhaustive()
    }
}
