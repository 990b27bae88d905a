//! The slot store: one directory per slot, named by its content, read-only and shared by every package and version
//! that carries it.
//!
//! A slot is extracted beside its place, sealed, and renamed into it, so that it is there whole or not at all.
//! Of many first starts one extracts and the others wait for its lock, which the kernel releases when its owner dies.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use pspf_core::digest::Hasher;
use pspf_core::placement::Placement;
use pspf_core::{Digest, Source, Verified, archive};
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::extract::{Extractor, hash_tree};
use crate::seal::{self, Header, Writer};
use crate::sys::{self, Dir};

/// The directory in a slot that holds its files, beside the seal.
pub const CONTENT: &str = "content";

/// A slot that is in the store, or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// Its index in the package.
    pub index: u32,
    /// Its name in the store: the digest of everything that decides what its files are.
    pub name: String,
    /// Where the workenv has a link to it.
    pub placement: Placement,
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
        let claim = verified.claims()?.slots.get(index as usize)?;
        let target = &verified.metadata().slots.get(index as usize)?.target;
        let mut hasher = Hasher::new();
        hasher.update(&claim.digest.0);
        hasher.update(&claim.operations.raw().to_le_bytes());
        hasher.update(&claim.permissions.to_le_bytes());
        if !claim.operations.is_archive() {
            hasher.update(file_name(target).as_bytes());
        }
        let name = format!("{}", hasher.finish());
        Some(Self { index, name, placement: placement.clone(), tree: claim.tree? })
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
        let (temporary, dir) = temporary_dir(slots, &self.name)?;
        let published = self.extract(verified, &dir).and_then(|()| publish(slots, &temporary, &self.name));
        if published.is_err() {
            // What cannot be removed is in nobody's way; the next holder of the lock sweeps it.
            let _ = slots.remove(&temporary);
        }
        drop(lock);
        published
    }

    /// True when it is in the store and passes the check. In another boot than the one that wrote it, its content is
    /// read once, for what had not reached the disk.
    pub fn is_intact(&self, slots: &Dir, check: Check) -> Result<bool> {
        let Some((dir, header, fd)) = open_sealed(slots, &self.name)? else { return Ok(false) };
        if header.tree != self.tree {
            return Ok(false);
        }
        let survived = header.durable || header.boot == seal::boot_id();
        if survived && check == Check::Seal {
            return Ok(true);
        }
        let content = match dir.open_dir(CONTENT.as_bytes()) {
            Ok(content) => content,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
            Err(errno) => return Err(Error::io("cannot open", &dir.join(CONTENT.as_bytes()), errno)),
        };
        if survived && check == Check::Rows {
            let rows = seal::read_rows(&fd, &header, dir.path())?;
            return Ok(rows.is_some_and(|rows| rows.iter().all(|row| row.describes(&content))));
        }
        if hash_tree(&content)? != self.tree {
            return Ok(false);
        }
        if !header.durable && !survived {
            // When it cannot be marked, the next start reads it again.
            let _ = Header { durable: true, ..header }.rewrite(&dir);
        }
        Ok(true)
    }

    /// Writes content and seal into `dir`.
    fn extract<S: Source>(&self, verified: &Verified<'_, S>, dir: &Dir) -> Result<()> {
        let content = dir
            .create_dir(CONTENT.as_bytes(), archive::DIRECTORY_MODE)
            .map_err(|errno| Error::io("cannot create", &dir.join(CONTENT.as_bytes()), errno))?;
        let mut seal = Writer::create(dir, seal::NAME)?;
        let target = verified.metadata().slots.get(self.index as usize).map_or("", |slot| slot.target.as_str());
        write(verified, self.index, &self.placement, &content, file_name(target), Some(&mut seal))?;
        seal.finish(&self.name, self.tree)?;
        Ok(())
    }
}

/// Opens a slot whose seal is its own and whose directory is ours.
fn open_sealed(slots: &Dir, name: &str) -> Result<Option<(Dir, Header, OwnedFd)>> {
    let dir = match slots.open_dir(name.as_bytes()) {
        Ok(dir) => dir,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        Err(errno) => return Err(Error::io("cannot open", &slots.join(name.as_bytes()), errno)),
    };
    if !dir.is_ours()? {
        return Ok(None);
    }
    let opened = Header::open(&dir)?.filter(|(header, _)| header.identity == name);
    Ok(opened.map(|(header, fd)| (dir, header, fd)))
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
    let entry = &verified.metadata().slots.get(index as usize);
    let id = entry.map_or("", |slot| slot.id.as_str());
    let failed = |error| Error::Slot { id: id.into(), error };
    let descriptor = *verified.package().descriptor(index).map_err(failed)?;
    let claim = verified.claims().and_then(|claims| claims.slots.get(index as usize));
    let mut slot = verified.slot(index).map_err(failed)?;
    let extractor = Extractor::new(root, placement, seal);
    let extracted = if descriptor.operations.is_archive() {
        extractor.archive(id, &mut slot)?
    } else {
        let permissions = if descriptor.permissions == 0 { 0o600 } else { descriptor.permissions };
        extractor.raw(id, file_name, permissions, &mut slot)?
    };
    slot.finish().map_err(failed)?;
    let Some(expected) = claim.and_then(|claim| claim.tree) else { return Ok(()) };
    let found = match extracted.tree {
        Some(tree) => tree,
        None => {
            let mut again = verified.slot(index).map_err(failed)?;
            let mut hasher = pspf_core::tree::TreeHasher::collecting();
            archive::hash_tree(&mut again, placement, &mut hasher).map_err(failed)?;
            hasher.finish().0
        }
    };
    if found != expected {
        return Err(failed(pspf_core::Error::malformed(pspf_core::Part::Slot(index), 0, expected, found)));
    }
    Ok(())
}

/// Puts a finished directory into its place. What was there has no seal or a broken one, and goes to the trash.
fn publish(parent: &Dir, temporary: &[u8], name: &str) -> Result<()> {
    let failed = |errno| Error::io("cannot publish", &parent.join(name.as_bytes()), errno);
    match parent.rename(temporary, name.as_bytes()) {
        Ok(()) => Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {
            discard(parent, name)?;
            parent.rename(temporary, name.as_bytes()).map_err(failed)
        }
        Err(errno) => Err(failed(errno)),
    }
}

/// Moves something out of the way and deletes it.
pub fn discard(parent: &Dir, name: &str) -> Result<()> {
    let pid = rustix::process::getpid().as_raw_nonzero();
    for attempt in 0..ATTEMPTS {
        let trash = format!(".trash.{name}.{pid}.{attempt}").into_bytes();
        match parent.rename(name.as_bytes(), &trash) {
            Ok(()) => {
                // What cannot be deleted now is swept later.
                let _ = parent.remove(&trash);
                return Ok(());
            }
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(errno) => return Err(Error::io("cannot move away", &parent.join(name.as_bytes()), errno)),
        }
    }
    Err(Error::io("cannot move away", &parent.join(name.as_bytes()), Errno::EXIST))
}

/// Deletes what owners of this lock who died have left. Whoever holds the lock is the only one to have any.
pub fn sweep(parent: &Dir, name: &str) -> Result<()> {
    for prefix in [".tmp.", ".trash."] {
        let prefix = format!("{prefix}{name}.").into_bytes();
        let left = parent.names(&prefix).map_err(|errno| Error::io("cannot read", parent.path(), errno))?;
        for name in left {
            let _ = parent.remove(&name);
        }
    }
    Ok(())
}

/// A new directory beside the place of `name`.
pub fn temporary_dir(parent: &Dir, name: &str) -> Result<(Vec<u8>, Dir)> {
    let pid = rustix::process::getpid().as_raw_nonzero();
    for attempt in 0..ATTEMPTS {
        let temporary = format!(".tmp.{name}.{pid}.{attempt}").into_bytes();
        match parent.create_dir(&temporary, 0o700) {
            Ok(dir) => return Ok((temporary, dir)),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::io("cannot create", &parent.join(&temporary), errno)),
        }
    }
    Err(Error::io("cannot create", &parent.join(name.as_bytes()), Errno::EXIST))
}

/// The last component of a target: the name of a slot that is one file.
pub fn file_name(target: &str) -> &str {
    pspf_core::placement::relative(target).rsplit('/').next().unwrap_or_default()
}

/// An exclusive lock that dies with its owner.
#[derive(Debug)]
pub struct Lock {
    _fd: Option<OwnedFd>,
}

impl Lock {
    /// Waits for the lock of `name` in `parent`. Where the file system has no locks, goes on without: publishing is a
    /// rename that never replaces anything finished.
    pub fn exclusive(parent: &Dir, name: &str) -> Result<Self> {
        let file = format!(".lock.{name}").into_bytes();
        let failed = |errno| Error::io("cannot lock", &parent.join(&file), errno);
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(parent, &file[..], flags, Mode::from_raw_mode(0o600)).map_err(failed)?;
            match sys::retry(|| rustix::fs::flock(&fd, FlockOperation::LockExclusive)) {
                Ok(()) => {}
                Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(Self { _fd: None }),
                Err(errno) => return Err(failed(errno)),
            }
            // While we waited somebody may have cleaned up and others may have made a new file.
            let ours = rustix::fs::fstat(&fd).map_err(failed)?;
            match parent.stat(&file) {
                Ok(there) if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino) => {
                    return Ok(Self { _fd: Some(fd) });
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
    }
}

/// How many names are tried beside each other.
const ATTEMPTS: u32 = 1000;
