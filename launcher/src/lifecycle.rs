//! Slots that are not simply there from the first start on (docs/format.md section 3.3).

use alloc::vec::Vec;

use pspf_core::metadata::{Lifecycle, Metadata};
use pspf_core::number;
use pspf_core::placement::{Placement, relative};
use pspf_core::{Source, Verified};

use crate::cache::Cache;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::store::{Check, Shared};
use crate::sys;
use crate::workenv::Workenv;

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
    let mut workenv = Workenv::new(verified, &cache);
    if env.get(b"FLAVOR_WORKENV").is_some_and(|started| started != workenv.path()) {
        let package = env.get(crate::environment::PACKAGE).unwrap_or(&typed);
        let reason = "is not the package that started this app: it was replaced since, or the cache is another one";
        return Err(Error::refused(package, reason, "restart the app; for another package, unset FLAVOR_WORKENV"));
    }
    let (index, placement) = find(verified, wanted)?;
    crate::prepare_workenv(verified, &cache, &mut workenv, &typed, env)?;
    // The workenv is locked and names the slot: what is in the store now stays there.
    if lifecycle_of(verified.metadata(), index) == Some(Lifecycle::Lazy)
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

/// True unless this path below the workenv is in a slot that changes, comes or goes: then no seal can say how it has to be.
pub fn stays_as_signed(metadata: &Metadata, path: &str) -> bool {
    let mut slots = metadata.slots.iter().filter(|slot| slot.lifecycle == Lifecycle::Lazy);
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
