//! What came of a tree the last time it was encoded.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pspf_core::Digest;
use pspf_core::build::Encoded;
use pspf_core::claims::Chunks;
use pspf_core::format::Operations;
use pspf_core::placement::Placement;
use serde::{Deserialize, Serialize};

use super::strip::Symbols;

/// Everything that decides what a slot's bytes and facts are.
pub(super) struct Key<'a> {
    /// Names the tree's content.
    pub(super) tree: &'a str,
    pub(super) placement: &'a Placement,
    pub(super) operations: Operations,
    pub(super) level: u32,
    pub(super) symbols: Symbols,
}

/// What is remembered of an encoded slot.
#[derive(Serialize, Deserialize)]
struct Remembered {
    size: u64,
    original_size: u64,
    digest: String,
    tree: String,
    files: u64,
    chunks: Option<RememberedChunks>,
}

#[derive(Serialize, Deserialize)]
struct RememberedChunks {
    original: u64,
    stored: Vec<u32>,
}

impl Key<'_> {
    /// The slot, when it was encoded before.
    pub(super) fn recall(&self, cache: &Path) -> Option<(Encoded, PathBuf)> {
        let kept = self.place(cache);
        let facts: Remembered = serde_json::from_slice(&fs::read(kept.join("facts.json")).ok()?).ok()?;
        let digest = Digest::from_hex(&facts.digest)?;
        let encoded = Encoded {
            size: facts.size,
            original_size: facts.original_size,
            digest,
            tree: Some(Digest::from_hex(&facts.tree)?),
            files: facts.files,
            chunks: facts.chunks.map(|RememberedChunks { original, stored }| Chunks { original, stored }),
        };
        // A damaged cache would only show after signing.
        let stored = kept.join("stored");
        let whole = super::size_of(&stored).ok()? == encoded.size && super::digest_of(&stored).ok()? == digest;
        whole.then_some((encoded, stored))
    }

    /// Keeps a slot for the next time; gives it back with the file that holds its bytes from now on. A cache that
    /// cannot be written is no reason not to pack.
    pub(super) fn remember(&self, cache: &Path, encoded: Encoded, stored: PathBuf) -> (Encoded, PathBuf) {
        let Some(tree) = encoded.tree else { return (encoded, stored) };
        let chunks = encoded.chunks.as_ref();
        let facts = Remembered {
            size: encoded.size,
            original_size: encoded.original_size,
            digest: encoded.digest.to_string(),
            tree: tree.to_string(),
            files: encoded.files,
            chunks: chunks
                .map(|Chunks { original, stored }| RememberedChunks { original: *original, stored: stored.clone() }),
        };
        match self.keep(&self.place(cache), &facts, &stored) {
            Ok(()) => match self.recall(cache) {
                Some((kept, path)) if kept == encoded => (encoded, path),
                _ => (encoded, stored),
            },
            Err(_) => (encoded, stored),
        }
    }

    fn keep(&self, place: &Path, facts: &Remembered, stored: &Path) -> io::Result<()> {
        let parent = place.parent().unwrap_or(place);
        fs::create_dir_all(parent)?;
        let beside = tempfile::Builder::new().prefix(".tmp-").tempdir_in(parent)?;
        fs::write(beside.path().join("facts.json"), serde_json::to_vec(facts)?)?;
        fs::copy(stored, beside.path().join("stored"))?;
        // What is there under this name and was not recalled is damaged.
        if place.exists() {
            fs::remove_dir_all(place)?;
        }
        fs::rename(beside.path(), place)
    }

    fn place(&self, cache: &Path) -> PathBuf {
        let Self { tree, placement, operations, level, symbols } = self;
        let writable = if matches!(placement, Placement::Shared(_)) { "shared" } else { "private" };
        let symbols = if *symbols == Symbols::Strip { "-stripped" } else { "" };
        let name = format!("{tree}-{writable}-{:x}-{level}{symbols}-{}", operations.raw(), env!("CARGO_PKG_VERSION"));
        cache.join("slots").join(name)
    }
}
