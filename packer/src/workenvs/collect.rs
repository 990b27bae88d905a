//! Removing what nobody uses.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use launcher::store::STORE_LOCK;
use launcher::sys::Dir;
use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::io::Errno;
use serde::Serialize;

use super::in_use::{self, try_lock};
use super::{Place, Sizes, Store, Workenv, of_store};
use crate::error::{Error, Kind, Result};

/// Which workenvs go. Slots that none of the others has a link to go with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// Those that nobody has used for a while.
    Unused {
        /// For how long. Because starts tell their time once a day, a workenv stays up to a day longer; zero means all
        /// that are not in use now.
        older_than: Duration,
        /// Of the others those that were not used for the longest time, until the store takes no more than this many
        /// bytes on disk.
        max_size: Option<u64>,
    },
    /// All.
    All,
    /// Those of these names.
    Named(BTreeSet<String>),
}

/// What was removed, or would be. Its JSON is a stable interface.
#[derive(Debug, Default, Serialize)]
pub struct Collected {
    /// True when nothing was really removed.
    pub dry_run: bool,
    /// Workenvs.
    pub workenvs: Vec<Removed>,
    /// Slots that no workenv has a link to any more.
    pub slots: Vec<Removed>,
    /// What killed starts have left.
    pub leftovers: Vec<Removed>,
    /// What all of it took on disk.
    pub bytes: u64,
    /// The workenvs that stay although they were meant, or might have been.
    pub kept: Vec<Kept>,
    /// What could not be deleted; it is out of the way, and the next time tries again.
    pub not_deleted: Vec<String>,
}

/// Something that was removed.
#[derive(Debug, Serialize)]
pub struct Removed {
    /// Its name in the store.
    pub name: String,
    /// Name and version of a workenv's package, when they are known.
    pub package: Option<String>,
    /// What it took on disk.
    pub bytes: u64,
}

/// A workenv that stays.
#[derive(Debug, Serialize)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// Name and version of its package, when they are known.
    pub package: Option<String>,
    /// `in-use` or `recent`.
    pub reason: &'static str,
}

impl Store {
    /// Removes workenvs, then the slots that no workenv has a link to, then what killed starts have left. With `dry_run`
    /// it only says what it would remove.
    ///
    /// While a package is being extracted nothing is removed, and that is an error; what is in use stays. Packages that
    /// start meanwhile wait for as long as renaming takes; deleting comes after that.
    pub fn collect(&self, which: &Which, dry_run: bool) -> Result<Collected> {
        // One at a time: what has the name of a collection's trash is then a dead one's.
        let _alone = self.lock_for_collecting()?;
        let sizes = Sizes::measure(self)?;
        let lock = self.lock_alone()?;
        let mut work = Work { store: self, sizes: &sizes, dry_run, trash: Vec::new(), report: Collected::default() };
        work.report.dry_run = dry_run;
        let done = work.workenvs(which).and_then(|()| work.leftovers());
        let Work { trash, mut report, .. } = work;
        drop(lock);
        // Also when it came no further than this.
        for (place, name) in trash {
            if delete(self.dir(place), name.as_bytes()).is_err() {
                report.not_deleted.push(self.directory(place).join(name).display().to_string());
            }
        }
        done.map(|()| report)
    }

    /// The lock of the whole store: no package is being extracted while we have it.
    pub(super) fn lock_alone(&self) -> Result<OwnedFd> {
        self.lock_file(STORE_LOCK)?.ok_or_else(|| {
            Error::new(Kind::Io, "a package is being extracted at the moment, so nothing was removed")
                .file(self.path())
                .hint("try again when it has started")
        })
    }

    fn lock_for_collecting(&self) -> Result<OwnedFd> {
        self.lock_file(COLLECTING)?.ok_or_else(|| {
            Error::new(Kind::Io, "another packer is cleaning this cache up at the moment")
                .file(self.path())
                .hint("try again when it is done")
        })
    }

    fn lock_file(&self, name: &[u8]) -> Result<Option<OwnedFd>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = self.cache.envs.open(name, flags, "cannot lock").map_err(|error| of_store(&error))?;
        match try_lock(&fd) {
            Ok(ours) => Ok(ours.then_some(fd)),
            Err(errno) => Err(Error::new(Kind::Io, "the cache cannot be locked, so nobody can tell what is in use")
                .file(self.path())
                .found(std::io::Error::from(errno).to_string())
                .hint("end all packaged apps and delete the directory")),
        }
    }
}

/// A collection, while it has the lock of the store.
struct Work<'s> {
    store: &'s Store,
    sizes: &'s Sizes,
    dry_run: bool,
    /// What was moved out of the way, to be deleted when nobody waits for us any more.
    trash: Vec<(Place, String)>,
    report: Collected,
}

impl Work<'_> {
    fn workenvs(&mut self, which: &Which) -> Result<()> {
        let mut found = self.store.workenvs()?;
        for workenv in &mut found {
            workenv.bytes = self.sizes.of(&workenv.path);
        }
        let going = choose(which, &found, |slot| self.sizes.of(&self.store.directory(Place::Slots).join(slot)));
        let (going, mut stay): (Vec<_>, Vec<_>) = found.into_iter().partition(|env| going.contains(&env.name));
        // Each takes two descriptors.
        for some in going.chunks(64) {
            // Whoever starts in one of them waits for these locks, and finds it whole or gone.
            let locks = some.iter().map(|env| in_use::of_env(&self.store.cache.envs, &env.name));
            let locks: Vec<_> = locks.collect::<Result<_, _>>().map_err(|error| of_store(&error))?;
            let running = in_use::running()?;
            for (workenv, lock) in some.iter().zip(&locks) {
                if lock.is_none() || running.contains(&workenv.name) {
                    stay.push(Workenv { in_use: true, ..workenv.clone() });
                    continue;
                }
                let bytes = self.remove(Place::Envs, &workenv.name)?;
                let (name, package) = (workenv.name.clone(), workenv.package.clone());
                self.report.workenvs.push(Removed { name, package, bytes });
            }
        }
        let named: BTreeSet<&String> = stay.iter().flat_map(|workenv| &workenv.slots).collect();
        for name in self.store.names(Place::Slots)? {
            if named.contains(&name) {
                continue;
            }
            // Held by a start that could not take the lock of the store.
            let lock = in_use::of_name(&self.store.cache.slots, &name).map_err(|error| of_store(&error))?;
            if lock.is_some() {
                let bytes = self.remove(Place::Slots, &name)?;
                self.report.slots.push(Removed { name, package: None, bytes });
            }
        }
        for workenv in stay {
            if !matches!(which, Which::Named(names) if !names.contains(&workenv.name)) {
                let reason = if workenv.in_use { "in-use" } else { "recent" };
                self.report.kept.push(Kept { name: workenv.name, package: workenv.package, reason });
            }
        }
        Ok(())
    }

    /// What owners of locks who died have left, and the files of locks that nothing is left to lock with.
    fn leftovers(&mut self) -> Result<()> {
        for place in Place::BOTH {
            for name in self.store.unfinished(place)? {
                if name.starts_with(TRASH) {
                    // Ours from just now, or a dead collection's.
                    if !self.trash.iter().any(|(at, ours)| (*at, ours) == (place, &name)) {
                        self.leftover(place, name)?;
                    }
                    continue;
                }
                let owner = name.split('.').nth(2).unwrap_or_default();
                let lock = in_use::of_name(self.store.dir(place), owner).map_err(|error| of_store(&error))?;
                if lock.is_some() {
                    self.leftover(place, name)?;
                }
            }
            if !self.dry_run {
                self.lock_files(place)?;
            }
        }
        Ok(())
    }

    fn leftover(&mut self, place: Place, name: String) -> Result<()> {
        let bytes = if name.starts_with(TRASH) {
            let bytes = self.sizes.of(&self.store.directory(place).join(&name));
            self.report.bytes += bytes;
            if !self.dry_run {
                self.trash.push((place, name.clone()));
            }
            bytes
        } else {
            self.remove(place, &name)?
        };
        self.report.leftovers.push(Removed { name, package: None, bytes });
        Ok(())
    }

    fn lock_files(&self, place: Place) -> Result<()> {
        let dir = self.store.dir(place);
        for file in dir.names(b".lock.").map_err(|error| of_store(&error))? {
            let Some(name) = std::str::from_utf8(&file).ok().and_then(|file| file.strip_prefix(".lock.")) else {
                continue;
            };
            if file == COLLECTING || !is_absent(dir, name)? {
                continue;
            }
            let lock = in_use::of_name(dir, name).map_err(|error| of_store(&error))?;
            if lock.is_some() {
                // Whoever waits for it looks whether it is still there when he has it.
                dir.remove(&file).map_err(|error| of_store(&error))?;
            }
        }
        Ok(())
    }

    /// Moves something out of the way; what it takes on disk.
    fn remove(&mut self, place: Place, name: &str) -> Result<u64> {
        let bytes = self.sizes.of(&self.store.directory(place).join(name));
        self.report.bytes += bytes;
        if !self.dry_run {
            let trash = move_away(self.store.dir(place), name)?;
            self.trash.push((place, trash));
        }
        Ok(bytes)
    }
}

/// True when nothing has this name.
fn is_absent(dir: &Dir, name: &str) -> Result<bool> {
    match dir.stat(name.as_bytes()) {
        Ok(_) => Ok(false),
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(true),
        Err(error) => Err(of_store(&error)),
    }
}

/// The names of the workenvs that go. `size_of` gives what a slot takes on disk.
fn choose(which: &Which, found: &[Workenv], size_of: impl Fn(&str) -> u64) -> BTreeSet<String> {
    let free = found.iter().filter(|workenv| !workenv.in_use);
    let (older_than, max_size) = match which {
        Which::All => return free.map(|workenv| workenv.name.clone()).collect(),
        Which::Named(names) => {
            return free.map(|workenv| &workenv.name).filter(|name| names.contains(*name)).cloned().collect();
        }
        Which::Unused { older_than, max_size } => (*older_than, *max_size),
    };
    let limit = if older_than.is_zero() { older_than } else { older_than.saturating_add(DAY) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let is_old = |used: u64| now.saturating_sub(Duration::from_secs(used)) > limit || limit.is_zero();
    let mut free: Vec<_> = free.collect();
    free.sort_by_key(|workenv| workenv.last_used);
    let old = free.iter().take_while(|workenv| is_old(workenv.last_used));
    let mut going: BTreeSet<String> = old.map(|workenv| workenv.name.clone()).collect();
    for workenv in free {
        let stay = || found.iter().filter(|workenv| !going.contains(&workenv.name));
        let slots: BTreeSet<&String> = stay().flat_map(|workenv| &workenv.slots).collect();
        let total =
            stay().map(|workenv| workenv.bytes).sum::<u64>() + slots.iter().map(|slot| size_of(slot)).sum::<u64>();
        if max_size.is_none_or(|max| total <= max) {
            break;
        }
        going.insert(workenv.name.clone());
    }
    going
}

/// Renames an entry to one that no start looks at or sweeps; its new name.
pub(super) fn move_away(parent: &Dir, name: &str) -> Result<String> {
    for attempt in 0..1000 {
        let trash = format!("{TRASH}{name}.{attempt}");
        match parent.rename(name.as_bytes(), trash.as_bytes()) {
            Ok(()) => return Ok(trash),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(errno) => return Err(of_store(&parent.failed("cannot move away", name.as_bytes(), errno))),
        }
    }
    Err(of_store(&parent.failed("cannot move away", name.as_bytes(), Errno::EXIST)))
}

/// Deletes an entry with everything in it, by directory handles, following no link.
pub(super) fn delete(parent: &Dir, name: &[u8]) -> launcher::Result<()> {
    parent.remove(name).or_else(|error| {
        if error.errno() != Some(Errno::ACCESS) {
            return Err(error);
        }
        // An app may have made directories in its workenv that it may not write to.
        unlock_directories(&parent.open_dir(name)?)?;
        parent.remove(name)
    })
}

fn unlock_directories(dir: &Dir) -> launcher::Result<()> {
    dir.chmod(0o700)?;
    for name in dir.names(b"")? {
        if dir.stat(&name)?.kind == rustix::fs::FileType::Directory {
            unlock_directories(&dir.open_dir(&name)?)?;
        }
    }
    Ok(())
}

/// What the trash of a collection is called, before the name that it had. No start sweeps that: deleting would hold it up.
const TRASH: &str = ".trash.gc.";
/// The lock of who collects, in the directory of the workenvs.
const COLLECTING: &[u8] = b".lock.gc";
/// How often a start tells that it used its workenv.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
