//! A manifest becomes a package: stage, encode, sign, write beside the output, verify, rename.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pspf_core::build::{Builder, Encoded, Head, Purpose, Slot};
use pspf_core::claims::Chunks;
use pspf_core::digest::Digest;
use pspf_core::format::Operations;
use pspf_core::json::Value;
use pspf_core::metadata::{Lifecycle, Metadata, WORKENV_KEY};
use pspf_core::placement::{self, Placement};
use pspf_core::sign::{KeyId, KeyOrigin};
use pspf_core::source::Source;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::keys::{self, Choice};
use crate::manifest::{self, Manifest};
use crate::package_file::PackageFile;
use crate::progress::Progress;
use crate::python::{self, Staged, Tree, Workenv};
use crate::{launchers, places, slots};

/// What to pack, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The manifest, or the directory that holds `pyproject.toml`.
    pub manifest: PathBuf,
    /// The package to write, or the directory to write it to; the current directory when absent.
    pub output: Option<PathBuf>,
    /// The interpreter: a prefix, an executable or an archive.
    pub python: Option<PathBuf>,
    /// A launcher other than the built-in one.
    pub launcher: Option<PathBuf>,
    /// The key that signs.
    pub key: Choice,
    /// How hard to compress, 0 to 9.
    pub level: u32,
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
    /// Its size in bytes.
    pub size: u64,
    /// The launcher's size in bytes.
    pub launcher_size: u64,
    /// Its slots.
    pub slots: Vec<PackedSlot>,
    /// The key that signed it.
    pub key_id: String,
    /// How that key came to be: given, auto or seed.
    pub key_origin: &'static str,
    /// The interpreter in it.
    pub python: String,
    /// The oldest glibc that it starts with, as "2.34"; absent when nothing in it needs glibc.
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

/// The default of [`Options::level`]: beyond it, time grows much faster than size shrinks.
pub const LEVEL: u32 = 6;

/// Packs a project. The output appears complete or not at all.
pub fn pack(options: &Options, progress: &dyn Progress) -> Result<Packed> {
    // Whatever failed because it was stopped, stopping is the reason.
    make(options, progress).map_err(|error| if progress.is_cancelled() { Error::cancelled() } else { error })
}

fn make(options: &Options, progress: &dyn Progress) -> Result<Packed> {
    let manifest = manifest::read(&options.manifest)?;
    let launcher = read_launcher(options.launcher.as_deref())?;
    let key = keys::load(&options.key, progress)?;
    let timestamp = build_timestamp()?;
    // An output that cannot be written is told before the work, not after it.
    let output = Output::prepare(options.output.as_deref())?;
    let stage = tempfile::Builder::new()
        .prefix("packer-")
        .tempdir()
        .map_err(|error| Error::io("cannot create a temporary directory", std::env::temp_dir(), &error))?;

    let cache = places::build_cache();
    let python_stage = stage.path().join("python");
    fs::create_dir(&python_stage).map_err(|error| Error::io("cannot create", &python_stage, &error))?;
    let request =
        python::Request { manifest: &manifest, python: options.python.as_deref(), stage: &python_stage, cache: &cache };
    let staged = python::stage(&request, progress)?;

    let document = document(&manifest, &staged, timestamp);
    let plan = [
        ("python-runtime", &staged.runtime, Purpose::Runtime),
        ("python-environment", &staged.environment, Purpose::Payload),
        ("application-code", &staged.application, Purpose::Payload),
    ];
    let placements = placements(&document, &plan)?;
    let mut builder = Builder::new(document, &launcher).map_err(|error| cannot_sign(&error, &manifest))?;
    let mut files = Vec::new();
    for ((id, tree, purpose), placement) in plan.into_iter().zip(&placements) {
        progress.check()?;
        let (encoded, path) = encode(id, tree, placement, options.level, stage.path(), &cache, progress)?;
        files.push(File::open(&path).map_err(|error| Error::io("cannot read", &path, &error))?);
        builder = builder.slot(slot(id, purpose, encoded));
    }
    let builder = builder
        .app_id(manifest.flavor.app_id.clone(), manifest.flavor.release.unwrap_or(0))
        .build_timestamp(timestamp)
        .entry_points(staged.entry_points.clone().into_iter().collect());

    progress.stage("signing and writing", None);
    let head = builder.sign(&key.secret, key.origin).map_err(|error| cannot_sign(&error, &manifest))?;
    let file_name = format!("{}-{}.psp", staged.name, staged.version);
    let path = output.publish(&file_name, &head, &launcher, &files, progress)?;
    summary(path, &staged, &head, &launcher, KeyId::of(&key.secret.public_key()), key.origin)
}

/// The directory and name of the output, and the file that becomes it.
struct Output {
    directory: PathBuf,
    /// `None`: named like the package.
    name: Option<PathBuf>,
    file: Option<tempfile::NamedTempFile>,
    /// The first directory that was made for it, to take away again when nothing comes of it.
    made: Option<PathBuf>,
}

impl Output {
    fn prepare(output: Option<&Path>) -> Result<Self> {
        let (directory, name) = match output {
            None => (PathBuf::from("."), None),
            Some(path) if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") => {
                (path.to_path_buf(), None)
            }
            Some(path) => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                (parent.unwrap_or(Path::new(".")).to_path_buf(), path.file_name().map(PathBuf::from))
            }
        };
        let made =
            directory.ancestors().take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists()).last();
        let mut new = Self { made: made.map(Path::to_path_buf), directory, name, file: None };
        fs::create_dir_all(&new.directory)
            .map_err(|error| Error::io("cannot create the output directory", &new.directory, &error))?;
        let file = tempfile::Builder::new()
            .prefix(".packer-")
            .suffix(".tmp")
            .permissions(executable())
            .tempfile_in(&new.directory)
            .map_err(|error| Error::io("cannot write to the output directory", &new.directory, &error))?;
        new.file = Some(file);
        Ok(new)
    }

    /// Writes the package, reads it back and verifies it, and gives it its name.
    fn publish(
        mut self,
        name: &str,
        head: &Head,
        launcher: &Vec<u8>,
        slots: &[File],
        progress: &dyn Progress,
    ) -> Result<PathBuf> {
        let name = self.name.take().unwrap_or_else(|| PathBuf::from(name));
        let path = if self.directory == Path::new(".") { name } else { self.directory.join(name) };
        let Some(mut file) = self.file.take() else {
            return Err(Error::new(Kind::Io, "the output was written before").file(&path));
        };
        let failed = |error: &io::Error| Error::io("cannot write the package", &path, error);
        let mut sink = Watched { file: file.as_file_mut(), progress, error: None };
        let sources: Vec<&dyn Source> = slots.iter().map(|slot| slot as &dyn Source).collect();
        if let Err(error) = head.write(launcher, &sources, &mut sink) {
            return Err(match sink.error.take() {
                Some(error) if error.kind() == io::ErrorKind::Interrupted => Error::cancelled(),
                Some(error) => failed(&error),
                None => {
                    Error::new(Kind::Io, "cannot read what is to be packed").found(error.to_string()).hint("pack again")
                }
            });
        }
        file.as_file().sync_data().map_err(|error| failed(&error))?;
        progress.stage("verifying what was written", None);
        PackageFile::open(file.path()).and_then(|written| written.verify_whole().map(drop)).map_err(|error| {
            Error::new(Kind::Integrity, "what was written is not what was meant, so it was thrown away")
                .file(&path)
                .found(error.to_string().replace('\n', ";"))
                .hint("check the disk and the memory of this machine, and pack again")
        })?;
        progress.check()?;
        file.persist(&path).map_err(|error| failed(&error.error))?;
        self.made = None;
        Ok(path)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.file = None;
        if let Some(made) = &self.made {
            // Only when they are still empty; somebody else may have begun to use them.
            let mut directory = Some(self.directory.as_path());
            while let Some(path) = directory.filter(|path| path.starts_with(made)) {
                if fs::remove_dir(path).is_err() {
                    break;
                }
                directory = path.parent();
            }
        }
    }
}

/// Writes to the output, stops when told to, and keeps the error, which says more than the one that the core passes on.
struct Watched<'a> {
    file: &'a mut File,
    progress: &'a dyn Progress,
    error: Option<io::Error>,
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = if self.progress.is_cancelled() {
            Err(io::Error::from(io::ErrorKind::Interrupted))
        } else {
            self.file.write(bytes)
        };
        match written {
            Ok(count) => {
                self.progress.advance(count as u64);
                Ok(count)
            }
            Err(error) => {
                let kind = error.kind();
                self.error = Some(error);
                // `write_all` would try again after `Interrupted`.
                Err(if kind == io::ErrorKind::Interrupted { io::ErrorKind::Other.into() } else { kind.into() })
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// What is remembered of a slot that was encoded before.
#[derive(Serialize, Deserialize)]
struct Remembered {
    size: u64,
    original_size: u64,
    digest: String,
    tree: String,
    files: u64,
    chunk: u64,
    stored: Vec<u32>,
}

/// Encodes a tree, or finds what came of it the last time.
fn encode(
    id: &str,
    tree: &Tree,
    placement: &Placement,
    level: u32,
    stage: &Path,
    cache: &Path,
    progress: &dyn Progress,
) -> Result<(Encoded, PathBuf)> {
    let name = |key: &str| {
        let writable = if matches!(placement, Placement::Shared(_)) { "shared" } else { "private" };
        cache.join("slots").join(format!("{key}-{writable}-{level}-{}", env!("CARGO_PKG_VERSION")))
    };
    let cached = tree.key.as_deref().map(name);
    if let Some(cached) = &cached
        && let Some(encoded) = recall(cached)
    {
        return Ok((encoded, cached.join("stored")));
    }
    progress.stage(&format!("compressing {id}"), None);
    let directory = stage.join(format!("slot-{id}"));
    let failed = |error: io::Error| Error::io("cannot write", &directory, &error);
    fs::create_dir(&directory).map_err(failed)?;
    let stored = directory.join("stored");
    let encoded = slots::encode_tree(&tree.path, placement, level, &stored, progress)?;
    if let Some(cached) = &cached {
        remember(&directory, &encoded, cached);
        if cached.join("stored").is_file() && recall(cached).as_ref() == Some(&encoded) {
            return Ok((encoded, cached.join("stored")));
        }
    }
    Ok((encoded, stored))
}

fn recall(cached: &Path) -> Option<Encoded> {
    let text = fs::read(cached.join("facts.json")).ok()?;
    let facts: Remembered = serde_json::from_slice(&text).ok()?;
    let digest = Digest::from_hex(&facts.digest)?;
    let encoded = Encoded {
        size: facts.size,
        original_size: facts.original_size,
        digest,
        tree: Some(Digest::from_hex(&facts.tree)?),
        files: facts.files,
        chunks: Some(Chunks { original: facts.chunk, stored: facts.stored }),
    };
    // A damaged cache would only show after signing.
    let stored = File::open(cached.join("stored")).ok()?;
    (stored.len() == encoded.size && digest_of(stored).ok()? == digest).then_some(encoded)
}

/// Keeps an encoded slot for the next time. A cache that cannot be written is no reason not to pack.
fn remember(directory: &Path, encoded: &Encoded, cached: &Path) {
    let Encoded { size, original_size, digest, tree: Some(tree), files, chunks: Some(chunks) } = encoded else {
        return;
    };
    let facts = Remembered {
        size: *size,
        original_size: *original_size,
        digest: digest.to_string(),
        tree: tree.to_string(),
        files: *files,
        chunk: chunks.original,
        stored: chunks.stored.clone(),
    };
    let Some(parent) = cached.parent() else { return };
    let kept = || -> io::Result<()> {
        fs::create_dir_all(parent)?;
        let beside = tempfile::Builder::new().prefix(".tmp-").tempdir_in(parent)?;
        fs::write(beside.path().join("facts.json"), serde_json::to_vec(&facts)?)?;
        fs::copy(directory.join("stored"), beside.path().join("stored"))?;
        // What is there under this name and was not recalled is damaged.
        if cached.exists() {
            fs::remove_dir_all(cached)?;
        }
        fs::rename(beside.path(), cached)
    };
    let _ = kept();
}

fn digest_of(mut file: File) -> io::Result<Digest> {
    let mut hasher = pspf_core::digest::Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match io::Read::read(&mut file, &mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

fn slot(id: &str, purpose: Purpose, encoded: Encoded) -> Slot {
    Slot {
        id: id.into(),
        source: id.into(),
        target: id.into(),
        purpose,
        lifecycle: Lifecycle::Runtime,
        platform: LINUX,
        permissions: 0o755,
        operations: Operations::TAR_GZIP,
        encoded,
    }
}

/// Where the slots go: asked of the same code as the launcher asks.
fn placements(document: &Value<'_>, plan: &[(&str, &Tree, Purpose); 3]) -> Result<Vec<Placement>> {
    let Value::Object(members) = document else { return Ok(Vec::new()) };
    let mut members = members.clone();
    members.push(("format".into(), pspf_core::metadata::FORMAT.into()));
    members.push(("slots".into(), Value::Array(Vec::new())));
    let document = Value::Object(members);
    let metadata = Metadata::read(&document).map_err(|error| {
        Error::new(Kind::Configuration, "the package's metadata make no sense").found(error.to_string())
    })?;
    let written: Vec<&str> = metadata.written_paths().collect();
    let slots: Vec<placement::Slot<'_>> = plan
        .iter()
        .map(|(id, ..)| placement::Slot { target: id, lifecycle: Lifecycle::Runtime, is_archive: true })
        .collect();
    Ok(placement::among(&slots, &written))
}

/// The metadata that are not derived from slots, launcher and key.
fn document(manifest: &Manifest, staged: &Staged, timestamp: u64) -> Value<'static> {
    let workenv = &staged.workenv;
    let moment = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(timestamp)).to_string();
    let mut package = vec![("name", staged.name.clone().into()), ("version", staged.version.clone().into())];
    if let Some(description) = &manifest.description {
        package.push(("description", description.clone().into()));
    }
    Value::object([
        ("package", Value::object(package)),
        (
            "execution",
            Value::object([
                ("command", launcher::text::quote(&workenv.command).into()),
                ("env", Value::Object(Vec::new())),
            ]),
        ),
        ("setup_commands", Value::Array(workenv.files.iter().map(write_file).collect())),
        ("runtime", Value::object([("env", runtime_env(workenv))])),
        (
            "workenv",
            Value::object([(
                "directories",
                Value::Array(
                    workenv
                        .directories
                        .iter()
                        .map(|path| Value::object([("path", path.clone().into()), ("mode", "0755".into())]))
                        .collect(),
                ),
            )]),
        ),
        (
            "build",
            Value::object([
                ("tool", "packer".into()),
                ("tool_version", env!("CARGO_PKG_VERSION").into()),
                ("timestamp", moment.into()),
                ("deterministic", true.into()),
                ("platform", Value::object([("os", "linux".into()), ("arch", "amd64".into()), ("host", "".into())])),
            ]),
        ),
        (
            "extensions",
            Value::object([(
                WORKENV_KEY,
                Value::object([("links", Value::Array(workenv.links.iter().map(link).collect()))]),
            )]),
        ),
    ])
}

fn write_file(file: &python::WorkenvFile) -> Value<'static> {
    Value::object([
        ("type", "write_file".into()),
        ("path", file.path.clone().into()),
        ("content", file.content.clone().into()),
        ("mode", format!("{:04o}", file.mode).into()),
    ])
}

fn link((path, target): (&String, &String)) -> Value<'static> {
    Value::object([("path", path.clone().into()), ("target", target.clone().into())])
}

fn runtime_env(workenv: &Workenv) -> Value<'static> {
    let set = workenv.set.iter().map(|(name, value)| (Cow::Owned(name.clone()), value.clone().into())).collect();
    Value::object([
        ("unset", Value::array(workenv.unset.iter().cloned())),
        ("pass", Value::array(workenv.pass.iter().cloned())),
        ("set", Value::Object(set)),
    ])
}

fn read_launcher(path: Option<&Path>) -> Result<Vec<u8>> {
    match (path, launchers::built_in()) {
        (Some(path), _) => {
            let launcher = fs::read(path).map_err(|error| Error::io("cannot read the launcher", path, &error))?;
            if launcher.starts_with(b"\x7fELF")
                || launcher.starts_with(b"MZ")
                || launcher.starts_with(&[0xcf, 0xfa, 0xed, 0xfe])
            {
                return Ok(launcher);
            }
            Err(Error::new(Kind::Arguments, "the launcher is not a program")
                .file(path)
                .field("--launcher-bin")
                .expected("an ELF, Mach-O or PE executable")
                .hint("leave --launcher-bin out to use the built-in one"))
        }
        (None, Some(launcher)) => Ok(launcher.to_vec()),
        (None, None) => Err(Error::new(Kind::Configuration, "this build of packer has no launcher of its own")
            .hint("give one with --launcher-bin FILE")),
    }
}

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

fn cannot_sign(error: &pspf_core::Error, manifest: &Manifest) -> Error {
    Error::new(Kind::Build, "the package cannot be put together")
        .file(&manifest.path)
        .found(error.to_string())
        .hint("make slots or metadata smaller")
}

fn summary(
    path: PathBuf,
    staged: &Staged,
    head: &Head,
    launcher: &[u8],
    key_id: KeyId,
    key_origin: KeyOrigin,
) -> Result<Packed> {
    let written = PackageFile::open(&path)?;
    let verified = written.verify()?;
    let slots = verified.claims().into_iter().flat_map(|claims| &claims.slots).map(|slot| PackedSlot {
        id: slot.id.clone(),
        size: slot.size,
        original_size: slot.original_size,
        files: slot.files,
    });
    Ok(Packed {
        name: staged.name.clone(),
        version: staged.version.clone(),
        size: head.layout().package_size,
        launcher_size: launcher.len() as u64,
        slots: slots.collect(),
        key_id: key_id.to_string(),
        key_origin: key_origin.name(),
        python: staged.python.version.to_string(),
        glibc: staged.glibc.map(|(major, minor)| format!("{major}.{minor}")),
        commands: staged.entry_points.keys().cloned().collect(),
        path,
    })
}

fn executable() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o755)
}

/// The slot descriptor's number for Linux.
const LINUX: u8 = 1;
