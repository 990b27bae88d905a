//! The slot store: one directory per slot, named by its content, read-only and shared by every package and version
//! that carries it.
//!
//! A slot is extracted beside its place, sealed, and renamed into it, so that it is there whole or not at all.
//! Of many first starts one extracts and the others wait for its lock, which the kernel releases when its owner dies.
//!
//! A slot that root has extracted for everybody ([`SYSTEM`]) is a link to it in the user's own store.

use alloc::string::String;
use alloc::vec::Vec;

use pspf_core::digest::Hasher;
use pspf_core::number::decimal;
use pspf_core::placement::Placement;
use pspf_core::text::{concat, pieces};
use pspf_core::{Digest, Part, Source, Verified, archive};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::extract::{Extractor, hash_tree};
use crate::seal::{Seal, Writer};
use crate::sys::{self, Dir, Status};

/// The directory in a slot that holds its files, beside the seal.
pub const CONTENT: &str = "content";
/// The lock of the whole store, seen from the directory of the workenvs.
pub const STORE_LOCK: &[u8] = b"../lock";

/// Where the slots are that root has extracted for all users of a machine or container image (`packer workenv fill`). They
/// are only read.
pub const SYSTEM: &str = "/var/cache/pspf/v1/slots/";

/// A slot that is in the store, or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// Its index in the package.
    pub index: u32,
    /// Its name in the store: the digest of everything that decides what its files are.
    pub name: String,
    /// Where the workenv has a link to it.
    pub path: String,
    /// The signed digest of its tree.
    pub tree: Digest,
}

/// How closely a slot in the store is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Its seal. At every start.
    Seal,
    /// Its seal, and the size, time and mode of every file. When a new workenv begins to use it.
    Rows,
    /// The content of every file against the signed digest. When something was found damaged, and on demand.
    Content,
}

impl Shared {
    /// The slot at `index`, when its claims let it be shared.
    pub fn of<S: Source>(verified: &Verified<'_, S>, index: u32, placement: &Placement) -> Option<Self> {
        let Placement::Shared(path) = placement else { return None };
        let claim = verified.claims()?.slots.get(index as usize)?;
        let target = &verified.metadata().slots.get(index as usize)?.target;
        let mut hasher = Hasher::new();
        hasher.update(&claim.digest.0);
        hasher.update(&claim.operations.raw().to_le_bytes());
        hasher.update(&claim.permissions.to_le_bytes());
        if !claim.operations.is_archive() {
            hasher.update(file_name(target).as_bytes());
        }
        Some(Self { index, name: hasher.finish().text(), path: path.clone(), tree: claim.tree? })
    }

    /// Makes sure that it is in the store, and passes the check.
    pub fn ensure<S: Source>(&self, verified: &Verified<'_, S>, slots: &Dir, check: Check) -> Result<()> {
        if self.is_intact(slots, check)? {
            return Ok(());
        }
        let lock = Lock::exclusive(slots, &self.name)?;
        if self.is_intact(slots, check)? {
            return Ok(());
        }
        sweep(slots, &self.name)?;
        if self.is_in_systems(check) {
            discard(slots, &self.name)?;
            return slots.link(self.name.as_bytes(), &self.in_systems());
        }
        let made = make(slots, &self.name, |dir| self.extract(verified, dir));
        drop(lock);
        made
    }

    /// True when it is in the store, or a link to the system's is, and passes the check.
    pub fn is_intact(&self, slots: &Dir, check: Check) -> Result<bool> {
        let name = self.name.as_bytes();
        match present(slots.open_dir(name))? {
            Some(dir) => self.passes(&dir, check),
            None => Ok(slots.read_link(name).is_ok_and(|link| link == self.in_systems()) && self.is_in_systems(check)),
        }
    }

    /// True when the system's store has it and it passes the check. Whatever is wrong with that store is no reason not to
    /// start: then the slot goes into the user's own.
    fn is_in_systems(&self, check: Check) -> bool {
        let dir = system().and_then(|slots| slots.open_dir(self.name.as_bytes()).ok());
        dir.is_some_and(|dir| self.passes(&dir, check).unwrap_or(false))
    }

    /// Where the system's store has it.
    fn in_systems(&self) -> Vec<u8> {
        concat(&[SYSTEM, &self.name]).into_bytes()
    }

    /// True when its directory passes the check. In another boot than the one that wrote it, its content is read once, for what
    /// had not reached the disk.
    fn passes(&self, dir: &Dir, check: Check) -> Result<bool> {
        let Some(seal) = Seal::open(dir, &self.name)? else { return Ok(false) };
        if seal.tree != self.tree {
            return Ok(false);
        }
        if seal.settled && check == Check::Seal {
            return Ok(true);
        }
        let Some(content) = present(dir.open_dir(CONTENT.as_bytes()))? else { return Ok(false) };
        if seal.settled && check == Check::Rows {
            return seal.rows_hold(&content, u64::MAX);
        }
        if hash_tree(&content)? != self.tree {
            return Ok(false);
        }
        if !seal.settled {
            // When it cannot be marked, the next start reads it again.
            let _ = Seal::settle(dir);
        }
        Ok(true)
    }

    /// Writes content and seal into `dir`.
    fn extract<S: Source>(&self, verified: &Verified<'_, S>, dir: &Dir) -> Result<()> {
        let content = dir.create_dir(CONTENT.as_bytes(), archive::DIRECTORY_MODE)?;
        let mut seal = Writer::create(dir)?;
        let placement = Placement::Shared(self.path.clone());
        write(verified, self.index, &placement, &content, file_name(&self.path), Some(&mut seal))?;
        seal.finish(dir, &self.name, self.tree, ["", ""])?;
        Ok(())
    }
}

/// The system's store; `None` where there is none, or others than root could write to it.
pub fn system() -> Option<Dir> {
    let mut dir = Dir::open_path(b"/").ok()?;
    for name in pieces(SYSTEM, b'/').filter(|name| !name.is_empty()) {
        dir = dir.open_dir(name.as_bytes()).ok()?;
        if !dir.is_ours().ok()? {
            return None;
        }
    }
    Some(dir)
}

/// Takes what is not there, or not a directory, for absent.
pub fn present(opened: Result<Dir>) -> Result<Option<Dir>> {
    match opened {
        Err(error) if matches!(error.errno(), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => Ok(None),
        other => other.map(Some),
    }
}

/// Writes a slot's files into `root` and compares what was written with the signed digest of the tree. An archive goes into
/// `root` itself, a single file gets `file_name`.
pub fn write<S: Source>(
    verified: &Verified<'_, S>,
    index: u32,
    placement: &Placement,
    root: &Dir,
    file_name: &str,
    seal: Option<&mut Writer>,
) -> Result<()> {
    let id = verified.metadata().slots.get(index as usize).map_or("", |slot| slot.id.as_str());
    let failed = |error| Error::slot(id, error);
    let descriptor = *verified.package().descriptor(index).map_err(failed)?;
    let mut slot = verified.slot(index).map_err(failed)?;
    let extractor = Extractor::new(id, root, placement, seal);
    let tree = if descriptor.operations.is_archive() {
        extractor.archive(&mut slot)?
    } else {
        let permissions = if descriptor.permissions == 0 { 0o600 } else { descriptor.permissions };
        extractor.raw(file_name, permissions, &mut slot)?
    };
    slot.finish().map_err(failed)?;
    let claim = verified.claims().and_then(|claims| claims.slots.get(index as usize));
    let Some(expected) = claim.and_then(|claim| claim.tree) else { return Ok(()) };
    let tree = match (tree, placement) {
        (Some(tree), _) => tree,
        (None, Placement::Shared(_)) => hash_tree(root)?,
        // Among other files; nobody compares it later, and the slot's bytes were the signed ones.
        (None, _) => return Ok(()),
    };
    if tree == expected {
        return Ok(());
    }
    Err(failed(pspf_core::Error::malformed(Part::Slot(index), 0, expected, tree)))
}

/// Makes a directory that is in its place whole, with what `write` puts into it, or not at all. The caller has the lock of
/// `name`.
pub fn make(parent: &Dir, name: &str, write: impl FnOnce(&Dir) -> Result<()>) -> Result<()> {
    let (temporary, dir) = temporary_dir(parent, name)?;
    let made = write(&dir).and_then(|()| publish(parent, &temporary, name));
    if made.is_err() {
        delete(parent, &temporary);
    }
    made
}

/// Puts a finished directory into its place. What was there has no seal or a broken one, and goes to the trash.
pub fn publish(parent: &Dir, temporary: &[u8], name: &str) -> Result<()> {
    let mut renamed = parent.rename(temporary, name.as_bytes());
    if let Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) = renamed {
        discard(parent, name)?;
        renamed = parent.rename(temporary, name.as_bytes());
    }
    parent.told("cannot publish", name.as_bytes(), renamed)
}

/// Moves something out of the way and deletes it.
pub fn discard(parent: &Dir, name: &str) -> Result<()> {
    for attempt in 0..ATTEMPTS {
        let trash = beside(".trash.", name, attempt);
        match parent.rename(name.as_bytes(), &trash) {
            Ok(()) => {
                delete(parent, &trash);
                return Ok(());
            }
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(errno) => return Err(parent.failed("cannot move away", name.as_bytes(), errno)),
        }
    }
    Err(parent.failed("cannot move away", name.as_bytes(), Errno::EXIST))
}

/// Deletes what owners of this lock who died have left. Whoever holds the lock is the only one to have any.
pub fn sweep(parent: &Dir, name: &str) -> Result<()> {
    sweep_all(parent, &concat(&[".tmp.", name, "."]))?;
    sweep_all(parent, &concat(&[".trash.", name, "."]))
}

#[inline(never)]
fn sweep_all(parent: &Dir, prefix: &str) -> Result<()> {
    for left in parent.names(prefix.as_bytes())? {
        delete(parent, &left);
    }
    Ok(())
}

/// Deletes what is of no use to anybody, at the second attempt if the first one fails. What cannot be deleted is in nobody's
/// way; the next holder of the lock sweeps it.
#[inline(never)]
pub fn delete(parent: &Dir, name: &[u8]) {
    if parent.remove(name).is_err() {
        let _ = parent.remove(name);
    }
}

/// A new directory beside the place of `name`.
pub fn temporary_dir(parent: &Dir, name: &str) -> Result<(Vec<u8>, Dir)> {
    for attempt in 0..ATTEMPTS {
        let temporary = beside(".tmp.", name, attempt);
        match parent.create_dir(&temporary, 0o700) {
            Ok(dir) => return Ok((temporary, dir)),
            Err(error) if error.errno() == Some(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    Err(parent.failed("cannot create", name.as_bytes(), Errno::EXIST))
}

/// A name beside `name` that belongs to this process, as one who holds the lock of `name`.
fn beside(prefix: &str, name: &str, attempt: u64) -> Vec<u8> {
    let pid = rustix::process::getpid().as_raw_nonzero().get() as u64;
    concat(&[prefix, name, ".", &decimal(pid), ".", &decimal(attempt)]).into_bytes()
}

/// The last component of a target: the name of a slot that is one file.
pub fn file_name(target: &str) -> &str {
    sys::split(pspf_core::placement::relative(target)).1
}

/// A lock that dies with its owner.
#[derive(Debug)]
pub struct Lock {
    _fd: Option<OwnedFd>,
}

impl Lock {
    /// Waits for the lock of `name` in `parent`. Where the file system has no locks, goes on without: publishing is a
    /// rename that never replaces anything finished.
    pub fn exclusive(parent: &Dir, name: &str) -> Result<Self> {
        Self::take(parent, concat(&[".lock.", name]).as_bytes(), FlockOperation::LockExclusive)
    }

    /// Takes the lock of `name` in `parent` unless somebody has it.
    #[cfg(feature = "all")]
    pub fn try_exclusive(parent: &Dir, name: &str) -> Result<Option<Self>> {
        match Self::take(parent, concat(&[".lock.", name]).as_bytes(), FlockOperation::NonBlockingLockExclusive) {
            Err(error) if error.errno() == Some(Errno::WOULDBLOCK) => Ok(None),
            taken => taken.map(Some),
        }
    }

    /// Waits until nobody cleans the cache up, and keeps everybody from it: what a start found stays until its workenv
    /// names it. Starts share this lock. `envs` is the directory of all workenvs.
    pub fn of_store(envs: &Dir) -> Result<Self> {
        Self::take(envs, STORE_LOCK, FlockOperation::LockShared)
    }

    fn take(parent: &Dir, file: &[u8], operation: FlockOperation) -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let fd = parent.open(file, flags, "cannot lock")?;
            match sys::retry(|| rustix::fs::flock(&fd, operation)) {
                Ok(()) => {}
                Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(Self { _fd: None }),
                Err(errno) => return Err(parent.failed("cannot lock", file, errno)),
            }
            // While we waited somebody may have cleaned up and others may have made a new file.
            if is_still_there(&fd, parent, file)? {
                return Ok(Self { _fd: Some(fd) });
            }
        }
    }
}

/// True when this name still leads to what is open.
pub fn is_still_there(open: impl AsFd, parent: &Dir, name: &[u8]) -> Result<bool> {
    let ours = parent.told("cannot look at", name, Status::of(open.as_fd()))?;
    match parent.stat(name) {
        Ok(there) => Ok(there.id == ours.id),
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// How many names are tried beside each other.
const ATTEMPTS: u64 = 1000;
