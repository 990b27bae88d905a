//! Finished trees in the packer's cache: made under a temporary name, published by one rename.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::error::{Error, Result};

/// A new directory beside the finished ones of `shelf`; it disappears when dropped.
pub(super) fn workspace(shelf: &Path) -> Result<TempDir> {
    std::fs::create_dir_all(shelf).map_err(|error| Error::io("cannot make the cache directory", shelf, &error))?;
    sweep(shelf);
    tempfile::Builder::new()
        .prefix(TEMPORARY)
        .tempdir_in(shelf)
        .map_err(|error| Error::io("cannot make a directory in the cache", shelf, &error))
}

/// Gives `work` its final name. When another process was faster, its result is as good and ours is dropped.
pub(super) fn publish(work: TempDir, finished: &Path) -> Result<PathBuf> {
    match std::fs::rename(work.path(), finished) {
        Ok(()) => {
            // It has a new name, so there is nothing left to remove.
            let _ = work.keep();
            Ok(finished.to_path_buf())
        }
        Err(_) if finished.is_dir() => Ok(finished.to_path_buf()),
        Err(error) => Err(Error::io("cannot publish into the cache", finished, &error)),
    }
}

const TEMPORARY: &str = ".tmp-";
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// Removes what a killed process left behind. Old is old enough: no run takes a day.
fn sweep(shelf: &Path) {
    let Ok(entries) = std::fs::read_dir(shelf) else { return };
    for entry in entries.flatten() {
        let old = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|modified| SystemTime::now().duration_since(modified).is_ok_and(|age| age > ABANDONED));
        if old && entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
