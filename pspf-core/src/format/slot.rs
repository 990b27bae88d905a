//! Slot descriptors (docs/format.md section 3).

use super::{Operations, bytes};
use crate::digest::Digest;

/// The size of a descriptor in bytes.
pub const SIZE: usize = 64;

/// One entry of the slot table: 64 bytes, little-endian.
///
/// ```text
///  0    8           16       24     32              40           48         56        60     62            64
///  +----+-----------+--------+------+---------------+------------+----------+---------+------+-------------+
///  | id | name_hash | offset | size | original_size | operations | checksum | 4 bytes | zero | permissions |
///  +----+-----------+--------+------+---------------+------------+----------+---------+------+-------------+
///                                                    the 4 bytes: purpose, lifecycle, priority, platform
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// A number of its own; see [`id_of`].
    pub id: u64,
    /// [`Digest::hint`] of the slot's name (Go-built packages hash the target; no launcher checks it).
    pub name_hash: u64,
    /// Where the stored bytes begin, in bytes from the start of the file. 0 for an empty slot of a Go-built package.
    pub offset: u64,
    /// How many bytes are stored.
    pub size: u64,
    /// How many bytes they are once all operations are undone. FlavorPack's builders often repeat `size`
    /// here: it is a cap only where claims say so.
    pub original_size: u64,
    /// How the bytes were made.
    pub operations: Operations,
    /// [`Digest::hint`] of the stored bytes: finds damage, not malice.
    pub checksum: u64,
    /// 0 payload, 1 runtime, 2 tool (Rust, Go) or 0 data, 1 code, 2 config, 3 media (specification): a hint, the
    /// JSON's word is the meaning.
    pub purpose: u8,
    /// See [`Lifecycle`](crate::metadata::Lifecycle).
    pub lifecycle: u8,
    /// 0 to 255, a hint for readers that load slots in an order.
    pub priority: u8,
    /// 0 any, 1 Linux, 2 macOS, 3 Windows.
    pub platform: u8,
    /// Two bytes that have to be zero.
    pub reserved: [u8; 2],
    /// Unix mode bits for raw slots.
    pub permissions: u16,
}

impl Descriptor {
    /// Reads a descriptor.
    #[inline(never)]
    pub fn from_block(block: &[u8; SIZE]) -> Self {
        Self {
            id: bytes::u64(block, 0),
            name_hash: bytes::u64(block, 8),
            offset: bytes::u64(block, 16),
            size: bytes::u64(block, 24),
            original_size: bytes::u64(block, 32),
            operations: Operations::from_raw(bytes::u64(block, 40)),
            checksum: bytes::u64(block, 48),
            purpose: block[56],
            lifecycle: block[57],
            priority: block[58],
            platform: block[59],
            reserved: [block[60], block[61]],
            permissions: bytes::u16(block, 62),
        }
    }

    /// The 64 bytes of the descriptor.
    pub fn to_block(&self) -> [u8; SIZE] {
        let mut block = [0; SIZE];
        bytes::put_u64(&mut block, 0, self.id);
        bytes::put_u64(&mut block, 8, self.name_hash);
        bytes::put_u64(&mut block, 16, self.offset);
        bytes::put_u64(&mut block, 24, self.size);
        bytes::put_u64(&mut block, 32, self.original_size);
        bytes::put_u64(&mut block, 40, self.operations.raw());
        bytes::put_u64(&mut block, 48, self.checksum);
        [block[56], block[57], block[58], block[59]] = [self.purpose, self.lifecycle, self.priority, self.platform];
        [block[60], block[61]] = self.reserved;
        bytes::put_u16(&mut block, 62, self.permissions);
        block
    }
}

/// The `id` of the slot at `index`: the `index`-th number whose lowest byte is not 7B, because FlavorPack's Rust
/// launcher takes a descriptor that begins with `{` for JSON (docs/format.md section 3).
pub fn id_of(index: u32) -> u64 {
    let (blocks, rest) = (u64::from(index) / 255, u64::from(index) % 255);
    blocks * 256 + rest + u64::from(rest >= 0x7b)
}

/// The `name_hash` of a slot with this id in the JSON.
pub fn name_hash(name: &str) -> u64 {
    Digest::of(name.as_bytes()).hint()
}

/// The name of the field that the byte at `offset` of a descriptor belongs to.
pub fn field_at(offset: usize) -> &'static str {
    match offset {
        0..8 => "id",
        8..16 => "name_hash",
        16..24 => "offset",
        24..32 => "size",
        32..40 => "original_size",
        40..48 => "operations",
        48..56 => "checksum",
        56 => "purpose",
        57 => "lifecycle",
        58 => "priority",
        59 => "platform",
        60 | 61 => "reserved",
        _ => "permissions",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_index_until_the_brace_and_skip_it_ever_after() {
        let ids: std::vec::Vec<u64> = (0..4096).map(id_of).collect();
        assert_eq!(ids[..123], (0..123).collect::<std::vec::Vec<u64>>());
        assert_eq!(ids[123], 124);
        assert!(ids.iter().all(|id| id & 0xff != 0x7b));
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_descriptor_survives_its_64_bytes() {
        let mut block = [0; SIZE];
        for (i, byte) in block.iter_mut().enumerate() {
            *byte = i as u8 + 1;
        }
        assert_eq!(Descriptor::from_block(&block).to_block(), block);
    }
}
