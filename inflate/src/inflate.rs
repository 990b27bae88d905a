//! The inflater.

use alloc::boxed::Box;

use crate::table::{self, CODE_LENGTHS, END, EXCEPTIONAL, LITERAL, SUBTABLE};

/// How many bytes have to follow the input in its slice, whatever they are: it is read eight bytes at a time.
pub const INPUT_SLACK: usize = 16;
/// How many bytes have to follow the output in its slice: it is written sixteen bytes at a time, by whole matches.
pub const OUTPUT_SLACK: usize = 320;

/// Inflates whole buffers, one after the other. It holds the tables, 24 KB.
pub struct Inflater {
    lengths: [u8; SYMBOLS],
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
}

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With its final block.
    Final,
    /// With an empty stored block that is not final, so that another stream can follow.
    Flush,
}

/// The input is no DEFLATE stream, or not one with this size, of this size, or with this end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl Inflater {
    /// One on the heap, for its size.
    pub fn new() -> Box<Self> {
        Box::new(Self { lengths: [0; SYMBOLS], literals: [0; LITERALS], distances: [0; DISTANCES] })
    }

    /// Inflates the first `input_size` bytes of `input`, all of them, to the first `output_size` bytes of `output`, all of
    /// them. Behind both there have to be [`INPUT_SLACK`] and [`OUTPUT_SLACK`] more bytes; those of the output change.
    pub fn inflate(
        &mut self,
        (input, input_size): (&[u8], usize),
        (output, output_size): (&mut [u8], usize),
        end: End,
    ) -> Result<(), Malformed> {
        self.blocks((input, input_size), (output, output_size), end).ok_or(Malformed)
    }

    fn blocks(
        &mut self,
        (input, input_size): (&[u8], usize),
        (output, output_size): (&mut [u8], usize),
        end: End,
    ) -> Option<()> {
        let mut bits = Bits { input, at: 0, buffer: 0, count: 0 };
        let mut written = 0;
        let mut flushed = false;
        loop {
            if flushed && bits.byte_at() == input_size {
                break;
            }
            bits.refill()?;
            let is_final = bits.take(1) == 1;
            if is_final && end == End::Flush {
                return None;
            }
            flushed = false;
            match bits.take(2) {
                0 => {
                    let size = stored(&mut bits, output.get_mut(written..output_size)?)?;
                    flushed = size == 0 && end == End::Flush;
                    written += size;
                }
                kind => {
                    match kind {
                        1 => self.fixed()?,
                        2 => self.dynamic(&mut bits)?,
                        _ => return None,
                    }
                    written = self.block(&mut bits, output, written, output_size)?;
                }
            }
            if is_final {
                break;
            }
        }
        (bits.byte_at() == input_size && written == output_size).then_some(())
    }

    /// The tables of RFC 1951 section 3.2.6.
    fn fixed(&mut self) -> Option<()> {
        for (symbol, length) in self.lengths.iter_mut().enumerate() {
            *length = match symbol {
                0..=143 => 8,
                144..=255 => 9,
                256..=279 => 7,
                280..=287 => 8,
                _ => 5,
            };
        }
        self.tables(288, 32)
    }

    /// The tables that a block brings along, RFC 1951 section 3.2.7.
    fn dynamic(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        let literals = bits.take(5) + 257;
        let distances = bits.take(5) + 1;
        let count = bits.take(4) + 4;
        if literals > 286 || distances > 30 {
            return None;
        }
        let mut lengths = [0; CODE_LENGTHS];
        for symbol in ORDER.iter().take(count) {
            bits.refill()?;
            lengths[usize::from(*symbol)] = bits.take(3) as u8;
        }
        let codes = self.literals.get_mut(..1 << 7)?;
        table::build(codes, 7, &lengths, |symbol| (symbol as u32) << 16)?;
        let lengths = self.lengths.get_mut(..literals + distances)?;
        let mut at = 0;
        while at < lengths.len() {
            bits.refill()?;
            let entry = codes[bits.peek(7)];
            if entry & EXCEPTIONAL != 0 {
                return None;
            }
            bits.drop(table::bits(entry));
            let symbol = table::value(entry);
            let (length, times) = match symbol {
                16 => (*lengths.get(at.checked_sub(1)?)?, 3 + bits.take(2)),
                17 => (0, 3 + bits.take(3)),
                18 => (0, 11 + bits.take(7)),
                length => (length as u8, 1),
            };
            lengths.get_mut(at..at + times)?.fill(length);
            at += times;
        }
        self.tables(literals, distances)
    }

    fn tables(&mut self, literals: usize, distances: usize) -> Option<()> {
        let (literals, rest) = self.lengths.split_at_checked(literals)?;
        table::build(&mut self.literals, LITERAL_BITS, literals, literal_or_length)?;
        table::build(&mut self.distances, DISTANCE_BITS, rest.get(..distances)?, distance)
    }

    /// The symbols of a block, up to its end. Gives how many bytes of the output are written then.
    #[inline(never)]
    fn block(&self, reader: &mut Bits<'_>, output: &mut [u8], mut written: usize, output_size: usize) -> Option<usize> {
        // A copy that stays in registers.
        let mut bits = Bits { ..*reader };
        loop {
            if written > output_size {
                return None;
            }
            bits.refill()?;
            // At least 56 bits, of which three literals take at most 33 with codes from the first part.
            let mut entry = self.literals[bits.peek(LITERAL_BITS)];
            if entry & LITERAL != 0 {
                let out = output.get_mut(written..)?.first_chunk_mut::<3>()?;
                bits.drop(table::bits(entry));
                out[0] = (entry >> 16) as u8;
                written += 1;
                entry = self.literals[bits.peek(LITERAL_BITS)];
                if entry & LITERAL != 0 {
                    bits.drop(table::bits(entry));
                    out[1] = (entry >> 16) as u8;
                    written += 1;
                    entry = self.literals[bits.peek(LITERAL_BITS)];
                    if entry & LITERAL != 0 {
                        bits.drop(table::bits(entry));
                        out[2] = (entry >> 16) as u8;
                        written += 1;
                        continue;
                    }
                }
                bits.refill()?;
            }
            if entry & EXCEPTIONAL != 0 {
                if entry & SUBTABLE != 0 {
                    bits.drop(LITERAL_BITS);
                    entry = *self.literals.get(table::value(entry) + bits.peek(table::extra(entry)))?;
                }
                if entry & LITERAL != 0 {
                    bits.drop(table::bits(entry));
                    *output.get_mut(written)? = (entry >> 16) as u8;
                    written += 1;
                    continue;
                }
                if entry & EXCEPTIONAL != 0 {
                    bits.drop(table::bits(entry));
                    *reader = bits;
                    return (entry & END == END).then_some(written);
                }
            }
            // 15 + 5 bits for a length and 15 + 13 for a distance: one refill is enough for both.
            bits.drop(table::bits(entry));
            let length = table::value(entry) + bits.take(table::extra(entry));
            let mut entry = self.distances[bits.peek(DISTANCE_BITS)];
            if entry & SUBTABLE != 0 {
                bits.drop(DISTANCE_BITS);
                entry = *self.distances.get(table::value(entry) + bits.peek(table::extra(entry)))?;
            }
            if entry & EXCEPTIONAL != 0 {
                return None;
            }
            bits.drop(table::bits(entry));
            let distance = table::value(entry) + bits.take(table::extra(entry));
            copy(output, written, distance, length)?;
            written += length;
        }
    }
}

/// Repeats `length` bytes from `distance` bytes before `to`, and writes up to 15 more.
#[inline(always)]
fn copy(output: &mut [u8], to: usize, distance: usize, length: usize) -> Option<()> {
    let mut from = to.checked_sub(distance)?;
    let end = from + length;
    if distance == 1 {
        let byte = *output.get(from)?;
        output.get_mut(to..to + length)?.fill(byte);
        return Some(());
    }
    // Sixteen at a time. Of fewer than sixteen bytes that repeat themselves, only the first `distance` are right; the next
    // step writes over the others.
    let step = distance.min(16);
    while from < end {
        let bytes = *output.get(from..)?.first_chunk::<16>()?;
        *output.get_mut(from + distance..)?.first_chunk_mut::<16>()? = bytes;
        from += step;
    }
    Some(())
}

/// A block that is not compressed; gives its size.
fn stored(bits: &mut Bits<'_>, output: &mut [u8]) -> Option<usize> {
    let at = bits.byte_at();
    let (header, rest) = bits.input.get(at..)?.split_first_chunk::<4>()?;
    let [a, b, c, d] = *header;
    let size = usize::from(u16::from_le_bytes([a, b]));
    if u16::from_le_bytes([c, d]) != !(size as u16) {
        return None;
    }
    output.get_mut(..size)?.copy_from_slice(rest.get(..size)?);
    *bits = Bits { input: bits.input, at: at + 4 + size, buffer: 0, count: 0 };
    Some(size)
}

/// The bits of the input, lowest first.
struct Bits<'a> {
    input: &'a [u8],
    /// The byte that is read next.
    at: usize,
    buffer: u64,
    /// How many bits of `buffer` are not used yet, at most 63. Those above them are right too, and come again.
    count: u32,
}

impl Bits<'_> {
    /// Makes at least 56 bits ready; `None` when that is too far behind the end.
    #[inline(always)]
    fn refill(&mut self) -> Option<()> {
        let word = u64::from_le_bytes(*self.input.get(self.at..)?.first_chunk::<8>()?);
        self.buffer |= word << self.count;
        self.at += (63 - self.count) as usize >> 3;
        self.count |= 56;
        Some(())
    }

    #[inline(always)]
    fn peek(&self, count: u32) -> usize {
        (self.buffer & ((1 << count) - 1)) as usize
    }

    #[inline(always)]
    fn drop(&mut self, count: u32) {
        self.buffer >>= count;
        self.count = self.count.wrapping_sub(count);
    }

    #[inline(always)]
    fn take(&mut self, count: u32) -> usize {
        let bits = self.peek(count);
        self.drop(count);
        bits
    }

    /// The first byte of which no bit is used.
    fn byte_at(&self) -> usize {
        self.at - (self.count >> 3) as usize
    }
}

/// The entry of a symbol of the first code of a block, without the length of its code.
fn literal_or_length(symbol: usize) -> u32 {
    match symbol {
        0..256 => LITERAL | (symbol as u32) << 16,
        256 => END,
        _ => LENGTHS.get(symbol - 257).map_or(EXCEPTIONAL, |(base, extra)| base_entry(*base, *extra)),
    }
}

/// The entry of a symbol of the second code.
fn distance(symbol: usize) -> u32 {
    let extra = (symbol as u32 / 2).saturating_sub(1);
    match symbol {
        0..2 => base_entry(symbol as u16 + 1, 0),
        2..30 => base_entry(((2 + symbol as u16 % 2) << extra) + 1, extra as u8),
        _ => EXCEPTIONAL,
    }
}

fn base_entry(base: u16, extra: u8) -> u32 {
    u32::from(base) << 16 | u32::from(extra) << 8
}

/// Indexes of the first parts: nearly all codes for literals are that short.
const LITERAL_BITS: u32 = 11;
const DISTANCE_BITS: u32 = 9;
/// First part and second ones: at most half as many of these as symbols, because each holds two codes or more.
const LITERALS: usize = (1 << LITERAL_BITS) + 144 * (1 << (15 - LITERAL_BITS));
const DISTANCES: usize = (1 << DISTANCE_BITS) + 16 * (1 << (15 - DISTANCE_BITS));
/// Literals and lengths, then distances.
const SYMBOLS: usize = 288 + 32;
/// In which order the lengths of the code for code lengths come.
const ORDER: [u8; CODE_LENGTHS] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
/// Base and number of extra bits of the symbols from 257 on.
const LENGTHS: [(u16, u8); 29] = {
    let mut lengths = [(0, 0); 29];
    let (mut symbol, mut base) = (0, 3);
    while symbol < 28 {
        let extra = if symbol < 8 { 0 } else { symbol as u8 / 4 - 1 };
        lengths[symbol] = (base, extra);
        base += 1 << extra;
        symbol += 1;
    }
    lengths[28] = (258, 0);
    lengths
};
