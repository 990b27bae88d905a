//! Launchers that the user has added: for other platforms than this one, or of another maker.
//!
//! Each is one file in the user's data directory (`$XDG_DATA_HOME/pspf/launchers`, else `~/.local/share/pspf/launchers`),
//! which only he may write: what is in it goes in front of the packages that he signs. Its name says everything:
//! `KIND-VERSION-PLATFORM`, as in `go-0.5.4-windows_amd64`.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use pspf_core::Digest;
use serde::Serialize;

use crate::error::{Error, Kind, Result};
use crate::places;
use crate::platform::Platform;

/// The launchers in a directory.
#[derive(Debug, Clone)]
pub struct Registry {
    directory: PathBuf,
}

/// A launcher in the registry. The JSON of this is a stable interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Registered {
    /// Its name: kind, version and platform.
    pub name: String,
    /// What it was written in, or whatever its user calls it: "rust", "go".
    pub kind: String,
    /// Its version; the start of its SHA-256 when nobody said one.
    pub version: String,
    /// What it runs on, as "linux_amd64".
    #[serde(serialize_with = "as_text")]
    pub platform: Platform,
    /// Its size in bytes.
    pub size: u64,
    /// The file.
    pub path: PathBuf,
}

/// What to call a launcher that is added; what is absent follows from the file.
#[derive(Debug, Clone, Default)]
pub struct Naming {
    /// The kind.
    pub kind: Option<String>,
    /// The version.
    pub version: Option<String>,
}

/// Larger than any launcher; a file above it is refused before it is read.
const LARGEST: u64 = 256 << 20;

impl Registry {
    /// The registry of this user.
    pub fn of_this_user() -> Result<Self> {
        Ok(Self { directory: places::data()?.join("launchers") })
    }

    /// Where its files are; the directory need not be there.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// All of them, by name. Files that are none of ours are passed over.
    pub fn list(&self) -> Result<Vec<Registered>> {
        let failed = |error: io::Error| Error::io("cannot read the launchers", &self.directory, &error);
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        self.check_own(&self.directory)?;
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            if let Some((kind, version, platform)) = parts(&name) {
                let size = entry.metadata().map_err(failed)?.len();
                let (kind, version) = (kind.to_owned(), version.to_owned());
                found.push(Registered { name, kind, version, platform, size, path: entry.path() });
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// The one of this name; the newest of this kind, when a platform is given.
    pub fn find(&self, name: &str, platform: Option<Platform>) -> Result<Option<Registered>> {
        let mut found = self.list()?;
        found.retain(|launcher| match platform {
            Some(platform) => launcher.platform == platform && (launcher.name == name || launcher.kind == name),
            None => launcher.name == name,
        });
        found.sort_by_key(|launcher| numbers(&launcher.version));
        Ok(found.pop())
    }

    /// The bytes of a launcher. A file that somebody else may write is refused.
    pub fn read(&self, launcher: &Registered) -> Result<Vec<u8>> {
        self.check_own(&self.directory)?;
        self.check_own(&launcher.path)?;
        read(&launcher.path)
    }

    /// Adds the launcher in `file`, or those in it if it is a wheel. Gives those that are in the registry afterwards.
    pub fn add(&self, file: &Path, naming: &Naming) -> Result<Vec<Registered>> {
        let launchers = if file.extension().is_some_and(|extension| extension == "whl") {
            if naming.kind.is_some() || naming.version.is_some() {
                return Err(Error::new(Kind::Arguments, "the launchers in a wheel have names already")
                    .file(file)
                    .hint("leave --kind and --version out"));
            }
            super::wheel::launchers(file)?
        } else {
            let program = read(file)?;
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            vec![(name, program)]
        };
        launchers.iter().map(|(name, program)| self.store(file, name, program, naming)).collect()
    }

    fn store(&self, file: &Path, file_name: &str, program: &[u8], naming: &Naming) -> Result<Registered> {
        let platform = Platform::of_program(program).filter(|platform| platform.arch.is_some()).ok_or_else(|| {
            Error::new(Kind::Arguments, "this is not a launcher")
                .file(file)
                .expected("an ELF, Mach-O or PE executable for amd64 or arm64, or a wheel that carries some")
                .hint("pip download flavorpack --only-binary=:all: --no-deps gets a wheel with launchers")
        })?;
        let of_flavorpack = super::wheel::parts(file_name);
        let kind = naming.kind.clone().or(of_flavorpack.as_ref().map(|(kind, _)| (*kind).to_owned()));
        let kind = kind.unwrap_or_else(|| plain(file_name));
        let version = naming.version.clone().or(of_flavorpack.map(|(_, version)| version));
        let version = version.unwrap_or_else(|| Digest::of(program).to_string()[..8].to_owned());
        let name = format!("{kind}-{version}-{platform}");
        if parts(&name) != Some((&kind, &version, platform)) {
            return Err(Error::new(Kind::Arguments, "a launcher cannot have this name")
                .file(file)
                .expected("a kind of small letters, digits and \"_\", and a version of letters, digits and \".\"")
                .found(format!("kind {kind:?}, version {version:?}"))
                .hint("choose other ones with --kind and --version"));
        }
        let path = self.directory.join(&name);
        let failed = |error: io::Error| Error::io("cannot add the launcher", &path, &error);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory).map_err(failed)?;
        self.check_own(&self.directory)?;
        let write = || {
            let mut file = tempfile::Builder::new()
                .prefix(".tmp-")
                .permissions(fs::Permissions::from_mode(0o600))
                .tempfile_in(&self.directory)?;
            file.write_all(program)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(failed)?;
        Ok(Registered { name, kind, version, platform, size: program.len() as u64, path })
    }

    /// What others may write could be anybody's.
    fn check_own(&self, path: &Path) -> Result<()> {
        let metadata = fs::metadata(path).map_err(|error| Error::io("cannot look at", path, &error))?;
        let mode = metadata.mode() & 0o777;
        if metadata.uid() == rustix::process::geteuid().as_raw() && mode & 0o022 == 0 {
            return Ok(());
        }
        Err(Error::new(Kind::Configuration, "somebody else may write here, so it could be anybody's launcher")
            .file(path)
            .expected("a file or directory of yours that only you may write")
            .found(format!("owner {}, mode {mode:04o}", metadata.uid()))
            .hint(format!("chmod go-w {0}, or move it away and add the launchers again", path.display())))
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |error: io::Error| Error::io("cannot read the launcher", path, &error);
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() > LARGEST {
        return Err(Error::new(Kind::Arguments, "this is larger than any launcher")
            .file(path)
            .expected(format!("at most {LARGEST} bytes"))
            .hint("name the launcher itself, or the wheel that carries it"));
    }
    let mut program = Vec::new();
    file.take(LARGEST).read_to_end(&mut program).map_err(failed)?;
    Ok(program)
}

/// Kind, version and platform of a name.
fn parts(name: &str) -> Option<(&str, &str, Platform)> {
    let (rest, platform) = name.rsplit_once('-')?;
    let (kind, version) = rest.split_once('-')?;
    let platform = Platform::from_name(platform).filter(|platform| platform.arch.is_some())?;
    let is_kind = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_version = |c: char| c.is_ascii_alphanumeric() || ".+_".contains(c);
    let valid = !kind.is_empty() && kind.chars().all(is_kind);
    let valid = valid && version.starts_with(|c: char| c.is_ascii_alphanumeric()) && version.chars().all(is_version);
    valid.then_some((kind, version, platform))
}

/// A kind made of a file's name.
fn plain(file_name: &str) -> String {
    let stem = file_name.strip_suffix(".exe").unwrap_or(file_name);
    stem.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

/// Versions in the order in which they follow each other.
fn numbers(version: &str) -> Vec<(u64, String)> {
    let part = |part: &str| (part.parse().unwrap_or(0), part.to_owned());
    version.split('.').map(part).collect()
}

fn as_text<S: serde::Serializer>(platform: &Platform, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(platform)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_kind_version_and_platform() {
        let amd64 = Platform::from_name("windows_amd64").unwrap();
        assert_eq!(parts("go-0.5.4-windows_amd64"), Some(("go", "0.5.4", amd64)));
        for name in ["", "go", "go-0.5.4", "go-0.5.4-linux", "-1-linux_amd64", "Go-1-linux_amd64", "go--linux_amd64"] {
            assert_eq!(parts(name), None, "{name:?}");
        }
        assert_eq!(parts("go-../x-linux_amd64"), None);
    }

    #[test]
    fn the_newest_version_is_the_one_with_the_higher_numbers() {
        assert!(numbers("0.5.10") > numbers("0.5.9"));
        assert!(numbers("1.0") > numbers("0.9.9"));
    }
}
