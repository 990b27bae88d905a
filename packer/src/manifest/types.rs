//! The typed manifest.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use pspf_core::format::Operations;
use pspf_core::json::Value;

use super::slots::SlotSpec;
use super::version::{PythonVersion, Specifier};
use crate::error::{Error, Kind};

/// A Python project as its `pyproject.toml` describes it.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The file that was read, absolute.
    pub path: PathBuf,
    /// The directory of that file: the project's root.
    pub directory: PathBuf,
    /// `project.name` as written; [`Manifest::package_name`] is what the package is called.
    pub name: String,
    /// `project.version`, or `None` when the build backend decides it (`dynamic = ["version"]`).
    pub version: Option<String>,
    /// `tool.flavor.description`, else `project.description`.
    pub description: Option<String>,
    /// `project.requires-python`.
    pub requires_python: Option<Specifier>,
    /// `project.dependencies`, or `None` when the build backend decides them.
    pub dependencies: Option<Vec<Requirement>>,
    /// `project.optional-dependencies`, by extra, or `None` when the build backend decides them.
    pub optional_dependencies: Option<BTreeMap<String, Vec<Requirement>>>,
    /// `project.scripts` and `project.gui-scripts`, by command name.
    pub scripts: BTreeMap<String, Script>,
    /// The command that starts the app. Its name is the script's when `tool.flavor.entry_point` names the same
    /// thing as one of [`scripts`](Self::scripts), the project's otherwise.
    pub command: Script,
    /// True when there is a `[build-system]` table.
    pub has_build_system: bool,
    /// True when there is a `[tool.setuptools]` table.
    pub has_setuptools_table: bool,
    /// `[tool.flavor]`.
    pub flavor: Flavor,
}

impl Manifest {
    /// What the package is called: `tool.flavor.package_name`, else the project's name.
    pub fn package_name(&self) -> &str {
        self.flavor.package_name.as_deref().unwrap_or(&self.name)
    }
}

/// What `[tool.flavor]` says, typed; absent keys are `None` or empty.
#[derive(Debug, Clone, Default)]
pub struct Flavor {
    /// `python_version`: the interpreter's version, "3.11" (any patch) or "3.11.7".
    pub python_version: Option<PythonVersion>,
    /// `python`: a prefix, an executable or an archive of one; relative to the project's directory.
    pub python: Option<PathBuf>,
    /// `package_name`: what the package is called, if not like the project.
    pub package_name: Option<String>,
    /// `app_id`: the identity that lives on across versions, such as "dev.example/myapp".
    pub app_id: Option<String>,
    /// `release`: a number that grows with every release, so that a downgrade can be noticed.
    pub release: Option<u64>,
    /// `exclude`: patterns, written as in a `.gitignore`, of project files that stay out of the package.
    pub exclude: Vec<String>,
    /// `include`: patterns of project files that stay in although `exclude` or a default keeps them out.
    pub include: Vec<String>,
    /// `strip`: whether symbol tables of programs and libraries are left out as well.
    pub strip: bool,
    /// `compression`: how slots are compressed that say nothing of it; `None` for gzip.
    pub compression: Option<Operations>,
    /// `slots`: what the package carries besides Python, dependencies and project.
    pub slots: Vec<SlotSpec>,
    /// `build`
    pub build: Build,
    /// `execution`
    pub execution: Execution,
    /// `policy`, as the package's metadata have it.
    pub policy: Option<Value<'static>>,
    /// Things worth telling that are not wrong.
    pub notes: Vec<String>,
}

/// `[tool.flavor.build]`
#[derive(Debug, Clone, Default)]
pub struct Build {
    /// `pre_build`: commands that run before anything is built.
    pub pre_build: Vec<Hook>,
    /// `post_build`: commands that run on the finished package, before it is in its place.
    pub post_build: Vec<Hook>,
    /// `dependencies` that are requirements: what the hooks need.
    pub dependencies: Vec<Requirement>,
    /// `dependencies` that are paths: projects beside this one that belong to the app.
    pub projects: Vec<LocalProject>,
    /// `manylinux`: the standard that wheels have to keep to.
    pub manylinux: Option<Manylinux>,
}

/// A directory with a Python project in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalProject {
    /// The directory as written: relative to the manifest's.
    pub path: PathBuf,
    /// Where the manifest says so.
    pub place: Place,
}

impl LocalProject {
    /// True for a dependency that is a path: no requirement has a slash but in its URL, and none begins with a dot.
    pub(crate) fn is_path(text: &str) -> bool {
        text.starts_with('.') || (text.contains('/') && !text.contains('@'))
    }
}

/// A command of the project's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Its words: a program or a Python file first, then arguments. Never empty.
    pub words: Vec<String>,
    /// Where the manifest says so.
    pub place: Place,
}

/// A manylinux standard (PEP 600): the oldest glibc, 2.x, that wheels may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manylinux {
    /// The x, from 17 to 40.
    pub minor: u32,
}

impl Manylinux {
    /// Parses "2014", "2_28", "manylinux2014" or "manylinux_2_28".
    pub fn parse(text: &str) -> Option<Self> {
        let version = text.strip_prefix("manylinux").unwrap_or(text);
        let minor = match version {
            "2014" => 17,
            _ => version.strip_prefix('_').unwrap_or(version).strip_prefix("2_")?.parse().ok()?,
        };
        (17..=40).contains(&minor).then_some(Self { minor })
    }

    /// What uv calls it: the newest that it knows and that asks for no more, as `x86_64-manylinux_2_28`.
    pub(crate) fn of_uv(self, machine: &str) -> String {
        let minor = match self.minor {
            ..28 => 17,
            28..31 => 28,
            minor => minor,
        };
        format!("{machine}-manylinux_2_{minor}")
    }

    /// What pip calls it and all that ask for less, the best first.
    pub(crate) fn of_pip(self, machine: &str) -> Vec<String> {
        let standards = (17..=self.minor).rev().map(|minor| format!("manylinux_2_{minor}_{machine}"));
        standards.chain([format!("manylinux2014_{machine}"), format!("linux_{machine}")]).collect()
    }
}

/// `[tool.flavor.execution]`
#[derive(Debug, Clone, Default)]
pub struct Execution {
    /// `args`: arguments that come before the caller's.
    pub args: Vec<String>,
    /// `working_directory`, as the package's metadata have it: absolute or below `{workenv}`.
    pub working_directory: Option<String>,
    /// `runtime`, as the package's metadata have it.
    pub runtime: Option<Value<'static>>,
}

/// One command that the package offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The command's name: a file name without slashes.
    pub name: String,
    /// What it runs.
    pub entry_point: EntryPoint,
    /// Where the manifest says so ("project.scripts.myapp"), for errors.
    pub field: String,
    /// The line of that, counted from 1.
    pub line: usize,
}

impl Script {
    /// True for one that has a window rather than a terminal (`project.gui-scripts`).
    pub fn is_gui(&self) -> bool {
        self.field.starts_with("project.gui-scripts.")
    }
}

/// `module:function`, or a module alone, which runs as with `python -m`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPoint {
    /// Dotted module name.
    pub module: String,
    /// The attribute to call, perhaps dotted ("Application.main").
    pub function: Option<String>,
}

impl EntryPoint {
    /// Parses `text`; `None` when it is not of the form `module` or `module:function`.
    pub fn parse(text: &str) -> Option<Self> {
        let (module, function) = match text.split_once(':') {
            Some((module, function)) => (module.trim(), Some(function.trim())),
            None => (text.trim(), None),
        };
        let valid = is_dotted_name(module) && function.is_none_or(is_dotted_name);
        valid.then(|| Self { module: module.to_owned(), function: function.map(str::to_owned) })
    }
}

impl fmt::Display for EntryPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.module)?;
        match &self.function {
            Some(function) => write!(f, ":{function}"),
            None => Ok(()),
        }
    }
}

/// One dependency, in PEP 508 form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// As written: `flask>=2.0; python_version < "3.12"`.
    pub text: String,
    /// The line of the manifest that says so, counted from 1; 0 when the build backend said it.
    pub line: usize,
}

impl Requirement {
    /// The distribution's name as written, without extras, versions or markers.
    pub fn name(&self) -> &str {
        let text = self.text.trim_start();
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).unwrap_or(text.len());
        &text[..end]
    }
}

/// A place in a manifest, for errors that show only later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Dotted: `slots[1]`.
    pub field: String,
    /// The line that it begins at, counted from 1.
    pub line: usize,
    file: PathBuf,
    /// The lines of its own entries.
    keys: Vec<(String, usize)>,
}

impl Place {
    pub(super) fn new(file: &Path, field: &str, line: usize, keys: Vec<(String, usize)>) -> Self {
        Self { field: field.to_owned(), line, file: file.to_path_buf(), keys }
    }

    /// An error about one of its entries; about all of it when `key` is empty.
    pub fn error(&self, key: &str, what: impl Into<String>) -> Error {
        self.locate(key, Error::new(Kind::Configuration, what))
    }

    /// The error, with the field of the manifest that it is about.
    pub fn locate(&self, key: &str, error: Error) -> Error {
        let line = self.keys.iter().find(|(name, _)| name == key).map_or(self.line, |(_, line)| *line);
        let field = if key.is_empty() { self.field.clone() } else { format!("{}.{key}", self.field) };
        error.file(&self.file).line(line).field(field)
    }
}

fn is_dotted_name(text: &str) -> bool {
    text.split('.').all(|part| {
        let mut chars = part.chars();
        chars.next().is_some_and(|first| first.is_alphabetic() || first == '_')
            && chars.all(|c| c.is_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_points_are_modules_with_or_without_a_function() {
        let parsed = EntryPoint::parse("pkg.cli : App.main").unwrap();
        assert_eq!((parsed.module.as_str(), parsed.function.as_deref()), ("pkg.cli", Some("App.main")));
        assert_eq!(parsed.to_string(), "pkg.cli:App.main");
        assert_eq!(EntryPoint::parse("pkg").unwrap().function, None);
    }

    #[test]
    fn what_python_cannot_import_is_no_entry_point() {
        for text in
            ["", ":main", "pkg:", "my app", "my-app:main", "pkg:main()", "pkg:main [extra]", "a..b", "1a", "a:b:c"]
        {
            assert_eq!(EntryPoint::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_manylinux_standard_has_an_old_name_and_new_ones() {
        for (text, minor) in [("2014", 17), ("2_28", 28), ("manylinux2014", 17), ("manylinux_2_34", 34)] {
            assert_eq!(Manylinux::parse(text), Some(Manylinux { minor }), "{text}");
        }
        for text in ["", "2010", "1", "2.28", "2_5", "2_99", "2_", "28", "musllinux_1_2"] {
            assert_eq!(Manylinux::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn installers_know_a_standard_by_their_own_names() {
        let of = |minor| Manylinux { minor };
        for (minor, uv) in [(17, 17), (24, 17), (28, 28), (30, 28), (34, 34)] {
            assert_eq!(of(minor).of_uv("x86_64"), format!("x86_64-manylinux_2_{uv}"));
        }
        assert_eq!(
            of(18).of_pip("aarch64"),
            ["manylinux_2_18_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64", "linux_aarch64"]
        );
    }

    #[test]
    fn a_requirement_knows_its_name() {
        for text in ["flask", "flask>=2.0", "flask[async] ; extra == 'x'", " flask @ https://example.org/f.whl"] {
            assert_eq!(Requirement { text: text.to_owned(), line: 1 }.name(), "flask");
        }
    }
}
