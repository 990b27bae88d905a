//! Tests of the memory functions in [`crate::arch`].

use crate::arch::{bcmp, memcmp, memcpy, memmove, memset, strlen};

/// Every length up to a few steps of the long loops, and some that are long and odd.
fn lengths() -> impl Iterator<Item = usize> {
    (0..=300).chain([511, 512, 513, 4095, 4096, 4097, 70_001])
}

/// Bytes that differ from their neighbours, so that a shift by any small distance shows.
fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect()
}

#[test]
fn copies_every_length_at_every_alignment_and_nothing_more() {
    for len in lengths() {
        for (to, from) in (0..17).flat_map(|to| [(to, 0), (to, 3), (to, 16 - to.min(16))]) {
            let source = pattern(from + len);
            let mut found = vec![0xa5; to + len + 64];
            let mut expected = found.clone();
            expected[to..to + len].copy_from_slice(&source[from..]);
            let start = found[to..].as_mut_ptr();
            // SAFETY: the source has `len` bytes from `from` on, and `found` has 64 more than `len` from `to` on.
            assert_eq!(unsafe { memcpy(start, source[from..].as_ptr(), len) }, start);
            assert!(found == expected, "{len} bytes from {from} to {to}");
        }
    }
}

#[test]
fn moves_overlapping_ranges_both_ways() {
    for len in lengths() {
        for distance in [0, 1, 7, 15, 16, 17, 31, 63, 64, 65, 100, 257] {
            for align in [0, 5] {
                for (from, to) in [(align, align + distance), (align + distance, align)] {
                    let mut found = pattern(align + distance + len + 32);
                    let mut expected = found.clone();
                    expected.copy_within(from..from + len, to);
                    let start = found.as_mut_ptr();
                    // SAFETY: both ranges end at least 32 bytes before the vector does.
                    unsafe { memmove(start.add(to), start.add(from), len) };
                    assert!(found == expected, "{len} bytes from {from} to {to}");
                }
            }
        }
    }
}

#[test]
fn fills_every_length_at_every_alignment_and_nothing_more() {
    for len in lengths() {
        for to in 0..17 {
            let mut found = pattern(to + len + 64);
            let mut expected = found.clone();
            expected[to..to + len].fill(0xc3);
            let start = found[to..].as_mut_ptr();
            // SAFETY: `found` has 64 bytes more than `len` from `to` on. Only the low byte of the value counts.
            assert_eq!(unsafe { memset(start, 0x1234_56c3, len) }, start);
            assert!(found == expected, "{len} bytes to {to}");
        }
    }
}

#[test]
fn compares_as_slices_do() {
    for len in (0..80).chain([1000]) {
        let a = pattern(len);
        for at in 0..=len {
            for change in [1, 0x80, 0xff] {
                let mut b = a.clone();
                if let Some(byte) = b.get_mut(at) {
                    *byte = byte.wrapping_add(change);
                }
                // A later difference must not matter.
                if let Some(byte) = b.get_mut(at + 1) {
                    *byte = !*byte;
                }
                // SAFETY: both have `len` bytes.
                let (order, same) = unsafe { (memcmp(a.as_ptr(), b.as_ptr(), len), bcmp(a.as_ptr(), b.as_ptr(), len)) };
                assert_eq!(order.cmp(&0), a.cmp(&b), "{len} bytes, changed at {at}");
                assert_eq!(same == 0, a == b);
            }
        }
    }
}

#[test]
fn measures_strings() {
    for string in [c"", c"a", c"PATH=/usr/bin:/bin"] {
        // SAFETY: a `CStr` is readable up to and including its zero byte.
        assert_eq!(unsafe { strlen(string.as_ptr().cast()) }, string.count_bytes());
    }
}
