//! One small application, packed by packer or by the reference, and every way to start it.

use std::cell::Cell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pspf_core::Digest;
use pspf_core::build::{Builder, Encoded, Slot};
use pspf_core::claims::Chunks;
use pspf_core::format::Operations;
use pspf_core::json::Value;
use pspf_core::placement::Placement;
use pspf_core::sign::{KeyOrigin, SecretKey};
use serde_json::json;

use super::package::{copy_package, packer};
use super::process::{Finish as _, Finished};
use super::reference::{self, Launcher, Reference};
use super::scratch::Scratch;

/// The application. What it prints says which of its files it was made of.
pub const APP: &str = r#"#!/bin/sh
cd "$FLAVOR_WORKENV" || exit 1
echo app good
cat share/word
for word in part*/word; do [ ! -e "$word" ] || cat "$word"; done | sort -u
for file in archive/*; do [ ! -e "$file" ] || stat -c "%n: %F %a" "$file"; done
[ -z "$PYTHONPATH$PYTHONHOME" ] || echo python is led astray
"#;
/// What a start prints as long as nothing was changed.
pub const GOOD: &str = "app good\nword one\n";
/// The key of its maker, by its seed.
pub const KEY: &str = "interop";
/// A start that takes longer is killed, in seconds. The reference waits for a minute in places, and inflates slowly.
const PATIENCE: u64 = 300;

/// Who made the package, and whose launcher is in front of it.
#[derive(Debug)]
pub enum Maker {
    /// packer, with this launcher.
    Packer(&'static [u8]),
    /// The reference's builder in Rust, with this launcher.
    Reference(Reference, Launcher),
}

/// How a package is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The file is executed.
    Itself,
    /// The same, by a user whose policy refuses a key that changed. Only packages with packer's larger launcher start there.
    UnderPolicy,
    /// By `packer run`.
    PackerRun,
}

/// The application of one maker, and a user who has never started it.
pub struct Victim {
    pub scratch: Scratch,
    pub maker: Maker,
    number: Cell<u32>,
}

/// What came of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It ended with this code, a reason, and without a word of the application.
    Refused(i32),
    /// The application ran as its maker signed it.
    AsSigned,
    /// Something else ran.
    Ran(String),
    /// It ended by a signal, or by what the language does when a check of its own fails.
    Crashed(String),
    /// It had to be killed.
    Hung,
    /// It takes part in nothing: this maker has no such thing.
    Nothing,
}

/// A slot: id, target, operations, permissions and stored bytes.
#[derive(Debug, Clone)]
pub struct Stored<'a> {
    pub id: &'a str,
    pub target: &'a str,
    pub operations: Operations,
    pub bytes: &'a [u8],
    /// What it claims to inflate to, as one chunk; `None` where nothing inflates.
    pub original_size: Option<u64>,
}

impl<'a> Stored<'a> {
    /// A file that is stored as it is. Those in `bin/` are executable.
    pub fn file(id: &'a str, target: &'a str, bytes: &'a [u8]) -> Self {
        Self { id, target, operations: Operations::RAW, bytes, original_size: None }
    }

    /// An archive that is unpacked into the workenv's root: where all launchers unpack it.
    pub fn archive(bytes: &'a [u8]) -> Self {
        Self { id: "archive", target: "{workenv}", operations: Operations::TAR, bytes, original_size: None }
    }

    fn permissions(&self) -> u16 {
        if self.target.starts_with("bin/") { 0o755 } else { 0o644 }
    }
}

impl Victim {
    pub fn of(maker: Maker) -> Self {
        Self { scratch: Scratch::new(), maker, number: Cell::new(0) }
    }

    /// Packed and signed: what a start prints [`GOOD`] of.
    pub fn good(&self) -> PathBuf {
        self.pack("one", &[])
    }

    /// With another word, and more slots behind the program (number 0) and the word (number 1).
    pub fn pack(&self, word: &str, more: &[Stored<'_>]) -> PathBuf {
        let word = format!("word {word}\n");
        let mut slots =
            vec![Stored::file("app", "bin/app", APP.as_bytes()), Stored::file("word", "share/word", word.as_bytes())];
        slots.extend(more.iter().cloned());
        match &self.maker {
            Maker::Packer(launcher) => self.pack_by_packer(launcher, &slots),
            Maker::Reference(reference, launcher) => self.pack_by_reference(reference, *launcher, &slots),
        }
    }

    /// These bytes as a file that can be started at once. Each call gives it the same name in a directory of its own.
    pub fn put(&self, bytes: &[u8]) -> PathBuf {
        let directory = self.directory();
        let raw = directory.join("raw");
        fs::write(&raw, bytes).expect("a file");
        let package = directory.join("app.psp");
        copy_package(&raw, &package);
        fs::remove_file(raw).expect("a file less");
        Command::new("chmod").arg("755").arg(&package).finish().exits(0);
        package
    }

    /// An empty directory.
    pub fn directory(&self) -> PathBuf {
        self.number.set(self.number.get() + 1);
        self.scratch.dir(&format!("{}", self.number.get()))
    }

    /// A package, about to be started with this directory for everything that it extracts.
    pub fn start(&self, way: Way, package: &Path, cache: &Path) -> Command {
        let mut start = Command::new("timeout");
        start.args(["-s", "KILL", &PATIENCE.to_string()]);
        self.user(&mut start, cache);
        match way {
            Way::Itself => start.arg(package),
            Way::UnderPolicy => start.env("XDG_CONFIG_HOME", self.policy()).arg(package),
            Way::PackerRun => start.arg(packer().get_program()).arg("run").arg(package),
        };
        start
    }

    /// The maker's own verification of a file.
    pub fn verify(&self, package: &Path) -> Command {
        let home = self.scratch.dir("home");
        match &self.maker {
            Maker::Packer(_) => {
                let mut verify = packer();
                self.user(&mut verify, &home);
                verify.arg("verify").arg(package);
                verify
            }
            Maker::Reference(reference, _) => {
                let mut verify = reference.flavor(&home);
                verify.arg("verify").arg(package);
                verify
            }
        }
    }

    /// What a package of the reference extracts into, where that has its cache.
    pub fn reference_instance(&self, package: &Path, cache: &Path) -> PathBuf {
        let name = package.file_stem().expect("a name").to_string_lossy();
        cache.join(format!("flavor/workenv/.{name}.pspf/instance"))
    }

    /// Where a policy is, and what is learnt under it.
    fn policy(&self) -> PathBuf {
        let config = self.scratch.dir("config with a policy");
        let policy = self.scratch.dir("config with a policy/pspf").join("policy.json");
        fs::write(policy, r#"{"version": 1, "trust": {"changed_key": "refuse"}}"#).expect("a policy");
        config
    }

    /// A user with a home of his own and few variables. The reference checks as strictly as it can.
    fn user(&self, command: &mut Command, cache: &Path) {
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", self.scratch.dir("home"));
        command.env("XDG_CONFIG_HOME", self.scratch.dir("config"));
        match self.maker {
            Maker::Packer(_) => command.env("PSPF_CACHE_DIR", cache),
            Maker::Reference(..) => command.env("XDG_CACHE_HOME", cache).env("FLAVOR_VALIDATION", "strict"),
        };
    }

    fn pack_by_packer(&self, launcher: &'static [u8], slots: &[Stored<'_>]) -> PathBuf {
        let document = Value::object([
            ("package", Value::object([("name", "victim".into()), ("version", "1.0".into())])),
            ("execution", Value::object([("command", "{workenv}/bin/app".into())])),
        ]);
        let builder = Builder::new(document, &launcher).expect("a document");
        let builder = builder.app_id(Some("dev.example/victim".to_owned()), 1);
        let builder = slots.iter().fold(builder, |builder, slot| builder.slot(signed_slot(slot)));
        let head = builder.sign(&SecretKey::from_seed_text(KEY), KeyOrigin::Given).expect("a head");
        let sources: Vec<&dyn pspf_core::Source> = slots.iter().map(|slot| &slot.bytes as _).collect();
        let built = self.directory().join("built");
        head.write(&launcher, &sources, &mut File::create(&built).expect("a file")).expect("a package");
        self.put(&fs::read(built).expect("a package"))
    }

    fn pack_by_reference(&self, reference: &Reference, launcher: Launcher, slots: &[Stored<'_>]) -> PathBuf {
        let directory = self.directory();
        let list = slots.iter().enumerate().map(|(number, slot)| {
            let source = format!("source-{number}");
            fs::write(directory.join(&source), slot.bytes).expect("a source");
            json!({
                "slot": number, "id": slot.id, "source": source, "target": slot.target,
                "operations": slot.operations.name(), "purpose": "payload", "lifecycle": "runtime",
                "permissions": format!("{:04o}", slot.permissions()),
            })
        });
        let manifest = json!({
            "format": "PSPF/2025",
            "package": {"name": "victim", "version": "1.0"},
            "execution": {"command": "{workenv}/bin/app"},
            // What its own packager of Python projects writes.
            "runtime": {"env": {"unset": ["PYTHONPATH", "UV_PROJECT_ENVIRONMENT", "PYTHONHOME", "UV_CACHE_DIR",
                                          "VIRTUAL_ENV"]}},
            "slots": list.collect::<Vec<_>>(),
        });
        let launcher = reference.launcher(launcher);
        let built = reference.build(reference::Builder::Rust, &manifest, &directory, &launcher);
        self.put(&fs::read(built).expect("a package"))
    }
}

/// The slot with claims that hold for its stored bytes. An archive claims no tree: its maker may leave that out.
fn signed_slot(stored: &Stored<'_>) -> Slot {
    let permissions = stored.permissions();
    let size = stored.bytes.len() as u64;
    let mut slot = Slot::raw(stored.id, stored.target, &stored.bytes).expect("a slot");
    (slot.operations, slot.permissions) = (stored.operations, permissions);
    slot.encoded = if stored.operations == Operations::RAW {
        let placement = Placement::Shared(stored.target.into());
        Encoded::raw(stored.target, Digest::of(stored.bytes), size, &placement, permissions)
    } else {
        let chunks = stored.original_size.map(|original| Chunks { original, stored: vec![size as u32 - 18] });
        let original_size = stored.original_size.unwrap_or(size);
        Encoded { size, original_size, digest: Digest::of(stored.bytes), tree: None, files: 0, chunks }
    };
    slot
}

impl Outcome {
    /// Looks at what a start has printed: [`GOOD`], or the harm in it. An empty `harm` means that any start is one.
    pub fn of(finished: &Finished, harm: &str) -> Self {
        let stdout = finished.stdout();
        let started = !stdout.is_empty();
        match (finished.code(), finished.signal()) {
            (_, Some(9)) | (Some(137), _) => Self::Hung,
            _ if started && harm.is_empty() => Self::Ran("runs it".to_owned()),
            _ if started && stdout.contains(harm) => Self::Ran("runs it".to_owned()),
            (Some(0), _) if stdout.starts_with(GOOD) => Self::AsSigned,
            (_, Some(signal)) => Self::Crashed(format!("signal {signal}")),
            (Some(code @ 128..), _) => Self::Crashed(format!("signal {}", code - 128)),
            (Some(101), _) => Self::Crashed("panic".to_owned()),
            (Some(_), _) if finished.stderr().contains("goroutine ") => Self::Crashed("panic".to_owned()),
            (Some(0), _) => Self::Ran("runs something else".to_owned()),
            (Some(code), _) if started => Self::Ran(format!("runs, and ends with {code}")),
            (Some(code), _) => Self::Refused(code),
            (None, None) => unreachable!("a process that has ended has a code or a signal"),
        }
    }

    /// As the table has it.
    pub fn words(&self) -> String {
        match self {
            Self::Refused(code) => format!("refused ({code})"),
            Self::AsSigned => "as signed".to_owned(),
            Self::Ran(what) => format!("**{what}**"),
            Self::Crashed(how) => format!("**crashes** ({how})"),
            Self::Hung => format!("**hangs** (over {PATIENCE} s)"),
            Self::Nothing => "–".to_owned(),
        }
    }
}

/// Runs a command to its end, and gives the most memory that was seen in its last process, in MiB.
pub fn with_peak(command: &mut Command) -> (Finished, u64) {
    let what = format!("{command:?}");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a process");
    let pid = child.id();
    let ended = std::sync::atomic::AtomicBool::new(false);
    let (output, peak) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut peak = 0;
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                peak = peak.max(high_water_mark(pid));
                std::thread::sleep(Duration::from_millis(5));
            }
            peak
        });
        let output = child.wait_with_output().expect("its end");
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        (output, watcher.join().expect("the watcher"))
    });
    (Finished::new(what, output), peak >> 10)
}

/// Of a process and its children, in KiB; what has ended has none.
fn high_water_mark(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let own = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let below = children.split_whitespace().filter_map(|child| child.parse().ok()).map(high_water_mark).max();
    own.unwrap_or(0).max(below.unwrap_or(0))
}

/// Runs a command to its end; how long that took is for people to read.
pub fn with_time(command: &mut Command) -> (Finished, Duration) {
    let begun = Instant::now();
    (command.finish(), begun.elapsed())
}
