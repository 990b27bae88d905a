//! Decoding tables for Huffman codes (RFC 1951 section 3.2.2).
//!
//! A table is indexed by the next bits of the input. Codes that are longer than its first part's index lead to a second part.
//! An entry says what its symbol is and how many bits the code has:
//!
//! ```text
//!  31       30..16          15            14          13..8        7..0
//!  literal  value or base   exceptional   sub-table   extra bits   bits of the code
//! ```

/// The entry is a literal: the byte is its value.
pub(crate) const LITERAL: u32 = 1 << 31;
/// The entry is neither a literal nor a length or distance: the end of the block, a sub-table, or no code at all.
pub(crate) const EXCEPTIONAL: u32 = 1 << 15;
/// The code goes on: the value is where the second part begins, the extra bits how many bits its index has.
pub(crate) const SUBTABLE: u32 = 1 << 14;
/// The end of the block.
pub(crate) const END: u32 = 1 << 16 | EXCEPTIONAL;

/// How many symbols the code for code lengths has.
pub(crate) const CODE_LENGTHS: usize = 19;
/// The longest code.
const LONGEST: usize = 15;

/// The value of an entry.
pub(crate) fn value(entry: u32) -> usize {
    ((entry & !LITERAL) >> 16) as usize
}

/// How many bits follow the code and are added to the value.
pub(crate) fn extra(entry: u32) -> u32 {
    entry >> 8 & 0x3f
}

/// How many bits the code has.
pub(crate) fn bits(entry: u32) -> u32 {
    entry & 0xff
}

/// Fills a table for codes of these lengths, one for each symbol, 0 for symbols without a code. `entry_of` gives the entry of a
/// symbol without its length. `None` when no code has such lengths.
#[inline(never)]
pub(crate) fn build(table: &mut [u32], first_bits: u32, lengths: &[u8], entry_of: fn(usize) -> u32) -> Option<()> {
    let mut counts = [0_u16; LONGEST + 1];
    for length in lengths {
        *counts.get_mut(usize::from(*length))? += 1;
    }
    counts[0] = 0;
    let longest = counts.iter().rposition(|count| *count > 0).unwrap_or(0) as u32;

    // How many codes of the next length are free; a code uses two of the length after its own.
    let mut free = 1_i32;
    let mut starts = [0_u16; LONGEST + 2];
    for length in 1..=LONGEST {
        free = free * 2 - i32::from(counts[length]);
        if free < 0 {
            return None;
        }
        starts[length + 1] = starts[length] + counts[length];
    }
    // A code that leaves bits without meaning is only accepted for one symbol of one bit, or none, as zlib does.
    if free > 0 && (longest > 1 || lengths.len() == CODE_LENGTHS) {
        return None;
    }
    let mut sorted = [0_u16; 288];
    for (symbol, length) in (0..).zip(lengths).filter(|(_, length)| **length > 0) {
        let place = &mut starts[usize::from(*length)];
        *sorted.get_mut(usize::from(*place))? = symbol;
        *place += 1;
    }

    table.get_mut(..1 << first_bits)?.fill(EXCEPTIONAL);
    let second_bits = longest.saturating_sub(first_bits);
    let mut end = 1_usize << first_bits;
    let mut symbols = sorted.iter();
    // Codes are packed from their first bit on, so the table is indexed by reversed ones.
    let mut code = 0_usize;
    for length in 1..=longest {
        for _ in 0..counts[length as usize] {
            let symbol = usize::from(*symbols.next()?);
            let entry = entry_of(symbol) | length;
            if length <= first_bits {
                fill(table.get_mut(..1 << first_bits)?, code, length, entry);
            } else {
                let first = table.get_mut(code & ((1 << first_bits) - 1))?;
                if *first & SUBTABLE == 0 {
                    *first = (end as u32) << 16 | EXCEPTIONAL | SUBTABLE | second_bits << 8 | first_bits;
                    end += 1 << second_bits;
                }
                let start = value(*first);
                let second = table.get_mut(start..start + (1 << second_bits))?;
                fill(second, code >> first_bits, length - first_bits, entry - first_bits);
            }
            code = next(code, length);
        }
    }
    Some(())
}

/// Writes the entry to every place whose lowest bits are the code.
fn fill(table: &mut [u32], code: usize, length: u32, entry: u32) {
    for place in table.iter_mut().skip(code).step_by(1 << length) {
        *place = entry;
    }
}

/// The code after this one, both reversed: adds one at the last bit and carries towards the first.
fn next(code: usize, length: u32) -> usize {
    let mut bit = 1 << (length - 1);
    while code & bit != 0 {
        bit >>= 1;
    }
    // Everything below the carry goes, the bit itself comes; after the last code there is none, and it is not used.
    if bit == 0 { 0 } else { code & (bit - 1) | bit }
}
