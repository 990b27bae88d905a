//! The last 8200 bytes of a package: magic, index, magic (docs/format.md section 1).
//!
//! ```text
//!  size - 8200   size - 8196                        size - 4
//!  +-------------+----------------------------------+-------------+
//!  | F0 9F 93 A6 | index, 8192 bytes                | F0 9F AA 84 |
//!  +-------------+----------------------------------+-------------+
//! ```

use super::index;

/// The four bytes before the index (U+1F4E6, a package).
pub const START_MAGIC: [u8; 4] = [0xf0, 0x9f, 0x93, 0xa6];
/// The four bytes after the index (U+1FA84, a magic wand).
pub const END_MAGIC: [u8; 4] = [0xf0, 0x9f, 0xaa, 0x84];
/// The size of the whole trailer in bytes.
pub const SIZE: usize = START_MAGIC.len() + index::SIZE + END_MAGIC.len();

/// The index between the two magics, when both are there.
pub fn index_of(trailer: &[u8; SIZE]) -> Option<&[u8; index::SIZE]> {
    let (start, rest) = trailer.split_first_chunk::<4>()?;
    let (index, end) = rest.split_first_chunk::<{ index::SIZE }>()?;
    (*start == START_MAGIC && *end == END_MAGIC).then_some(index)
}
