//! Packages of other builders: no claims, any gzip around the JSON, and less that the signature answers for.

mod common;

use common::{
    bytes, drain, gzip, index_at, json_of, json_without_claims, mend_checksum, package, raw, read_everything,
    read_source, sample, table_at, tar, tar_gzip, with_container, with_json, without_claims,
};
use flate2::{Compression, GzBuilder};
use pspf_core::placement::Placement;
use pspf_core::verify::report;
use pspf_core::{ErrorKind, Grade, Package, Part, container};

#[test]
fn a_package_without_claims_is_read_and_graded_lower() {
    let sealed = sample();
    let foreign = without_claims(&sealed);
    assert_eq!(read_source(foreign.as_slice()), read_source(sealed.as_slice()));
    let package = Package::open(foreign.as_slice()).unwrap();
    let verified = package.verify().unwrap();
    assert_eq!(verified.grade(), Grade::SlotsOnly);
    assert!(verified.claims().is_none());
    // Nothing of it goes where other packages look.
    assert!(verified.placements().iter().all(|placement| matches!(placement, Placement::Private(_))));
    let report = report(&package, &mut |_| {});
    assert!(report.passed(), "{:?}", report.failure());
    assert!(!report.not_covered.is_empty());
}

#[test]
fn claims_of_a_version_to_come_are_as_none() {
    let good = sample();
    let newer = with_json(&good, &json_of(&good).replace("\"v\":1,", "\"v\":2,\"anything\":[],"));
    assert_eq!(read_everything(&newer), Ok(()));
    let package = Package::open(newer.as_slice()).unwrap();
    assert_eq!(package.verify().unwrap().grade(), Grade::SlotsOnly);
    let unknown = "claims of a version that this program does not know";
    assert!(report(&package, &mut |_| {}).not_covered.contains(&unknown));
    let without = without_claims(&good);
    let without = report(&Package::open(without.as_slice()).unwrap(), &mut |_| {});
    assert!(!without.not_covered.contains(&unknown), "{without:?}");
}

#[test]
fn any_one_gzip_member_may_hold_the_document() {
    let good = sample();
    let json = json_without_claims(&good);
    let deflated = |builder: GzBuilder, level| {
        let mut encoder = builder.write(Vec::new(), Compression::new(level));
        std::io::Write::write_all(&mut encoder, json.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let named =
        GzBuilder::new().filename("psp.json").comment("a comment").extra(vec![1; 300]).mtime(1).operating_system(3);
    for member in [deflated(GzBuilder::new(), 0), deflated(GzBuilder::new(), 9), deflated(named, 6)] {
        let file = with_container(&good, &json, &member);
        assert_eq!(read_everything(&file), Ok(()));
        assert_eq!(Package::open(file.as_slice()).unwrap().json().unwrap(), json.as_bytes());

        let mut wrong_checksum = member.clone();
        let at = member.len() - 8;
        wrong_checksum[at] ^= 1;
        let mut reserved_flag = member.clone();
        reserved_flag[3] |= 0x20;
        let mut wrong_size = member.clone();
        wrong_size[at + 4] ^= 1;
        for (what, broken) in [
            ("a second member", [&member[..], &member].concat()),
            ("bytes behind it", [&member[..], b"\0"].concat()),
            ("cut short", member[..member.len() - 1].to_vec()),
            ("without its trailer", member[..at].to_vec()),
            ("half of it", member[..at / 2].to_vec()),
            ("another CRC-32", wrong_checksum),
            ("another size", wrong_size),
            ("a reserved flag", reserved_flag),
        ] {
            let error = read_everything(&with_container(&good, &json, &broken)).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Malformed { part: Part::Container, .. }), "{what}: {error}");
        }
    }
}

#[test]
fn a_gzip_slot_without_a_chunk_table_is_read_as_a_stream() {
    let archive = tar(&[("a", &bytes(3000)), ("b", b"2")]);
    let file = without_claims(&package(&[tar_gzip("app", &archive, 1000)]));
    assert_eq!(read_source(file.as_slice()).unwrap(), [archive]);
}

#[test]
fn an_empty_slot_may_lie_at_the_start_of_the_file() {
    let mut file = without_claims(&package(&[raw("empty", b""), raw("other", b"x")]));
    let at = table_at(&file) + 16;
    file[at..at + 8].fill(0);
    assert_eq!(read_source(file.as_slice()).unwrap(), [b"".to_vec(), b"x".to_vec()]);
    // With claims it may not: the layout equation says where it lies.
    let mut sealed = package(&[raw("empty", b""), raw("other", b"x")]);
    let at = table_at(&sealed) + 16;
    sealed[at..at + 8].fill(0);
    assert!(read_everything(&sealed).is_err());
}

#[test]
fn slots_that_share_bytes_are_refused() {
    let file = without_claims(&package(&[raw("a", b"the same"), raw("b", b"the same"), raw("c", b"same")]));
    assert_eq!(read_source(file.as_slice()).unwrap().len(), 3);
    let descriptor = |i: usize| table_at(&file) + 64 * i + 16;
    let offset = |i: usize| u64::from_le_bytes(file[descriptor(i)..descriptor(i) + 8].try_into().unwrap());
    // All of them have the bytes that were signed, and yet one is another one, or inside of one.
    for (moved, to) in [(1, offset(0)), (0, offset(1)), (2, offset(0) + 4), (2, offset(1) + 4)] {
        let mut nested = file.clone();
        nested[descriptor(moved)..descriptor(moved) + 8].copy_from_slice(&to.to_le_bytes());
        let error = read_everything(&nested).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Malformed { part: Part::Descriptor(_, "offset"), .. }), "{error}");
    }
}

#[test]
fn slots_may_lie_in_any_order() {
    let mut file = without_claims(&package(&[raw("a", b"the same"), raw("b", b"the same")]));
    let (a, b) = (table_at(&file) + 16, table_at(&file) + 80);
    for i in 0..8 {
        file.swap(a + i, b + i);
    }
    assert_eq!(read_source(file.as_slice()).unwrap(), [b"the same", b"the same"]);
}

#[test]
fn the_table_may_leave_steps_out_and_add_none() {
    let archive = tar(&[("a", b"1")]);
    let file = without_claims(&package(&[tar_gzip("app", &archive, 1000), raw("data", &archive)]));
    let with = |slot: usize, operations: u64| {
        let mut file = file.clone();
        let at = table_at(&file) + 64 * slot + 40;
        file[at..at + 8].copy_from_slice(&operations.to_le_bytes());
        file
    };
    // What the reference's builders make of a name that they do not know.
    let left_out = with(0, 0);
    let package = Package::open(left_out.as_slice()).unwrap();
    assert_eq!(package.verify().unwrap().placements()[0], Placement::Private("app".into()), "as the file that it is");
    for (slot, added) in [(1, 0x01), (1, 0x10), (1, 0x1001), (0, 0x10), (0, 0x1301)] {
        let error = read_everything(&with(slot, added)).unwrap_err();
        let part = Part::Descriptor(slot as u32, "operations");
        assert!(matches!(error.kind(), ErrorKind::Malformed { part: p, .. } if *p == part), "{added:x}: {error}");
    }
}

#[test]
fn a_slot_inflates_to_as_much_as_the_caller_allows() {
    let content = bytes(3000);
    let file = without_claims(&package(&[gzip("data", &content, 1000)]));
    let package = Package::open(file.as_slice()).unwrap();
    let read = |limit| {
        let verified = package.verify().unwrap().with_slot_limit(limit);
        let mut slot = verified.slot(0).unwrap();
        drain(&mut slot)
    };
    assert_eq!(read(3000).unwrap(), content);
    assert!(matches!(read(2999).unwrap_err().kind(), ErrorKind::TooLarge { allowed: 2999, .. }));
}

#[test]
fn a_slot_without_a_signed_digest_goes_by_the_tables_checksum() {
    let good = sample();
    let json = json_without_claims(&good);
    let at = json.find("\"checksum\":\"sha256:").unwrap();
    // As the reference's Python builder writes it for its attestation slot.
    let short = [&json[..at], "\"checksum\":\"", &json[at + 19..at + 35], &json[at + 83..]].concat();
    let file = with_json(&good, &short);
    let slot_offset = table_at(&file) + 16;
    let offset = u64::from_le_bytes(file[slot_offset..slot_offset + 8].try_into().unwrap()) as usize;
    let finish = |file: &[u8]| {
        let package = Package::open(file).unwrap();
        let verified = package.verify().unwrap();
        let mut slot = verified.slot(0).unwrap();
        while let size @ 1.. = slot.fill()?.len() {
            slot.consume(size);
        }
        slot.finish()
    };
    assert_eq!(finish(&file), Ok(None), "nothing that the signature proves");
    let mut changed = file.clone();
    changed[offset] ^= 1;
    assert!(finish(&changed).is_err());
}

#[test]
fn what_the_signature_answers_for_is_refused_when_it_changed() {
    let good = without_claims(&sample());
    let package = Package::open(good.as_slice()).unwrap();
    let index = package.index();
    let parts = [(0, index.launcher_size()), (index.metadata_offset(), index.metadata_size())];
    let slots = package.table().iter().map(|slot| (slot.offset, slot.size));
    for at in parts.into_iter().chain(slots).flat_map(|(start, size)| start..start + size) {
        let mut changed = good.clone();
        changed[at as usize] ^= 1;
        assert!(read_everything(&changed).is_err(), "byte {at}");
    }
}

#[test]
fn hints_are_not_covered_and_the_report_says_so() {
    let mut changed = without_claims(&sample());
    let at = index_at(&changed) + 704;
    changed[at] ^= 1;
    mend_checksum(&mut changed);
    let report = report(&Package::open(changed.as_slice()).unwrap(), &mut |_| {});
    assert!(report.passed());
    assert!(report.not_covered.contains(&"hints in the index"));
}

#[test]
fn a_table_that_is_not_the_documents_is_refused() {
    let good = without_claims(&sample());
    let mut checksum = good.clone();
    checksum[table_at(&good) + 48] ^= 1;
    let error = read_everything(&checksum).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Malformed { part: Part::Descriptor(0, "checksum"), .. }), "{error}");

    let json = json_without_claims(&good);
    let start = json.find("{\"slot\":0").unwrap();
    let end = json.find("{\"slot\":1").unwrap();
    let fewer = with_json(&good, &[&json[..start], &json[end..]].concat());
    let error = read_everything(&fewer).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Malformed { part: Part::Index("slot_count"), .. }), "{error}");
}

#[test]
fn the_fingerprint_of_the_key_is_the_keys_or_left_out() {
    let good = without_claims(&sample());
    let fingerprint = index_at(&good) + 1376;
    let mut absent = good.clone();
    absent[fingerprint..fingerprint + 64].fill(0);
    mend_checksum(&mut absent);
    assert_eq!(read_everything(&absent), Ok(()));
    let mut other = good.clone();
    other[fingerprint] ^= 1;
    mend_checksum(&mut other);
    assert!(read_everything(&other).is_err());
}

#[test]
fn nobody_vouches_for_an_unsigned_package_but_one_may_look_inside() {
    let mut file = without_claims(&sample());
    let at = index_at(&file);
    file[at + 64..at + 96].fill(0);
    file[at + 128..at + 192].fill(0);
    mend_checksum(&mut file);
    let package = Package::open(file.as_slice()).unwrap();
    let error = package.verify().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Untrusted { .. }), "{error}");
    let report = report(&package, &mut |_| {});
    assert!(!report.passed());
    assert_eq!((report.grade, report.not_covered), (Grade::Unsigned, vec!["the whole file"]));
    let mut slot = package.unverified_slot(0, 100).unwrap();
    assert_eq!(drain(&mut slot).unwrap(), b"a = 1\n");
    assert_eq!(slot.finish().unwrap(), None);
}

#[test]
fn the_container_of_a_sealed_package_serves_others_as_well() {
    let good = sample();
    let json = json_without_claims(&good);
    assert_eq!(read_everything(&with_container(&good, &json, &container::encode(json.as_bytes()))), Ok(()));
}
