//! Small Python projects, packed and started.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{Finish as _, Finished};
use super::scratch::Scratch;
use super::{heavy, pack, require_python, write_files};

/// A Python project in a directory that vanishes.
pub struct PythonProject {
    pub scratch: Scratch,
}

impl PythonProject {
    /// A project of these files; those in a `bin/` are executable. `None`: skipped, for want of an interpreter.
    pub fn new(files: &[(&str, &str)]) -> Option<Self> {
        require_python()?;
        let project = Self { scratch: Scratch::new() };
        write_files(&project.directory(), files);
        for (name, _) in files.iter().filter(|(name, _)| name.contains("bin/")) {
            fs::set_permissions(project.path(name), fs::Permissions::from_mode(0o755)).expect("its mode");
        }
        Some(project)
    }

    pub fn directory(&self) -> PathBuf {
        self.scratch.join("project")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    pub fn package(&self) -> PathBuf {
        self.scratch.join("dist/app.psp")
    }

    /// `packer pack`, about to be started.
    pub fn packing(&self) -> Command {
        pack(&self.path("pyproject.toml"), &self.package())
    }

    /// Packs it; what the app needs of packer's cache is shared by all tests.
    #[track_caller]
    pub fn pack(&self, options: &[&str]) -> Finished {
        let _heavy = heavy();
        self.packing().args(options).finish()
    }

    /// The package, about to be started with nothing of the test's environment. The interpreter is extracted once for
    /// all tests.
    pub fn start(&self) -> Command {
        let mut start = Command::new(self.package());
        start.env_clear().env("HOME", self.scratch.dir("home"));
        start.env("PSPF_CACHE_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-projects"));
        start
    }

    /// What the app prints, which is JSON. It has to succeed, and in silence.
    #[track_caller]
    pub fn report(&self, args: &[&str]) -> serde_json::Value {
        self.start().args(args).finish().exits(0).stays_quiet().json()
    }

    /// The package as `packer inspect` sees it.
    #[track_caller]
    pub fn inspect(&self) -> serde_json::Value {
        super::packer().arg("inspect").arg(self.package()).arg("--json").finish().exits(0).json()
    }
}
