//! After a power loss a store may hold files whose bytes never reached the disk. Nothing is flushed on the way, so a first
//! start in another boot looks at every byte of the slots (docs/architecture.md, "The cache on disk").
//!
//! No machine is switched off here: files are torn as file systems leave them, and the seals name another boot.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use common::{Finish as _, Kind, Scratch};

#[test]
fn a_torn_file_of_a_slot_is_found_by_the_first_start_in_another_boot() {
    let store = Store::new();
    let files =
        store.files(|path| path.starts_with("v1/slots") && path.components().any(|part| part.as_os_str() == "content"));
    assert!(files.len() > 6, "{files:?}");
    for file in &files {
        for tear in [Tear::Empty, Tear::Half, Tear::Zeros, Tear::Gone] {
            store.tear(file, tear);
            store.loses_power();
            store.heals(&format!("{tear:?} of {}", file.display()));
        }
    }
}

#[test]
fn links_directories_and_modes_are_looked_at_too() {
    let store = Store::new();
    let changes: [(&str, Change); 4] = [
        ("link", |link| fs::remove_file(link).unwrap()),
        ("link", |link| {
            fs::remove_file(link).unwrap();
            std::os::unix::fs::symlink("lib", link).unwrap();
        }),
        ("lib/deep", |directory| fs::write(directory.join("more"), "").unwrap()),
        ("lib/text", |file| fs::set_permissions(file, fs::Permissions::from_mode(0o555)).unwrap()),
    ];
    for (name, change) in changes {
        let slots = common::slots(&store.cache());
        let slots = slots.iter().map(|slot| store.cache().join("v1/slots").join(slot).join("content").join(name));
        change(&slots.into_iter().find(|path| path.symlink_metadata().is_ok()).unwrap());
        store.loses_power();
        store.heals(name);
    }
}

#[test]
fn torn_seals_and_files_of_the_workenv_are_found_in_any_boot() {
    let store = Store::new();
    let name = |path: &Path| path.file_name().unwrap().to_owned();
    let files = store.files(|path| name(path) == ".seal" || path.starts_with("v1/envs") && name(path) != "mine");
    for file in files.iter().filter(|path| !name(path).to_string_lossy().starts_with(".lock.")) {
        for tear in [Tear::Empty, Tear::Half, Tear::Gone] {
            store.tear(file, tear);
            store.heals(&format!("{tear:?} of {}", file.display()));
        }
        if name(file) == ".seal" {
            store.tear(file, Tear::Zeros);
            store.heals(&format!("zeros in {}", file.display()));
        }
    }
}

#[test]
fn a_whole_slot_is_read_in_another_boot_once_and_is_durable_from_then_on() {
    let store = Store::new();
    let seals = |store: &Store| -> Vec<(PathBuf, Vec<u8>)> {
        let seals = store.files(|path| path.starts_with("v1/slots") && path.ends_with(".seal"));
        seals.into_iter().map(|path| (path.clone(), fs::read(store.cache().join(path)).unwrap())).collect()
    };
    assert!(seals(&store).iter().all(|(_, text)| text[248..256] == *b"fresh  \n"));
    common::boot_again(&store.cache());
    store.heals("nothing is damaged");
    let durable = seals(&store);
    assert!(durable.iter().all(|(_, text)| text[248..256] == *b"durable\n"));
    common::boot_again(&store.cache());
    let before = common::snapshot(&store.cache().join("v1/slots"));
    store.heals("nothing is damaged");
    assert_eq!(common::snapshot(&store.cache().join("v1/slots")), before);
}

#[test]
fn what_reached_the_disk_of_a_first_start_is_no_obstacle() {
    // Directories without their content, a slot without its seal, a workenv that leads nowhere.
    let store = Store::new();
    for entry in ["slots", "envs"] {
        for name in fs::read_dir(store.cache().join("v1").join(entry)).unwrap() {
            let path = name.unwrap().path();
            if path.is_dir() {
                common::remove(&path);
                fs::create_dir(&path).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
                store.heals(&format!("{} is empty", path.display()));
                common::remove(&path);
                fs::write(&path, "").unwrap();
                store.heals(&format!("{} is a file", path.display()));
                common::remove(&path);
                store.heals(&format!("{} is gone", path.display()));
            }
        }
    }
}

/// Done to an entry of a slot.
type Change = fn(&Path);

/// What became of a file; its time stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tear {
    Empty,
    Half,
    /// As long as it was.
    Zeros,
    Gone,
}

/// A cache with one version, and what is in it when all is well.
struct Store {
    scratch: Scratch,
    expected: BTreeMap<PathBuf, String>,
}

impl Store {
    fn new() -> Self {
        let scratch = Scratch::in_memory();
        common::pack_versions(&scratch, Kind::Shared);
        let mut store = Self { scratch, expected: BTreeMap::new() };
        store.start("a first start");
        store.expected = common::contents(&store.cache());
        store
    }

    fn cache(&self) -> PathBuf {
        self.scratch.join("cache")
    }

    #[track_caller]
    fn start(&self, when: &str) {
        let started = common::start(&common::package(&self.scratch, "1"), &self.cache()).finish();
        assert_eq!(started.stdout(), common::output("1", Kind::Shared), "{when}: {started}");
        started.exits(0).stays_quiet();
    }

    /// Soon after a first start, so that no slot is known to be on the disk.
    fn loses_power(&self) {
        common::boot_again(&self.cache());
        for seal in self.files(|path| path.starts_with("v1/slots") && path.ends_with(".seal")) {
            let seal = File::options().write(true).open(self.cache().join(seal)).unwrap();
            seal.write_all_at(b"fresh  \n", 248).unwrap();
        }
    }

    /// The next start is right, and everything is as it was.
    #[track_caller]
    fn heals(&self, when: &str) {
        self.start(when);
        assert_eq!(common::difference(&self.expected, &common::contents(&self.cache())), None, "{when}");
        assert_eq!(common::leftovers(&self.cache()), [] as [PathBuf; 0], "{when}");
    }

    /// Regular files in the cache, relative to it.
    fn files(&self, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
        let files = common::walk(&self.cache()).into_iter().filter(|(_, metadata)| metadata.is_file());
        let files = files.map(|(path, _)| path.strip_prefix(self.cache()).unwrap().to_path_buf());
        files.filter(|path| wanted(path)).collect()
    }

    fn tear(&self, file: &Path, tear: Tear) {
        let path = self.cache().join(file);
        let metadata = fs::metadata(&path).unwrap();
        let (mode, modified) = (metadata.permissions(), metadata.modified().unwrap());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        let open = File::options().write(true).open(&path).unwrap();
        match tear {
            Tear::Empty => open.set_len(0).unwrap(),
            Tear::Half => open.set_len(metadata.len() / 2).unwrap(),
            Tear::Zeros => open.write_all_at(&vec![0; metadata.len() as usize], 0).unwrap(),
            Tear::Gone => fs::remove_file(&path).unwrap(),
        }
        open.set_modified(modified).unwrap();
        if tear != Tear::Gone {
            fs::set_permissions(&path, mode).unwrap();
        }
    }
}
