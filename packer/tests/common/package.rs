//! Packages that many tests look at, made once per build of `packer`; and the places in a cache.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::Finish as _;
use super::scratch::{remove, walk};

/// The command under test.
pub fn packer() -> Command {
    Command::new(env!("CARGO_BIN_EXE_packer"))
}

/// `packer pack`, with a key that is the same in every test. `PSPF_TEST_PYTHON` chooses the interpreter.
pub fn pack(manifest: &Path, output: &Path) -> Command {
    let mut command = packer();
    command.arg("pack").arg("--manifest").arg(manifest).arg("--output").arg(output);
    command.args(["--key-seed", "the tests of packer"]);
    if let Some(python) = std::env::var_os("PSPF_TEST_PYTHON") {
        command.arg("--python").arg(python);
    }
    command
}

/// `examples/hello-cli`, packed. `None`: skipped, for want of an interpreter.
pub fn hello() -> Option<PathBuf> {
    made_once("hello-cli-1.0.0", &source_of("hello-cli"))
}

/// `tests/projects/probe`, packed: it looks around from the inside.
pub fn probe() -> Option<PathBuf> {
    made_once("probe-1.0.0", &source_of("probe"))
}

/// `tests/projects/numbers`, packed: it needs numpy.
pub fn numbers() -> Option<PathBuf> {
    made_once("numbers-app-0.3", &source_of("numbers"))
}

/// The project behind one of the packages above.
pub fn source_of(project: &str) -> PathBuf {
    let packer = Path::new(env!("CARGO_MANIFEST_DIR"));
    match project {
        "hello-cli" => packer.join("../examples/hello-cli"),
        _ => packer.join("tests/projects").join(project),
    }
}

/// One pack at a time on this machine: each keeps all cores busy and holds an interpreter in memory.
pub fn heavy() -> File {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
    fs::create_dir_all(&base).expect("a directory for packages");
    let lock = File::create(base.join("lock")).expect("a lock file");
    lock.lock().expect("the lock");
    lock
}

/// The slots that `cache` holds, by the names of their directories.
pub fn slots(cache: &Path) -> BTreeSet<String> {
    directories(&cache.join("v1/slots"))
}

/// The workenvs that `cache` holds.
pub fn envs(cache: &Path) -> BTreeSet<String> {
    directories(&cache.join("v1/envs"))
}

/// The one workenv that `cache` holds.
#[track_caller]
pub fn env_of(cache: &Path) -> PathBuf {
    let envs = envs(cache);
    assert_eq!(envs.len(), 1, "one workenv was expected in {}", cache.display());
    cache.join("v1/envs").join(envs.first().expect("one"))
}

/// Writes small files of a project: (path, content).
pub fn write_files(directory: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, content).expect("a file");
    }
}

/// Copies a project, without what building or running it may have left there.
pub fn copy_tree(from: &Path, to: &Path) {
    for (path, metadata) in walk(from) {
        let relative = path.strip_prefix(from).expect("below the root");
        let made = ["__pycache__", "dist", "node_modules", "target"];
        if relative.components().any(|part| made.iter().any(|made| part.as_os_str() == *made)) {
            continue;
        }
        if metadata.is_dir() {
            fs::create_dir_all(to.join(relative)).expect("a directory");
        } else {
            fs::copy(&path, to.join(relative)).expect("a copy");
        }
    }
}

/// Copies a package in a process of its own: a descriptor of ours that is open for writing could be inherited by
/// another test's child for a moment, and what is open for writing cannot be executed ("text file busy").
#[track_caller]
pub fn copy_package(from: &Path, to: &Path) {
    Command::new("cp").arg("--").arg(from).arg(to).finish().exits(0);
}

/// Packs a copy of `source` unless this build of `packer` has packed the same files before.
#[track_caller]
fn made_once(name: &str, source: &Path) -> Option<PathBuf> {
    super::require_python()?;
    let _heavy = heavy();
    let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages").join(name);
    let package = base.join(format!("{name}.psp"));
    let stamp = base.join("made-from");
    let inputs = fingerprint(source);
    if fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == inputs) {
        return Some(package);
    }
    remove(&base);
    let project = base.join("project");
    copy_tree(source, &project);
    pack(&project.join("pyproject.toml"), &package).finish().exits(0);
    fs::write(stamp, inputs).expect("a stamp");
    Some(package)
}

/// Changes with the project's files, with `packer`, and with the interpreter asked for.
fn fingerprint(source: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    let packer = fs::metadata(env!("CARGO_BIN_EXE_packer")).expect("packer");
    (packer.len(), packer.mtime(), packer.mtime_nsec(), std::env::var_os("PSPF_TEST_PYTHON")).hash(&mut hasher);
    let mut files: Vec<_> = walk(source).into_iter().filter(|(_, metadata)| metadata.is_file()).collect();
    files.sort_by(|a, b| a.0.cmp(&b.0));
    for (path, _) in files {
        (&path, fs::read(&path).expect("a file")).hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

/// Published entries: lock files and what starts with a dot (being made, being removed) are none.
fn directories(parent: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let published = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    published
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect()
}

/// The header of a program, and nothing that could run: enough to be put in front of a package.
pub fn program_for(platform: &str) -> Vec<u8> {
    let mut program = vec![0; 256];
    match platform {
        "windows_amd64" => {
            program[..2].copy_from_slice(b"MZ");
            program[60] = 64;
            program[64..70].copy_from_slice(b"PE\0\0\x64\x86");
        }
        "darwin_arm64" => program[..8].copy_from_slice(b"\xcf\xfa\xed\xfe\x0c\0\0\x01"),
        _ => {
            program[..4].copy_from_slice(b"\x7fELF");
            program[18] = 183;
        }
    }
    program
}
