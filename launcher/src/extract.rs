//! Writing a slot's files: relative to directory handles, following no link, links last.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use pspf_core::archive::{self, Kind, Reader, passes_through};
use pspf_core::digest::Hasher;
use pspf_core::error::quoted;
use pspf_core::names::{self, Names};
use pspf_core::placement::Placement;
use pspf_core::tree::{self, TreeHasher};
use pspf_core::{Digest, Part, SlotReader, text};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::FileType;

use crate::error::{Error, Result};
use crate::seal::Writer;
use crate::sys::{self, Dir, Status, split};

/// Where the entries of a slot are written, and what is learnt on the way.
pub struct Extractor<'a> {
    /// The slot's id, for errors.
    id: &'a str,
    root: &'a Dir,
    placement: &'a Placement,
    seal: Option<&'a mut Writer>,
    tree: TreeHasher,
    /// The entries came sorted so far.
    sorted: bool,
    /// The directories of the current entry, outermost first.
    open: Vec<(String, Dir)>,
    links: Vec<(String, String)>,
}

impl<'a> Extractor<'a> {
    /// Writes into `root`, which is empty or a workenv; rows go to `seal`, if there is one. `id` names the slot.
    pub fn new(id: &'a str, root: &'a Dir, placement: &'a Placement, seal: Option<&'a mut Writer>) -> Self {
        let tree = TreeHasher::streaming();
        Self { id, root, placement, seal, tree, sorted: true, open: Vec::new(), links: Vec::new() }
    }

    /// Writes all entries of an archive slot, and gives the digest of the tree; `None` when they were not sorted.
    pub fn archive(mut self, slot: &mut SlotReader<'_>) -> Result<Option<Digest>> {
        let id = self.id;
        let failed = |error| Error::slot(id, error);
        let mut reader = Reader::new(slot);
        while let Some(entry) = reader.next_entry().map_err(failed)? {
            let mode = self.placement.mode(entry.mode);
            match entry.kind {
                Kind::File { .. } => {
                    let (parent, name) = self.parent_of(&entry.path)?;
                    let mut file = File::create(parent, name, mode)?;
                    loop {
                        let ready = reader.fill().map_err(failed)?;
                        if ready.is_empty() {
                            break;
                        }
                        file.write(ready)?;
                        let count = ready.len();
                        reader.consume(count);
                    }
                    let (digest, stat) = file.close()?;
                    self.record(tree::Kind::File, mode, &entry.path, digest, &stat)?;
                }
                Kind::Directory => {
                    let stat = self.directory(&entry.path)?.own_stat()?;
                    self.record(tree::Kind::Directory, archive::DIRECTORY_MODE, &entry.path, ZEROS, &stat)?;
                }
                Kind::Symlink { target } => {
                    let digest = Digest::of(target.as_bytes());
                    self.hash(tree::Kind::Symlink, archive::SYMLINK_MODE, &entry.path, digest);
                    self.links.push((entry.path, target));
                }
                #[cfg(feature = "all")]
                Kind::Hardlink { target } => self.hardlink(&entry.path, &target)?,
                // There are none but where another crate of the same build asks pspf-core for them.
                #[cfg(not(feature = "all"))]
                #[allow(unreachable_patterns, reason = "reached with the feature `foreign` of pspf-core alone")]
                _ => return Err(self.malformed(&entry.path, "a file, a directory or a symbolic link", "a hard link")),
            }
        }
        self.links()?;
        Ok(self.sorted.then(|| self.tree.finish().0))
    }

    /// Writes a slot that is one file, and gives the digest of the tree that it is.
    pub fn raw(mut self, name: &str, permissions: u16, slot: &mut SlotReader<'_>) -> Result<Option<Digest>> {
        let id = self.id;
        let failed = |error| Error::slot(id, error);
        let mode = self.placement.mode(permissions);
        let mut file = File::create(self.root, name, mode)?;
        loop {
            let ready = slot.fill().map_err(failed)?;
            if ready.is_empty() {
                break;
            }
            file.write(ready)?;
            let count = ready.len();
            slot.consume(count);
        }
        let (digest, stat) = file.close()?;
        self.record(tree::Kind::File, mode, name, digest, &stat)?;
        Ok(Some(self.tree.finish().0))
    }

    /// Another name for a file of this slot. What is rare stays out of [`archive`](Self::archive): in one large function
    /// every instruction that touches the stack is longer, 240 bytes in all.
    #[cfg(feature = "all")]
    #[inline(never)]
    fn hardlink(&mut self, path: &str, target: &str) -> Result<()> {
        let (dir, name) = split(target);
        let dir = self.root.walk(dir, false).map_err(|_| self.malformed(path, EARLIER, target))?;
        let stat = dir.stat(name.as_bytes()).map_err(|_| self.malformed(path, EARLIER, target))?;
        if stat.kind != FileType::RegularFile {
            return Err(self.malformed(path, EARLIER, target));
        }
        let digest = hash_file(&dir, name.as_bytes())?;
        let (parent, link) = self.parent_of(path)?;
        parent.hard_link(link.as_bytes(), &dir, name.as_bytes())?;
        self.record(tree::Kind::File, stat.mode, path, digest, &stat)
    }

    /// The links, once everything else is there: nothing is ever written through one. A link may lead to another
    /// one, but not through it.
    #[inline(never)]
    fn links(&mut self) -> Result<()> {
        let links = core::mem::take(&mut self.links);
        let mut names = Names::default();
        for (path, _) in &links {
            names.insert(path);
        }
        for (path, target) in &links {
            if passes_through(path, target, &names) {
                return Err(self.malformed(path, "a link that leads through no other link", target));
            }
            let (parent, name) = self.parent_of(path)?;
            parent.link(name.as_bytes(), target.as_bytes())?;
            let stat = parent.stat(name.as_bytes())?;
            self.seal_row(path, &stat)?;
        }
        Ok(())
    }

    fn record(&mut self, kind: tree::Kind, mode: u16, path: &str, digest: Digest, stat: &Status) -> Result<()> {
        self.hash(kind, mode, path, digest);
        self.seal_row(path, stat)
    }

    fn hash(&mut self, kind: tree::Kind, mode: u16, path: &str, digest: Digest) {
        self.sorted &= self.tree.add(kind, mode, path, digest).is_ok();
    }

    fn seal_row(&mut self, path: &str, stat: &Status) -> Result<()> {
        match &mut self.seal {
            Some(seal) => seal.row(path, stat),
            None => Ok(()),
        }
    }

    /// The directory of an entry, made where it is missing, and the entry's name.
    fn parent_of<'p>(&mut self, path: &'p str) -> Result<(&Dir, &'p str)> {
        let (parent, name) = split(path);
        Ok((self.directory(parent)?, name))
    }

    /// A directory, made where it is missing. Those on the way stay open: entries come sorted.
    fn directory(&mut self, path: &str) -> Result<&Dir> {
        let mut depth = 0;
        for name in text::pieces(path, b'/').filter(|name| !name.is_empty()) {
            if self.open.get(depth).is_none_or(|(open, _)| open != name) {
                self.open.truncate(depth);
                let parent = self.open.last().map_or(self.root, |(_, dir)| dir);
                let dir = parent.ensure_dir(name.as_bytes(), archive::DIRECTORY_MODE)?;
                if dir.own_stat()?.mode & 0o700 != 0o700 {
                    // A umask that takes the owner's own rights away.
                    dir.chmod(archive::DIRECTORY_MODE)?;
                }
                self.open.push((name.to_owned(), dir));
            }
            depth += 1;
        }
        self.open.truncate(depth);
        Ok(self.open.last().map_or(self.root, |(_, dir)| dir))
    }

    #[cold]
    fn malformed(&self, path: &str, expected: &'static str, found: &str) -> Error {
        Error::slot(self.id, pspf_core::Error::malformed(Part::Entry(path.into()), 0, expected, quoted(found)))
    }
}

/// A file being written.
struct File<'a> {
    parent: &'a Dir,
    name: &'a [u8],
    fd: OwnedFd,
    mode: u16,
    hasher: Hasher,
}

impl<'a> File<'a> {
    fn create(parent: &'a Dir, name: &'a str, mode: u16) -> Result<Self> {
        let fd = parent.create_file(name.as_bytes(), mode)?;
        Ok(Self { parent, name: name.as_bytes(), fd, mode, hasher: Hasher::new() })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        let written = sys::write_all(self.fd.as_fd(), bytes);
        self.parent.told("cannot write", self.name, written)
    }

    fn close(self) -> Result<(Digest, Status)> {
        let fd = self.fd.as_fd();
        let mut stat = Status::of(fd);
        // The umask took something away.
        if stat.is_ok_and(|stat| stat.mode != self.mode) {
            stat = sys::chmod(fd, self.mode).and_then(|()| Status::of(fd));
        }
        let stat = self.parent.told("cannot finish", self.name, stat)?;
        Ok((self.hasher.finish(), stat))
    }
}

/// Re-computes the digest of a tree on disk, as extraction would have computed it.
pub fn hash_tree(root: &Dir) -> Result<Digest> {
    let mut tree = TreeHasher::streaming();
    hash_below(root, "", &mut tree)?;
    Ok(tree.finish().0)
}

/// `prefix` is the directory's path with a slash at its end.
fn hash_below(dir: &Dir, prefix: &str, tree: &mut TreeHasher) -> Result<()> {
    let mut entries = Vec::new();
    for name in dir.names(b"")? {
        // What is in a directory comes in the place of the name with a slash, an empty one in that of its own name.
        let is_full = is_full(dir, &name)?;
        // No slot has a name that is not UTF-8: that it differs is enough.
        let mut name = String::from_utf8(name).unwrap_or_default();
        if is_full {
            name.push('/');
        }
        entries.push(name);
    }
    for (name, _) in names::sorted(entries.iter().map(String::as_str)) {
        let path = text::concat(&[prefix, name]);
        if let Some(name) = name.strip_suffix('/') {
            hash_below(&dir.open_dir(name.as_bytes())?, &path, tree)?;
            continue;
        }
        let name = name.as_bytes();
        let stat = dir.stat(name)?;
        let (kind, mode, digest) = match stat.kind {
            FileType::Symlink => (tree::Kind::Symlink, archive::SYMLINK_MODE, Digest::of(&dir.read_link(name)?)),
            FileType::Directory => (tree::Kind::Directory, archive::DIRECTORY_MODE, ZEROS),
            _ => (tree::Kind::File, stat.mode, hash_file(dir, name)?),
        };
        // Sorted, so it only fails for names that no slot has.
        let _ = tree.add(kind, mode, &path, digest);
    }
    Ok(())
}

/// True for a directory with something in it.
#[inline(never)]
fn is_full(dir: &Dir, name: &[u8]) -> Result<bool> {
    Ok(dir.stat(name)?.kind == FileType::Directory && !dir.open_dir(name)?.names(b"")?.is_empty())
}

fn hash_file(dir: &Dir, name: &[u8]) -> Result<Digest> {
    let fd = dir.open_file(name)?;
    let mut hasher = Hasher::new();
    let mut buffer = alloc::vec![0; 128 << 10];
    loop {
        match sys::retry(|| rustix::io::read(&fd, &mut buffer[..])) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(errno) => return Err(dir.failed("cannot read", name, errno)),
        }
    }
}

#[cfg(feature = "all")]
const EARLIER: &str = "a link to an earlier file";
const ZEROS: Digest = Digest([0; 32]);
