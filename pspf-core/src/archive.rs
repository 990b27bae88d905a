//! The strict tar reader: what packer and FlavorPack's builders write, and nothing that two readers could take
//! for different things.
//!
//! Accepted are regular files, directories, symbolic and hard links, PAX headers (`x`) and GNU long names
//! (`L`, `K`). Refused by name: devices, FIFOs, sparse files, global headers, unknown types, paths that are not plain,
//! duplicate entries, conflicting sizes, wrong checksums, anything behind the end but zeros.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use crate::codec::Stage;
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Part, Result, quoted};
use crate::limits;
use crate::names::Names;
use crate::number;
use crate::placement::Placement;
use crate::text;
use crate::tree::{self, OutOfOrder, TreeHasher};

/// The size of a tar block in bytes.
pub const BLOCK: usize = 512;

/// One entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Plain components joined by `/`; never empty, absolute, or with `.` and `..`.
    pub path: String,
    /// The nine permission bits and setuid, setgid and sticky, as they stand in the archive.
    pub mode: u16,
    /// What it is.
    pub kind: Kind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file; its content is read next.
    File {
        /// In bytes.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link to a relative path that stays inside the archive's root.
    Symlink {
        /// As it stands in the archive.
        target: String,
    },
    /// Another name for a file that came before.
    Hardlink {
        /// The path of that file.
        target: String,
    },
}

/// Reads an archive entry by entry.
pub struct Reader<'s> {
    stage: &'s mut dyn Stage,
    /// Content and padding of the current entry that is still to come.
    content: u64,
    padding: u64,
    entries: u64,
    names: Names,
    done: bool,
}

impl<'s> Reader<'s> {
    /// Reads what `stage` gives. The archive's end does not finish the stage.
    pub fn new(stage: &'s mut dyn Stage) -> Self {
        Self { stage, content: 0, padding: 0, entries: 0, names: Names::default(), done: false }
    }

    /// The next entry, what is left of the current one skipped; `None` after the last, when only zeros followed.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        if self.done {
            return Ok(None);
        }
        self.skip(self.content + self.padding)?;
        (self.content, self.padding) = (0, 0);
        let mut extension = Extension::default();
        loop {
            let Some(header) = self.header()? else {
                if extension != Extension::default() {
                    return Err(malformed("", "an entry after an extended header", "the end of the archive"));
                }
                self.done = true;
                return self.end().map(|()| None);
            };
            match header.kind {
                b'x' => extension.read_pax(&self.extended(&header)?)?,
                b'L' => extension.set_path(read_long_name(&self.extended(&header)?)?)?,
                b'K' => extension.set_link(read_long_name(&self.extended(&header)?)?)?,
                // The root itself, as `tar -C DIR .` has it, is there anyway.
                b'5' if header.size == 0 && matches!(header.path.as_str(), "." | "./") && extension.path.is_none() => {}
                _ => return self.entry(header, extension).map(Some),
            }
        }
    }

    /// The content of the current file that is ready; empty at its end.
    pub fn fill(&mut self) -> Result<&[u8]> {
        if self.content == 0 {
            return Ok(&[]);
        }
        let ready = self.stage.fill()?;
        if ready.is_empty() {
            return Err(malformed("", "the content of the last entry", "the end of the archive"));
        }
        let count = usize::try_from(self.content).map_or(ready.len(), |content| ready.len().min(content));
        Ok(&ready[..count])
    }

    /// Says that `count` bytes of the content were used.
    pub fn consume(&mut self, count: usize) {
        let count = (count as u64).min(self.content);
        self.content -= count;
        self.stage.consume(count as usize);
    }

    fn entry(&mut self, header: Header, extension: Extension) -> Result<Entry> {
        self.entries += 1;
        if self.entries > limits::ENTRIES {
            let found = self.entries;
            return Err(Error::too_large("entries of an archive", limits::ENTRIES, found));
        }
        let Extension { path, link, size } = extension;
        let raw_path = path.unwrap_or(header.path);
        let path = check_path(&raw_path)?;
        let size = match size {
            // Both readers of a desync attack have to see the same size.
            Some(size) if header.size != 0 && header.size != size => {
                return Err(malformed(&path, "one size", "two"));
            }
            Some(size) => size,
            None => header.size,
        };
        let link = link.unwrap_or(header.link);
        let kind = match header.kind {
            b'0' | 0 if raw_path.ends_with('/') => return Err(malformed(&path, "a file's name", "one that ends in /")),
            b'0' | 0 => Kind::File { size },
            b'1' => Kind::Hardlink { target: check_path(&link)? },
            b'2' => Kind::Symlink { target: check_symlink(&path, link)? },
            b'5' => Kind::Directory,
            other => {
                let found = text::concat(&["type ", &number::decimal(other.into()), " (", describe(other), ")"]);
                return Err(malformed_by(&path, "a file, a directory or a link", found));
            }
        };
        if !matches!(kind, Kind::File { .. }) && size != 0 {
            return Err(malformed(&path, "no content", "some"));
        }
        if !self.names.insert(&path) {
            return Err(malformed(&path, "every path once", "this one twice"));
        }
        if let Kind::File { size } = kind {
            self.content = size;
            self.padding = size.next_multiple_of(BLOCK as u64) - size;
        }
        Ok(Entry { path, mode: header.mode, kind })
    }

    /// The next header; `None` at the first block of zeros.
    fn header(&mut self) -> Result<Option<Header>> {
        let mut block = [0; BLOCK];
        if !self.read(&mut block)? {
            return Err(malformed("", "two blocks of zeros", "the end of the data"));
        }
        if block == [0; BLOCK] { Ok(None) } else { Header::read(&block).map(Some) }
    }

    /// The content of an extended header, which is small.
    fn extended(&mut self, header: &Header) -> Result<Vec<u8>> {
        if header.size > EXTENDED {
            return Err(Error::too_large("extended header of an archive entry", EXTENDED, header.size));
        }
        let mut content = alloc::vec![0; header.size as usize];
        if !self.read(&mut content)? {
            return Err(malformed("", "an extended header", "the end of the data"));
        }
        self.skip(header.size.next_multiple_of(BLOCK as u64) - header.size)?;
        Ok(content)
    }

    /// The second block of zeros, and nothing but zeros after it.
    fn end(&mut self) -> Result<()> {
        let mut zeros = 0_u64;
        loop {
            let ready = self.stage.fill()?;
            if ready.is_empty() {
                break;
            }
            if ready.iter().any(|byte| *byte != 0) {
                return Err(malformed("", "zeros behind the last entry", "other bytes"));
            }
            let count = ready.len();
            zeros += count as u64;
            self.stage.consume(count);
        }
        if zeros < BLOCK as u64 {
            return Err(malformed("", "two blocks of zeros", "the end of the data"));
        }
        Ok(())
    }

    fn skip(&mut self, mut count: u64) -> Result<()> {
        while count > 0 {
            let ready = self.stage.fill()?;
            if ready.is_empty() {
                return Err(malformed("", "the content of the last entry", "the end of the data"));
            }
            let step = (ready.len() as u64).min(count);
            self.stage.consume(step as usize);
            count -= step;
        }
        Ok(())
    }

    /// Fills `bytes`; `false` when the data ended before the first of them, an error when it ends within.
    fn read(&mut self, bytes: &mut [u8]) -> Result<bool> {
        let mut done = 0;
        while done < bytes.len() {
            let ready = self.stage.fill()?;
            if ready.is_empty() {
                return if done == 0 { Ok(false) } else { Err(malformed("", "a whole block", "the end of the data")) };
            }
            let count = ready.len().min(bytes.len() - done);
            bytes[done..done + count].copy_from_slice(&ready[..count]);
            self.stage.consume(count);
            done += count;
        }
        Ok(true)
    }
}

impl core::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Reader").field("entries", &self.entries).finish_non_exhaustive()
    }
}

/// Reads a whole archive and adds its entries to a tree digest, without writing anything. A hard link counts as a
/// file of its own.
pub fn hash_tree(stage: &mut dyn Stage, placement: &Placement, hasher: &mut TreeHasher) -> Result<Option<OutOfOrder>> {
    // What every entry is, by its number: a hard link repeats an earlier one.
    let mut entries: Vec<Option<(u16, Digest)>> = Vec::new();
    let mut reader = Reader::new(stage);
    while let Some(entry) = reader.next_entry()? {
        let mode = placement.mode(entry.mode);
        let mut file = None;
        let added = match &entry.kind {
            Kind::File { .. } => {
                let mut content = Hasher::new();
                loop {
                    let ready = reader.fill()?;
                    if ready.is_empty() {
                        break;
                    }
                    content.update(ready);
                    let count = ready.len();
                    reader.consume(count);
                }
                let content = content.finish();
                file = Some((mode, content));
                hasher.add(tree::Kind::File, mode, &entry.path, content)
            }
            Kind::Directory => hasher.add(tree::Kind::Directory, DIRECTORY_MODE, &entry.path, Digest([0; 32])),
            Kind::Symlink { target } => {
                hasher.add(tree::Kind::Symlink, SYMLINK_MODE, &entry.path, Digest::of(target.as_bytes()))
            }
            Kind::Hardlink { target } => {
                file = reader.names.number_of(target).and_then(|number| *entries.get(number as usize)?);
                let (mode, content) =
                    file.ok_or_else(|| malformed_by(&entry.path, "a link to an earlier file", quoted(target)))?;
                hasher.add(tree::Kind::File, mode, &entry.path, content)
            }
        };
        if let Err(disorder) = added {
            return Ok(Some(disorder));
        }
        entries.push(file);
    }
    Ok(None)
}

/// The mode of a symbolic link in a tree digest, as systems report it.
pub const SYMLINK_MODE: u16 = 0o777;
/// The mode of a directory in a tree digest and on disk.
pub const DIRECTORY_MODE: u16 = 0o755;

struct Header {
    path: String,
    link: String,
    mode: u16,
    size: u64,
    kind: u8,
}

impl Header {
    fn read(block: &[u8; BLOCK]) -> Result<Self> {
        let stored = octal(&block[148..156]).ok_or_else(|| malformed("", "a tar header", "other bytes"))?;
        let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        let computed = sum(&block[..148]) + 8 * u64::from(b' ') + sum(&block[156..]);
        if stored != computed {
            return Err(malformed("", "a tar header with its checksum", "another checksum"));
        }
        let mut path = name(&block[..100])?;
        let posix = block[257..263] == *b"ustar\0";
        if posix && block[345] != 0 {
            let mut whole = name(&block[345..500])?;
            whole.push('/');
            whole.push_str(&path);
            path = whole;
        }
        let field =
            |name: &'static str, bytes: &[u8]| number(bytes).ok_or_else(|| malformed(&path, name, "something else"));
        let mode = field("an octal mode", &block[100..108])? & 0o7777;
        let size = field("an octal size", &block[124..136])?;
        let kind = block[156];
        if size > i64::MAX as u64 {
            return Err(malformed(&path, "a size below 2^63", "a larger one"));
        }
        Ok(Self { link: name(&block[157..257])?, mode: mode as u16, size, kind, path })
    }
}

/// What PAX and GNU headers say of the next entry.
#[derive(Default, PartialEq, Eq)]
struct Extension {
    path: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

impl Extension {
    fn set_path(&mut self, path: String) -> Result<()> {
        set_once(&mut self.path, path)
    }

    fn set_link(&mut self, link: String) -> Result<()> {
        set_once(&mut self.link, link)
    }

    /// Records of the form `LENGTH KEY=VALUE\n`, LENGTH counting all of it.
    fn read_pax(&mut self, mut records: &[u8]) -> Result<()> {
        let bad = || malformed("", "PAX records", "other bytes");
        while !records.is_empty() {
            let space = records.iter().position(|byte| *byte == b' ').ok_or_else(bad)?;
            let length = core::str::from_utf8(&records[..space]).ok().filter(|digits| !digits.starts_with('0'));
            let length = length.and_then(|digits| number::parse(digits, 10)).ok_or_else(bad)?;
            let length = usize::try_from(length).ok().filter(|length| *length > space).ok_or_else(bad)?;
            let (record, rest) = records.split_at_checked(length).ok_or_else(bad)?;
            let record = &record[space + 1..];
            records = rest;
            let record = record.strip_suffix(b"\n").ok_or_else(bad)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            let value = || core::str::from_utf8(value).ok().filter(|value| !text::has(value, 0)).ok_or_else(bad);
            match key {
                b"path" => self.set_path(value()?.to_owned())?,
                b"linkpath" => self.set_link(value()?.to_owned())?,
                b"size" => {
                    let size = number::parse(value()?, 10).filter(|size| *size <= i64::MAX as u64);
                    let size = size.ok_or_else(bad)?;
                    set_once(&mut self.size, size)?;
                }
                _ if key.starts_with(b"GNU.sparse") => {
                    return Err(malformed("", "a plain file", "a sparse one"));
                }
                // Times, owners, extended attributes, comments: nothing that we restore.
                _ => {}
            }
        }
        Ok(())
    }
}

fn set_once<T>(field: &mut Option<T>, value: T) -> Result<()> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(malformed("", "one extended header of a kind", "two")),
    }
}

fn read_long_name(content: &[u8]) -> Result<String> {
    let name = content.strip_suffix(b"\0").unwrap_or(content);
    let name = core::str::from_utf8(name).ok().filter(|name| !text::has(name, 0));
    name.map(str::to_owned).ok_or_else(|| malformed("", "a long name in UTF-8", "other bytes"))
}

/// Refuses everything but plain components; a trailing slash, as directories have it, and leading `./` are dropped.
fn check_path(path: &str) -> Result<String> {
    let bad = |expected: &'static str, found: &'static str| Err(malformed(path, expected, found));
    if path.len() > limits::PATH {
        let found = path.len() as u64;
        return Err(Error::too_large("path of an archive entry in bytes", limits::PATH as u64, found));
    }
    let mut plain = path;
    while let Some(rest) = plain.strip_prefix("./") {
        plain = rest;
    }
    plain = plain.strip_suffix('/').unwrap_or(plain);
    for component in text::pieces(plain, b'/') {
        match component {
            "" => return bad("a relative path of plain components", "an empty one"),
            "." | ".." => return bad("a relative path of plain components", "one that goes elsewhere"),
            _ if component.len() > limits::COMPONENT => return bad("components of at most 255 bytes", "a longer one"),
            _ if has_odd_bytes(component) => return bad("a path without backslash and NUL", "one with"),
            _ => {}
        }
    }
    Ok(plain.to_owned())
}

/// Refuses links that are absolute or lead out of the archive's root.
fn check_symlink(path: &str, target: String) -> Result<String> {
    if target.is_empty() || target.starts_with('/') || has_odd_bytes(&target) || target.len() > limits::PATH {
        return Err(malformed_by(path, "a link to a relative path", quoted(&target)));
    }
    let mut depth = text::pieces(path, b'/').count() - 1;
    for component in text::pieces(&target, b'/') {
        match component {
            ".." if depth == 0 => return Err(malformed_by(path, "a link that stays inside", quoted(&target))),
            ".." => depth -= 1,
            "" | "." => {}
            _ => depth += 1,
        }
    }
    Ok(target)
}

fn has_odd_bytes(path: &str) -> bool {
    text::has(path, b'\\') || text::has(path, 0)
}

fn name(field: &[u8]) -> Result<String> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let text = core::str::from_utf8(&field[..end]).map_err(|_| malformed("", "a name in UTF-8", "other bytes"))?;
    Ok(text.to_owned())
}

/// Octal digits between optional spaces, ended by a space, a NUL or the field's end.
fn octal(field: &[u8]) -> Option<u64> {
    let field = field.trim_ascii_start();
    let end = field.iter().position(|byte| *byte == 0 || *byte == b' ').unwrap_or(field.len());
    if !field[end..].iter().all(|byte| *byte == 0 || *byte == b' ') {
        return None;
    }
    field[..end].iter().try_fold(0_u64, |number, digit| match digit {
        b'0'..=b'7' => number.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// Octal, or the base-256 form of GNU tar for numbers that are too large for it; never a negative one.
fn number(field: &[u8]) -> Option<u64> {
    match field.split_first()? {
        (0x80, rest) => rest.iter().try_fold(0_u64, |number, byte| {
            number.checked_mul(256).and_then(|number| number.checked_add(u64::from(*byte)))
        }),
        (byte, _) if *byte > 0x80 => None,
        _ => octal(field),
    }
}

fn describe(kind: u8) -> &'static str {
    match kind {
        b'3' => "a character device",
        b'4' => "a block device",
        b'6' => "a FIFO",
        b'7' => "a contiguous file",
        b'g' => "a global PAX header",
        b'S' => "a sparse file",
        b'D' | b'M' | b'V' | b'N' => "a GNU archive member",
        _ => "unknown",
    }
}

#[cold]
#[inline(never)]
fn malformed(path: &str, expected: &'static str, found: &'static str) -> Error {
    malformed_by(path, expected, found.into())
}

#[cold]
#[inline(never)]
fn malformed_by(path: &str, expected: &'static str, found: String) -> Error {
    Error::malformed(Part::Entry(path.into()), 0, expected, found)
}

/// The most that an extended header may hold, in bytes: a path, a link, and room for what we ignore.
const EXTENDED: u64 = 1 << 20;
