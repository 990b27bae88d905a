//! A manifest becomes a package: plan, encode, sign, write beside the output, verify, rename.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pspf_core::Digest;
use pspf_core::ErrorKind;
use pspf_core::build::{Builder, Encoded, Slot};
use pspf_core::format::Operations;
use pspf_core::json::Value;
use pspf_core::layout::Rules;
use pspf_core::limits;
use pspf_core::metadata::Lifecycle;
use pspf_core::placement::Placement;
use pspf_core::sign::{KeyId, KeyOrigin};
use serde::Serialize;

use crate::error::{Error, Kind, Result};
use crate::keys::{self, Choice};
use crate::launchers::Dialect;
use crate::manifest::{self, Input, Manifest};
use crate::output::{Checks, Judge, Output, Stored};
use crate::plan::{Plan, PlannedSlot};
use crate::platform::{Os, Platform};
use crate::progress::Progress;
use crate::python::Hooks;
use crate::sbom::{self, Summary};
use crate::slots::{self, Encoding, Reader, Symbols};
use crate::{foreign, generic, launchers, places, python};

/// What to pack, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The manifest, or the directory that has one.
    pub manifest: PathBuf,
    /// The package to write, or the directory to write it to; the current directory when absent.
    pub output: Option<PathBuf>,
    /// The interpreter: a prefix, an executable or an archive.
    pub python: Option<PathBuf>,
    /// The project's extras to install.
    pub extras: Vec<String>,
    /// Whether to install what the project's lock pins, or nothing.
    pub frozen: bool,
    /// The launcher in front of the package.
    pub launcher: launchers::Choice,
    /// What the package runs on; what the launcher does when absent.
    pub platform: Option<Platform>,
    /// The key that signs.
    pub key: Choice,
    /// What slots get that the manifest gives no compression or no level of their own.
    pub defaults: slots::Defaults,
    /// What becomes of debugging information in ELF files.
    pub symbols: slots::Symbols,
    /// How many threads compress; one for each processor when absent.
    pub jobs: Option<NonZeroUsize>,
    /// What is done with the package once it is written.
    pub check: Check,
}

/// What is done with a package once it is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Check {
    /// It is read again and verified as a whole before it gets its name.
    #[default]
    Verify,
    /// Nothing: for those who verify it themselves.
    Skip,
}

/// A package that was written and verified.
#[derive(Debug, Clone, Serialize)]
pub struct Packed {
    /// Where it is.
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it runs on, as "linux_amd64".
    pub platform: String,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it was read again and verified as a whole.
    pub verified: bool,
    /// The launcher, by the name that `packer launchers list` shows, or its file.
    pub launcher: String,
    /// The launcher's size in bytes.
    pub launcher_size: u64,
    /// Its slots, but for the one with the SBOM.
    pub slots: Vec<PackedSlot>,
    /// What it says of its parts; absent when the manifest brings an attestation of its own.
    pub sbom: Option<Summary>,
    /// The key that signed it.
    pub key_id: String,
    /// How that key came to be: given, auto or seed.
    pub key_origin: &'static str,
    /// The interpreter in it; absent when packer put none there.
    pub python: Option<String>,
    /// The oldest glibc that it starts with, as "2.34"; absent when nothing is known to need glibc.
    pub glibc: Option<String>,
    /// The commands that it offers.
    pub commands: Vec<String>,
}

/// One slot of a package that was written.
#[derive(Debug, Clone, Serialize)]
pub struct PackedSlot {
    /// Its id.
    pub id: String,
    /// How many bytes it takes in the package.
    pub size: u64,
    /// How many bytes it was made from.
    pub original_size: u64,
    /// How many files.
    pub files: u64,
}

/// Packs a project. The output appears complete or not at all.
pub fn pack(options: &Options, progress: &dyn Progress) -> Result<Packed> {
    let packed = match options.jobs {
        None => make(options, progress),
        Some(jobs) => {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs.get()).build();
            let pool = pool.map_err(|error| {
                Error::new(Kind::Io, "so many threads cannot be started")
                    .field("--jobs")
                    .found(error.to_string())
                    .hint("choose a smaller number")
            })?;
            pool.install(|| make(options, progress))
        }
    };
    // Whatever failed because it was stopped, stopping is the reason.
    packed.map_err(|error| if progress.is_cancelled() { Error::cancelled() } else { error })
}

fn make(options: &Options, progress: &dyn Progress) -> Result<Packed> {
    let input = manifest::open(&options.manifest)?;
    let chosen = match launchers::choose(&options.launcher, options.platform) {
        Err(error) => return Err(lacks_launcher(&input, options, error, progress)),
        Ok(chosen) => chosen,
    };
    let (dialect, platform) = (chosen.dialect, chosen.platform);
    let key = keys::load(&options.key, progress)?;
    let timestamp = build_timestamp()?;
    // An output that cannot be written is told before the work, not after it.
    let output = Output::prepare(options.output.as_deref())?;
    let stage = tempfile::Builder::new()
        .prefix("packer-")
        .tempdir()
        .map_err(|error| Error::io("cannot create a temporary directory", std::env::temp_dir(), &error))?;
    let cache = places::build_cache()?;

    let (mut plan, hooks) = plan(&input, options, platform, stage.path(), &cache, progress)?;
    let prefixes = match dialect {
        Dialect::Packer => Vec::new(),
        Dialect::FlavorPack => foreign::adapt(&mut plan, progress)?,
    };
    // A key that somebody gave is one that others can know, and ask for.
    let needs_all = plan.needs_all() || key.origin == KeyOrigin::Given;
    let launcher_name = chosen.name(needs_all).to_owned();
    let launcher = chosen.program(needs_all)?;
    let slots_stage = subdirectory(stage.path(), "slots")?;
    let file_name = file_name(&plan.name, &plan.version, platform);
    let own = output.files(&file_name);
    let reader = match dialect {
        Dialect::Packer => Reader::Packer,
        Dialect::FlavorPack => Reader::FlavorPack { prefixes: &prefixes },
    };
    let symbols = if plan.strip { Symbols::Strip } else { options.symbols };
    let encoding = Encoding { stage: &slots_stage, cache: &cache, own: &own, symbols, reader, progress };
    let sign = |encoded: Vec<Encoded>| {
        let builder = Builder::new(with_build(plan.whole_document(), timestamp, platform), &launcher)?
            .app_id(plan.app_id.clone(), plan.release)
            .build_timestamp(timestamp)
            .layout(LAYOUT)
            .entry_points(plan.entry_points.clone().into_iter().collect());
        let attestation = encoded.get(plan.slots.len()).cloned().map(attestation_slot);
        let slots = plan.slots.iter().zip(encoded).map(|(slot, encoded)| builder_slot(slot, encoded));
        slots.chain(attestation).fold(builder, Builder::slot).sign(&key.secret, key.origin)
    };
    // A manifest may bring an attestation that somebody else wrote.
    let is_attested = plan.slots.iter().any(|slot| slot.lifecycle == Lifecycle::Attestation);
    let none_yet = (!is_attested).then(|| attested(Digest([0; 32]), 0));
    // More slots than the metadata can describe are told before the work, not after it. Where they are far from that many, the
    // memory for trying is saved.
    if plan.metadata_at_most() > limits::METADATA_WRITTEN {
        sign(plan.slots.iter().map(slots::least).chain(none_yet).collect())
            .map_err(|error| cannot_sign(&error, &plan))?;
    }

    let (mut encoded, mut stored, mut packed) = (Vec::new(), Vec::new(), Vec::new());
    for ((index, slot), placement) in plan.slots.iter().enumerate().zip(&plan.placements()?) {
        progress.check()?;
        let (facts, path) = encoding.encode(index, slot, placement)?;
        stored.push(Stored::new(path, facts.size));
        packed.push(PackedSlot {
            id: slot.id.clone(),
            size: facts.size,
            original_size: facts.original_size,
            files: facts.files,
        });
        encoded.push(facts);
    }
    let mut sbom = None;
    if !is_attested {
        let digest = |(slot, encoded): (&PlannedSlot, &Encoded)| (slot.id.clone(), encoded.digest.to_string());
        let (own, parts): (Vec<_>, Vec<_>) =
            plan.slots.iter().zip(&encoded).partition(|(slot, _)| plan.accounts_for(slot));
        let facts = sbom::Facts {
            moment: &moment(timestamp),
            platform,
            launcher: Digest::of(&launcher).to_string(),
            slots: parts.into_iter().map(digest).collect(),
            of_components: own.into_iter().map(digest).collect(),
            symbols,
        };
        let (content, summary) = plan.inventory.attestation(&facts)?;
        let path = slots_stage.join(sbom::SLOT);
        fs::write(&path, &content).map_err(|error| Error::io("cannot write", &path, &error))?;
        stored.push(Stored::new(path, content.len() as u64));
        encoded.push(attested(Digest::of(&content), content.len() as u64));
        sbom = Some(summary);
    }
    progress.stage("signing and writing", None);
    let head = sign(encoded).map_err(|error| cannot_sign(&error, &plan))?;
    let after = |package: &Path| hooks.as_ref().map_or(Ok(()), |hooks| hooks.after(package, progress));
    let judge = hooks.as_ref().is_some_and(Hooks::follow).then_some(&after as &Judge<'_>);
    let checks = Checks { check: options.check, judge };
    let path = output.publish(&file_name, &head, &launcher, &stored, checks, progress)?;
    let key_id = KeyId::of(&key.secret.public_key());
    Ok(Packed {
        path,
        size: head.layout().package_size,
        verified: options.check == Check::Verify,
        launcher: launcher_name,
        launcher_size: launcher.len() as u64,
        slots: packed,
        sbom,
        platform: platform.to_string(),
        key_id: key_id.to_string(),
        key_origin: key.origin.name(),
        python: plan.facts.python,
        glibc: plan.facts.glibc.map(|(major, minor)| format!("{major}.{minor}")),
        commands: plan.entry_points.into_keys().collect(),
        name: plan.name,
        version: plan.version,
    })
}

/// What the manifest asks for; for a Python project, with everything in it built below `stage`, and what follows.
pub(crate) fn plan(
    input: &Input,
    options: &Options,
    platform: Platform,
    stage: &Path,
    cache: &Path,
    progress: &dyn Progress,
) -> Result<(Plan, Option<Hooks>)> {
    let (mut plan, hooks) = match input {
        Input::Python(manifest) => {
            let stage = subdirectory(stage, "python")?;
            let request = request(manifest, options, platform, &stage, cache);
            let (plan, hooks) = python::plan(manifest, python::stage(&request, progress)?)?;
            (plan, Some(hooks))
        }
        Input::Generic(manifest) => {
            let given = [
                ("--python", options.python.is_some()),
                ("--extra", !options.extras.is_empty()),
                ("--frozen", options.frozen),
            ];
            if let Some((name, _)) = given.into_iter().find(|(_, given)| *given) {
                return Err(Error::new(Kind::Arguments, "this manifest packs no Python")
                    .file(&manifest.path)
                    .field(name)
                    .hint(format!("leave {name} out, or pack the project's pyproject.toml")));
            }
            (generic::plan(manifest, platform, progress)?, None)
        }
    };
    for slot in plan.merged()? {
        progress.note(&format!(
            "slot {} shares its place with something else, so it stays as it was first extracted, whatever {} means elsewhere",
            slot.id,
            slot.lifecycle.name()
        ));
    }
    apply_defaults(&mut plan, input, options)?;
    Ok((plan, hooks))
}

/// The options, as far as they are about a Python project.
pub(crate) fn request<'a>(
    manifest: &'a Manifest,
    options: &'a Options,
    platform: Platform,
    stage: &'a Path,
    cache: &'a Path,
) -> python::Request<'a> {
    python::Request {
        manifest,
        python: options.python.as_deref(),
        stage,
        cache,
        extras: &options.extras,
        frozen: options.frozen,
        platform,
    }
}

/// Gives the slots what the options say and the manifest does not.
pub(crate) fn apply_defaults(plan: &mut Plan, input: &Input, options: &Options) -> Result<()> {
    plan.slots.iter_mut().try_for_each(|slot| options.defaults.apply(slot, names_operations(input, &slot.id)))
}

/// Whether the manifest says how the slot is stored.
fn names_operations(input: &Input, id: &str) -> bool {
    let slots = match input {
        Input::Python(manifest) => &manifest.flavor.slots,
        Input::Generic(manifest) => &manifest.slots,
    };
    slots.iter().any(|slot| slot.id == id && slot.operations.is_some())
}

/// What the package is called: NAME-VERSION.psp, and Windows asks for another ending.
pub(crate) fn file_name(name: &str, version: &str, platform: Platform) -> String {
    format!("{name}-{version}.psp{}", if platform.os == Os::Windows { ".exe" } else { "" })
}

/// Whether what runs here runs on the platform.
pub(crate) fn is_here(platform: Platform) -> bool {
    Platform::host().is_none_or(|host| host.fits(platform))
}

/// The error for a launcher that is not there; of a Python project for another platform, with all else that is missing.
fn lacks_launcher(input: &Input, options: &Options, error: Error, progress: &dyn Progress) -> Error {
    let (Input::Python(manifest), Some(platform)) = (input, options.platform) else { return error };
    if is_here(platform) || error.kind() != Kind::Configuration {
        return error;
    }
    let stage = tempfile::tempdir()
        .map_err(|error| Error::io("cannot create a temporary directory", std::env::temp_dir(), &error));
    match stage.and_then(|stage| Ok((stage, places::build_cache()?))) {
        Ok((stage, cache)) => {
            python::missing(&request(manifest, options, platform, stage.path(), &cache), error, progress)
        }
        Err(other) => other,
    }
}

fn subdirectory(parent: &Path, name: &str) -> Result<PathBuf> {
    let path = parent.join(name);
    fs::create_dir(&path).map_err(|error| Error::io("cannot create", &path, &error))?;
    Ok(path)
}

/// The document with its `build` section.
fn with_build(document: Value<'static>, timestamp: u64, platform: Platform) -> Value<'static> {
    let Value::Object(mut members) = document else { return document };
    let platform = Value::object([
        ("os", platform.os.name().into()),
        ("arch", platform.arch.map_or("", |arch| arch.name()).into()),
        ("host", "".into()),
    ]);
    let build = Value::object([
        ("tool", "packer".into()),
        ("tool_version", env!("CARGO_PKG_VERSION").into()),
        ("timestamp", moment(timestamp).into()),
        ("deterministic", true.into()),
        ("platform", platform),
    ]);
    members.push(("build".into(), build));
    Value::Object(members)
}

fn builder_slot(slot: &PlannedSlot, encoded: Encoded) -> Slot {
    Slot {
        id: slot.id.clone(),
        source: slot.source_name.clone(),
        target: slot.target.clone(),
        purpose: slot.purpose.clone(),
        lifecycle: slot.lifecycle,
        platform: slot.platform,
        permissions: slot.permissions,
        operations: slot.operations,
        encoded,
    }
}

/// The slot that says what the package is made of.
fn attestation_slot(encoded: Encoded) -> Slot {
    Slot {
        id: sbom::SLOT.to_owned(),
        source: String::new(),
        target: sbom::SLOT.to_owned(),
        purpose: "data".to_owned(),
        lifecycle: Lifecycle::Attestation,
        platform: 0,
        permissions: 0o644,
        operations: Operations::RAW,
        encoded,
    }
}

/// What there is to know of its content.
fn attested(digest: Digest, size: u64) -> Encoded {
    Encoded::raw(sbom::SLOT, digest, size, &Placement::Unplaced, 0o644)
}

/// Seconds since 1970 as RFC 3339.
fn moment(timestamp: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(timestamp)).to_string()
}

/// Slots follow each other without gaps, since a start has to read each gap.
const LAYOUT: Rules = Rules { meta_gap: 0, table_align: 8, slot_align: 1 };

/// SOURCE_DATE_EPOCH, or the clock.
fn build_timestamp() -> Result<u64> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.parse().map_err(|_| {
            Error::new(Kind::Configuration, "SOURCE_DATE_EPOCH is not a time")
                .field("SOURCE_DATE_EPOCH")
                .expected("seconds since 1970, as in 1735689600")
                .found(format!("{text:?}"))
                .hint("set it to the time of the last commit: git log -1 --format=%ct")
        }),
        Err(_) => Ok(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())),
    }
}

fn cannot_sign(error: &pspf_core::Error, plan: &Plan) -> Error {
    let new = Error::new(Kind::Build, "the package cannot be put together").file(&plan.manifest);
    match error.kind() {
        ErrorKind::TooLarge { allowed, found, .. } if *allowed == limits::METADATA_WRITTEN => {
            let count = plan.slots.len() as u64;
            let fit = count * allowed / (*found).max(1);
            Error::new(Kind::Build, "the package's metadata would be larger than every launcher reads")
                .file(&plan.manifest)
                .expected(format!("at most {allowed} bytes of JSON, enough for about {fit} slots like these"))
                .found(format!("at least {found} bytes for {count} slots"))
                .hint("put several directories or files into one slot, or shorten what the setup commands write")
        }
        _ => new.found(error.to_string()).hint("mend that field of the manifest"),
    }
}
