//! Where a slot's files go on the user's machine, and with which modes.
//!
//! A slot whose target is a directory or file of its own is unpacked once into the shared store, read-only, and
//! the workenv links to it. One that merges into the workenv, or that something writes into, is private to the
//! workenv. The tree digest in the claims is taken of the modes that this leads to, so that packer and launcher
//! have to agree: both ask here (docs/format.md section 5, "tree").

use alloc::string::String;
use alloc::vec::Vec;

use crate::metadata::{Lifecycle, Metadata};
use crate::names::Names;
use crate::text;

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
    let mut paths = Vec::new();
    metadata.add_written_paths(&mut paths);
    for slot in &metadata.slots {
        paths.push(&slot.target);
    }
    let used = used(&paths);
    let mut placements = Vec::new();
    for slot in &metadata.slots {
        placements.push(place(&slot.target, slot.lifecycle, &used));
    }
    placements
}

/// The placement of every slot of a package of another builder: everything is private, and archives merge into
/// the workenv's root whatever their target says (docs/format.md section 3).
#[cfg(feature = "foreign")]
pub fn of_foreign(metadata: &Metadata) -> Vec<Placement> {
    let mut placements = Vec::new();
    for slot in &metadata.slots {
        placements.push(match slot.lifecycle {
            Lifecycle::Attestation => Placement::Unplaced,
            _ if slot.operations.is_archive() => Placement::Private(String::new()),
            _ => Placement::Private(relative(&slot.target).into()),
        });
    }
    placements
}

/// The placement of every slot, given the paths in the workenv that directories, files, links and modes are
/// written to at start.
pub fn among(slots: &[Slot<'_>], written: &[&str]) -> Vec<Placement> {
    let targets = slots.iter().map(|slot| slot.target);
    let paths: Vec<&str> = written.iter().copied().chain(targets).collect();
    let used = used(&paths);
    slots.iter().map(|slot| place(slot.target, slot.lifecycle, &used)).collect()
}

/// Of the paths that anything is written to, those that are written to twice, and the directories around each of them.
/// Every path is looked at once, since a package may have thousands of slots.
#[inline(never)]
fn used(paths: &[&str]) -> Names {
    let (mut once, mut used) = (Names::default(), Names::default());
    for path in paths {
        let mut path = relative(path);
        if !once.insert(path) {
            used.insert(path);
        }
        while let Some((directory, _)) = text::rsplit_once(path, b'/') {
            used.insert(directory);
            path = directory;
        }
    }
    used
}

/// The placement of a slot, given what else than its own target is [`used`].
fn place(target: &str, lifecycle: Lifecycle, used: &Names) -> Placement {
    let target = relative(target);
    let writable = match lifecycle {
        Lifecycle::Attestation => return Placement::Unplaced,
        Lifecycle::Init | Lifecycle::Startup | Lifecycle::Shutdown | Lifecycle::Temporary | Lifecycle::Config => true,
        Lifecycle::Runtime
        | Lifecycle::Cache
        | Lifecycle::Lazy
        | Lifecycle::Eager
        | Lifecycle::Dev
        | Lifecycle::Platform => false,
    };
    if target.is_empty() || writable || used.number_of(target).is_some() {
        Placement::Private(target.into())
    } else {
        Placement::Shared(target.into())
    }
}

/// The part of a path behind `{workenv}/`; empty for the workenv itself.
#[inline(never)]
pub fn relative(path: &str) -> &str {
    let mut path = path.strip_prefix("{workenv}").unwrap_or(path);
    while let Some(rest) = path.strip_prefix('/') {
        path = rest;
    }
    while let Some(rest) = path.strip_suffix('/') {
        path = rest;
    }
    let path = path.strip_prefix("./").unwrap_or(path);
    if path == "." { "" } else { path }
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
    fn names_that_begin_alike_are_places_of_their_own() {
        let placed = among(&[runtime("a"), runtime("{workenv}/ab"), runtime("a.b/c")], &["a-b", "a.b/d"]);
        let shared = |target: &str| Placement::Shared(target.into());
        assert_eq!(placed, vec![shared("a"), shared("ab"), shared("a.b/c")]);
    }

    #[test]
    fn a_place_spelled_in_two_ways_is_one() {
        let placed =
            among(&[runtime("a"), runtime("{workenv}/b"), runtime("c/d")], &["{workenv}/a", "./b/", "c/d/e/f"]);
        let private = |target: &str| Placement::Private(target.into());
        assert_eq!(placed, vec![private("a"), private("b"), private("c/d")]);
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
