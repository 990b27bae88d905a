//! The private environment that an app runs in: pure data, which the caller writes into the package's metadata.
//!
//! ```text
//! {workenv}/pyvenv.cfg                  makes it a virtual environment of python-runtime
//! {workenv}/python/python3.11           link to python-runtime/bin/python3.11: sys.executable
//! {workenv}/bin/myapp ...               the project's scripts, first on PATH; never python or pip
//! {workenv}/lib/python3.11/site-packages/pspf.pth      adds the three slots below
//! {workenv}/python-runtime, python-environment, application-code      links to the slots, read-only and shared
//! ```
//!
//! Everything that an app installs for itself lands in this directory and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::entry;
use super::interpreter::Interpreter;
use crate::manifest::Script;

/// What there is in a workenv besides the slots. Paths and targets start with `{workenv}/`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Workenv {
    /// Directories to make, parents first.
    pub directories: Vec<String>,
    /// Files to write; `{workenv}` in their contents stands for the workenv's path.
    pub files: Vec<WorkenvFile>,
    /// Symbolic links to make: path to target.
    pub links: BTreeMap<String, String>,
    /// The command that starts the app, before the user's arguments.
    pub command: Vec<String>,
    /// The commands that the package offers, that one among them unless a script that does something else has its name.
    pub entry_points: BTreeMap<String, Vec<String>>,
    /// Variables of the caller that the app does not see; `*` stands for anything.
    pub unset: Vec<String>,
    /// Variables that are passed on although `unset` has them.
    pub pass: Vec<String>,
    /// Variables to set.
    pub set: BTreeMap<String, String>,
}

/// One small file of a workenv.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkenvFile {
    /// Where: starts with `{workenv}/`.
    pub path: String,
    /// What is in it.
    pub content: String,
    /// Its permissions.
    pub mode: u32,
}

/// The names of the three slots, which are also the names of their links in the workenv.
pub(crate) const RUNTIME: &str = "python-runtime";
pub(crate) const ENVIRONMENT: &str = "python-environment";
pub(crate) const APPLICATION: &str = "application-code";

/// Lays out the workenv: `command` starts the app, `scripts` are the other commands, and `data` is what each
/// slot has that is looked for at the same place below the workenv.
pub(super) fn lay_out(
    interpreter: &Interpreter,
    command: &Script,
    scripts: &[Script],
    data: &[(&str, Vec<PathBuf>)],
) -> Workenv {
    if interpreter.is_for_windows() {
        return for_windows(interpreter, command, scripts);
    }
    let python = &interpreter.name;
    let site = format!("lib/{python}/site-packages");
    let mut layout = Layout::default();
    layout.file("pyvenv.cfg", pyvenv_cfg(interpreter), 0o644);
    layout.link(&format!("python/{python}"), &format!("{RUNTIME}/bin/{python}"));
    layout.file(&format!("{site}/pspf.pth"), pth(interpreter), 0o644);
    if interpreter.certificates.is_some() {
        layout.file(&format!("{site}/_pspf_certificates.py"), CERTIFICATES.to_owned(), 0o644);
    }
    for script in scripts {
        layout.file(&format!("bin/{}", script.name), entry::script(&script.entry_point, python), 0o755);
    }
    // A script of the same name that does something else keeps its place on PATH; the app starts from beside it.
    let taken = scripts.iter().any(|script| script.name == command.name && script.entry_point != command.entry_point);
    let start = format!("{}/{}", if taken { "command" } else { "bin" }, command.name);
    if !layout.files.contains_key(&start) {
        layout.file(&start, entry::script(&command.entry_point, python), 0o755);
    }
    for (slot, paths) in data {
        for path in paths {
            let path = path.to_string_lossy();
            // The application is laid out first, and what is there stays.
            if !layout.links.contains_key(&*path) && !layout.files.contains_key(&*path) {
                layout.link(&path, &format!("{slot}/{path}"));
            }
        }
    }
    layout.into_workenv(program(interpreter), &start, command, scripts, "")
}

/// On Windows, links are for administrators. So the interpreter is started where it was extracted, and finds the other
/// slots beside itself; scripts are told to it.
fn for_windows(interpreter: &Interpreter, command: &Script, scripts: &[Script]) -> Workenv {
    let mut layout = Layout::default();
    let site = format!("{RUNTIME}/{}/site-packages", interpreter.library_name());
    let add =
        [APPLICATION, ENVIRONMENT].map(|slot| format!("site.addsitedir(os.path.join(sys.prefix, \"..\", \"{slot}\"))"));
    layout.file(&format!("{site}/pspf.pth"), format!("import os, site, sys; {}\n", add.join("; ")), 0o644);
    for script in scripts {
        layout.file(&format!("bin/{}.py", script.name), entry::module(&script.entry_point), 0o644);
    }
    let taken = scripts.iter().any(|script| script.name == command.name && script.entry_point != command.entry_point);
    let start = format!("{}/{}.py", if taken { "command" } else { "bin" }, command.name);
    layout.file(&start, entry::module(&command.entry_point), 0o644);
    layout.into_workenv(program(interpreter), &start, command, scripts, ".py")
}

/// What runs Python files in the workenv.
pub(super) fn program(interpreter: &Interpreter) -> String {
    match interpreter.is_for_windows() {
        true => format!("{{workenv}}/{RUNTIME}/{}", interpreter.program_name()),
        false => format!("{{workenv}}/python/{}", interpreter.name),
    }
}

/// Collects entries, and the directories that they are in.
#[derive(Default)]
struct Layout {
    directories: BTreeSet<String>,
    files: BTreeMap<String, (String, u32)>,
    links: BTreeMap<String, String>,
}

impl Layout {
    fn file(&mut self, path: &str, content: String, mode: u32) {
        self.parents(path);
        self.files.insert(path.to_owned(), (content, mode));
    }

    fn link(&mut self, path: &str, target: &str) {
        self.parents(path);
        self.links.insert(path.to_owned(), target.to_owned());
    }

    fn parents(&mut self, path: &str) {
        let ancestors = Path::new(path).ancestors().skip(1).filter(|ancestor| !ancestor.as_os_str().is_empty());
        self.directories.extend(ancestors.map(|ancestor| ancestor.to_string_lossy().into_owned()));
    }

    /// All of it. `program` starts Python files; `start` is the one of the command, and those of scripts have this ending.
    fn into_workenv(self, program: String, start: &str, command: &Script, scripts: &[Script], ending: &str) -> Workenv {
        let here = |path: &str| format!("{{workenv}}/{path}");
        let words = |start: &str| vec![program.clone(), here(start)];
        let mut entry_points = BTreeMap::from([(command.name.clone(), words(start))]);
        for script in scripts {
            entry_points.insert(script.name.clone(), words(&format!("bin/{}{ending}", script.name)));
        }
        let file = |(path, (content, mode)): (String, (String, u32))| WorkenvFile { path: here(&path), content, mode };
        Workenv {
            directories: self.directories.iter().map(|path| here(path)).collect(),
            files: self.files.into_iter().map(file).collect(),
            links: self.links.into_iter().map(|(path, target)| (here(&path), here(&target))).collect(),
            command: words(start),
            entry_points,
            unset: UNSET.map(str::to_owned).to_vec(),
            pass: PASS.map(str::to_owned).to_vec(),
            set: BTreeMap::new(),
        }
    }
}

impl Workenv {
    /// Adds the module `pspf`, by which the app asks for its slots.
    pub(super) fn add_slots_module(&mut self, interpreter: &Interpreter) {
        let site = match interpreter.is_for_windows() {
            true => format!("{RUNTIME}/{}", interpreter.library_name()),
            false => interpreter.library_name(),
        };
        let path = format!("{{workenv}}/{site}/site-packages/pspf.py");
        self.files.push(WorkenvFile { path, content: SLOTS.to_owned(), mode: 0o644 });
    }
}

fn pyvenv_cfg(interpreter: &Interpreter) -> String {
    format!(
        "home = {{workenv}}/{RUNTIME}/bin\ninclude-system-site-packages = false\nversion = {}\n",
        interpreter.version
    )
}

/// The line that makes Python see the slots, as site directories, so that the `.pth` files in them work too.
fn pth(interpreter: &Interpreter) -> String {
    let pip = format!("{RUNTIME}/lib/{}/site-packages", interpreter.name);
    let add = [APPLICATION, ENVIRONMENT, &pip].map(|path| format!("site.addsitedir(sys.prefix + \"/{path}\")"));
    let mut text = format!("import site, sys; {}\n", add.join("; "));
    if let Some((file, directory)) = &interpreter.certificates {
        // Two lookups at every start, and a module only where they fail.
        text.push_str(&format!(
            "import os; os.environ.get(\"SSL_CERT_FILE\") or os.environ.get(\"SSL_CERT_DIR\") or os.path.exists({}) \
             or os.path.isdir({}) or __import__(\"_pspf_certificates\")\n",
            python_string(file),
            python_string(directory),
        ));
    }
    text
}

/// A Python literal. JSON's escapes are all Python's too.
fn python_string(path: &Path) -> String {
    serde_json::Value::from(path.to_string_lossy()).to_string()
}

const CERTIFICATES: &str = include_str!("scripts/certificates.py");
const SLOTS: &str = include_str!("scripts/slots.py");

/// Everything that tells Python where code comes from, and what would make it another environment.
const UNSET: [&str; 3] = ["PYTHON*", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"];

/// Settings of Python that change how the app's code runs or reports, never which code runs. Left out with a reason:
/// PYTHONOPTIMIZE (drops assertions, and the byte code that is carried), PYTHONPYCACHEPREFIX (byte code from
/// elsewhere), PYTHONBREAKPOINT and PYTHONSTARTUP (name code to run), PYTHONINSPECT (keeps the app from ending).
const PASS: [&str; 27] = [
    "PYTHONASYNCIODEBUG",
    "PYTHONCOERCECLOCALE",
    "PYTHONDEBUG",
    "PYTHONDEVMODE",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONFAULTHANDLER",
    "PYTHONHASHSEED",
    "PYTHONINTMAXSTRDIGITS",
    "PYTHONIOENCODING",
    "PYTHONMALLOC",
    "PYTHONMALLOCSTATS",
    "PYTHONNODEBUGRANGES",
    "PYTHONPERFSUPPORT",
    "PYTHONPROFILEIMPORTTIME",
    "PYTHONTRACEMALLOC",
    "PYTHONUNBUFFERED",
    "PYTHONUTF8",
    "PYTHONVERBOSE",
    "PYTHONWARNDEFAULTENCODING",
    "PYTHONWARNINGS",
    "PYTHON_BASIC_REPL",
    "PYTHON_COLORS",
    "PYTHON_CPU_COUNT",
    "PYTHON_GIL",
    "PYTHON_HISTORY",
    "PYTHON_JIT",
    "PYTHON_PERF_JIT_SUPPORT",
];

#[cfg(test)]
mod tests;
