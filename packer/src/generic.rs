//! Files and a command as a [`Plan`]: every source is looked at, none is read in full yet.

use std::fs::{self, Metadata};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use pspf_core::format::Operations;
use pspf_core::json::Value;
use pspf_core::metadata::Lifecycle;
use pspf_core::placement::relative;

use crate::error::{Error, Result};
use crate::manifest::{self, Generic, Program, SlotSpec};
use crate::plan::{Facts, Plan, PlannedSlot, Source};
use crate::platform::Platform;
use crate::progress::Progress;
use crate::slots;

/// Plans the package of a manifest for a platform. Slots for other platforms are left out.
pub fn plan(manifest: &Generic, platform: Platform, progress: &dyn Progress) -> Result<Plan> {
    for note in manifest.notes.iter().cloned().chain(not_acted_on(manifest)) {
        progress.note(&note);
    }
    let mut slots = Vec::new();
    // The new number of each slot of the manifest.
    let mut numbers = Vec::new();
    for spec in &manifest.slots {
        progress.check()?;
        match spec.platform {
            Some(only) if !only.fits(platform) => {
                progress.note(&format!("slot {} is for {only} and stays out of a package for {platform}", spec.id));
                numbers.push(None);
            }
            _ => {
                numbers.push(Some(slots.len()));
                slots.push(slot(manifest, spec, progress)?);
            }
        }
    }
    let document = renumbered(manifest, &numbers)?;
    let plan = Plan {
        manifest: manifest.path.clone(),
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        document,
        slots,
        app_id: manifest.app_id.clone(),
        release: manifest.release.unwrap_or(0),
        entry_points: Default::default(),
        facts: Facts::default(),
    };
    check_targets(manifest, &plan.slots)?;
    check_programs(manifest, &plan.slots)?;
    Ok(plan)
}

fn slot(manifest: &Generic, spec: &SlotSpec, progress: &dyn Progress) -> Result<PlannedSlot> {
    let (path, metadata) = find(manifest, spec)?;
    let choice = if metadata.is_dir() { directory(manifest, spec, path)? } else { file(manifest, spec, path)? };
    let Choice { source, operations, level } = choice;
    let is_archive = operations.is_archive();
    let mut target = spec.target.clone();
    if is_archive {
        target.truncate(target.trim_end_matches('/').len());
        if manifest.is_json()
            && matches!(source, Source::Encoded { .. })
            && spec.encoded.is_none()
            && !target.is_empty()
        {
            progress.note(&format!(
                "slot {}: as with FlavorPack's launchers, the archive is unpacked into the workenv's root, not into \
                 {target} (\"encoded\": true changes that)",
                spec.id
            ));
            target.clear();
        }
    } else if target.is_empty() || target.ends_with('/') {
        target.push_str(&file_name(&source, operations));
    }
    Ok(PlannedSlot {
        id: spec.id.clone(),
        source_name: source_name(&spec.source),
        target: if target.is_empty() { "{workenv}".to_owned() } else { target },
        purpose: spec.purpose.clone(),
        lifecycle: spec.lifecycle,
        platform: spec.platform.map_or(0, |platform| platform.os as u8),
        permissions: spec.permissions.unwrap_or_else(|| match &source {
            Source::File { .. } if is_executable(&metadata) => 0o755,
            _ if is_archive => 0o755,
            _ => 0o644,
        }),
        operations,
        level,
        source,
    })
}

/// How a source is stored.
struct Choice {
    source: Source,
    operations: Operations,
    /// How hard to compress, if that was said.
    level: Option<u64>,
}

fn find(manifest: &Generic, spec: &SlotSpec) -> Result<(PathBuf, Metadata)> {
    let path = manifest.directory.join(relative(&spec.source));
    let path = if spec.source.starts_with('/') { PathBuf::from(&spec.source) } else { path };
    match fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() || metadata.is_file() => Ok((path, metadata)),
        Ok(_) => Err(manifest
            .error(&spec.place, "source", "the source is neither a file nor a directory")
            .found(path.display().to_string())
            .hint("name a file or a directory")),
        Err(error) => {
            let new = manifest
                .error(&spec.place, "source", format!("the source of slot {} cannot be read", spec.id))
                .expected("a file or a directory, relative to the manifest")
                .found(format!("{}: {error}", path.display()));
            Err(match similar(&path) {
                Some(near) => new.hint(format!("did you mean {near:?}?")),
                None => new.hint("make it before packing, or mend the path"),
            })
        }
    }
}

fn directory(manifest: &Generic, spec: &SlotSpec, path: PathBuf) -> Result<Choice> {
    let operations = spec.operations.unwrap_or(Operations::TAR_GZIP);
    if spec.encoded == Some(true) {
        return Err(manifest
            .error(&spec.place, "encoded", "a directory is never encoded already")
            .hint("leave encoded out, or name the archive as the source"));
    }
    if !operations.is_archive() {
        return Err(manifest
            .error(&spec.place, "operations", "a directory has to become an archive")
            .expected(format!("tar, alone or with {}", slots::COMPRESSIONS))
            .found(format!("{:?}", operations.name()))
            .hint("write operations = \"tar.gz\", or leave it out"));
    }
    let level = checked_level(manifest, spec, operations)?;
    Ok(Choice { source: Source::Tree { path, key: None, exclude: spec.exclude.clone() }, operations, level })
}

fn file(manifest: &Generic, spec: &SlotSpec, path: PathBuf) -> Result<Choice> {
    let looked = |error: std::io::Error| Error::io("cannot read", &path, &error);
    if !spec.exclude.is_empty() {
        return Err(manifest
            .error(&spec.place, "exclude", "nothing can be left out of a file")
            .hint("leave exclude out, or name a directory as the source"));
    }
    let Some(operations) = spec.operations else {
        if spec.encoded == Some(true) {
            return Err(manifest
                .error(&spec.place, "operations", "how the source is encoded is not said")
                .hint("add operations, such as \"tar.gz\""));
        }
        let level = checked_level(manifest, spec, Operations::GZIP)?;
        return Ok(match slots::shrinks(&path).map_err(looked)? {
            true => Choice { source: Source::File { path }, operations: Operations::GZIP, level },
            false => Choice { source: Source::File { path }, operations: Operations::RAW, level: None },
        });
    };
    let is_encoded = match spec.encoded {
        _ if operations == Operations::RAW => false,
        Some(encoded) => encoded,
        None => operations.is_archive() || slots::looks_encoded(&path, operations).map_err(looked)?,
    };
    if is_encoded {
        if let Some(level) = spec.level {
            return Err(manifest
                .error(&spec.place, "level", "the source is encoded already, and is packed as it is")
                .expected("no level, or a source that is not compressed")
                .found(level.to_string())
                .hint("leave the level out"));
        }
        return Ok(Choice { source: Source::Encoded { path }, operations, level: None });
    }
    if operations.is_archive() {
        return Err(manifest
            .error(&spec.place, "operations", "a file alone does not become an archive")
            .expected(format!("raw, {}, or a directory as the source", slots::COMPRESSIONS))
            .found(format!("{:?}", operations.name()))
            .hint("name the directory that the file is in, or write operations = \"raw\""));
    }
    let level = checked_level(manifest, spec, operations)?;
    Ok(Choice { source: Source::File { path }, operations, level })
}

/// The slot's level, once it is clear that packer writes such slots.
fn checked_level(manifest: &Generic, spec: &SlotSpec, operations: Operations) -> Result<Option<u64>> {
    match slots::check(operations, spec.level) {
        Ok(()) => Ok(spec.level),
        Err((key, error)) => Err(manifest.locate(&spec.place, key, error)),
    }
}

/// What the file is called once it is decoded.
fn file_name(source: &Source, operations: Operations) -> String {
    let (Source::Tree { path, .. } | Source::File { path } | Source::Encoded { path }) = source;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let suffixes: &[&str] = match source {
        Source::Encoded { .. } if operations != Operations::RAW => &[".gz", ".bz2", ".xz", ".zst"],
        _ => &[],
    };
    let bare = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).filter(|bare| !bare.is_empty());
    bare.map(str::to_owned).unwrap_or(name)
}

/// What the package says and this version's launcher does not act on: nothing is ignored without a word.
fn not_acted_on(manifest: &Generic) -> Vec<String> {
    let mut notes = Vec::new();
    if manifest.document.get("policy").is_some() {
        notes.push("policy goes into the package, but this version's launcher does not act on it".to_owned());
    }
    for slot in &manifest.slots {
        if !matches!(slot.lifecycle, Lifecycle::Runtime | Lifecycle::Cache | Lifecycle::Eager) {
            notes.push(format!(
                "slot {} has the lifecycle {}, but this version's launcher extracts it once, as runtime",
                slot.id,
                slot.lifecycle.name()
            ));
        }
    }
    notes
}

/// The document, in which slots have other numbers when some are left out.
fn renumbered(manifest: &Generic, numbers: &[Option<usize>]) -> Result<Value<'static>> {
    if numbers.iter().all(Option::is_some) {
        return Ok(manifest.document.clone());
    }
    manifest::renumber(&manifest.document, numbers).map_err(|number| {
        let spec = &manifest.slots[number.min(manifest.slots.len().saturating_sub(1))];
        manifest
            .error(
                &spec.place,
                "platform",
                format!("{{slot:{number}}} is used, but that slot stays out of this package"),
            )
            .hint("use {workenv}/TARGET in its place, with one target for all platforms")
    })
}

/// A file and what would have to be inside of it cannot both be there.
fn check_targets(manifest: &Generic, slots: &[PlannedSlot]) -> Result<()> {
    let mut targets: Vec<(&str, Option<&PlannedSlot>)> =
        slots.iter().map(|slot| (relative(&slot.target), Some(slot))).collect();
    targets.extend(manifest.written.iter().map(|path| (path.as_str(), None)));
    targets.sort_by(|a, b| a.0.cmp(b.0));
    for (i, (path, slot)) in targets.iter().enumerate() {
        let Some(slot) = slot.filter(|slot| !slot.operations.is_archive()) else { continue };
        let same = |other: &&(&str, Option<&PlannedSlot>)| {
            other.0 == *path && other.1.is_some_and(|other| !other.operations.is_archive() && other.id != slot.id)
        };
        let around = targets[i + 1..].iter().take_while(|(other, _)| other.starts_with(path));
        let below = |(other, _): &&(&str, Option<&PlannedSlot>)| other[path.len()..].starts_with('/');
        if let Some((other, _)) = around.clone().find(below).or_else(|| around.clone().find(same)) {
            let place = manifest.slots.iter().find(|spec| spec.id == slot.id).map(|spec| &spec.place);
            let what = format!("slot {} is the file {path}, and {other} cannot be there as well", slot.id);
            let new = match place {
                Some(place) => manifest.error(place, "target", what),
                None => Error::new(crate::Kind::Configuration, what).file(&manifest.path),
            };
            return Err(new.hint("give one of them another place"));
        }
    }
    Ok(())
}

/// What the launcher would not find at the first start is told now, as far as it can be known.
fn check_programs(manifest: &Generic, slots: &[PlannedSlot]) -> Result<()> {
    let Some((main, setup)) = manifest.programs.split_first() else { return Ok(()) };
    // What setup commands make, nobody knows beforehand.
    match setup.first() {
        None => check_program(manifest, slots, main),
        Some(first) => check_program(manifest, slots, first),
    }
}

fn check_program(manifest: &Generic, slots: &[PlannedSlot], program: &Program) -> Result<()> {
    let word = &program.word;
    let path = path_of(manifest, slots, word);
    let Some(path) = path.as_deref().map(relative) else { return Ok(()) };
    if manifest.written.iter().any(|written| written == path) {
        return Ok(());
    }
    let mut denied = None;
    for slot in slots {
        let target = relative(&slot.target);
        let inside = match path.strip_prefix(target) {
            Some("") => "",
            Some(rest) if target.is_empty() => rest,
            Some(rest) => match rest.strip_prefix('/') {
                Some(inside) => inside,
                None => continue,
            },
            None => continue,
        };
        let executable = match &slot.source {
            // What is in an archive of others shows when it is unpacked.
            Source::Encoded { .. } if slot.operations.is_archive() => return Ok(()),
            Source::Encoded { .. } | Source::File { .. } if inside.is_empty() => slot.permissions & 0o100 != 0,
            Source::Encoded { .. } | Source::File { .. } => continue,
            Source::Tree { path, .. } => match fs::metadata(path.join(inside)) {
                Ok(metadata) if metadata.is_file() => is_executable(&metadata),
                _ => continue,
            },
        };
        if executable || manifest.chmods.iter().any(|changed| changed == path) {
            return Ok(());
        }
        denied = Some(slot);
    }
    if let Some(slot) = denied {
        let hint = match slot.source {
            Source::Tree { .. } => "chmod +x the file, or add a setup command of type chmod".to_owned(),
            _ => format!("add permissions = \"0755\" to slot {}", slot.id),
        };
        return Err(manifest
            .error(&program.place, "", "the command's program is not executable")
            .found(format!("{path:?} in slot {}", slot.id))
            .hint(hint));
    }
    let new = manifest
        .error(&program.place, "", "the command's program is in no slot, and nothing writes it")
        .expected("a file of a slot as {workenv}/PATH, or the absolute path of a program on the user's machine")
        .found(format!("{word:?}, that is {{workenv}}/{path}"));
    Err(if word.contains('/') {
        new.hint("mend the path, or add the slot that brings the program")
    } else {
        new.hint(format!("programs are not searched for on PATH: write {{workenv}}/.../{word} or /usr/bin/{word}"))
    })
}

fn is_executable(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & 0o100 != 0
}

/// The path below the workenv that the launcher makes of a command's first word; `None` for one outside of it, and
/// where only the start can tell.
fn path_of(manifest: &Generic, slots: &[PlannedSlot], word: &str) -> Option<String> {
    let word = word.replace("{package_name}", &manifest.name).replace("{version}", &manifest.version);
    if let Some((number, rest)) = word.strip_prefix("{slot:").and_then(|word| word.split_once('}')) {
        let spec = manifest.slots.get(number.parse::<usize>().ok()?)?;
        let slot = slots.iter().find(|slot| slot.id == spec.id)?;
        return (!rest.contains('{')).then(|| format!("{}{rest}", relative(&slot.target)));
    }
    match word.strip_prefix("{workenv}/") {
        Some(path) if path.contains('{') => None,
        Some(path) => Some(path.to_owned()),
        None if word.starts_with('/') || word.contains('{') => None,
        None if word.contains('/') => Some(word),
        None => Some(format!("bin/{word}")),
    }
}

/// A source as readers of the package see it: where the builder's own files are is nobody's business.
fn source_name(source: &str) -> String {
    let last = Path::new(source).file_name().map(|name| name.to_string_lossy().into_owned());
    last.filter(|_| source.starts_with('/')).unwrap_or_else(|| source.to_owned())
}

/// What there is beside a path that does not exist, and has a similar name.
fn similar(path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_string_lossy().into_owned();
    let names = fs::read_dir(path.parent()?).ok()?.flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let near = names.map(|name| (strsim::jaro_winkler(&name, &wanted), name)).filter(|(likeness, _)| *likeness > 0.75);
    near.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests;
