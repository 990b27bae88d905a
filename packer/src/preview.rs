//! What packing would do, without doing what takes long: nothing is installed, built, compressed or written, and no key
//! is made.

use std::path::{Path, PathBuf};

use pspf_core::format::Operations;
use serde::Serialize;

use crate::error::Result;
use crate::keys::{self, Choice};
use crate::launchers::{self, Dialect};
use crate::manifest::{self, Input};
use crate::output;
use crate::pack::{self, Options};
use crate::places;
use crate::plan::{PlannedSlot, Source};
use crate::progress::Progress;
use crate::python::{self, Outline};
use crate::{foreign, slots};

/// A package that could be made. The JSON of this is a stable interface.
#[derive(Debug, Clone, Serialize)]
pub struct Preview {
    /// Where it would be; with `VERSION` in the name where the build backend decides that.
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// Its version; absent where the build backend decides it.
    pub version: Option<String>,
    /// What it would run on, as "linux_amd64".
    pub platform: String,
    /// The launcher's name or file.
    pub launcher: String,
    /// The launcher's size in bytes.
    pub launcher_size: u64,
    /// Who would sign.
    pub key: String,
    /// What would be started: of a Python project the entry point, else the command line.
    pub command: String,
    /// The commands that it would offer.
    pub entry_points: Vec<PreviewEntry>,
    /// The slots, in their order in the file.
    pub slots: Vec<PreviewSlot>,
    /// What would be found, run, installed and built first, in this order.
    pub steps: Vec<String>,
    /// What would be run on the finished package.
    pub afterwards: Vec<String>,
    /// The parts of the file, front to back.
    pub layout: Vec<PreviewPart>,
}

/// A command of a [`Preview`].
#[derive(Debug, Clone, Serialize)]
pub struct PreviewEntry {
    /// Its name.
    pub name: String,
    /// What it would start: of a Python project the entry point, else the command line.
    pub starts: String,
}

/// A slot of a [`Preview`].
#[derive(Debug, Clone, Serialize)]
pub struct PreviewSlot {
    /// Its id.
    pub id: String,
    /// What it would be made from.
    pub source: String,
    /// Where it goes in the workenv.
    pub target: String,
    /// When it is there.
    pub lifecycle: &'static str,
    /// How it would be stored.
    pub operations: String,
    /// How hard it would be compressed; absent for the compression's default.
    pub level: Option<u64>,
    /// How many bytes it would be made from; absent where that shows while packing.
    pub original_size: Option<u64>,
    /// How many files, links and empty directories; absent where that shows while packing.
    pub files: Option<u64>,
}

/// A part of the file.
#[derive(Debug, Clone, Serialize)]
pub struct PreviewPart {
    /// What it is: `launcher`, `metadata`, `slot table`, the id of a slot, `index`.
    pub part: String,
    /// Where it would begin, in bytes from the start of the file; absent behind what is compressed while packing.
    pub offset: Option<u64>,
    /// How many bytes it would take; absent when that shows while packing.
    pub size: Option<u64>,
}

/// Says what [`pack`](pack::pack) would do with these options. Fails where the manifest, the options, or the sources of a
/// generic manifest would make it fail.
pub fn preview(options: &Options, progress: &dyn Progress) -> Result<Preview> {
    let input = manifest::open(&options.manifest)?;
    let chosen = launchers::choose(&options.launcher, options.platform)?;
    let platform = chosen.platform;
    let nowhere = Path::new("");
    let (mut plan, steps, afterwards) = match &input {
        Input::Generic(_) => {
            // It is planned without a stage or a cache.
            let (plan, _) = pack::plan(&input, options, platform, nowhere, nowhere, progress)?;
            (plan, Vec::new(), Vec::new())
        }
        Input::Python(manifest) => {
            let request = pack::request(manifest, options, platform, nowhere, nowhere);
            let Outline { mut plan, steps, afterwards } = python::outline(&request, progress)?;
            pack::apply_defaults(&mut plan, &input, options)?;
            (plan, steps, afterwards)
        }
    };
    let planned: Vec<PlannedSlot> = plan.slots.clone();
    if chosen.dialect == Dialect::FlavorPack {
        foreign::adapt(&mut plan, progress)?;
    }
    let version = Some(plan.version.clone()).filter(|version| !version.is_empty());
    let file_name = pack::file_name(&plan.name, version.as_deref().unwrap_or("VERSION"), platform);
    let path = output::planned(options.output.as_deref(), &file_name);
    let own = [path.clone()];
    let (mut slots, mut stored) = (Vec::new(), Vec::new());
    for slot in &planned {
        progress.check()?;
        let measured = if is_made(slot) { None } else { Some(slots::measure(slot, &own)?) };
        let size = measured.map(|(_, size)| size);
        stored.push((slot.id.clone(), size.filter(|_| is_stored_as_it_is(slot))));
        slots.push(PreviewSlot {
            id: slot.id.clone(),
            source: source(slot, &input),
            target: slot.target.clone(),
            lifecycle: slot.lifecycle.name(),
            operations: slot.operations.name(),
            level: slot.level,
            original_size: size,
            files: measured.map(|(files, _)| files),
        });
    }
    let needs_all = plan.needs_all() || is_given(&options.key);
    let launcher_size = chosen.size(needs_all);
    let command = plan.document.get("execution").and_then(|execution| execution.get("command")?.as_str());
    let entry_point = |(name, starts): (&String, &String)| PreviewEntry { name: name.clone(), starts: starts.clone() };
    Ok(Preview {
        path,
        version,
        platform: platform.to_string(),
        launcher: chosen.name(needs_all).to_owned(),
        launcher_size,
        key: signer(&options.key),
        command: command.unwrap_or_default().to_owned(),
        entry_points: plan.entry_points.iter().map(entry_point).collect(),
        layout: layout(launcher_size, stored),
        slots,
        steps,
        afterwards,
        name: plan.name,
    })
}

/// True for a slot whose source is made while packing.
fn is_made(slot: &PlannedSlot) -> bool {
    matches!(&slot.source, Source::Tree { path, .. } if path.as_os_str().is_empty())
}

/// True for a slot that takes as many bytes in the package as its source has.
fn is_stored_as_it_is(slot: &PlannedSlot) -> bool {
    match slot.source {
        Source::Encoded { .. } => true,
        Source::File { .. } => slot.operations == Operations::RAW,
        Source::Tree { .. } => false,
    }
}

/// What a slot would be made from, for people.
fn source(slot: &PlannedSlot, input: &Input) -> String {
    match (input, slot.id.as_str()) {
        (Input::Python(_), python::RUNTIME) => "the interpreter".to_owned(),
        (Input::Python(_), python::ENVIRONMENT) => "the dependencies".to_owned(),
        (Input::Python(manifest), python::APPLICATION) => format!("the project in {}", manifest.directory.display()),
        _ if is_made(slot) => format!("{}, which is not there yet", slot.source_name),
        _ => slot.source_name.clone(),
    }
}

fn layout(launcher: u64, slots: impl IntoIterator<Item = (String, Option<u64>)>) -> Vec<PreviewPart> {
    let slots: Vec<(String, Option<u64>)> = slots.into_iter().collect();
    let table = (slots.len() * pspf_core::format::slot::SIZE) as u64;
    let mut parts = vec![
        PreviewPart { part: "launcher".to_owned(), offset: Some(0), size: Some(launcher) },
        // Its size follows from the digests of everything behind it.
        PreviewPart { part: "metadata".to_owned(), offset: Some(launcher), size: None },
        PreviewPart { part: "slot table".to_owned(), offset: None, size: Some(table) },
    ];
    parts.extend(slots.into_iter().map(|(part, size)| PreviewPart { part, offset: None, size }));
    let index = pspf_core::format::trailer::SIZE as u64;
    parts.push(PreviewPart { part: "index".to_owned(), offset: None, size: Some(index) });
    parts
}

fn is_given(key: &Choice) -> bool {
    matches!(key, Choice::Files { .. })
}

fn signer(key: &Choice) -> String {
    match key {
        Choice::Files { private, .. } => format!("the one in {}", private.display()),
        Choice::Seed(_) => "from a seed: anybody may know it".to_owned(),
        Choice::Automatic => match places::keys().map(|keys| keys.join(keys::PRIVATE)) {
            Ok(path) if path.exists() => format!("packer's own for you, in {}", path.display()),
            Ok(path) => format!("packer's own for you, which would be made in {}", path.display()),
            Err(_) => "none: there is no home directory to keep one in".to_owned(),
        },
    }
}
