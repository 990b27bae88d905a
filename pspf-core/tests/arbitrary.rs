//! Whatever comes in: an answer, and never a panic, an endless loop or more bytes than allowed.
//!
//! Each property is tried 256 times; the variable `PROPTEST_CASES` asks for more.

mod common;

use common::{
    drain, gzip_chunks, index_at, json_of, mend_checksum, read_everything, read_source, sample, tar, with_json,
};
use proptest::prelude::*;
use proptest::sample::Index as Place;
use pspf_core::archive::Reader;
use pspf_core::claims::Chunks;
use pspf_core::codec::{self, Chunked, Stored};
use pspf_core::format::index::Facts;
use pspf_core::format::{Index, Operation, trailer};
use pspf_core::json::{self, Value};
use pspf_core::limits::{CLAIMED_WINDOW, METADATA_READ, WINDOW};
use pspf_core::metadata::Metadata;
use pspf_core::{Digest, Package, Part, container};

// Packages

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_package(bytes in prop::collection::vec(any::<u8>(), 0..20_000)) {
        prop_assert!(Package::open(bytes.as_slice()).is_err());
    }

    #[test]
    fn an_index_of_arbitrary_numbers_is_refused_or_names_parts_inside_the_file(
        front in prop::collection::vec(any::<u8>(), 0..800),
        [launcher_size, metadata_offset, metadata_size, table_offset] in prop::array::uniform4(any_number()),
        slot_count in prop_oneof![0..4_u32, Just(u32::MAX), any::<u32>()],
    ) {
        let facts = Facts {
            package_size: (front.len() + trailer::SIZE) as u64,
            launcher_size,
            metadata_offset,
            metadata_size,
            table_offset,
            slot_count,
            metadata_digest: Digest([0; 32]),
            public_key: [0; 32],
            signature: [0; 64],
            sbom: None,
            policy: None,
        };
        let index = Index::new(&facts, []);
        let file = [&front[..], &trailer::START_MAGIC, index.block(), &trailer::END_MAGIC].concat();
        if let Ok(package) = Package::open(file.as_slice()) {
            prop_assert_eq!(package.container().len() as u64, metadata_size);
            for slot in 0..slot_count {
                let _ = read_unverified(&package, slot);
            }
        }
        prop_assert!(read_everything(&file).is_err());
    }

    #[test]
    fn a_changed_package_is_refused(
        changes in prop::collection::vec((any::<Place>(), any::<u8>()), 1..6),
        mended in any::<bool>(),
    ) {
        let good = sample();
        let mut changed = good.clone();
        for (at, byte) in &changes {
            changed[at.index(good.len())] = *byte;
        }
        if mended {
            mend_checksum(&mut changed);
        }
        prop_assert_eq!(read_everything(&changed).is_ok(), changed == good);
        if let Ok(package) = Package::open(changed.as_slice()) {
            for slot in 0..package.table().len() as u32 {
                let _ = read_unverified(&package, slot);
            }
        }
    }

    #[test]
    fn any_number_in_the_head_is_refused_but_its_own(
        field in prop_oneof![8..60_usize, 8000..8192_usize],
        number in any_number(),
    ) {
        let mut file = sample();
        // In the index, or in the slot table.
        let at = if field < 60 { index_at(&file) + field } else { common::table_at(&file) + field - 8000 };
        file[at..at + 8].copy_from_slice(&number.to_le_bytes());
        mend_checksum(&mut file);
        prop_assert_eq!(read_everything(&file).is_ok(), file == sample());
    }

    /// Whoever holds a key can sign any document. What comes out of it then is what was signed, or nothing.
    #[test]
    fn a_document_that_was_changed_and_signed_again_gives_the_same_contents_or_none(
        at in any::<Place>(),
        other in prop::option::of(prop_oneof![any_value(), any_document()]),
    ) {
        let good = sample();
        let json = json_of(&good);
        let mut document = json::parse(json.as_bytes()).unwrap().into_owned();
        let mut left = at.index(count(&document));
        change(&mut document, &mut left, other.as_ref());
        let forged = with_json(&good, &document.to_text());
        if let Ok(contents) = read_source(forged.as_slice()) {
            prop_assert_eq!(contents, read_source(good.as_slice()).unwrap());
        }
    }
}

// Documents

proptest! {
    #[test]
    fn arbitrary_bytes_as_json_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = json::parse(&bytes);
    }

    #[test]
    fn arbitrary_text_of_the_characters_of_json_does_not_panic(text in r#"[{}\[\]:,"\\0-9a-u.eE+ \n-]{0,200}"#) {
        let _ = json::parse(text.as_bytes());
    }

    #[test]
    fn a_value_survives_being_written_and_read(value in any_value()) {
        let text = value.to_text();
        prop_assert_eq!(json::parse(text.as_bytes()).unwrap(), value.clone());
        let sorted = value.to_sorted_text();
        prop_assert_eq!(json::parse(sorted.as_bytes()).unwrap().to_sorted_text(), sorted);
    }

    #[test]
    fn any_document_is_read_or_refused(value in any_document()) {
        let _ = Metadata::read(&value);
    }

    #[test]
    fn any_container_is_read_or_refused(
        flags in 0..32_u8,
        bytes in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let container = [&[0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 0xff], &bytes[..]].concat();
        if let Ok(decoded) = container::decode(&container) {
            prop_assert!(decoded.json.len() as u64 <= METADATA_READ);
        }
    }
}

// Archives

proptest! {
    #[test]
    fn arbitrary_bytes_as_an_archive_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        read_archive(&bytes);
    }

    #[test]
    fn a_changed_archive_gives_plain_paths_and_no_more_than_it_holds(
        changes in prop::collection::vec((any::<Place>(), any::<u8>()), 1..8),
    ) {
        let mut archive = tar(&[("a/b", b"content"), ("c", &[b'x'; 600])]);
        for (at, byte) in &changes {
            let at = at.index(archive.len());
            archive[at] = *byte;
        }
        // With the checksums of its headers made right, so that more of it is looked at.
        for at in [0, 1024] {
            archive[at + 148..at + 156].fill(b' ');
            let sum: u32 = archive[at..at + 512].iter().map(|byte| u32::from(*byte)).sum();
            archive[at + 148..at + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        read_archive(&archive);
    }
}

// Slots

proptest! {
    #[test]
    fn arbitrary_bytes_are_undone_or_refused_by_every_codec(
        operation in any_operation(),
        rest in prop::collection::vec(any::<u8>(), 0..2000),
        begun in any::<bool>(),
        claimed in any::<bool>(),
    ) {
        let start: &[u8] = match operation {
            Operation::Gzip => &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3],
            Operation::Bzip2 => b"BZh9\x31\x41\x59\x26\x53\x59",
            Operation::Xz => b"\xfd7zXZ\0\0\x01\x69\x22\xde\x36",
            Operation::Zstd => b"\x28\xb5\x2f\xfd\x04\x40",
            _ => b"",
        };
        let stored = if begun { [start, &rest].concat() } else { rest };
        let bytes = Stored::new(&stored, Part::Slot(0), 0, stored.len() as u64);
        let window = if claimed { CLAIMED_WINDOW } else { WINDOW };
        // A codec that this build leaves out is one that refuses.
        if let Ok(mut stage) = codec::undo(operation, Box::new(bytes), Part::Slot(0), window) {
            let mut size = 0_usize;
            while let Ok(ready @ 1..) = stage.fill().map(<[u8]>::len) {
                size += ready;
                // What 2000 bytes may stand for without being a bomb; the reader of a slot has its own limit.
                if size > 64 << 20 {
                    break;
                }
                stage.consume(ready);
            }
        }
    }

    #[test]
    fn changed_chunks_and_arbitrary_chunk_tables_are_refused_or_give_what_is_claimed(
        changes in prop::collection::vec((any::<Place>(), any::<u8>()), 0..3),
        tables in prop::collection::vec((any::<Place>(), prop_oneof![0..400_u32, any::<u32>()]), 0..3),
        original in prop_oneof![Just(100_u64), 0..300_u64, any_number()],
        size in prop_oneof![Just(1000_u64), 0..3000_u64, any_number()],
    ) {
        let (mut stored, Chunks { stored: mut table, .. }) = gzip_chunks(&common::bytes(1000), 100);
        for (at, byte) in &changes {
            let at = at.index(stored.len());
            stored[at] = *byte;
        }
        for (at, number) in &tables {
            let at = at.index(table.len());
            table[at] = *number;
        }
        // Readers of claims refuse larger chunks before.
        let chunks = Chunks { original: original.min(8 << 20), stored: table };
        let range = (0, stored.len() as u64);
        if let Ok(mut stage) = Chunked::new(&stored, Part::Slot(0), range, &chunks, size)
            && let Ok(content) = drain(&mut stage)
        {
            prop_assert_eq!(content.len() as u64, size);
        }
    }
}

/// Reads a slot that nobody vouched for, as those who inspect do.
fn read_unverified(package: &Package<&[u8]>, slot: u32) -> pspf_core::Result<()> {
    const CAP: u64 = 100_000;
    let mut reader = package.unverified_slot(slot, CAP)?;
    let content = drain(&mut reader)?;
    assert!(content.len() as u64 <= CAP);
    assert_eq!(reader.finish()?, None);
    Ok(())
}

/// Reads an archive to its end or its first error.
fn read_archive(bytes: &[u8]) {
    let bytes = bytes.to_vec();
    let mut stage = Stored::new(&bytes, Part::Slot(0), 0, bytes.len() as u64);
    let mut reader = Reader::new(&mut stage);
    let mut size = 0;
    while let Ok(Some(entry)) = reader.next_entry() {
        let plain = |name: &str| !matches!(name, "" | "." | "..") && !name.contains(['\\', '\0']);
        assert!(entry.path.split('/').all(plain), "{:?}", entry.path);
        while let Ok(ready @ 1..) = reader.fill().map(<[u8]>::len) {
            size += ready;
            reader.consume(ready);
        }
    }
    assert!(size <= bytes.len());
}

/// How many values there are in a value, itself included.
fn count(value: &Value<'_>) -> usize {
    1 + match value {
        Value::Array(values) => values.iter().map(count).sum(),
        Value::Object(members) => members.iter().map(|(_, value)| count(value)).sum(),
        _ => 0_usize,
    }
}

/// Puts `other` in the place of the value that is `left` values away, or takes it out when there is no other.
fn change(value: &mut Value<'static>, left: &mut usize, other: Option<&Value<'static>>) {
    let Some(next) = left.checked_sub(1) else {
        *value = other.cloned().unwrap_or(Value::Null);
        *left = usize::MAX;
        return;
    };
    *left = next;
    let inside: Vec<&mut Value<'static>> = match value {
        Value::Array(values) => values.iter_mut().collect(),
        Value::Object(members) => members.iter_mut().map(|(_, value)| value).collect(),
        _ => Vec::new(),
    };
    for value in inside {
        if *left != usize::MAX {
            change(value, left, other);
        }
    }
}

/// Numbers that lie in a small file, at the edges of arithmetic, or anywhere.
fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![0..12_000_u64, (0..64_u32).prop_map(|bit| 1 << bit), (u64::MAX - 64)..=u64::MAX, any::<u64>()]
}

fn any_operation() -> impl Strategy<Value = Operation> {
    use Operation::{Bzip2, Gzip, Tar, Xz, Zstd};
    prop::sample::select(&[Tar, Gzip, Bzip2, Xz, Zstd][..])
}

/// Values of every kind, nested a little.
fn any_value() -> impl Strategy<Value = Value<'static>> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<u64>().prop_map(Value::Unsigned),
        (i64::MIN..0).prop_map(Value::Negative),
        "-?(0|[1-9][0-9]{0,5})\\.[0-9]{1,5}".prop_map(|text| Value::Decimal(text.into())),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::btree_map(any::<String>(), inner, 0..6).prop_map(|members| Value::Object(
                members.into_iter().map(|(key, value)| (key.into(), value)).collect()
            )),
        ]
    })
}

/// Documents whose keys are the ones that are looked for, with any values.
fn any_document() -> impl Strategy<Value = Value<'static>> {
    const KEYS: &[&str] = &[
        "format",
        "package",
        "name",
        "version",
        "slots",
        "id",
        "target",
        "checksum",
        "operations",
        "lifecycle",
        "execution",
        "command",
        "env",
        "setup_commands",
        "type",
        "path",
        "content",
        "mode",
        "runtime",
        "unset",
        "pass",
        "map",
        "set",
        "workenv",
        "directories",
        "extensions",
        "x-pspf-claims",
        "v",
        "layout",
        "launcher",
        "size",
        "chunks",
        "stored",
        "original",
        "index",
        "flags",
        "lineage",
        "policy",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        (0..3_u64).prop_map(Value::Unsigned),
        prop::sample::select(&["", "PSPF/2025", "x", "0x1001", "write_file", "chmod", "0755", "tar.gz"][..])
            .prop_map(Value::from),
    ];
    let key = || prop::sample::select(KEYS);
    leaf.prop_recursive(5, 60, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(key(), inner, 0..8).prop_map(Value::object),
        ]
    })
}
