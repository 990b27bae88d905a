//! Slots that are not simply there from the first start on (docs/format.md section 3.3).

use alloc::vec::Vec;

use pspf_core::claims::Found;
use pspf_core::metadata::{Lifecycle, Metadata};
use pspf_core::number;
use pspf_core::placement::{self, Placement, relative};
use pspf_core::{Source, Verified};
use rustix::io::Errno;

use crate::cache::Cache;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::store::{self, Check, Lock, Shared};
use crate::sys::{self, Dir};
use crate::workenv::{Workenv, is_archive};
use crate::{data, session};

/// Makes sure that a slot is on disk, below a workenv that is prepared, and prints where. `args` is its id or its number, `typed`
/// the name by which the user called the package, `env` the caller's environment.
///
/// Fails with [`ErrorKind::Refused`](crate::ErrorKind::Refused) when the caller is an app that another package started.
pub fn print_slot<S: Source>(
    verified: &Verified<'_, S>,
    args: &[Vec<u8>],
    typed: Vec<u8>,
    env: Environment,
) -> Result<()> {
    let wanted = args.first().map_or(&b""[..], Vec::as_slice);
    let cache = Cache::open(&env)?;
    let mut env = env;
    let mut workenv = Workenv::new(verified, &cache);
    let started = env.get(b"FLAVOR_WORKENV").map(<[u8]>::to_vec);
    if let Some(started) = &started {
        // The app does not see the variable that it was started with.
        if !session::find(verified.metadata(), &mut workenv, &cache, started) {
            env.set(b"PSPF_DEV", b"1");
            workenv.develop(&cache, &env);
        }
        if !session::find(verified.metadata(), &mut workenv, &cache, started) {
            let package = env.get(crate::environment::PACKAGE).unwrap_or(&typed);
            let reason = "is not the package that started this app: it was replaced since, or the cache is another one";
            return Err(Error::refused(package, reason, "restart the app; for another package, unset FLAVOR_WORKENV"));
        }
    } else {
        workenv.develop(&cache, &env);
        workenv.data = data::prepare(verified, &cache, &env)?;
    }
    let (index, placement) = find(verified, wanted)?;
    crate::prepare_workenv(verified, &cache, &mut workenv, &typed, env)?;
    if !is_wanted(verified, index, workenv.is_developing()) {
        let reason = "is a slot for another platform, or for development, and is not on disk";
        return Err(Error::refused(wanted, reason, "start the package with PSPF_DEV=1 for those of development"));
    }
    let lifecycle = lifecycle_of(verified.metadata(), index);
    let is_passing = matches!(lifecycle, Some(Lifecycle::Temporary | Lifecycle::Shutdown));
    if is_passing
        && (started.is_none() || lifecycle == Some(Lifecycle::Shutdown))
        && not_in_workenv(verified.metadata()).contains(&index)
    {
        let reason = "is a slot that is on disk only while the app runs, or after that";
        return Err(Error::refused(wanted, reason, "ask from within the app; extract writes it somewhere"));
    }
    // The workenv is locked and names the slot: what is in the store now stays there.
    if lifecycle == Some(Lifecycle::Lazy)
        && let Some(slot) = Shared::of(verified, index, &placement)
    {
        let check = if workenv.check() == Check::Content { Check::Content } else { Check::Rows };
        slot.ensure(verified, &cache.slots, check)?;
    }
    let (Placement::Shared(path) | Placement::Private(path)) = placement else {
        return Err(Error::arguments("this slot is never on disk; extract writes it somewhere: ", wanted));
    };
    let mut path = if path.is_empty() { workenv.path().to_vec() } else { workenv.absolute(path.as_bytes()) };
    path.push(b'\n');
    sys::print(&path)
}

/// Extracts the slots anew that every start finds as they were packed. What was there is moved away first: another start of the
/// app may have changed it, or still use it.
pub fn refresh<S: Source>(verified: &Verified<'_, S>, cache: &Cache, workenv: &Workenv<'_>) -> Result<()> {
    let metadata = verified.metadata();
    let mut fresh = alone(metadata, Lifecycle::Startup, true);
    fresh.append(&mut alone(metadata, Lifecycle::Temporary, true));
    extract(verified, cache, workenv, &fresh)
}

/// Extracts slots of this lifecycle into the workenv, in place of what is there.
pub(crate) fn extract<S: Source>(
    verified: &Verified<'_, S>,
    cache: &Cache,
    workenv: &Workenv<'_>,
    slots: &[(u32, &str)],
) -> Result<()> {
    if slots.is_empty() {
        return Ok(());
    }
    let _lock = Lock::exclusive(&cache.envs, workenv.name())?;
    store::sweep(&cache.envs, workenv.name())?;
    let dir = cache.envs.open_dir(workenv.name().as_bytes())?;
    for (index, target) in slots {
        let (temporary, beside) = store::temporary_dir(&cache.envs, workenv.name())?;
        let replaced = replace(verified, *index, target, &beside, &dir);
        store::delete(&cache.envs, &temporary);
        replaced?;
    }
    Ok(())
}

/// Removes slots of this lifecycle from the workenv. They are out of the way at once, even when they cannot be deleted.
pub(crate) fn remove(metadata: &Metadata, lifecycle: Lifecycle, cache: &Cache, workenv: &Workenv<'_>) -> Result<()> {
    let slots = alone(metadata, lifecycle, true);
    if slots.is_empty() {
        return Ok(());
    }
    let _lock = Lock::exclusive(&cache.envs, workenv.name())?;
    let Some(dir) = store::present(cache.envs.open_dir(workenv.name().as_bytes()))? else { return Ok(()) };
    for (_, target) in slots {
        let (temporary, beside) = store::temporary_dir(&cache.envs, workenv.name())?;
        let (parent, name) = sys::split(target);
        let moved = match store::present(dir.walk(parent, false))? {
            Some(parent) => move_away(&parent, name, &beside).or_else(|_| {
                sys::unlock(&parent, name.as_bytes())?;
                move_away(&parent, name, &beside)
            }),
            None => Ok(()),
        };
        if beside.remove(OLD).is_err() {
            let _ = sys::unlock(&beside, OLD);
        }
        store::delete(&cache.envs, &temporary);
        moved?;
    }
    Ok(())
}

/// Extracts a slot into the directory `beside`, and exchanges it for what is at `target` in `dir`.
pub(crate) fn replace<S: Source>(
    verified: &Verified<'_, S>,
    index: u32,
    target: &str,
    beside: &Dir,
    dir: &Dir,
) -> Result<()> {
    let (parent, name) = sys::split(target);
    let new = beside.create_dir(b"new", 0o755)?;
    store::write(verified, index, &Placement::Private(target.into()), &new, name, None)?;
    let parent = dir.walk(parent, true)?;
    move_away(&parent, name, beside)?;
    let moved = match is_archive(verified.metadata(), index) {
        true => beside.rename_to(b"new", &parent, name.as_bytes()),
        false => new.rename_to(name.as_bytes(), &parent, name.as_bytes()),
    };
    parent.told("cannot publish", name.as_bytes(), moved)
}

fn move_away(parent: &Dir, name: &str, to: &Dir) -> Result<()> {
    match parent.rename_to(name.as_bytes(), to, OLD) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(parent.failed("cannot move away", name.as_bytes(), errno)),
    }
}

/// What is moved away is called.
const OLD: &[u8] = b"old";

/// Removes the slots that are there for setup commands only.
pub fn remove_initial(metadata: &Metadata, dir: &Dir) -> Result<()> {
    for (_, target) in alone(metadata, Lifecycle::Init, false) {
        let (parent, name) = sys::split(target);
        // A setup command may have removed more than that.
        if let Some(parent) = store::present(dir.walk(parent, false))? {
            parent.remove(name.as_bytes())?;
        }
    }
    Ok(())
}

/// Number and target of the slots of this lifecycle that share their targets with nothing: with no other slot, and where
/// `written` says so with nothing that is written into the workenv. Of packages without claims there are none.
pub(crate) fn alone(metadata: &Metadata, lifecycle: Lifecycle, written: bool) -> Vec<(u32, &str)> {
    let mut found = Vec::new();
    if !metadata.slots.iter().any(|slot| slot.lifecycle == lifecycle) || !matches!(metadata.claims, Found::V1(_)) {
        return found;
    }
    let mut slots = Vec::new();
    for slot in &metadata.slots {
        let is_archive = slot.operations.is_archive();
        slots.push(placement::Slot { target: &slot.target, lifecycle: Lifecycle::Runtime, is_archive });
    }
    let paths: Vec<&str> = if written { metadata.written_paths().collect() } else { Vec::new() };
    for ((index, placement), slot) in (0..).zip(placement::among(&slots, &paths)).zip(&metadata.slots) {
        if slot.lifecycle == lifecycle && matches!(placement, Placement::Shared(_)) {
            found.push((index, relative(&slot.target)));
        }
    }
    found
}

/// The slots that are not in the workenv from its making on: the user's, and those that come and go with a process of the app.
pub(crate) fn not_in_workenv(metadata: &Metadata) -> Vec<u32> {
    let mut found = Vec::new();
    for lifecycle in [Lifecycle::Config, Lifecycle::Temporary, Lifecycle::Shutdown] {
        found.extend(alone(metadata, lifecycle, true).iter().map(|(index, _)| *index));
    }
    found
}

/// False for a slot that this start leaves out: one for development unless that is asked for, and one for another platform.
pub fn is_wanted<S: Source>(verified: &Verified<'_, S>, index: u32, developing: bool) -> bool {
    let metadata = verified.metadata();
    if !matches!(metadata.claims, Found::V1(_)) {
        return true;
    }
    match lifecycle_of(metadata, index) {
        Some(Lifecycle::Dev) => developing,
        Some(Lifecycle::Platform) => {
            verified.package().descriptor(index).is_ok_and(|slot| [0, PLATFORM].contains(&slot.platform))
        }
        _ => true,
    }
}

/// True unless this path below the workenv is in a slot that changes, comes or goes: then no seal can say how it has to be.
pub fn stays_as_signed(metadata: &Metadata, path: &str) -> bool {
    let changes = |lifecycle| {
        use Lifecycle::{Config, Init, Lazy, Shutdown, Startup, Temporary};
        matches!(lifecycle, Lazy | Init | Startup | Config | Temporary | Shutdown)
    };
    let mut slots = metadata.slots.iter().filter(|slot| changes(slot.lifecycle));
    slots.all(|slot| match path.strip_prefix(relative(&slot.target)) {
        Some(rest) => !rest.is_empty() && !rest.starts_with('/'),
        None => true,
    })
}

/// The slot of this id, else the one of this number.
fn find<S: Source>(verified: &Verified<'_, S>, wanted: &[u8]) -> Result<(u32, Placement)> {
    let slots = &verified.metadata().slots;
    let number =
        || number::parse(core::str::from_utf8(wanted).ok()?, 10).and_then(|number| usize::try_from(number).ok());
    let index = slots.iter().position(|slot| slot.id.as_bytes() == wanted).or_else(number);
    let placed = index.and_then(|index| Some((index as u32, verified.placements().into_iter().nth(index)?)));
    placed.ok_or_else(|| Error::arguments("the package has no slot with the id or number ", wanted))
}

fn lifecycle_of(metadata: &Metadata, index: u32) -> Option<Lifecycle> {
    metadata.slots.get(index as usize).map(|slot| slot.lifecycle)
}

/// This platform in a slot's descriptor (docs/format.md section 3.1).
const PLATFORM: u8 = match () {
    () if cfg!(target_os = "linux") => 1,
    () if cfg!(target_os = "macos") => 2,
    () => 3,
};
