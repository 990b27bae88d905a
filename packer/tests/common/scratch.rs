//! Directories that are gone after the test, whatever modes a slot store left in them.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// An empty directory that every user may enter, removed with everything in it when dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("pspf-test-").tempdir().expect("a temporary directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
        Self(directory.keep())
    }

    /// As [`new`](Self::new), where files never reach a disk if there is such a place that runs programs: for tests of
    /// many thousand files.
    pub fn in_memory() -> Self {
        let memory = tempfile::Builder::new().prefix("pspf-test-").tempdir_in("/dev/shm");
        let Ok(directory) = memory else { return Self::new() };
        let program = directory.path().join("program");
        // Written by another process: what is open for writing here cannot be executed.
        let runs = Command::new("cp").arg("/bin/true").arg(&program).status().is_ok_and(|copied| copied.success())
            && Command::new(&program).status().is_ok_and(|ended| ended.success());
        if !runs || fs::remove_file(&program).is_err() {
            return Self::new();
        }
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
        Self(directory.keep())
    }

    /// An empty directory in it.
    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(&path).expect("a directory");
        path
    }
}

impl Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for Scratch {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Removes a tree whose directories may be read-only.
pub fn remove(root: &Path) {
    for (path, metadata) in walk(root) {
        if metadata.is_dir() {
            let _ = fs::set_permissions(&path, fs::Permissions::from_mode(0o700));
        }
    }
    let _ = fs::remove_dir_all(root);
}

/// Every entry below `root` with what would betray a change: kind, mode, size, time, and the inode.
pub fn snapshot(root: &Path) -> BTreeMap<PathBuf, String> {
    walk(root)
        .into_iter()
        .map(|(path, m)| {
            let seen = format!("{:o} {} {}.{:09} #{}", m.mode(), m.size(), m.mtime(), m.mtime_nsec(), m.ino());
            (path.strip_prefix(root).expect("below the root").to_path_buf(), seen)
        })
        .collect()
}

/// All entries below `root`, and `root`, parents first. Links are not followed; what vanishes meanwhile is left out.
pub fn walk(root: &Path) -> Vec<(PathBuf, fs::Metadata)> {
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(path) = open.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() {
            open.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
        found.push((path, metadata));
    }
    found
}
