//! Which interpreter goes into the package.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::command::{self, Output, run};
use super::uv::{Tools, Uv};
use super::{Request, archive, foreign};
use crate::error::{Error, Kind, Result};
use crate::manifest::{Manifest, PythonVersion, Specifier};
use crate::platform::{Os, Platform};
use crate::progress::Progress;

/// A CPython with a prefix of its own, and what it said about itself.
#[derive(Debug, Clone)]
pub struct Interpreter {
    /// The executable itself: no link, no shim, no virtual environment. Of one for another platform, an interpreter of
    /// this machine that does the work here.
    pub executable: PathBuf,
    /// The directory that has its `bin` and `lib`.
    pub prefix: PathBuf,
    /// Its full version: "3.11.7", "3.14.0rc1".
    pub version: String,
    /// The part that decides compatibility: "3.11".
    pub minor: String,
    /// How its executable and its directory in `lib` are called: "python3.11" ("python3.13t" without the GIL).
    pub name: String,
    /// Operating system and machine: "linux-x86_64".
    pub platform: String,
    /// Where its OpenSSL looks for certificates, compiled in: a file and a directory.
    pub certificates: Option<(PathBuf, PathBuf)>,
    /// How it was found, for a person: "uv", "pyenv", "python3 in PATH".
    pub origin: Origin,
    /// What is known of one for another platform than this machine's.
    pub foreign: Option<Foreign>,
    pub(super) numbers: [u32; 3],
    pub(super) tcl: Option<(String, String)>,
}

/// An interpreter that does not run here, and never is run.
#[derive(Debug, Clone)]
pub struct Foreign {
    /// What it runs on.
    pub platform: Platform,
    /// Its executable.
    pub program: PathBuf,
    /// Whether the interpreter that works for it here is of the same version but for the last number: then their byte code
    /// is the same.
    pub compiles: bool,
}

/// How an interpreter was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The user named it.
    Given,
    /// uv manages it, or has just installed it.
    Uv,
    /// It is in `PATH`.
    Path,
    /// pyenv built it.
    Pyenv,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Given => "as told",
            Self::Uv => "managed by uv",
            Self::Path => "found in PATH",
            Self::Pyenv => "found with pyenv",
        })
    }
}

impl Interpreter {
    /// Where its standard library is.
    pub(super) fn library(&self) -> PathBuf {
        self.prefix.join(self.library_name())
    }

    /// That, relative to its prefix.
    pub(super) fn library_name(&self) -> String {
        if self.is_for_windows() { "Lib".to_owned() } else { format!("lib/{}", self.name) }
    }

    /// Its executable, relative to its prefix.
    pub(super) fn program_name(&self) -> String {
        if self.is_for_windows() { "python.exe".to_owned() } else { format!("bin/{}", self.name) }
    }

    /// Its executable, whether it runs here or not.
    pub(super) fn program(&self) -> &Path {
        self.foreign.as_ref().map_or(&self.executable, |foreign| &foreign.program)
    }

    /// The interpreter that compiles for the finished runtime, where there is one.
    pub(super) fn compiler(&self, runtime: &Path) -> Option<PathBuf> {
        match &self.foreign {
            None => Some(runtime.join(self.program_name())),
            Some(foreign) => foreign.compiles.then(|| self.executable.clone()),
        }
    }

    /// What it is for when that is not this machine.
    pub(super) fn target(&self) -> Option<Platform> {
        self.foreign.as_ref().map(|foreign| foreign.platform)
    }

    pub(super) fn is_for_windows(&self) -> bool {
        self.target().is_some_and(|target| target.os == Os::Windows)
    }
}

/// Chooses the interpreter, in this order: the one that the user names; without a wanted version, the current
/// `python3`; what uv manages, or can fetch; any that fits on this machine.
pub(super) fn select(request: &Request<'_>, tools: &Tools<'_>, progress: &dyn Progress) -> Result<Interpreter> {
    if let Some(platform) = request.target() {
        return foreign::select(request, platform, tools, progress);
    }
    let wanted = Wanted::new(request.manifest);
    if let Some((path, field)) = named(request) {
        return explicit(&path, field, &wanted, request, progress);
    }
    let mut looked_at = Vec::new();
    let mut seen = BTreeSet::new();
    let mut consider = |candidate: PathBuf, origin| -> Result<Option<Interpreter>> {
        progress.check()?;
        let identity = std::fs::canonicalize(&candidate).unwrap_or_else(|_| candidate.clone());
        if !seen.insert(identity) {
            return Ok(None);
        }
        let verdict = match probe(&candidate, origin, progress) {
            Ok(found) if wanted.matches(&found) => return Ok(Some(found)),
            Ok(found) => format!("is {}", found.version),
            Err(Unusable::Stopped(error)) => return Err(error),
            Err(Unusable::Because(reason)) => reason,
        };
        looked_at.push((candidate, verdict));
        Ok(None)
    };

    if wanted.version.is_none()
        && let Some(current) = command::on_path("python3")
        && let Some(found) = consider(current, Origin::Path)?
    {
        return Ok(found);
    }
    if let Some(uv) = tools.uv(progress)?
        && let Some(path) = managed(uv, &wanted.text(), request.cache, progress)?
        && let Some(found) = consider(path, Origin::Uv)?
    {
        return Ok(found);
    }
    for (candidate, origin) in candidates(wanted.version) {
        if let Some(found) = consider(candidate, origin)? {
            return Ok(found);
        }
    }
    Err(none_found(request.manifest, &wanted, &looked_at))
}

/// The interpreter that the user names, and where.
pub(super) fn named(request: &Request<'_>) -> Option<(PathBuf, &'static str)> {
    request.python.map(|path| (path.to_path_buf(), "--python")).or_else(|| {
        let path = request.manifest.flavor.python.as_deref()?;
        Some((request.manifest.directory.join(expand_home(path)), "tool.flavor.python"))
    })
}

/// An interpreter of this machine for work that asks for no more than Python 3, of this minor version where there is one;
/// and whether it is.
pub(super) fn worker(
    minor: [u32; 2],
    cache: &Path,
    tools: &Tools<'_>,
    progress: &dyn Progress,
) -> Result<Option<(PathBuf, bool)>> {
    let version = PythonVersion { major: minor[0], minor: minor[1], patch: None };
    let mut any = None;
    let own = tools.uv(progress)?.map(|uv| installed(uv, &version.to_string(), cache, progress)).transpose()?.flatten();
    let others = candidates(Some(version)).into_iter().map(|(candidate, _)| candidate);
    for candidate in own.into_iter().chain(others) {
        let ask = "import sys; print('%d.%d' % sys.version_info[:2], sys.implementation.name)";
        let output = match run(python(&candidate).args(["-c", ask]), progress) {
            Ok(output) => output,
            Err(error) if error.kind() == Kind::Cancelled => return Err(error),
            Err(_) => continue,
        };
        if output.stdout_text().trim() == format!("{version} cpython") {
            return Ok(Some((candidate, true)));
        }
        any = any.or_else(|| output.success().then_some(candidate));
    }
    Ok(any.map(|candidate| (candidate, false)))
}

/// The interpreters on this machine: which of them can be packed, and why others cannot. What uv manages is not among them,
/// and nothing is fetched.
pub fn on_this_machine(progress: &dyn Progress) -> Vec<(PathBuf, Result<Interpreter, String>)> {
    let mut found = Vec::new();
    for (candidate, origin) in candidates(None) {
        match probe(&candidate, origin, progress) {
            Ok(interpreter) => found.push((candidate, Ok(interpreter))),
            Err(Unusable::Because(reason)) => found.push((candidate, Err(reason))),
            Err(Unusable::Stopped(_)) => break,
        }
    }
    found
}

/// Any interpreter that can run pip, to install tools with; it need not fit the project.
pub(super) fn helper(progress: &dyn Progress) -> Result<Option<PathBuf>> {
    for (candidate, _) in candidates(None) {
        let output = run(python(&candidate).args(["-c", "import pip"]), progress);
        match output {
            Ok(output) if output.success() => return Ok(Some(candidate)),
            Err(error) if error.kind() == Kind::Cancelled => return Err(error),
            _ => {}
        }
    }
    Ok(None)
}

/// A command that runs `interpreter` without the caller's Python settings, and without writing beside its modules.
pub(super) fn python(interpreter: &Path) -> Command {
    let mut command = Command::new(interpreter);
    command.args(["-I", "-B"]).env_remove("__PYVENV_LAUNCHER__").env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// The version that the manifest asks for.
pub(super) struct Wanted<'a> {
    pub(super) version: Option<PythonVersion>,
    requires: Option<&'a Specifier>,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(manifest: &'a Manifest) -> Self {
        Self { version: manifest.flavor.python_version, requires: manifest.requires_python.as_ref() }
    }

    fn matches(&self, found: &Interpreter) -> bool {
        self.takes(found.numbers)
    }

    /// Whether an interpreter of this version is what was asked for.
    pub(super) fn takes(&self, numbers: [u32; 3]) -> bool {
        self.version.is_none_or(|version| version.matches(numbers))
            && self.requires.is_none_or(|requires| requires.matches(numbers))
    }

    /// As uv writes requests.
    pub(super) fn text(&self) -> String {
        match (self.version, self.requires) {
            (Some(version), _) => version.to_string(),
            (None, Some(requires)) => requires.to_string(),
            (None, None) => OLDEST.to_owned(),
        }
    }
}

impl Wanted<'_> {
    /// Refuses an interpreter that the user named when it is of another version than the manifest asks for.
    pub(super) fn check(&self, path: &Path, field: &str, found: Interpreter) -> Result<Interpreter> {
        if self.matches(&found) {
            return Ok(found);
        }
        let asked = match (self.version, self.requires) {
            (Some(version), _) if !version.matches(found.numbers) => format!("tool.flavor.python_version {version}"),
            (_, Some(requires)) => format!("project.requires-python {requires}"),
            (_, None) => String::new(),
        };
        Err(Error::new(Kind::Configuration, "this interpreter is not of the version that the manifest asks for")
            .file(path)
            .field(field)
            .expected(asked)
            .found(found.version))
    }
}

const OLDEST: &str = ">=3.9";

fn explicit(
    path: &Path,
    field: &str,
    wanted: &Wanted<'_>,
    request: &Request<'_>,
    progress: &dyn Progress,
) -> Result<Interpreter> {
    let refuse = |what: &str| Error::new(Kind::Dependency, what).file(path).field(field);
    let executable = if path.is_dir() {
        in_prefix(path).ok_or_else(|| {
            refuse("there is no interpreter in this directory").expected("bin/python3 in it, or an executable")
        })?
    } else if archive::is_archive(path) {
        let root = archive::unpack(path, &request.stage.join("interpreter"), progress)?;
        in_prefix(&root).ok_or_else(|| {
            refuse("there is no interpreter in this archive")
                .expected("python/bin/python3, as python-build-standalone has it")
        })?
    } else if path.is_file() {
        path.to_path_buf()
    } else {
        return Err(refuse("there is no interpreter here")
            .expected("a prefix directory, an executable, or an archive from python-build-standalone")
            .hint("a version belongs into tool.flavor.python_version"));
    };
    let found = match probe(&executable, Origin::Given, progress) {
        Ok(found) => found,
        Err(Unusable::Stopped(error)) => return Err(error),
        Err(Unusable::Because(reason)) => {
            return Err(refuse("this interpreter cannot be packaged").found(reason).hint(hint(&wanted.text())));
        }
    };
    wanted.check(path, field, found)
}

fn in_prefix(prefix: &Path) -> Option<PathBuf> {
    ["bin/python3", "bin/python"].iter().map(|name| prefix.join(name)).find(|file| command::is_executable(file))
}

fn expand_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => path.to_path_buf(),
    }
}

/// What uv has, or can fetch, for `version`.
fn managed(uv: &Uv, version: &str, cache: &Path, progress: &dyn Progress) -> Result<Option<PathBuf>> {
    if let Some(found) = installed(uv, version, cache, progress)? {
        return Ok(Some(found));
    }
    progress.stage(&format!("fetching Python {version}"), None);
    match install(uv, version, cache, progress)?.success() {
        true => installed(uv, version, cache, progress),
        false => Ok(None),
    }
}

/// What uv has for `version`, in its own place or in our cache.
fn installed(uv: &Uv, version: &str, cache: &Path, progress: &dyn Progress) -> Result<Option<PathBuf>> {
    let own = cache.join("pythons");
    let find = |directory: Option<&Path>| {
        let mut command = uv.command();
        command.args([
            "python",
            "find",
            "--managed-python",
            "--no-python-downloads",
            "--no-project",
            "--system",
            version,
        ]);
        if let Some(directory) = directory {
            command.env("UV_PYTHON_INSTALL_DIR", directory);
        }
        let output = run(&mut command, progress)?;
        let path = PathBuf::from(output.stdout_text().trim());
        Ok::<_, Error>((output.success() && path.is_file()).then_some(path))
    };
    if let Some(found) = find(None)? {
        return Ok(Some(found));
    }
    if own.is_dir() { find(Some(&own)) } else { Ok(None) }
}

/// Lets uv fetch what it calls `version` into our cache.
pub(super) fn install(uv: &Uv, version: &str, cache: &Path, progress: &dyn Progress) -> Result<Output> {
    let own = cache.join("pythons");
    let mut install = uv.command();
    // Into our own cache, so that nothing of the user's changes; and without asking again and again, since an
    // interpreter of this machine may do as well.
    install.args(["python", "install", "--no-bin", version]).env("UV_PYTHON_INSTALL_DIR", &own);
    if std::env::var_os("UV_HTTP_RETRIES").is_none() {
        install.env("UV_HTTP_RETRIES", "0");
    }
    if std::env::var_os("UV_HTTP_CONNECT_TIMEOUT").is_none() {
        install.env("UV_HTTP_CONNECT_TIMEOUT", "5");
    }
    let output = run(&mut install, progress);
    // uv unpacks beside the place where an interpreter goes; whatever is left there is half an interpreter.
    let _ = std::fs::remove_dir_all(own.join(".temp"));
    output
}

/// Interpreters on this machine that may fit, best first.
fn candidates(version: Option<PythonVersion>) -> Vec<(PathBuf, Origin)> {
    let mut names: Vec<String> = version.map(|v| format!("python{}.{}", v.major, v.minor)).into_iter().collect();
    names.extend(["python3".to_owned(), "python".to_owned()]);
    if version.is_none() {
        names.extend((9..=15).rev().map(|minor| format!("python3.{minor}")));
    }
    let in_path = names.iter().flat_map(command::all_on_path).map(|file| (file, Origin::Path));
    in_path.chain(pyenv().into_iter().map(|file| (file, Origin::Pyenv))).collect()
}

/// The interpreters that pyenv built, newest first.
fn pyenv() -> Vec<PathBuf> {
    let root = std::env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv")));
    let Some(entries) = root.and_then(|root| std::fs::read_dir(root.join("versions")).ok()) else { return Vec::new() };
    let mut versions: Vec<(Vec<u32>, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let numbers = name.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u32>>>()?;
            Some((numbers, in_prefix(&entry.path())?))
        })
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, file)| file).collect()
}

fn none_found(manifest: &Manifest, wanted: &Wanted<'_>, looked_at: &[(PathBuf, String)]) -> Error {
    let list: Vec<String> = looked_at.iter().map(|(path, verdict)| format!("{}: {verdict}", path.display())).collect();
    let new = Error::new(Kind::Dependency, "there is no interpreter of this version to package")
        .file(&manifest.path)
        .field(if wanted.version.is_some() { "tool.flavor.python_version" } else { "project.requires-python" })
        .expected(format!("Python {}", wanted.text()))
        .output(list.join("\n"))
        .hint(hint(&wanted.text()));
    if looked_at.is_empty() { new.found("no interpreter at all") } else { new.found("only these, and uv has none") }
}

fn hint(version: &str) -> String {
    format!("uv python install \"{version}\", pyenv install, or name one with --python")
}

/// Why an interpreter is none for us.
enum Unusable {
    Stopped(Error),
    Because(String),
}

fn probe(candidate: &Path, origin: Origin, progress: &dyn Progress) -> Result<Interpreter, Unusable> {
    let because = |reason: &str| Unusable::Because(reason.to_owned());
    let output = match run(python(candidate).args(["-c", include_str!("scripts/probe.py")]), progress) {
        Ok(output) => output,
        Err(error) if error.kind() == Kind::Cancelled => return Err(Unusable::Stopped(error)),
        Err(_) => return Err(because("does not start")),
    };
    let facts: Facts = serde_json::from_slice(&output.stdout).map_err(|_| {
        let tail = output.tail();
        let last = tail.lines().last().unwrap_or("says nothing");
        Unusable::Because(format!("does not answer as a Python 3 does ({})", last.trim()))
    })?;
    let resolve =
        |path: &str| std::fs::canonicalize(path).map_err(|error| Unusable::Because(format!("{path}: {error}")));
    let (executable, prefix, stdlib) = (resolve(&facts.executable)?, resolve(&facts.prefix)?, resolve(&facts.stdlib)?);
    let [major, minor, _] = facts.version;
    let name = format!("python{major}.{minor}{}", facts.threads);
    if facts.implementation != "cpython" {
        return Err(Unusable::Because(format!("is {}, and only CPython can be packaged", facts.implementation)));
    }
    if facts.version < [3, 9, 0] {
        return Err(Unusable::Because(format!("is {}, and 3.9 is the oldest that can be packaged", facts.release)));
    }
    if prefix == Path::new("/usr") || prefix == Path::new("/") {
        return Err(because("is split over the system's directories (/usr), so it cannot be taken as a whole"));
    }
    if facts.exec_prefix != facts.prefix || stdlib != prefix.join("lib").join(&name) {
        return Err(Unusable::Because(format!(
            "has no lib/{name} with its standard library below {}",
            prefix.display()
        )));
    }
    Ok(Interpreter {
        executable,
        prefix,
        version: facts.release,
        minor: format!("{major}.{minor}"),
        name,
        platform: facts.platform,
        certificates: facts.verify.map(|(file, directory)| (file.into(), directory.into())),
        origin,
        numbers: facts.version,
        foreign: None,
        tcl: facts.tcl,
    })
}

/// What `scripts/probe.py` prints.
#[derive(serde::Deserialize)]
struct Facts {
    executable: String,
    prefix: String,
    exec_prefix: String,
    version: [u32; 3],
    release: String,
    implementation: String,
    stdlib: String,
    threads: String,
    platform: String,
    verify: Option<(String, String)>,
    tcl: Option<(String, String)>,
}
