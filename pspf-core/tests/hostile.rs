//! Packages that somebody changed, or made to do harm: all are refused, none in a way that hurts.

mod common;

use std::io::{Read as _, Write as _};

use common::{
    DESCRIPTOR, LAUNCHER, Stocked, bytes, gzip, gzip_chunks, index_at, json_of, key, mend_checksum, package, raw,
    read_everything, sample, table_at, tar, tar_raw, try_package, with_container, with_json,
};
use pspf_core::claims::Chunks;
use pspf_core::error::Distrust;
use pspf_core::format::{index, slot};
use pspf_core::layout::Rules;
use pspf_core::sign::KeyId;
use pspf_core::verify::report;
use pspf_core::{Digest, ErrorKind, Package, Part, Result, container};

#[test]
fn every_changed_byte_is_refused() {
    let good = sample();
    assert_eq!(checked(&good), Ok(()));
    for at in 0..good.len() {
        for mask in [0x01, 0x80] {
            let mut changed = good.clone();
            changed[at] ^= mask;
            assert!(checked(&changed).is_err(), "byte {at} of {}, mask {mask:#x}", good.len());
            // An attacker would make the checksum right again, which is no secret.
            if (index_at(&good)..good.len() - 4).contains(&at) {
                mend_checksum(&mut changed);
                if changed != good {
                    assert!(checked(&changed).is_err(), "byte {at}, mask {mask:#x}, checksum mended");
                }
            }
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    let good = sample();
    for size in 0..good.len() {
        assert!(checked(&good[..size]).is_err(), "{size} bytes of {}", good.len());
    }
}

#[test]
fn a_missing_start_is_refused() {
    let good = sample();
    for from in [1, 8, LAUNCHER.len(), good.len() / 2] {
        assert!(read_everything(&good[from..]).is_err(), "without the first {from} bytes");
    }
}

#[test]
fn bytes_behind_the_end_are_refused() {
    let good = sample();
    for extra in [&b"\0"[..], b"\n", b"\xf0\x9f\xaa\x84", &[0; 8200], &good[good.len() - 8200..], &good] {
        let longer = [&good[..], extra].concat();
        assert!(read_everything(&longer).is_err(), "{} bytes more", extra.len());
    }
}

/// The second index is as good as one can make it without the key: it counts the first as part of the file.
#[test]
fn a_second_trailer_is_refused_even_when_its_numbers_fit() {
    let good = sample();
    let mut longer = [&good[..], &good[good.len() - 8200..]].concat();
    let at = index_at(&longer) + 8;
    let size = longer.len() as u64;
    longer[at..at + 8].copy_from_slice(&size.to_le_bytes());
    mend_checksum(&mut longer);
    Package::open(longer.as_slice()).expect("nothing is wrong with the numbers alone");
    let error = checked(&longer).unwrap_err();
    assert_eq!(part_of(&error), Some(&Part::Index("package_size")), "{error}");
}

#[test]
fn bytes_in_front_of_the_start_are_refused() {
    let good = sample();
    let longer = [b"#!/bin/sh\n", &good[..]].concat();
    assert!(read_everything(&longer).is_err());
}

#[test]
fn bytes_in_the_gaps_are_refused() {
    let good = sample();
    let package = Package::open(good.as_slice()).unwrap();
    let used = |at: u64| {
        let index = package.index();
        let within = |start: u64, size: u64| (start..start + size).contains(&at);
        within(0, index.launcher_size())
            || within(index.metadata_offset(), index.metadata_size())
            || within(index.table_offset(), index.table_size())
            || package.table().iter().any(|slot| within(slot.offset, slot.size))
            || at >= (good.len() - 8200) as u64
    };
    let gaps: Vec<usize> = (0..good.len()).filter(|at| !used(*at as u64)).collect();
    assert!(!gaps.is_empty());
    for at in gaps {
        let mut changed = good.clone();
        changed[at] = b'!';
        assert!(read_everything(&changed).is_err(), "byte {at}");
    }
}

#[test]
fn the_same_document_in_another_container_is_refused() {
    let good = sample();
    let json = json_of(&good);
    assert_eq!(read_everything(&with_json(&good, &json)), Ok(()), "the helper makes good packages");

    let mut deflated = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    deflated.write_all(json.as_bytes()).unwrap();
    let mut named = container::encode(json.as_bytes());
    named[9] = 3;
    let mut in_two_blocks = container::encode(json.as_bytes());
    in_two_blocks.splice(10..10, [0, 0, 0, 0xff, 0xff]);
    for (what, container) in [
        ("compressed", deflated.finish().unwrap()),
        ("from another system", named),
        ("with an empty block", in_two_blocks),
        ("in flushed chunks", gzip_chunks(json.as_bytes(), 500).0),
    ] {
        let error = read_everything(&with_container(&good, &json, &container)).unwrap_err();
        assert!(error.to_string().contains("the canonical container"), "{what}: {error}");
    }
}

/// Each of these is one good gzip member with that very document in it.
#[test]
fn containers_with_another_header_are_refused_however_little_it_differs() {
    let good = sample();
    let json = json_of(&good);
    let canonical = container::encode(json.as_bytes());
    let (fixed, rest) = canonical.split_at(10);
    for (flags, fields) in [
        (1, &b""[..]),
        (4, b"\0\0"),
        (4, b"\x04\0AB\0\0"),
        (8, b"\0"),
        (8, b"name\0"),
        (16, b"\0"),
        (4 | 8 | 16, b"\0\0a\0b\0"),
        // Its checksum is that of the ten bytes with the flag.
        (2, b"\x90\xc9"),
    ] {
        let mut member = [fixed, fields, rest].concat();
        member[3] = flags;
        let mut inflated = Vec::new();
        flate2::read::GzDecoder::new(&member[..]).read_to_end(&mut inflated).unwrap();
        assert_eq!(inflated, json.as_bytes(), "flags {flags}");
        let error = read_everything(&with_container(&good, &json, &member)).unwrap_err();
        assert!(error.to_string().contains("the canonical container"), "flags {flags}: {error}");
    }
    for (at, value) in [(4, 1), (5, 1), (6, 1), (7, 0x80), (8, 2), (8, 4), (9, 0), (9, 3)] {
        let mut member = canonical.clone();
        member[at] = value;
        let error = read_everything(&with_container(&good, &json, &member)).unwrap_err();
        assert!(error.to_string().contains("the canonical container"), "{value} at byte {at}: {error}");
    }
}

#[test]
fn two_documents_in_one_container_are_refused() {
    let good = sample();
    let json = json_of(&good);
    let twice = [container::encode(json.as_bytes()), container::encode(json.as_bytes())].concat();
    assert!(read_everything(&with_container(&good, &json, &twice)).is_err());
}

/// Whoever holds a key can sign claims that are not true. They come to nothing.
#[test]
fn signed_claims_that_lie_are_refused() {
    let good = sample();
    let json = json_of(&good);
    // Each of these is in the claims once; the document's own numbers are written otherwise.
    for (truth, lies) in [
        ("\"v\":1", &["\"v\":1,\"w\":1", "\"v\":\"1\"", "\"v\":-1", "\"v\":1.0"][..]),
        ("\"meta_gap\":0", &["\"meta_gap\":1", "\"meta_gap\":18446744073709551615", "\"meta_gap\":null"]),
        (
            "\"table_align\":8",
            &["\"table_align\":0", "\"table_align\":4", "\"table_align\":12", "\"table_align\":4096"],
        ),
        ("\"slot_align\":8", &["\"slot_align\":0", "\"slot_align\":3", "\"slot_align\":9223372036854775808"]),
        ("\"key_origin\":\"seed\"", &["\"key_origin\":\"mine\"", "\"key_origin\":\"\""]),
        (
            "\"capabilities\":\"0x81\"",
            &["\"capabilities\":\"0x83\"", "\"capabilities\":\"0x081\"", "\"nonsense\":\"0x1\""],
        ),
        (
            "\"original\":1000",
            &["\"original\":0", "\"original\":999", "\"original\":1001", "\"original\":18446744073709551615"],
        ),
        ("\"stored\":[", &["\"stored\":[0,", "\"stored\":[4294967296,", "\"stored\":[-1,", "\"stored\":[\"1\","]),
        (
            "\"operations\":\"0x1001\"",
            &["\"operations\":\"0x1\"", "\"operations\":\"0x2\"", "\"operations\":\"+0x1001\""],
        ),
        ("\"permissions\":493", &["\"permissions\":511", "\"permissions\":65536"]),
        ("\"files\":2", &["\"files\":2,\"files\":2", "\"files\":-2"]),
        ("\"lineage\":[]", &["\"lineage\":[{}]", "\"lineage\":{}", "\"lineage\":[[]]"]),
    ] {
        assert_eq!(json.matches(truth).count(), 1, "{truth} in {json}");
        for lie in lies {
            let forged = with_json(&good, &json.replace(truth, lie));
            assert!(read_everything(&forged).is_err(), "{lie}");
        }
    }
}

#[test]
fn a_size_that_is_claimed_larger_or_smaller_than_it_is_is_refused() {
    let good = sample();
    let json = json_of(&good);
    for size in Package::open(good.as_slice()).unwrap().verify().unwrap().claims().unwrap().slots.iter() {
        let truth = format!("\"original_size\":{}", size.original_size);
        for lie in [0, 1, size.original_size.wrapping_sub(1), size.original_size + 1, 1 << 40, u64::MAX] {
            if lie != size.original_size {
                let forged = with_json(&good, &json.replace(&truth, &format!("\"original_size\":{lie}")));
                assert!(read_everything(&forged).is_err(), "{lie} for {}", size.original_size);
            }
        }
    }
}

#[test]
fn documents_and_claims_that_disagree_are_refused() {
    let good = sample();
    let json = json_of(&good);
    for (truth, lie) in [
        ("\"lifecycle\":\"runtime\"", "\"lifecycle\":\"lazy\""),
        ("\"operations\":\"tar.gz\"", "\"operations\":\"tar\""),
        ("\"slot\":0,\"id\":\"conf\"", "\"slot\":0,\"id\":\"empty\""),
        ("\"checksum\":\"sha256:", "\"checksum\":\"sha512:"),
        ("\"format\":\"PSPF/2025\"", "\"format\":\"PSPF/2026\""),
        ("\"slots\":[{\"slot\":0", "\"slots\":[{\"id\":\"x\"},{\"slot\":0"),
    ] {
        let forged = json.replacen(truth, lie, 1);
        assert_ne!(forged, json, "{truth}");
        assert!(read_everything(&with_json(&good, &forged)).is_err(), "{lie}");
    }
}

#[test]
fn two_slots_of_one_id_are_refused() {
    let good = package(&[raw("a", b"1"), raw("b", b"2")]);
    let forged = with_json(&good, &json_of(&good).replace("\"id\":\"b\"", "\"id\":\"a\""));
    let error = read_everything(&forged).unwrap_err();
    assert!(error.to_string().contains("expected every id once"), "{error}");
}

#[test]
fn an_id_that_only_the_claims_or_only_the_document_has_is_refused() {
    let good = package(&[raw("a", b"1")]);
    let forged = with_json(&good, &json_of(&good).replacen("\"id\":\"a\"", "\"id\":\"b\"", 1));
    let error = read_everything(&forged).unwrap_err();
    assert_eq!(part_of(&error), Some(&Part::Metadata("slots[0].id".into())), "{error}");
}

#[test]
fn claims_of_another_key_are_refused() {
    let good = sample();
    let forged = json_of(&good).replace(&KeyId::of(&key().public_key()).to_string(), &"0".repeat(32));
    let forged = with_json(&good, &forged);
    let error = read_everything(&forged).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Untrusted { reason: Distrust::OtherKey, .. }), "{error}");
}

/// The builder signs what it is told. A reader believes none of it.
#[test]
fn slots_that_give_more_or_less_than_was_signed_are_refused() {
    let archive = tar(&[("a", b"1")]);
    for slot in [raw("raw", b"12345"), tar_raw("tar", &archive), gzip("gzip", b"12345", 100)] {
        let (slot, stored) = without_chunks(slot);
        assert_eq!(read_everything(&package(&[(slot.clone(), stored.clone())])), Ok(()));
        let size = slot.encoded.original_size;
        for lie in [0, size - 1, size + 1, u64::MAX] {
            let mut slot = slot.clone();
            slot.encoded.original_size = lie;
            assert!(read_everything(&package(&[(slot, stored.clone())])).is_err(), "{lie} bytes for {size}");
        }
    }
}

#[test]
fn chunks_that_end_anywhere_else_than_signed_are_refused() {
    let content = bytes(1000);
    let signed = |member: &[u8], stored: &[u32]| {
        let (mut slot, _) = gzip("slot", &content, 500);
        slot.encoded.size = member.len() as u64;
        slot.encoded.digest = Digest::of(member);
        slot.encoded.chunks = Some(Chunks { original: 500, stored: stored.to_vec() });
        read_everything(&try_package(&[(slot, member.to_vec())], Rules::default())?)
    };
    let (good, Chunks { stored, .. }) = gzip_chunks(&content, 500);
    let [first, second] = stored[..] else { panic!("two chunks: {stored:?}") };
    assert_eq!(signed(&good, &stored), Ok(()));
    for (what, table) in [
        ("the first longer", vec![first + 1, second - 1]),
        ("the first shorter", vec![first - 1, second + 1]),
        ("one chunk", vec![first + second]),
        ("three chunks", vec![first, second - 1, 1]),
        ("a byte too few", vec![first, second - 1]),
        ("no chunks", vec![]),
    ] {
        assert!(signed(&good, &table).is_err(), "{what}");
    }

    let end = good.len() - 8;
    let mut longer = good.clone();
    longer.insert(end, 0);
    assert!(signed(&longer, &[first, second + 1]).is_err(), "a byte behind the last chunk");
    for (what, at) in [("CRC-32", end), ("size", end + 4)] {
        let mut changed = good.clone();
        changed[at] ^= 1;
        assert!(signed(&changed, &stored).is_err(), "another {what}");
    }
    for (what, at, mask) in [("magic", 0, 1), ("method", 2, 1), ("flags", 3, 1)] {
        let mut changed = good.clone();
        changed[at] ^= mask;
        assert!(signed(&changed, &stored).is_err(), "another {what}");
    }

    // A good gzip member of two stored blocks, but for the flush that says where the first chunk ends.
    let block = |last: u8, half: &[u8]| [&[last, 0xf4, 0x01, 0x0b, 0xfe], half].concat();
    let flush: &[u8] = &[0, 0, 0, 0xff, 0xff];
    let member = |flush: &[u8]| {
        [&good[..10], &block(0, &content[..500]), flush, &block(1, &content[500..]), &good[end..]].concat()
    };
    assert_eq!(signed(&member(flush), &[510, 505]), Ok(()));
    assert!(signed(&member(b""), &[505, 505]).is_err(), "no flush");
}

#[test]
fn a_key_that_proves_nothing_and_a_missing_signature_are_told_apart() {
    let good = sample();
    let reason = |file: &[u8]| match Package::open(file).unwrap().verify().unwrap_err().kind() {
        ErrorKind::Untrusted { reason, .. } => *reason,
        other => panic!("{other:?}"),
    };
    let at = index_at(&good);
    let mut unsigned = good.clone();
    unsigned[at + 128..at + 192].fill(0);
    mend_checksum(&mut unsigned);
    assert_eq!(reason(&unsigned), Distrust::Unsigned);
    let mut weak = good.clone();
    weak[at + 64..at + 96].fill(0);
    mend_checksum(&mut weak);
    assert_eq!(reason(&weak), Distrust::WeakKey);
    let mut changed = good.clone();
    changed[at + 130] ^= 1;
    mend_checksum(&mut changed);
    assert_eq!(reason(&changed), Distrust::BadSignature);
}

/// What no other check comes before: the layout equation finds it, and says where.
#[test]
fn a_changed_byte_of_the_index_is_called_by_its_field() {
    let good = sample();
    for at in (60..64).chain(640..index::SIZE) {
        let mut changed = good.clone();
        changed[index_at(&good) + at] ^= 0x40;
        mend_checksum(&mut changed);
        let error = checked(&changed).unwrap_err();
        assert_eq!(part_of(&error), Some(&Part::Index(index::field_at(at))), "byte {at}: {error}");
    }
}

#[test]
fn every_part_of_the_signature_and_its_key_counts() {
    let good = sample();
    for at in (64..96).chain(128..192) {
        let mut changed = good.clone();
        changed[index_at(&good) + at] ^= 0x40;
        mend_checksum(&mut changed);
        let error = checked(&changed).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Untrusted { .. }), "byte {at}: {error}");
    }
    for at in 192..640 {
        let mut changed = good.clone();
        changed[index_at(&good) + at] ^= 0x40;
        mend_checksum(&mut changed);
        let error = checked(&changed).unwrap_err();
        assert_eq!(part_of(&error), Some(&Part::Index("integrity_signature")), "byte {at}: {error}");
    }
}

#[test]
fn a_changed_byte_of_a_descriptor_is_called_by_its_slot_and_field() {
    let good = sample();
    for (number, at) in (0..3).flat_map(|number| (0..DESCRIPTOR).map(move |at| (number, at))) {
        let mut changed = good.clone();
        changed[table_at(&good) + number * DESCRIPTOR + at] ^= 1;
        let error = checked(&changed).unwrap_err();
        let field = match slot::field_at(at) {
            // With a size that does not fit, the slot leaves the file: that is seen first, and called its offset.
            "size" if Package::open(changed.as_slice()).is_err() => "offset",
            field => field,
        };
        assert_eq!(part_of(&error), Some(&Part::Descriptor(number as u32, field)), "byte {at}: {error}");
    }
}

/// Opening alone refuses them: whoever reads an unverified package relies on it.
#[test]
fn parts_that_overlap_or_leave_the_file_are_not_opened() {
    let good = sample();
    let package = Package::open(good.as_slice()).unwrap();
    let (index, slot) = (package.index(), package.table()[0]);
    let trailer = (good.len() - 8200) as u64;
    let (index_at, table_at) = (index_at(&good), table_at(&good));
    let table_end = index.table_offset() + index.table_size();
    let (outside, descriptor) = (Part::Index, Part::Descriptor(0, "offset"));
    for (at, number, part) in [
        (index_at + 16, trailer + 1, outside("launcher_size")),
        (index_at + 16, index.metadata_offset() + 1, outside("metadata_offset")),
        (index_at + 24, index.launcher_size() - 1, outside("metadata_offset")),
        (index_at + 24, trailer - index.metadata_size() + 1, outside("metadata_offset")),
        (index_at + 32, index.table_offset() - index.metadata_offset() + 1, outside("slot_table_offset")),
        (index_at + 40, index.metadata_offset() + index.metadata_size() - 1, outside("slot_table_offset")),
        (index_at + 40, trailer - index.table_size() + 1, outside("slot_table_offset")),
        (table_at + 16, table_end - 1, descriptor.clone()),
        (table_at + 16, trailer - slot.size + 1, descriptor.clone()),
        (table_at + 24, trailer - slot.offset + 1, descriptor),
    ] {
        let mut changed = good.clone();
        changed[at..at + 8].copy_from_slice(&number.to_le_bytes());
        mend_checksum(&mut changed);
        let error = Package::open(changed.as_slice()).unwrap_err();
        assert_eq!(part_of(&error), Some(&part), "{number} at byte {at}: {error}");
    }
}

/// Two numbers at once: the sum wraps around and looks small.
#[test]
fn offsets_whose_end_wraps_around_are_refused() {
    let good = sample();
    let index = index_at(&good);
    let table = table_at(&good);
    for (offset_at, size_at) in [(index + 24, index + 32), (index + 40, index + 48), (table + 16, table + 24)] {
        for offset in [u64::MAX, u64::MAX - 63, 1 << 63] {
            let mut changed = good.clone();
            changed[offset_at..offset_at + 8].copy_from_slice(&offset.to_le_bytes());
            changed[size_at..size_at + 8].copy_from_slice(&offset.wrapping_neg().to_le_bytes());
            mend_checksum(&mut changed);
            assert!(read_everything(&changed).is_err(), "{offset:#x} at byte {offset_at}");
        }
    }
}

#[test]
fn two_slots_that_share_bytes_are_refused() {
    let good = package(&[raw("a", b"12345678"), raw("b", b"12345678")]);
    let table = table_at(&good);
    let mut changed = good.clone();
    changed.copy_within(table + 16..table + 24, table + DESCRIPTOR + 16);
    assert!(read_everything(&changed).is_err());
}

#[test]
fn files_that_are_no_packages_are_called_that() {
    for file in [&b""[..], b"x", &[0; 8199], &[0; 8200], &[0xff; 20_000], LAUNCHER] {
        let error = Package::open(file).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotAPackage { .. }), "{error}");
    }
}

/// The same slot, whose chunks nobody signed.
fn without_chunks((mut slot, stored): Stocked) -> Stocked {
    slot.encoded.chunks = None;
    (slot, stored)
}

/// What `packer verify` does, as one result.
fn checked(file: &[u8]) -> Result<()> {
    let report = report(&Package::open(file)?, &mut |_| {});
    assert_eq!(report.passed(), report.failure().is_none(), "a package without claims has passed");
    report.failure().cloned().map_or(Ok(()), Err)
}

fn part_of(error: &pspf_core::Error) -> Option<&Part> {
    match error.kind() {
        ErrorKind::Malformed { part, .. } => Some(part),
        _ => None,
    }
}
