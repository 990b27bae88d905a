//! Files and a command as a [`Plan`]: every source is looked at, none is read in full yet.

use std::collections::BTreeMap;
use std::fs;

use pspf_core::json::Value;
use pspf_core::metadata::Lifecycle;
use pspf_core::placement::relative;

use crate::error::{Error, Result};
use crate::manifest::{self, Generic, Program};
use crate::plan::{Facts, Plan, PlannedSlot, Source};
use crate::platform::Platform;
use crate::progress::Progress;
use crate::sbom::Inventory;
use crate::sources::{Sources, is_executable};

/// Plans the package of a manifest for a platform. Slots for other platforms are left out.
pub fn plan(manifest: &Generic, platform: Platform, progress: &dyn Progress) -> Result<Plan> {
    for note in &manifest.notes {
        progress.note(note);
    }
    let sources = Sources {
        directory: &manifest.directory,
        platform,
        compression: None,
        like_flavorpack: manifest.is_json(),
        interpreter: None,
    };
    let (slots, numbers) = sources.plan(&manifest.slots, progress)?;
    let document = renumbered(manifest, &manifest.document, &numbers)?;
    let entry_points = entry_points(manifest, &document, &numbers)?;
    let plan = Plan {
        manifest: manifest.path.clone(),
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        document,
        slots,
        app_id: manifest.app_id.clone(),
        release: manifest.release.unwrap_or(0),
        entry_points,
        strip: false,
        inventory: Inventory::of(&manifest.name, &manifest.version),
        facts: Facts::default(),
    };
    check_targets(manifest, &plan.slots)?;
    check_programs(manifest, &plan.slots)?;
    Ok(plan)
}

/// The manifest's entry points, and the package's own command, which goes by the package's name unless an entry point does.
fn entry_points(
    manifest: &Generic,
    document: &Value<'static>,
    numbers: &[Option<usize>],
) -> Result<BTreeMap<String, String>> {
    let text = |value: &Value<'_>| value.as_str().unwrap_or_default().to_owned();
    let own = document.get("execution").and_then(|execution| execution.get("command")).map(text);
    let mut entry_points: BTreeMap<String, String> =
        own.map(|command| (manifest.name.clone(), command)).into_iter().collect();
    for (name, line) in &manifest.entry_points {
        entry_points.insert(name.clone(), text(&renumbered(manifest, &line.clone().into(), numbers)?));
    }
    Ok(entry_points)
}

/// A part of the document, in which slots have other numbers when some are left out.
fn renumbered(manifest: &Generic, value: &Value<'static>, numbers: &[Option<usize>]) -> Result<Value<'static>> {
    if numbers.iter().all(Option::is_some) {
        return Ok(value.clone());
    }
    manifest::renumber(value, numbers).map_err(|number| {
        let spec = &manifest.slots[number.min(manifest.slots.len().saturating_sub(1))];
        spec.place
            .error("platform", format!("{{slot:{number}}} is used, but that slot stays out of this package"))
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
                Some(place) => place.error("target", what),
                None => Error::new(crate::Kind::Configuration, what).file(&manifest.path),
            };
            return Err(new.hint("give one of them another place"));
        }
    }
    Ok(())
}

/// What the launcher would not find at the first start is told now, as far as it can be known.
fn check_programs(manifest: &Generic, slots: &[PlannedSlot]) -> Result<()> {
    // What setup commands make, nobody knows beforehand.
    match manifest.setup_programs.first() {
        None => {
            manifest.programs.iter().try_for_each(|program| check_program(manifest, slots, program, unfit_for_the_app))
        }
        Some(first) => check_program(manifest, slots, first, |_| None),
    }
}

fn check_program(
    manifest: &Generic,
    slots: &[PlannedSlot],
    program: &Program,
    unfit: impl Fn(Lifecycle) -> Option<&'static str>,
) -> Result<()> {
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
        if let Some(why) = unfit(slot.lifecycle) {
            return Err(program
                .place
                .error("", format!("the command's program is in slot {}, {why}", slot.id))
                .found(format!("lifecycle = {:?}", slot.lifecycle.name()))
                .hint("put programs into a slot of their own, without a lifecycle"));
        }
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
        return Err(program
            .place
            .error("", "the command's program is not executable")
            .found(format!("{path:?} in slot {}", slot.id))
            .hint(hint));
    }
    let new = program
        .place
        .error("", "the command's program is in no slot, and nothing writes it")
        .expected("a file of a slot as {workenv}/PATH, or the absolute path of a program on the user's machine")
        .found(format!("{word:?}, that is {{workenv}}/{path}"));
    Err(if word.contains('/') {
        new.hint("mend the path, or add the slot that brings the program")
    } else {
        new.hint(format!("programs are not searched for on PATH: write {{workenv}}/.../{word} or /usr/bin/{word}"))
    })
}

/// Why an app's program cannot be in a slot of this lifecycle.
fn unfit_for_the_app(lifecycle: Lifecycle) -> Option<&'static str> {
    match lifecycle {
        Lifecycle::Lazy => Some("which is not on disk until it is asked for"),
        Lifecycle::Init => Some("which is gone when the app starts"),
        Lifecycle::Shutdown => Some("which is not on disk while the app runs"),
        Lifecycle::Config => Some("which its user may change"),
        Lifecycle::Attestation => Some("which is never on disk"),
        _ => None,
    }
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

#[cfg(test)]
mod tests;
