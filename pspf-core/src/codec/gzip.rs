//! One gzip member (RFC 1952), inflated as a stream through a window.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
use pspf_inflate::Crc32;

use super::Stage;
use crate::digest::Digest;
use crate::error::{Error, Part, Result};

/// Undoes gzip: exactly one member, any header, CRC-32 and size checked, nothing after it.
pub struct Gzip<'a> {
    inner: Box<dyn Stage + 'a>,
    part: Part,
    inflater: Box<DecompressorOxide>,
    window: Vec<u8>,
    /// `window[read..written]` is what [`fill`](Stage::fill) gives next.
    read: usize,
    written: usize,
    /// Of the header, then of what was inflated.
    crc: Crc32,
    size: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    Body,
    Trailer,
    Done,
}

impl<'a> Gzip<'a> {
    /// Undoes gzip over what `inner` gives; `part` is named in errors.
    pub fn new(inner: Box<dyn Stage + 'a>, part: Part) -> Self {
        Self {
            inner,
            part,
            inflater: Box::default(),
            window: vec![0; WINDOW],
            read: 0,
            written: 0,
            crc: Crc32::new(),
            size: 0,
            state: State::Header,
        }
    }

    fn inflate(&mut self) -> Result<()> {
        if self.written == WINDOW {
            (self.read, self.written) = (0, 0);
        }
        let input = self.inner.fill()?;
        let empty = input.is_empty();
        let flags = if empty { 0 } else { inflate_flags::TINFL_FLAG_HAS_MORE_INPUT };
        let (status, consumed, produced) = decompress(&mut self.inflater, input, &mut self.window, self.written, flags);
        self.inner.consume(consumed);
        let fresh = &self.window[self.written..self.written + produced];
        self.crc.update(fresh);
        self.size += produced as u64;
        self.written += produced;
        match status {
            TINFLStatus::Done => self.state = State::Trailer,
            TINFLStatus::HasMoreOutput => {}
            TINFLStatus::NeedsMoreInput if !empty => {}
            TINFLStatus::NeedsMoreInput | TINFLStatus::FailedCannotMakeProgress => {
                return Err(self.malformed("more DEFLATE data", "the end"));
            }
            _ => return Err(self.malformed("DEFLATE data", "bytes that are not")),
        }
        Ok(())
    }

    fn header(&mut self) -> Result<()> {
        let fixed: [u8; 10] = self.take_of_header()?;
        if fixed[..3] != [0x1f, 0x8b, 8] {
            return Err(self.malformed("a gzip header", "other bytes"));
        }
        let flags = fixed[3];
        if flags & RESERVED_FLAGS != 0 {
            return Err(self.malformed("a gzip header without reserved flags", "one with"));
        }
        if flags & FEXTRA != 0 {
            let len = u16::from_le_bytes(self.take_of_header()?);
            for _ in 0..len {
                self.take_of_header::<1>()?;
            }
        }
        for flag in [FNAME, FCOMMENT] {
            if flags & flag != 0 {
                while self.take_of_header()? != [0] {}
            }
        }
        let found = core::mem::replace(&mut self.crc, Crc32::new()).finish() as u16;
        if flags & FHCRC != 0 && u16::from_le_bytes(self.take()?) != found {
            return Err(self.malformed("the CRC-16 of the gzip header", "another"));
        }
        self.state = State::Body;
        Ok(())
    }

    fn trailer(&mut self) -> Result<()> {
        let crc = u32::from_le_bytes(self.take()?);
        let size = u32::from_le_bytes(self.take()?);
        let found = self.crc.finish();
        if crc != found {
            return Err(self.malformed("the CRC-32 of what was inflated", "another"));
        }
        if size != self.size as u32 {
            return Err(self.malformed("the size of what was inflated", "another"));
        }
        self.state = State::Done;
        Ok(())
    }

    fn take_of_header<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.take()?;
        self.crc.update(&bytes);
        Ok(bytes)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            let Some(first) = self.inner.fill()?.first() else {
                return Err(self.malformed("more gzip data", "the end"));
            };
            *byte = *first;
            self.inner.consume(1);
        }
        Ok(bytes)
    }

    #[cold]
    #[inline(never)]
    fn malformed(&self, expected: &'static str, found: &'static str) -> Error {
        Error::malformed(self.part.clone(), 0, expected, found)
    }
}

impl Stage for Gzip<'_> {
    fn fill(&mut self) -> Result<&[u8]> {
        while self.read == self.written {
            match self.state {
                State::Header => self.header()?,
                State::Body => self.inflate()?,
                State::Trailer => self.trailer()?,
                State::Done => break,
            }
        }
        Ok(&self.window[self.read..self.written])
    }

    fn consume(&mut self, count: usize) {
        self.read = (self.read + count).min(self.written);
    }

    fn finish(&mut self) -> Result<Digest> {
        if !self.fill()?.is_empty() {
            return Err(self.malformed("the end of the gzip data", "more of it"));
        }
        self.inner.finish()
    }
}

/// A power of two, as the inflater asks, of at least the 32 KiB that DEFLATE looks back.
const WINDOW: usize = 64 << 10;

const FHCRC: u8 = 1 << 1;
const FEXTRA: u8 = 1 << 2;
const FNAME: u8 = 1 << 3;
const FCOMMENT: u8 = 1 << 4;
const RESERVED_FLAGS: u8 = 0b1110_0000;
