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

/// Writes a wheel of one module, `NAME.py` with `version = "VERSION"`, into `directory`.
pub fn write_wheel(directory: &Path, name: &str, version: &str, tag: &str, requires: &[&str]) {
    let info = format!("{name}-{version}.dist-info");
    let requires: String = requires.iter().map(|one| format!("Requires-Dist: {one}\n")).collect();
    let files = [
        (format!("{name}.py"), format!("version = {version:?}\n")),
        (format!("{info}/METADATA"), format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}")),
        (format!("{info}/WHEEL"), format!("Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")),
        (format!("{info}/RECORD"), String::new()),
    ];
    fs::create_dir_all(directory).expect("a directory");
    fs::write(directory.join(format!("{name}-{version}-{tag}.whl")), zip(&files)).expect("a wheel");
}

/// A zip archive of these files, not compressed (APPNOTE.TXT, sections 4.3.7, 4.3.12 and 4.3.16).
fn zip(files: &[(String, String)]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let mut crc = flate2::Crc::new();
        crc.update(content.as_bytes());
        // Needed version, flags, method, time and date; the CRC, and the size twice; the length of the name.
        let mut facts = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        for number in [crc.sum(), content.len() as u32, content.len() as u32] {
            facts.extend(number.to_le_bytes());
        }
        facts.extend((name.len() as u16).to_le_bytes());
        facts.extend([0, 0]);
        let offset = archive.len() as u32;
        archive.extend([&b"PK\x03\x04"[..], &facts, name.as_bytes(), content.as_bytes()].concat());
        directory
            .extend([&b"PK\x01\x02\x14\x00"[..], &facts, &[0; 10], &offset.to_le_bytes(), name.as_bytes()].concat());
    }
    let count = (files.len() as u16).to_le_bytes();
    let (start, size) = ((archive.len() as u32).to_le_bytes(), (directory.len() as u32).to_le_bytes());
    [&archive[..], &directory, b"PK\x05\x06\0\0\0\0", &count, &count, &size, &start, &[0, 0]].concat()
}

/// uv: the one on PATH, else the one that packing has put into packer's cache. `None`: skipped.
pub fn uv() -> Option<PathBuf> {
    super::hello()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|directory| directory.join("uv")).find(|file| file.is_file());
    let fetched = || {
        let tools = packer::places::build_cache().ok()?.join("tools");
        let homes = fs::read_dir(tools).ok()?.flatten().map(|entry| entry.path());
        homes.map(|home| home.join("bin/uv")).find(|file| file.is_file())
    };
    super::require(on_path.or_else(fetched).ok_or_else(|| "there is no uv, and packer could not fetch it".into()))
}
