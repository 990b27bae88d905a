//! What is built is read back: every kind of slot, every layout.

mod common;

use common::{
    LAUNCHER, Stocked, bytes, document, gzip, index_at, key, mend_checksum, package, package_with, raw,
    read_everything, sample, tar, tar_gzip, tar_raw,
};
use pspf_core::build::{Builder, Slot};
use pspf_core::claims::Succession;
use pspf_core::json::Value;
use pspf_core::layout::Rules;
use pspf_core::metadata::Lifecycle;
use pspf_core::sign::{KeyId, KeyOrigin, SecretKey};
use pspf_core::verify::report;
use pspf_core::{Digest, ErrorKind, Grade, Package, Part};

#[test]
fn every_kind_of_slot_gives_back_what_went_into_it() {
    let content = bytes(10_000);
    let archive = tar(&[("a", b"1"), ("b/c", &content)]);
    comes_back(&[
        (raw("raw", &content), content.clone()),
        (gzip("gzip", &content, 4096), content.clone()),
        (tar_raw("tar", &archive), archive.clone()),
        (tar_gzip("tar.gz", &archive, 4096), archive.clone()),
        (raw("empty", b""), Vec::new()),
        (gzip("empty gzip", b"", 4096), Vec::new()),
    ]);
}

#[test]
fn chunks_end_anywhere_in_the_content() {
    let chunk = 1000;
    for size in [0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 3 * chunk, 3 * chunk + 1] {
        let content = bytes(size);
        comes_back(&[(gzip("slot", &content, chunk), content)]);
    }
}

#[test]
fn a_chunk_that_does_not_compress_is_read_as_well() {
    // Every byte from a digest: nothing to find for a compressor.
    let content: Vec<u8> = (0..2000_u32).flat_map(|i| Digest::of(&i.to_le_bytes()).0).collect();
    comes_back(&[(gzip("slot", &content, 32 << 10), content)]);
}

#[test]
fn a_package_without_slots_is_a_package() {
    let file = package(&[]);
    assert_eq!(read_everything(&file), Ok(()));
    assert_eq!(Package::open(file.as_slice()).unwrap().table(), []);
}

#[test]
fn two_hundred_slots_are_told_apart() {
    let contents: Vec<Vec<u8>> = (0..200).map(|i| format!("content {i}").into_bytes()).collect();
    let slots: Vec<_> =
        contents.iter().enumerate().map(|(i, content)| (raw(&format!("slot-{i}"), content), content.clone())).collect();
    comes_back(&slots);
    let slots: Vec<Stocked> = slots.into_iter().map(|(slot, _)| slot).collect();
    let file = package(&slots);
    let package = Package::open(file.as_slice()).unwrap();
    // FlavorPack's Rust launcher takes a descriptor that begins with '{' for JSON.
    assert!(package.table().iter().all(|descriptor| descriptor.id as u8 != b'{'));
}

#[test]
fn the_layouts_of_all_builders_are_read() {
    let slots = [raw("a", b"1"), raw("b", b""), raw("c", b"three")];
    for (meta_gap, table_align, slot_align) in [(8192, 8, 8), (0, 8, 4096), (0, 8, 8), (0, 4096, 1), (1, 16, 2)] {
        let rules = Rules { meta_gap, table_align, slot_align };
        let file = package_with(&slots, rules);
        assert_eq!(read_everything(&file), Ok(()), "{rules:?}");
        let package = Package::open(file.as_slice()).unwrap();
        assert_eq!(package.index().metadata_offset(), LAUNCHER.len() as u64 + meta_gap);
        assert!(package.index().table_offset().is_multiple_of(table_align), "{rules:?}");
        assert!(package.table().iter().all(|slot| slot.offset.is_multiple_of(slot_align)), "{rules:?}");
    }
}

#[test]
fn a_package_inside_of_a_slot_is_content_like_any_other() {
    let inner = package(&[raw("inner", b"hello")]);
    comes_back(&[(raw("outer", &inner), inner)]);
}

#[test]
fn everything_that_the_builder_was_told_stands_in_the_claims() {
    let succession = Succession {
        from_public_key: [1; 32],
        to_public_key: key().public_key(),
        app_id: "org.example/sample".into(),
        signature_by_from: [2; 64],
    };
    let head = Builder::new(document(), &LAUNCHER)
        .unwrap()
        .app_id(Some("org.example/sample".into()), 7)
        .build_timestamp(1_700_000_000)
        .lineage(vec![succession])
        .entry_points(vec![("sample".into(), "{workenv}/bin/sample".into())])
        .sign(&key(), KeyOrigin::Auto)
        .unwrap();
    let mut file = Vec::new();
    head.write(&LAUNCHER, &[], &mut file).unwrap();
    assert_eq!(head.layout().package_size, file.len() as u64);

    let package = Package::open(file.as_slice()).unwrap();
    assert_eq!(package.index().build_timestamp(), 1_700_000_000);
    assert_eq!(package.json().unwrap(), head.json().as_bytes());
    let verified = package.verify().unwrap();
    assert_eq!(verified.identity(), Digest::of(head.json().as_bytes()));
    assert_eq!(verified.key_id(), KeyId::of(&key().public_key()));
    let claims = verified.claims().unwrap();
    assert_eq!(claims.app_id.as_deref(), Some("org.example/sample"));
    assert_eq!((claims.release, claims.key_origin), (7, KeyOrigin::Auto));
    assert_eq!((claims.launcher_size, claims.launcher_digest), (LAUNCHER.len() as u64, Digest::of(LAUNCHER)));
    assert_eq!((claims.lineage[0].from_public_key, claims.lineage[0].signature_by_from), ([1; 32], [2; 64]));
    assert!(claims.entry_points.iter().any(|(name, starts)| name == "sample" && starts == "{workenv}/bin/sample"));
}

#[test]
fn attestation_and_policy_stand_in_the_index_and_nothing_else_may() {
    let (mut slot, content) = raw("attestation", b"{\"sbom\":{}}");
    slot.lifecycle = Lifecycle::Attestation;
    (slot.encoded.tree, slot.encoded.files) = (None, 0);
    let build = |policy: Value<'static>| {
        let Value::Object(mut members) = document() else { unreachable!("the document is an object") };
        members.push(("policy".into(), policy));
        let builder = Builder::new(Value::Object(members), &LAUNCHER).unwrap().slot(slot.clone());
        let head = builder.sign(&key(), KeyOrigin::Given).unwrap();
        let mut file = Vec::new();
        head.write(&LAUNCHER, &[&content], &mut file).unwrap();
        file
    };
    let file = build(Value::object([("refuse_root", true.into()), ("after", Value::Null)]));
    assert_eq!(read_everything(&file), Ok(()));
    let package = Package::open(file.as_slice()).unwrap();
    assert_eq!(package.index().sbom_digest(), Digest::of(&content).to_hex());
    assert_eq!(package.index().policy_digest(), Digest::of(b"{\"after\":null,\"refuse_root\":true}").to_hex());
    for at in 1440..1568 {
        let mut changed = file.clone();
        changed[index_at(&file) + at] ^= 1;
        mend_checksum(&mut changed);
        assert!(read_everything(&changed).is_err(), "byte {at} of the index");
    }
    // What builders write differently has no digest.
    let file = build(Value::object([("note", "a < b".into())]));
    assert_eq!(read_everything(&file), Ok(()));
    assert_eq!(Package::open(file.as_slice()).unwrap().index().policy_digest(), [0; 64]);
}

#[test]
fn what_readers_would_not_take_is_not_signed() {
    let sign = |document: Value<'static>, slots: usize| {
        let mut builder = Builder::new(document, &LAUNCHER)?;
        for i in 0..slots {
            let id = format!("{i}");
            builder = builder.slot(Slot::raw(&id, &id, &&b""[..])?);
        }
        builder.sign(&key(), KeyOrigin::Given)
    };
    let kind = |document, slots| sign(document, slots).unwrap_err().kind().clone();
    assert!(matches!(kind(document(), 4097), ErrorKind::TooLarge { allowed: 4096, found: 4097, .. }));

    let Value::Object(mut large) = document() else { unreachable!("the document is an object") };
    large.push(("note".into(), "x".repeat(1 << 20).into()));
    assert!(matches!(kind(Value::Object(large), 0), ErrorKind::TooLarge { allowed: 0x10_0000, .. }));

    let nameless = Value::object([("package", Value::object([("version", "1".into())]))]);
    assert!(matches!(kind(nameless, 0), ErrorKind::Malformed { part: Part::Metadata(_), .. }));
    assert!(matches!(kind(Value::Null, 0), ErrorKind::Malformed { part: Part::Metadata(_), .. }));
}

#[test]
fn two_entry_points_of_one_name_are_not_signed() {
    let twice = ["a", "b"].map(|target| ("app".to_owned(), target.to_owned())).to_vec();
    let builder = Builder::new(document(), &LAUNCHER).unwrap().entry_points(twice);
    let error = builder.sign(&key(), KeyOrigin::Given).unwrap_err();
    assert!(error.to_string().contains("every key once"), "{error}");
}

#[test]
fn a_slot_that_changed_after_it_was_signed_is_not_written() {
    let (slot, _) = raw("slot", b"12345");
    let head = Builder::new(document(), &LAUNCHER).unwrap().slot(slot).sign(&key(), KeyOrigin::Given).unwrap();
    for slots in [&[&&b"1234"[..] as &dyn pspf_core::Source][..], &[&&b"123456"[..]], &[]] {
        head.write(&LAUNCHER, slots, &mut Vec::new()).unwrap_err();
    }
    head.write(&&LAUNCHER[1..], &[&&b"12345"[..]], &mut Vec::new()).unwrap_err();
    head.write(&LAUNCHER, &[&&b"12345"[..]], &mut Vec::new()).unwrap();
}

/// docs/format.md section 6.1, the package of the example in src/lib.rs: every line that shows bytes.
#[test]
fn the_worked_example_in_the_documentation_is_true() {
    let greet = Value::object([
        ("package", Value::object([("name", "greet".into()), ("version", "1.0.0".into())])),
        ("execution", Value::object([("command", "{workenv}/hello.txt".into())])),
    ]);
    let (launcher, hello): (&[u8], &[u8]) = (b"\x7fELF...", b"hello");
    let head = Builder::new(greet, &launcher)
        .unwrap()
        .slot(Slot::raw("hello", "hello.txt", &hello).unwrap())
        .sign(&SecretKey::from_seed_text("doc"), KeyOrigin::Given)
        .unwrap();
    let mut file = Vec::new();
    head.write(&launcher, &[&hello], &mut file).unwrap();

    let text = include_str!("../../docs/format.md");
    let table = text.split("### 6.1").nth(1).unwrap().split("```").nth(1).unwrap();
    let mut shown = 0;
    for line in table.lines() {
        let mut words = line.split_whitespace();
        let Some(offset) = words.next().and_then(|word| word.parse::<usize>().ok()) else { continue };
        let is_byte =
            |word: &&str| word.len() == 2 && word.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'));
        let bytes: Vec<u8> = words.take_while(is_byte).map(|word| u8::from_str_radix(word, 16).unwrap()).collect();
        assert_eq!(bytes, file[offset..offset + bytes.len()], "{line}");
        shown += bytes.len();
    }
    assert!(shown > 200, "the table is read: {shown} bytes");
    assert!(text.contains(&format!("builds a package of {} bytes", file.len())));
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    assert!(sample() == sample());
}

#[test]
fn a_report_on_a_good_package_says_that_every_byte_is_vouched_for() {
    let file = sample();
    let mut hashed = 0;
    let report = report(&Package::open(file.as_slice()).unwrap(), &mut |size| hashed += size);
    assert!(report.passed(), "{:?}", report.failure());
    assert_eq!(report.grade, Grade::Sealed);
    assert!(report.not_covered.is_empty(), "{:?}", report.not_covered);
    let stored: u64 = Package::open(file.as_slice()).unwrap().table().iter().map(|slot| slot.size).sum();
    assert_eq!(hashed, stored);
}

#[test]
fn a_slot_that_was_not_read_to_its_end_gives_no_proof() {
    let file = package(&[gzip("slot", &bytes(5000), 1000), raw("raw", b"12345")]);
    let package = Package::open(file.as_slice()).unwrap();
    let verified = package.verify().unwrap();
    for index in 0..2 {
        let mut slot = verified.slot(index).unwrap();
        slot.fill().unwrap();
        slot.consume(1);
        slot.finish().unwrap_err();
    }
}

/// Builds a package of these slots and reads each, twice: slots are readers of their own.
fn comes_back(slots: &[(Stocked, Vec<u8>)]) {
    let stocked: Vec<Stocked> = slots.iter().map(|(slot, _)| slot.clone()).collect();
    let file = package(&stocked);
    let package = Package::open(file.as_slice()).unwrap();
    let verified = package.verify().unwrap();
    assert_eq!(verified.grade(), Grade::Sealed);
    assert_eq!(verified.check_launcher(), Ok(()));
    for (index, ((slot, stored), content)) in (0..).zip(slots) {
        assert_eq!(verified.check_slot(index, &mut |_| {}), Ok(true));
        for _ in 0..2 {
            let mut reader = verified.slot(index).unwrap();
            let mut read = Vec::new();
            loop {
                let block = reader.fill().unwrap();
                if block.is_empty() {
                    break;
                }
                // By pieces that meet no boundary of the reader's own.
                let size = block.len().min(333);
                read.extend_from_slice(&block[..size]);
                reader.consume(size);
            }
            assert!(read == *content, "slot {}", slot.id);
            assert_eq!(reader.consumed(), content.len() as u64);
            let proof = reader.finish().unwrap().expect("a claimed slot gives a proof");
            assert_eq!((proof.index(), proof.digest()), (index, Digest::of(stored)));
        }
    }
}
