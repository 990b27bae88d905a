//! The signed JSON document, typed (docs/format.md section 4).
//!
//! What FlavorPack's builders write is read as it is, oddities included; unknown keys are tolerated here, and only
//! inside the claims refused.

use alloc::string::String;
use alloc::vec::Vec;

use crate::claims::Found;
use crate::digest::Digest;
use crate::error::Result;
use crate::fields::{Fields, Problem};
use crate::format::Operations;
use crate::json::Value;
use crate::limits;

/// The value of `format`.
pub const FORMAT: &str = "PSPF/2025";
/// The key under `extensions` for what a workenv needs beyond PSPF/2025: links.
pub const WORKENV_KEY: &str = "x-pspf-workenv";

/// The document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The package's name.
    pub name: String,
    /// The package's version.
    pub version: String,
    /// One for each slot, in order.
    pub slots: Vec<SlotEntry>,
    /// The command line that starts the application; split into words first, placeholders filled in after.
    pub command: String,
    /// Variables set last, for this command.
    pub execution_env: Vec<(String, String)>,
    /// Where the application starts, placeholders filled in when it does; where its caller is when there is none.
    #[cfg(feature = "foreign")]
    pub working_directory: Option<String>,
    /// What is done once in a new workenv, in order.
    pub setup: Vec<SetupCommand>,
    /// What becomes of the caller's environment.
    pub runtime_env: RuntimeEnv,
    /// What a new workenv holds beside the slots.
    pub workenv: Workenv,
    /// The digest of the launch policy, as the index carries it (`attestation_policy_hash`); `None` without a policy, and
    /// for one on whose text builders disagree (docs/format.md section 4).
    pub policy: Option<Digest>,
    /// True when there is a launch policy, whatever its text.
    #[cfg(feature = "foreign")]
    pub has_policy: bool,
    /// What the JSON itself says of the launcher: its size, and its SHA-256 where it is readable.
    pub launcher: Option<(u64, Option<Digest>)>,
    /// The claims.
    pub claims: Found,
}

/// What the JSON says of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotEntry {
    /// Its name.
    pub id: String,
    /// Where its content goes in the workenv.
    pub target: String,
    /// SHA-256 of the stored bytes; absent where the builder wrote less than that.
    pub digest: Option<Digest>,
    /// How the bytes were made, by the JSON's word; in a verified package, by the descriptor's, which launchers go by.
    pub operations: Operations,
    /// What it is for, in words.
    pub purpose: String,
    /// When it is there.
    pub lifecycle: Lifecycle,
}

/// When a slot's content is there (docs/format.md section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Lifecycle {
    /// Until the setup commands have run.
    Init = 0,
    /// Fresh at every start.
    Startup = 1,
    /// From the first start on.
    Runtime = 2,
    /// When the application has ended.
    Shutdown = 3,
    /// As runtime, and may be thrown away.
    Cache = 4,
    /// While one process of the application runs.
    Temporary = 5,
    /// When asked for.
    Lazy = 6,
    /// Before everything else.
    Eager = 7,
    /// Only while developing.
    Dev = 8,
    /// The user's to change, kept by upgrades.
    Config = 9,
    /// Only on its platform.
    Platform = 10,
    /// Never on disk: read by those who inspect.
    Attestation = 11,
}

/// One step in a new workenv.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetupCommand {
    /// Writes a text file; placeholders in path and content are filled in.
    WriteFile {
        /// Below `{workenv}/`.
        path: String,
        /// The whole content.
        content: String,
        /// Mode bits.
        mode: Option<u16>,
    },
    /// Sets mode bits.
    Chmod {
        /// Below `{workenv}/`.
        path: String,
        /// Mode bits.
        mode: u16,
    },
    /// Runs a command.
    Execute {
        /// The command line.
        command: String,
    },
    /// Runs a command once for each file that matches.
    EnumerateAndExecute {
        /// The directory to look in.
        path: String,
        /// A glob for the file names.
        pattern: String,
        /// The command line.
        command: String,
    },
}

/// What becomes of the caller's environment, in the order of application.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuntimeEnv {
    /// Names or globs that are removed.
    pub unset: Vec<String>,
    /// Names or globs that `unset` leaves alone.
    pub pass: Vec<String>,
    /// Old name, new name.
    pub map: Vec<(String, String)>,
    /// Set to these values; placeholders are filled in.
    pub set: Vec<(String, String)>,
}

/// What a new workenv holds beside the slots.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Workenv {
    /// Directories to make: path below `{workenv}/`, mode bits.
    pub directories: Vec<(String, Option<u16>)>,
    /// Variables that depend on it.
    pub env: Vec<(String, String)>,
    /// Symbolic links: path below `{workenv}/`, target.
    pub links: Vec<(String, String)>,
    /// Command lines that are run, one after the other, when the application has ended.
    #[cfg(feature = "foreign")]
    pub shutdown: Vec<String>,
}

impl Metadata {
    /// Reads the document.
    pub fn read(document: &Value<'_>) -> Result<Self> {
        let problem = Problem::default();
        let metadata = Self::from_fields(&Fields::of(document, &problem));
        problem.check()?;
        Ok(metadata)
    }

    fn from_fields(root: &Fields<'_, '_>) -> Self {
        let format = root.str("format");
        if format != FORMAT {
            root.unknown("format", "'PSPF/2025'", format);
        }
        let package = root.object("package");
        let execution = root.object("execution");
        let launcher = root.opt_object("launcher");
        let extensions = root.opt_object("extensions");
        Self {
            name: package.string("name"),
            version: package.string("version"),
            slots: slots(root, SlotEntry::read),
            command: execution.string("command"),
            execution_env: execution.string_map("env"),
            #[cfg(feature = "foreign")]
            working_directory: execution.opt_str("working_directory").map(Into::into),
            setup: root.list("setup_commands", SetupCommand::read),
            runtime_env: RuntimeEnv::read(root),
            workenv: Workenv::read(root, extensions.as_ref()),
            #[cfg(not(feature = "foreign"))]
            policy: None,
            #[cfg(feature = "foreign")]
            policy: root.get("policy").and_then(policy_digest),
            #[cfg(feature = "foreign")]
            has_policy: root.get("policy").is_some(),
            launcher: launcher.and_then(|launcher| Some((launcher.opt_u64("size")?, checksum(&launcher)))),
            claims: extensions.map_or(Found::Nothing, |extensions| Found::read(&extensions)),
        }
    }

    /// The paths below the workenv that something other than a slot is written to.
    pub fn written_paths(&self) -> impl Iterator<Item = &str> {
        let mut paths = Vec::new();
        self.add_written_paths(&mut paths);
        paths.into_iter()
    }

    #[inline(never)]
    pub(crate) fn add_written_paths<'m>(&'m self, paths: &mut Vec<&'m str>) {
        for command in &self.setup {
            if let SetupCommand::WriteFile { path, .. } | SetupCommand::Chmod { path, .. } = command {
                paths.push(path);
            }
        }
        for (path, _) in &self.workenv.directories {
            paths.push(path);
        }
        for (path, _) in &self.workenv.links {
            paths.push(path);
        }
    }
}

/// The `slots` of the document or of the claims, unless there are too many.
pub(crate) fn slots<'v, T>(fields: &Fields<'_, 'v>, read: impl Fn(&Fields<'_, 'v>) -> T) -> Vec<T> {
    let count = fields.array("slots").len() as u64;
    if count > limits::SLOTS.into() {
        fields.note("slots", "at most 4096 slots".into(), count.into());
    }
    fields.list("slots", read)
}

impl SlotEntry {
    fn read(fields: &Fields<'_, '_>) -> Self {
        let operations = fields.opt_str("operations").unwrap_or("raw");
        let lifecycle = fields.opt_str("lifecycle").unwrap_or("runtime");
        Self {
            id: fields.string("id"),
            target: fields.opt_str("target").unwrap_or_default().into(),
            digest: checksum(fields),
            operations: Operations::from_name(operations).unwrap_or_else(|| {
                fields.unknown("operations", "an operation chain like 'tar.gz'", operations);
                Operations::RAW
            }),
            purpose: fields.opt_str("purpose").unwrap_or_default().into(),
            lifecycle: Lifecycle::from_name(lifecycle).unwrap_or_else(|| {
                fields.unknown("lifecycle", "a lifecycle", lifecycle);
                Lifecycle::Runtime
            }),
        }
    }
}

/// FlavorPack's builders disagree on how these characters are written, and then the index has zeros.
#[cfg(feature = "foreign")]
fn policy_digest(policy: &Value<'_>) -> Option<Digest> {
    let text = policy.to_sorted_text();
    let disputed = text.chars().any(|character| matches!(character, '<' | '>' | '&' | '\u{2028}' | '\u{2029}'));
    (!disputed).then(|| Digest::of(text.as_bytes()))
}

impl Lifecycle {
    const ALL: [(Self, &'static str); 12] = [
        (Self::Init, "init"),
        (Self::Startup, "startup"),
        (Self::Runtime, "runtime"),
        (Self::Shutdown, "shutdown"),
        (Self::Cache, "cache"),
        (Self::Temporary, "temporary"),
        (Self::Lazy, "lazy"),
        (Self::Eager, "eager"),
        (Self::Dev, "dev"),
        (Self::Config, "config"),
        (Self::Platform, "platform"),
        (Self::Attestation, "attestation"),
    ];

    /// Reads a name or, with the feature `foreign`, an alias of one.
    pub fn from_name(name: &str) -> Option<Self> {
        #[cfg(feature = "foreign")]
        let name = match name {
            "cached" => "runtime",
            "temp" | "volatile" => "temporary",
            "persistent" => "config",
            other => other,
        };
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(lifecycle, _)| *lifecycle)
    }

    /// The name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(lifecycle, _)| *lifecycle == self).map_or("runtime", |(_, name)| name)
    }
}

impl SetupCommand {
    fn read(fields: &Fields<'_, '_>) -> Self {
        let kind = fields.str("type");
        match kind {
            "write_file" => Self::WriteFile {
                path: fields.string("path"),
                content: fields.opt_str("content").unwrap_or_default().into(),
                mode: fields.mode("mode"),
            },
            "chmod" => {
                fields.need("mode");
                Self::Chmod { path: fields.string("path"), mode: fields.mode("mode").unwrap_or_default() }
            }
            "enumerate_and_execute" => {
                let enumerate = fields.opt_object("enumerate");
                let from = enumerate.as_ref().unwrap_or(fields);
                Self::EnumerateAndExecute {
                    path: from.string("path"),
                    pattern: from.string("pattern"),
                    command: fields.string("command"),
                }
            }
            _ => {
                if kind != "execute" {
                    fields.unknown("type", "execute, enumerate_and_execute, write_file or chmod", kind);
                }
                Self::Execute { command: fields.string("command") }
            }
        }
    }
}

impl RuntimeEnv {
    fn read(root: &Fields<'_, '_>) -> Self {
        let Some(runtime) = root.opt_object("runtime") else { return Self::default() };
        let Some(env) = runtime.opt_object("env") else { return Self::default() };
        Self {
            unset: env.strings("unset"),
            pass: env.strings("pass"),
            map: env.string_map("map"),
            set: env.string_map("set"),
        }
    }
}

impl Workenv {
    fn read(root: &Fields<'_, '_>, extensions: Option<&Fields<'_, '_>>) -> Self {
        let mut workenv = Self::default();
        if let Some(fields) = root.opt_object("workenv") {
            workenv.directories = fields.list("directories", |entry| (entry.string("path"), entry.mode("mode")));
            workenv.env = fields.string_map("env");
        }
        if let Some(ours) = extensions.and_then(|extensions| extensions.opt_object(WORKENV_KEY)) {
            workenv.links = ours.list("links", |link| (link.string("path"), link.string("target")));
            #[cfg(feature = "foreign")]
            {
                workenv.shutdown = ours.strings("shutdown");
            }
        }
        workenv
    }
}

/// `sha256:` before 64 digits; FlavorPack's Rust builder writes the prefix twice, and attestation slots have 16
/// bare digits, which are no SHA-256.
fn checksum(fields: &Fields<'_, '_>) -> Option<Digest> {
    let mut text = fields.get("checksum")?.as_str()?;
    while let Some(rest) = text.strip_prefix("sha256:") {
        text = rest;
    }
    Digest::from_hex(text)
}
