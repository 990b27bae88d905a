//! What is inside the slots of a package: their files, read from the archives without extracting them.

use std::fs::File;

use pspf_core::archive::{self, Kind as EntryKind, Reader};
use pspf_core::build::Encoded;
use pspf_core::digest::Hasher;
use pspf_core::placement::Placement;
use pspf_core::tree::TreeHasher;
use pspf_core::{Digest, Part, SlotReader, Verified};
use serde::Serialize;

use crate::error::Result;
use crate::package_file::{PackageFile, not_intact};

/// A file, link or directory of a slot. The JSON of this is a stable interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlotFile {
    /// Where it is below the slot's root, with `/` between the parts; for a slot that is one file, its own name.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
    /// Its mode bits, as the archive has them.
    pub mode: u16,
    /// How many bytes a file has; 0 for what is none.
    pub size: u64,
    /// Where a link leads.
    pub target: Option<String>,
    /// SHA-256 of a file's content; absent for what is none.
    pub sha256: Option<String>,
}

/// What is at a path of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory; those that have something in them are often not named.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Another name for a file of the same slot.
    Hardlink,
}

/// The files of a slot in the order of their names. All of the slot is read, and its digest compared with the signed one.
pub fn files(file: &PackageFile, verified: &Verified<'_, File>, index: u32) -> Result<Vec<SlotFile>> {
    let mut reader = verified.slot(index).map_err(|error| not_intact(&error, file.path()))?;
    let descriptor = verified.package().descriptor(index).map_err(|error| not_intact(&error, file.path()))?;
    let (is_archive, permissions) = (descriptor.operations.is_archive(), descriptor.permissions);
    let target = target_of(verified, index);
    let listed = if is_archive { of_archive(&mut reader) } else { of_file(&mut reader, target, permissions) };
    let mut files = listed.map_err(|error| not_intact(&error, file.path()))?;
    reader.finish().map_err(|error| not_intact(&error, file.path()))?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Unpacks a slot in memory and compares the tree that comes out with the signed one, where one was signed. Gives the number
/// of its files, links and empty directories. What `placement` says decides which modes they get.
pub fn check(file: &PackageFile, verified: &Verified<'_, File>, index: u32, placement: &Placement) -> Result<u64> {
    let failed = |error: pspf_core::Error| not_intact(&error, file.path());
    let claim = verified.claims().and_then(|claims| claims.slots.get(index as usize));
    let mut slot = verified.slot(index).map_err(failed)?;
    let descriptor = verified.package().descriptor(index).map_err(failed)?;
    let (tree, count) = if descriptor.operations.is_archive() {
        let mut hasher = TreeHasher::collecting();
        archive::hash_tree(&mut slot, placement, &mut hasher).map_err(failed)?;
        hasher.finish()
    } else {
        let target = target_of(verified, index);
        let content = hash(&mut slot).map_err(failed)?;
        let facts = Encoded::raw(target, content, slot.consumed(), placement, descriptor.permissions);
        (facts.tree.unwrap_or(content), facts.files)
    };
    slot.finish().map_err(failed)?;
    match claim.and_then(|claim| claim.tree) {
        Some(expected) if expected != tree => {
            Err(failed(pspf_core::Error::malformed(Part::Slot(index), 0, expected, tree)))
        }
        _ => Ok(count),
    }
}

fn target_of<'v>(verified: &'v Verified<'_, File>, index: u32) -> &'v str {
    verified.metadata().slots.get(index as usize).map_or("", |slot| slot.target.as_str())
}

fn of_archive(slot: &mut SlotReader<'_>) -> pspf_core::Result<Vec<SlotFile>> {
    let mut archive = Reader::new(slot);
    let mut files = Vec::new();
    while let Some(entry) = archive.next_entry()? {
        let new = |kind, size, target, sha256| SlotFile {
            path: entry.path.clone(),
            kind,
            mode: entry.mode,
            size,
            target,
            sha256,
        };
        files.push(match &entry.kind {
            EntryKind::File { size } => {
                let mut hasher = Hasher::new();
                loop {
                    let ready = archive.fill()?;
                    if ready.is_empty() {
                        break;
                    }
                    hasher.update(ready);
                    let count = ready.len();
                    archive.consume(count);
                }
                new(FileKind::File, *size, None, Some(hasher.finish().to_string()))
            }
            EntryKind::Directory => new(FileKind::Directory, 0, None, None),
            EntryKind::Symlink { target } => new(FileKind::Symlink, 0, Some(target.clone()), None),
            EntryKind::Hardlink { target } => new(FileKind::Hardlink, 0, Some(target.clone()), None),
        });
    }
    Ok(files)
}

fn of_file(slot: &mut SlotReader<'_>, target: &str, mode: u16) -> pspf_core::Result<Vec<SlotFile>> {
    let content = hash(slot)?;
    let path = target.rsplit('/').next().unwrap_or_default().to_owned();
    let sha256 = Some(content.to_string());
    Ok(vec![SlotFile { path, kind: FileKind::File, mode, size: slot.consumed(), target: None, sha256 }])
}

/// The digest of everything that comes out of a slot.
fn hash(slot: &mut SlotReader<'_>) -> pspf_core::Result<Digest> {
    let mut hasher = Hasher::new();
    loop {
        let ready = slot.fill()?;
        if ready.is_empty() {
            return Ok(hasher.finish());
        }
        hasher.update(ready);
        let count = ready.len();
        slot.consume(count);
    }
}
