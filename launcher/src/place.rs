//! The files that say what may run here: the administrator's and the user's (docs/trust.md).

use alloc::vec::Vec;

#[cfg(feature = "all")]
use rustix::fd::AsFd;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;

use crate::environment::Environment;
use crate::error::{Error, Result};
#[cfg(feature = "all")]
use crate::sys::Status;
use crate::sys::{self, join};

/// Where such a file is: the administrator's, which no variable moves, and the user's, in `XDG_CONFIG_HOME/pspf`, else
/// `HOME/.config/pspf`.
pub fn paths(env: &Environment, name: &[u8]) -> [Vec<u8>; 2] {
    let home = match env.get(b"XDG_CONFIG_HOME") {
        Some(path) => join(path, b"pspf"),
        None => join(env.get(b"HOME").unwrap_or_default(), b".config/pspf"),
    };
    [join(b"/etc/pspf", name), join(&home, name)]
}

/// Refuses to start where there is a policy, in a launcher that cannot judge by it: packer puts it in front of packages
/// whose key nobody has given, and which nobody can have named.
#[cfg(not(feature = "all"))]
pub fn refuse_policy(env: &Environment) -> Result<()> {
    for path in paths(env, b"policy.json") {
        if open(&path).is_some() {
            let reason = "is in force, and this package cannot judge by it";
            return Err(Error::refused(&path, reason, "packer run FILE"));
        }
    }
    Ok(())
}

/// Reads such a file; `None` when there is none. One that others than the user and root can write is refused: it could be
/// anybody's word.
#[cfg(feature = "all")]
pub fn read(path: &[u8]) -> Result<Option<Vec<u8>>> {
    let Some(opened) = open(path) else { return Ok(None) };
    let read = opened.and_then(|fd| Ok((Status::of(fd.as_fd())?.is_ours(), sys::read_all(fd.as_fd(), LARGEST)?)));
    match read {
        Ok((true, text)) => Ok(Some(text)),
        Ok(_) => Err(Error::refused(
            path,
            "says what may run, and others than you and root can write it",
            "chown and chmod go-w it; under sudo, use your own HOME (sudo -H)",
        )),
        Err(errno) => Err(Error::io("cannot read", path, errno)),
    }
}

/// Opens such a file; `None` when there is none for this user.
fn open(path: &[u8]) -> Option<Result<OwnedFd, Errno>> {
    // A FIFO does not stop us; it has no content either.
    match sys::open_at(CWD, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, 0) {
        Err(Errno::NOENT | Errno::NOTDIR) => None,
        // What the user may not read is not his: he runs with somebody else's HOME.
        Err(Errno::ACCESS) if !path.starts_with(b"/etc/") => None,
        opened => Some(opened),
    }
}

/// More bytes than any of these files has.
#[cfg(feature = "all")]
const LARGEST: usize = 16 << 20;
