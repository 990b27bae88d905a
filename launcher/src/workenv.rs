//! The workenv: a small private directory over the shared slots, with everything that the app's start needs.
//!
//! It is prepared once per package and machine and sealed last; later starts check the seal and the few files that
//! start the app.

use alloc::string::String;
use alloc::vec::Vec;
#[cfg(not(feature = "all"))]
use core::mem::ManuallyDrop;

use pspf_core::digest::Hasher;
#[cfg(feature = "all")]
use pspf_core::metadata::Lifecycle;
use pspf_core::metadata::{Metadata, SetupCommand};
use pspf_core::placement::{Placement, relative};
use pspf_core::text::{concat, has, pieces};
use pspf_core::{Digest, Source, Verified};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, FlockOperation};
use rustix::io::{Errno, FdFlags};

use crate::cache::Cache;
#[cfg(feature = "all")]
use crate::entry;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result, shown};
#[cfg(not(feature = "std"))]
use crate::exec;
use crate::exec::Command;
#[cfg(feature = "all")]
use crate::lifecycle;
use crate::seal::{self, Seal};
use crate::store::{self, CONTENT, Check, Shared};
use crate::sys::{self, Dir};
use crate::text::{self, Placeholders};

/// A prepared workenv.
#[derive(Debug)]
pub struct Workenv<'m> {
    path: Vec<u8>,
    name: String,
    metadata: &'m Metadata,
    lock: Option<OwnedFd>,
    /// How closely a start looks at slots. Every one looks at their seals.
    check: Check,
    /// What its name comes from, beside the place of the cache.
    #[cfg(feature = "all")]
    identity: Digest,
    /// True with the slots for development.
    #[cfg(feature = "all")]
    developing: bool,
    /// Where the app's own data are, when this start looked after them.
    #[cfg(feature = "all")]
    pub(crate) data: Option<Vec<u8>>,
}

impl<'m> Workenv<'m> {
    /// Where a package's workenv is, whether it is there or not.
    pub fn new<S: Source>(verified: &'m Verified<'_, S>, cache: &Cache) -> Self {
        let name = name_of(verified.identity(), cache);
        let path = path_of(&name, cache);
        Self {
            path,
            name,
            metadata: verified.metadata(),
            lock: None,
            check: Check::Seal,
            #[cfg(feature = "all")]
            identity: verified.identity(),
            #[cfg(feature = "all")]
            developing: false,
            #[cfg(feature = "all")]
            data: None,
        }
    }

    /// Where it is with the slots for development: `PSPF_DEV=1` gives packages that have some another workenv, so that apps that
    /// were started with them and without do not disturb each other.
    #[cfg(feature = "all")]
    pub fn develop(&mut self, cache: &Cache, env: &Environment) {
        let mut slots = self.metadata.slots.iter();
        if env.get(b"PSPF_DEV") == Some(b"1") && slots.any(|slot| slot.lifecycle == Lifecycle::Dev) {
            self.developing = true;
            self.identity = Digest::of(&[&self.identity.0[..], b"dev"].concat());
            self.choose(0, cache);
        }
    }

    /// Takes one of several workenvs of the same package: the one that a single process has, number 0, or one beside it.
    #[cfg(feature = "all")]
    pub(crate) fn choose(&mut self, number: u64, cache: &Cache) {
        let beside = || Digest::of(&[&self.identity.0[..], &number.to_le_bytes()].concat());
        self.name = name_of(if number == 0 { self.identity } else { beside() }, cache);
        self.path = path_of(&self.name, cache);
    }

    /// True with the slots for development.
    #[cfg(feature = "all")]
    pub(crate) fn is_developing(&self) -> bool {
        self.developing
    }

    /// Lets the caller raise what is checked, never lower it: `PSPF_VERIFY=full`, or `FLAVOR_VALIDATION=strict`, compares the
    /// content of every file of a shared slot with what was signed.
    pub fn raise_check(&mut self, env: &Environment) {
        if env.get(b"PSPF_VERIFY") == Some(b"full") || env.get(b"FLAVOR_VALIDATION") == Some(b"strict") {
            self.check = Check::Content;
        }
    }

    /// Makes sure that the slots are in the store and the workenv over them is whole. `command` is what starts the app;
    /// setup commands get its environment.
    pub fn prepare<S: Source>(&mut self, verified: &Verified<'_, S>, cache: &Cache, command: &Command) -> Result<()> {
        let plan = Plan::new(
            verified,
            #[cfg(feature = "all")]
            self.developing,
        )?;
        let mut lock = None;
        loop {
            let check = match self.state(cache, &plan)? {
                State::Whole => return Ok(()),
                State::Missing => Check::Rows,
                State::Damaged => Check::Content,
            };
            // Nobody else is at it once the lock is ours: what was found then is still so.
            if lock.is_none() {
                self.check_programs_may_run(cache, &command.program)?;
                let own = store::Lock::exclusive(&cache.envs, &self.name)?;
                let locks = (own, store::Lock::of_store(&cache.envs)?);
                // Never dropped where nothing else is to be locked: the start itself releases both, and letting them go on every
                // way out takes code.
                #[cfg(not(feature = "all"))]
                let locks = ManuallyDrop::new(locks);
                lock = Some(locks);
                continue;
            }
            #[cfg(not(feature = "std"))]
            let ahead = extract_ahead(&plan.shared, verified, cache);
            for slot in &plan.shared {
                slot.ensure(verified, &cache.slots, check)?;
            }
            #[cfg(not(feature = "std"))]
            exec::wait(ahead);
            // Over slots that are healed it may be whole: then what the app or its user added to it stays.
            if self.state(cache, &plan)? == State::Whole {
                return Ok(());
            }
            store::sweep(&cache.envs, &self.name)?;
            return self.build(verified, cache, &plan, &command.env);
        }
    }

    /// Makes sure that its links lead to the app's own data: the user may have moved those since the last start.
    #[cfg(feature = "all")]
    pub(crate) fn lead_to_data(&self, cache: &Cache) -> Result<()> {
        match &self.data {
            Some(data) => crate::data::link(self.metadata, &cache.envs.open_dir(self.name.as_bytes())?, data),
            None => Ok(()),
        }
    }

    /// Its name in the cache.
    #[cfg(feature = "all")]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How closely slots are looked at, at least.
    #[cfg(feature = "all")]
    pub(crate) fn check(&self) -> Check {
        self.check
    }

    /// The directory's path: what `{workenv}` stands for.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// What placeholders stand for here.
    pub fn placeholders(&self) -> Placeholders<'_> {
        Placeholders { workenv: &self.path, metadata: self.metadata }
    }

    /// The command that a line of the metadata stands for, without the caller's arguments and environment.
    pub fn command(&self, line: &str) -> Result<Command> {
        let mut args = Vec::new();
        for word in text::words(line).unwrap_or_default() {
            args.push(text::fill(&word, &self.placeholders()));
        }
        let Some(mut program) = args.first().cloned() else {
            return Err(Error::manifest("not a command line", line));
        };
        if !program.contains(&b'/') {
            program = sys::join(b"bin", &program);
        }
        Ok(Command {
            program: self.absolute(&program),
            args,
            env: Default::default(),
            #[cfg(feature = "all")]
            directory: None,
        })
    }

    /// A path, below the workenv when it is a relative one.
    pub fn absolute(&self, path: &[u8]) -> Vec<u8> {
        if path.starts_with(b"/") { path.to_vec() } else { sys::join(&self.path, path) }
    }

    /// Tells before anything is extracted that the app's program would lie where no program may run (noexec). With
    /// links that lead out of the workenv, or slots that are the system's, only the start itself can tell.
    fn check_programs_may_run(&self, cache: &Cache, program: &[u8]) -> Result<()> {
        if program.starts_with(&self.path)
            && self.metadata.workenv.links.iter().all(|(_, target)| target.starts_with("{workenv}/"))
            && sys::is_noexec(cache.envs.as_fd())
            && store::system().is_none()
        {
            return Err(ErrorKind::Execution { program: shown(program), errno: Errno::ACCESS }.into());
        }
        Ok(())
    }

    /// Lets the app inherit the lock that keeps the workenv from being cleaned away, at a descriptor out of its way.
    pub fn keep_lock(&mut self) {
        if let Some(lock) = self.lock.take() {
            // Where the limit on descriptors is lower than that, the app's own use of the workenv is not recorded.
            if let Ok(kept) = rustix::io::fcntl_dupfd_cloexec(&lock, INHERITED)
                && rustix::io::fcntl_setfd(&kept, FdFlags::empty()).is_ok()
            {
                core::mem::forget(kept);
            }
        }
    }

    /// The check of every start: the seals of workenv and slots are in order, the files that start the app are the
    /// ones that were sealed.
    fn state(&mut self, cache: &Cache, plan: &Plan) -> Result<State> {
        let dir = match cache.envs.open_dir(self.name.as_bytes()) {
            Err(error) if error.errno() == Some(Errno::NOENT) => return Ok(State::Missing),
            opened => match store::present(opened)? {
                Some(dir) => dir,
                None => return Ok(State::Damaged),
            },
        };
        let Some(seal) = Seal::open(&dir, &self.name)? else {
            // One whose setup did not come to its end is no reason to mistrust the slots.
            return Ok(if plan.runs_programs { State::Missing } else { State::Damaged });
        };
        if !seal.rows_hold(&dir, u64::MAX)? {
            return Ok(State::Damaged);
        }
        let seal = seal.into_fd();
        sys::mark_used(seal.as_fd());
        self.lock_shared(seal);
        // From now on nobody takes it away, or a slot that it has a link to; before the lock was ours somebody may have.
        if !store::is_still_there(&dir, &cache.envs, self.name.as_bytes())? {
            return Ok(State::Missing);
        }
        for slot in &plan.shared {
            if !slot.is_intact(&cache.slots, self.check)? {
                return Ok(State::Damaged);
            }
        }
        Ok(State::Whole)
    }

    /// Says that the workenv is in use, where the file system has locks.
    fn lock_shared(&mut self, seal: OwnedFd) {
        self.lock = sys::retry(|| rustix::fs::flock(&seal, FlockOperation::LockShared)).is_ok().then_some(seal);
    }

    /// Builds the workenv beside its place, or mends the one that is there, and seals it.
    fn build<S: Source>(
        &mut self,
        verified: &Verified<'_, S>,
        cache: &Cache,
        plan: &Plan,
        env: &Environment,
    ) -> Result<()> {
        // A workenv that was whole once is mended in place: what the app or its user added to it stays.
        if self.mend(verified, cache, plan, env)? {
            return Ok(());
        }
        let (temporary, dir) = store::temporary_dir(&cache.envs, &self.name)?;
        let mut built = self.lay_out(verified, plan, &dir);
        // Programs run where the app will find what they leave. Without a seal it counts as absent until they are done.
        if !plan.runs_programs {
            built = built.and_then(|()| self.finish(plan, &dir, env));
        }
        let mut published = built.and_then(|()| store::publish(&cache.envs, &temporary, &self.name));
        if published.is_err() {
            store::delete(&cache.envs, &temporary);
        } else if plan.runs_programs {
            published = self.finish(plan, &dir, env);
        }
        published
    }

    fn mend<S: Source>(
        &mut self,
        verified: &Verified<'_, S>,
        cache: &Cache,
        plan: &Plan,
        env: &Environment,
    ) -> Result<bool> {
        let Some(dir) = store::present(cache.envs.open_dir(self.name.as_bytes()))? else { return Ok(false) };
        let Some(seal) = Seal::open(&dir, &self.name)? else { return Ok(false) };
        if !plan.is_mendable {
            // What has changed are files of shared slots that were healed, or came from the other store.
            let holds = seal.rows_hold(&dir, plan.own as u64)?;
            if holds {
                dir.remove(seal::UNFINISHED)?;
                self.seal(plan, &dir)?;
            }
            return Ok(holds);
        }
        for path in &plan.sealed[..plan.written] {
            let (parent, file) = sys::split(path);
            if let Ok(parent) = dir.walk(parent, false) {
                parent.remove(file.as_bytes())?;
            }
        }
        // The old one stays until there is a new one: should this be the end, the next start mends it, too.
        dir.remove(seal::UNFINISHED)?;
        self.lay_out(verified, plan, &dir)?;
        self.finish(plan, &dir, env)?;
        Ok(true)
    }

    /// Slots first, then directories and links.
    fn lay_out<S: Source>(&self, verified: &Verified<'_, S>, plan: &Plan, dir: &Dir) -> Result<()> {
        let metadata = self.metadata;
        for (index, placement) in &plan.private {
            // One that would be shared is here when no tree was signed for it.
            let (Placement::Private(target) | Placement::Shared(target)) = placement else { continue };
            let root = if is_archive(metadata, *index) { target } else { sys::split(target).0 };
            let root = dir.walk(root, true)?;
            store::write(verified, *index, placement, &root, store::file_name(target), None)?;
        }
        for slot in plan.linked() {
            let path = &slot.path;
            let mut target = String::from("../../");
            for _ in 1..pieces(path, b'/').count() {
                target.push_str("../");
            }
            target.push_str("slots/");
            target.push_str(&slot.name);
            target.push('/');
            target.push_str(CONTENT);
            if !is_archive(metadata, slot.index) {
                target.push('/');
                target.push_str(store::file_name(path));
            }
            link(dir, path, target.as_bytes())?;
        }
        for (path, mode) in &metadata.workenv.directories {
            let made = dir.walk(relative(path), true)?;
            if let Some(mode) = mode {
                made.chmod(mode & 0o777)?;
            }
        }
        let values = self.placeholders();
        for (path, target) in &metadata.workenv.links {
            link(dir, relative(path), &link_target(relative(path), target, &values))?;
        }
        #[cfg(feature = "all")]
        if let Some(data) = &self.data {
            crate::data::link(metadata, dir, data)?;
        }
        Ok(())
    }

    /// Setup commands, in their order; the seal last.
    fn finish(&mut self, plan: &Plan, dir: &Dir, env: &Environment) -> Result<()> {
        let values = self.placeholders();
        for command in &self.metadata.setup {
            match command {
                SetupCommand::WriteFile { path, content, mode } => {
                    let (parent, name) = parent_of(dir, relative(path))?;
                    let mode = mode.unwrap_or(0o644) & 0o755;
                    let fd = parent.create_file(name, mode)?;
                    sys::write_all(fd.as_fd(), &text::fill(content, &values))
                        .and_then(|()| sys::chmod(fd.as_fd(), mode))
                        .map_err(|errno| parent.failed("cannot write", name, errno))?;
                }
                SetupCommand::Chmod { path, mode } => {
                    let (parent, name) = parent_of(dir, relative(path))?;
                    let fd = parent.open_file(name)?;
                    sys::chmod(fd.as_fd(), mode & 0o755)
                        .map_err(|errno| parent.failed("cannot set the mode of", name, errno))?;
                }
                #[cfg(feature = "all")]
                _ => crate::setup::run(command, self, env)?,
                #[cfg(not(feature = "all"))]
                SetupCommand::Execute { command } | SetupCommand::EnumerateAndExecute { command, .. } => {
                    let _ = env;
                    return Err(Error::manifest("setup_commands: this launcher runs no commands", command));
                }
            }
        }
        #[cfg(feature = "all")]
        lifecycle::remove_initial(self.metadata, dir)?;
        self.seal(plan, dir)
    }

    /// Writes the seal, as [`Writer::create`](seal::Writer::create) has it.
    fn seal(&mut self, plan: &Plan, dir: &Dir) -> Result<()> {
        let mut seal = seal::Writer::create(dir)?;
        for (i, path) in plan.sealed.iter().enumerate() {
            let mut stat = dir.stat_target(path.as_bytes());
            // The files that links lead to are for the seals of slots, but for those that start the app.
            let is_link = stat.as_ref().is_ok_and(|stat| stat.kind == FileType::RegularFile);
            #[cfg(feature = "all")]
            let is_link = is_link || plan.lazy.iter().any(|slot| slot.path == *path);
            if i < plan.written && is_link {
                stat = dir.stat(path.as_bytes());
            }
            match stat {
                // The command may name a file that the app has yet to write, and a setup program remove what was
                // written for it.
                Err(error) if (i >= plan.written || plan.runs_programs) && error.errno() == Some(Errno::NOENT) => {}
                stat => seal.row(path, &stat?)?,
            }
        }
        let package = [&*self.metadata.name, &*self.metadata.version];
        let seal = seal.finish(dir, &self.name, Digest([0; 32]), package)?;
        self.lock_shared(seal);
        Ok(())
    }
}

/// At a first start, a second process extracts the slots behind the first one, which is the largest where packer makes
/// the slots. Each takes the locks of its slots, so this one finds them finished, or waits.
#[cfg(not(feature = "std"))]
fn extract_ahead<S: Source>(slots: &[Shared], verified: &Verified<'_, S>, cache: &Cache) -> Option<exec::Child> {
    let [first, others @ ..] = slots else { return None };
    if others.is_empty() || first.is_intact(&cache.slots, Check::Seal).unwrap_or(true) {
        return None;
    }
    exec::ahead(&|| {
        for slot in others {
            let _ = slot.ensure(verified, &cache.slots, Check::Seal);
        }
    })
}

/// What the check of every start found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    Missing,
    Damaged,
}

/// What a package's workenv is made of.
#[derive(Default)]
struct Plan {
    /// Slots in the store.
    shared: Vec<Shared>,
    /// Slots that will be in the store when somebody asks for them.
    #[cfg(feature = "all")]
    lazy: Vec<Shared>,
    /// Slots in the workenv.
    private: Vec<(u32, Placement)>,
    /// What every start looks at: first the files and links that are written, links to slots among them, then the
    /// files that the command names, those of shared slots last.
    sealed: Vec<String>,
    /// How many are written.
    written: usize,
    /// How many are not in shared slots.
    own: usize,
    /// True when setup commands run programs.
    runs_programs: bool,
    /// True when everything of it can be written again without touching what else is there.
    is_mendable: bool,
}

impl Plan {
    fn new<S: Source>(verified: &Verified<'_, S>, #[cfg(feature = "all")] developing: bool) -> Result<Self> {
        let metadata = verified.metadata();
        #[cfg(feature = "all")]
        let elsewhere = lifecycle::not_in_workenv(metadata);
        let mut plan = Self::default();
        for path in metadata.written_paths() {
            check_path(path)?;
        }
        for (index, (slot, placement)) in (0_u32..).zip(metadata.slots.iter().zip(verified.placements())) {
            check_path(&slot.target)?;
            #[cfg(feature = "all")]
            if !lifecycle::is_wanted(verified, index, developing) || elsewhere.contains(&index) {
                continue;
            }
            match Shared::of(verified, index, &placement) {
                Some(shared) => {
                    plan.sealed.push(shared.path.clone());
                    #[cfg(feature = "all")]
                    if slot.lifecycle == Lifecycle::Lazy {
                        plan.lazy.push(shared);
                        continue;
                    }
                    plan.shared.push(shared);
                }
                None => plan.private.push((index, placement)),
            }
        }
        for command in &metadata.setup {
            match command {
                #[cfg(feature = "all")]
                SetupCommand::WriteFile { path, .. } if !lifecycle::stays_as_signed(metadata, relative(path)) => {}
                SetupCommand::WriteFile { path, .. } => plan.sealed.push(relative(path).into()),
                SetupCommand::Chmod { .. } => {}
                SetupCommand::Execute { .. } | SetupCommand::EnumerateAndExecute { .. } => plan.runs_programs = true,
            }
        }
        plan.is_mendable = plan.private.is_empty() && !plan.runs_programs;
        for (path, _) in &metadata.workenv.links {
            plan.sealed.push(relative(path).into());
        }
        plan.written = plan.sealed.len();
        plan.own = plan.written;
        plan.seal_command(metadata, &metadata.command);
        // Whichever of them a start is for, the seal is the same one.
        #[cfg(feature = "all")]
        for (_, line) in entry::all(metadata) {
            plan.seal_command(metadata, line);
        }
        Ok(plan)
    }

    /// Slots that the workenv has links to.
    #[cfg(feature = "all")]
    fn linked(&self) -> impl Iterator<Item = &Shared> {
        self.shared.iter().chain(&self.lazy)
    }

    /// Slots that the workenv has links to.
    #[cfg(not(feature = "all"))]
    fn linked(&self) -> &[Shared] {
        &self.shared
    }

    /// The files below the workenv that a command line names.
    #[cfg_attr(not(feature = "all"), expect(unused_variables, reason = "slots that change need the larger launcher"))]
    fn seal_command(&mut self, metadata: &Metadata, line: &str) {
        for (i, word) in text::words(line).unwrap_or_default().iter().enumerate() {
            let path = match word.strip_prefix("{workenv}/") {
                Some(path) => path.into(),
                // A program that is named alone is looked for in bin.
                None if i == 0 && !has(word, b'/') => concat(&["bin/", word]),
                None => continue,
            };
            // Entry points often share a program.
            #[cfg(feature = "all")]
            if self.sealed[self.written..].contains(&path) || !lifecycle::stays_as_signed(metadata, &path) {
                continue;
            }
            // Through a link of the workenv's own as well.
            let linked =
                |link: &String| path.strip_prefix(link).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            if self.sealed[..self.written].iter().any(linked) {
                self.sealed.push(path);
            } else {
                self.sealed.insert(self.own, path);
                self.own += 1;
            }
        }
    }
}

pub(crate) fn is_archive(metadata: &Metadata, index: u32) -> bool {
    metadata.slots.get(index as usize).is_some_and(|slot| slot.operations.is_archive())
}

/// A workenv's name: it depends on everything that was signed and on where the cache is, because files in it name
/// its own path.
fn name_of(identity: Digest, cache: &Cache) -> String {
    let mut hasher = Hasher::new();
    hasher.update(&identity.0);
    hasher.update(cache.path());
    let mut name = hasher.finish().text();
    name.truncate(32);
    name
}

fn path_of(name: &str, cache: &Cache) -> Vec<u8> {
    sys::join(&sys::join(cache.path(), b"v1/envs"), name.as_bytes())
}

/// Refuses paths that are not below the workenv.
pub(crate) fn check_path(path: &str) -> Result<()> {
    let inside = relative(path);
    let plain = |name| !matches!(name, "" | "." | "..");
    if (inside.is_empty() || pieces(inside, b'/').all(plain)) && !path.starts_with('/') && !has(path, 0) {
        return Ok(());
    }
    Err(Error::manifest("a path that is not below {workenv}", path))
}

fn parent_of<'p>(dir: &Dir, path: &'p str) -> Result<(Dir, &'p [u8])> {
    let (parent, name) = sys::split(path);
    Ok((dir.walk(parent, true)?, name.as_bytes()))
}

/// What a link at `path` below the workenv says to lead to `target`. Inside the workenv it is relative, so that it holds
/// before the workenv is in its place.
fn link_target(path: &str, target: &str, values: &Placeholders<'_>) -> Vec<u8> {
    match target.strip_prefix("{workenv}/") {
        Some(inside) => {
            let mut up = Vec::new();
            for _ in 0..path.bytes().filter(|byte| *byte == b'/').count() {
                up.extend_from_slice(b"../");
            }
            up.append(&mut text::fill(inside, values));
            up
        }
        None => text::fill(target, values),
    }
}

fn link(dir: &Dir, path: &str, target: &[u8]) -> Result<()> {
    let (parent, name) = parent_of(dir, path)?;
    parent.link(name, target)
}

/// The lowest descriptor at which the app inherits the lock: above what programs number by hand.
const INHERITED: i32 = 200;
