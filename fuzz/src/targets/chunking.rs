//! What comes out does not depend on how much comes in at a time.

use pspf_core::codec::{self, Stage, Stored};
use pspf_core::format::Operation;
use pspf_core::limits::WINDOW;
use pspf_core::{Digest, Part, Result, Source};

use super::archives::{list, list_stage};
use super::common::read_source;
use super::cursor::Cursor;
use super::drained::Drained;
use super::forge;

/// The input says what is read (a package, an archive, or one of the codecs) and in which steps, then what is in it.
pub(super) fn chunking_independence(input: &[u8]) -> bool {
    let mut input = Cursor(input);
    let (what, steps) = (input.u8(), Steps { most: usize::from(input.u8()) + 1, seed: input.u16() });
    let operation = match what % 6 {
        0 => {
            let file = forge::package(input.0);
            // Slots may be bombs, which take their time twice.
            let whole = read_source(file.as_slice());
            assert_eq!(read_source(Short { bytes: &file, steps }), whole, "a source that reads short");
            return whole.is_ok();
        }
        1 => {
            let whole = list(input.0);
            let stored = Stored::new(&input.0, Part::Slot(0), 0, input.0.len() as u64);
            assert_eq!(list_stage(&mut Trickle::new(Box::new(stored), steps)), whole, "a stage that trickles");
            return whole.is_ok();
        }
        2 => Operation::Gzip,
        3 => Operation::Bzip2,
        4 => Operation::Xz,
        _ => Operation::Zstd,
    };
    let stored = || Box::new(Stored::new(&input.0, Part::Slot(0), 0, input.0.len() as u64));
    let whole = Drained::of(codec::undo(operation, stored(), Part::Slot(0), WINDOW));
    let trickle = Box::new(Trickle::new(stored(), steps));
    let in_steps = Drained::of(codec::undo(operation, trickle, Part::Slot(0), WINDOW));
    assert_eq!(in_steps, whole, "{operation:?} over a stage that trickles");
    whole.is_all()
}

/// How much comes at a time: from one byte to `most`.
#[derive(Clone, Copy)]
struct Steps {
    most: usize,
    seed: u16,
}

impl Steps {
    fn at(self, at: u64) -> usize {
        let mixed = (at + 1).wrapping_mul(u64::from(self.seed) | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        1 + mixed as usize % self.most
    }
}

/// A source that reads less than it is asked for.
struct Short<'a> {
    bytes: &'a [u8],
    steps: Steps,
}

impl Source for Short<'_> {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let count = self.steps.at(offset).min(buf.len());
        self.bytes.read_at(offset, &mut buf[..count])
    }
}

/// A stage that gives less than there is.
struct Trickle<'a> {
    inner: Box<dyn Stage + 'a>,
    steps: Steps,
    at: u64,
    /// What is left of the current step.
    left: usize,
}

impl<'a> Trickle<'a> {
    fn new(inner: Box<dyn Stage + 'a>, steps: Steps) -> Self {
        Self { inner, steps, at: 0, left: steps.at(0) }
    }
}

impl Stage for Trickle<'_> {
    fn fill(&mut self) -> Result<&[u8]> {
        let ready = self.inner.fill()?;
        Ok(&ready[..ready.len().min(self.left)])
    }

    fn consume(&mut self, count: usize) {
        self.inner.consume(count);
        self.at += count as u64;
        self.left = self.left.saturating_sub(count);
        if self.left == 0 {
            self.left = self.steps.at(self.at);
        }
    }

    fn finish(&mut self) -> Result<Digest> {
        self.inner.finish()
    }
}
