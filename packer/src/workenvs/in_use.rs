//! Who uses what: locks, and the environments of running processes.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use launcher::seal;
use launcher::store::is_still_there;
use launcher::sys::Dir;
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

/// Locks that nobody else has. They are ours while this lives; where their files are missing there is nothing to hold.
pub(super) type Locks = Vec<OwnedFd>;

/// Locks a workenv; `None` when an app has the lock on its seal, or a start the one of its name.
pub(super) fn of_env(envs: &Dir, name: &str) -> Option<Locks> {
    let mut locks = of_name(envs, name)?;
    let dir = envs.open_dir(name.as_bytes()).ok()?;
    match lock(&dir, seal::NAME) {
        Ok(seal) => locks.push(seal?),
        Err(Errno::NOENT | Errno::LOOP) => {}
        Err(_) => return None,
    }
    Some(locks)
}

/// Takes the lock of a name in a directory of the store; `None` when a start has it that extracts or sets up, or waits to.
pub(super) fn of_name(parent: &Dir, name: &str) -> Option<Locks> {
    let file = format!(".lock.{name}");
    match lock(parent, file.as_bytes()) {
        Ok(lock) => Some(vec![lock?]),
        Err(Errno::NOENT) => Some(Vec::new()),
        Err(_) => None,
    }
}

/// Takes the lock on a file that is there, without waiting; `None` when somebody has it.
fn lock(dir: &Dir, name: &[u8]) -> Result<Option<OwnedFd>, Errno> {
    // NFS gives an exclusive lock only to those who may write.
    let open = |access| dir.open(name, access | OFlags::NOFOLLOW | OFlags::CLOEXEC, "cannot open");
    let fd = open(OFlags::RDWR).or_else(|_| open(OFlags::RDONLY));
    let fd = fd.map_err(|error| error.errno().unwrap_or(Errno::IO))?;
    if !try_lock(&fd)? {
        return Ok(None);
    }
    // Somebody may have put another file there meanwhile.
    Ok(is_still_there(&fd, dir, name).is_ok_and(|there| there).then_some(fd))
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
pub(super) fn running() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let environ = fs::read(process.path().join("environ")).unwrap_or_default();
        let paths = environ.split(|byte| *byte == 0).filter_map(|variable| variable.strip_prefix(VARIABLE));
        // A workenv's name depends on the path of its cache, so that it alone is enough.
        names.extend(
            paths.filter_map(|path| Path::new(OsStr::from_bytes(path)).file_name()?.to_str().map(str::to_owned)),
        );
    }
    names
}

const VARIABLE: &[u8] = b"FLAVOR_WORKENV=";
