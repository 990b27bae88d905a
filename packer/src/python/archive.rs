//! Interpreters that come as an archive, as python-build-standalone publishes them.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// True when the name is that of an archive.
pub(super) fn is_archive(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    path.is_file() && [".tar.gz", ".tgz", ".tar.zst"].iter().any(|ending| name.ends_with(ending))
}

/// Unpacks the archive at `path` below `into` and answers with the prefix in it.
pub(super) fn unpack(path: &Path, into: &Path, progress: &dyn Progress) -> Result<PathBuf> {
    if path.extension().is_some_and(|extension| extension == "zst") {
        return Err(Error::new(Kind::Dependency, "archives in zstd are not read yet")
            .file(path)
            .hint("take the install_only .tar.gz of the same release, or unpack it and name the directory"));
    }
    progress.stage("unpacking the interpreter", None);
    let file = File::open(path).map_err(|error| Error::io("cannot read the archive", path, &error))?;
    std::fs::create_dir_all(into).map_err(|error| Error::io("cannot make a directory", into, &error))?;
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(BufReader::new(file)));
    let broken = |error: std::io::Error| {
        Error::new(Kind::Dependency, "the archive cannot be unpacked")
            .file(path)
            .found(error.to_string())
            .hint("download it again")
    };
    for entry in archive.entries().map_err(broken)? {
        progress.check()?;
        entry.and_then(|mut entry| entry.unpack_in(into)).map_err(broken)?;
    }
    let prefixes = [into.join("python/install"), into.join("python"), into.to_path_buf()];
    Ok(prefixes.into_iter().find(|prefix| prefix.join("bin").is_dir()).unwrap_or_else(|| into.to_path_buf()))
}
