//! Little-endian fields of fixed-size blocks. Offsets are constants inside the block, so nothing here can fail: inlined,
//! each is one load or store.

/// `N` bytes of `block` at `offset`.
#[inline(always)]
pub(super) fn array<const SIZE: usize, const N: usize>(block: &[u8; SIZE], offset: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&block[offset..offset + N]);
    bytes
}

#[inline(always)]
pub(super) fn u16<const SIZE: usize>(block: &[u8; SIZE], offset: usize) -> u16 {
    u16::from_le_bytes(array(block, offset))
}

#[inline(always)]
pub(super) fn u32<const SIZE: usize>(block: &[u8; SIZE], offset: usize) -> u32 {
    u32::from_le_bytes(array(block, offset))
}

#[inline(always)]
pub(super) fn u64<const SIZE: usize>(block: &[u8; SIZE], offset: usize) -> u64 {
    u64::from_le_bytes(array(block, offset))
}

#[inline(always)]
pub(super) fn put<const SIZE: usize, const N: usize>(block: &mut [u8; SIZE], offset: usize, bytes: &[u8; N]) {
    block[offset..offset + N].copy_from_slice(bytes);
}
