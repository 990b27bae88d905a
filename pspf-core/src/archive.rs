//! The strict tar reader: what packer and FlavorPack's builders write, and nothing that two readers could take
//! for different things.
//!
//! Accepted are regular files, directories, symbolic and hard links, PAX headers (`x`) and GNU long names
//! (`L`, `K`). Refused by name: devices, FIFOs, sparse files, global headers, unknown types, paths that are not plain,
//! duplicate entries, conflicting sizes, wrong checksums, anything behind the end but zeros.
//!
//! Without the feature `foreign`, archives of packer's are read: entries sorted, neither hard links nor PAX headers.

use alloc::string::String;
use alloc::vec::Vec;

use crate::codec::Stage;
#[cfg(feature = "foreign")]
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Part, Result, quoted};
use crate::limits;
use crate::names::Names;
#[cfg(feature = "foreign")]
use crate::number;
#[cfg(feature = "foreign")]
use crate::placement::Placement;
use crate::text;
#[cfg(feature = "foreign")]
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
    #[cfg(feature = "foreign")]
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
    seen: Seen,
    done: bool,
}

impl<'s> Reader<'s> {
    /// Reads what `stage` gives. The archive's end does not finish the stage.
    pub fn new(stage: &'s mut dyn Stage) -> Self {
        Self { stage, content: 0, padding: 0, entries: 0, seen: Seen::default(), done: false }
    }

    /// The next entry, what is left of the current one skipped; `None` after the last, when only zeros followed.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        if self.done {
            return Ok(None);
        }
        self.skip(self.content + self.padding)?;
        (self.content, self.padding) = (0, 0);
        let mut extension = Extension::default();
        let mut block = [0; BLOCK];
        loop {
            if !self.read(&mut block)? {
                return Err(malformed("", "two blocks of zeros", "the end of the data"));
            }
            if block == [0; BLOCK] {
                if extension.seen {
                    return Err(malformed("", "an entry after an extended header", "the end of the archive"));
                }
                self.done = true;
                self.end()?;
                return Ok(None);
            }
            let header = Header::read(&block)?;
            match header.kind {
                b'x' if cfg!(not(feature = "foreign")) => return Err(Error::left_out("a PAX header")),
                // Readers disagree about extensions whose header does not say that it knows of any.
                b'x' | b'L' | b'K' if magic(&block) != POSIX && magic(&block) != GNU => {
                    return Err(malformed("", "an extended header of POSIX or GNU tar", "one of neither"));
                }
                b'x' | b'L' | b'K' => extension.read(header.kind, &self.extended(header.size)?)?,
                // The root itself, as `tar -C DIR .` has it, is there anyway.
                #[cfg(feature = "foreign")]
                b'5' if header.size == 0 && extension.path.is_none() && is_root(&block)? => {}
                _ => return self.entry(&block, &header, extension).map(Some),
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

    #[inline(never)]
    fn entry(&mut self, block: &[u8; BLOCK], header: &Header, extension: Extension) -> Result<Entry> {
        self.entries += 1;
        if self.entries > limits::ENTRIES {
            return Err(Error::too_large("entries of an archive", limits::ENTRIES, self.entries));
        }
        let size = extension.size(header)?;
        let mut path = match extension.path {
            Some(path) => path,
            None => header_path(block)?,
        };
        let is_file = matches!(header.kind, b'0' | 0);
        if is_file && path.ends_with('/') {
            return Err(malformed(&path, "a file's name", "one that ends in /"));
        }
        make_plain(&mut path)?;
        let kind = match header.kind {
            b'0' | 0 => Kind::File { size },
            b'1' if cfg!(not(feature = "foreign")) => return Err(Error::left_out("a hard link")),
            b'1' | b'2' => {
                let target = match extension.link {
                    Some(link) => link,
                    None => name(&block[157..257])?,
                };
                #[cfg(feature = "foreign")]
                if header.kind == b'1' {
                    let mut target = target;
                    make_plain(&mut target)?;
                    return self.found(path, header.mode, Kind::Hardlink { target }, size);
                }
                check_symlink(&path, &target)?;
                Kind::Symlink { target }
            }
            b'5' => Kind::Directory,
            #[cfg(not(feature = "foreign"))]
            _ => return Err(malformed(&path, "a file, a directory or a link", "another type")),
            #[cfg(feature = "foreign")]
            other => {
                let found = text::concat(&["type ", &number::decimal(other.into()), " (", describe(other), ")"]);
                return Err(malformed_by(&path, "a file, a directory or a link", found));
            }
        };
        self.found(path, header.mode, kind, size)
    }

    fn found(&mut self, path: String, mode: u16, kind: Kind, size: u64) -> Result<Entry> {
        if !matches!(kind, Kind::File { .. }) && size != 0 {
            return Err(malformed(&path, "no content", "some"));
        }
        self.seen.add(&path)?;
        self.content = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(Entry { path, mode, kind })
    }

    /// The content of an extended header, which is small.
    fn extended(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > EXTENDED {
            return Err(Error::too_large("extended header of an archive entry", EXTENDED, size));
        }
        let mut content = alloc::vec![0; size as usize];
        if !self.read(&mut content)? {
            return Err(malformed("", "an extended header", "the end of the data"));
        }
        self.skip(size.next_multiple_of(BLOCK as u64) - size)?;
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

/// The paths that came, none of which may come twice.
#[cfg(feature = "foreign")]
#[derive(Default)]
struct Seen(Names);

/// The last path, which none that follows may come before.
#[cfg(not(feature = "foreign"))]
#[derive(Default)]
struct Seen(String);

impl Seen {
    #[cfg(feature = "foreign")]
    fn add(&mut self, path: &str) -> Result<()> {
        if self.0.insert(path) { Ok(()) } else { Err(malformed(path, "every path once", "this one twice")) }
    }

    #[cfg(not(feature = "foreign"))]
    fn add(&mut self, path: &str) -> Result<()> {
        if path <= self.0.as_str() {
            return Err(Error::left_out("an archive that is not sorted"));
        }
        self.0.clear();
        self.0.push_str(path);
        Ok(())
    }
}

/// Reads a whole archive and adds its entries to a tree digest, without writing anything. A hard link counts as a
/// file of its own.
///
/// Refuses what the launcher could not or would not write: entries inside of a file or a link, and links that lead
/// through another link.
#[cfg(feature = "foreign")]
pub fn hash_tree(stage: &mut dyn Stage, placement: &Placement, hasher: &mut TreeHasher) -> Result<Option<OutOfOrder>> {
    // What every entry is, by its number: a hard link repeats an earlier one.
    let mut entries: Vec<Option<(u16, Digest)>> = Vec::new();
    let mut shape = Shape::default();
    let mut reader = Reader::new(stage);
    while let Some(entry) = reader.next_entry()? {
        shape.add(&entry)?;
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
                file = reader.seen.0.number_of(target).and_then(|number| *entries.get(number as usize)?);
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
    shape.finish()?;
    Ok(None)
}

/// What lies inside of what.
#[cfg(feature = "foreign")]
#[derive(Default)]
struct Shape {
    /// Every path with something inside of it.
    directories: Names,
    /// Everything that can have nothing inside of it.
    leaves: Names,
    links: Vec<(String, String)>,
}

#[cfg(feature = "foreign")]
impl Shape {
    fn add(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != Kind::Directory {
            if self.directories.number_of(&entry.path).is_some() {
                return Err(malformed(
                    &entry.path,
                    "a directory, as entries before it lie inside of it",
                    "another kind",
                ));
            }
            self.leaves.insert(&entry.path);
        }
        if let Kind::Symlink { target } = &entry.kind {
            self.links.push((entry.path.clone(), target.clone()));
        }
        let mut directory = directory_of(&entry.path);
        // Above a directory that is known all are.
        while !directory.is_empty() && self.directories.number_of(directory).is_none() {
            if self.leaves.number_of(directory).is_some() {
                let found = text::concat(&[&quoted(directory), ", which is none"]);
                return Err(malformed_by(&entry.path, "a path through directories", found));
            }
            self.directories.insert(directory);
            directory = directory_of(directory);
        }
        Ok(())
    }

    fn finish(&self) -> Result<()> {
        let mut names = Names::default();
        for (path, _) in &self.links {
            names.insert(path);
        }
        match self.links.iter().find(|(path, target)| passes_through(path, target, &names)) {
            Some((path, target)) => Err(malformed_by(path, "a link that leads through no other link", quoted(target))),
            None => Ok(()),
        }
    }
}

/// True when the way from the directory of the link at `path` to its `target` goes through one of `links`. A link may
/// lead to another one, but not through it: what `..` means behind a link is for the file system to say.
pub fn passes_through(path: &str, target: &str, links: &Names) -> bool {
    let mut at = String::from(directory_of(path));
    let mut names = text::pieces(target, b'/').filter(|name| !name.is_empty() && *name != ".").peekable();
    while let Some(name) = names.next() {
        if name == ".." {
            at.truncate(directory_of(&at).len());
        } else {
            if !at.is_empty() {
                at.push('/');
            }
            at.push_str(name);
            if names.peek().is_some() && links.number_of(&at).is_some() {
                return true;
            }
        }
    }
    false
}

/// The path without its last component; empty when there is no other.
fn directory_of(path: &str) -> &str {
    text::rsplit_once(path, b'/').map_or("", |(directory, _)| directory)
}

/// The mode of a symbolic link in a tree digest, as systems report it.
pub const SYMLINK_MODE: u16 = 0o777;
/// The mode of a directory in a tree digest and on disk.
pub const DIRECTORY_MODE: u16 = 0o755;

/// What every header has. Names are read when it is clear that no extension has them: one that was cut to the size of
/// its field need not be UTF-8.
struct Header {
    mode: u16,
    size: u64,
    kind: u8,
}

impl Header {
    fn read(block: &[u8; BLOCK]) -> Result<Self> {
        let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        let computed = sum(&block[..148]) + 8 * u64::from(b' ') + sum(&block[156..]);
        if octal(&block[148..156]) != Some(computed) {
            return Err(malformed("", "a tar header with its checksum", "another checksum"));
        }
        let kind = block[156];
        let mut numbers = [0; NUMBERS.len()];
        for (number, (at, width)) in numbers.iter_mut().zip(NUMBERS) {
            let field = &block[usize::from(at)..usize::from(at) + usize::from(width)];
            // The mode of an extended header means nothing, and some leave it out.
            let needed = at == SIZE || at == MODE && !matches!(kind, b'x' | b'L' | b'K');
            *number = match self::number(field) {
                Some(number) if number <= if width == 8 { u32::MAX.into() } else { LARGEST } => number,
                None if !needed && field.iter().all(|byte| *byte == 0) => 0,
                _ => return Err(malformed("", "octal numbers in a tar header", "something else")),
            };
        }
        let [mode, size, ..] = numbers;
        Ok(Self { mode: (mode & 0o7777) as u16, size, kind })
    }
}

/// The path in a header, behind its prefix where it is a POSIX one. Elsewhere some readers take those bytes for a prefix
/// and others do not.
fn header_path(block: &[u8; BLOCK]) -> Result<String> {
    let path = name(&block[..100])?;
    if block[345] == 0 {
        return Ok(path);
    }
    #[cfg(not(feature = "foreign"))]
    return Err(Error::left_out("a prefix in a tar header"));
    #[cfg(feature = "foreign")]
    if magic(block) == POSIX {
        Ok(text::concat(&[&name(&block[345..500])?, "/", &path]))
    } else {
        Err(malformed(&path, "a prefix in a POSIX header alone", "one in another header"))
    }
}

/// Magic and version, which say who may have written the header.
fn magic(block: &[u8; BLOCK]) -> &[u8] {
    &block[257..265]
}

#[cfg(feature = "foreign")]
fn is_root(block: &[u8; BLOCK]) -> Result<bool> {
    Ok(matches!(header_path(block)?.as_str(), "." | "./"))
}

/// What PAX and GNU headers say of the next entry.
#[derive(Default)]
struct Extension {
    seen: bool,
    path: Option<String>,
    link: Option<String>,
    #[cfg(feature = "foreign")]
    size: Option<u64>,
    #[cfg(feature = "foreign")]
    pax: Option<()>,
}

impl Extension {
    fn read(&mut self, kind: u8, content: &[u8]) -> Result<()> {
        self.seen = true;
        #[cfg(feature = "foreign")]
        if kind == b'x' {
            return self.read_pax(content);
        }
        let field = if kind == b'L' { &mut self.path } else { &mut self.link };
        set_once(field, utf8(content.strip_suffix(b"\0").unwrap_or(content))?)
    }

    #[cfg(not(feature = "foreign"))]
    fn size(&self, header: &Header) -> Result<u64> {
        Ok(header.size)
    }

    /// Both readers of a desync attack have to see the same size.
    #[cfg(feature = "foreign")]
    fn size(&self, header: &Header) -> Result<u64> {
        match self.size {
            Some(size) if header.size != 0 && header.size != size => Err(malformed("", "one size", "two")),
            Some(size) => Ok(size),
            None => Ok(header.size),
        }
    }

    /// Records of the form `LENGTH KEY=VALUE\n`, LENGTH counting all of it.
    #[cfg(feature = "foreign")]
    fn read_pax(&mut self, mut records: &[u8]) -> Result<()> {
        // To some readers a second one adds to the first, to others it replaces it.
        set_once(&mut self.pax, ())?;
        while !records.is_empty() {
            let (key, value, rest) = pax_record(records).ok_or_else(bad_pax)?;
            records = rest;
            match key {
                b"path" => set_once(&mut self.path, utf8(value)?)?,
                b"linkpath" => set_once(&mut self.link, utf8(value)?)?,
                b"size" => {
                    let size = number::parse(&utf8(value)?, 10).filter(|size| *size <= LARGEST);
                    set_once(&mut self.size, size.ok_or_else(bad_pax)?)?;
                }
                _ if key.starts_with(b"GNU.sparse") => return Err(malformed("", "a plain file", "a sparse one")),
                // Dumps and volumes, which are entries of other kinds to GNU tar.
                _ if key.starts_with(b"GNU.") => return Err(malformed("", "PAX records of POSIX", "one of GNU tar")),
                // Nothing that we restore, but readers give up when they cannot be read.
                b"uid" | b"gid" => _ = id(value).ok_or_else(bad_pax)?,
                b"mtime" | b"atime" | b"ctime" => time(value).ok_or_else(bad_pax)?,
                // Names of owners, extended attributes, comments.
                _ => {}
            }
        }
        Ok(())
    }
}

/// An owner's number.
#[cfg(feature = "foreign")]
fn id(value: &[u8]) -> Option<u64> {
    let digits = core::str::from_utf8(value).ok()?;
    number::parse(digits, 10).filter(|id| *id <= u32::MAX.into())
}

/// Checks that it is seconds since 1970, with or without a fraction.
#[cfg(feature = "foreign")]
fn time(value: &[u8]) -> Option<()> {
    let value = value.strip_prefix(b"-").unwrap_or(value);
    let mut parts = value.splitn(2, |byte| *byte == b'.');
    let seconds = core::str::from_utf8(parts.next()?).ok()?;
    number::parse(seconds, 10).filter(|seconds| *seconds <= LARGEST)?;
    parts.next().unwrap_or_default().iter().all(u8::is_ascii_digit).then_some(())
}

/// The key and the value of the first record, and the other records.
#[cfg(feature = "foreign")]
fn pax_record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().position(|byte| *byte == b' ')?;
    let length = core::str::from_utf8(&records[..space]).ok().filter(|digits| !digits.starts_with('0'))?;
    let (record, rest) = records.split_at_checked(usize::try_from(number::parse(length, 10)?).ok()?)?;
    // Some readers go by lines and not by lengths, and find another record in a value of several (the crate `tar` does).
    let record = record.get(space + 1..)?.strip_suffix(b"\n").filter(|record| !record.contains(&b'\n'))?;
    // A key ends there for some readers as well.
    let equals = record.iter().position(|byte| matches!(byte, b'=' | 0)).filter(|at| record[*at] == b'=')?;
    Some((&record[..equals], &record[equals + 1..], rest))
}

#[cfg(feature = "foreign")]
#[cold]
fn bad_pax() -> Error {
    malformed("", "PAX records", "other bytes")
}

fn set_once<T>(field: &mut Option<T>, value: T) -> Result<()> {
    if field.is_some() {
        return Err(malformed("", "one extended header of a kind", "two"));
    }
    *field = Some(value);
    Ok(())
}

/// Refuses everything but plain components; a trailing slash, as directories have it, and leading `./` are dropped.
fn make_plain(path: &mut String) -> Result<()> {
    if path.len() > limits::PATH {
        let found = path.len() as u64;
        return Err(Error::too_large("path of an archive entry in bytes", limits::PATH as u64, found));
    }
    while path.starts_with("./") {
        *path = path.split_off(2);
    }
    if path.ends_with('/') {
        path.pop();
    }
    for component in text::pieces(path, b'/') {
        if matches!(component, "" | "." | "..") {
            return Err(malformed(path, "a relative path of plain components", "another path"));
        }
        if component.len() > limits::COMPONENT || has_odd_bytes(component) {
            return Err(malformed(path, "components of at most 255 bytes without backslash and NUL", "another one"));
        }
    }
    Ok(())
}

/// Refuses links that are absolute or lead out of the archive's root.
fn check_symlink(path: &str, target: &str) -> Result<()> {
    let mut depth = text::pieces(path, b'/').count() as u64;
    let mut stays = !target.is_empty() && !target.starts_with('/') && !has_odd_bytes(target);
    for component in text::pieces(target, b'/') {
        match component {
            ".." => depth = depth.saturating_sub(1),
            "" | "." => {}
            _ => depth += 1,
        }
        // The last component of `path` is the link itself.
        stays &= depth > 0;
    }
    if stays && target.len() <= limits::PATH {
        return Ok(());
    }
    Err(malformed_by(path, "a link to a relative path that stays inside", quoted(target)))
}

fn has_odd_bytes(path: &str) -> bool {
    text::has(path, b'\\') || text::has(path, 0)
}

/// A name that ends at the first NUL or with its field.
fn name(field: &[u8]) -> Result<String> {
    utf8(field.split(|byte| *byte == 0).next().unwrap_or_default())
}

/// A text in UTF-8 without NUL.
#[inline(never)]
fn utf8(bytes: &[u8]) -> Result<String> {
    match core::str::from_utf8(bytes) {
        Ok(text) if !text::has(text, 0) => Ok(text.into()),
        _ => Err(malformed("", "a name in UTF-8", "other bytes")),
    }
}

/// Octal digits, at least one, between optional spaces, ended by a space, a NUL or the field's end. Fields without a
/// digit are zero to some readers and an error to others.
fn octal(field: &[u8]) -> Option<u64> {
    let field = field.trim_ascii_start();
    let end = field.iter().position(|byte| *byte == 0 || *byte == b' ').unwrap_or(field.len());
    if end == 0 || !field[end..].iter().all(|byte| *byte == 0 || *byte == b' ') {
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

#[cfg(feature = "foreign")]
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

const MODE: u16 = 100;
const SIZE: u16 = 124;
/// Where the numbers of a header are, and how many bytes each has: mode and size, owner, group, time, device. Where one of them
/// is no number, some readers skip the entry or take it for the end of the archive, whatever it is about; an owner of more
/// than 32 bits is an error to others.
const NUMBERS: [(u16, u8); 7] = [(MODE, 8), (SIZE, 12), (108, 8), (116, 8), (136, 12), (329, 8), (337, 8)];
const POSIX: &[u8] = b"ustar\x0000";
const GNU: &[u8] = b"ustar  \0";
/// The largest size that signed numbers hold, too.
const LARGEST: u64 = i64::MAX as u64;
/// The most that an extended header may hold, in bytes: a path, a link, and room for what we ignore.
const EXTENDED: u64 = 1 << 20;
