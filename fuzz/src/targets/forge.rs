//! Packages of somebody who holds a key and writes what no builder writes.

use std::io::Write as _;
use std::sync::LazyLock;

use pspf_core::claims::Claims;
use pspf_core::digest::Digest;
use pspf_core::format::index::{Facts, HINTS};
use pspf_core::format::{Index, slot, trailer};
use pspf_core::layout::{Layout, Rules};
use pspf_core::metadata::{Lifecycle, Metadata};
use pspf_core::{Package, container, json};

use super::common;
use super::cursor::Cursor;

/// The package that an input describes:
///
/// ```text
/// flags (1) | number of changes (1) | changes | JSON, or nothing for the sample's
/// change   part (1) | how (1) | where (2) | value (8)
/// ```
///
/// Whatever the flags do not forbid is made right behind the changes: digests in the JSON, table and index as the
/// claims have them, the digest of the container, the signature, the checksum.
pub(super) fn package(input: &[u8]) -> Vec<u8> {
    let mut input = Cursor(input);
    let flags = input.u8();
    let changes: Vec<Change> = (0..input.u8() % 32).map(|_| Change::read(&mut input)).collect();
    let sample = &*SAMPLE;

    let mut launcher = sample.launcher.clone();
    change(&mut launcher, &changes, Part::LAUNCHER);
    let mut slots = sample.slots.clone();
    for (part, slot) in (Part::SLOTS..).zip(&mut slots) {
        change(slot, &changes, part);
    }
    let mut json = if input.is_empty() { sample.json.clone().into_bytes() } else { input.0.to_vec() };
    if flags & Flag::OLD_DIGESTS == 0 {
        restate(&mut json, &sample.launcher, &launcher);
        for (old, new) in sample.slots.iter().zip(&slots) {
            restate(&mut json, old, new);
        }
    }
    let mut container = if flags & Flag::DEFLATED == 0 { container::encode(&json) } else { deflate(&json) };
    change(&mut container, &changes, Part::CONTAINER);

    let claims = if flags & Flag::IGNORE_CLAIMS == 0 { claims_of(&json) } else { None };
    let mut head = claims.and_then(|(claims, policy)| {
        // Sizes that are claimed are those that there are, as far as that is possible.
        slots.resize(claims.slots.len().min(64), Vec::new());
        let sizes = claims.slots.iter().map(|slot| slot.size);
        let layout = Layout::new(&claims.layout, launcher.len() as u64, container.len() as u64, sizes).ok()?;
        if layout.package_size > LARGEST {
            return None;
        }
        slots.iter_mut().zip(&layout.slots).for_each(|(slot, (_, size))| slot.resize(*size as usize, 0));
        let descriptors = (0..).zip(claims.slots.iter().zip(&layout.slots));
        let table = descriptors.flat_map(|(i, (claim, (offset, _)))| claim.descriptor(i, *offset).to_block()).collect();
        let signature = common::key().sign(&json);
        let index = index_of(&claims, &layout, &container, (common::key().public_key(), signature), policy);
        Some(Head { layout, table, index })
    });
    let Head { layout, mut table, index } = head.take().unwrap_or_else(|| {
        slots.resize(sample.slots.len(), Vec::new());
        plain_head(&launcher, &container, &slots, &json)
    });
    change(&mut table, &changes, Part::TABLE);

    let mut file = launcher;
    file.resize(layout.metadata_offset as usize, 0);
    file.extend(&container);
    file.resize(layout.table_offset as usize, 0);
    file.extend(table);
    for (slot, (offset, _)) in slots.iter().zip(&layout.slots) {
        file.resize((*offset as usize).max(file.len()), 0);
        file.extend(slot);
    }
    file.resize((layout.trailer_offset as usize).max(file.len()), 0);

    let mut block = index.block().to_vec();
    change(&mut block, &changes, Part::INDEX);
    let keep = |flag: u8, block: &mut [u8], at: usize, value: &[u8]| {
        if flags & flag == 0 {
            block[at..at + value.len()].copy_from_slice(value);
        }
    };
    block.resize(8192, 0);
    keep(Flag::OLD_CONTAINER_DIGEST, &mut block, 96, &Digest::of(&container).0);
    keep(Flag::OLD_SIGNATURE, &mut block, 128, &common::key().sign(&json));
    let mut index = Index::from_block(*block.first_chunk().expect("it was made that long"));
    if flags & Flag::OLD_CHECKSUM == 0 {
        let checksum = index.computed_checksum();
        block[4..8].copy_from_slice(&checksum.to_le_bytes());
        index = Index::from_block(*block.first_chunk().expect("it was made that long"));
    }
    file.extend(trailer::START_MAGIC);
    file.extend(index.block());
    file.extend(trailer::END_MAGIC);
    change(&mut file, &changes, Part::FILE);
    file
}

/// The index that docs/format.md section 5 derives from claims.
pub(super) fn index_of(
    claims: &Claims,
    layout: &Layout,
    container: &[u8],
    (public_key, signature): ([u8; 32], [u8; 64]),
    policy: Option<Digest>,
) -> Index {
    let attestation = claims.slots.iter().find(|slot| slot.lifecycle == Lifecycle::Attestation as u8);
    let mut facts = Facts::of(layout, container, public_key, signature);
    (facts.sbom, facts.policy) = (attestation.map(|slot| slot.digest), policy);
    Index::new(&facts, claims.hints.iter().map(|(hint, bytes)| (*hint, bytes.as_slice())))
}

/// The parts that a change can name.
pub struct Part;

impl Part {
    /// The whole file, at last.
    pub const FILE: u8 = 0;
    /// The launcher.
    pub const LAUNCHER: u8 = 1;
    /// The container of the JSON.
    pub const CONTAINER: u8 = 2;
    /// The slot table.
    pub const TABLE: u8 = 3;
    /// The index.
    pub const INDEX: u8 = 4;
    /// The first slot; the others follow.
    pub const SLOTS: u8 = 5;
    const COUNT: u8 = 8;
}

/// What is not made right.
pub struct Flag;

impl Flag {
    /// Digests in the JSON.
    pub const OLD_DIGESTS: u8 = 1;
    /// The container is deflated instead of canonical.
    pub const DEFLATED: u8 = 1 << 1;
    /// Table and index follow the parts rather than the claims.
    pub const IGNORE_CLAIMS: u8 = 1 << 2;
    /// The digest of the container in the index.
    pub const OLD_CONTAINER_DIGEST: u8 = 1 << 3;
    /// The signature.
    pub const OLD_SIGNATURE: u8 = 1 << 4;
    /// The checksum of the index.
    pub const OLD_CHECKSUM: u8 = 1 << 5;
}

/// The signed text of the package that everything starts from.
pub fn sample_json() -> &'static str {
    &SAMPLE.json
}

struct Sample {
    launcher: Vec<u8>,
    slots: Vec<Vec<u8>>,
    json: String,
}

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let file = common::sample();
    let package = Package::open(&file).expect("the sample is a package");
    let bytes = |offset: u64, size: u64| file[offset as usize..][..size as usize].to_vec();
    Sample {
        launcher: bytes(0, package.index().launcher_size()),
        slots: package.table().iter().map(|slot| bytes(slot.offset, slot.size)).collect(),
        json: common::json_of(&file),
    }
});

struct Head {
    layout: Layout,
    table: Vec<u8>,
    index: Index,
}

/// A head as it would be without claims.
fn plain_head(launcher: &[u8], container: &[u8], slots: &[Vec<u8>], json: &[u8]) -> Head {
    let sizes = slots.iter().map(|slot| slot.len() as u64);
    let layout = Layout::new(&Rules::default(), launcher.len() as u64, container.len() as u64, sizes)
        .expect("the parts are small");
    let sample = common::sample();
    let sample = Package::open(&sample).expect("the sample is a package");
    let mut table = Vec::with_capacity(slots.len() * slot::SIZE);
    for ((descriptor, (offset, size)), slot) in sample.table().iter().zip(&layout.slots).zip(slots) {
        let mut descriptor = *descriptor;
        (descriptor.offset, descriptor.size, descriptor.checksum) = (*offset, *size, Digest::of(slot).hint());
        table.extend(descriptor.to_block());
    }
    let facts = Facts::of(&layout, container, common::key().public_key(), common::key().sign(json));
    let index = Index::new(&facts, HINTS.iter().map(|hint| (*hint, sample.index().hint(hint))));
    Head { layout, table, index }
}

fn claims_of(json: &[u8]) -> Option<(Claims, Option<Digest>)> {
    let metadata = Metadata::read(&json::parse(json).ok()?).ok()?;
    Some((metadata.claims.v1()?.clone(), metadata.policy))
}

/// Puts the digest of `new` wherever that of `old` stands.
fn restate(json: &mut [u8], old: &[u8], new: &[u8]) {
    if old == new || old.is_empty() {
        return;
    }
    let (old, new) = (Digest::of(old).to_hex(), Digest::of(new).to_hex());
    for at in 0..json.len().saturating_sub(old.len() - 1) {
        if json[at..at + old.len()] == old {
            json[at..at + old.len()].copy_from_slice(&new);
        }
    }
}

fn deflate(json: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(json).and_then(|()| encoder.finish()).expect("memory takes everything")
}

/// One change of some bytes.
struct Change {
    part: u8,
    how: u8,
    at: usize,
    value: u64,
}

impl Change {
    fn read(input: &mut Cursor<'_>) -> Self {
        Self { part: input.u8() % Part::COUNT, how: input.u8(), at: input.u16().into(), value: input.u64() }
    }
}

fn change(bytes: &mut Vec<u8>, changes: &[Change], part: u8) {
    for change in changes.iter().filter(|change| change.part == part) {
        let at = change.at.min(bytes.len());
        let value = change.value.to_le_bytes();
        let width = [1, 2, 4, 8][usize::from(change.how >> 3 & 3)].min(bytes.len() - at);
        match change.how % 5 {
            0 => bytes[at..at + width].copy_from_slice(&value[..width]),
            1 => bytes[at..at + width].iter_mut().zip(value).for_each(|(byte, value)| *byte ^= value),
            2 => bytes.truncate(at),
            3 => drop(bytes.splice(at..at, value)),
            _ => drop(bytes.drain(at..at + width)),
        }
    }
}

/// The largest package that is made.
const LARGEST: u64 = 1 << 20;
