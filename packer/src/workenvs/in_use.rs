//! Who uses what: locks, and the environments of running processes.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use launcher::seal;
use launcher::store::{is_still_there, present};
use launcher::sys::Dir;
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// Locks that nobody else has. They are ours while this lives; where their files are missing there is nothing to hold.
pub(super) type Locks = Vec<OwnedFd>;

/// Locks a workenv; `None` when an app has the lock on its seal, or a start the one of its name.
pub(super) fn of_env(envs: &Dir, name: &str) -> launcher::Result<Option<Locks>> {
    let Some(mut locks) = of_name(envs, name)? else { return Ok(None) };
    let Some(dir) = present(envs.open_dir(name.as_bytes()))? else { return Ok(None) };
    match lock(&dir, seal::NAME) {
        Ok(Some(seal)) => locks.push(seal),
        Ok(None) => return Ok(None),
        Err(error) if matches!(error.errno(), Some(Errno::NOENT | Errno::LOOP)) => {}
        Err(error) => return Err(error),
    }
    Ok(Some(locks))
}

/// Takes the lock of a name in a directory of the store; `None` when a start has it that extracts or sets up, or waits to.
pub(super) fn of_name(parent: &Dir, name: &str) -> launcher::Result<Option<Locks>> {
    let file = format!(".lock.{name}");
    match lock(parent, file.as_bytes()) {
        Ok(lock) => Ok(lock.map(|lock| vec![lock])),
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(Some(Vec::new())),
        Err(error) => Err(error),
    }
}

/// Takes the lock on a file that is there, without waiting; `None` when somebody has it, or nobody can tell because the
/// file system has no locks.
fn lock(dir: &Dir, name: &[u8]) -> launcher::Result<Option<OwnedFd>> {
    // NFS gives an exclusive lock only to those who may write.
    let open = |access| dir.open(name, access | OFlags::NOFOLLOW | OFlags::CLOEXEC, "cannot open");
    let fd = open(OFlags::RDWR).or_else(|_| open(OFlags::RDONLY))?;
    match try_lock(&fd) {
        // Somebody may have put another file there meanwhile.
        Ok(true) => Ok(is_still_there(&fd, dir, name)?.then_some(fd)),
        Ok(false) | Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(None),
        Err(errno) => Err(dir.failed("cannot lock", name, errno)),
    }
}

/// Takes the lock on an open file, without waiting; false when somebody has it.
pub(super) fn try_lock(fd: &OwnedFd) -> Result<bool, Errno> {
    match launcher::sys::retry(|| rustix::fs::flock(fd, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// The names of the workenvs in whose environment processes run that this one may look at. Daemons close every
/// descriptor, the lock's too; what they were started with stays.
///
/// Where there is no `/proc`, or not for this user, there are none; any other error is one, since somebody may run whom it
/// hides.
pub(super) fn running() -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let processes = match fs::read_dir(PROCESSES) {
        Err(error) if is_hidden(&error) => return Ok(names),
        processes => processes.map_err(|error| cannot_tell(Path::new(PROCESSES), &error))?,
    };
    for process in processes {
        let path = process.map_err(|error| cannot_tell(Path::new(PROCESSES), &error))?.path().join("environ");
        let environ = match fs::read(&path) {
            Err(error) if is_hidden(&error) => continue,
            environ => environ.map_err(|error| cannot_tell(&path, &error))?,
        };
        let paths = environ.split(|byte| *byte == 0).filter_map(|variable| variable.strip_prefix(VARIABLE));
        // A workenv's name depends on the path of its cache, so that it alone is enough.
        names.extend(
            paths.filter_map(|path| Path::new(OsStr::from_bytes(path)).file_name()?.to_str().map(str::to_owned)),
        );
    }
    Ok(names)
}

/// True when something is not there, ended meanwhile, or is somebody else's.
fn is_hidden(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied)
        || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}

fn cannot_tell(path: &Path, error: &io::Error) -> Error {
    Error::io("cannot tell which apps run, and so what is in use", path, error)
}

const PROCESSES: &str = "/proc";
const VARIABLE: &[u8] = b"FLAVOR_WORKENV=";
