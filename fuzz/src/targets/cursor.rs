//! Numbers and bytes out of an input; zeros once it is used up.

/// What is left of an input.
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn u8(&mut self) -> u8 {
        self.number::<1>() as u8
    }

    pub(super) fn u16(&mut self) -> u16 {
        self.number::<2>() as u16
    }

    pub(super) fn u64(&mut self) -> u64 {
        self.number::<8>()
    }

    /// At most `count` bytes.
    pub(super) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn number<const N: usize>(&mut self) -> u64 {
        let mut number = [0; 8];
        let bytes = self.bytes(N);
        number[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(number)
    }
}
