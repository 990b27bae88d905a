//! What packing would do, without doing what takes long: nothing is installed, built, compressed or written, and no key
//! is made.

use std::path::PathBuf;

use serde::Serialize;

use crate::error::Result;
use crate::keys::{self, Choice};
use crate::launchers::{self, Chosen, Dialect};
use crate::manifest::{self, Generic, Input, Manifest};
use crate::output;
use crate::pack::{self, Options};
use crate::places;
use crate::plan::{PlannedSlot, Source};
use crate::progress::Progress;
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
    /// What would be started, as far as it is known before the work.
    pub command: String,
    /// The slots, in their order in the file.
    pub slots: Vec<PreviewSlot>,
    /// What would be found, installed and built first, in this order.
    pub steps: Vec<String>,
    /// The parts of the file, front to back.
    pub layout: Vec<PreviewPart>,
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
    match &input {
        Input::Generic(manifest) => of_generic(&input, manifest, options, chosen, progress),
        Input::Python(manifest) => of_python(manifest, options, &chosen),
    }
}

fn of_generic(
    input: &Input,
    manifest: &Generic,
    options: &Options,
    chosen: Chosen,
    progress: &dyn Progress,
) -> Result<Preview> {
    let platform = chosen.platform;
    // A generic manifest is planned without a stage or a cache.
    let (mut plan, _) = pack::plan(input, options, platform, "".as_ref(), "".as_ref(), progress)?;
    let planned: Vec<PlannedSlot> = plan.slots.clone();
    if chosen.dialect == Dialect::FlavorPack {
        foreign::adapt(&mut plan, progress)?;
    }
    let file_name = pack::file_name(&plan.name, &plan.version, platform);
    let path = output::planned(options.output.as_deref(), &file_name);
    let own = [path.clone()];
    let mut slots = Vec::new();
    let mut stored = Vec::new();
    for slot in &planned {
        progress.check()?;
        let (files, size) = slots::measure(slot, &own)?;
        let is_stored_as_it_is = match slot.source {
            Source::Encoded { .. } => true,
            Source::File { .. } => slot.operations == pspf_core::format::Operations::RAW,
            Source::Tree { .. } => false,
        };
        stored.push((slot.id.clone(), is_stored_as_it_is.then_some(size)));
        slots.push(PreviewSlot {
            id: slot.id.clone(),
            source: slot.source_name.clone(),
            target: slot.target.clone(),
            lifecycle: slot.lifecycle.name(),
            operations: slot.operations.name(),
            level: slot.level,
            original_size: Some(size),
            files: Some(files),
        });
    }
    let needs_all = plan.needs_all() || is_given(&options.key);
    let launcher_size = chosen.size(needs_all);
    let programs = &manifest.programs;
    Ok(Preview {
        path,
        name: plan.name.clone(),
        version: Some(plan.version.clone()),
        platform: platform.to_string(),
        launcher: chosen.name(needs_all).to_owned(),
        launcher_size,
        key: signer(&options.key),
        command: programs.first().map_or(String::new(), |program| program.word.clone()),
        layout: layout(launcher_size, stored),
        slots,
        steps: Vec::new(),
    })
}

fn of_python(manifest: &Manifest, options: &Options, chosen: &Chosen) -> Result<Preview> {
    let platform = chosen.platform;
    if !pack::is_here(platform) {
        return Err(pack::not_here(&manifest.path, platform));
    }
    let name = manifest.package_name().to_owned();
    let version = manifest.version.clone();
    let file_name = pack::file_name(&name, version.as_deref().unwrap_or("VERSION"), platform);
    let given = options.python.clone().or_else(|| manifest.flavor.python.clone());
    let wanted = match (&manifest.flavor.python_version, &manifest.requires_python) {
        (Some(version), _) => format!("Python {version}"),
        (None, Some(requires)) => format!("Python {requires}"),
        (None, None) => "the current python3, or any Python 3.9 or newer".to_owned(),
    };
    let interpreter = match given {
        Some(path) => format!("find {wanted} at {}", path.display()),
        None => format!("find {wanted}: what uv manages or can fetch, else one on this machine"),
    };
    let dependencies = match &manifest.dependencies {
        None => "install what the build backend says that the project depends on".to_owned(),
        Some(list) if list.is_empty() => "install nothing: the project has no dependencies".to_owned(),
        Some(list) => {
            let list: Vec<&str> = list.iter().map(|requirement| requirement.text.as_str()).collect();
            format!("resolve and install {}", list.join(", "))
        }
    };
    let project = match manifest.has_build_system {
        true => "build the project with its build backend",
        false => "take the project as it is, or build it with setuptools where that knows how",
    };
    let compression = options.defaults.compression.unwrap_or(slots::Compression::GZIP);
    let slot = |id: &str, source: String| PreviewSlot {
        id: id.to_owned(),
        source,
        target: id.to_owned(),
        lifecycle: "runtime",
        operations: compression.of_archive().name(),
        level: options.defaults.level,
        original_size: None,
        files: None,
    };
    let slots = vec![
        slot("python-runtime", "the interpreter".to_owned()),
        slot("python-environment", "the dependencies".to_owned()),
        slot("application-code", format!("the project in {}", manifest.directory.display())),
    ];
    let is_plain = [slots::Compression::GZIP, slots::Compression::None].contains(&compression);
    let needs_all = !is_plain || is_given(&options.key);
    let launcher_size = chosen.size(needs_all);
    Ok(Preview {
        path: output::planned(options.output.as_deref(), &file_name),
        name,
        version,
        platform: platform.to_string(),
        launcher: chosen.name(needs_all).to_owned(),
        launcher_size,
        key: signer(&options.key),
        command: manifest.command.entry_point.to_string(),
        layout: layout(launcher_size, slots.iter().map(|slot| (slot.id.clone(), None))),
        slots,
        steps: vec![interpreter, dependencies, project.to_owned()],
    })
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
