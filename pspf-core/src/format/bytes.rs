//! Little-endian fields of fixed-size blocks. Offsets are constants inside the block, so nothing here can fail.

/// `N` bytes of `block` at `offset`.
pub(super) fn array<const N: usize>(block: &[u8], offset: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&block[offset..offset + N]);
    bytes
}

pub(super) fn u16(block: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes(array(block, offset))
}

pub(super) fn u32(block: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(array(block, offset))
}

pub(super) fn u64(block: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(array(block, offset))
}

pub(super) fn put(block: &mut [u8], offset: usize, bytes: &[u8]) {
    block[offset..offset + bytes.len()].copy_from_slice(bytes);
}
