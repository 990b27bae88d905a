//! An app in two versions that share a slot: what starts of the one may do to the other.

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::package::envs;
use super::process::Finish as _;
use super::processes::Processes;
use super::scratch::Scratch;
use super::{pack, write_files};

/// What is in a version beside its slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Shared slots only, so that a damaged workenv is mended in place.
    Shared,
    /// A slot of the workenv's own as well.
    Private,
    /// Setup commands that run programs as well.
    Setup,
    /// Slots that come and go with the app as well, so that the launcher stays as its parent.
    Passing,
}

/// Packs both versions into `directory`, as `1.psp` and `2.psp`.
///
/// The app prints what it finds in each slot and in each file that was written for it: its version wherever versions
/// differ, so that a tree of two versions shows.
#[track_caller]
pub fn pack_versions(directory: &Path, kind: Kind) {
    for version in ["1", "2"] {
        let project = directory.join(format!("project {version}"));
        let said = format!("version {version}\n");
        write_files(
            &project,
            &[
                ("app/bin/run", APP),
                ("app/data/version", &said),
                ("app/data/more", &said.repeat(100)),
                ("runtime/lib/text", "the same in both\n"),
                ("runtime/lib/deep/er/text", &"the same in both\n".repeat(5000)),
                ("runtime/empty", ""),
                ("single", &said),
                ("own/state", &said),
                ("settings/kept", "the same in both\n"),
                ("scratch/deep/words", "the same in both\n"),
                ("bye/bin/run", BYE),
                ("app.toml", &manifest(version, kind)),
            ],
        );
        for program in ["app/bin/run", "bye/bin/run"] {
            fs::set_permissions(project.join(program), fs::Permissions::from_mode(0o755)).expect("its mode");
        }
        let link = project.join("runtime/link");
        let _ = fs::remove_file(&link);
        symlink("lib/deep", link).expect("a link");
        let mut pack = pack(&project.join("app.toml"), &package(directory, version));
        pack.arg("--quiet").env("PSPF_CACHE_DIR", directory.join("build")).finish().exits(0);
    }
}

/// Where a version was packed to.
pub fn package(directory: &Path, version: impl AsRef<OsStr>) -> PathBuf {
    directory.join(version.as_ref()).with_extension("psp")
}

/// What a version prints.
pub fn output(version: &str, kind: Kind) -> String {
    let mut lines = vec![
        format!("app/data/version: version {version}"),
        "runtime/link/er/text: the same in both".to_owned(),
        format!("share/single: version {version}"),
        format!("etc/conf: written for {version}"),
    ];
    if kind == Kind::Private {
        lines.push(format!("own/state: version {version}"));
        lines.push("settings/kept: the same in both".to_owned());
    }
    if kind == Kind::Passing {
        lines.push("scratch/deep/words: the same in both".to_owned());
    }
    if kind == Kind::Setup {
        lines.push(format!("log: set up {version}"));
    }
    lines.join("\n") + "\n"
}

/// A version, about to be started with nothing of the test's environment.
pub fn start(package: &Path, cache: &Path) -> Command {
    let mut start = Command::new(package);
    start.env_clear().env("PATH", "/usr/bin:/bin").env("PSPF_CACHE_DIR", cache);
    start
}

/// Builtins only: a start of the shell is the largest part of what a test of many starts waits for.
const APP: &str = r#"#!/bin/sh
cd "$FLAVOR_WORKENV" || exit 9
for file in app/data/version runtime/link/er/text share/single etc/conf own/state settings/kept scratch/deep/words log; do
    test -e "$file" || continue
    while read -r line; do
        echo "$file: $line"
        case "$file" in runtime/*) break ;; esac
    done < "$file"
done
test ! -d scratch || echo more > scratch/more
"#;

/// What is run when the app has ended leaves nothing but a trace of itself.
const BYE: &str = "#!/bin/sh\ntest ! -e scratch && : > \"$FLAVOR_WORKENV/tmp/bye\"\n";

fn manifest(version: &str, kind: Kind) -> String {
    // A slot in which something else is made is each workenv's own.
    let own = if kind == Kind::Private { ", { path = \"own/made\" }" } else { "" };
    let mut manifest = format!(
        r#"
[package]
name = "app"
version = "{version}"
[execution]
command = "{{workenv}}/app/bin/run"
[[slots]]
id = "runtime"
source = "runtime"
[[slots]]
id = "app"
source = "app"
[[slots]]
id = "single"
source = "single"
target = "share/single"
[workenv]
directories = [{{ path = "tmp", mode = "0700" }}{own}]
[[setup_commands]]
type = "write_file"
path = "{{workenv}}/etc/conf"
content = "written for {{version}}\n"
[[setup_commands]]
type = "write_file"
path = "{{workenv}}/etc/where"
content = "{{workenv}}\n"
mode = "0600"
"#
    );
    if kind == Kind::Private {
        manifest += "[[slots]]\nid = \"own\"\nsource = \"own\"\n";
        manifest += "[[slots]]\nid = \"settings\"\nsource = \"settings\"\nlifecycle = \"config\"\n";
    }
    if kind == Kind::Passing {
        manifest += "[[slots]]\nid = \"scratch\"\nsource = \"scratch\"\nlifecycle = \"temporary\"\n";
        manifest += "[[slots]]\nid = \"bye\"\nsource = \"bye\"\nlifecycle = \"shutdown\"\ncommand = \"{workenv}/bye/bin/run\"\n";
    }
    if kind == Kind::Setup {
        manifest += "[[setup_commands]]\ntype = \"execute\"\ncommand = '/bin/sh -c \"echo set up {version} >> log\"'\n";
    }
    manifest
}

/// Packages of a kind, and one cache for all of their starts: workenvs depend on its path.
pub struct Place {
    pub scratch: Scratch,
    pub kind: Kind,
    /// Those that packer finds when it looks who runs.
    pub processes: OnceCell<Processes>,
}

impl Place {
    pub fn new(kind: Kind) -> Self {
        let scratch = Scratch::in_memory();
        pack_versions(&scratch, kind);
        Self { scratch, kind, processes: OnceCell::new() }
    }

    pub fn cache(&self) -> PathBuf {
        self.scratch.join("cache")
    }

    /// The workenv of a version that was started.
    #[track_caller]
    pub fn workenv(&self, version: &str) -> PathBuf {
        let written = format!("written for {version}\n");
        let mut envs = envs(&self.cache()).into_iter().map(|env| self.cache().join("v1/envs").join(env));
        envs.find(|env| fs::read_to_string(env.join("etc/conf")).is_ok_and(|text| text == written)).expect("a workenv")
    }
}
