//! `[[slots]]`: what a package carries besides what packer puts there itself. Generic manifests and Python projects
//! write it in the same way.

use std::collections::HashSet;

use pspf_core::format::{Operation, Operations};
use pspf_core::limits;
use pspf_core::metadata::Lifecycle;

use super::fields::Table;
use super::names::Names;
use super::syntax::Language;
use super::types::Place;
use crate::error::Result;
use crate::platform::Platform;
use crate::slots;

/// One entry of `slots`.
#[derive(Debug, Clone)]
pub struct SlotSpec {
    /// `id`
    pub id: String,
    /// `source`, as written: a file, a directory or a pattern for such, relative to the manifest.
    pub source: String,
    /// `target`: a path below the workenv, empty for its root; with a `/` at its end only where that was written.
    pub target: String,
    /// `purpose`: any word.
    pub purpose: String,
    /// `lifecycle`
    pub lifecycle: Lifecycle,
    /// `platform`; `None` for any.
    pub platform: Option<Platform>,
    /// `permissions`
    pub permissions: Option<u16>,
    /// `operations`, or `compression`, which is the same.
    pub operations: Option<Operations>,
    /// `level`: how hard to compress, as written; which there are depends on the compression.
    pub level: Option<u64>,
    /// `encoded`: whether the source is in the slot's encoding already; `None` for "have a look".
    pub encoded: Option<bool>,
    /// `exclude`: patterns, as in a `.gitignore`, of what is left out of a directory.
    pub exclude: Vec<String>,
    /// `command`: the command line that a shutdown slot is there for.
    pub command: Option<String>,
    /// Where the manifest says so.
    pub place: Place,
}

/// Reads `slots` of a table, and tells `names` where they go.
pub(super) fn read(parent: &Table<'_>, names: &mut Names) -> Result<Vec<SlotSpec>> {
    let tables = parent.tables("slots")?;
    if tables.len() as u64 > u64::from(limits::SLOTS) {
        return Err(parent
            .error_at("slots", "more slots than a package may have")
            .expected(format!("at most {}", limits::SLOTS))
            .found(tables.len().to_string())
            .hint("put several directories into one slot"));
    }
    let is_json = parent.source.language == Language::Json;
    let known = if is_json { [&KEYS[..], &DERIVED].concat() } else { KEYS.to_vec() };
    let mut ids = HashSet::new();
    let mut slots = Vec::new();
    for table in &tables {
        if let Some(key) = table.keys().find(|key| !known.contains(key)) {
            return Err(table.unknown_key(key, &KEYS));
        }
        if is_json && table.boolean("self_ref")? == Some(true) {
            return Err(table
                .error_at("self_ref", "a slot that stands for the package itself is not supported")
                .hint("leave the slot out; the app finds the package's path in PSPF_ARGV0"));
        }
        let id = id(table)?;
        if !ids.insert(id) {
            return Err(table
                .error_at("id", format!("two slots are called {id:?}"))
                .expected("every id once")
                .hint("give one of them another id"));
        }
        slots.push(slot(table, id)?);
    }
    // Placeholders in targets may name any slot, so that they come last.
    for (table, slot) in tables.iter().zip(&mut slots) {
        let written = table.string("target")?.map_or(slot.id.as_str(), |target| target.value);
        let is_directory = written.ends_with('/');
        slot.target = names.path_below(table, "target", written)?;
        if is_directory && !slot.target.is_empty() {
            slot.target.push('/');
        }
    }
    names.targets = slots.iter().map(|slot| slot.target.clone()).collect();
    for (table, slot) in tables.iter().zip(&mut slots).filter(|(table, _)| table.has("command")) {
        if slot.lifecycle != Lifecycle::Shutdown {
            return Err(table
                .error_at("command", "only slots with the lifecycle shutdown have a command")
                .found(format!("lifecycle = {:?}", slot.lifecycle.name()))
                .hint("write lifecycle = \"shutdown\" to run it when the app has ended, or take the command out"));
        }
        let line = names.command(table, "command", "\"{workenv}/cleanup/run --all\"")?.0;
        slot.command = Some(names.with_targets(&line));
    }
    Ok(slots)
}

/// A chain of operations, by any of its names.
pub(super) fn operations(table: &Table<'_>, key: &str) -> Result<Option<Operations>> {
    const NAMES: [&str; 13] =
        ["raw", "tar", "gzip", "tgz", "tar.gz", "bzip2", "tbz2", "tar.bz2", "xz", "txz", "tar.xz", "zstd", "tar.zst"];
    let Some(found) = table.string(key)? else { return Ok(None) };
    let operations = Operations::from_name(found.value).filter(|operations| operations.steps().is_ok());
    operations
        .map(Some)
        .ok_or_else(|| table.unknown_word(key, "this is not a chain of operations", &NAMES, found.value))
}

/// `compression` of a table that is not a slot: what archives are compressed with, without the `tar` in front.
pub(super) fn compression(table: &Table<'_>) -> Result<Option<Operations>> {
    let Some(chain) = operations(table, "compression")? else { return Ok(None) };
    let steps = chain.steps().unwrap_or_default().into_iter().filter(|step| *step != Operation::Tar);
    let compression = Operations::from_steps(&steps.collect::<Vec<_>>()).unwrap_or(Operations::RAW);
    slots::check(compression, None).map_err(|(_, error)| table.place().locate("compression", error))?;
    Ok(Some(compression))
}

/// Every key of a slot.
pub(super) const KEYS: [&str; 13] = [
    "id",
    "source",
    "target",
    "purpose",
    "lifecycle",
    "operations",
    "compression",
    "level",
    "permissions",
    "platform",
    "encoded",
    "exclude",
    "command",
];
/// Keys that packer writes itself, or that say nothing to it.
const DERIVED: [&str; 6] = ["slot", "size", "checksum", "type", "resolution", "self_ref"];
/// Every name and alias of a lifecycle.
pub(super) const LIFECYCLES: [&str; 16] = [
    "runtime",
    "cached",
    "cache",
    "startup",
    "init",
    "eager",
    "lazy",
    "config",
    "persistent",
    "temporary",
    "temp",
    "volatile",
    "shutdown",
    "dev",
    "platform",
    "attestation",
];

fn id<'a>(table: &Table<'a>) -> Result<&'a str> {
    let id = table.needed("id", "\"data\"")?.value;
    let valid = !id.is_empty()
        && id.len() <= limits::COMPONENT
        && !matches!(id, "." | "..")
        && !id.contains(|c: char| c.is_control() || c == '/' || c == '\\');
    if !valid {
        return Err(table
            .wrong_value("id", "a slot cannot be called this", "a name without slashes", id)
            .hint("the path goes into target"));
    }
    Ok(id)
}

fn slot(table: &Table<'_>, id: &str) -> Result<SlotSpec> {
    let source = table.needed("source", "\"files/\"")?.value;
    if source.is_empty() {
        return Err(table.error_at("source", "the source is empty").hint("name a file or a directory"));
    }
    let lifecycle = table.string("lifecycle")?.map_or("runtime", |found| found.value);
    let lifecycle = Lifecycle::from_name(lifecycle)
        .ok_or_else(|| table.unknown_word("lifecycle", "this is not a lifecycle", &LIFECYCLES, lifecycle))?;
    if table.has("operations") && table.has("compression") {
        return Err(table
            .error_at("compression", "compression and operations say the same thing twice")
            .expected("one of them")
            .hint("take one of them out"));
    }
    let operations = match operations(table, "operations")? {
        Some(operations) => Some(operations),
        None => operations(table, "compression")?,
    };
    let platform = match table.string("platform")?.map(|found| found.value) {
        None | Some("any") => None,
        Some(name) => Some(Platform::from_name(name).ok_or_else(|| {
            let known = [&["any"][..], &Platform::NAMES].concat();
            table.unknown_word("platform", "this is not a platform", &known, name)
        })?),
    };
    let exclude: Vec<String> =
        table.strings("exclude")?.unwrap_or_default().into_iter().map(|found| found.value.to_owned()).collect();
    slots::patterns(&exclude).map_err(|(pattern, error)| {
        table
            .wrong_value("exclude", "this is not a pattern for files", "patterns as in a .gitignore", &pattern)
            .hint(error.to_string())
    })?;
    Ok(SlotSpec {
        id: id.to_owned(),
        source: source.to_owned(),
        target: String::new(),
        purpose: table.nonempty("purpose")?.unwrap_or_else(|| "payload".to_owned()),
        lifecycle,
        platform,
        permissions: table.mode("permissions")?,
        operations,
        level: table.unsigned("level")?,
        encoded: table.boolean("encoded")?,
        exclude,
        command: None,
        place: table.place(),
    })
}
