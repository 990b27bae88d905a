//! The launchers in a wheel: FlavorPack's carries one in Rust and one in Go for its platform.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use zip::ZipArchive;
use zip::result::ZipError;

use crate::error::{Error, Kind, Result};

/// A file in a wheel that is larger than this is no launcher, whatever its name.
const LARGEST: u64 = 64 << 20;

/// Name and content of every launcher in the wheel at `path`.
pub(super) fn launchers(path: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let file = File::open(path).map_err(|error| Error::io("cannot read the wheel", path, &error))?;
    let mut wheel = ZipArchive::new(file).map_err(|error| broken(path, &error))?;
    let names = wheel.file_names().map(|name| name.map(|name| name.into_owned())).collect::<Result<Vec<_>, _>>();
    let names = names.map_err(|error| broken(path, &error))?;
    let mut found = Vec::new();
    for name in names {
        let file_name = name.rsplit('/').next().unwrap_or_default();
        if parts(file_name).is_none() {
            continue;
        }
        let entry = wheel.by_name(&name).map_err(|error| broken(path, &error))?;
        let mut program = Vec::new();
        let read = entry.take(LARGEST + 1).read_to_end(&mut program);
        read.map_err(|error| broken(path, &ZipError::Io(error)))?;
        if program.len() as u64 > LARGEST {
            return Err(Error::new(Kind::Arguments, "this wheel has a file that is larger than any launcher")
                .file(path)
                .expected(format!("at most {LARGEST} bytes"))
                .found(name)
                .hint("get the wheel again from where it came"));
        }
        found.push((file_name.to_owned(), program));
    }
    if found.is_empty() {
        return Err(Error::new(Kind::Arguments, "this wheel carries no launcher")
            .file(path)
            .expected("files such as flavor-go-launcher-0.5.4-linux_amd64")
            .hint("pip download flavorpack --platform win_amd64 --only-binary=:all: --no-deps gets one that does"));
    }
    found.sort();
    Ok(found)
}

/// Kind and version of a launcher that is named like FlavorPack's.
pub(super) fn parts(file_name: &str) -> Option<(&'static str, String)> {
    let rest = file_name.strip_prefix("flavor-")?;
    let (kind, rest) = [("rust", "rs-launcher-"), ("go", "go-launcher-")]
        .into_iter()
        .find_map(|(kind, prefix)| Some((kind, rest.strip_prefix(prefix)?)))?;
    let (version, _) = rest.split_once('-')?;
    Some((kind, version.to_owned()))
}

fn broken(path: &Path, error: &ZipError) -> Error {
    Error::new(Kind::Arguments, "this wheel cannot be read")
        .file(path)
        .expected("a zip archive, as every wheel is one")
        .found(error.to_string())
        .hint("get it again from where it came")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flavorpack_s_launchers_are_known_by_their_names_and_its_builders_are_none() {
        let known = |name| parts(name).map(|(kind, version)| format!("{kind} {version}"));
        assert_eq!(known("flavor-rs-launcher-0.5.4-linux_amd64").as_deref(), Some("rust 0.5.4"));
        assert_eq!(known("flavor-go-launcher-0.5.4-windows_amd64.exe").as_deref(), Some("go 0.5.4"));
        for other in ["flavor-rs-builder-0.5.4-linux_amd64", "launcher.py", "flavor-go-launcher"] {
            assert_eq!(known(other), None);
        }
    }
}
