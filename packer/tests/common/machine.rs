//! A machine with several users: a root directory with homes, /var/tmp and /tmp, so that nothing of the real ones matters.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{Finish as _, Finished};
use super::{App, Scratch};

pub const ALICE: u32 = 54_321;
pub const MALLORY: u32 = 54_322;
pub const ROOT: u32 = 0;

/// A root directory with a package.
pub struct Machine {
    pub root: Scratch,
}

impl Machine {
    /// With a package that prints where its workenv is. `None`: skipped.
    pub fn new() -> Option<Self> {
        Self::with(&[], "echo {workenv}", "")
    }

    /// With a package of these files that runs a command of busybox's, and these lines at the end of its manifest.
    pub fn with(files: &[(&str, &str)], command: &str, manifest: &str) -> Option<Self> {
        super::require_root()?;
        let busybox = super::busybox()?;
        let manifest = format!(
            "[execution]\ncommand = \"{{workenv}}/bin/busybox {command}\"\n\
             [[slots]]\nid = \"busybox\"\nsource = \"{}\"\ntarget = \"bin/busybox\"\npermissions = \"0755\"\n\
             operations = \"raw\"\n{manifest}",
            busybox.display()
        );
        let app = App::new(files, &manifest);
        let machine = Self { root: Scratch::new() };
        super::copy_package(&app.package(), &machine.root.join("app.psp"));
        for (path, uid, mode) in [
            ("home", ROOT, 0o755),
            ("home/alice", ALICE, 0o755),
            ("home/mallory", MALLORY, 0o777),
            ("srv", ROOT, 0o755),
            ("var", ROOT, 0o755),
            ("var/tmp", ROOT, 0o1777),
            ("tmp", ROOT, 0o1777),
        ] {
            machine.dir(path, uid, mode);
        }
        Some(machine)
    }

    /// Makes a directory of this user's, or makes it one.
    pub fn dir(&self, path: &str, uid: u32, mode: u32) -> PathBuf {
        let path = self.root.dir(path);
        own(&path, uid);
        set_mode(&path, mode);
        path
    }

    /// A start by this user, with these variables and no others.
    pub fn start(&self, uid: u32, variables: &[(&str, &str)]) -> Finished {
        self.starting(uid, variables).finish()
    }

    /// The command of [`start`](Self::start).
    pub fn starting(&self, uid: u32, variables: &[(&str, &str)]) -> Command {
        let mut start = Command::new("/usr/sbin/chroot");
        start.arg(format!("--userspec={uid}:{uid}")).arg("--groups=").arg(&*self.root).arg("/app.psp");
        start.env_clear().envs(variables.iter().copied());
        start
    }

    /// The cache that such a start takes, which has to be right and quiet, twice.
    #[track_caller]
    pub fn cache_of_start(&self, uid: u32, variables: &[(&str, &str)]) -> String {
        let workenvs = [(); 2].map(|()| self.start(uid, variables).exits(0).stays_quiet().stdout());
        assert_eq!(workenvs[0], workenvs[1]);
        let (cache, _) = workenvs[0].split_once("/v1/envs/").expect("a workenv");
        let inside = self.root.join(&cache[1..]);
        assert_eq!(owner(&inside), uid);
        assert_eq!(fs::metadata(inside).unwrap().permissions().mode() & 0o022, 0);
        cache.to_owned()
    }
}

pub fn own(path: &Path, uid: u32) {
    chown(path, Some(uid), Some(uid)).unwrap();
}

pub fn owner(path: &Path) -> u32 {
    std::os::unix::fs::MetadataExt::uid(&fs::symlink_metadata(path).unwrap())
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
