//! Versions of one application over a slot that all of them share.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::process::{Finish as _, Finished};
use super::scratch::Scratch;
use super::{pack, packer, write_files};

/// Packages of `app 1.0`, `app 2.0` and so on, and the cache that they extract to. Started without arguments, the app says
/// which version it is and how long the shared file has become; with `wait` it also waits for the end of its input.
pub struct Versions {
    pub scratch: Scratch,
}

/// What the app does. It reads a file of the shared slot and one of its own at the end, when all else has had its time.
const PROGRAM: &str = r#"#!/bin/sh
if [ "$1" = wait ]; then echo waiting; cat > /dev/null; fi
read -r own < "${0%/bin/run}/version" && echo "$own, $(cat "$FLAVOR_WORKENV"/shared/* | wc -c) bytes"
"#;

impl Versions {
    /// Packs this many versions. The slot that they share has `files` files of 10,000 bytes.
    #[track_caller]
    pub fn new(count: usize, files: usize) -> Self {
        let versions = Self { scratch: Scratch::new() };
        let project = versions.scratch.join("project");
        // Not to be made small: extracting has to take a while.
        let mut state = 1_u64;
        for file in 0..files {
            let mut byte = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                char::from(b' ' + (state >> 33) as u8 % 90)
            };
            let text: String = (0..10_000).map(|_| byte()).collect();
            write_files(&project.join("shared"), &[(&file.to_string(), &text)]);
        }
        for version in 1..=count {
            let manifest = format!(
                "[package]\nname = \"app\"\nversion = \"{version}.0\"\n[execution]\ncommand = \"{{workenv}}/own/bin/run\"\n\
                 [[slots]]\nid = \"shared\"\nsource = \"shared\"\n[[slots]]\nid = \"own\"\nsource = \"own\"\n"
            );
            let files =
                [("own/bin/run", PROGRAM), ("own/version", &format!("version {version}\n")), ("app.toml", &manifest)];
            write_files(&project, &files);
            fs::set_permissions(project.join("own/bin/run"), fs::Permissions::from_mode(0o755)).expect("its mode");
            let mut command = pack(&project.join("app.toml"), &versions.package(version));
            command.env("PSPF_CACHE_DIR", versions.scratch.join("build")).finish().exits(0);
        }
        versions
    }

    pub fn package(&self, version: usize) -> PathBuf {
        self.scratch.join(format!("app-{version}.psp"))
    }

    /// Where the packages keep what they extract.
    pub fn cache(&self) -> PathBuf {
        self.scratch.join("cache")
    }

    /// A version, about to be started with nothing of the test's environment.
    pub fn start(&self, version: usize) -> Command {
        self.in_cache(&self.package(version))
    }

    /// A version that was started and waits for the end of its input.
    #[track_caller]
    pub fn waiting(&self, version: usize) -> Waiting {
        Waiting::new(self.start(version).arg("wait"))
    }

    /// `packer workenv` for this cache.
    pub fn workenv(&self, words: &[&str]) -> Finished {
        self.in_cache(Path::new(packer().get_program())).arg("workenv").args(words).finish()
    }

    /// A program that has this cache for its own.
    pub fn in_cache(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("PSPF_CACHE_DIR", self.cache());
        command
    }

    /// What a version prints when the shared slot has this many files.
    pub fn output(version: usize, files: usize) -> String {
        format!("version {version}, {} bytes\n", files * 10_000)
    }
}

/// An app that has started and waits.
pub struct Waiting(Option<Child>);

impl Waiting {
    #[track_caller]
    pub fn new(command: &mut Command) -> Self {
        use std::io::Read as _;
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a start");
        let mut line = [0; 8];
        let read = child.stdout.as_mut().expect("its output").read_exact(&mut line);
        assert!(read.is_ok() && line == *b"waiting\n", "it does not wait: {:?}", child.wait_with_output());
        Self(Some(child))
    }

    /// Lets it go on, to its end.
    pub fn end(mut self) -> Finished {
        let child = self.0.take().expect("a child");
        // Its input ends when it is asked for its output.
        Finished::new("an app that has waited", child.wait_with_output().expect("its end"))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
