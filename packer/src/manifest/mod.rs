//! Manifests: what the user wrote, typed and checked.
//!
//! [`read`] takes a `pyproject.toml` and answers with a [`Manifest`] in which nothing has to be guessed later:
//! names are names, versions are versions, every entry point is a module and perhaps a function, and the command
//! that starts the app is known. Whatever is wrong is one [`Error`] of kind
//! [`Configuration`](crate::Kind::Configuration) that names file, line and field.

mod pyproject;
mod types;
mod version;

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

pub use types::{EntryPoint, Flavor, Manifest, Requirement, Script};
pub use version::{PythonVersion, Specifier};

/// Reads the manifest at `path`: a `pyproject.toml`, or a directory that has one.
pub fn read(path: &Path) -> Result<Manifest> {
    let file = if path.is_dir() { path.join(FILE_NAME) } else { path.to_path_buf() };
    let bytes = std::fs::read(&file).map_err(|error| unreadable(path, &file, &error))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..good].iter().filter(|&&byte| byte == b'\n').count();
        Error::new(Kind::Configuration, "the manifest is not UTF-8 text")
            .file(&file)
            .line(line)
            .hint("save it as UTF-8; TOML allows nothing else")
    })?;
    // Everything downstream starts programs in other directories, so the path must not depend on this one.
    let absolute = std::path::absolute(&file).map_err(|error| Error::io("cannot resolve the path", &file, &error))?;
    pyproject::parse(&text, &file, &absolute)
}

const FILE_NAME: &str = "pyproject.toml";

fn unreadable(given: &Path, file: &Path, error: &std::io::Error) -> Error {
    if error.kind() != std::io::ErrorKind::NotFound {
        return Error::io("cannot read the manifest", file, error);
    }
    let new = Error::new(Kind::Configuration, "there is no manifest here").file(file);
    if given.is_dir() {
        return new.hint("run this in the project's directory, or name its pyproject.toml with --manifest");
    }
    match sibling_manifest(given) {
        Some(near) => new.hint(format!("did you mean {}?", near.display())),
        None => new.hint("check the spelling; --manifest takes a pyproject.toml or the directory that has one"),
    }
}

/// A `pyproject.toml` beside a file that does not exist: most likely a slip of the keyboard.
fn sibling_manifest(path: &Path) -> Option<PathBuf> {
    let near = path.parent()?.join(FILE_NAME);
    near.is_file().then_some(near)
}
