//! Where a slot's files go on the user's machine, and with which modes.
//!
//! A slot whose target is a directory or file of its own is unpacked once into the shared store, read-only, and
//! the workenv links to it. One that merges into the workenv, or that something writes into, is private to the
//! workenv. The tree digest in the claims is taken of the modes that this leads to, so that packer and launcher
//! have to agree: both ask here (docs/format.md section 5, "tree").

use alloc::string::String;
use alloc::vec::Vec;

use crate::metadata::{Lifecycle, Metadata};

/// Where the files of a slot go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// Into the shared store, read-only; the workenv has a link with this relative path.
    Shared(String),
    /// Into the workenv itself, below this relative path; empty for its root.
    Private(String),
    /// Nowhere: the slot is read in place.
    Unplaced,
}

impl Placement {
    /// The mode that a file with this mode in its archive or descriptor is written with: never more than 0755, and
    /// without write permission in the store.
    pub fn mode(&self, mode: u16) -> u16 {
        match self {
            Self::Shared(_) if mode & 0o100 != 0 => 0o555,
            Self::Shared(_) => 0o444,
            Self::Private(_) | Self::Unplaced => (mode & 0o755) | 0o400,
        }
    }
}

/// A slot as its placement sees it.
#[derive(Debug, Clone, Copy)]
pub struct Slot<'a> {
    /// The target as the metadata have it, with or without `{workenv}/`.
    pub target: &'a str,
    /// When it is there.
    pub lifecycle: Lifecycle,
    /// True when it holds an archive.
    pub is_archive: bool,
}

/// The placement of every slot of a package with claims.
pub fn of(metadata: &Metadata) -> Vec<Placement> {
    let slots: Vec<Slot<'_>> = metadata
        .slots
        .iter()
        .map(|slot| Slot { target: &slot.target, lifecycle: slot.lifecycle, is_archive: slot.operations.is_archive() })
        .collect();
    let written: Vec<&str> = metadata.written_paths().collect();
    among(&slots, &written)
}

/// The placement of every slot of a package of another builder: everything is private, and archives merge into
/// the workenv's root whatever their target says (docs/format.md section 3).
pub fn of_foreign(metadata: &Metadata) -> Vec<Placement> {
    let place = |slot: &crate::metadata::SlotEntry| match slot.lifecycle {
        Lifecycle::Attestation => Placement::Unplaced,
        _ if slot.operations.is_archive() => Placement::Private(String::new()),
        _ => Placement::Private(relative(&slot.target).into()),
    };
    metadata.slots.iter().map(place).collect()
}

/// The placement of every slot, given the paths in the workenv that directories, files, links and modes are
/// written to at start.
pub fn among(slots: &[Slot<'_>], written: &[&str]) -> Vec<Placement> {
    let place = |(i, slot): (usize, &Slot<'_>)| {
        let target = relative(slot.target);
        let writable = match slot.lifecycle {
            Lifecycle::Attestation => return Placement::Unplaced,
            Lifecycle::Init | Lifecycle::Startup | Lifecycle::Shutdown | Lifecycle::Temporary | Lifecycle::Config => {
                true
            }
            Lifecycle::Runtime
            | Lifecycle::Cache
            | Lifecycle::Lazy
            | Lifecycle::Eager
            | Lifecycle::Dev
            | Lifecycle::Platform => false,
        };
        let others = slots.iter().enumerate().filter(|(other, _)| *other != i).map(|(_, other)| relative(other.target));
        let written = written.iter().map(|path| relative(path));
        let disturbed = others.chain(written).any(|path| path == target || is_below(path, target));
        if target.is_empty() || writable || disturbed {
            Placement::Private(target.into())
        } else {
            Placement::Shared(target.into())
        }
    };
    slots.iter().enumerate().map(place).collect()
}

/// The part of a path behind `{workenv}/`; empty for the workenv itself.
pub fn relative(path: &str) -> &str {
    let path = path.strip_prefix("{workenv}").unwrap_or(path);
    let path = path.trim_start_matches('/').trim_end_matches('/');
    let path = path.strip_prefix("./").unwrap_or(path);
    if path == "." { "" } else { path }
}

fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn runtime(target: &str) -> Slot<'_> {
        Slot { target, lifecycle: Lifecycle::Runtime, is_archive: true }
    }

    #[test]
    fn a_slot_with_a_place_of_its_own_is_shared() {
        let placed = among(&[runtime("python"), runtime("{workenv}/data/")], &["{workenv}/bin/app"]);
        assert_eq!(placed, vec![Placement::Shared("python".into()), Placement::Shared("data".into())]);
    }

    #[test]
    fn a_slot_that_merges_with_anything_is_private() {
        let slots =
            [runtime("{workenv}"), runtime("a"), runtime("a/b"), runtime("etc"), runtime("twice"), runtime("twice")];
        let placed = among(&slots, &["{workenv}/etc/app.conf"]);
        let private = |target: &str| Placement::Private(target.into());
        assert_eq!(
            placed,
            vec![
                private(""),
                private("a"),
                Placement::Shared("a/b".into()),
                private("etc"),
                private("twice"),
                private("twice")
            ]
        );
    }

    #[test]
    fn modes_never_exceed_0755_and_shared_files_are_read_only() {
        assert_eq!(Placement::Shared("x".into()).mode(0o7777), 0o555);
        assert_eq!(Placement::Shared("x".into()).mode(0o666), 0o444);
        assert_eq!(Placement::Private("x".into()).mode(0o7777), 0o755);
        assert_eq!(Placement::Private("x".into()).mode(0o000), 0o400);
    }
}
