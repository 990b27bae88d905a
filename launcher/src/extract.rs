//! Writing a slot's files: relative to directory handles, following no link, links last.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use pspf_core::archive::{self, Kind, Reader};
use pspf_core::digest::Hasher;
use pspf_core::placement::Placement;
use pspf_core::tree::{self, OutOfOrder, TreeHasher};
use pspf_core::{Digest, SlotReader};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, Stat};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::seal::{Row, Writer};
use crate::sys::{self, Dir};

/// Where the entries of a slot are written, and what is learnt on the way.
pub struct Extractor<'a> {
    root: &'a Dir,
    placement: &'a Placement,
    seal: Option<&'a mut Writer>,
    tree: Option<TreeHasher>,
    /// The directories of the current entry, outermost first.
    open: Vec<(String, Dir)>,
    links: Vec<(String, String)>,
}

/// What extraction found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extracted {
    /// The digest of the tree; `None` when the entries came in no order, so that it takes a second look.
    pub tree: Option<Digest>,
}

impl<'a> Extractor<'a> {
    /// Writes into `root`, which is empty or a workenv; rows go to `seal`, if there is one.
    pub fn new(root: &'a Dir, placement: &'a Placement, seal: Option<&'a mut Writer>) -> Self {
        Self { root, placement, seal, tree: Some(TreeHasher::streaming()), open: Vec::new(), links: Vec::new() }
    }

    /// Writes all entries of an archive slot.
    pub fn archive(mut self, id: &str, slot: &mut SlotReader<'_>) -> Result<Extracted> {
        let failed = |error| Error::Slot { id: id.into(), error };
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
                Kind::Hardlink { target } => self.hardlink(id, &entry.path, &target)?,
            }
        }
        self.links()?;
        Ok(Extracted { tree: self.tree.map(|tree| tree.finish().0) })
    }

    /// Writes a slot that is one file.
    pub fn raw(mut self, id: &str, name: &str, permissions: u16, slot: &mut SlotReader<'_>) -> Result<Extracted> {
        let failed = |error| Error::Slot { id: id.into(), error };
        let mode = self.placement.mode(permissions);
        let (parent, file_name) = self.parent_of(name)?;
        let mut file = File::create(parent, file_name, mode)?;
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
        let last = name.rsplit('/').next().unwrap_or(name).to_owned();
        self.hash(tree::Kind::File, mode, &last, digest);
        self.seal_row(name, &stat)?;
        Ok(Extracted { tree: self.tree.map(|tree| tree.finish().0) })
    }

    /// Another name for a file of this slot.
    fn hardlink(&mut self, id: &str, path: &str, target: &str) -> Result<()> {
        let no_file = || Error::Slot {
            id: id.into(),
            error: pspf_core::Error::malformed(
                pspf_core::Part::Entry(path.into()),
                0,
                "a link to an earlier file",
                alloc::format!("{target:?}"),
            ),
        };
        let (target_parent, target_name) = split(target);
        let target_dir = self.walk(target_parent).map_err(|_| no_file())?;
        let stat = target_dir.stat(target_name.as_bytes()).map_err(|_| no_file())?;
        if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
            return Err(no_file());
        }
        let content = target_dir.open_file(target_name.as_bytes()).map_err(|_| no_file())?;
        let digest = hash_file(&content)
            .map_err(|errno| Error::io("cannot read", &target_dir.join(target_name.as_bytes()), errno))?;
        let (parent, name) = self.parent_of(path)?;
        rustix::fs::linkat(&target_dir, target_name, parent, name, AtFlags::empty())
            .map_err(|errno| Error::io("cannot create", &parent.join(name.as_bytes()), errno))?;
        self.record(tree::Kind::File, (stat.st_mode & 0o7777) as u16, path, digest, &stat)
    }

    /// The links, once everything else is there: nothing is ever written through one. A link may lead to another
    /// one, but not through it.
    fn links(&mut self) -> Result<()> {
        let links = core::mem::take(&mut self.links);
        let names: alloc::collections::BTreeSet<&str> = links.iter().map(|(path, _)| path.as_str()).collect();
        for (path, target) in &links {
            if passes_through(path, target, &names) {
                return Err(Error::Slot {
                    id: path.clone(),
                    error: pspf_core::Error::malformed(
                        pspf_core::Part::Entry(path.clone()),
                        0,
                        "a link that leads through no other link",
                        alloc::format!("{target:?}"),
                    ),
                });
            }
            let (parent, name) = self.parent_of(path)?;
            rustix::fs::symlinkat(target.as_str(), parent, name)
                .map_err(|errno| Error::io("cannot create", &parent.join(name.as_bytes()), errno))?;
            let stat = parent
                .stat(name.as_bytes())
                .map_err(|errno| Error::io("cannot look at", &parent.join(name.as_bytes()), errno))?;
            self.seal_row(path, &stat)?;
        }
        Ok(())
    }

    fn record(&mut self, kind: tree::Kind, mode: u16, path: &str, digest: Digest, stat: &Stat) -> Result<()> {
        self.hash(kind, mode, path, digest);
        self.seal_row(path, stat)
    }

    fn hash(&mut self, kind: tree::Kind, mode: u16, path: &str, digest: Digest) {
        if let Some(tree) = &mut self.tree
            && tree.add(kind, mode, path, digest) == Err(OutOfOrder)
        {
            self.tree = None;
        }
    }

    fn seal_row(&mut self, path: &str, stat: &Stat) -> Result<()> {
        match &mut self.seal {
            Some(seal) => seal.row(&Row::new(path.to_owned(), stat)),
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
        let wanted: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        let shared = self.open.iter().zip(&wanted).take_while(|((open, _), name)| open == *name).count();
        self.open.truncate(shared);
        for name in &wanted[shared..] {
            let parent = self.open.last().map_or(self.root, |(_, dir)| dir);
            let dir = parent.ensure_dir(name.as_bytes(), archive::DIRECTORY_MODE)?;
            let mode = dir.own_stat()?.st_mode & 0o777;
            if mode & 0o700 != 0o700 {
                // A umask that takes the owner's own rights away.
                chmod(&dir, archive::DIRECTORY_MODE, dir.path())?;
            }
            self.open.push(((*name).to_owned(), dir));
        }
        Ok(self.open.last().map_or(self.root, |(_, dir)| dir))
    }

    /// A directory that is there, without following links.
    fn walk(&self, path: &str) -> Result<Dir, Errno> {
        let mut dir = self.root.open_dir(b".")?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            dir = dir.open_dir(name.as_bytes())?;
        }
        Ok(dir)
    }
}

/// A file being written.
struct File {
    fd: OwnedFd,
    path: Vec<u8>,
    mode: u16,
    hasher: Hasher,
}

impl File {
    fn create(parent: &Dir, name: &str, mode: u16) -> Result<Self> {
        let fd = parent
            .create_file(name.as_bytes(), mode)
            .map_err(|errno| Error::io("cannot create", &parent.join(name.as_bytes()), errno))?;
        Ok(Self { fd, path: parent.join(name.as_bytes()), mode, hasher: Hasher::new() })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        sys::write_all(&self.fd, bytes).map_err(|errno| Error::io("cannot write", &self.path, errno))
    }

    fn close(self) -> Result<(Digest, Stat)> {
        let failed = |errno| Error::io("cannot look at", &self.path, errno);
        let mut stat = rustix::fs::fstat(&self.fd).map_err(failed)?;
        if stat.st_mode & 0o7777 != u32::from(self.mode) {
            // The umask took something away.
            chmod(&self.fd, self.mode, &self.path)?;
            stat = rustix::fs::fstat(&self.fd).map_err(failed)?;
        }
        Ok((self.hasher.finish(), stat))
    }
}

/// Re-computes the digest of a tree on disk, as extraction would have computed it.
pub fn hash_tree(root: &Dir) -> Result<Digest> {
    let mut hasher = TreeHasher::collecting();
    hash_directory(root, "", &mut hasher)?;
    Ok(hasher.finish().0)
}

fn hash_directory(dir: &Dir, prefix: &str, hasher: &mut TreeHasher) -> Result<()> {
    let failed = |path: &[u8], errno| Error::io("cannot read", path, errno);
    for name in dir.names(b"").map_err(|errno| failed(dir.path(), errno))? {
        let at = dir.join(&name);
        let stat = dir.stat(&name).map_err(|errno| failed(&at, errno))?;
        let path = alloc::format!("{prefix}{}", String::from_utf8_lossy(&name));
        let mode = (stat.st_mode & 0o7777) as u16;
        let (kind, mode, digest) = match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
            rustix::fs::FileType::Directory => (tree::Kind::Directory, archive::DIRECTORY_MODE, ZEROS),
            rustix::fs::FileType::Symlink => {
                let target = rustix::fs::readlinkat(dir, &name[..], Vec::new()).map_err(|errno| failed(&at, errno))?;
                (tree::Kind::Symlink, archive::SYMLINK_MODE, Digest::of(target.to_bytes()))
            }
            _ => {
                let file = dir.open_file(&name).map_err(|errno| failed(&at, errno))?;
                (tree::Kind::File, mode, hash_file(&file).map_err(|errno| failed(&at, errno))?)
            }
        };
        // A collecting hasher takes any order.
        let _ = hasher.add(kind, mode, &path, digest);
        if kind == tree::Kind::Directory {
            let inner = dir.open_dir(&name).map_err(|errno| failed(&at, errno))?;
            hash_directory(&inner, &alloc::format!("{path}/"), hasher)?;
        }
    }
    Ok(())
}

fn hash_file(fd: &OwnedFd) -> Result<Digest, Errno> {
    let mut hasher = Hasher::new();
    let mut buffer = alloc::vec![0; 128 << 10];
    loop {
        match sys::retry(|| rustix::io::read(fd, &mut buffer[..]))? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// Sets exactly these permission bits.
pub fn chmod(fd: impl AsFd, mode: u16, path: &[u8]) -> Result<()> {
    rustix::fs::fchmod(fd, Mode::from_raw_mode(mode.into()))
        .map_err(|errno| Error::io("cannot set the mode of", path, errno))
}

fn passes_through(path: &str, target: &str, links: &alloc::collections::BTreeSet<&str>) -> bool {
    let mut at: Vec<&str> = path.split('/').collect();
    at.pop();
    let components: Vec<&str> = target.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    for (i, name) in components.iter().enumerate() {
        if *name == ".." {
            at.pop();
        } else {
            at.push(name);
            if i + 1 < components.len() && links.contains(at.join("/").as_str()) {
                return true;
            }
        }
    }
    false
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

const ZEROS: Digest = Digest([0; 32]);
