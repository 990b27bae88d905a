//! Seals: the file in a slot or workenv that says what is in it and that it is whole.
//!
//! A seal is written last. It is text: a header of fixed size, then one row per entry, each ended by a NUL.
//!
//! ```text
//! pspf-seal 1 <identity> <tree digest> <entries> <boot>    newline
//! <name> <version>                                         of a workenv's package; cut off or padded with spaces at
//!                                                          248 bytes, then "fresh  " or "durable", newline
//! f 444 <size> <mtime in ns> <path>\0        d 755 0 0 <path>\0        l 777 0 0 <path>\0
//! ```

use alloc::string::String;
use alloc::vec::Vec;

use pspf_core::{Digest, number, text};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FileType, OFlags, SeekFrom};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::sys::{self, Dir, Status};

/// The seal's name in its directory.
pub const NAME: &[u8] = b".seal";

/// What a seal is called while it is written.
pub const UNFINISHED: &[u8] = b".seal.new";

/// A seal that names what it should.
#[derive(Debug)]
pub struct Seal {
    /// The digest of the tree; zeros where there is none to compare with.
    pub tree: Digest,
    /// True when what it seals is on the disk for certain: written in this boot, or read back in a later one.
    pub settled: bool,
    /// How many rows it has.
    entries: u64,
    fd: OwnedFd,
}

impl Seal {
    /// Opens the seal in `dir`; `None` when the directory is not ours alone, or its seal is absent, not readable or
    /// about something else than `identity`: a slot's or workenv's name in the store.
    pub fn open(dir: &Dir, identity: &str) -> Result<Option<Self>> {
        if !dir.is_ours()? {
            return Ok(None);
        }
        let fd = match dir.open_file(NAME) {
            Ok(fd) => fd,
            Err(error) if matches!(error.errno(), Some(Errno::NOENT | Errno::LOOP)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut block = [0; HEADER];
        match sys::read_at(fd.as_fd(), 0, &mut block) {
            Ok(HEADER) => Ok(Self::parse(&block, identity, fd)),
            Ok(_) => Ok(None),
            Err(errno) => Err(dir.failed("cannot read", NAME, errno)),
        }
    }

    fn parse(block: &[u8; HEADER], identity: &str, fd: OwnedFd) -> Option<Self> {
        let (head, last) = block.split_at(FRESHNESS);
        let end = head.iter().position(|byte| *byte == b'\n')?;
        let words = core::str::from_utf8(&head[..end]).ok()?;
        let mut words = text::pieces(words.strip_prefix("pspf-seal 1 ")?.strip_prefix(identity)?, b' ');
        if !words.next()?.is_empty() {
            return None;
        }
        let tree = Digest::from_hex(words.next()?)?;
        let entries = number::parse(words.next()?, 10)?;
        let boot = words.next()?;
        let settled = last == DURABLE || boot == boot_id();
        Some(Self { tree, settled, entries, fd })
    }

    /// True when the entries in `dir`, or what they lead to, are still as the first `limit` rows say. A row is never taken
    /// apart: it is compared with the one that its path would get now. Memory does not grow with their number.
    pub fn rows_hold(&self, dir: &Dir, limit: u64) -> Result<bool> {
        let mut block = alloc::vec![0; BLOCK];
        let (mut at, mut count) = (HEADER as u64, 0);
        loop {
            let read = sys::read_at(self.fd.as_fd(), at, &mut block)
                .map_err(|errno| dir.failed("cannot read the seal of", b"", errno))?;
            let mut rest = &block[..read];
            while let Some(size) = rest.iter().position(|byte| *byte == 0) {
                if count == limit {
                    return Ok(true);
                }
                if !row_holds(&rest[..size], dir)? {
                    return Ok(false);
                }
                rest = &rest[size + 1..];
                count += 1;
            }
            // The last row of a block is rarely whole; the next block begins with it.
            let used = read - rest.len();
            if used == 0 {
                return Ok(read == 0 && count == self.entries);
            }
            at += used as u64;
        }
    }

    /// Every row's path, and whether the entry in `dir` still is as the row says.
    #[cfg(feature = "std")]
    pub fn rows(&self, dir: &Dir) -> Result<Vec<(String, bool)>> {
        let text = self.read(dir)?;
        let rows = text.get(HEADER..).unwrap_or_default().split(|byte| *byte == 0).filter(|row| !row.is_empty());
        rows.map(|row| Ok((String::from_utf8_lossy(path_of(row)).into_owned(), row_holds(row, dir)?))).collect()
    }

    /// Name and version of a workenv's package, cut off where they are long; `None` in a slot's seal.
    #[cfg(feature = "std")]
    pub fn package(&self, dir: &Dir) -> Result<Option<String>> {
        let text = self.read(dir)?;
        let head = text.get(..FRESHNESS).unwrap_or_default();
        let package = head.split(|byte| *byte == b'\n').nth(1).unwrap_or_default().trim_ascii();
        let package = String::from_utf8_lossy(package);
        // The last character may have been cut in two.
        let package = package.trim_end_matches(char::REPLACEMENT_CHARACTER);
        Ok((!package.is_empty()).then(|| package.into()))
    }

    #[cfg(feature = "std")]
    fn read(&self, dir: &Dir) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            let start = text.len();
            text.resize(start + FLUSH, 0);
            let read = sys::read_at(self.fd.as_fd(), start as u64, &mut text[start..])
                .map_err(|errno| dir.failed("cannot read the seal of", b"", errno))?;
            text.truncate(start + read);
            if read == 0 {
                return Ok(text);
            }
        }
    }

    /// Writes into the seal in `dir` that its content was read back.
    pub fn settle(dir: &Dir) -> Result<()> {
        let fd = dir.open(NAME, OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, "cannot open")?;
        rustix::fs::seek(&fd, SeekFrom::Start(FRESHNESS as u64))
            .and_then(|_| sys::write_all(fd.as_fd(), DURABLE))
            .map_err(|errno| dir.failed("cannot write", NAME, errno))
    }

    /// The open file, for locking.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

/// Writes a seal: rows as they come, the header at the end.
pub struct Writer {
    fd: OwnedFd,
    rows: Vec<u8>,
    entries: u64,
}

impl Writer {
    /// Begins the seal of `dir`; one that is there stays until this one is whole.
    pub fn create(dir: &Dir) -> Result<Self> {
        let fd = dir.create_file(UNFINISHED, 0o600)?;
        Ok(Self { fd, rows: alloc::vec![b' '; HEADER], entries: 0 })
    }

    /// Adds the row of an entry.
    pub fn row(&mut self, path: &str, stat: &Status) -> Result<()> {
        self.rows.extend_from_slice(row(path, stat).as_bytes());
        self.rows.push(0);
        self.entries += 1;
        if self.rows.len() >= FLUSH { self.flush() } else { Ok(()) }
    }

    /// Writes the header, and puts the seal into its place in `dir`. Only now is it one. `package` is the name and version of
    /// whose it is, for people. Gives the file back, for locking.
    pub fn finish(mut self, dir: &Dir, identity: &str, tree: Digest, package: [&str; 2]) -> Result<OwnedFd> {
        self.flush()?;
        let (tree, entries) = (tree.text(), number::decimal(self.entries));
        let words =
            ["pspf-seal 1 ", identity, " ", &tree, " ", &entries, " ", &boot_id(), "\n", package[0], " ", package[1]];
        self.rows = text::concat(&words).into_bytes();
        self.rows.resize(FRESHNESS, b' ');
        self.rows.extend_from_slice(FRESH);
        rustix::fs::seek(&self.fd, SeekFrom::Start(0)).map_err(failed)?;
        self.flush()?;
        dir.told("cannot publish", NAME, dir.rename(UNFINISHED, NAME))?;
        Ok(self.fd)
    }

    fn flush(&mut self) -> Result<()> {
        sys::write_all(self.fd.as_fd(), &self.rows).map_err(failed)?;
        self.rows.clear();
        Ok(())
    }
}

/// True when the entry of this row would get the same one now. An error that says nothing of the entry is no damage.
fn row_holds(expected: &[u8], dir: &Dir) -> Result<bool> {
    let Ok(expected) = core::str::from_utf8(expected) else { return Ok(false) };
    let path = (0..4).try_fold(expected, |rest, _| text::split_once(rest, b' ').map(|(_, rest)| rest));
    let path = path.unwrap_or_default();
    let is_link = expected.starts_with('l');
    let stat = if is_link { dir.stat(path.as_bytes()) } else { dir.stat_target(path.as_bytes()) };
    match stat {
        Ok(stat) => Ok(row(path, &stat) == expected),
        Err(error) => match error.errno() {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS | Errno::NAMETOOLONG) => Ok(false),
            _ => Err(error),
        },
    }
}

/// The path at the end of a row.
#[cfg(feature = "std")]
fn path_of(row: &[u8]) -> &[u8] {
    row.splitn(5, |byte| *byte == b' ').nth(4).unwrap_or_default()
}

/// The row of an entry with this status.
#[inline(never)]
fn row(path: &str, stat: &Status) -> String {
    // Directories and links change their times when something beside them happens.
    let (kind, size, mtime) = match stat.kind {
        FileType::Directory => ("d ", 0, 0),
        FileType::Symlink => ("l ", 0, 0),
        _ => ("f ", stat.size, stat.mtime),
    };
    let mut row = String::from(kind);
    for (number, radix) in [(stat.mode.into(), 8), (size, 10), (mtime, 10)] {
        number::push(&mut row, number, radix);
        row.push(' ');
    }
    row.push_str(path);
    row
}

#[cold]
fn failed(errno: Errno) -> Error {
    Error::io("cannot write", NAME, errno)
}

/// Names the current boot, in 36 characters; dashes where the system does not tell.
fn boot_id() -> String {
    let mut id = [b'-'; 36];
    let path = b"/proc/sys/kernel/random/boot_id";
    if let Ok(fd) = sys::open_at(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, 0) {
        let _ = sys::read_at(fd.as_fd(), 0, &mut id);
    }
    core::str::from_utf8(&id).unwrap_or("-").into()
}

/// The size of the header in bytes.
const HEADER: usize = 256;
/// Where the header says whether the content had reached the disk.
const FRESHNESS: usize = HEADER - FRESH.len();
const FRESH: &[u8] = b"fresh  \n";
const DURABLE: &[u8] = b"durable\n";
/// How many bytes of rows are held back before they are written.
const FLUSH: usize = 64 << 10;
/// How many bytes of rows are read at once: at every start, so few, but more than the longest row with its path of 4096
/// bytes.
const BLOCK: usize = 8 << 10;
