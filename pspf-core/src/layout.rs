//! The layout equation: where every part of a package lies, from the sizes of the parts alone
//! (docs/format.md section 5, "Layout equation").
//!
//! No absolute offset is signed. The writer computes the layout before it writes a byte, and the verifier
//! computes it again and compares.

use alloc::vec::Vec;

use crate::format::{slot, trailer};

/// The three numbers that the claims give; everything else follows from sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Zero bytes between launcher and metadata.
    pub meta_gap: u64,
    /// The slot table begins at a multiple of this: a power of two, at least 8.
    pub table_align: u64,
    /// Every slot begins at a multiple of this: a power of two.
    pub slot_align: u64,
}

/// Where everything lies. Offsets are in bytes from the start of the file; what lies between is zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The launcher's size; it begins at 0.
    pub launcher_size: u64,
    /// Where the metadata container begins.
    pub metadata_offset: u64,
    /// Its size.
    pub metadata_size: u64,
    /// Where the slot table begins.
    pub table_offset: u64,
    /// Where each slot begins, and its size.
    pub slots: Vec<(u64, u64)>,
    /// Where the trailer begins.
    pub trailer_offset: u64,
    /// The size of the file.
    pub package_size: u64,
}

impl Default for Rules {
    /// Nothing between launcher and metadata, everything else at multiples of 8.
    fn default() -> Self {
        Self { meta_gap: 0, table_align: 8, slot_align: 8 }
    }
}

impl Layout {
    /// Solves the equation. Fails, saying why, on rules that are not powers of two and on sizes that overflow.
    pub fn new(
        rules: &Rules,
        launcher_size: u64,
        metadata_size: u64,
        slot_sizes: impl IntoIterator<Item = u64>,
    ) -> Result<Self, &'static str> {
        if !rules.table_align.is_power_of_two() || rules.table_align < 8 || !rules.slot_align.is_power_of_two() {
            return Err("alignments have to be powers of two, and the slot table's at least 8");
        }
        let mut sizes = Vec::new();
        for size in slot_sizes {
            sizes.push(size);
        }
        Self::solve(rules, launcher_size, metadata_size, &sizes)
            .ok_or("the sizes of the parts add up to more than a file can hold")
    }

    /// The ranges between the parts as (start, end), which have to hold zeros.
    pub fn gaps(&self) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut end = self.launcher_size;
        let mut part = |start, size| {
            if end < start {
                gaps.push((end, start));
            }
            end = start + size;
        };
        part(self.metadata_offset, self.metadata_size);
        part(self.table_offset, slot::SIZE as u64 * self.slots.len() as u64);
        for (start, size) in &self.slots {
            part(*start, *size);
        }
        part(self.trailer_offset, 0);
        gaps
    }

    fn solve(rules: &Rules, launcher_size: u64, metadata_size: u64, sizes: &[u64]) -> Option<Self> {
        let metadata_offset = launcher_size.checked_add(rules.meta_gap)?;
        let table_offset = align(metadata_offset.checked_add(metadata_size)?, rules.table_align)?;
        let mut end = table_offset.checked_add((slot::SIZE as u64).checked_mul(sizes.len() as u64)?)?;
        let mut slots = Vec::with_capacity(sizes.len());
        for size in sizes {
            let offset = align(end, rules.slot_align)?;
            end = offset.checked_add(*size)?;
            slots.push((offset, *size));
        }
        let package_size = end.checked_add(trailer::SIZE as u64)?;
        Some(Self {
            launcher_size,
            metadata_offset,
            metadata_size,
            table_offset,
            slots,
            trailer_offset: end,
            package_size,
        })
    }
}

fn align(offset: u64, to: u64) -> Option<u64> {
    offset.checked_next_multiple_of(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn parts_follow_each_other_at_their_alignments() {
        let rules = Rules { meta_gap: 0, table_align: 8, slot_align: 4096 };
        let layout = Layout::new(&rules, 1001, 10, [5, 0, 7]).unwrap();
        assert_eq!((layout.metadata_offset, layout.table_offset), (1001, 1016));
        assert_eq!(layout.slots, vec![(4096, 5), (8192, 0), (8192, 7)]);
        assert_eq!(layout.package_size, 8199 + 8200);
        assert_eq!(layout.gaps(), vec![(1011, 1016), (1208, 4096), (4101, 8192)]);
    }

    #[test]
    fn without_slots_the_trailer_follows_the_table() {
        let layout = Layout::new(&Rules::default(), 0, 3, []).unwrap();
        assert_eq!((layout.table_offset, layout.trailer_offset), (8, 8));
    }

    #[test]
    fn sizes_that_wrap_around_are_refused() {
        assert!(Layout::new(&Rules::default(), u64::MAX, 1, []).is_err());
        assert!(Layout::new(&Rules::default(), 1, 1, [u64::MAX - 100]).is_err());
    }

    #[test]
    fn alignments_are_powers_of_two_and_that_of_the_table_at_least_8() {
        for (table_align, slot_align, solved) in
            [(8, 1, true), (4, 8, false), (12, 8, false), (8, 3, false), (8, 0, false)]
        {
            let rules = Rules { meta_gap: 0, table_align, slot_align };
            assert_eq!(Layout::new(&rules, 1, 1, []).is_ok(), solved, "{rules:?}");
        }
    }
}
