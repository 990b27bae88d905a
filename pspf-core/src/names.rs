//! Names that have to be unique, and names in order.
//!
//! The collections of `alloc` would do: in the launcher, a `BTreeMap` for each pair of types and a `sort` for each
//! type come to 30 KB. These come to less than one.

use alloc::collections::BinaryHeap;
use alloc::vec;
use alloc::vec::Vec;

use crate::digest::Digest;

/// A set of names, each with its number in the order in which they came.
///
/// It keeps eight bytes of SHA-256 of each. A chance collision would refuse a good archive once in 10^7 archives of
/// a million entries; nobody gains by forging one.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Open addressing, at most half full; number 0 marks a free place, names count from 1. The keys are uniform
    /// already, so that their lowest bits pick the place.
    table: Vec<(u64, u32)>,
    count: u32,
}

impl Names {
    /// Adds a name; `false` when it is there already.
    pub fn insert(&mut self, name: &str) -> bool {
        if self.table.len() <= 2 * self.count as usize {
            let larger = vec![(0, 0); self.table.len().max(8) * 2];
            for (key, number) in core::mem::replace(&mut self.table, larger) {
                if number != 0 {
                    let at = self.place_of(key);
                    self.table[at] = (key, number);
                }
            }
        }
        let key = key_of(name);
        let at = self.place_of(key);
        if self.table[at].1 != 0 {
            return false;
        }
        self.count += 1;
        self.table[at] = (key, self.count);
        true
    }

    /// How many names came before this one; `None` when it never came.
    pub fn number_of(&self, name: &str) -> Option<u32> {
        if self.count == 0 {
            return None;
        }
        let at = self.place_of(key_of(name));
        self.table[at].1.checked_sub(1)
    }

    /// Where the key is, or the free place where it belongs. There is one: the table is at most half full.
    fn place_of(&self, key: u64) -> usize {
        let mask = self.table.len() - 1;
        let mut at = key as usize & mask;
        while self.table[at].1 != 0 && self.table[at].0 != key {
            at = (at + 1) & mask;
        }
        at
    }
}

/// Sorts names by their bytes; each keeps the place that it had. Equal names stay in their order.
pub fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<(&'a str, usize)> {
    let mut placed = Vec::new();
    for name in names {
        placed.push((name, placed.len()));
    }
    sort(placed)
}

#[inline(never)]
fn sort(placed: Vec<(&str, usize)>) -> Vec<(&str, usize)> {
    BinaryHeap::from(placed).into_sorted_vec()
}

fn key_of(name: &str) -> u64 {
    Digest::of(name.as_bytes()).hint()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::String;

    #[test]
    fn a_name_is_added_once_and_keeps_its_number() {
        let mut names = Names::default();
        assert_eq!(names.number_of("0"), None);
        let all: Vec<String> = (0..1000).map(|i| format!("{i}")).collect();
        assert!(all.iter().all(|name| names.insert(name)));
        assert!(!all.iter().any(|name| names.insert(name)));
        assert_eq!(names.number_of("0"), Some(0));
        assert_eq!(names.number_of("999"), Some(999));
        assert_eq!(names.number_of("1000"), None);
    }

    #[test]
    fn sorting_goes_by_bytes_and_remembers_places() {
        assert_eq!(sorted(["b", "a/b", "a-b", "b"].into_iter()), [("a-b", 2), ("a/b", 1), ("b", 0), ("b", 3)]);
    }
}
