//! Verification: is this package what it says it is, and who says so?
//!
//! [`Package::verify`] walks the head front to back in this order and stops at the first failure; nothing is
//! inflated before the signature holds (in packages with claims), nothing is written anywhere.
//!
//! | # | check | reads | fails with | docs/format.md |
//! |---|---|---|---|---|
//! | 1 | trailer, Adler-32, bounds ([`Package::open`]) | index, slot table | `NotAPackage`, `Malformed`, `TooLarge` | 1 to 3 |
//! | 2 | metadata digest | metadata container | `Malformed` | 2 |
//! | 3 | key and signature | JSON | `Untrusted` | 4 |
//! | 4 | strict JSON, typed document | JSON | `Malformed` | 4 |
//! | 5 | container, layout, index, descriptors, gaps against the claims | head, gaps | `Malformed` | 5 |
//! | 6 | launcher digest ([`Verified::check_launcher`]) | launcher | `Malformed` | 5 |
//! | 7 | slot digests ([`Verified::slot`]) | slots | `Malformed` | 5 |
//!
//! [`report`] does all of it and lists what it found. Memory is a few buffers, whatever the package's size.

use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;

use crate::claims::{Claims, Found};
use crate::codec::{Stage, Stored};
use crate::container::{self, Decoded};
use crate::digest::Digest;
use crate::error::{Distrust, Error, ErrorKind, Part, Result, Value as Shown, quoted};
#[cfg(feature = "foreign")]
use crate::format::Operations;
use crate::format::index::field_at as index_field_at;
use crate::format::{slot, trailer};
use crate::json;
use crate::layout::Layout;
#[cfg(feature = "foreign")]
use crate::limits;
use crate::metadata::Metadata;
use crate::names::Names;
use crate::package::Package;
use crate::placement::{self, Placement};
use crate::sign::{self, KeyId, KeyOrigin};
use crate::slot::SlotReader;
use crate::source::Source;
use crate::{number, text};

/// How much of a package its signature answers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Nothing.
    Unsigned,
    /// The metadata, and through the digests in them the slots and perhaps the launcher: packages of other builders.
    SlotsOnly,
    /// Every byte.
    Sealed,
}

/// A package whose head is sealed: signature, claims and layout hold. The only thing that may be extracted and run.
#[derive(Debug)]
pub struct Verified<'p, S> {
    package: &'p Package<S>,
    json: Vec<u8>,
    metadata: Metadata,
    grade: Grade,
    /// SHA-256 of the signed JSON, which names this package and no other.
    identity: Digest,
    /// What a slot without claims may inflate to, in bytes.
    #[cfg(feature = "foreign")]
    slot_limit: u64,
}

impl<S: Source> Package<S> {
    /// Verifies the head: checks 2 to 5.
    pub fn verify(&self) -> Result<Verified<'_, S>> {
        let Decoded { json, canonical } = self.decoded()?;
        sign::verify(&self.index().public_key(), &self.index().signature(), &json)?;
        #[cfg_attr(not(feature = "foreign"), expect(unused_mut, reason = "a document with claims stays as it is"))]
        let mut metadata = {
            let document = json::parse(&json)?;
            #[cfg(not(feature = "foreign"))]
            if document.get("policy").is_some() {
                return Err(Error::left_out("a package with a policy"));
            }
            Metadata::read(&document)?
        };
        let grade = match metadata.claims.v1() {
            Some(claims) => {
                check_claims(self, &metadata, claims, json.len() as u64, canonical)?;
                Grade::Sealed
            }
            #[cfg(not(feature = "foreign"))]
            None => return Err(Error::left_out("a package without claims")),
            #[cfg(feature = "foreign")]
            None => {
                check_foreign(self, &mut metadata)?;
                Grade::SlotsOnly
            }
        };
        Ok(Verified {
            package: self,
            identity: Digest::of(&json),
            json,
            metadata,
            grade,
            #[cfg(feature = "foreign")]
            slot_limit: limits::UNCLAIMED_SLOT,
        })
    }
}

impl<'p, S: Source> Verified<'p, S> {
    /// The package that was verified.
    pub fn package(&self) -> &'p Package<S> {
        self.package
    }

    /// The signed document, byte by byte.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// The signed document.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The claims, when the package has some that this reader knows.
    pub fn claims(&self) -> Option<&Claims> {
        self.metadata.claims.v1()
    }

    /// How much the signature answers for.
    pub fn grade(&self) -> Grade {
        self.grade
    }

    /// SHA-256 of the signed JSON.
    pub fn identity(&self) -> Digest {
        self.identity
    }

    /// The key that signed.
    pub fn key_id(&self) -> KeyId {
        KeyId::of(&self.package.index().public_key())
    }

    /// Where each slot goes on the user's machine.
    pub fn placements(&self) -> Vec<Placement> {
        match self.grade {
            Grade::Sealed => placement::of(&self.metadata),
            #[cfg(not(feature = "foreign"))]
            Grade::Unsigned | Grade::SlotsOnly => Vec::new(),
            #[cfg(feature = "foreign")]
            Grade::Unsigned | Grade::SlotsOnly => placement::of_foreign(&self.metadata),
        }
    }

    /// Compares the launcher's bytes with the signed digest, where there is one.
    pub fn check_launcher(&self) -> Result<()> {
        let size = self.package.index().launcher_size();
        let expected = match (self.claims(), self.metadata.launcher) {
            (Some(claims), _) => claims.launcher_digest,
            (None, Some((signed_size, Some(digest)))) if signed_size == size => digest,
            (None, Some((signed_size, Some(_)))) => {
                return Err(Error::malformed(Part::Index("launcher_size"), 0, signed_size, size));
            }
            (None, _) => return Ok(()),
        };
        let found = digest_of(self.package.source(), Part::Launcher, 0, size, &mut |_| {})?;
        if found == expected { Ok(()) } else { Err(Error::malformed(Part::Launcher, 0, expected, found)) }
    }

    /// Sets what a slot may inflate to, in bytes, in packages without claims: 8 GiB
    /// ([`UNCLAIMED_SLOT`](crate::limits::UNCLAIMED_SLOT)) unless this is called. With claims it changes nothing, as they
    /// say how much it is.
    #[cfg(feature = "foreign")]
    pub fn with_slot_limit(self, bytes: u64) -> Self {
        Self { slot_limit: bytes, ..self }
    }

    /// Reads a slot; what comes out is capped by the claims, or by [`UNCLAIMED_SLOT`](crate::limits::UNCLAIMED_SLOT)
    /// without claims, where the feature `foreign` has `with_slot_limit` for another limit.
    pub fn slot(&self, index: u32) -> Result<SlotReader<'_>> {
        let descriptor = self.package.descriptor(index)?;
        let source = self.package.source();
        if let Some(claims) = self.claims() {
            let claim = claims.slots.get(index as usize).ok_or_else(|| Error::parameter("there is no such slot"))?;
            return SlotReader::claimed(source, index, descriptor, claim);
        }
        #[cfg(not(feature = "foreign"))]
        return Err(Error::left_out("a package without claims"));
        #[cfg(feature = "foreign")]
        {
            let digest = self.metadata.slots.get(index as usize).and_then(|slot| slot.digest);
            SlotReader::signed(source, index, descriptor, digest, self.slot_limit)
        }
    }

    /// Compares the stored bytes of a slot with the signed digest without undoing anything. `false` when its
    /// builder signed none, so that only the descriptor's own checksum was compared.
    pub fn check_slot(&self, index: u32, progress: &mut dyn FnMut(u64)) -> Result<bool> {
        let descriptor = self.package.descriptor(index)?;
        let part = Part::Slot(index);
        let found = digest_of(self.package.source(), part.clone(), descriptor.offset, descriptor.size, progress)?;
        let expected = match self.claims() {
            Some(claims) => claims.slots.get(index as usize).map(|slot| slot.digest),
            None => self.metadata.slots.get(index as usize).and_then(|slot| slot.digest),
        };
        match expected {
            Some(expected) if expected != found => Err(Error::malformed(part, descriptor.offset, expected, found)),
            Some(_) => Ok(true),
            None if descriptor.checksum != found.hint() => {
                let (expected, found) = (descriptor.checksum, found.hint());
                Err(Error::malformed(part, descriptor.offset, expected, found))
            }
            None => Ok(false),
        }
    }
}

/// Everything that [`report`] found out.
#[derive(Debug)]
pub struct Report {
    /// The checks, in the order in which they were made.
    pub checks: Vec<Check>,
    /// How much the signature answers for.
    pub grade: Grade,
    /// The key that signed.
    pub key: Option<KeyId>,
    /// How that key came to be, as the claims say.
    pub key_origin: Option<KeyOrigin>,
    /// The signed document, when the signature holds.
    pub metadata: Option<Metadata>,
    /// What no signature answers for.
    pub not_covered: Vec<&'static str>,
}

/// One check of a [`Report`].
#[derive(Debug)]
pub struct Check {
    /// What was checked.
    pub name: Cow<'static, str>,
    /// What came of it.
    pub outcome: Result<(), Error>,
}

impl Report {
    /// True when every check passed and the package is signed.
    pub fn passed(&self) -> bool {
        self.grade > Grade::Unsigned && self.checks.iter().all(|check| check.outcome.is_ok())
    }

    /// The first failure.
    pub fn failure(&self) -> Option<&Error> {
        self.checks.iter().find_map(|check| check.outcome.as_ref().err())
    }
}

/// Checks the whole package and lists what it found. `progress` is told of every block of bytes that was hashed.
pub fn report<S: Source>(package: &Package<S>, progress: &mut dyn FnMut(u64)) -> Report {
    let passed = |name: &'static str| Check { name: name.into(), outcome: Ok(()) };
    let mut report = Report {
        checks: Vec::from([passed("index and bounds")]),
        grade: Grade::Unsigned,
        key: None,
        key_origin: None,
        metadata: None,
        not_covered: Vec::from(["the whole file"]),
    };
    let verified = match package.verify() {
        Ok(verified) => verified,
        Err(error) => {
            let name = match error.kind() {
                ErrorKind::Untrusted { .. } => "signature",
                _ => "metadata and layout",
            };
            report.checks.push(Check { name: name.into(), outcome: Err(error) });
            return report;
        }
    };
    report.grade = verified.grade();
    report.key = Some(verified.key_id());
    report.checks.push(passed("signature"));
    report.not_covered.clear();
    if let Some(claims) = verified.claims() {
        report.key_origin = Some(claims.key_origin);
        report.checks.push(passed("claims and layout"));
    } else {
        if let Found::Unknown(_) = verified.metadata().claims {
            report.not_covered.push("claims of a version that this program does not know");
        }
        report.not_covered.extend([
            "hints in the index",
            "hints and modes in the slot table",
            "operations that the slot table leaves out",
        ]);
        if verified.metadata().launcher.is_none_or(|(_, digest)| digest.is_none()) {
            report.not_covered.push("the launcher");
        }
        report.not_covered.push("bytes between the parts");
    }
    report.checks.push(Check { name: "launcher".into(), outcome: verified.check_launcher() });
    for (i, slot) in (0..).zip(&verified.metadata().slots) {
        let outcome = verified.check_slot(i, progress);
        if outcome == Ok(false) && !report.not_covered.contains(&"slots without a signed SHA-256") {
            report.not_covered.push("slots without a signed SHA-256");
        }
        report.checks.push(Check { name: format!("slot {i} ({})", slot.id).into(), outcome: outcome.map(drop) });
    }
    report.metadata = Some(verified.metadata);
    report
}

/// Check 5 for packages with claims: the head is rebuilt from the claims and compared byte by byte.
#[inline(never)]
fn check_claims<S: Source>(
    package: &Package<S>,
    metadata: &Metadata,
    claims: &Claims,
    json_size: u64,
    canonical: bool,
) -> Result<()> {
    let index = package.index();
    let key = KeyId::of(&index.public_key());
    if claims.key_id != key {
        return Err(ErrorKind::Untrusted { key: Some(key), reason: Distrust::OtherKey }.into());
    }
    if !canonical {
        let at = index.metadata_offset();
        return Err(Error::malformed(Part::Container, at, "the canonical container", "another one"));
    }
    check_documents_agree(metadata, claims)?;

    let sizes = claims.slots.iter().map(|slot| slot.size);
    let container_size = container::encoded_size(json_size);
    let layout = Layout::new(&claims.layout, claims.launcher_size, container_size, sizes)
        .map_err(|_| Error::json("extensions.x-pspf-claims.layout", "a layout that a file can have", "another"))?;
    let (public_key, signature) = (index.public_key(), index.signature());
    let rebuilt = claims.index(&layout, package.container(), public_key, signature, metadata.policy);
    // The checksum follows from all other fields: when one of them differs, that one is to be named.
    let (behind_checksum, found) = (&rebuilt.block()[8..], &index.block()[8..]);
    let behind_checksum = first_difference(behind_checksum, found).map(|at| at + 8);
    if let Some(at) = behind_checksum.or_else(|| first_difference(rebuilt.block(), index.block())) {
        let offset = layout.trailer_offset + trailer::START_MAGIC.len() as u64 + at as u64;
        return Err(differs(Part::Index(index_field_at(at)), offset, rebuilt.block()[at], index.block()[at]));
    }
    // Nothing is behind the end: the rebuilt package_size is the file's size, which `open` compared.
    for (i, (claim, (descriptor, (offset, _)))) in
        (0..).zip(claims.slots.iter().zip(package.table().iter().zip(&layout.slots)))
    {
        let rebuilt = claim.descriptor(i, *offset).to_block();
        let block = descriptor.to_block();
        if let Some(at) = first_difference(&rebuilt, &block) {
            let part = Part::Descriptor(i, slot::field_at(at));
            let offset = layout.table_offset + u64::from(i) * slot::SIZE as u64 + at as u64;
            return Err(differs(part, offset, rebuilt[at], block[at]));
        }
    }
    for (start, end) in layout.gaps() {
        check_zeros(package.source(), start, end)?;
    }
    Ok(())
}

/// What readers without claims go by says the same as the claims.
pub(crate) fn check_documents_agree(metadata: &Metadata, claims: &Claims) -> Result<()> {
    if metadata.slots.len() != claims.slots.len() {
        return Err(Error::json("slots", claims.slots.len() as u64, metadata.slots.len() as u64));
    }
    let mut ids = Names::default();
    for (i, (slot, claim)) in metadata.slots.iter().zip(&claims.slots).enumerate() {
        let differing = if slot.id != claim.id {
            "id"
        } else if slot.digest != Some(claim.digest) {
            "checksum"
        } else if slot.operations != claim.operations {
            "operations"
        } else if slot.lifecycle as u8 != claim.lifecycle {
            "lifecycle"
        } else if !ids.insert(&slot.id) {
            return Err(Error::json("slots", "every id once", text::concat(&[&quoted(&slot.id), " twice"])));
        } else {
            continue;
        };
        let path = text::concat(&["slots[", &number::decimal(i as u64), "].", differing]);
        return Err(Error::json(path, "what the claims say", "something else"));
    }
    Ok(())
}

/// Check 5 for packages of other builders: the document and the table are about the same slots.
#[cfg(feature = "foreign")]
fn check_foreign<S: Source>(package: &Package<S>, metadata: &mut Metadata) -> Result<()> {
    let (slots, table) = (&mut metadata.slots, package.table());
    if slots.len() != table.len() {
        return Err(Error::malformed(Part::Index("slot_count"), 0, slots.len() as u64, table.len() as u64));
    }
    for (i, (slot, descriptor)) in (0..).zip(slots.iter_mut().zip(table)) {
        if let Some(digest) = slot.digest.filter(|digest| digest.hint() != descriptor.checksum) {
            return Err(Error::malformed(Part::Descriptor(i, "checksum"), 0, digest.hint(), descriptor.checksum));
        }
        let (signed, stored) = (slot.operations, descriptor.operations);
        // FlavorPack's builders leave steps out whose names they do not know, never add any, and its launchers go by
        // the descriptor.
        if stored != signed && stored != Operations::RAW && !(stored == Operations::TAR && signed.is_archive()) {
            let part = Part::Descriptor(i, "operations");
            return Err(Error::malformed(part, 0, Shown::Hex(signed.raw()), Shown::Hex(stored.raw())));
        }
        slot.operations = stored;
    }
    check_apart(package)?;
    let fingerprint = package.index().key_fingerprint();
    if fingerprint != [0; 64] && fingerprint != Digest::of(&package.index().public_key()).to_hex() {
        let part = Part::Index("attestation_key_fp");
        return Err(Error::malformed(part, 0, "the key's fingerprint or zeros", "another fingerprint"));
    }
    Ok(())
}

/// Without claims no layout says where slots lie: no byte of the file may belong to two of them.
#[cfg(feature = "foreign")]
fn check_apart<S: Source>(package: &Package<S>) -> Result<()> {
    let mut stored = Vec::new();
    for (i, descriptor) in (0_u32..).zip(package.table()) {
        if descriptor.size != 0 {
            stored.push((descriptor.offset, descriptor.size, i));
        }
    }
    stored.sort_unstable();
    let mut end = 0;
    for (offset, size, i) in stored {
        if offset < end {
            let expected = text::concat(&["bytes of no other slot, from ", &number::decimal(end), " on"]);
            return Err(Error::malformed(Part::Descriptor(i, "offset"), 0, expected, offset));
        }
        // `open` has compared both with the file's size.
        end = offset.saturating_add(size);
    }
    Ok(())
}

fn check_zeros(source: &dyn Source, start: u64, end: u64) -> Result<()> {
    let mut stored = Stored::new(source, Part::Gap, start, end - start);
    let mut at = start;
    loop {
        let block = stored.fill()?;
        if block.is_empty() {
            return Ok(());
        }
        if let Some(other) = block.iter().position(|byte| *byte != 0) {
            return Err(Error::malformed(Part::Gap, at + other as u64, 0, u64::from(block[other])));
        }
        let size = block.len();
        at += size as u64;
        stored.consume(size);
    }
}

pub(crate) fn digest_of(
    source: &dyn Source,
    part: Part,
    offset: u64,
    size: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<Digest> {
    let mut stored = Stored::new(source, part, offset, size);
    loop {
        let size = stored.fill()?.len();
        if size == 0 {
            return stored.finish();
        }
        stored.consume(size);
        progress(size as u64);
    }
}

#[cold]
fn differs(part: Part, at: u64, expected: u8, found: u8) -> Error {
    Error::malformed(part, at, Shown::Hex(expected.into()), Shown::Hex(found.into()))
}

fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    a.iter().zip(b).position(|(a, b)| a != b)
}
