//! What a package says of itself, and whether that can be believed.

use std::path::PathBuf;

use pspf_core::claims::Claims;
use pspf_core::json;
use pspf_core::metadata::Metadata;
use pspf_core::placement::Placement;
use pspf_core::sign::KeyId;
use pspf_core::verify::{self, Grade, Report};
use serde::Serialize;

use crate::contents::{self, SlotFile};
use crate::error::Result;
use crate::package_file::PackageFile;
use crate::python::PYTHON_KEY;
use crate::sbom::{self, Summary};

/// What `packer inspect` shows. The JSON of this is a stable interface.
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// The file.
    pub file: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// True when signature, claims and layout hold. Slots and launcher are checked by `packer verify`.
    pub verified: bool,
    /// Why it is not verified.
    pub problem: Option<String>,
    /// How much the signature answers for: unsigned, slots-only or sealed.
    pub grade: &'static str,
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The command line that starts it.
    pub command: String,
    /// The commands that it offers.
    pub entry_points: Vec<EntryPoint>,
    /// Seconds since 1970; 0 when it does not say.
    pub build_timestamp: u64,
    /// The key that signed.
    pub key_id: String,
    /// How that key came to be: given, auto or seed.
    pub key_origin: Option<&'static str>,
    /// The launcher's size in bytes.
    pub launcher_size: u64,
    /// The metadata's size in bytes, as stored.
    pub metadata_size: u64,
    /// The slots.
    pub slots: Vec<InspectedSlot>,
    /// What its SBOM is; absent when it has none that can be believed.
    pub sbom: Option<Summary>,
}

/// One command of an [`Inspection`].
#[derive(Debug, Serialize)]
pub struct EntryPoint {
    /// Its name: what `PSPF_ENTRY` or the name of a link chooses it by.
    pub name: String,
    /// The command line that starts it.
    pub command: String,
    /// What that calls, as "module:function", by the word of a Python package.
    pub calls: Option<String>,
}

/// One slot of an [`Inspection`].
#[derive(Debug, Serialize)]
pub struct InspectedSlot {
    /// Its place in the table.
    pub index: u32,
    /// Its id.
    pub id: String,
    /// What it is for.
    pub purpose: String,
    /// When it is there.
    pub lifecycle: &'static str,
    /// Where it goes in the workenv.
    pub target: String,
    /// How its bytes were made.
    pub operations: String,
    /// Where its bytes begin in the file.
    pub offset: u64,
    /// How many bytes are stored.
    pub size: u64,
    /// How many they are once inflated; absent where nobody vouches for the number.
    pub original_size: Option<u64>,
    /// How many files it holds; absent where nobody vouches for the number.
    pub files: Option<u64>,
    /// SHA-256 of the stored bytes, where it is signed.
    pub sha256: Option<String>,
    /// What is inside, when that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<Vec<SlotFile>>,
}

/// What `packer verify` found. The JSON of this is a stable interface.
#[derive(Debug, Serialize)]
pub struct Verification {
    /// The file.
    pub file: PathBuf,
    /// True when every check passed.
    pub valid: bool,
    /// How much the signature answers for: unsigned, slots-only or sealed.
    pub grade: &'static str,
    /// The package's name, when the signature holds.
    pub name: Option<String>,
    /// Its version, when the signature holds.
    pub version: Option<String>,
    /// The key that signed.
    pub key_id: Option<String>,
    /// How that key came to be: given, auto or seed.
    pub key_origin: Option<&'static str>,
    /// The checks, in their order.
    pub checks: Vec<VerifiedPart>,
    /// What no signature answers for.
    pub not_covered: Vec<&'static str>,
}

/// One check of a [`Verification`].
#[derive(Debug, Serialize)]
pub struct VerifiedPart {
    /// What was checked.
    pub name: String,
    /// Whether it passed.
    pub passed: bool,
    /// Why not.
    pub problem: Option<String>,
}

/// Looks at a package. Nothing in it is run or extracted.
pub fn inspect(file: &PackageFile) -> Result<Inspection> {
    let package = file.package();
    let verified = file.verify();
    let json = package.json();
    let (metadata, grade, problem) = match &verified {
        Ok(verified) => (verified.metadata().clone(), verified.grade(), None),
        Err(error) => {
            // What cannot be believed can still be shown, when it can be read at all.
            let read = json.as_ref().ok().and_then(|text| Metadata::read(&json::parse(text).ok()?).ok());
            match read {
                Some(metadata) => (metadata, Grade::Unsigned, Some(error.to_string())),
                None => return Err(file.verify().err().unwrap_or_else(crate::Error::cancelled)),
            }
        }
    };
    let claims = metadata.claims.v1();
    let document = json.as_ref().ok().and_then(|text| json::parse(text).ok());
    let slots = (0_u32..).zip(package.table()).zip(&metadata.slots).map(|((index, descriptor), entry)| {
        let claim = claims.and_then(|claims| claims.slots.get(index as usize));
        InspectedSlot {
            index,
            id: entry.id.clone(),
            purpose: entry.purpose.clone(),
            lifecycle: entry.lifecycle.name(),
            target: entry.target.clone(),
            operations: descriptor.operations.name(),
            offset: descriptor.offset,
            size: descriptor.size,
            original_size: claim.map(|claim| claim.original_size),
            files: claim.map(|claim| claim.files),
            sha256: entry.digest.map(|digest| digest.to_string()),
            entries: None,
        }
    });
    // An attestation that cannot be read is told by those who check slots.
    let sbom = verified.as_ref().ok().and_then(|verified| sbom::summary_of(file, verified).ok().flatten());
    Ok(Inspection {
        file: file.path().to_path_buf(),
        size: package.index().package_size(),
        verified: problem.is_none(),
        problem,
        grade: grade_name(grade),
        name: metadata.name.clone(),
        version: metadata.version.clone(),
        command: metadata.command.clone(),
        entry_points: entry_points(claims, document.as_ref()),
        build_timestamp: package.index().build_timestamp(),
        key_id: KeyId::of(&package.index().public_key()).to_string(),
        key_origin: claims.map(|claims| claims.key_origin.name()),
        launcher_size: package.index().launcher_size(),
        metadata_size: package.index().metadata_size(),
        slots: slots.collect(),
        sbom,
    })
}

fn entry_points(claims: Option<&Claims>, document: Option<&json::Value<'_>>) -> Vec<EntryPoint> {
    let calls = document.and_then(|document| document.get("extensions")?.get(PYTHON_KEY)?.get("entry_points"));
    let entry_points = claims.map_or(&[][..], |claims| &claims.entry_points);
    let entry_point = |(name, command): &(String, String)| EntryPoint {
        name: name.clone(),
        command: command.clone(),
        calls: calls.and_then(|calls| calls.get(name)?.as_str()).map(str::to_owned),
    };
    entry_points.iter().map(entry_point).collect()
}

/// The same, with the files inside the slots. All slots are read for it, and a package that is not what was signed is an
/// error: what is in its slots is nobody's word.
pub fn inspect_with_files(file: &PackageFile) -> Result<Inspection> {
    let mut inspection = inspect(file)?;
    let verified = file.verify()?;
    for slot in &mut inspection.slots {
        slot.entries = Some(contents::files(file, &verified, slot.index)?);
    }
    Ok(inspection)
}

/// Unpacks every slot that a start may extract in memory, and compares the tree that comes out with the signed one, where
/// there is one. Gives the number of files, links and empty directories.
pub fn read_files(file: &PackageFile) -> Result<u64> {
    let verified = file.verify()?;
    let mut count = 0;
    let placements = (0_u32..).zip(verified.placements());
    for (index, placement) in placements.filter(|(_, placement)| *placement != Placement::Unplaced) {
        count += contents::check(file, &verified, index, &placement)?;
    }
    Ok(count)
}

/// Checks every byte that the signature answers for. `progress` is told of every block that was hashed.
pub fn verify(file: &PackageFile, progress: &mut dyn FnMut(u64)) -> (Report, Verification) {
    let report = verify::report(file.package(), progress);
    let checks = report.checks.iter().map(|check| VerifiedPart {
        name: check.name.to_string(),
        passed: check.outcome.is_ok(),
        problem: check.outcome.as_ref().err().map(ToString::to_string),
    });
    let verification = Verification {
        file: file.path().to_path_buf(),
        valid: report.passed(),
        grade: grade_name(report.grade),
        name: report.metadata.as_ref().map(|metadata| metadata.name.clone()),
        version: report.metadata.as_ref().map(|metadata| metadata.version.clone()),
        key_id: report.key.map(|key| key.to_string()),
        key_origin: report.key_origin.map(|origin| origin.name()),
        checks: checks.collect(),
        not_covered: report.not_covered.clone(),
    };
    (report, verification)
}

/// The word for a grade, as reports and JSON use it.
pub fn grade_name(grade: Grade) -> &'static str {
    match grade {
        Grade::Unsigned => "unsigned",
        Grade::SlotsOnly => "slots-only",
        Grade::Sealed => "sealed",
    }
}
