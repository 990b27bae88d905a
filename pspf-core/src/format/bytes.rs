//! Little-endian fields of fixed-size blocks. Offsets are constants inside the block, so nothing here can fail.
//!
//! Numbers are read and written byte by byte: the compiler makes one load or store of it, which it does not of
//! anything that goes through slices when it compiles for size.

#[inline(always)]
pub(super) fn u64<const SIZE: usize>(block: &[u8; SIZE], at: usize) -> u64 {
    u64::from(u32(block, at)) | (u64::from(u32(block, at + 4)) << 32)
}

#[inline(always)]
pub(super) fn u32<const SIZE: usize>(block: &[u8; SIZE], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

#[inline(always)]
pub(super) fn u16<const SIZE: usize>(block: &[u8; SIZE], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

/// `N` bytes at `offset`.
pub(super) fn array<const N: usize>(block: &[u8], offset: usize) -> [u8; N] {
    let mut bytes = [0; N];
    put(&mut bytes, 0, &block[offset..offset + N]);
    bytes
}

/// Writes bytes at `offset`.
#[inline(never)]
pub(super) fn put(block: &mut [u8], offset: usize, bytes: &[u8]) {
    block[offset..offset + bytes.len()].copy_from_slice(bytes);
}

#[inline(always)]
pub(super) fn put_u64<const SIZE: usize>(block: &mut [u8; SIZE], at: usize, number: u64) {
    put_u32(block, at, number as u32);
    put_u32(block, at + 4, (number >> 32) as u32);
}

#[inline(always)]
pub(super) fn put_u32<const SIZE: usize>(block: &mut [u8; SIZE], at: usize, number: u32) {
    [block[at], block[at + 1], block[at + 2], block[at + 3]] = number.to_le_bytes();
}

#[inline(always)]
pub(super) fn put_u16<const SIZE: usize>(block: &mut [u8; SIZE], at: usize, number: u16) {
    [block[at], block[at + 1]] = number.to_le_bytes();
}
