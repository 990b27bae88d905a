//! What a package can make its reader set aside: little, and nothing on the word of an unchecked number.

mod common;
mod watching;

use std::io::Write as _;

use common::{DESCRIPTOR, bytes, gzip, index_at, json_of, mend_checksum, package, read_everything, sample, table_at};
use flate2::Compression;
use flate2::write::GzEncoder;
use pspf_core::codec::{Gzip, Stage, Stored};
use pspf_core::{ErrorKind, Package, Part, container};
use watching::peak_of;

/// Every number of the index and of a descriptor, at every size at which arithmetic turns.
#[test]
fn numbers_at_the_edges_are_refused_before_memory_is_set_aside_for_them() {
    let good = sample();
    let len = good.len() as u64;
    let edges = [0, 1, len - 1, len, len + 1, 1 << 31, 1 << 32, 1 << 63, u64::MAX];
    let index = index_at(&good);
    let index_fields = [8, 16, 24, 32, 40, 48].map(|field| (index + field, 8)).into_iter().chain([(index + 56, 4)]);
    let table = table_at(&good);
    let descriptor_fields = (0..3).flat_map(|slot| (0..7).map(move |field| (table + slot * DESCRIPTOR + field * 8, 8)));
    let ((), peak) = peak_of(|| {
        for (at, size) in index_fields.chain(descriptor_fields) {
            for edge in edges {
                let mut changed = good.clone();
                changed[at..at + size].copy_from_slice(&edge.to_le_bytes()[..size]);
                if changed == good {
                    continue;
                }
                mend_checksum(&mut changed);
                let error = read_everything(&changed).expect_err("a number at an edge");
                assert!(
                    matches!(error.kind(), ErrorKind::Malformed { .. } | ErrorKind::TooLarge { .. }),
                    "{edge:#x} at byte {at}: {error:?}"
                );
            }
        }
    });
    assert!(peak < 1 << 20, "{peak} bytes");
}

/// Whoever holds a key can sign such claims. A chunk may be 8 MiB, so that is what one can ask for.
#[test]
fn sizes_that_are_signed_but_not_true_take_no_more_than_a_chunk() {
    let good = package(&[gzip("slot", &bytes(5000), 5000)]);
    let json = json_of(&good);
    for size in [5001_u64, 8 << 20, (8 << 20) + 1, 1 << 40, u64::MAX] {
        let lie = json
            .replace("\"original_size\":5000", &format!("\"original_size\":{size}"))
            .replace("\"original\":5000", &format!("\"original\":{size}"));
        let file = common::with_json(&good, &lie);
        let ((), peak) = peak_of(|| assert!(read_everything(&file).is_err(), "{size}"));
        assert!(peak < 9 << 20, "{peak} bytes for a claimed size of {size}");
    }
}

#[test]
fn metadata_that_inflate_without_end_are_cut_off_at_their_limit() {
    let bomb = zeros_in_gzip(64 << 20);
    assert!(bomb.len() < 100_000);
    let ((), peak) = peak_of(|| {
        let error = container::decode(&bomb).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::TooLarge { .. }), "{error}");
    });
    assert!(peak < 16 << 20, "{peak} bytes");
}

#[test]
fn a_slot_that_inflates_without_end_is_cut_off_where_the_caller_says() {
    let bomb = zeros_in_gzip(64 << 20);
    let file = common::without_claims(&package(&[common::stored_gzip("bomb", &bomb)]));
    let package = Package::open(file.as_slice()).unwrap();
    let ((), peak) = peak_of(|| {
        let mut slot = package.unverified_slot(0, 100_000).unwrap();
        let mut got = 0;
        let error = loop {
            match slot.fill() {
                Ok([]) => panic!("all of it came out: {got} bytes"),
                Ok(ready) => {
                    let size = ready.len();
                    got += size;
                    slot.consume(size);
                }
                Err(error) => break error,
            }
        };
        assert!(matches!(error.kind(), ErrorKind::TooLarge { allowed: 100_000, .. }), "{error}");
        assert!(got <= 100_000, "{got} bytes came out");
    });
    assert!(peak < 1 << 20, "{peak} bytes");
}

#[test]
fn inflating_takes_the_same_memory_whatever_comes_out() {
    let bomb = zeros_in_gzip(64 << 20);
    let mut size = 0;
    let ((), peak) = peak_of(|| {
        let stored = Stored::new(&bomb, Part::Slot(0), 0, bomb.len() as u64);
        let mut stage = Gzip::new(Box::new(stored), Part::Slot(0));
        loop {
            let ready = stage.fill().unwrap().len();
            if ready == 0 {
                break;
            }
            size += ready;
            stage.consume(ready);
        }
        stage.finish().unwrap();
    });
    assert_eq!(size, 64 << 20);
    assert!(peak < 1 << 20, "{peak} bytes");
}

fn zeros_in_gzip(size: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let block = vec![0; 1 << 20];
    for _ in 0..size >> 20 {
        encoder.write_all(&block).unwrap();
    }
    encoder.finish().unwrap()
}
