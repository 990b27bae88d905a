//! Removing what packer itself keeps to be faster the next time.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::places;

/// The build cache, and what became of it. The JSON of this is a stable interface.
#[derive(Debug, Serialize)]
pub struct BuildCache {
    /// Where it is.
    pub path: PathBuf,
    /// How many bytes its files had; 0 when it was not there.
    pub bytes: u64,
    /// How many files.
    pub files: u64,
}

/// Removes the build cache: interpreters made self-contained, dependencies, encoded slots, tools. With `dry_run` it only
/// says what that would be. Whoever packs at this moment has to begin again.
pub fn build_cache(dry_run: bool) -> Result<BuildCache> {
    let path = places::build_cache()?;
    let (mut bytes, mut files) = (0, 0);
    count(&path, &mut bytes, &mut files);
    if !dry_run && path.exists() {
        // Out of the way first, so that the next pack does not meet half of it.
        let parent = path.parent().unwrap_or(Path::new("/"));
        let failed = |error: std::io::Error| Error::io("cannot remove the build cache", &path, &error);
        let away = tempfile::Builder::new().prefix(".cleaned-").tempdir_in(parent).map_err(failed)?;
        fs::rename(&path, away.path().join("build")).map_err(failed)?;
        away.close().map_err(failed)?;
    }
    Ok(BuildCache { path, bytes, files })
}

/// Adds up the files below; what cannot be looked at is not counted.
fn count(directory: &Path, bytes: &mut u64, files: &mut u64) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => count(&entry.path(), bytes, files),
            Ok(metadata) => {
                *bytes += metadata.len();
                *files += 1;
            }
            Err(_) => {}
        }
    }
}
