//! Directory trees: walking, copying and evening out, always in the same order.

use std::ffi::OsStr;
use std::fs::{self, Metadata, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::progress::Progress;

/// What to do with an entry of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Yes,
    No,
}

/// Calls `visit` with every entry below `root` that it keeps, sorted, directories before what is in them.
///
/// Paths are relative to `root`. Symbolic links are followed, but a directory is never entered from within itself.
pub(super) fn walk(root: &Path, visit: &mut dyn FnMut(&Path, &Metadata) -> Result<Keep>) -> Result<()> {
    let canonical = fs::canonicalize(root).map_err(|error| Error::io("cannot read the directory", root, &error))?;
    descend(root, Path::new(""), &mut vec![canonical], visit)
}

fn descend(
    root: &Path,
    relative: &Path,
    ancestors: &mut Vec<PathBuf>,
    visit: &mut dyn FnMut(&Path, &Metadata) -> Result<Keep>,
) -> Result<()> {
    let directory = root.join(relative);
    let refused = |error| Error::io("cannot read the directory", &directory, &error);
    let mut names = Vec::new();
    for entry in fs::read_dir(&directory).map_err(refused)? {
        names.push(entry.map_err(refused)?.file_name());
    }
    names.sort();
    for name in names {
        let path = relative.join(&name);
        // A dangling link is nothing that could be copied.
        let Ok(metadata) = fs::metadata(root.join(&path)) else { continue };
        if visit(&path, &metadata)? == Keep::No || !metadata.is_dir() {
            continue;
        }
        let Ok(canonical) = fs::canonicalize(root.join(&path)) else { continue };
        if ancestors.contains(&canonical) {
            continue;
        }
        ancestors.push(canonical);
        descend(root, &path, ancestors, visit)?;
        ancestors.pop();
    }
    Ok(())
}

/// Copies what `keep` keeps from below `from` to below `to`, links as what they point to.
pub(super) fn copy(
    from: &Path,
    to: &Path,
    progress: &dyn Progress,
    keep: &mut dyn FnMut(&Path, &Metadata) -> Keep,
) -> Result<()> {
    make_directory(to)?;
    walk(from, &mut |relative, metadata| {
        progress.check()?;
        if keep(relative, metadata) == Keep::No {
            return Ok(Keep::No);
        }
        let target = to.join(relative);
        if metadata.is_dir() {
            make_directory(&target)?;
        } else if metadata.is_file() {
            copy_file(&from.join(relative), &target)?;
        }
        Ok(Keep::Yes)
    })
}

pub(super) fn copy_file(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .map(drop)
        .map_err(|error| Error::io("cannot copy a file", from, &error).field(format!("to {}", to.display())))
}

pub(super) fn make_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| Error::io("cannot make a directory", path, &error))
}

pub(super) fn write(path: &Path, contents: impl AsRef<[u8]>) -> Result<()> {
    fs::write(path, contents).map_err(|error| Error::io("cannot write a file", path, &error))
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| Error::io("cannot read a file", path, &error))
}

/// Removes a file or a directory with all that is in it; not being there is fine.
pub(super) fn remove(path: &Path) -> Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    let removed = if metadata.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(|error| Error::io("cannot remove a file", path, &error))
}

/// Gives everything below `root` the mode it has on every machine: 0755 for directories and what can be executed,
/// 0644 for the rest.
pub(super) fn even_out(root: &Path) -> Result<()> {
    let set = |path: &Path, mode| {
        fs::set_permissions(path, Permissions::from_mode(mode))
            .map_err(|error| Error::io("cannot set the mode of a file", path, &error))
    };
    set(root, 0o755)?;
    walk(root, &mut |relative, metadata| {
        let mode = metadata.permissions().mode();
        let wanted = if metadata.is_dir() || mode & 0o100 != 0 { 0o755 } else { 0o644 };
        if mode & 0o7777 != wanted {
            set(&root.join(relative), wanted)?;
        }
        Ok(Keep::Yes)
    })
}

/// Moves everything in `from` to `to`; what is already there stays.
pub(super) fn merge(from: &Path, to: &Path) -> Result<()> {
    walk(from, &mut |relative, metadata| {
        let target = to.join(relative);
        if target.exists() {
            return Ok(Keep::Yes);
        }
        if metadata.is_dir() {
            make_directory(&target)?;
        } else {
            copy_file(&from.join(relative), &target)?;
        }
        Ok(Keep::Yes)
    })
}

pub(super) fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension() == Some(OsStr::new(extension))
}
