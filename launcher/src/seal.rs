//! Seals: the file in a slot or workenv that says what is in it and that it is whole.
//!
//! A seal is written last. It is text: a header of fixed size, then one row per entry, each ended by a NUL.
//!
//! ```text
//! pspf-seal 1 <identity> <tree digest> <entries> <boot> <durable>      padded with spaces to 255 bytes, newline
//! f 444 <size> <mtime in ns> <path>\0     d 755 0 <mtime> <path>\0     l 777 0 0 <path>\0
//! ```

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use pspf_core::Digest;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::sys::{self, Dir};

/// The seal's name in its directory.
pub const NAME: &[u8] = b".seal";

/// The header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What is sealed: a slot's or workenv's name in the store.
    pub identity: String,
    /// The digest of the tree; zeros where there is none to compare with.
    pub tree: Digest,
    /// How many rows follow.
    pub entries: u64,
    /// The boot in which it was written.
    pub boot: String,
    /// True once the content was read back in a later boot: it had reached the disk.
    pub durable: bool,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// `f`, `d` or `l`.
    pub kind: char,
    /// The permission bits.
    pub mode: u32,
    /// In bytes; 0 for anything but a file.
    pub size: u64,
    /// In nanoseconds since 1970; 0 for links.
    pub mtime: i64,
    /// Relative to what is sealed.
    pub path: String,
}

/// Writes a seal: rows as they come, the header at the end.
pub struct Writer {
    fd: OwnedFd,
    path: Vec<u8>,
    rows: Vec<u8>,
    entries: u64,
}

impl Header {
    /// Opens the seal in `dir` and reads its header; `None` when there is none or when it cannot be read.
    pub fn open(dir: &Dir) -> Result<Option<(Self, OwnedFd)>> {
        let fd = match dir.open_file(NAME) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::LOOP) => return Ok(None),
            Err(errno) => return Err(Error::io("cannot open", &dir.join(NAME), errno)),
        };
        let mut block = [0; HEADER];
        let read = sys::retry(|| rustix::io::pread(&fd, &mut block, 0))
            .map_err(|errno| Error::io("cannot read", &dir.join(NAME), errno))?;
        Ok(if read == HEADER { Self::parse(&block).map(|header| (header, fd)) } else { None })
    }

    fn parse(block: &[u8; HEADER]) -> Option<Self> {
        let text = core::str::from_utf8(block).ok()?;
        let mut words = text.split_ascii_whitespace();
        if (words.next()?, words.next()?) != ("pspf-seal", "1") {
            return None;
        }
        Some(Self {
            identity: words.next()?.to_owned(),
            tree: Digest::from_hex(words.next()?)?,
            entries: words.next()?.parse().ok()?,
            boot: words.next()?.to_owned(),
            durable: words.next()? == "durable",
        })
    }

    /// Replaces the header of an existing seal.
    pub fn rewrite(&self, dir: &Dir) -> Result<()> {
        let failed = |errno| Error::io("cannot write", &dir.join(NAME), errno);
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(dir, NAME, flags, Mode::empty()).map_err(failed)?;
        sys::write_all(fd, &self.block()).map_err(failed)
    }

    fn block(&self) -> [u8; HEADER] {
        let Self { identity, tree, entries, boot, durable } = self;
        let durable = if *durable { "durable" } else { "fresh" };
        let text = format!("pspf-seal 1 {identity} {tree} {entries} {boot} {durable}");
        let mut block = [b' '; HEADER];
        let size = text.len().min(HEADER - 1);
        block[..size].copy_from_slice(&text.as_bytes()[..size]);
        block[HEADER - 1] = b'\n';
        block
    }
}

impl Row {
    /// The row of an entry with this status.
    pub fn new(path: String, stat: &Stat) -> Self {
        let kind = match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
            rustix::fs::FileType::Directory => 'd',
            rustix::fs::FileType::Symlink => 'l',
            _ => 'f',
        };
        let file = kind == 'f';
        let mtime = stat.st_mtime.wrapping_mul(1_000_000_000).wrapping_add(stat.st_mtime_nsec as i64);
        Self {
            kind,
            mode: stat.st_mode & 0o7777,
            size: if file { stat.st_size as u64 } else { 0 },
            // Directories and links change their times when something beside them happens.
            mtime: if file { mtime } else { 0 },
            path,
        }
    }

    /// True when the entry in `dir`, or what it leads to, is still as it was.
    pub fn describes(&self, dir: &Dir) -> bool {
        let stat =
            if self.kind == 'l' { dir.stat(self.path.as_bytes()) } else { dir.stat_target(self.path.as_bytes()) };
        stat.is_ok_and(|stat| Self::new(self.path.clone(), &stat) == *self)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.splitn(5, ' ');
        Some(Self {
            kind: words.next()?.chars().next()?,
            mode: u32::from_str_radix(words.next()?, 8).ok()?,
            size: words.next()?.parse().ok()?,
            mtime: words.next()?.parse().ok()?,
            path: words.next()?.to_string(),
        })
    }
}

/// The rows of a seal; `None` when it was cut off.
pub fn read_rows(fd: &OwnedFd, header: &Header, path: &[u8]) -> Result<Option<Vec<Row>>> {
    let failed = |errno| Error::io("cannot read", path, errno);
    rustix::fs::seek(fd, rustix::fs::SeekFrom::Start(HEADER as u64)).map_err(failed)?;
    let bytes = sys::read_all(fd, LARGEST).map_err(failed)?;
    let rows = core::str::from_utf8(&bytes).ok().and_then(|text| {
        let rows: Option<Vec<Row>> = text.split_terminator('\0').map(Row::parse).collect();
        rows.filter(|rows| rows.len() as u64 == header.entries)
    });
    Ok(rows)
}

impl Writer {
    /// Begins a seal with this name in `dir`.
    pub fn create(dir: &Dir, name: &[u8]) -> Result<Self> {
        let path = dir.join(name);
        let fd = dir.create_file(name, 0o600).map_err(|errno| Error::io("cannot create", &path, errno))?;
        let mut writer = Self { fd, path, rows: Vec::new(), entries: 0 };
        writer.rows.resize(HEADER, b' ');
        Ok(writer)
    }

    /// Adds a row.
    pub fn row(&mut self, row: &Row) -> Result<()> {
        let Row { kind, mode, size, mtime, path } = row;
        self.rows.extend_from_slice(format!("{kind} {mode:o} {size} {mtime} {path}\0").as_bytes());
        self.entries += 1;
        if self.rows.len() >= FLUSH { self.flush() } else { Ok(()) }
    }

    /// Writes the header. Only now is it a seal. Gives the file back, for locking.
    pub fn finish(mut self, identity: &str, tree: Digest) -> Result<OwnedFd> {
        self.flush()?;
        let header = Header { identity: identity.into(), tree, entries: self.entries, boot: boot_id(), durable: false };
        let failed = |errno| Error::io("cannot write", &self.path, errno);
        rustix::fs::seek(&self.fd, rustix::fs::SeekFrom::Start(0)).map_err(failed)?;
        sys::write_all(&self.fd, &header.block()).map_err(failed)?;
        Ok(self.fd)
    }

    fn flush(&mut self) -> Result<()> {
        sys::write_all(&self.fd, &self.rows).map_err(|errno| Error::io("cannot write", &self.path, errno))?;
        self.rows.clear();
        Ok(())
    }
}

/// Names the current boot; `-` where the system does not tell.
pub fn boot_id() -> String {
    let path = c"/proc/sys/kernel/random/boot_id";
    let read = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|fd| sys::read_all(fd, 4096))
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let id = read.map(|text| text.trim().to_string()).filter(|id| !id.is_empty() && !id.contains(' '));
    id.unwrap_or_else(|| "-".into())
}

/// The size of the header in bytes.
const HEADER: usize = 256;
/// How many bytes of rows are held back.
const FLUSH: usize = 64 << 10;
/// The largest seal that is read, in bytes.
const LARGEST: usize = 512 << 20;
