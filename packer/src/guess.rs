//! A manifest for a folder that has none: what is in it is guessed at, and the guess says why.
//!
//! Kinds of folders are tried in this order; the first one that recognises the folder proposes.
//!
//! | kind | recognised by | the package has |
//! |---|---|---|
//! | Rust, Go | `Cargo.toml`, `go.mod` | the program that was built |
//! | Python | `requirements.txt`, `setup.py`, packages, modules | what a `pyproject.toml` says |
//! | Node | `package.json` that names a program | the folder, and Node |
//! | a site | `index.html` here or where it is built to | the files, and a server |
//! | a program, a script | the only one here | the folder |

mod native;
mod node;
mod python;
mod site;

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

pub(crate) use python::start_of;

/// A manifest that could be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// What the folder seems to be, as in "a Python project".
    pub what: &'static str,
    /// The manifest's file name: `pyproject.toml` or `app.toml`.
    pub file: &'static str,
    /// Its text.
    pub text: String,
    /// What led to that, and what to look at before packing; one line each.
    pub reasons: Vec<String>,
}

/// True when the folder has a manifest already.
pub fn has_manifest(folder: &Path) -> bool {
    [PYPROJECT, APP, "app.json"].iter().any(|name| folder.join(name).is_file())
}

/// Guesses; `None` where nothing is recognised. An error says what keeps a folder from being packed that is recognised.
pub fn guess(folder: &Path) -> Result<Option<Proposal>> {
    let files = Files::of(folder)?;
    let kinds =
        [native::rust, native::go, python::propose, node::propose, site::propose, native::program, native::script];
    for kind in kinds {
        if let Some(proposal) = kind(&files)? {
            return Ok(Some(proposal));
        }
    }
    Ok(None)
}

/// The error for a folder in which nothing is recognised: it lists what would have been.
pub fn unrecognised(folder: &Path) -> Error {
    Error::new(Kind::Configuration, "nothing here says what should run, so no manifest can be proposed")
        .file(folder)
        .expected(
            "Cargo.toml (Rust), go.mod (Go), requirements.txt, setup.py or main.py (Python), package.json (Node), \
             index.html (a site), one program, or one shell script",
        )
        .hint("write an app.toml: packer schema prints everything that it may say")
}

const PYPROJECT: &str = "pyproject.toml";
const APP: &str = "app.toml";

/// What is directly in a folder.
struct Files {
    folder: PathBuf,
    /// What the package would be called.
    name: String,
    files: Vec<String>,
    directories: Vec<String>,
}

impl Files {
    fn of(folder: &Path) -> Result<Self> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotADirectory => Error::new(Kind::Io, "this is not a folder")
                .file(folder)
                .hint("name the folder that the app's files are in"),
            _ => Error::io("cannot read the folder", folder, &error),
        };
        let (mut files, mut directories) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') {
                continue;
            }
            let is_directory = fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_dir());
            if is_directory { directories.push(name) } else { files.push(name) }
        }
        files.sort();
        directories.sort();
        let absolute = fs::canonicalize(folder).map_err(failed)?;
        let name = package_name(&absolute.file_name().unwrap_or_default().to_string_lossy());
        Ok(Self { folder: folder.to_path_buf(), name, files, directories })
    }

    /// True when there is a file of this path below the folder.
    fn has(&self, name: &str) -> bool {
        self.folder.join(name).is_file()
    }

    /// The names of all that is in a directory below the folder, sorted; none where there is no such directory.
    fn names_in(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.folder.join(directory)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        names
    }

    /// The text of a file, or nothing.
    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    /// The error for a file that says what the project is, and cannot be read.
    fn broken(&self, name: &str, language: &str, why: &str) -> Error {
        Error::new(Kind::Configuration, format!("{name} is not {language}, so no manifest can be proposed"))
            .file(self.folder.join(name))
            .found(why)
            .hint("mend it, or write an app.toml: packer schema prints everything that it may say")
    }

    fn is_executable(&self, name: &str) -> bool {
        fs::metadata(self.folder.join(name)).is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
    }

    fn is_program(&self, name: &str) -> bool {
        self.start(name) == b"\x7fELF" && self.is_executable(name)
    }

    /// The file, if it is the only one in the folder of which `is` holds.
    fn only(&self, is: impl Fn(&str) -> bool) -> Option<&str> {
        let mut found = self.files.iter().filter(|name| is(name));
        found.next().filter(|_| found.next().is_none()).map(String::as_str)
    }

    /// The first bytes of a file.
    fn start(&self, name: &str) -> Vec<u8> {
        let mut start = Vec::new();
        let file = fs::File::open(self.folder.join(name));
        // What cannot be read begins with nothing.
        let _ = file.and_then(|file| file.take(4).read_to_end(&mut start));
        start
    }
}

/// Letters, digits and "-" of a folder's name.
fn package_name(folder: &str) -> String {
    let plain: String = folder.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let plain = plain.to_ascii_lowercase();
    let plain = plain.trim_matches('-');
    if plain.is_empty() { "app".to_owned() } else { plain.to_owned() }
}

/// A generic manifest.
#[derive(Default)]
struct App<'a> {
    name: &'a str,
    version: Option<&'a str>,
    description: Option<&'a str>,
    /// The words of the command.
    command: Vec<String>,
    /// Variables of the program.
    env: Vec<(&'a str, &'a str)>,
    slots: Vec<Slot>,
}

struct Slot {
    id: &'static str,
    source: String,
    /// `None`: the id.
    target: Option<String>,
    exclude: Vec<String>,
}

impl Slot {
    /// One program, below `bin/`.
    fn program(id: &'static str, source: impl Into<String>, name: &str) -> Self {
        Self { id, source: source.into(), target: Some(format!("bin/{name}")), exclude: Vec::new() }
    }

    /// A directory, without what is in the way of a package.
    fn directory(id: &'static str, source: impl Into<String>, exclude: &[&str]) -> Self {
        let always = [APP, "*.psp", ".git"];
        let exclude = always.iter().chain(exclude).map(|&pattern| pattern.to_owned()).collect();
        Self { id, source: source.into(), target: None, exclude }
    }
}

impl App<'_> {
    fn text(&self) -> String {
        let mut text = format!("[package]\nname = {}\n", quoted(self.name));
        text.push_str(&format!("version = {}\n", quoted(self.version.unwrap_or(FIRST_VERSION))));
        text.extend(self.description.map(|description| format!("description = {}\n", quoted(description))));
        let is_plain =
            |word: &String| !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || "'\"\\".contains(c));
        let command = match self.command.iter().all(is_plain) {
            true => quoted(&self.command.join(" ")),
            false => list(&self.command),
        };
        text.push_str(&format!("\n[execution]\n# The user's arguments follow.\ncommand = {command}\n"));
        if !self.env.is_empty() {
            let env: Vec<String> = self.env.iter().map(|(name, value)| format!("{name} = {}", quoted(value))).collect();
            text.push_str(&format!("env = {{ {} }}\n", env.join(", ")));
        }
        for Slot { id, source, target, exclude } in &self.slots {
            text.push_str(&format!("\n[[slots]]\nid = {}\nsource = {}\n", quoted(id), quoted(source)));
            text.extend(target.as_ref().map(|target| format!("target = {}\n", quoted(target))));
            text.extend((!exclude.is_empty()).then(|| format!("exclude = {}\n", list(exclude))));
        }
        text
    }

    fn proposal(&self, what: &'static str, reasons: Vec<String>) -> Option<Proposal> {
        Some(Proposal { what, file: APP, text: self.text(), reasons })
    }
}

/// The version where nothing says one.
const FIRST_VERSION: &str = "0.1.0";

/// An array of strings of TOML.
fn list(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("[{}]", words.join(", "))
}

/// A string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_s_name_becomes_one_that_a_package_may_have() {
        assert_eq!(package_name("My App_2"), "my-app-2");
        assert_eq!(package_name("__"), "app");
    }

    #[test]
    fn words_that_would_be_split_make_the_command_a_list() {
        let app = |command: &[&str]| App {
            name: "x",
            command: command.iter().map(|&word| word.to_owned()).collect(),
            ..App::default()
        };
        assert!(app(&["/bin/sh", "{workenv}/app/run"]).text().contains("command = \"/bin/sh {workenv}/app/run\"\n"));
        let list = r#"command = ["/bin/sh", "{workenv}/app/run me.sh"]"#;
        assert!(app(&["/bin/sh", "{workenv}/app/run me.sh"]).text().contains(list));
    }
}
