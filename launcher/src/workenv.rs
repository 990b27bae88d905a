//! The workenv: a small private directory over the shared slots, with everything that the app's start needs.
//!
//! It is prepared once per package and machine and sealed last; later starts check the seal and the few files that
//! start the app.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use pspf_core::digest::Hasher;
use pspf_core::metadata::{Lifecycle, Metadata, SetupCommand};
use pspf_core::placement::{Placement, relative};
use pspf_core::{Digest, Source, Verified};
use rustix::fd::OwnedFd;
use rustix::fs::FlockOperation;
use rustix::io::{Errno, FdFlags};

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::exec::Command;
use crate::extract::chmod;
use crate::seal::{self, Header, Row};
use crate::store::{self, CONTENT, Check, Shared};
use crate::sys::{self, Dir};
use crate::text::{self, Placeholders};

/// A prepared workenv.
#[derive(Debug)]
pub struct Workenv {
    path: Vec<u8>,
    package_name: String,
    version: String,
    targets: Vec<String>,
    lock: Option<OwnedFd>,
}

impl Workenv {
    /// Makes sure that the slots are in the store and the workenv over them is whole.
    pub fn prepare<S: Source>(verified: &Verified<'_, S>, cache: &Cache) -> Result<Self> {
        let metadata = verified.metadata();
        let name = name_of(verified.identity(), cache);
        let mut workenv = Self {
            path: sys::join(cache.envs.path(), name.as_bytes()),
            package_name: metadata.name.clone(),
            version: metadata.version.clone(),
            targets: metadata.slots.iter().map(|slot| slot.target.clone()).collect(),
            lock: None,
        };
        let plan = Plan::new(verified)?;
        if workenv.state(&name, cache, &plan)? != State::Whole {
            let lock = store::Lock::exclusive(&cache.envs, &name)?;
            let state = workenv.state(&name, cache, &plan)?;
            let check = match state {
                State::Whole => return Ok(workenv),
                State::Missing => Check::Rows,
                State::Damaged => Check::Content,
            };
            for slot in &plan.shared {
                slot.ensure(verified, &cache.slots, check)?;
            }
            store::sweep(&cache.envs, &name)?;
            workenv.build(verified, &name, cache, &plan)?;
            drop(lock);
        }
        Ok(workenv)
    }

    /// The directory's path: what `{workenv}` stands for.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// What placeholders stand for here.
    pub fn placeholders(&self) -> Placeholders<'_> {
        Placeholders {
            workenv: &self.path,
            package_name: &self.package_name,
            version: &self.version,
            slots: &self.targets,
        }
    }

    /// The command that a line of the metadata stands for, without the caller's arguments and environment.
    pub fn command(&self, line: &str) -> Result<Command> {
        let words = text::words(line)
            .filter(|words| !words.is_empty())
            .ok_or_else(|| Error::Manifest { what: format!("execution.command is not a command line: {line:?}") })?;
        let args: Vec<Vec<u8>> = words.iter().map(|word| text::fill(word, &self.placeholders())).collect();
        let mut program = args[0].clone();
        if !program.contains(&b'/') {
            program = sys::join(&sys::join(&self.path, b"bin"), &program);
        }
        if !program.starts_with(b"/") {
            program = sys::join(&self.path, &program);
        }
        Ok(Command { program, args, env: Default::default() })
    }

    /// Lets the app inherit the lock that keeps the workenv from being cleaned away, at a descriptor out of its way.
    pub fn keep_lock(mut self) -> Result<()> {
        if let Some(lock) = self.lock.take() {
            // Where the limit on descriptors is lower than that, the app's own use of the workenv is not recorded.
            if let Ok(kept) = rustix::io::fcntl_dupfd_cloexec(&lock, INHERITED)
                && rustix::io::fcntl_setfd(&kept, FdFlags::empty()).is_ok()
            {
                core::mem::forget(kept);
            }
        }
        Ok(())
    }

    /// The check of every start: the seals of workenv and slots are in order, the files that start the app are the
    /// ones that were sealed.
    fn state(&mut self, name: &str, cache: &Cache, plan: &Plan) -> Result<State> {
        let dir = match cache.envs.open_dir(name.as_bytes()) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return Ok(State::Missing),
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(State::Damaged),
            Err(errno) => return Err(Error::io("cannot open", &self.path, errno)),
        };
        let Some((header, fd)) = Header::open(&dir)? else { return Ok(State::Damaged) };
        if header.identity != name || !dir.is_ours()? {
            return Ok(State::Damaged);
        }
        for slot in &plan.shared {
            if !slot.is_intact(&cache.slots, Check::Seal)? {
                return Ok(State::Damaged);
            }
        }
        let rows = seal::read_rows(&fd, &header, dir.path())?;
        if !rows.is_some_and(|rows| rows.iter().all(|row| row.describes(&dir))) {
            return Ok(State::Damaged);
        }
        if sys::retry(|| rustix::fs::flock(&fd, FlockOperation::LockShared)).is_ok() {
            // Cleaning may have taken it away between opening and locking.
            let ours = dir.own_stat()?;
            match cache.envs.stat(name.as_bytes()) {
                Ok(there) if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino) => {}
                Ok(_) | Err(Errno::NOENT) => return Ok(State::Missing),
                Err(errno) => return Err(Error::io("cannot look at", &self.path, errno)),
            }
            self.lock = Some(fd);
        }
        Ok(State::Whole)
    }

    /// Builds the workenv beside its place, or mends the one that is there, and seals it.
    fn build<S: Source>(&mut self, verified: &Verified<'_, S>, name: &str, cache: &Cache, plan: &Plan) -> Result<()> {
        // A workenv that was whole once is mended in place: what the app or its user added to it stays.
        if plan.private.is_empty() && self.mend(verified, name, cache, plan)? {
            return Ok(());
        }
        let (temporary, dir) = store::temporary_dir(&cache.envs, name)?;
        let built = self.fill(verified, name, plan, &dir).and_then(|fd| {
            store::discard(&cache.envs, name)?;
            cache
                .envs
                .rename(&temporary, name.as_bytes())
                .map_err(|errno| Error::io("cannot publish", &self.path, errno))?;
            Ok(fd)
        });
        match built {
            Ok(fd) => {
                self.lock = sys::retry(|| rustix::fs::flock(&fd, FlockOperation::LockShared)).is_ok().then_some(fd);
                Ok(())
            }
            Err(error) => {
                let _ = cache.envs.remove(&temporary);
                Err(error)
            }
        }
    }

    fn mend<S: Source>(&mut self, verified: &Verified<'_, S>, name: &str, cache: &Cache, plan: &Plan) -> Result<bool> {
        let Ok(dir) = cache.envs.open_dir(name.as_bytes()) else { return Ok(false) };
        if !dir.is_ours()? || Header::open(&dir)?.is_none_or(|(header, _)| header.identity != name) {
            return Ok(false);
        }
        for path in &plan.written {
            let (parent, file) = path.rsplit_once('/').unwrap_or(("", path));
            if let Ok(parent) = walk(&dir, parent, false) {
                parent
                    .remove(file.as_bytes())
                    .map_err(|errno| Error::io("cannot replace", &parent.join(file.as_bytes()), errno))?;
            }
        }
        dir.remove(seal::NAME).map_err(|errno| Error::io("cannot replace", &dir.join(seal::NAME), errno))?;
        let fd = self.fill(verified, name, plan, &dir)?;
        self.lock = sys::retry(|| rustix::fs::flock(&fd, FlockOperation::LockShared)).is_ok().then_some(fd);
        Ok(true)
    }

    /// Slots first, then directories, links and files, the seal last.
    fn fill<S: Source>(&self, verified: &Verified<'_, S>, name: &str, plan: &Plan, dir: &Dir) -> Result<OwnedFd> {
        let metadata = verified.metadata();
        for (index, target, placement) in &plan.private {
            let is_archive = metadata.slots.get(*index as usize).is_some_and(|slot| slot.operations.is_archive());
            let root_path =
                if is_archive { target.as_str() } else { target.rsplit_once('/').map_or("", |(parent, _)| parent) };
            let root = walk(dir, root_path, true)?;
            store::write(verified, *index, placement, &root, store::file_name(target), None)?;
        }
        for slot in &plan.shared {
            let Placement::Shared(path) = &slot.placement else { continue };
            let is_archive = metadata.slots.get(slot.index as usize).is_some_and(|slot| slot.operations.is_archive());
            let up = "../".repeat(2 + path.matches('/').count());
            let mut target = format!("{up}slots/{}/{CONTENT}", slot.name);
            if !is_archive {
                target = format!("{target}/{}", store::file_name(path));
            }
            link(dir, path, target.as_bytes())?;
        }
        for (path, mode) in &metadata.workenv.directories {
            let made = walk(dir, relative(path), true)?;
            if let Some(mode) = mode {
                chmod(&made, mode & 0o777, made.path())?;
            }
        }
        let values = self.placeholders();
        for (path, target) in &metadata.workenv.links {
            link(dir, relative(path), &link_target(relative(path), target, &values))?;
        }
        for command in &metadata.setup {
            match command {
                SetupCommand::WriteFile { path, content, mode } => {
                    let content = text::fill(content, &values);
                    write_file(dir, relative(path), &content, mode.unwrap_or(0o644))?;
                }
                SetupCommand::Chmod { path, mode } => {
                    let (parent, file) = parent_of(dir, relative(path))?;
                    let fd = parent
                        .open_file(file.as_bytes())
                        .map_err(|errno| Error::io("cannot open", &parent.join(file.as_bytes()), errno))?;
                    chmod(&fd, mode & 0o755, &parent.join(file.as_bytes()))?;
                }
                SetupCommand::Execute { .. } | SetupCommand::EnumerateAndExecute { .. } => {
                    return Err(Error::Manifest { what: "setup_commands: this launcher runs no commands".into() });
                }
            }
        }
        let mut seal = seal::Writer::create(dir, seal::NAME)?;
        for path in &plan.sealed {
            let stat = dir
                .stat_target(path.as_bytes())
                .map_err(|errno| Error::io("cannot look at", &dir.join(path.as_bytes()), errno))?;
            seal.row(&Row::new(path.clone(), &stat))?;
        }
        seal.finish(name, Digest([0; 32]))
    }
}

/// What the check of every start found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    Missing,
    Damaged,
}

/// What a package's workenv is made of.
struct Plan {
    /// Slots in the store.
    shared: Vec<Shared>,
    /// Slots in the workenv: index, path, placement.
    private: Vec<(u32, String, Placement)>,
    /// Files and links that are written, links to slots among them.
    written: Vec<String>,
    /// What every start looks at: the files that are written, and those that the command names.
    sealed: Vec<String>,
}

impl Plan {
    fn new<S: Source>(verified: &Verified<'_, S>) -> Result<Self> {
        let metadata = verified.metadata();
        let (mut shared, mut private) = (Vec::new(), Vec::new());
        for (index, placement) in (0_u32..).zip(verified.placements()) {
            match &placement {
                Placement::Unplaced => {}
                Placement::Private(target) => private.push((index, target.clone(), placement)),
                Placement::Shared(target) => match Shared::of(verified, index, &placement) {
                    Some(slot) => shared.push(slot),
                    None => private.push((index, target.clone(), placement)),
                },
            }
        }
        for path in metadata.written_paths().chain(metadata.slots.iter().map(|slot| slot.target.as_str())) {
            check_path(path)?;
        }
        let written: Vec<String> = metadata
            .setup
            .iter()
            .filter_map(|command| match command {
                SetupCommand::WriteFile { path, .. } => Some(path),
                _ => None,
            })
            .chain(metadata.workenv.links.iter().map(|(path, _)| path))
            .map(|path| relative(path).into())
            .chain(shared.iter().filter_map(|slot: &Shared| match &slot.placement {
                Placement::Shared(path) => Some(path.clone()),
                Placement::Private(_) | Placement::Unplaced => None,
            }))
            .collect();
        let mut sealed = written.clone();
        sealed.extend(command_files(metadata));
        sealed.sort();
        sealed.dedup();
        Ok(Self { shared, private, written, sealed })
    }
}

/// The files below the workenv that the command line names.
fn command_files(metadata: &Metadata) -> Vec<String> {
    let words = text::words(&metadata.command).unwrap_or_default();
    let first = words.first().cloned();
    let below = words.iter().filter_map(|word| word.strip_prefix("{workenv}/")).map(String::from);
    // A program that is named alone is looked for in bin.
    let in_bin = first.filter(|word| !word.contains('/')).map(|word| format!("bin/{word}"));
    let lazy: Vec<&str> = metadata
        .slots
        .iter()
        .filter(|slot| slot.lifecycle == Lifecycle::Lazy)
        .map(|slot| relative(&slot.target))
        .collect();
    below.chain(in_bin).filter(|path| !lazy.contains(&path.as_str())).collect()
}

/// A workenv's name: it depends on everything that was signed and on where the cache is, because files in it name
/// its own path.
fn name_of(identity: Digest, cache: &Cache) -> String {
    let mut hasher = Hasher::new();
    hasher.update(&identity.0);
    hasher.update(cache.path());
    let digest = format!("{}", hasher.finish());
    digest[..32].into()
}

/// Refuses paths that are not below the workenv.
fn check_path(path: &str) -> Result<()> {
    let inside = relative(path).split('/').all(|name| name != ".." && name != ".");
    if inside && !path.contains('\0') && !relative(path).contains("//") && (!path.starts_with('/')) {
        return Ok(());
    }
    Err(Error::Manifest { what: format!("a path that is not below {{workenv}}: {path:?}") })
}

/// The directory at `path` below `dir`, without following links, made where it is missing if `make` says so.
fn walk(dir: &Dir, path: &str, make: bool) -> Result<Dir> {
    let mut at = dir.open_dir(b".").map_err(|errno| Error::io("cannot open", dir.path(), errno))?;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        at = if make {
            at.ensure_dir(name.as_bytes(), 0o755)?
        } else {
            at.open_dir(name.as_bytes()).map_err(|errno| Error::io("cannot open", &at.join(name.as_bytes()), errno))?
        };
    }
    Ok(at)
}

fn parent_of<'p>(dir: &Dir, path: &'p str) -> Result<(Dir, &'p str)> {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    Ok((walk(dir, parent, true)?, name))
}

/// What a link at `path` below the workenv says to lead to `target`. Inside the workenv it is relative, so that it holds
/// before the workenv is in its place.
fn link_target(path: &str, target: &str, values: &Placeholders<'_>) -> Vec<u8> {
    match target.strip_prefix("{workenv}/") {
        Some(inside) => {
            let mut up = "../".repeat(path.matches('/').count()).into_bytes();
            up.extend(text::fill(inside, values));
            up
        }
        None => text::fill(target, values),
    }
}

fn link(dir: &Dir, path: &str, target: &[u8]) -> Result<()> {
    let (parent, name) = parent_of(dir, path)?;
    rustix::fs::symlinkat(target, &parent, name)
        .map_err(|errno| Error::io("cannot create", &parent.join(name.as_bytes()), errno))
}

fn write_file(dir: &Dir, path: &str, content: &[u8], mode: u16) -> Result<()> {
    let (parent, name) = parent_of(dir, path)?;
    let at = parent.join(name.as_bytes());
    let fd =
        parent.create_file(name.as_bytes(), mode & 0o755).map_err(|errno| Error::io("cannot create", &at, errno))?;
    sys::write_all(&fd, content).map_err(|errno| Error::io("cannot write", &at, errno))?;
    chmod(&fd, mode & 0o755, &at)
}

/// The lowest descriptor at which the app inherits the lock: above what programs number by hand.
const INHERITED: i32 = 200;
