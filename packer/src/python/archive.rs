//! Interpreters that come as an archive, as python-build-standalone publishes them.

use std::fs::File;
use std::io::{BufReader, Read};
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
    progress.stage("unpacking the interpreter", None);
    let file = File::open(path).map_err(|error| Error::io("cannot read the archive", path, &error))?;
    std::fs::create_dir_all(into).map_err(|error| Error::io("cannot make a directory", into, &error))?;
    let file = BufReader::new(file);
    let bytes: Box<dyn Read> = match path.extension().is_some_and(|extension| extension == "zst") {
        true => zstd(path, file)?,
        false => Box::new(flate2::read::GzDecoder::new(file)),
    };
    let mut archive = tar::Archive::new(bytes);
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
    Ok(prefix(into))
}

/// The prefix of an interpreter in this directory, at the places that python-build-standalone has.
pub(super) fn prefix(directory: &Path) -> PathBuf {
    let prefixes = [directory.join("python/install"), directory.join("python"), directory.to_path_buf()];
    let is_prefix = |prefix: &PathBuf| prefix.join("bin").is_dir() || prefix.join("python.exe").is_file();
    prefixes.into_iter().find(is_prefix).unwrap_or_else(|| directory.to_path_buf())
}

#[cfg(feature = "zstd")]
fn zstd(path: &Path, file: BufReader<File>) -> Result<Box<dyn Read>> {
    let decoder = ::zstd::Decoder::with_buffer(file);
    Ok(Box::new(decoder.map_err(|error| Error::io("cannot read the archive", path, &error))?))
}

#[cfg(not(feature = "zstd"))]
fn zstd(path: &Path, _: BufReader<File>) -> Result<Box<dyn Read>> {
    Err(Error::new(Kind::Dependency, "this build of packer reads no archives in zstd")
        .file(path)
        .hint("take the install_only .tar.gz of the same release, or unpack it and name the directory"))
}
