//! One bzip2 stream, decoded block by block.
//!
//! Ours, because there is no crate for it: bzip2 0.6 needs the standard library, and what it is made of
//! (libbz2-rs-sys) is a C interface, all `unsafe`. The format has no other specification than its reference
//! implementation, bzip2 1.0.8.
//!
//! ```text
//! stream   "BZh" level '1'..'9' | block .. | 0x177245385090 | CRC of the blocks' CRCs (32) | zeros up to a byte
//! block    0x314159265359 | CRC (32) | randomised (1) | start (24) | bytes in use (16 + 16 each)
//!          | tables (3) | selectors (15), each in unary | tables, as differences of code lengths | symbols
//! ```
//!
//! Undone from the inside out: Huffman codes, runs of the first place and move-to-front, the sorted text
//! (Burrows-Wheeler), runs of four and more. Before the last step a block is 900,000 bytes at most, and four times as
//! much is what is held in memory.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Stage;
use super::decoded::{Decoded, Decoder, Input};
use crate::error::{ErrorKind, Part, Result};

/// Undoes bzip2: exactly one stream, every CRC checked, nothing after it.
pub(super) fn open<'a>(inner: Box<dyn Stage + 'a>, part: Part) -> Box<dyn Stage + 'a> {
    let decoder = Bzip2 {
        bits: Bits { buffer: 0, count: 0 },
        block_size: 0,
        text: Vec::new(),
        at: 0,
        left: 0,
        last: 0,
        run: 0,
        tables: Box::new([const { Table::EMPTY }; TABLES]),
        crcs: crc_table(),
        crc: 0,
        expected: 0,
        combined: 0,
    };
    Box::new(Decoded::new(inner, part, decoder))
}

struct Bzip2 {
    bits: Bits,
    /// How long a block may be, in bytes; zero before the header was read.
    block_size: usize,
    /// The sorted text of the block. Low byte: the byte; above it: where the next one is.
    text: Vec<u32>,
    /// Where in the text the next byte is.
    at: usize,
    /// How many are still to come.
    left: usize,
    /// The last byte that came out and how often in a row; after four of them comes a count.
    last: u8,
    run: u8,
    tables: Box<[Table; TABLES]>,
    crcs: Box<[u32; 256]>,
    /// The CRC of the block so far, the one that it should have, and that of all blocks before it.
    crc: u32,
    expected: u32,
    combined: u32,
}

impl Decoder for Bzip2 {
    fn decode(&mut self, input: &mut Input<'_>, out: &mut Vec<u8>) -> Result<bool> {
        if self.block_size == 0 {
            self.header(input)?;
        }
        if self.left == 0 {
            match (self.bits.take(input, 24)?, self.bits.take(input, 24)?) {
                BLOCK => self.block(input)?,
                END => return self.end(input),
                _ => return Err(input.malformed("a bzip2 block", "other bytes")),
            }
        }
        self.unwind(input, out)?;
        Ok(false)
    }
}

impl Bzip2 {
    fn header(&mut self, input: &mut Input<'_>) -> Result<()> {
        if self.bits.take(input, 24)? != MAGIC {
            return Err(input.malformed("a bzip2 header", "other bytes"));
        }
        match self.bits.take(input, 8)? {
            level @ 0x31..=0x39 => self.block_size = (level - 0x30) as usize * 100_000,
            _ => return Err(input.malformed("a bzip2 level from 1 to 9", "another one")),
        }
        Ok(())
    }

    /// Reads a block up to the sorted text and links that.
    fn block(&mut self, input: &mut Input<'_>) -> Result<()> {
        self.expected = self.bits.take(input, 32)?;
        if self.bits.take(input, 1)? != 0 {
            return Err(
                ErrorKind::Unsupported { what: "randomised bzip2 blocks (bzip2 0.9.0 and older)".into() }.into()
            );
        }
        let start = self.bits.take(input, 24)? as usize;
        let mut counts = [0; 256];
        self.symbols(input, &mut counts)?;
        if start >= self.text.len() {
            return Err(input.malformed("the start of a bzip2 block inside of it", "a place outside"));
        }
        // Counts become where each byte's first one is when the text is sorted.
        let mut sum = 0;
        for count in &mut counts {
            (*count, sum) = (sum, sum + *count);
        }
        for i in 0..self.text.len() {
            let place = &mut counts[usize::from(self.text[i] as u8)];
            self.text[*place as usize] |= (i as u32) << 8;
            *place += 1;
        }
        self.at = (self.text[start] >> 8) as usize;
        self.left = self.text.len();
        (self.run, self.crc) = (0, !0);
        Ok(())
    }

    /// Reads the symbols of a block into `text` and counts its bytes.
    fn symbols(&mut self, input: &mut Input<'_>, counts: &mut [u32; 256]) -> Result<()> {
        let mut places = [0_u8; 256];
        let mut used = 0;
        let rows = self.bits.take(input, 16)?;
        for row in (0..16).filter(|row| rows << row & 0x8000 != 0) {
            let columns = self.bits.take(input, 16)?;
            for column in (0..16).filter(|column| columns << column & 0x8000 != 0) {
                places[used] = row << 4 | column;
                used += 1;
            }
        }
        if used == 0 {
            return Err(input.malformed("a bzip2 block that uses some byte", "one that uses none"));
        }
        let selectors = self.tables(input, used + 2)?;
        let end = used as u16 + 1;

        self.text.clear();
        // The run being read: its length, and what its next digit counts.
        let (mut run, mut digit) = (0, 1);
        for table in selectors {
            let table = &self.tables[usize::from(table)];
            for _ in 0..GROUP {
                let symbol = self.bits.symbol(input, table)?;
                if symbol <= RUN_B {
                    run += digit << symbol;
                    digit <<= 1;
                    if run > self.block_size {
                        return Err(input.malformed("a bzip2 block that is no longer than its level says", "more"));
                    }
                    continue;
                }
                if run > 0 {
                    counts[usize::from(places[0])] += run as u32;
                    self.text.resize(self.text.len() + run, u32::from(places[0]));
                    (run, digit) = (0, 1);
                }
                let last = symbol == end;
                if self.text.len() + usize::from(!last) > self.block_size {
                    return Err(input.malformed("a bzip2 block that is no longer than its level says", "more"));
                }
                if last {
                    return Ok(());
                }
                let place = usize::from(symbol) - 1;
                let byte = places[place];
                places.copy_within(..place, 1);
                places[0] = byte;
                counts[usize::from(byte)] += 1;
                self.text.push(u32::from(byte));
            }
        }
        Err(input.malformed("as many bzip2 selectors as the block needs", "fewer"))
    }

    /// Reads the selectors, which table each group of symbols goes by, and the tables.
    fn tables(&mut self, input: &mut Input<'_>, symbols: usize) -> Result<Vec<u8>> {
        let tables = self.bits.take(input, 3)? as usize;
        let count = self.bits.take(input, 15)? as usize;
        if !(2..=TABLES).contains(&tables) || count == 0 {
            return Err(input.malformed("two to six bzip2 tables and a selector", "other numbers"));
        }
        let mut places = [0, 1, 2, 3, 4, 5];
        let mut selectors = Vec::with_capacity(count);
        for _ in 0..count {
            let mut place = 0;
            while self.bits.take(input, 1)? != 0 {
                place += 1;
                if place == tables {
                    return Err(input.malformed("a bzip2 selector of an existing table", "another one"));
                }
            }
            places[..=place].rotate_right(1);
            selectors.push(places[0]);
        }
        for table in 0..tables {
            let mut lengths = [0; SYMBOLS];
            let mut length = self.bits.take(input, 5)?;
            for to in &mut lengths[..symbols] {
                loop {
                    if !(1..=LONGEST).contains(&length) {
                        return Err(input.malformed("bzip2 codes of 1 to 20 bits", "another length"));
                    }
                    match self.bits.take(input, 1)? {
                        0 => break,
                        _ if self.bits.take(input, 1)? == 0 => length += 1,
                        _ => length -= 1,
                    }
                }
                *to = length as u8;
            }
            if !self.tables[table].build(&lengths[..symbols]) {
                return Err(input.malformed("bzip2 codes that differ", "too many short ones"));
            }
        }
        Ok(selectors)
    }

    /// Walks the text and undoes the runs of four and more.
    fn unwind(&mut self, input: &mut Input<'_>, out: &mut Vec<u8>) -> Result<()> {
        while self.left > 0 && out.len() < OUTPUT {
            let entry = self.text[self.at];
            let byte = entry as u8;
            self.at = (entry >> 8) as usize;
            self.left -= 1;
            if self.run == 4 {
                out.resize(out.len() + usize::from(byte), self.last);
                self.run = 0;
            } else {
                self.run = if self.run > 0 && byte == self.last { self.run + 1 } else { 1 };
                self.last = byte;
                out.push(byte);
            }
        }
        for byte in out.iter() {
            self.crc = self.crcs[usize::from((self.crc >> 24) as u8 ^ byte)] ^ self.crc << 8;
        }
        if self.left == 0 {
            if self.run == 4 {
                return Err(input.malformed("a count after four equal bytes", "the end of the bzip2 block"));
            }
            if !self.crc != self.expected {
                return Err(input.malformed("the CRC-32 of a bzip2 block", "another one"));
            }
            self.combined = self.combined.rotate_left(1) ^ self.expected;
        }
        Ok(())
    }

    fn end(&mut self, input: &mut Input<'_>) -> Result<bool> {
        if self.bits.take(input, 32)? != self.combined {
            return Err(input.malformed("the CRC-32 of the bzip2 blocks", "another one"));
        }
        if self.bits.take(input, self.bits.count % 8)? != 0 {
            return Err(input.malformed("zeros up to the next byte", "other bits"));
        }
        if self.bits.count > 0 {
            return Err(input.malformed("the end of the bzip2 data", "more of it"));
        }
        Ok(true)
    }
}

/// Bits from the highest of the first byte on.
struct Bits {
    /// The next bit is the highest. Behind the ones that count are zeros, or already those that will follow.
    buffer: u64,
    count: u32,
}

impl Bits {
    /// The next `size` bits, 32 at most.
    fn take(&mut self, input: &mut Input<'_>, size: u32) -> Result<u32> {
        if self.count < size {
            self.refill(input)?;
        }
        let bits = (self.buffer >> 32) as u32;
        self.skip(input, size)?;
        Ok(bits.checked_shr(32 - size).unwrap_or(0))
    }

    /// The next symbol of `table`.
    #[inline]
    fn symbol(&mut self, input: &mut Input<'_>, table: &Table) -> Result<u16> {
        if self.count < LONGEST {
            self.refill(input)?;
        }
        let (symbol, length) = match table.short[(self.buffer >> (64 - SHORT)) as usize] {
            0 => table.long((self.buffer >> (64 - LONGEST)) as u32),
            entry => (entry >> 5, u32::from(entry & 31)),
        };
        self.skip(input, length)?;
        if length == 0 {
            return Err(input.malformed("a bzip2 code", "bits that are none"));
        }
        Ok(symbol)
    }

    #[inline]
    fn skip(&mut self, input: &Input<'_>, size: u32) -> Result<()> {
        self.count = match self.count.checked_sub(size) {
            Some(left) => left,
            None => return Err(input.malformed("more bzip2 data", "the end")),
        };
        self.buffer <<= size;
        Ok(())
    }

    /// Reads until there are at least 56 bits, or the end is reached.
    #[inline]
    fn refill(&mut self, input: &mut Input<'_>) -> Result<()> {
        while self.count < 56 {
            let ready = input.fill()?;
            let taken = match ready.first_chunk() {
                Some(eight) => {
                    self.buffer |= u64::from_be_bytes(*eight) >> self.count;
                    ((63 - self.count) / 8) as usize
                }
                None => {
                    let Some(byte) = ready.first() else { break };
                    self.buffer |= u64::from(*byte) << (56 - self.count);
                    1
                }
            };
            input.consume(taken);
            self.count += taken as u32 * 8;
        }
        Ok(())
    }
}

/// One set of Huffman codes. Shorter codes come first, codes of one length in the order of their symbols.
struct Table {
    /// By the next [`SHORT`] bits: the symbol and, in the lower five bits, the length of its code; 0 when it is longer.
    short: [u16; 1 << SHORT],
    /// By length: the first code that is too large for it, filled up with zeros to [`LONGEST`] bits.
    limits: [u32; LONGEST as usize + 1],
    /// By length: what to add to a code of this length, modulo 2^32, for its place in `symbols`.
    places: [u32; LONGEST as usize + 1],
    symbols: [u16; SYMBOLS],
}

impl Table {
    const EMPTY: Self = Self {
        short: [0; 1 << SHORT],
        limits: [0; LONGEST as usize + 1],
        places: [0; LONGEST as usize + 1],
        symbols: [0; SYMBOLS],
    };

    /// Assigns the codes; false when there are not enough of them. Not all need to be used.
    fn build(&mut self, lengths: &[u8]) -> bool {
        self.short.fill(0);
        let (mut code, mut place) = (0_u32, 0);
        for length in 1..=LONGEST {
            code <<= 1;
            self.places[length as usize] = (place as u32).wrapping_sub(code);
            for (symbol, _) in (0_u16..).zip(lengths).filter(|(_, of)| u32::from(**of) == length) {
                if code >> length != 0 {
                    return false;
                }
                if length <= SHORT {
                    let (first, last) = (code << (SHORT - length), (code + 1) << (SHORT - length));
                    self.short[first as usize..last as usize].fill(symbol << 5 | length as u16);
                }
                self.symbols[place] = symbol;
                place += 1;
                code += 1;
            }
            self.limits[length as usize] = code << (LONGEST - length);
        }
        true
    }

    /// The symbol whose code `bits` begin with, and the code's length; a length of 0 when there is none.
    #[cold]
    fn long(&self, bits: u32) -> (u16, u32) {
        let length = (SHORT + 1..=LONGEST).find(|length| bits < self.limits[*length as usize]);
        let Some(length) = length else { return (0, 0) };
        let place = (bits >> (LONGEST - length)).wrapping_add(self.places[length as usize]);
        self.symbols.get(place as usize).map_or((0, 0), |symbol| (*symbol, length))
    }
}

/// bzip2 counts bits from the other end than gzip does, so [`Crc32`](crate::crc32::Crc32) is of no use here.
fn crc_table() -> Box<[u32; 256]> {
    let mut table = Box::new([0; 256]);
    for (byte, entry) in (0_u32..).zip(table.iter_mut()) {
        *entry = (0..8).fold(byte << 24, |crc, _| crc << 1 ^ if crc >> 31 == 0 { 0 } else { 0x04c1_1db7 });
    }
    table
}

/// How much is given out at a time, and up to 254 bytes more.
const OUTPUT: usize = 64 << 10;

/// "BZh"
const MAGIC: u32 = 0x42_5a68;
/// Before a block: the digits of pi.
const BLOCK: (u32, u32) = (0x31_4159, 0x26_5359);
/// After the last one: the digits of its square root.
const END: (u32, u32) = (0x17_7245, 0x38_5090);

/// Tables in a block at most.
const TABLES: usize = 6;
/// How many symbols go by one selector.
const GROUP: usize = 50;
/// Two for runs, 255 for the places but the first, one for the end.
const SYMBOLS: usize = 258;
/// The higher of the two digits of which run lengths are made.
const RUN_B: u16 = 1;
/// The longest code, in bits.
const LONGEST: u32 = 20;
/// Codes up to this many bits are looked up in one step.
const SHORT: u32 = 10;
