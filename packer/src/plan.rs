//! What is to be packed, independent of where it came from.
//!
//! A manifest becomes a [`Plan`] ([`python`](crate::python) and [`generic`](crate::generic) make one each); what
//! follows knows nothing of manifests. A plan can be shown without packing anything.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use pspf_core::format::{Operation, Operations};
use pspf_core::json::Value;
use pspf_core::metadata::{FORMAT, Lifecycle, Metadata, WORKENV_KEY};
use pspf_core::placement::{self, Placement};

use crate::error::{Error, Kind, Result};
use crate::sbom::Inventory;

/// A package that is about to be made.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The manifest, for errors.
    pub manifest: PathBuf,
    /// The package's name.
    pub name: String,
    /// The package's version.
    pub version: String,
    /// The metadata but for what follows from slots, launcher, key and time.
    pub document: Value<'static>,
    /// The slots, in order.
    pub slots: Vec<PlannedSlot>,
    /// The identity that lives on across versions, such as "dev.example/myapp".
    pub app_id: Option<String>,
    /// A number that grows with every release.
    pub release: u64,
    /// The commands that the package offers: name to command line. One of them is the package's own, unless its name was taken.
    pub entry_points: BTreeMap<String, String>,
    /// True when symbol tables of programs and libraries are to be left out.
    pub strip: bool,
    /// What it is made of, for its SBOM. The manifest's own slots are added when they are encoded.
    pub inventory: Inventory,
    /// What is worth knowing about it.
    pub facts: Facts,
}

/// A slot before it is encoded.
#[derive(Debug, Clone)]
pub struct PlannedSlot {
    /// Its id: unique in the package.
    pub id: String,
    /// Where its content comes from.
    pub source: Source,
    /// That, as a reader of the package should see it.
    pub source_name: String,
    /// Where its content goes, below the workenv; `{workenv}` for its root.
    pub target: String,
    /// What it is for, in a word.
    pub purpose: String,
    /// When it is there.
    pub lifecycle: Lifecycle,
    /// Where it is wanted: 0 anywhere, 1 Linux, 2 macOS, 3 Windows.
    pub platform: u8,
    /// Mode bits; they decide for slots that are one file.
    pub permissions: u16,
    /// How its bytes are stored.
    pub operations: Operations,
    /// How hard to compress: 1 to 9, for zstd to 19. `None` for the compression's default.
    pub level: Option<u64>,
    /// The command lines that are run when the app has ended and the slot is on disk: of a shutdown slot.
    pub commands: Vec<String>,
}

/// Where a slot's content comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A directory, to be made an archive.
    Tree {
        /// The directory.
        path: PathBuf,
        /// Names its content, so that what is made of it can be cached; `None` when that may change.
        key: Option<String>,
        /// Patterns, as in a `.gitignore`, of what is left out.
        exclude: Vec<String>,
    },
    /// A file, to be stored as it is or compressed.
    File {
        /// The file.
        path: PathBuf,
    },
    /// A file that is in the slot's encoding already.
    Encoded {
        /// The file.
        path: PathBuf,
    },
}

/// What is worth knowing about a package, and follows from nothing else in the plan.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The interpreter in it, as "3.11.7".
    pub python: Option<String>,
    /// The oldest glibc that it starts with.
    pub glibc: Option<(u32, u32)>,
}

impl Plan {
    /// Where the slots go: asked of the same code as the launcher asks.
    pub fn placements(&self) -> Result<Vec<Placement>> {
        let slots: Vec<placement::Slot<'_>> = self.slots.iter().map(PlannedSlot::as_placed).collect();
        Ok(placement::among(&slots, &self.written()?.iter().map(String::as_str).collect::<Vec<_>>()))
    }

    /// Slots that stay as they were first extracted, although their lifecycle has them removed, refreshed or kept elsewhere: something else is at
    /// their targets. The launcher asks in the same way (docs/format.md section 3.3).
    pub fn merged(&self) -> Result<Vec<&PlannedSlot>> {
        let written = self.written()?;
        let written: Vec<&str> = written.iter().map(String::as_str).collect();
        let slots = self.slots.iter().map(|slot| placement::Slot { lifecycle: Lifecycle::Runtime, ..slot.as_placed() });
        let slots: Vec<_> = slots.collect();
        let (beside_all, beside_slots) = (placement::among(&slots, &written), placement::among(&slots, &[]));
        let is_merged = |(slot, (all, slots)): &(&PlannedSlot, (&Placement, &Placement))| match slot.lifecycle {
            Lifecycle::Startup | Lifecycle::Config | Lifecycle::Temporary | Lifecycle::Shutdown => {
                !matches!(all, Placement::Shared(_))
            }
            Lifecycle::Init => !matches!(slots, Placement::Shared(_)),
            _ => false,
        };
        let slots = self.slots.iter().zip(beside_all.iter().zip(&beside_slots));
        Ok(slots.filter(is_merged).map(|(slot, _)| slot).collect())
    }

    /// The paths that directories, files, links and modes are written to at the first start.
    fn written(&self) -> Result<Vec<String>> {
        let Value::Object(members) = &self.document else { return Ok(Vec::new()) };
        let mut members = members.clone();
        members.push(("format".into(), FORMAT.into()));
        members.push(("slots".into(), Value::Array(Vec::new())));
        let document = Value::Object(members);
        let metadata = Metadata::read(&document).map_err(|error| {
            Error::new(Kind::Configuration, "the package's metadata make no sense")
                .file(&self.manifest)
                .found(error.to_string())
                .hint("mend that field of the manifest")
        })?;
        Ok(metadata.written_paths().map(str::to_owned).collect())
    }

    /// How large the metadata may become, in bytes of JSON, as long as slots are of one chunk: what is said of each is less than
    /// 1 KiB but for its names, which stand there twice at the most and become six times as long where they are escaped.
    pub fn metadata_at_most(&self) -> u64 {
        let names = |slot: &PlannedSlot| [&slot.id, &slot.target, &slot.source_name, &slot.purpose].map(String::len);
        let of_slots = self.slots.iter().map(|slot| SLOT_AT_MOST + 12 * names(slot).iter().sum::<usize>());
        (self.whole_document().to_text().len() + of_slots.sum::<usize>()) as u64
    }

    /// The document with the command lines of shutdown slots.
    pub fn whole_document(&self) -> Value<'static> {
        let commands: Vec<Value<'static>> =
            self.slots.iter().flat_map(|slot| &slot.commands).map(|line| line.clone().into()).collect();
        let mut document = self.document.clone();
        if let (false, Value::Object(members)) = (commands.is_empty(), &mut document) {
            let ours = member(member(members, "extensions"), WORKENV_KEY);
            ours.push(("shutdown".into(), Value::Array(commands)));
        }
        document
    }

    /// True when the inventory says what is in the slot: interpreter, dependencies, project.
    pub fn accounts_for(&self, slot: &PlannedSlot) -> bool {
        self.facts.python.is_some() && crate::python::is_own(&slot.id)
    }

    /// True when the package needs more than `pspf-launcher` can do ([`launchers`](crate::launchers)).
    pub fn needs_all(&self) -> bool {
        let has_policy = self.document.get("policy").is_some();
        let execution = self.document.get("execution");
        let has_directory = execution.is_some_and(|execution| execution.get("working_directory").is_some());
        let is_choice = self.entry_points.len() > 1;
        let has_slots = self.slots.iter().any(PlannedSlot::needs_all);
        has_policy || has_directory || is_choice || has_slots || self.runs_programs()
    }

    /// True when setup commands run programs.
    fn runs_programs(&self) -> bool {
        let Some(Value::Array(commands)) = self.document.get("setup_commands") else { return false };
        let kinds = commands.iter().filter_map(|command| command.get("type").and_then(Value::as_str));
        kinds.into_iter().any(|kind| matches!(kind, "execute" | "enumerate_and_execute"))
    }
}

/// More than packer writes of a slot in the metadata and the claims together, names and further chunks apart, in bytes.
const SLOT_AT_MOST: usize = 1024;

/// The members of the object of this name, which is added where there is none.
fn member<'m>(members: &'m mut Members, name: &'static str) -> &'m mut Members {
    let at = members.iter().position(|(key, _)| key == name).unwrap_or_else(|| {
        members.push((name.into(), Value::Object(Vec::new())));
        members.len() - 1
    });
    if !matches!(members[at].1, Value::Object(_)) {
        members[at].1 = Value::Object(Vec::new());
    }
    match &mut members[at].1 {
        Value::Object(inner) => inner,
        _ => unreachable!("it was made one just now"),
    }
}

type Members = Vec<(Cow<'static, str>, Value<'static>)>;

impl PlannedSlot {
    /// The small launcher reads what packer writes: gzip with a chunk table, sorted archives; and extracts everything at the first
    /// start. A slot that is never unpacked asks for nothing.
    fn needs_all(&self) -> bool {
        let others = matches!(self.source, Source::Encoded { .. });
        let codec = |step| !matches!(step, Operation::Tar | Operation::Gzip);
        let codecs = self.operations.steps().unwrap_or_default().into_iter().any(codec);
        let later = matches!(
            self.lifecycle,
            Lifecycle::Lazy
                | Lifecycle::Init
                | Lifecycle::Startup
                | Lifecycle::Dev
                | Lifecycle::Platform
                | Lifecycle::Config
                | Lifecycle::Temporary
                | Lifecycle::Shutdown
        );
        self.lifecycle != Lifecycle::Attestation && (others || codecs || later)
    }

    fn as_placed(&self) -> placement::Slot<'_> {
        placement::Slot { target: &self.target, lifecycle: self.lifecycle, is_archive: self.operations.is_archive() }
    }
}
