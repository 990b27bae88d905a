//! Files and directories through handles: nothing is looked up twice by path, no link is followed.

use alloc::vec::Vec;
use core::ffi::CStr;
use core::ops::Deref;

use pspf_core::{Source, number, text};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, StatVfsMountFlags};
use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Result};

/// A file that is read by offset.
#[derive(Debug)]
pub struct File {
    fd: OwnedFd,
    len: u64,
}

impl File {
    /// Opens this process's own executable, once: everything else is read from this handle.
    ///
    /// Without /proc the kernel's AT_EXECFN names it; that path is relative to the directory in which the process
    /// started, where it still is.
    pub fn open_own(execfn: Option<&[u8]>) -> Result<Self> {
        let open = |path| open_at(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, 0);
        let mut path = &b"/proc/self/exe"[..];
        let mut opened = open(path);
        if let (Err(Errno::NOENT), Some(execfn)) = (&opened, execfn) {
            path = execfn;
            opened = open(path);
        }
        match opened.and_then(Self::from_fd) {
            Err(Errno::ACCESS) => Err(ErrorKind::Refused {
                what: "this package may be executed but not read by you".into(),
                hint: "chmod +r FILE",
            }
            .into()),
            Err(errno) => Err(Error::io("cannot open", path, errno)),
            Ok(file) => Ok(file),
        }
    }

    /// Takes an open file.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, Errno> {
        let len = Status::of(fd.as_fd())?.size;
        Ok(Self { fd, len })
    }
}

impl Source for File {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> pspf_core::Result<usize> {
        let len = buf.len() as u64;
        read_at(self.fd.as_fd(), offset, buf)
            .map_err(|errno| pspf_core::ErrorKind::Source { at: offset, len, errno: Some(errno.raw_os_error()) }.into())
    }
}

/// What is asked about a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// What it is.
    pub kind: FileType,
    /// The nine permission bits and setuid, setgid and sticky.
    pub mode: u16,
    /// Its owner.
    pub uid: u32,
    /// In bytes.
    pub size: u64,
    /// In nanoseconds since 1970, to compare: times before that wrap around.
    pub mtime: u64,
    /// Which file it is: device and inode.
    pub id: (u64, u64),
}

impl Status {
    /// The status of what is open.
    #[inline(never)]
    pub fn of(fd: BorrowedFd<'_>) -> Result<Self, Errno> {
        rustix::fs::fstat(fd).map(|stat| Self::from_stat(&stat))
    }

    #[inline(never)]
    fn from_stat(stat: &Stat) -> Self {
        Self {
            kind: FileType::from_raw_mode(stat.st_mode),
            mode: (stat.st_mode & 0o7777) as u16,
            uid: stat.st_uid,
            size: stat.st_size as u64,
            mtime: (stat.st_mtime as u64).wrapping_mul(1_000_000_000).wrapping_add(stat.st_mtime_nsec),
            id: (stat.st_dev, stat.st_ino),
        }
    }

    /// True when nobody but who runs us, and root, may write to it.
    #[inline(never)]
    pub fn is_ours(&self) -> bool {
        (self.uid == 0 || self.is_own()) && self.mode & 0o022 == 0
    }

    /// True when it belongs to who runs us.
    pub fn is_own(&self) -> bool {
        self.uid == rustix::process::geteuid().as_raw()
    }
}

/// A directory handle.
#[derive(Debug)]
pub struct Dir(OwnedFd);

impl Dir {
    /// Opens a directory by path, following links on the way.
    pub fn open_path(path: &[u8]) -> Result<Self> {
        open_at(CWD, path, DIRECTORY, 0).map(Self).map_err(|errno| Error::io("cannot open", path, errno))
    }

    /// Opens a directory in this one; a link there is refused.
    pub fn open_dir(&self, name: &[u8]) -> Result<Self> {
        self.open(name, DIRECTORY | OFlags::NOFOLLOW, "cannot open").map(Self)
    }

    /// Opens a directory in this one, or the one that a link there leads to.
    pub fn open_linked(&self, name: &[u8]) -> Result<Self> {
        self.open(name, DIRECTORY, "cannot open").map(Self)
    }

    /// Makes a directory in this one unless it is there, and opens it; a link there is refused.
    pub fn ensure_dir(&self, name: &[u8], mode: u16) -> Result<Self> {
        match self.open_dir(name) {
            Err(error) if error.errno() == Some(Errno::NOENT) => {}
            opened => return opened,
        }
        match self.make_dir(name, mode) {
            Ok(()) | Err(Errno::EXIST) => self.open_dir(name),
            Err(errno) => Err(self.failed("cannot create", name, errno)),
        }
    }

    /// Makes a directory that must not be there yet, and opens it.
    pub fn create_dir(&self, name: &[u8], mode: u16) -> Result<Self> {
        self.told("cannot create", name, self.make_dir(name, mode))?;
        self.open_dir(name)
    }

    fn make_dir(&self, name: &[u8], mode: u16) -> Result<(), Errno> {
        rustix::fs::mkdirat(&self.0, &*terminated(name), Mode::from_raw_mode(mode.into()))
    }

    /// Creates a file that must not be there yet.
    pub fn create_file(&self, name: &[u8], mode: u16) -> Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.told("cannot create", name, open_at(self.0.as_fd(), name, flags, mode))
    }

    /// Opens a regular file for reading; a link there is refused.
    pub fn open_file(&self, name: &[u8]) -> Result<OwnedFd> {
        self.open(name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, "cannot open")
    }

    /// Opens an entry, making it as a file of the owner's own where the flags ask for it.
    pub fn open(&self, name: &[u8], flags: OFlags, doing: &'static str) -> Result<OwnedFd> {
        self.told(doing, name, open_at(self.0.as_fd(), name, flags, 0o600))
    }

    /// Makes a symbolic link.
    pub fn link(&self, name: &[u8], target: &[u8]) -> Result<()> {
        let link = || rustix::fs::symlinkat(&*terminated(target), &self.0, &*terminated(name));
        self.told("cannot create", name, link())
    }

    /// Gives a file another name.
    pub fn hard_link(&self, name: &[u8], file_dir: &Self, file: &[u8]) -> Result<()> {
        let link = || {
            let (file, name) = (terminated(file), terminated(name));
            rustix::fs::linkat(&file_dir.0, &*file, &self.0, &*name, AtFlags::empty())
        };
        self.told("cannot create", name, link())
    }

    /// Where a symbolic link leads.
    pub fn read_link(&self, name: &[u8]) -> Result<Vec<u8>> {
        self.told("cannot read", name, read_link(self.0.as_fd(), name))
    }

    /// The status of an entry, of the link itself when it is one.
    pub fn stat(&self, name: &[u8]) -> Result<Status> {
        self.stat_with(name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// The status of what an entry leads to.
    pub fn stat_target(&self, name: &[u8]) -> Result<Status> {
        self.stat_with(name, AtFlags::empty())
    }

    fn stat_with(&self, name: &[u8], flags: AtFlags) -> Result<Status> {
        let stat = || rustix::fs::statat(&self.0, &*terminated(name), flags);
        self.told("cannot look at", name, stat().map(|stat| Status::from_stat(&stat)))
    }

    /// The status of this directory.
    pub fn own_stat(&self) -> Result<Status> {
        self.told("cannot look at", b"", Status::of(self.0.as_fd()))
    }

    /// True when nobody but who runs us, and root, may write to the directory.
    pub fn is_ours(&self) -> Result<bool> {
        Ok(self.own_stat()?.is_ours())
    }

    /// Sets exactly these permission bits.
    pub fn chmod(&self, mode: u16) -> Result<()> {
        self.told("cannot set the mode of", b"", chmod(self.0.as_fd(), mode))
    }

    /// The directory at `path` below this one, following no link, made where it is missing if `make` says so.
    pub fn walk(&self, path: &str, make: bool) -> Result<Self> {
        let mut at = self.open_dir(b".")?;
        for name in text::pieces(path, b'/').filter(|name| !name.is_empty()) {
            at = if make { at.ensure_dir(name.as_bytes(), 0o755)? } else { at.open_dir(name.as_bytes())? };
        }
        Ok(at)
    }

    /// Renames an entry of this directory within it. An empty directory or a file in the way is replaced, a
    /// directory that is not empty never.
    pub fn rename(&self, from: &[u8], to: &[u8]) -> Result<(), Errno> {
        self.rename_to(from, self, to)
    }

    /// As [`rename`](Self::rename), into another directory.
    pub fn rename_to(&self, from: &[u8], to_dir: &Self, to: &[u8]) -> Result<(), Errno> {
        rustix::fs::renameat(&self.0, &*terminated(from), &to_dir.0, &*terminated(to))
    }

    /// The names in this directory that begin with `prefix`.
    pub fn names(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>> {
        // A handle of its own: reading moves the handle's position.
        let fd = self.open(b".", DIRECTORY, "cannot read")?;
        let mut buffer = Vec::with_capacity(8192);
        let mut entries = rustix::fs::RawDir::new(fd, buffer.spare_capacity_mut());
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            let entry = self.told("cannot read", b"", entry)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." && name.starts_with(prefix) {
                names.push(name.to_vec());
            }
        }
        Ok(names)
    }

    /// Removes an entry with everything in it, following no link. What is gone already is no error.
    pub fn remove(&self, name: &[u8]) -> Result<()> {
        let mut removed = self.unlink(name, AtFlags::empty());
        if let Err(Errno::ISDIR | Errno::PERM) = removed {
            let dir = self.open_dir(name)?;
            for entry in &dir.names(b"")? {
                dir.remove(entry)?;
            }
            removed = self.unlink(name, AtFlags::REMOVEDIR);
        }
        match removed {
            Err(Errno::NOENT) => Ok(()),
            other => self.told("cannot remove", name, other),
        }
    }

    fn unlink(&self, name: &[u8], flags: AtFlags) -> Result<(), Errno> {
        rustix::fs::unlinkat(&self.0, &*terminated(name), flags)
    }

    /// The result of a system call, its error told with an entry's path.
    #[inline(never)]
    pub fn told<T>(&self, doing: &'static str, name: &[u8], result: Result<T, Errno>) -> Result<T> {
        result.map_err(|errno| self.failed(doing, name, errno))
    }

    /// Why something could not be done with an entry, or with the directory itself when `name` is empty.
    #[cold]
    #[inline(never)]
    pub fn failed(&self, doing: &'static str, name: &[u8], errno: Errno) -> Error {
        // Its path is asked for only now; without /proc the entry's name has to do.
        let number = u64::from(self.0.as_raw_fd().unsigned_abs());
        let link = text::concat(&["/proc/self/fd/", &number::decimal(number)]);
        let mut path = read_link(CWD, link.as_bytes()).unwrap_or_default();
        if !path.is_empty() && !name.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        Error::io(doing, &path, errno)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Opens an entry of `dir`.
#[inline(never)]
pub fn open_at(dir: BorrowedFd<'_>, name: &[u8], flags: OFlags, mode: u16) -> Result<OwnedFd, Errno> {
    let name = terminated(name);
    retry(|| rustix::fs::openat(dir, &*name, flags, Mode::from_raw_mode(mode.into())))
}

/// Where a symbolic link leads.
pub fn read_link(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<u8>, Errno> {
    // Paths have at most 4095 bytes.
    let mut target = alloc::vec![0; 4096];
    let size = rustix::fs::readlinkat_raw(dir, &*terminated(name), &mut *target)?;
    target.truncate(size);
    Ok(target)
}

/// Moves an entry of a directory to a path.
#[cfg(feature = "all")]
pub fn rename(dir: &Dir, name: &[u8], to: &[u8]) -> Result<(), Errno> {
    rustix::fs::renameat(dir, &*terminated(name), CWD, &*terminated(to))
}

/// Makes sure that an entry can be moved and removed with everything in it: apps make directories that they may not write to.
#[cfg(feature = "all")]
pub fn unlock(parent: &Dir, name: &[u8]) -> Result<()> {
    if parent.stat(name)?.kind != FileType::Directory {
        return Ok(());
    }
    let mode = Mode::from_raw_mode(0o700);
    let changed = rustix::fs::chmodat(parent, &*terminated(name), mode, AtFlags::empty());
    parent.told("cannot set the mode of", name, changed)?;
    let dir = parent.open_dir(name)?;
    for entry in dir.names(b"")? {
        unlock(&dir, &entry)?;
    }
    Ok(())
}

/// The absolute path of this process's own executable; empty where nobody tells.
#[cfg(feature = "all")]
pub fn own_path(execfn: Option<&[u8]>) -> Vec<u8> {
    let told = || execfn.filter(|path| path.starts_with(b"/")).map(<[u8]>::to_vec);
    read_link(CWD, b"/proc/self/exe").ok().or_else(told).unwrap_or_default()
}

/// A path as the kernel takes it.
struct Terminated(Vec<u8>);

/// One copy for each call costs less than what rustix does for paths of any kind: in the launcher 250 bytes for each of
/// its functions.
#[inline(never)]
fn terminated(path: &[u8]) -> Terminated {
    // A path with a NUL in it, which nothing can have, becomes the empty one, which is nothing's either.
    let mut path = if path.contains(&0) { Vec::new() } else { path.to_vec() };
    path.push(0);
    Terminated(path)
}

impl Deref for Terminated {
    type Target = CStr;

    fn deref(&self) -> &CStr {
        // SAFETY: `terminated` alone makes these: there is one NUL, at the end. Looking for it takes 180 bytes.
        unsafe { CStr::from_bytes_with_nul_unchecked(&self.0) }
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

/// The path of an entry's directory, empty for the root, and the entry's name.
pub fn split(path: &str) -> (&str, &str) {
    text::rsplit_once(path, b'/').unwrap_or(("", path))
}

/// Sets exactly these permission bits.
pub fn chmod(fd: BorrowedFd<'_>, mode: u16) -> Result<(), Errno> {
    rustix::fs::fchmod(fd, Mode::from_raw_mode(mode.into()))
}

/// True when no program may run on the file system (statfs(2): ST_NOEXEC).
pub fn is_noexec(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fstatfs(fd).is_ok_and(|stat| stat.f_flags as u64 & StatVfsMountFlags::NOEXEC.bits() != 0)
}

/// Sets a file's times to now, at most once a day: they say when it was used last. That it cannot be told, as where nothing
/// can be written, is no reason not to use it.
pub fn mark_used(fd: BorrowedFd<'_>) {
    let day = 24 * 60 * 60 * 1_000_000_000;
    if Status::of(fd).is_ok_and(|stat| crate::exec::now().wrapping_sub(stat.mtime) > day) {
        let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
        let _ = rustix::fs::futimens(fd, &rustix::fs::Timestamps { last_access: now, last_modification: now });
    }
}

/// Makes this the current directory of the process.
#[cfg(feature = "all")]
pub fn change_directory(path: &[u8]) -> Result<(), Errno> {
    rustix::process::chdir(&*terminated(path))
}

/// Writes all of `bytes`.
pub fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match retry(|| rustix::io::write(fd, bytes))? {
            0 => return Err(Errno::IO),
            written => bytes = &bytes[written..],
        }
    }
    Ok(())
}

/// Reads at an offset, as much as there is in one go; 0 at the end.
#[inline(never)]
pub fn read_at(fd: BorrowedFd<'_>, offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
    retry(|| rustix::io::pread(fd, &mut *buf, offset))
}

/// Reads a small file to its end; more than `limit` bytes is an error.
pub fn read_all(fd: BorrowedFd<'_>, limit: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    loop {
        let start = bytes.len();
        bytes.resize(start + start.clamp(4096, 1 << 20), 0);
        let read = retry(|| rustix::io::read(fd, &mut bytes[start..]))?;
        bytes.truncate(start + read);
        if read == 0 {
            return Ok(bytes);
        }
        if bytes.len() > limit {
            return Err(Errno::FBIG);
        }
    }
}

/// Seconds since 1970, by the machine's clock.
#[cfg(feature = "all")]
pub fn now() -> u64 {
    crate::exec::now() / 1_000_000_000
}

/// Says something on standard error; when even that fails there is nobody to tell.
pub fn print_error(message: &str) {
    // SAFETY: descriptor 2 is never closed or reused by this process; if the caller closed it, the write fails.
    let stderr = unsafe { BorrowedFd::borrow_raw(2) };
    let _ = write_all(stderr, message.as_bytes());
}

/// True when somebody may be reading what goes to standard error.
#[cfg(feature = "all")]
pub fn stderr_is_terminal() -> bool {
    // SAFETY: as in `print_error`.
    rustix::termios::isatty(unsafe { BorrowedFd::borrow_raw(2) })
}

/// Writes to standard output.
pub fn print(text: &[u8]) -> Result<()> {
    // SAFETY: descriptor 1 is never closed or reused by this process; if the caller closed it, the write fails.
    let stdout = unsafe { BorrowedFd::borrow_raw(1) };
    write_all(stdout, text).map_err(|errno| Error::io("cannot write to", b"standard output", errno))
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
