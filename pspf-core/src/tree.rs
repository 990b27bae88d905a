//! The digest of an extracted tree, as the claims carry it (docs/format.md section 5, "tree").
//!
//! SHA-256 over one record per file, symlink and empty directory, sorted by path bytes:
//!
//! ```text
//!  0      1      3            7        7 + n
//!  +------+------+------------+--------+-------------------------------------------+
//!  | type | mode | length n   | path   | SHA-256 of the content or target, or zeros |
//!  +------+------+------------+--------+-------------------------------------------+
//!    u8     u16    u32          n bytes  32 bytes
//! ```

#[cfg(feature = "foreign")]
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use crate::digest::{Digest, Hasher};
#[cfg(feature = "foreign")]
use crate::{names, text};

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A regular file.
    File = 0,
    /// A symbolic link.
    Symlink = 1,
    /// A directory; it counts only when nothing is in it.
    Directory = 2,
}

/// The entries do not come sorted, so that a streaming hasher cannot go on: start again with a collecting one
/// (feature `foreign`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfOrder;

/// Computes the digest. Archives of packer's are sorted and name only empty directories, so that a streaming
/// hasher takes them in constant memory; any other order needs a collecting one.
pub struct TreeHasher {
    records: u64,
    order: Order,
}

enum Order {
    /// The last path, and how many bytes of it name directories that have a record.
    Streaming { hasher: Hasher, last: String, directories: Vec<usize> },
    #[cfg(feature = "foreign")]
    Collecting(Tree),
}

impl TreeHasher {
    /// Takes sorted entries, in constant memory.
    pub fn streaming() -> Self {
        let order = Order::Streaming { hasher: Hasher::new(), last: String::new(), directories: Vec::new() };
        Self { records: 0, order }
    }

    /// Takes entries in any order, and remembers them all.
    #[cfg(feature = "foreign")]
    pub fn collecting() -> Self {
        Self { records: 0, order: Order::Collecting(Tree::default()) }
    }

    /// One entry. `content` is the digest of the file's content or of the link's target, and zeros for a directory.
    pub fn add(&mut self, kind: Kind, mode: u16, path: &str, content: Digest) -> Result<(), OutOfOrder> {
        match &mut self.order {
            #[cfg(feature = "foreign")]
            Order::Collecting(tree) => tree.add(kind, mode, path, content),
            Order::Streaming { hasher, last, directories } => {
                // In sorted order everything that begins with a directory's name follows it without a break.
                directories.retain(|size| last.as_bytes().get(..*size) == path.as_bytes().get(..*size));
                let inside = directories.iter().any(|size| path.as_bytes().get(*size) == Some(&b'/'));
                if (self.records > 0 && path <= last.as_str()) || inside {
                    return Err(OutOfOrder);
                }
                if kind == Kind::Directory {
                    directories.push(path.len());
                }
                last.clear();
                last.push_str(path);
                write_record(hasher, kind, mode, path, content);
            }
        }
        self.records += 1;
        Ok(())
    }

    /// The digest, and how many records it is of.
    pub fn finish(self) -> (Digest, u64) {
        match self.order {
            Order::Streaming { hasher, .. } => (hasher.finish(), self.records),
            #[cfg(feature = "foreign")]
            Order::Collecting(tree) => tree.finish(),
        }
    }
}

/// The entries of a tree, collected in any order.
#[cfg(feature = "foreign")]
#[derive(Default)]
struct Tree {
    entries: Vec<(String, Kind, u16, Digest)>,
}

#[cfg(feature = "foreign")]
impl Tree {
    fn add(&mut self, kind: Kind, mode: u16, path: &str, content: Digest) {
        self.entries.push((path.to_owned(), kind, mode, content));
    }

    fn finish(&self) -> (Digest, u64) {
        let paths = names::sorted(self.entries.iter().map(|(path, ..)| path.as_str()));
        let mut hasher = Hasher::new();
        let mut count = 0;
        for (path, at) in &paths {
            let (_, kind, mode, content) = &self.entries[*at];
            if *kind != Kind::Directory || !is_parent(path, &paths) {
                write_record(&mut hasher, *kind, *mode, path, *content);
                count += 1;
            }
        }
        (hasher.finish(), count)
    }
}

/// True when one of these sorted paths is inside `directory`.
#[cfg(feature = "foreign")]
fn is_parent(directory: &str, paths: &[(&str, usize)]) -> bool {
    let inside = text::concat(&[directory, "/"]);
    let first = paths.partition_point(|(path, _)| *path < inside.as_str());
    paths.get(first).is_some_and(|(path, _)| path.starts_with(&inside))
}

fn write_record(hasher: &mut Hasher, kind: Kind, mode: u16, path: &str, content: Digest) {
    let [mode_low, mode_high] = mode.to_le_bytes();
    let [a, b, c, d] = (path.len() as u32).to_le_bytes();
    hasher.update(&[kind as u8, mode_low, mode_high, a, b, c, d]);
    hasher.update(path.as_bytes());
    hasher.update(&content.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZEROS: Digest = Digest([0; 32]);

    #[test]
    fn streaming_and_collecting_agree_on_sorted_entries() {
        let entries = [(Kind::File, "a-b"), (Kind::File, "a/b"), (Kind::Directory, "empty"), (Kind::Symlink, "z")];
        let (mut streaming, mut collecting) = (TreeHasher::streaming(), TreeHasher::collecting());
        for (kind, path) in entries {
            streaming.add(kind, 0o444, path, Digest::of(path.as_bytes())).unwrap();
        }
        for (kind, path) in entries.into_iter().rev() {
            collecting.add(kind, 0o444, path, Digest::of(path.as_bytes())).unwrap();
        }
        assert_eq!(streaming.finish(), collecting.finish());
    }

    #[test]
    fn a_directory_with_something_in_it_is_no_record() {
        let (mut with, mut without) = (TreeHasher::collecting(), TreeHasher::collecting());
        with.add(Kind::Directory, 0o755, "a", ZEROS).unwrap();
        for hasher in [&mut with, &mut without] {
            hasher.add(Kind::File, 0o644, "a-b", ZEROS).unwrap();
            hasher.add(Kind::File, 0o644, "a/b", ZEROS).unwrap();
        }
        assert_eq!(with.finish(), without.finish());
    }

    #[test]
    fn disorder_is_noticed_while_streaming() {
        let mut hasher = TreeHasher::streaming();
        hasher.add(Kind::Directory, 0o755, "a", ZEROS).unwrap();
        hasher.add(Kind::File, 0o644, "a-b", ZEROS).unwrap();
        assert_eq!(hasher.add(Kind::File, 0o644, "a/b", ZEROS), Err(OutOfOrder));
        assert_eq!(hasher.add(Kind::File, 0o644, "a-a", ZEROS), Err(OutOfOrder));
    }
}
