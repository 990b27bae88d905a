//! What is different between two packages: what they say of themselves, their slots, and the files inside of those.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};

use pspf_core::json::{self, Value};
use pspf_core::metadata::Lifecycle;
use pspf_core::{Digest, Verified};
use serde::Serialize;

use crate::contents::{self, SlotFile};
use crate::error::{Error, Result};
use crate::package_file::{PackageFile, not_intact};
use crate::slots;

/// How package `b` differs from package `a`. The JSON of this is a stable interface.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// True when nothing is listed below: the packages say and hold the same.
    pub same: bool,
    /// The size of `a` in bytes.
    pub size_before: u64,
    /// The size of `b` in bytes.
    pub size_after: u64,
    /// Whether the launchers are the same, byte by byte.
    pub same_launcher: bool,
    /// Values of the signed document, but for slots and what follows from their bytes.
    pub metadata: Vec<MetadataChange>,
    /// The slots that are not the same, by id: those of `a` first, then those that `b` alone has.
    pub slots: Vec<SlotChange>,
}

/// A value of the document.
#[derive(Debug, Serialize)]
pub struct MetadataChange {
    /// Where it is, in dotted form: `package.version`.
    pub field: String,
    /// What it is in `a`, as JSON; null when it is not there.
    pub before: Option<String>,
    /// What it is in `b`.
    pub after: Option<String>,
}

/// A slot that is not the same.
#[derive(Debug, Serialize)]
pub struct SlotChange {
    /// Its id.
    pub id: String,
    /// What happened to it.
    pub change: Change,
    /// How many bytes it takes in `a`; null when it is not there.
    pub size_before: Option<u64>,
    /// How many bytes it takes in `b`.
    pub size_after: Option<u64>,
    /// What else is different: fields of the slot as [`MetadataChange`]s.
    pub fields: Vec<MetadataChange>,
    /// The files that are not the same, by path.
    pub files: Vec<FileChange>,
}

/// A file that is not the same.
#[derive(Debug, Serialize)]
pub struct FileChange {
    /// Its path below the slot's root.
    pub path: String,
    /// What happened to it.
    pub change: Change,
    /// How many bytes it has in `a`; null when it is not there.
    pub size_before: Option<u64>,
    /// How many bytes it has in `b`.
    pub size_after: Option<u64>,
}

/// What happened from `a` to `b`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is in `b` alone.
    Added,
    /// It is in `a` alone.
    Removed,
    /// It is in both, and not the same.
    Changed,
}

/// Compares two packages. Both are verified first: of what nobody signed, nothing can be said.
pub fn diff(a: &PackageFile, b: &PackageFile) -> Result<Difference> {
    let (before, after) = (a.verify()?, b.verify()?);
    let (document_before, document_after) = (Document::read(a, &before)?, Document::read(b, &after)?);
    let metadata = changes(Some(&document_before.fields), Some(&document_after.fields));
    let same_launcher = launcher(a)? == launcher(b)?;
    let mut slots = Vec::new();
    let ids = |verified: &Verified<'_, File>| -> Vec<String> {
        verified.metadata().slots.iter().map(|slot| slot.id.clone()).collect()
    };
    let (old, new) = (ids(&before), ids(&after));
    let size = |verified: &Verified<'_, File>, index: usize| {
        verified.package().table().get(index).map(|descriptor| descriptor.size)
    };
    for (index, id) in old.iter().enumerate() {
        let other = new.iter().position(|other| other == id);
        let files_before = contents::files(a, &before, index as u32)?;
        let files_after = match other {
            Some(other) => contents::files(b, &after, other as u32)?,
            None => Vec::new(),
        };
        let fields = match other {
            Some(_) => changes(document_before.slots.get(id), document_after.slots.get(id)),
            None => Vec::new(),
        };
        let files = compare(files_before, files_after);
        if other.is_none() || !files.is_empty() || !fields.is_empty() {
            slots.push(SlotChange {
                id: id.clone(),
                change: if other.is_some() { Change::Changed } else { Change::Removed },
                size_before: size(&before, index),
                size_after: other.and_then(|other| size(&after, other)),
                fields,
                files,
            });
        }
    }
    for (index, id) in new.iter().enumerate().filter(|(_, id)| !old.contains(id)) {
        slots.push(SlotChange {
            id: id.clone(),
            change: Change::Added,
            size_before: None,
            size_after: size(&after, index),
            fields: Vec::new(),
            files: compare(Vec::new(), contents::files(b, &after, index as u32)?),
        });
    }
    // An SBOM follows from the rest: it only counts where the rest is the same.
    let is_rest = |slot: &SlotChange| !is_attestation(&before, &slot.id) || !is_attestation(&after, &slot.id);
    if !same_launcher || !metadata.is_empty() || slots.iter().any(is_rest) {
        slots.retain(is_rest);
    }
    Ok(Difference {
        same: same_launcher && metadata.is_empty() && slots.is_empty(),
        size_before: a.package().index().package_size(),
        size_after: b.package().index().package_size(),
        same_launcher,
        metadata,
        slots,
    })
}

/// True when the package has an attestation of this id.
fn is_attestation(package: &Verified<'_, File>, id: &str) -> bool {
    package.metadata().slots.iter().any(|slot| slot.id == id && slot.lifecycle == Lifecycle::Attestation)
}

/// The digest of the launcher.
fn launcher(file: &PackageFile) -> Result<Digest> {
    let failed = |error: io::Error| Error::io("cannot read the launcher of the package", file.path(), &error);
    let launcher = File::open(file.path()).map_err(failed)?.take(file.package().index().launcher_size());
    slots::digest(launcher).map_err(failed)
}

/// Values of JSON by their dotted names.
type Fields = BTreeMap<String, String>;

/// What a package says of itself.
struct Document {
    fields: Fields,
    /// The fields of each slot, by its id.
    slots: BTreeMap<String, Fields>,
}

impl Document {
    fn read(file: &PackageFile, verified: &Verified<'_, File>) -> Result<Self> {
        let document = json::parse(verified.json()).map_err(|error| not_intact(&error, file.path()))?;
        let mut fields = Fields::new();
        flatten("", &document, &mut fields);
        fields.retain(|field, _| !DERIVED.iter().any(|prefix| field.starts_with(prefix)));
        fields.insert("key".to_owned(), verified.key_id().to_string());
        let mut slots = BTreeMap::new();
        if let Some(Value::Array(entries)) = document.get("slots") {
            for entry in entries {
                let mut fields = Fields::new();
                flatten("", entry, &mut fields);
                fields.retain(|field, _| !DERIVED_OF_SLOT.contains(&field.as_str()));
                let id = entry.get("id").and_then(Value::as_str).unwrap_or_default();
                slots.insert(id.to_owned(), fields);
            }
        }
        Ok(Self { fields, slots })
    }
}

/// What is compared elsewhere, or follows from the bytes of slots and launcher.
const DERIVED: [&str; 6] = [
    "slots",
    "launcher",
    "extensions.x-pspf-claims.slots",
    "extensions.x-pspf-claims.launcher",
    "extensions.x-pspf-claims.key_id",
    "extensions.x-pspf-claims.index",
];
const DERIVED_OF_SLOT: [&str; 4] = ["slot", "id", "size", "checksum"];

fn flatten(field: &str, value: &Value<'_>, into: &mut Fields) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (key, value) in members {
                let field = if field.is_empty() { key.to_string() } else { format!("{field}.{key}") };
                flatten(&field, value, into);
            }
        }
        other => {
            into.insert(field.to_owned(), other.to_text());
        }
    }
}

fn changes(before: Option<&Fields>, after: Option<&Fields>) -> Vec<MetadataChange> {
    let (none_before, none_after) = (Fields::new(), Fields::new());
    let (before, after) = (before.unwrap_or(&none_before), after.unwrap_or(&none_after));
    let mut all: Vec<&String> =
        before.keys().chain(after.keys().filter(|field| !before.contains_key(*field))).collect();
    all.sort();
    let differ = all.into_iter().filter(|field| before.get(*field) != after.get(*field));
    differ
        .map(|field| MetadataChange {
            field: field.clone(),
            before: before.get(field).cloned(),
            after: after.get(field).cloned(),
        })
        .collect()
}

fn compare(before: Vec<SlotFile>, after: Vec<SlotFile>) -> Vec<FileChange> {
    let before: BTreeMap<String, SlotFile> = before.into_iter().map(|file| (file.path.clone(), file)).collect();
    let mut after: BTreeMap<String, SlotFile> = after.into_iter().map(|file| (file.path.clone(), file)).collect();
    let mut changed = Vec::new();
    for (path, old) in before {
        let new = after.remove(&path);
        let change = match &new {
            Some(new) if *new == old => continue,
            Some(_) => Change::Changed,
            None => Change::Removed,
        };
        changed.push(FileChange { path, change, size_before: Some(old.size), size_after: new.map(|new| new.size) });
    }
    let added = after.into_iter();
    changed.extend(added.map(|(path, new)| FileChange {
        path,
        change: Change::Added,
        size_before: None,
        size_after: Some(new.size),
    }));
    changed.sort_by(|a, b| a.path.cmp(&b.path));
    changed
}
