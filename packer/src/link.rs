//! A package's commands, each callable by its name: a directory gets a link to the package for each entry point.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Kind, Result};
use crate::extract::Existing;
use crate::package_file::PackageFile;
use crate::slots;

/// What becomes of an entry point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// A symbolic link to the package.
    Link,
    /// A copy of the package.
    Copy,
}

/// What there is in the directory now. The JSON of this is a stable interface.
#[derive(Debug, Serialize)]
pub struct Linked {
    /// The package, absolute.
    pub package: PathBuf,
    /// The directory, absolute.
    pub directory: PathBuf,
    /// One for each entry point.
    pub links: Vec<Link>,
    /// True when programs are looked for in the directory.
    pub on_path: bool,
    /// False when nobody may run the package, and so none of the links.
    pub executable: bool,
}

/// One command in the directory.
#[derive(Debug, Serialize)]
pub struct Link {
    /// The entry point.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Whether it is a link or a copy.
    pub form: Form,
    /// False when it was there already.
    pub new: bool,
}

/// Makes a link or a copy for each entry point of a package whose every byte is checked first; where the package offers none, one
/// that has the package's name. The directory is made when it is absent.
///
/// What is in the way is told before anything is made. With [`Existing::Replace`] it is replaced, unless it is a directory.
pub fn link(file: &PackageFile, directory: &Path, form: Form, existing: Existing) -> Result<Linked> {
    let verified = file.verify_whole()?;
    let package = fs::canonicalize(file.path())
        .map_err(|error| Error::io("cannot resolve the path of the package", file.path(), &error))?;
    let entry_points = launcher::entry::all(verified.metadata());
    let mut names: Vec<&str> = entry_points.iter().map(|(name, _)| name.as_str()).collect();
    if names.is_empty() {
        names.push(&verified.metadata().name);
    }
    for name in &names {
        check_name(name, file.path())?;
    }
    let directory =
        std::path::absolute(directory).map_err(|error| Error::io("cannot resolve the path", directory, &error))?;
    // Without a slash at its end.
    let directory: PathBuf = directory.components().collect();
    if fs::metadata(&directory).is_ok_and(|metadata| !metadata.is_dir()) {
        return Err(Error::new(Kind::Io, "the links need a directory")
            .file(&directory)
            .found("a file")
            .hint("name a directory, best one that is on PATH"));
    }
    let mut there = BTreeMap::new();
    for name in &names {
        there.insert(*name, state(&directory.join(name), &package, form)?);
    }
    let taken =
        |state: &State| matches!(state, State::Directory) || (*state == State::Other && existing == Existing::Keep);
    if let Some((name, state)) = there.iter().find(|(_, state)| taken(state)) {
        let new = Error::new(Kind::Io, format!("something else is where {name} belongs, so nothing was linked"))
            .file(directory.join(name));
        return Err(match state {
            State::Directory => new.found("a directory").hint("choose another directory for the links"),
            _ => new.hint("choose another directory, or replace it with --force"),
        });
    }
    fs::create_dir_all(&directory).map_err(|error| Error::io("cannot create the directory", &directory, &error))?;
    let mut links = Vec::new();
    for (name, state) in there {
        let path = directory.join(name);
        if state != State::Ours {
            put(&package, &path, form)?;
        }
        links.push(Link { name: name.to_owned(), path, form, new: state != State::Ours });
    }
    let mode = fs::metadata(&package).map_or(0, |metadata| metadata.permissions().mode());
    Ok(Linked {
        on_path: is_on_path(&directory),
        executable: form == Form::Copy || mode & 0o111 != 0,
        package,
        directory,
        links,
    })
}

/// What is at the place of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    /// What would be made.
    Ours,
    Directory,
    Other,
}

fn state(path: &Path, package: &Path, form: Form) -> Result<State> {
    let failed = |error| Error::io("cannot look at", path, &error);
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(State::Free),
        Err(error) => return Err(failed(error)),
    };
    let leads_here = || fs::canonicalize(path).is_ok_and(|target| target == package);
    Ok(match form {
        _ if metadata.is_dir() => State::Directory,
        // The package itself has the name of an entry point: it is what the link would lead to.
        _ if !metadata.is_symlink() && leads_here() => State::Ours,
        Form::Link if metadata.is_symlink() && leads_here() => State::Ours,
        Form::Copy if metadata.is_file() && is_same(path, &metadata, package).map_err(failed)? => State::Ours,
        _ => State::Other,
    })
}

fn is_same(path: &Path, metadata: &fs::Metadata, package: &Path) -> std::io::Result<bool> {
    let is_program = metadata.permissions().mode() & 0o111 != 0;
    let same_size = metadata.len() == fs::metadata(package)?.len();
    Ok(is_program && same_size && slots::digest_of(path)? == slots::digest_of(package)?)
}

/// Puts a link or a copy at `path`, whole or not at all.
fn put(package: &Path, path: &Path, form: Form) -> Result<()> {
    let failed = |error: std::io::Error| Error::io("cannot make", path, &error);
    let directory = path.parent().unwrap_or(Path::new("/"));
    let beside = tempfile::Builder::new().prefix(".packer-").tempdir_in(directory).map_err(failed)?;
    let new = beside.path().join("new");
    match form {
        Form::Link => symlink(package, &new).map_err(failed)?,
        Form::Copy => {
            fs::copy(package, &new).map_err(failed)?;
            fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).map_err(failed)?;
            fs::File::open(&new).and_then(|file| file.sync_data()).map_err(failed)?;
        }
    }
    fs::rename(&new, path).map_err(failed)
}

/// Refuses a name that is none of a file in the directory, whoever signed it.
fn check_name(name: &str, file: &Path) -> Result<()> {
    let is_plain = Path::new(name).file_name() == Some(OsStr::new(name));
    // A hidden file may be one that programs look for.
    if is_plain && !name.starts_with('.') && !name.contains(char::is_control) {
        return Ok(());
    }
    Err(Error::new(Kind::Format, "the package has an entry point that no file can be called like")
        .file(file)
        .found(format!("{name:?}"))
        .hint("start it by its name: packer run --entry NAME FILE; and tell the package's maker"))
}

fn is_on_path(directory: &Path) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let real = fs::canonicalize(directory).ok();
    std::env::split_paths(&path)
        .any(|entry| entry == directory || (real.is_some() && fs::canonicalize(entry).ok() == real))
}
