//! Whole packages: any file, forged ones, and ones that were just built.

use pspf_core::build::{Builder, Slot};
use pspf_core::codec::Stage;
use pspf_core::format::trailer;
use pspf_core::json::Value;
use pspf_core::layout::{Layout, Rules};
use pspf_core::sign::{KeyOrigin, SecretKey};
use pspf_core::{Grade, Package, Part, Source, archive, codec, container, verify};

use super::common::{self, drain, read_source};
use super::cursor::Cursor;
use super::forge;

pub(super) fn open(input: &[u8]) -> bool {
    open_as_it_is(input) | open_as_it_is(&with_trailer(input))
}

fn open_as_it_is(file: &[u8]) -> bool {
    const CAP: u64 = 100_000;
    let Ok(package) = Package::open(file) else { return false };
    assert!(package.table().len() <= 4096);
    for slot in 0..package.table().len().min(16) as u32 {
        let Ok(mut reader) = package.unverified_slot(slot, CAP) else { continue };
        if let Ok(content) = drain(&mut reader) {
            assert!(content.len() as u64 <= CAP, "more than the cap");
            assert_eq!(reader.finish().unwrap_or_default(), None, "a proof without a signature");
        }
    }
    let verified = package.verify().is_ok();
    let report = verify::report(&package, &mut |_| {});
    assert_eq!(verified, report.grade > Grade::Unsigned, "the report says otherwise");
    true
}

/// With magics, version, size and checksum of the trailer made right.
fn with_trailer(input: &[u8]) -> Vec<u8> {
    let mut file = input.to_vec();
    let Some(at) = file.len().checked_sub(trailer::SIZE) else { return file };
    let size = file.len() as u64;
    let (start, end) = (at + 4, at + trailer::SIZE - 4);
    file[at..start].copy_from_slice(&trailer::START_MAGIC);
    file[end..].copy_from_slice(&trailer::END_MAGIC);
    file[start..start + 4].copy_from_slice(&pspf_core::format::FORMAT_VERSION.to_le_bytes());
    file[start + 8..start + 16].copy_from_slice(&size.to_le_bytes());
    common::mend_checksum(&mut file);
    file
}

pub(super) fn whole_file(input: &[u8]) -> bool {
    let file = forge::package(input);
    let Ok(package) = Package::open(&file[..]) else { return false };
    for slot in 0..package.table().len().min(16) as u32 {
        if let Ok(mut reader) = package.unverified_slot(slot, LARGEST) {
            let _ = drain(&mut reader);
        }
    }
    let Ok(verified) = package.verify() else { return false };
    assert_eq!(verified.placements().len(), verified.metadata().slots.len());
    let Some(claims) = verified.claims() else {
        assert_eq!(verified.grade(), Grade::SlotsOnly);
        return read_within(&verified).is_some();
    };
    assert_eq!(verified.grade(), Grade::Sealed);
    if verified.check_launcher().is_err() {
        return false;
    }
    let Some(contents) = read_within(&verified) else { return false };
    assert!(verify::report(&package, &mut |_| {}).passed());

    // It is the one file that the signed document describes.
    let sizes = claims.slots.iter().map(|slot| slot.size);
    let container = container::encode(verified.json());
    let layout = Layout::new(&claims.layout, claims.launcher_size, container.len() as u64, sizes).unwrap();
    let mut rebuilt = file[..layout.launcher_size as usize].to_vec();
    rebuilt.resize(layout.metadata_offset as usize, 0);
    rebuilt.extend(&container);
    rebuilt.resize(layout.table_offset as usize, 0);
    for (i, (claim, (offset, _))) in (0..).zip(claims.slots.iter().zip(&layout.slots)) {
        rebuilt.extend(claim.descriptor(i, *offset).to_block());
    }
    for (offset, size) in &layout.slots {
        rebuilt.resize(*offset as usize, 0);
        rebuilt.extend(&file[*offset as usize..][..*size as usize]);
    }
    let signed = (package.index().public_key(), package.index().signature());
    let index = forge::index_of(claims, &layout, &container, signed, verified.metadata().policy);
    rebuilt.extend(trailer::START_MAGIC);
    rebuilt.extend(index.block());
    rebuilt.extend(trailer::END_MAGIC);
    assert!(rebuilt == file, "the signature does not answer for every byte");

    for (claim, content) in claims.slots.iter().zip(&contents) {
        assert_eq!(claim.original_size, content.len() as u64);
        if claim.operations.is_archive() {
            let mut stage = codec::Stored::new(content, Part::Slot(0), 0, content.len() as u64);
            let mut hasher = pspf_core::tree::TreeHasher::collecting();
            let _ = archive::hash_tree(&mut stage, &verified.placements()[0], &mut hasher);
        }
    }

    // And no other: any changed byte is refused.
    let at =
        contents.iter().flatten().fold(input.len(), |sum, byte| sum.wrapping_mul(31) + usize::from(*byte)) % file.len();
    let mut changed = file.clone();
    changed[at] ^= 1 << (input.len() % 8);
    assert!(read_source(changed.as_slice()).is_err(), "byte {at} may change");
    true
}

/// Every slot's content; nothing when one is refused or large.
fn read_within<S: Source>(verified: &pspf_core::Verified<'_, S>) -> Option<Vec<Vec<u8>>> {
    let mut contents = Vec::new();
    for index in 0..verified.package().table().len() as u32 {
        verified.check_slot(index, &mut |_| {}).ok()?;
        let mut slot = verified.slot(index).ok()?;
        let mut content = Vec::new();
        loop {
            let ready = Stage::fill(&mut slot).ok()?;
            if ready.is_empty() {
                break;
            }
            content.extend_from_slice(ready);
            let count = ready.len();
            slot.consume(count);
            if content.len() as u64 > LARGEST {
                return None;
            }
        }
        slot.finish().ok()?;
        contents.push(content);
    }
    Some(contents)
}

/// The input says what to build: how it is laid out, and slots of each kind with contents from the input.
pub(super) fn round_trip(input: &[u8]) -> bool {
    let mut input = Cursor(input);
    let rules = Rules {
        meta_gap: u64::from(input.u8()) * u64::from(input.u8() & 1),
        table_align: 8 << (input.u8() % 10),
        slot_align: 1 << (input.u8() % 13),
    };
    let key = SecretKey::from_bytes([input.u8() | 1; 32]);
    let (release, timestamp) = (input.u64(), input.u64());
    let mut launcher = text(&mut input).into_bytes();
    let name = text(&mut input);
    let app_id = (input.u8() & 1 == 1).then(|| text(&mut input));
    let entry_points: Vec<(String, String)> =
        (0..input.u8() & 3).map(|_| (text(&mut input), text(&mut input))).collect();
    launcher.truncate(64);

    let document = Value::object([
        ("package", Value::object([("name", Value::from(name)), ("version", text(&mut input).into())])),
        ("execution", Value::object([("command", text(&mut input).into())])),
    ]);
    let mut slots: Vec<(Slot, Vec<u8>)> = Vec::new();
    let mut contents = Vec::new();
    while !input.is_empty() && slots.len() < 8 {
        let (kind, chunk) = (input.u8(), usize::from(input.u16()) + 1);
        let id = format!("{}{}", slots.len(), text(&mut input));
        let size = usize::from(input.u16());
        let content = input.bytes(size);
        let archive = common::tar(&[("a", content), ("b/c", b"c")]);
        let (slot, original) = match kind & 3 {
            0 => match Slot::raw(&id, &id, &content) {
                Ok(slot) => ((slot, content.to_vec()), content.to_vec()),
                Err(_) => return false,
            },
            1 => (common::gzip(&id, content, chunk), content.to_vec()),
            2 => (common::tar_raw(&id, &archive), archive),
            _ => (common::tar_gzip(&id, &archive, chunk), archive),
        };
        slots.push(slot);
        contents.push(original);
    }

    let mut builder = Builder::new(document, &launcher).expect("the document is an object").layout(rules);
    builder = builder.app_id(app_id.clone(), release).build_timestamp(timestamp).entry_points(entry_points.clone());
    for (slot, _) in &slots {
        builder = builder.slot(slot.clone());
    }
    let Ok(head) = builder.sign(&key, KeyOrigin::Given) else { return false };
    let sources: Vec<&dyn Source> = slots.iter().map(|(_, stored)| stored as &dyn Source).collect();
    let mut file = Vec::new();
    head.write(&launcher, &sources, &mut file).expect("memory takes everything");

    let package = Package::open(file.as_slice()).expect("what was built is opened");
    let verified = package.verify().expect("what was built is verified");
    assert_eq!(verified.grade(), Grade::Sealed);
    assert_eq!(verified.json(), head.json().as_bytes());
    let claims = verified.claims().expect("what is built has claims");
    assert_eq!((claims.app_id.as_ref(), claims.release), (app_id.as_ref(), release));
    assert_eq!((claims.layout, &claims.entry_points), (rules, &entry_points));
    assert_eq!(package.index().build_timestamp(), timestamp);
    assert_eq!(read_source(file.as_slice()), Ok(contents), "what was built is read");
    true
}

/// A text of at most 15 bytes.
fn text(input: &mut Cursor<'_>) -> String {
    let size = usize::from(input.u8() & 15);
    String::from_utf8_lossy(input.bytes(size)).into_owned()
}

/// More content than this is not read.
const LARGEST: u64 = 1 << 20;
