//! The reference's builders and launchers, flavorpack 0.5.4 from PyPI.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::process::{Finish as _, Finished};

/// Where the reference is installed. `None`: skipped.
#[derive(Debug)]
pub struct Reference {
    flavor: PathBuf,
    helpers: PathBuf,
}

/// One of its three builders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builder {
    Rust,
    Go,
    Python,
}

/// One of its two launchers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launcher {
    Rust,
    Go,
}

impl Builder {
    pub const ALL: [Self; 3] = [Self::Rust, Self::Go, Self::Python];
}

impl Reference {
    pub fn find() -> Option<Self> {
        let flavor = super::flavor()?;
        let library = flavor.parent()?.parent()?.join("lib");
        let versions = fs::read_dir(library).into_iter().flatten().flatten();
        let mut helpers = versions.map(|python| python.path().join("site-packages/flavor/helpers/bin"));
        let helpers = helpers.find(|helpers| helpers.is_dir());
        let helpers = helpers.ok_or_else(|| format!("{} has no helpers beside it", flavor.display()));
        Some(Self { helpers: super::require(helpers)?, flavor })
    }

    /// The command `flavor`, with a home of its own.
    pub fn flavor(&self, home: &Path) -> Command {
        at_home(&self.flavor, home)
    }

    pub fn launcher(&self, launcher: Launcher) -> PathBuf {
        self.helper(match launcher {
            Launcher::Rust => "flavor-rs-launcher-",
            Launcher::Go => "flavor-go-launcher-",
        })
    }

    /// Builds `manifest`, whose sources are relative to `directory`, with a key from the seed `interop`.
    #[track_caller]
    pub fn build(&self, builder: Builder, manifest: &Value, directory: &Path, launcher: &Path) -> PathBuf {
        let text = directory.join(format!("{builder:?}.json"));
        let output = directory.join(format!("{builder:?}.psp"));
        fs::write(&text, manifest.to_string()).expect("a manifest");
        let mut build = match builder {
            Builder::Rust => at_home(&self.helper("flavor-rs-builder-"), directory),
            Builder::Go => at_home(&self.helper("flavor-go-builder-"), directory),
            Builder::Python => at_home(&self.flavor.with_file_name("python"), directory),
        };
        if builder == Builder::Python {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/reference_builder.py");
            build.arg(script).arg(&text).arg(launcher).arg(&output).arg("interop");
        } else {
            build.arg("--manifest").arg(&text).arg("--launcher-bin").arg(launcher);
            build.arg("--output").arg(&output).args(["--key-seed", "interop"]);
        }
        let built: Finished = build.current_dir(directory).finish().exits(0);
        assert!(output.is_file(), "no package of {built}");
        output
    }

    fn helper(&self, prefix: &str) -> PathBuf {
        let mut helpers = fs::read_dir(&self.helpers).expect("helpers").flatten().map(|helper| helper.path());
        let named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
        helpers.find(named).unwrap_or_else(|| panic!("no {prefix} in {}", self.helpers.display()))
    }
}

/// It keeps a cache of its own; not in the home directory of whoever runs the tests.
pub fn at_home(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("HOME", home).env("XDG_CACHE_HOME", home.join(".cache"));
    command
}
