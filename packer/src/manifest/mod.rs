//! Manifests: what the user wrote, typed and checked.
//!
//! [`open`] takes a manifest and answers with an [`Input`] in which nothing has to be guessed later: names are
//! names, versions are versions, every path is below the workenv, and the command that starts the app is known.
//! Whatever is wrong is one [`Error`] of kind [`Configuration`](crate::Kind::Configuration) that names file, line
//! and field.
//!
//! | manifest | is | becomes |
//! |---|---|---|
//! | `pyproject.toml` | a Python project | [`Manifest`] |
//! | any other `.toml` | files and a command, unless it has `[project]` | [`Generic`] |
//! | `.json` | the same, or a manifest of FlavorPack's builders | [`Generic`] |

mod build;
mod fields;
mod generic;
mod launch;
mod names;
mod placeholders;
mod pyproject;
mod slots;
mod syntax;
mod types;
mod version;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use self::syntax::{Language, Source};
use crate::error::{Error, Kind, Result};

pub(crate) use fields::nearest;
pub use generic::{Generic, Program};
pub(crate) use placeholders::renumber_all as renumber;
pub use slots::SlotSpec;
pub use types::{
    Build, EntryPoint, Execution, Flavor, Hook, LocalProject, Manifest, Manylinux, Place, Requirement, Script,
};
pub use version::{PythonVersion, Specifier};

/// A manifest of any kind.
#[derive(Debug, Clone)]
pub enum Input {
    /// A Python project.
    Python(Box<Manifest>),
    /// Files and a command.
    Generic(Box<Generic>),
}

/// Reads the manifest at `path`: a file, or a directory that has one.
pub fn open(path: &Path) -> Result<Input> {
    let file = if path.is_dir() { in_directory(path) } else { path.to_path_buf() };
    let text = read_text(path, &file)?;
    let absolute = absolute(&file)?;
    let is_json = file.extension() == Some(OsStr::new("json"));
    let language = if is_json { Language::Json } else { Language::Toml };
    let source = Source { text: &text, file: &file, language };
    let is_python = !is_json && (file.file_name() == Some(OsStr::new(FILE_NAME)) || source.has_project());
    Ok(if is_python {
        Input::Python(Box::new(pyproject::parse(&text, &file, &absolute)?))
    } else {
        Input::Generic(Box::new(generic::parse(source, &absolute)?))
    })
}

/// Reads the manifest of a Python project: a `pyproject.toml`, or a directory that has one.
pub fn read(path: &Path) -> Result<Manifest> {
    let file = if path.is_dir() { path.join(FILE_NAME) } else { path.to_path_buf() };
    let text = read_text(path, &file)?;
    pyproject::parse(&text, &file, &absolute(&file)?)
}

/// The manifest's name in a Python project.
const FILE_NAME: &str = "pyproject.toml";
/// The names that are looked for in a directory, the first one first.
const FILE_NAMES: [&str; 3] = [FILE_NAME, "app.toml", "app.json"];

fn in_directory(directory: &Path) -> PathBuf {
    let found = FILE_NAMES.iter().map(|name| directory.join(name)).find(|file| file.is_file());
    let file = found.unwrap_or_else(|| directory.join(FILE_NAME));
    file.strip_prefix(".").map(Path::to_path_buf).unwrap_or(file)
}

fn read_text(given: &Path, file: &Path) -> Result<String> {
    let bytes = std::fs::read(file).map_err(|error| unreadable(given, file, &error))?;
    String::from_utf8(bytes).map_err(|error| {
        if PROGRAMS.iter().any(|magic| error.as_bytes().starts_with(magic)) {
            return Error::new(Kind::Configuration, "this is a program or a package, not a manifest")
                .file(file)
                .expected("a .toml or .json file, or the directory that has one")
                .hint("packer inspect FILE looks into a package");
        }
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..good].iter().filter(|&&byte| byte == b'\n').count();
        Error::new(Kind::Configuration, "the manifest is not UTF-8 text")
            .file(file)
            .line(line)
            .hint("save it as UTF-8; TOML and JSON allow nothing else")
    })
}

/// How files begin that are no text: ELF, PE, and Mach-O of 64 bits.
const PROGRAMS: [&[u8]; 3] = [b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe"];

/// Everything downstream starts programs in other directories, so the path must not depend on this one.
fn absolute(file: &Path) -> Result<PathBuf> {
    std::path::absolute(file).map_err(|error| Error::io("cannot resolve the path", file, &error))
}

fn unreadable(given: &Path, file: &Path, error: &std::io::Error) -> Error {
    if error.kind() != std::io::ErrorKind::NotFound {
        return Error::io("cannot read the manifest", file, error);
    }
    let new = Error::new(Kind::Configuration, "there is no manifest here").file(file);
    if given.is_dir() {
        return new
            .expected(format!("one of {}", FILE_NAMES.join(", ")))
            .hint("run this in the project's directory, or name its manifest with --manifest");
    }
    match sibling_manifest(given) {
        Some(near) => new.hint(format!("did you mean {}?", near.display())),
        None => new.hint("check the spelling; --manifest takes a .toml or .json file, or the directory that has one"),
    }
}

/// A manifest beside a file that does not exist: most likely a slip of the keyboard.
fn sibling_manifest(path: &Path) -> Option<PathBuf> {
    let directory = path.parent()?;
    FILE_NAMES.iter().map(|name| directory.join(name)).find(|near| near.is_file())
}
