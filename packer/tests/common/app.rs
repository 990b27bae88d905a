//! Small packages that are not Python: a few files, a manifest, one `packer pack`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{Finish as _, Finished};
use super::scratch::Scratch;
use super::{pack, write_files};

/// A packed application with its own cache.
pub struct App {
    pub scratch: Scratch,
}

impl App {
    /// Packs `files` (those in a `bin/` are executable) by a manifest of these lines after its `[package]` table.
    #[track_caller]
    pub fn new(files: &[(&str, &str)], manifest: &str) -> Self {
        Self::with(files, manifest, &[])
    }

    /// As [`new`](Self::new), with more options for `packer pack`.
    #[track_caller]
    pub fn with(files: &[(&str, &str)], manifest: &str, options: &[&OsStr]) -> Self {
        let app = Self { scratch: Scratch::new() };
        let project = app.scratch.join("project");
        let manifest = format!("[package]\nname = \"app\"\nversion = \"1.0\"\n{manifest}");
        write_files(&project, &[files, &[("app.toml", &*manifest)]].concat());
        for (name, _) in files.iter().filter(|(name, _)| name.contains("bin/")) {
            fs::set_permissions(project.join(name), fs::Permissions::from_mode(0o755)).expect("its mode");
        }
        let mut command = pack(&project.join("app.toml"), &app.package());
        command.args(options).env("PSPF_CACHE_DIR", app.scratch.join("build")).finish().exits(0);
        app
    }

    pub fn package(&self) -> PathBuf {
        self.scratch.join("app.psp")
    }

    /// Where the package keeps what it extracts.
    pub fn cache(&self) -> PathBuf {
        self.scratch.join("cache")
    }

    /// The package, about to be started with nothing of the test's environment.
    pub fn start(&self) -> Command {
        self.start_of(&self.package())
    }

    /// As [`start`](Self::start), of a changed copy.
    pub fn start_of(&self, package: &Path) -> Command {
        let mut start = Command::new(package);
        start.env_clear().env("PATH", "/usr/bin:/bin").env("PSPF_CACHE_DIR", self.cache());
        start
    }

    /// One of the launcher's own commands.
    #[track_caller]
    pub fn cli(&self, args: &[&str]) -> Finished {
        self.start().args(args).env("FLAVOR_LAUNCHER_CLI", "1").finish()
    }
}
