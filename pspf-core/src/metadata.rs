//! The signed JSON document, typed (docs/format.md section 4).
//!
//! What FlavorPack's builders write is read as it is, oddities included; unknown keys are tolerated here, and only
//! inside the claims refused.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::claims::Found;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::fields::Fields;
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
    /// What is done once in a new workenv, in order.
    pub setup: Vec<SetupCommand>,
    /// What becomes of the caller's environment.
    pub runtime_env: RuntimeEnv,
    /// What a new workenv holds beside the slots.
    pub workenv: Workenv,
    /// The launch policy as it stands in the document.
    pub policy: Option<Value<'static>>,
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
    /// How the bytes were made, by the JSON's word. Launchers go by the descriptor.
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
}

impl Metadata {
    /// Reads the document.
    pub fn read(document: &Value<'_>) -> Result<Self> {
        let root = Fields::of(document, "")?;
        let format = root.str("format")?;
        if format != FORMAT {
            return Err(Error::json("format", "\"PSPF/2025\"", format!("{format:?}")));
        }
        let package = root.object("package")?;
        let execution = root.object("execution")?;
        let slots = root.objects("slots")?;
        if slots.len() as u64 > u64::from(limits::SLOTS) {
            let found = slots.len() as u64;
            return Err(ErrorKind::TooLarge { what: "slots", allowed: limits::SLOTS.into(), found }.into());
        }
        let launcher = match root.opt_object("launcher")? {
            Some(launcher) => launcher.opt_u64("size")?.map(|size| (size, checksum(&launcher))),
            None => None,
        };
        Ok(Self {
            name: package.str("name")?.into(),
            version: package.str("version")?.into(),
            slots: slots.iter().map(SlotEntry::read).collect::<Result<_>>()?,
            command: execution.str("command")?.into(),
            execution_env: execution.string_map("env")?,
            setup: root.objects("setup_commands")?.iter().map(SetupCommand::read).collect::<Result<_>>()?,
            runtime_env: RuntimeEnv::read(root.opt_object("runtime")?)?,
            workenv: Workenv::read(&root)?,
            policy: root.get("policy").map(|policy| policy.clone().into_owned()),
            launcher,
            claims: Found::read(root.opt_object("extensions")?)?,
        })
    }

    /// The paths below the workenv that something other than a slot is written to.
    pub fn written_paths(&self) -> impl Iterator<Item = &str> {
        let setup = self.setup.iter().filter_map(|command| match command {
            SetupCommand::WriteFile { path, .. } | SetupCommand::Chmod { path, .. } => Some(path.as_str()),
            SetupCommand::Execute { .. } | SetupCommand::EnumerateAndExecute { .. } => None,
        });
        let directories = self.workenv.directories.iter().map(|(path, _)| path.as_str());
        setup.chain(directories).chain(self.workenv.links.iter().map(|(path, _)| path.as_str()))
    }
}

impl SlotEntry {
    fn read(fields: &Fields<'_>) -> Result<Self> {
        let operations = fields.opt_str("operations")?.unwrap_or_default();
        let operations = Operations::from_name(operations).ok_or_else(|| {
            Error::json(fields.path_of("operations"), "an operation chain like \"tar.gz\"", format!("{operations:?}"))
        })?;
        let lifecycle = fields.opt_str("lifecycle")?.unwrap_or("runtime");
        let lifecycle = Lifecycle::from_name(lifecycle)
            .ok_or_else(|| Error::json(fields.path_of("lifecycle"), "a lifecycle", format!("{lifecycle:?}")))?;
        Ok(Self {
            id: fields.str("id")?.into(),
            target: fields.opt_str("target")?.unwrap_or_default().into(),
            digest: checksum(fields),
            operations,
            purpose: fields.opt_str("purpose")?.unwrap_or_default().into(),
            lifecycle,
        })
    }
}

impl Lifecycle {
    const ALL: [(Self, &'static str, &'static [&'static str]); 12] = [
        (Self::Init, "init", &[]),
        (Self::Startup, "startup", &[]),
        (Self::Runtime, "runtime", &["cached"]),
        (Self::Shutdown, "shutdown", &[]),
        (Self::Cache, "cache", &[]),
        (Self::Temporary, "temporary", &["temp", "volatile"]),
        (Self::Lazy, "lazy", &[]),
        (Self::Eager, "eager", &[]),
        (Self::Dev, "dev", &[]),
        (Self::Config, "config", &["persistent"]),
        (Self::Platform, "platform", &[]),
        (Self::Attestation, "attestation", &[]),
    ];

    /// Reads a name or an alias of one.
    pub fn from_name(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(_, main, aliases)| *main == name || aliases.contains(&name));
        found.map(|(lifecycle, ..)| *lifecycle)
    }

    /// The name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(lifecycle, ..)| *lifecycle == self).map_or("runtime", |(_, name, _)| name)
    }
}

impl SetupCommand {
    fn read(fields: &Fields<'_>) -> Result<Self> {
        let text = |key: &str| fields.str(key).map(String::from);
        Ok(match fields.str("type")? {
            "write_file" => Self::WriteFile {
                path: text("path")?,
                content: fields.opt_str("content")?.unwrap_or_default().into(),
                mode: mode(fields, "mode")?,
            },
            "chmod" => Self::Chmod {
                path: text("path")?,
                mode: mode(fields, "mode")?.ok_or_else(|| Error::json(fields.path_of("mode"), "a mode", "nothing"))?,
            },
            "execute" => Self::Execute { command: text("command")? },
            "enumerate_and_execute" => {
                let enumerate = fields.opt_object("enumerate")?;
                let of = |key: &str| match &enumerate {
                    Some(enumerate) => enumerate.str(key).map(String::from),
                    None => text(key),
                };
                Self::EnumerateAndExecute { path: of("path")?, pattern: of("pattern")?, command: text("command")? }
            }
            other => {
                return Err(Error::json(
                    fields.path_of("type"),
                    "execute, enumerate_and_execute, write_file or chmod",
                    format!("{other:?}"),
                ));
            }
        })
    }
}

impl RuntimeEnv {
    fn read(runtime: Option<Fields<'_>>) -> Result<Self> {
        let Some(env) = runtime.map(|runtime| runtime.opt_object("env")).transpose()?.flatten() else {
            return Ok(Self::default());
        };
        Ok(Self {
            unset: env.strings("unset")?,
            pass: env.strings("pass")?,
            map: env.string_map("map")?,
            set: env.string_map("set")?,
        })
    }
}

impl Workenv {
    fn read(root: &Fields<'_>) -> Result<Self> {
        let mut workenv = Self::default();
        if let Some(fields) = root.opt_object("workenv")? {
            for directory in fields.objects("directories")? {
                workenv.directories.push((directory.str("path")?.into(), mode(&directory, "mode")?));
            }
            workenv.env = fields.string_map("env")?;
        }
        let ours = root.opt_object("extensions")?.map(|fields| fields.opt_object(WORKENV_KEY)).transpose()?.flatten();
        if let Some(ours) = ours {
            for link in ours.objects("links")? {
                workenv.links.push((link.str("path")?.into(), link.str("target")?.into()));
            }
        }
        Ok(workenv)
    }
}

/// `sha256:` before 64 digits; FlavorPack's Rust builder writes the prefix twice, and attestation slots have 16
/// bare digits, which are no SHA-256.
fn checksum(fields: &Fields<'_>) -> Option<Digest> {
    let text = fields.get("checksum")?.as_str()?;
    Digest::from_hex(text.trim_start_matches("sha256:"))
}

/// Mode bits as octal text, with or without `0o`.
fn mode(fields: &Fields<'_>, key: &str) -> Result<Option<u16>> {
    let Some(text) = fields.opt_str(key)? else { return Ok(None) };
    let mode = u16::from_str_radix(text.trim_start_matches("0o"), 8).ok().filter(|mode| *mode <= 0o7777);
    match mode {
        Some(mode) => Ok(Some(mode)),
        None => Err(Error::json(fields.path_of(key), "mode bits like \"0755\"", format!("{text:?}"))),
    }
}
