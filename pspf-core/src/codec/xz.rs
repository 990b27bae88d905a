//! One xz stream (the .xz file format 1.2.0), its LZMA2 by `lzma-rust2`.
//!
//! The container is read here rather than by that crate. Its reader for buffers keeps a record of every block, leaves
//! the sizes that headers and footer declare unchecked, and its errors have another type as soon as some other part of
//! a program turns its `std` feature on.
//!
//! ```text
//! stream   magic (6) | flags (2) | CRC-32 | block .. | index | CRC-32 | size of the index (4) | flags (2) | "YZ"
//! block    size (1) | flags (1) | sizes, optional | filters | zeros | CRC-32 | LZMA2 | zeros to 4 | check
//! index    0 | number of blocks | size and original size of each | zeros to 4 | CRC-32
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;

use lzma_rust2::{Action, Lzma2Stream, Status};
use pspf_inflate::Crc32;

use super::Stage;
use super::decoded::{Decoded, Decoder, Input};
use crate::digest::Hasher;
use crate::error::{Error, ErrorKind, Part, Result};

/// Undoes xz: exactly one stream, no filters but LZMA2, every check and size compared, nothing after it. `dictionary` is
/// how far back it may look, in bytes.
pub(super) fn open<'a>(inner: Box<dyn Stage + 'a>, part: Part, dictionary: u64) -> Box<dyn Stage + 'a> {
    let decoder = Xz { dictionary, check: None, block: None, blocks: 0, records: Hasher::new() };
    Box::new(Decoded::new(inner, part, decoder))
}

struct Xz {
    /// The largest dictionary that is accepted.
    dictionary: u64,
    /// What blocks end with, once the header was read.
    check: Option<u8>,
    block: Option<Box<Block>>,
    /// How many blocks there were, and a digest of what the index has to say about them.
    blocks: u64,
    records: Hasher,
}

impl Decoder for Xz {
    fn decode(&mut self, input: &mut Input<'_>, out: &mut Vec<u8>) -> Result<bool> {
        let check = match self.check {
            Some(check) => check,
            None => *self.check.insert(stream_header(input)?),
        };
        let mut block = match self.block.take() {
            Some(block) => block,
            None => match take(input)? {
                [0] => return self.index(input, check).map(|()| true),
                [size] => Box::new(Block::open(input, size, check, self.dictionary)?),
            },
        };
        if block.decode(input, out)? {
            for size in block.close(input)? {
                self.records.update(&size.to_le_bytes());
            }
            self.blocks += 1;
        } else {
            self.block = Some(block);
        }
        Ok(false)
    }
}

impl Xz {
    /// Reads the index, from behind its first byte, and the footer.
    fn index(&mut self, input: &mut Input<'_>, check: u8) -> Result<()> {
        let mut crc = Crc32::new();
        crc.update(&[0]);
        let mut size = 1;
        let mut number = |input: &mut Input<'_>| {
            number(input, |input| {
                let [byte] = take(input)?;
                crc.update(&[byte]);
                size += 1;
                Ok(byte)
            })
        };
        if number(input)? != self.blocks {
            return Err(input.malformed("as many blocks as the xz index says", "another number"));
        }
        let mut records = Hasher::new();
        for _ in 0..2 * self.blocks {
            records.update(&number(input)?.to_le_bytes());
        }
        if records.finish() != core::mem::take(&mut self.records).finish() {
            return Err(input.malformed("blocks of the sizes that the xz index says", "other sizes"));
        }
        for _ in 0..padding(size) {
            let byte: [u8; 1] = take(input)?;
            check_zeros(input, &byte)?;
            crc.update(&byte);
        }
        let stored = u32::from_le_bytes(take(input)?);
        if stored != crc.finish() {
            return Err(input.malformed("the CRC-32 of the xz index", "another one"));
        }

        let footer: [u8; 12] = take(input)?;
        // In words, the first one not counted.
        let index_size = (size + padding(size)) / 4;
        if footer[..4] != Crc32::of(&footer[4..10]).to_le_bytes()
            || u64::from(u32::from_le_bytes([footer[4], footer[5], footer[6], footer[7]])) != index_size
            || footer[8..] != [0, check, b'Y', b'Z']
        {
            return Err(input.malformed("an xz footer that matches the header and the index", "another one"));
        }
        Ok(())
    }
}

/// Reads the stream's header; the identifier of its check.
fn stream_header(input: &mut Input<'_>) -> Result<u8> {
    let header: [u8; 12] = take(input)?;
    if header[..6] != MAGIC || header[8..] != Crc32::of(&header[6..8]).to_le_bytes() {
        return Err(input.malformed("an xz header", "other bytes"));
    }
    match header[6..8] {
        [0, check @ (NO_CHECK | CRC32 | CRC64 | SHA256)] => Ok(check),
        _ => {
            Err(ErrorKind::Unsupported { what: "xz with another check than CRC-32, CRC-64 and SHA-256".into() }.into())
        }
    }
}

/// A block that is being read.
struct Block {
    lzma: Lzma2Stream,
    header_size: u64,
    /// What the header says about the sizes.
    declared: [Option<u64>; 2],
    /// How many bytes of LZMA2 were read, and how many came out.
    sizes: [u64; 2],
    check: Check,
}

impl Block {
    /// Reads the rest of a block's header, whose first byte is `size`.
    fn open(input: &mut Input<'_>, size: u8, check: u8, dictionary: u64) -> Result<Self> {
        let mut header = [0; 1024];
        let end = (usize::from(size) + 1) * 4;
        header[0] = size;
        input.take(&mut header[1..end], MORE)?;
        let (header, stored) = header[..end].split_at(end - 4);
        if stored != Crc32::of(header).to_le_bytes() {
            return Err(input.malformed("the CRC-32 of an xz block header", "another one"));
        }
        let mut rest = header[2..].iter();
        let mut next = |input: &mut Input<'_>| {
            number(input, |input| {
                rest.next().copied().ok_or_else(|| input.malformed("more of an xz block header", "its end"))
            })
        };
        let flags = header[1];
        let mut declared = [None; 2];
        for (flag, declared) in [HAS_SIZE, HAS_ORIGINAL_SIZE].into_iter().zip(&mut declared) {
            if flags & flag != 0 {
                *declared = Some(next(input)?);
            }
        }
        // All other flags are zero when there is one filter only; that one is the last, which has to be LZMA2.
        if flags & !(HAS_SIZE | HAS_ORIGINAL_SIZE) != 0 || next(input)? != LZMA2 {
            return Err(ErrorKind::Unsupported { what: "xz with other filters than LZMA2".into() }.into());
        }
        let found = match (next(input)?, rest.next()) {
            (1, Some(40)) => u32::MAX,
            (1, Some(bits @ ..40)) => (2 | u32::from(bits & 1)) << (bits / 2 + 11),
            _ => return Err(input.malformed("the size of an LZMA2 dictionary", "other properties")),
        };
        check_zeros(input, rest.as_slice())?;
        if u64::from(found) > dictionary {
            return Err(Error::too_large("the dictionary of an xz block", dictionary, found.into()));
        }
        // It grows as it is filled.
        let lzma = Lzma2Stream::new(found);
        Ok(Self { lzma, header_size: end as u64, declared, sizes: [0; 2], check: Check::new(check) })
    }

    /// Appends what comes next; true at the end.
    fn decode(&mut self, input: &mut Input<'_>, out: &mut Vec<u8>) -> Result<bool> {
        out.resize(OUTPUT, 0);
        let (mut given, mut ended) = (0, false);
        while given < OUTPUT && !ended {
            let ready = input.fill()?;
            let last = ready.is_empty();
            let action = if last { Action::Finish } else { Action::Run };
            match self.lzma.process(ready, &mut out[given..], action) {
                Ok(step) if step.status == Status::StreamEnd || step.bytes_consumed + step.bytes_produced > 0 => {
                    input.consume(step.bytes_consumed);
                    self.sizes[0] += step.bytes_consumed as u64;
                    given += step.bytes_produced;
                    ended = step.status == Status::StreamEnd;
                }
                _ if last => return Err(input.malformed(MORE, "the end")),
                _ => return Err(input.malformed("LZMA2 data", "bytes that are not")),
            }
        }
        out.truncate(given);
        self.sizes[1] += given as u64;
        self.check.update(out);
        Ok(ended)
    }

    /// Reads what follows the data; what the index has to say about this block.
    fn close(self, input: &mut Input<'_>) -> Result<[u64; 2]> {
        let differs = |(declared, size): (Option<u64>, u64)| declared.is_some_and(|declared| declared != size);
        if self.declared.into_iter().zip(self.sizes).any(differs) {
            return Err(input.malformed("the sizes that the xz block header says", "other sizes"));
        }
        for _ in 0..padding(self.sizes[0]) {
            let byte: [u8; 1] = take(input)?;
            check_zeros(input, &byte)?;
        }
        let (check, size) = self.check.finish();
        let mut stored = [0; 32];
        input.take(&mut stored[..size], MORE)?;
        if stored != check {
            return Err(input.malformed("the check of an xz block", "another one"));
        }
        Ok([self.header_size + self.sizes[0] + size as u64, self.sizes[1]])
    }
}

/// The check of a block in the making.
enum Check {
    None,
    Crc32(Crc32),
    Crc64(Crc64),
    Sha256(Hasher),
}

impl Check {
    /// By its identifier, one that [`stream_header`] lets pass.
    fn new(id: u8) -> Self {
        match id {
            CRC32 => Self::Crc32(Crc32::new()),
            CRC64 => Self::Crc64(Crc64::new()),
            SHA256 => Self::Sha256(Hasher::new()),
            _ => Self::None,
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::None => {}
            Self::Crc32(crc) => crc.update(bytes),
            Self::Crc64(crc) => crc.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    /// The check, zeros behind it, and its size.
    fn finish(self) -> ([u8; 32], usize) {
        let mut check = [0; 32];
        let size = match self {
            Self::None => 0,
            Self::Crc32(crc) => {
                check[..4].copy_from_slice(&crc.finish().to_le_bytes());
                4
            }
            Self::Crc64(crc) => {
                check[..8].copy_from_slice(&(!crc.state).to_le_bytes());
                8
            }
            Self::Sha256(hasher) => {
                check = hasher.finish().0;
                32
            }
        };
        (check, size)
    }
}

/// CRC-64 as ECMA-182 has it, bits reversed, eight bytes at a step; like [`Crc32`].
struct Crc64 {
    /// `tables[n][byte]` is what `byte` does to the checksum once `n` more bytes have passed.
    tables: Box<[[u64; 256]; 8]>,
    state: u64,
}

impl Crc64 {
    fn new() -> Self {
        let mut tables = Box::new([[0; 256]; 8]);
        for byte in 0..256 {
            let step = |crc: u64, _| crc >> 1 ^ if crc & 1 == 0 { 0 } else { 0xc96c_5795_d787_0f42 };
            tables[0][byte] = (0..8).fold(byte as u64, step);
        }
        for i in 1..8 {
            for byte in 0..256 {
                let state: u64 = tables[i - 1][byte];
                tables[i][byte] = tables[0][usize::from(state as u8)] ^ state >> 8;
            }
        }
        Self { tables, state: !0 }
    }

    fn update(&mut self, bytes: &[u8]) {
        let mut state = self.state;
        let (blocks, rest) = bytes.as_chunks();
        for block in blocks {
            let [a, b, c, d, e, f, g, h] = (state ^ u64::from_le_bytes(*block)).to_le_bytes();
            let after = |count: usize, byte: u8| self.tables[count][usize::from(byte)];
            state = after(7, a) ^ after(6, b) ^ after(5, c) ^ after(4, d);
            state ^= after(3, e) ^ after(2, f) ^ after(1, g) ^ after(0, h);
        }
        for byte in rest {
            state = self.tables[0][usize::from(state as u8 ^ byte)] ^ state >> 8;
        }
        self.state = state;
    }
}

fn take<const N: usize>(input: &mut Input<'_>) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    input.take(&mut bytes, MORE)?;
    Ok(bytes)
}

/// A number of up to 63 bits, seven to a byte, the lowest first, in no more bytes than it needs.
fn number(input: &mut Input<'_>, mut next: impl FnMut(&mut Input<'_>) -> Result<u8>) -> Result<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let byte = next(input)?;
        number |= u64::from(byte & 0x7f) << shift;
        match byte {
            0 if shift > 0 => break,
            0x80.. => {}
            _ => return Ok(number),
        }
    }
    Err(input.malformed("a number as xz has them", "a longer one"))
}

/// How many zeros fill `size` bytes up to a multiple of four.
fn padding(size: u64) -> u64 {
    size.wrapping_neg() % 4
}

fn check_zeros(input: &Input<'_>, bytes: &[u8]) -> Result<()> {
    if bytes.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(input.malformed("zeros", "other bytes")) }
}

/// How much is given out at a time.
const OUTPUT: usize = 64 << 10;

/// What is missing in a stream that is cut short.
const MORE: &str = "more xz data";

const MAGIC: [u8; 6] = *b"\xfd7zXZ\0";

/// Flags of a block header.
const HAS_SIZE: u8 = 1 << 6;
const HAS_ORIGINAL_SIZE: u8 = 1 << 7;
/// The only filter that we know.
const LZMA2: u64 = 0x21;

/// Identifiers of checks.
const NO_CHECK: u8 = 0;
const CRC32: u8 = 1;
const CRC64: u8 = 4;
const SHA256: u8 = 10;
