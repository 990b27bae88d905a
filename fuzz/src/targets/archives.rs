//! The tar reader, alone and against the crate `tar`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use pspf_core::archive::{BLOCK, Entry, Kind, Reader, hash_tree};
use pspf_core::codec::{Stage, Stored};
use pspf_core::placement::Placement;
use pspf_core::tree::TreeHasher;
use pspf_core::{Part, Result};

pub(super) fn tar(input: &[u8]) -> bool {
    tar_as_it_is(input) | tar_as_it_is(&with_header_checksums(input))
}

fn tar_as_it_is(archive: &[u8]) -> bool {
    let listed = list(archive);
    if let Ok(entries) = &listed {
        let content: usize = entries.iter().map(|(_, content)| content.len()).sum();
        assert!(content <= archive.len(), "more content than archive");
        let paths: BTreeSet<&str> = entries.iter().map(|(entry, _)| entry.path.as_str()).collect();
        assert_eq!(paths.len(), entries.len(), "a path twice");
        for (entry, _) in entries {
            assert_plain(&entry.path);
            if let Kind::Symlink { target } = &entry.kind {
                assert_stays_inside(&entry.path, target);
            }
        }
    }
    let mut hasher = TreeHasher::collecting();
    let hashed = hash_tree(&mut stored(&archive), &Placement::Shared("tree".into()), &mut hasher);
    if hashed == Ok(None) {
        assert_is_a_tree(&listed.expect("a tree is made of what is listed"));
        return true;
    }
    false
}

pub(super) fn tar_differential(input: &[u8]) -> bool {
    differs_not(input) | differs_not(&with_header_checksums(input))
}

fn differs_not(archive: &[u8]) -> bool {
    let Ok(ours) = list(archive) else { return false };
    let theirs = list_with_tar(archive).expect("the crate `tar` refuses an archive that we accept");
    assert_eq!(ours.len(), theirs.len(), "another number of entries");
    for ((entry, content), theirs) in ours.iter().zip(&theirs) {
        assert_eq!(entry.path, theirs.path);
        if let Some(mode) = theirs.mode {
            assert_eq!(u32::from(entry.mode), mode & 0o7777, "mode of {:?}", entry.path);
        }
        assert_eq!(*content, theirs.content, "content of {:?}", entry.path);
        let (kind, target) = match &entry.kind {
            Kind::File { .. } => (tar::EntryType::Regular, None),
            Kind::Directory => (tar::EntryType::Directory, None),
            Kind::Symlink { target } => (tar::EntryType::Symlink, Some(target)),
            Kind::Hardlink { target } => (tar::EntryType::Link, Some(target)),
        };
        assert_eq!(kind, theirs.kind, "kind of {:?}", entry.path);
        if kind == tar::EntryType::Symlink {
            assert_eq!(target, Some(&theirs.target), "target of {:?}", entry.path);
        } else if kind == tar::EntryType::Link {
            assert_eq!(target, Some(&plain(&theirs.target)), "target of {:?}", entry.path);
        }
    }
    true
}

/// An entry as the crate `tar` reads it.
struct Theirs {
    path: String,
    /// Unless it is in base 256, which `tar` does not read in modes.
    mode: Option<u32>,
    kind: tar::EntryType,
    target: String,
    content: Vec<u8>,
}

fn list_with_tar(archive: &[u8]) -> std::io::Result<Vec<Theirs>> {
    let mut entries = Vec::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        // The root, which we pass over.
        if matches!(path.as_str(), "." | "./") {
            continue;
        }
        entries.push(Theirs {
            path: plain(&path),
            mode: if entry.header().as_old().mode[0] & 0x80 == 0 { Some(entry.header().mode()?) } else { None },
            kind: entry.header().entry_type(),
            target: String::from_utf8_lossy(&entry.link_name_bytes().unwrap_or_default()).into_owned(),
            content,
        });
    }
    Ok(entries)
}

/// The path as we give it, without what means nothing.
fn plain(path: &str) -> String {
    let mut path = path;
    while let Some(rest) = path.strip_prefix("./") {
        path = rest;
    }
    path.strip_suffix('/').unwrap_or(path).to_owned()
}

/// Every entry and its content.
pub fn list(archive: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>> {
    let mut stage = stored(&archive);
    list_stage(&mut stage)
}

/// As [`list`], from any stage.
pub(super) fn list_stage(stage: &mut dyn Stage) -> Result<Vec<(Entry, Vec<u8>)>> {
    let mut reader = Reader::new(stage);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut content = Vec::new();
        loop {
            let ready = reader.fill()?;
            if ready.is_empty() {
                break;
            }
            content.extend_from_slice(ready);
            let count = ready.len();
            reader.consume(count);
        }
        entries.push((entry, content));
    }
    Ok(entries)
}

fn stored<'a>(archive: &'a &[u8]) -> Stored<'a> {
    Stored::new(archive, Part::Slot(0), 0, archive.len() as u64)
}

/// With the checksum of every header made right, as far as sizes lead from one to the next.
pub fn with_header_checksums(archive: &[u8]) -> Vec<u8> {
    let mut mended = archive.to_vec();
    let mut at = 0;
    while let Some(block) = mended.get_mut(at..at + BLOCK) {
        at += BLOCK;
        if block.iter().all(|byte| *byte == 0) {
            continue;
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let mut header = tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        let size = header.entry_size().unwrap_or_default().min(mended.len() as u64) as usize;
        at += size.next_multiple_of(BLOCK);
        if at > mended.len() {
            break;
        }
    }
    mended
}

fn assert_plain(path: &str) {
    let is_plain = |name: &str| !matches!(name, "" | "." | "..") && name.len() <= 255 && !name.contains(['\\', '\0']);
    assert!(path.len() <= 4096 && path.split('/').all(is_plain), "{path:?}");
}

/// Follows the link by names, as a system without other links would.
fn assert_stays_inside(path: &str, target: &str) {
    let mut at: Vec<&str> = path.split('/').collect();
    at.pop();
    assert!(!target.is_empty() && !target.starts_with('/'), "{path:?} -> {target:?}");
    for name in target.split('/') {
        match name {
            ".." => assert!(at.pop().is_some(), "{path:?} -> {target:?} leaves"),
            "" | "." => {}
            name => at.push(name),
        }
    }
}

/// Nothing lies inside of a file or a link, and hard links name files that came before.
fn assert_is_a_tree(entries: &[(Entry, Vec<u8>)]) {
    let mut kinds: BTreeMap<&str, &Kind> = BTreeMap::new();
    for (entry, _) in entries {
        if let Kind::Hardlink { target } = &entry.kind {
            let earlier = kinds.get(target.as_str());
            let is_file = matches!(earlier, Some(Kind::File { .. } | Kind::Hardlink { .. }));
            assert!(is_file, "{:?} is a hard link to {target:?}: {earlier:?}", entry.path);
        }
        kinds.insert(entry.path.as_str(), &entry.kind);
    }
    for (entry, _) in entries {
        for (at, _) in entry.path.match_indices('/') {
            let above = kinds.get(&entry.path[..at]);
            assert!(matches!(above, None | Some(Kind::Directory)), "{:?} lies inside of {above:?}", entry.path);
        }
    }
}
