//! Files and directories through handles: nothing is looked up twice by path, no link is followed.

use alloc::vec::Vec;
use core::ffi::CStr;

use pspf_core::Source;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// A file that is read by offset.
#[derive(Debug)]
pub struct File {
    fd: OwnedFd,
    len: u64,
    by_name: bool,
}

impl File {
    /// Opens this process's own executable, once: everything else is read from this handle.
    ///
    /// Without /proc the kernel's AT_EXECFN names it; that path is relative to the directory in which the process
    /// started, where it still is.
    pub fn open_own(execfn: Option<&CStr>) -> Result<Self> {
        let opened = rustix::fs::open(c"/proc/self/exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let (path, opened) = match (opened, execfn) {
            (Ok(fd), _) => (c"/proc/self/exe", Ok(fd)),
            (Err(Errno::ACCESS), _) => {
                return Err(Error::Refused {
                    what: "this package may be executed but not read by you".into(),
                    hint: "chmod +r FILE",
                });
            }
            (Err(_), Some(path)) => (path, rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())),
            (Err(errno), None) => (c"/proc/self/exe", Err(errno)),
        };
        let by_name = path != c"/proc/self/exe";
        let opened = opened.and_then(Self::from_fd).map(|file| Self { by_name, ..file });
        opened.map_err(|errno| Error::io("cannot open", path.to_bytes(), errno))
    }

    /// True when the executable had to be opened by its name, for want of /proc.
    pub fn was_found_by_name(&self) -> bool {
        self.by_name
    }

    /// Takes an open file.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, Errno> {
        let len = rustix::fs::fstat(&fd)?.st_size as u64;
        Ok(Self { fd, len, by_name: false })
    }
}

impl Source for File {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> pspf_core::Result<usize> {
        let len = buf.len() as u64;
        retry(|| rustix::io::pread(&self.fd, &mut *buf, offset))
            .map_err(|errno| pspf_core::ErrorKind::Source { at: offset, len, errno: Some(errno.raw_os_error()) }.into())
    }
}

/// A directory handle, and the path by which it was found, for messages.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: Vec<u8>,
}

impl Dir {
    /// Opens a directory by path, following links on the way.
    pub fn open_path(path: &[u8]) -> Result<Self, Errno> {
        let fd = rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty())?;
        Ok(Self { fd, path: path.to_vec() })
    }

    /// Opens a directory in this one; a link there is refused.
    pub fn open_dir(&self, name: &[u8]) -> Result<Self, Errno> {
        let fd = rustix::fs::openat(&self.fd, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
        Ok(Self { fd, path: self.join(name) })
    }

    /// Makes a directory in this one unless it is there, and opens it; a link there is refused.
    pub fn ensure_dir(&self, name: &[u8], mode: u16) -> Result<Self> {
        let made = rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(mode.into()));
        match made {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::io("cannot create", &self.join(name), errno)),
        }
        self.open_dir(name).map_err(|errno| Error::io("cannot open", &self.join(name), errno))
    }

    /// Makes a directory that must not be there yet, and opens it.
    pub fn create_dir(&self, name: &[u8], mode: u16) -> Result<Self, Errno> {
        rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(mode.into()))?;
        self.open_dir(name)
    }

    /// Creates a file that must not be there yet.
    pub fn create_file(&self, name: &[u8], mode: u16) -> Result<OwnedFd, Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        retry(|| rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(mode.into())))
    }

    /// Opens a regular file for reading; a link there is refused.
    pub fn open_file(&self, name: &[u8]) -> Result<OwnedFd, Errno> {
        retry(|| rustix::fs::openat(&self.fd, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()))
    }

    /// The status of an entry, of the link itself when it is one.
    pub fn stat(&self, name: &[u8]) -> Result<Stat, Errno> {
        rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// The status of what an entry leads to.
    pub fn stat_target(&self, name: &[u8]) -> Result<Stat, Errno> {
        rustix::fs::statat(&self.fd, name, AtFlags::empty())
    }

    /// The status of this directory.
    pub fn own_stat(&self) -> Result<Stat> {
        rustix::fs::fstat(&self.fd).map_err(|errno| Error::io("cannot look at", &self.path, errno))
    }

    /// True when the directory belongs to who runs us and nobody else may write to it.
    pub fn is_ours(&self) -> Result<bool> {
        let stat = self.own_stat()?;
        Ok(stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & 0o022 == 0)
    }

    /// Renames an entry of this directory within it. An empty directory or a file in the way is replaced, a
    /// directory that is not empty never.
    pub fn rename(&self, from: &[u8], to: &[u8]) -> Result<(), Errno> {
        rustix::fs::renameat(&self.fd, from, &self.fd, to)
    }

    /// The names in this directory that begin with `prefix`.
    pub fn names(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
        // A handle of its own: reading moves the handle's position.
        let fd = rustix::fs::openat(&self.fd, c".", DIRECTORY, Mode::empty())?;
        let mut buffer = alloc::vec![core::mem::MaybeUninit::uninit(); 8192];
        let mut entries = rustix::fs::RawDir::new(fd, &mut buffer);
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." && name.starts_with(prefix) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Removes an entry with everything in it, following no link. What is gone already is no error.
    pub fn remove(&self, name: &[u8]) -> Result<(), Errno> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(Errno::NOENT) => return Ok(()),
            other => return other,
        }
        let dir = self.open_dir(name)?;
        for entry in dir.names(b"")? {
            dir.remove(&entry)?;
        }
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOENT) => Ok(()),
            other => other,
        }
    }

    /// The path by which it was found.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The path of an entry, for messages.
    pub fn join(&self, name: &[u8]) -> Vec<u8> {
        join(&self.path, name)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `directory/name`.
pub fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = directory.to_vec();
    if !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Writes all of `bytes`.
pub fn write_all(fd: impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match retry(|| rustix::io::write(&fd, bytes))? {
            0 => return Err(Errno::IO),
            written => bytes = &bytes[written..],
        }
    }
    Ok(())
}

/// Reads a small file to its end; more than `limit` bytes is an error.
pub fn read_all(fd: impl AsFd, limit: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    loop {
        let start = bytes.len();
        bytes.resize(start + 4096, 0);
        let read = retry(|| rustix::io::read(&fd, &mut bytes[start..]))?;
        bytes.truncate(start + read);
        if read == 0 {
            return Ok(bytes);
        }
        if bytes.len() > limit {
            return Err(Errno::FBIG);
        }
    }
}

/// Says something on standard error; when even that fails there is nobody to tell.
pub fn print_error(message: &str) {
    // SAFETY: descriptor 2 is never closed or reused by this process; if the caller closed it, the write fails.
    let stderr = unsafe { BorrowedFd::borrow_raw(2) };
    let _ = write_all(stderr, message.as_bytes());
}

/// Does it again as long as a signal interrupts it.
pub fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
