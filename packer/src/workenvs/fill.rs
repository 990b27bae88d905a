//! The system's store: slots that root extracts once, for every user of a machine or container image.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use launcher::extract::hash_tree;
use launcher::seal::{self, Seal, Writer};
use launcher::store::{self, CONTENT, Check, Lock, SYSTEM, Shared};
use launcher::sys::{self, Dir};
use pspf_core::placement::Placement;
use pspf_core::{Verified, archive};
use rustix::fd::AsFd as _;
use rustix::fs::{AtFlags, FileType, Timespec, Timestamps};
use serde::Serialize;

use crate::error::{Error, Kind, Result};
use crate::package_file::{PackageFile, of_launcher};
use crate::progress::Progress;

/// Where the system's store is unless somebody says so: `/var/cache/pspf`. Launchers look nowhere else.
pub fn system_cache() -> &'static Path {
    Path::new(SYSTEM.trim_end_matches("v1/slots/"))
}

/// What [`fill`] has done. Its JSON is a stable interface.
#[derive(Debug, Serialize)]
pub struct Filled {
    /// The package.
    pub file: PathBuf,
    /// The directory of the slots.
    pub store: PathBuf,
    /// Those of the package's slots that can be shared.
    pub slots: Vec<FilledSlot>,
    /// The ids of the others: every workenv gets its own.
    pub private: Vec<String>,
    /// False when the directory is not root's, so that only its owner's starts use it.
    pub for_everybody: bool,
}

/// A slot in the system's store.
#[derive(Debug, Serialize)]
pub struct FilledSlot {
    /// Its id in the package.
    pub id: String,
    /// Its name in the store.
    pub name: String,
    /// What it takes on disk, in bytes.
    pub bytes: u64,
    /// False when it was there already.
    pub is_new: bool,
}

/// Extracts the slots of a package that can be shared into `cache`, readable by everybody and flushed to the disk. Every byte of
/// the package is checked first. One that is there is read, and replaced when it is damaged.
///
/// Files get the package's build time: whole seconds, which layers of container images keep.
pub fn fill(file: &PackageFile, cache: &Path, progress: &dyn Progress) -> Result<Filled> {
    progress.stage("verifying", None);
    let verified = file.verify_whole()?;
    let store = make_store(cache)?;
    let failed = |error| of_launcher(&error).file(file.path());
    let dir = Dir::open_path(store.as_os_str().as_bytes()).map_err(failed)?;
    let for_everybody = fs::metadata(&store).is_ok_and(|metadata| metadata.uid() == 0);
    let mut filled = Filled {
        file: file.path().into(),
        store: store.clone(),
        slots: Vec::new(),
        private: Vec::new(),
        for_everybody,
    };
    progress.stage("extracting", None);
    for ((index, slot), placement) in (0_u32..).zip(&verified.metadata().slots).zip(verified.placements()) {
        progress.check()?;
        match Shared::of(&verified, index, &placement) {
            Some(shared) => {
                let is_new = extract(&shared, &verified, &dir).map_err(failed)?;
                let bytes = super::size_of(&store.join(&shared.name));
                filled.slots.push(FilledSlot { id: slot.id.clone(), name: shared.name, bytes, is_new });
            }
            None if placement == Placement::Unplaced => {}
            None => filled.private.push(slot.id.clone()),
        }
    }
    // The seals that say it, and the names.
    flush(&dir).map_err(failed)?;
    Ok(filled)
}

/// Makes the directories of the store, which everybody can read and nobody else write.
fn make_store(cache: &Path) -> Result<PathBuf> {
    let cache = std::path::absolute(cache).map_err(|error| Error::io("cannot make", cache, &error))?;
    let missing: Vec<&Path> = cache.ancestors().skip(1).take_while(|path| !path.exists()).collect();
    for directory in missing.into_iter().rev() {
        make(directory)?;
    }
    for directory in [cache.clone(), cache.join("v1"), cache.join("v1/slots")] {
        let metadata = make(&directory)?;
        let found = match metadata.mode() & 0o7777 {
            _ if !metadata.is_dir() => "no directory".to_owned(),
            mode if mode & 0o022 != 0 || mode & 0o005 != 0o005 => format!("mode {mode:04o}"),
            _ => continue,
        };
        return Err(Error::new(Kind::Configuration, "no launcher takes a store from this directory")
            .file(&directory)
            .expected("a directory that everybody can read and only its owner write (0755)")
            .found(found)
            .hint(format!("chmod 0755 {}", directory.display())));
    }
    Ok(cache.join("v1/slots"))
}

/// Makes a directory unless it is there, and says what is.
fn make(directory: &Path) -> Result<fs::Metadata> {
    let made = match fs::create_dir(directory) {
        // A umask may have taken something away.
        Ok(()) => fs::set_permissions(directory, fs::Permissions::from_mode(DIRECTORY.into())),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    };
    made.and_then(|()| fs::symlink_metadata(directory)).map_err(|error| {
        let new = Error::io("cannot make the store of the system in", directory, &error);
        match error.kind() {
            ErrorKind::PermissionDenied => new.hint("do it as root: sudo packer workenv fill"),
            _ => new,
        }
    })
}

/// Puts a slot into its place; false when it is there and intact.
fn extract(shared: &Shared, verified: &Verified<'_, fs::File>, slots: &Dir) -> launcher::Result<bool> {
    let name = shared.name.as_str();
    let _lock = Lock::exclusive(slots, name)?;
    if is_there(shared, slots)? {
        return Ok(false);
    }
    store::sweep(slots, name)?;
    store::make(slots, name, |dir| write(shared, verified, dir))?;
    Ok(true)
}

/// True when everybody finds the slot intact.
fn is_there(shared: &Shared, slots: &Dir) -> launcher::Result<bool> {
    let Some(dir) = store::present(slots.open_dir(shared.name.as_bytes()))? else { return Ok(false) };
    let Some(content) = store::present(dir.open_dir(CONTENT.as_bytes()))? else { return Ok(false) };
    let is_open = dir.own_stat()?.mode == DIRECTORY && dir.stat(seal::NAME).is_ok_and(|seal| seal.mode == SEAL);
    let is_open = is_open && content.own_stat()?.mode == DIRECTORY;
    Ok(is_open && shared.is_intact(slots, Check::Rows)? && hash_tree(&content)? == shared.tree)
}

/// Writes content and seal. The seal says that they are on the disk, and they are.
fn write(shared: &Shared, verified: &Verified<'_, fs::File>, dir: &Dir) -> launcher::Result<()> {
    let content = dir.create_dir(CONTENT.as_bytes(), archive::DIRECTORY_MODE)?;
    content.chmod(DIRECTORY)?;
    let placement = pspf_core::placement::Placement::Shared(shared.path.clone());
    store::write(verified, shared.index, &placement, &content, store::file_name(&shared.path), None)?;
    let mut seal = Writer::create(dir)?;
    open_to_all(&content, "", verified.package().index().build_timestamp(), &mut seal)?;
    let seal = seal.finish(dir, &shared.name, shared.tree, ["", ""])?;
    flush(dir)?;
    Seal::settle(dir)?;
    dir.told("cannot set the mode of", seal::NAME, sys::chmod(seal.as_fd(), SEAL))?;
    dir.chmod(DIRECTORY)
}

fn flush(dir: &Dir) -> launcher::Result<()> {
    dir.told("cannot flush", b"", rustix::fs::syncfs(dir.as_fd()))
}

/// Gives everything below `dir` its time, and a row of the seal. Directories are made readable: a umask may forbid it.
fn open_to_all(dir: &Dir, prefix: &str, seconds: u64, seal: &mut Writer) -> launcher::Result<()> {
    let mut names = dir.names(b"")?;
    names.sort();
    for name in names {
        // No slot has a name that is not UTF-8.
        let path = format!("{prefix}{}", String::from_utf8_lossy(&name));
        match dir.stat(&name)?.kind {
            FileType::Directory => {
                let below = dir.open_dir(&name)?;
                below.chmod(DIRECTORY)?;
                seal.row(&path, &below.own_stat()?)?;
                open_to_all(&below, &format!("{path}/"), seconds, seal)?;
            }
            _ => {
                let time = Timespec { tv_sec: seconds as i64, tv_nsec: 0 };
                let times = Timestamps { last_access: time, last_modification: time };
                let set = rustix::fs::utimensat(dir.as_fd(), name.as_slice(), &times, AtFlags::SYMLINK_NOFOLLOW);
                dir.told("cannot set the time of", &name, set)?;
                seal.row(&path, &dir.stat(&name)?)?;
            }
        }
    }
    Ok(())
}

/// What everybody may do with directories and seals of the store.
const DIRECTORY: u16 = 0o755;
const SEAL: u16 = 0o644;
