//! What packages have extracted on this machine: slots, and the workenvs over them.
//!
//! ```text
//! Store ──> list      what is there, how large, used when and by whom
//!       ──> verify    is it still what was extracted
//!       ──> collect   what nobody uses goes away
//! package ─> fill     slots for every user of the machine, where starts find them
//! ```
//!
//! The protocol is in docs/architecture.md ("The cache on disk"): a first start holds the lock of the store until its
//! workenv is published, an app holds one on its workenv's seal for as long as it runs. Whoever removes something holds
//! both alone.

mod collect;
mod fill;
mod in_use;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use collect::{Collected, Kept, Removed, Which};
pub use fill::{Filled, FilledSlot, fill, system_cache};
use launcher::cache::Cache;
use launcher::seal::{self, Seal};
use launcher::store::present;
use launcher::sys::Dir;
use rustix::io::Errno;
use serde::Serialize;
pub use verify::{Checked, Damage, Kind as DamageKind};

use crate::error::{Error, Kind, Result};
use crate::package_file::of_launcher;
use crate::places;

/// The cache that packages of this user extract to.
#[derive(Debug)]
pub struct Store {
    cache: Cache,
    path: PathBuf,
}

/// What is in a [`Store`]. Its JSON is a stable interface.
#[derive(Debug, Serialize)]
pub struct Inventory {
    /// The cache directory.
    pub cache: PathBuf,
    /// The one that was used last comes first.
    pub workenvs: Vec<Workenv>,
    /// In the order of their names.
    pub slots: Vec<Slot>,
    /// What killed starts have left, in bytes on disk.
    pub leftover_bytes: u64,
}

/// A workenv.
#[derive(Debug, Clone, Serialize)]
pub struct Workenv {
    /// Its directory's name: 32 hexadecimal digits.
    pub name: String,
    /// Name and version of its package, cut off where they are long; `None` when its seal does not say it.
    pub package: Option<String>,
    /// Where it is.
    pub path: PathBuf,
    /// What it takes on disk, without its slots.
    pub bytes: u64,
    /// When it was used last, in seconds since 1970. Starts tell it once a day.
    pub last_used: u64,
    /// An app runs in it, or it is being set up.
    pub in_use: bool,
    /// False when it was never finished: the next start makes it again.
    pub sealed: bool,
    /// The names of the slots that it has links to.
    pub slots: BTreeSet<String>,
}

/// A slot in the store.
#[derive(Debug, Clone, Serialize)]
pub struct Slot {
    /// Its directory's name: 64 hexadecimal digits.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// What it takes on disk.
    pub bytes: u64,
    /// It is a link to the system's store, and takes nothing here.
    pub is_systems: bool,
    /// The names of the workenvs that have links to it.
    pub workenvs: BTreeSet<String>,
}

impl Store {
    /// The store that a package started now would use.
    pub fn open() -> Result<Self> {
        let cache = Cache::open(&places::environment()).map_err(|error| of_store(&error))?;
        let path = PathBuf::from(OsStr::from_bytes(cache.path()));
        Ok(Self { cache, path })
    }

    /// The cache directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is there.
    pub fn list(&self) -> Result<Inventory> {
        let mut workenvs = self.workenvs()?;
        for workenv in &mut workenvs {
            workenv.bytes = size_of(&workenv.path);
        }
        workenvs.sort_by(|a, b| (b.in_use, b.last_used, &a.name).cmp(&(a.in_use, a.last_used, &b.name)));
        let slots = self.names(Place::Slots)?.into_iter().map(|name| {
            let path = self.directory(Place::Slots).join(&name);
            let names = workenvs.iter().filter(|workenv| workenv.slots.contains(&name));
            let names = names.map(|workenv| workenv.name.clone()).collect();
            Slot { bytes: size_of(&path), is_systems: path.is_symlink(), path, workenvs: names, name }
        });
        let slots = slots.collect();
        let mut leftover_bytes = 0;
        for place in Place::BOTH {
            for name in self.unfinished(place)? {
                leftover_bytes += size_of(&self.directory(place).join(name));
            }
        }
        Ok(Inventory { cache: self.path.clone(), workenvs, slots, leftover_bytes })
    }

    /// The workenvs that are meant by what was typed: a name, at least four digits that it alone begins with, or a
    /// package's name, with or without its version.
    pub fn named(&self, workenvs: &[Workenv], typed: &str) -> Result<Vec<Workenv>> {
        let digits = typed.len() >= 4 && typed.bytes().all(|byte| byte.is_ascii_hexdigit());
        let by_name: Vec<_> = workenvs.iter().filter(|env| digits && env.name.starts_with(typed)).cloned().collect();
        let of_package = |env: &&Workenv| {
            let package = env.package.as_deref().unwrap_or_default();
            package == typed || package.rsplit_once(' ').is_some_and(|(name, _)| name == typed)
        };
        let by_package: Vec<_> = workenvs.iter().filter(of_package).cloned().collect();
        match (by_name.len(), by_package.len()) {
            (1, _) => Ok(by_name),
            (_, 1..) => Ok(by_package),
            (count, 0) => Err(Error::new(Kind::Arguments, "there is no such workenv")
                .expected("the name of one, its beginning, or the name of a package")
                .found(if count == 0 { format!("{typed:?}") } else { format!("{typed:?}, with which {count} begin") })
                .hint("packer workenv list shows them")),
        }
    }

    /// The names of the workenvs that are meant by what was typed, as [`named`](Self::named) has it.
    pub fn names_of(&self, typed: &[String]) -> Result<BTreeSet<String>> {
        let workenvs = self.workenvs()?;
        let mut names = BTreeSet::new();
        for typed in typed {
            names.extend(self.named(&workenvs, typed)?.into_iter().map(|workenv| workenv.name));
        }
        Ok(names)
    }

    /// All workenvs, in the order of their names; their sizes are left out.
    fn workenvs(&self) -> Result<Vec<Workenv>> {
        let running = in_use::running()?;
        let mut workenvs = Vec::new();
        for name in self.names(Place::Envs)? {
            let failed = |error| of_store(&error);
            let Some(dir) = present(self.cache.envs.open_dir(name.as_bytes())).map_err(failed)? else { continue };
            let path = self.directory(Place::Envs).join(&name);
            let seal = Seal::open(&dir, &name).map_err(failed)?;
            let (package, slots) = match &seal {
                Some(seal) => (seal.package(&dir).map_err(failed)?, linked(seal, &dir)?),
                None => (None, linked_below(&path)?),
            };
            let marked = dir.stat(seal::NAME).or_else(|_| dir.own_stat()).map_err(failed)?;
            let last_used = Duration::from_nanos(marked.mtime).as_secs();
            let in_use = running.contains(&name) || in_use::of_env(&self.cache.envs, &name).map_err(failed)?.is_none();
            workenvs.push(Workenv { name, package, path, bytes: 0, last_used, in_use, sealed: seal.is_some(), slots });
        }
        Ok(workenvs)
    }

    /// What is published in a directory, in the order of the names.
    fn names(&self, place: Place) -> Result<Vec<String>> {
        let names = self.dir(place).names(b"").map_err(|error| of_store(&error))?;
        // Nobody of ours makes names that are not ASCII.
        let mut names: Vec<String> = names.into_iter().filter_map(|name| String::from_utf8(name).ok()).collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        Ok(names)
    }

    /// What is on its way in or out of a directory.
    fn unfinished(&self, place: Place) -> Result<Vec<String>> {
        let names = |prefix| self.dir(place).names(prefix).map_err(|error| of_store(&error));
        let names = [names(b".tmp.")?, names(b".trash.")?].concat();
        Ok(names.into_iter().filter_map(|name| String::from_utf8(name).ok()).collect())
    }

    fn dir(&self, place: Place) -> &Dir {
        match place {
            Place::Slots => &self.cache.slots,
            Place::Envs => &self.cache.envs,
        }
    }

    fn directory(&self, place: Place) -> PathBuf {
        self.path.join(match place {
            Place::Slots => "v1/slots",
            Place::Envs => "v1/envs",
        })
    }
}

/// The two directories of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Slots,
    Envs,
}

impl Place {
    const BOTH: [Self; 2] = [Self::Envs, Self::Slots];
}

/// What was measured already: walking a large tree takes too long to do it while others wait.
struct Sizes(BTreeMap<PathBuf, u64>);

impl Sizes {
    /// Of everything that a store holds.
    fn measure(store: &Store) -> Result<Self> {
        let mut sizes = BTreeMap::new();
        for place in Place::BOTH {
            for name in store.names(place)?.into_iter().chain(store.unfinished(place)?) {
                let path = store.directory(place).join(name);
                sizes.insert(path.clone(), size_of(&path));
            }
        }
        Ok(Self(sizes))
    }

    fn of(&self, path: &Path) -> u64 {
        self.0.get(path).copied().unwrap_or_else(|| size_of(path))
    }
}

/// The launcher's errors about the store. No package is to blame for them.
fn of_store(error: &launcher::Error) -> Error {
    let new = of_launcher(error);
    match error.errno() {
        Some(Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::ACCESS | Errno::PERM) | None => new,
        Some(_) => new.hint("do it again; if it stays so, look at the disk and its file system"),
    }
}

/// What is on disk below a path, links not followed. What vanishes meanwhile or cannot be looked at counts as nothing.
fn size_of(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    let entries = metadata.is_dir().then(|| fs::read_dir(path).ok()).flatten();
    let below: u64 = entries.into_iter().flatten().flatten().map(|entry| size_of(&entry.path())).sum();
    metadata.blocks() * 512 + below
}

/// The slots that the rows of a workenv's seal lead to.
fn linked(seal: &Seal, dir: &Dir) -> Result<BTreeSet<String>> {
    let mut slots = BTreeSet::new();
    for (path, _) in seal.rows(dir).map_err(|error| of_store(&error))? {
        match dir.read_link(path.as_bytes()) {
            Ok(target) => slots.extend(slot_of(&target)),
            // No link, or none any more.
            Err(error)
                if matches!(
                    error.errno(),
                    Some(Errno::INVAL | Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS)
                ) => {}
            Err(error) => return Err(of_store(&error)),
        }
    }
    Ok(slots)
}

/// The slots that any link below a directory leads to: of a workenv whose seal does not say it.
fn linked_below(directory: &Path) -> Result<BTreeSet<String>> {
    let mut slots = BTreeSet::new();
    match add_linked(directory, &mut slots) {
        Err(error) if !is_no_link(&error) => {
            Err(Error::io("cannot tell which slots a workenv has links to", directory, &error))
        }
        _ => Ok(slots),
    }
}

fn add_linked(directory: &Path, slots: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let added = entry.file_type().and_then(|kind| {
            if kind.is_dir() {
                add_linked(&entry.path(), slots)?;
            } else if kind.is_symlink() {
                slots.extend(slot_of(fs::read_link(entry.path())?.as_os_str().as_bytes()));
            }
            Ok(())
        });
        match added {
            Err(error) if is_no_link(&error) => {}
            added => added?,
        }
    }
    Ok(())
}

/// True when something went away meanwhile, or an app has locked it: then it is its own, and no link of ours.
fn is_no_link(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), InvalidInput | NotADirectory | NotFound | PermissionDenied)
}

/// The slot that a link from a workenv leads to: `../../slots/<name>/content`.
fn slot_of(target: &[u8]) -> Option<String> {
    let mut target = std::str::from_utf8(target).ok()?;
    while let Some(rest) = target.strip_prefix("../") {
        target = rest;
    }
    let name = target.strip_prefix("slots/")?.split('/').next()?;
    (name.len() == 64).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_names_a_slot_however_deep_in_the_workenv_it_lies() {
        let name = "0123456789abcdef".repeat(4);
        for up in ["../../", "../../../../"] {
            assert_eq!(slot_of(format!("{up}slots/{name}/content/file").as_bytes()), Some(name.clone()));
        }
        for other in ["../python-runtime/bin/python3", "/slots/x", "../../slots/short/content", "../../slots"] {
            assert_eq!(slot_of(other.as_bytes()), None, "{other}");
        }
    }
}
