//! Interpreters for another platform than this machine's: looked at, and never run.
//!
//! They come as an archive of python-build-standalone or unpacked, or uv fetches one (`UV_PYTHON_INSTALL_MIRROR` says
//! where from). What they are shows in the header of their program and in their files.
//!
//! ```text
//! bin/python3.11, lib/python3.11/        Linux and macOS
//! python.exe, *.dll, DLLs/, Lib/         Windows
//! include/.../patchlevel.h               the version, on all of them
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::archive;
use super::cache;
use super::command::Output;
use super::interpreter::{self, Foreign, Interpreter, Origin, Wanted};
use super::tree::{self, Keep};
use super::uv::Tools;
use super::{Request, hex, site};
use crate::error::{Error, Kind, Result};
use crate::platform::{Arch, Os, Platform};
use crate::progress::Progress;

/// The interpreter for `platform`: the one that the user names, else what uv has or can fetch.
pub(super) fn select(
    request: &Request<'_>,
    platform: Platform,
    tools: &Tools<'_>,
    progress: &dyn Progress,
) -> Result<Interpreter> {
    let wanted = Wanted::new(request.manifest);
    let found = match interpreter::named(request) {
        Some((path, field)) => {
            let prefix = prefix_of(&path, field, request.cache, progress)?;
            let found = look_at(&prefix, &path, platform, Origin::Given).map_err(|error| error.field(field))?;
            wanted.check(&path, field, found)?
        }
        None => fetched(&wanted, platform, request.cache, tools, progress)?,
    };
    let minor = [found.numbers[0], found.numbers[1]];
    let Some((executable, compiles)) = interpreter::worker(minor, request.cache, tools, progress)? else {
        return Err(Error::new(Kind::Dependency, "there is no Python on this machine to work with")
            .expected("any Python 3, to build the project and to look at its modules")
            .hint(format!("install one; with Python {} byte code is packed, too", found.minor)));
    };
    if !compiles {
        progress.note(&format!(
            "no byte code is packed, since there is no Python {} on this machine: first starts take longer",
            found.minor
        ));
    }
    let foreign = found.foreign.map(|foreign| Foreign { compiles, ..foreign });
    Ok(Interpreter { executable, foreign, ..found })
}

/// What stands for an interpreter that is not there, where only its version and platform matter.
pub(super) fn imagined(
    platform: Platform,
    version: &str,
    shelf: &Path,
    tools: &Tools<'_>,
    progress: &dyn Progress,
) -> Result<Interpreter> {
    let numbers = numbers(&format!("{version}.0")).unwrap_or_default();
    let worker = interpreter::worker([numbers[0], numbers[1]], shelf, tools, progress)?;
    let (executable, compiles) = worker.unwrap_or_default();
    let (prefix, name) = (PathBuf::new(), format!("python{}.{}", numbers[0], numbers[1]));
    let foreign = Foreign { platform, program: executable.clone(), compiles };
    Ok(Interpreter { executable, ..described(prefix, name, version, numbers, foreign, Origin::Uv) })
}

/// An interpreter of which this is known.
fn described(
    prefix: PathBuf,
    name: String,
    version: &str,
    numbers: [u32; 3],
    foreign: Foreign,
    origin: Origin,
) -> Interpreter {
    Interpreter {
        executable: foreign.program.clone(),
        prefix,
        version: version.to_owned(),
        minor: format!("{}.{}", numbers[0], numbers[1]),
        name,
        platform: of_sysconfig(foreign.platform).to_owned(),
        certificates: None,
        origin,
        foreign: Some(foreign),
        numbers,
        tcl: None,
    }
}

/// The version that would be taken if there were an interpreter: as "3.11".
pub(super) fn likely_version(wanted: &Wanted<'_>) -> String {
    let newest = (9..=NEWEST).rev().find(|minor| wanted.takes([3, *minor, ANY_PATCH]));
    match wanted.version {
        Some(version) => version.to_string(),
        None => format!("3.{}", newest.unwrap_or(NEWEST)),
    }
}

/// What the markers of requirements are compared with, where that is not what the working interpreter says.
pub(super) fn markers(interpreter: &Interpreter) -> BTreeMap<&'static str, String> {
    let Some(Platform { os, arch }) = interpreter.target() else { return BTreeMap::new() };
    let is_arm = arch == Some(Arch::Arm64);
    let [sys_platform, platform_system, os_name, machine] = match os {
        Os::Linux => ["linux", "Linux", "posix", if is_arm { "aarch64" } else { "x86_64" }],
        Os::Darwin => ["darwin", "Darwin", "posix", if is_arm { "arm64" } else { "x86_64" }],
        Os::Windows => ["win32", "Windows", "nt", if is_arm { "ARM64" } else { "AMD64" }],
    };
    [
        ("sys_platform", sys_platform),
        ("platform_system", platform_system),
        ("os_name", os_name),
        ("platform_machine", machine),
        ("python_version", &interpreter.minor),
        ("python_full_version", &interpreter.version),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

/// The prefix that the user names: a directory, or an archive, which is unpacked into the cache once.
fn prefix_of(path: &Path, field: &str, shelf: &Path, progress: &dyn Progress) -> Result<PathBuf> {
    if path.is_dir() {
        return Ok(archive::prefix(path));
    }
    if !archive::is_archive(path) {
        return Err(Error::new(Kind::Dependency, "there is no interpreter for another platform here")
            .file(path)
            .field(field)
            .expected("a directory, or an archive (.tar.gz, .tar.zst) from python-build-standalone")
            .hint("name the install_only archive for that platform"));
    }
    let shelf = shelf.join("pythons");
    let name = format!("given-{}", &hex(&Sha256::digest(tree::read(path)?))[..32]);
    let kept = shelf.join(name);
    if !kept.is_dir() {
        let work = cache::workspace(&shelf)?;
        archive::unpack(path, work.path(), progress)?;
        cache::publish(work, &kept)?;
    }
    Ok(archive::prefix(&kept))
}

/// What uv has for the platform, or can fetch.
fn fetched(
    wanted: &Wanted<'_>,
    platform: Platform,
    shelf: &Path,
    tools: &Tools<'_>,
    progress: &dyn Progress,
) -> Result<Interpreter> {
    let missing = |found: String, output: Option<&Output>| {
        Error::new(Kind::Dependency, format!("there is no interpreter for {platform}"))
            .field("--python")
            .expected(format!("Python {} of python-build-standalone for {platform}", wanted.text()))
            .found(found)
            .output(output.map(Output::tail).unwrap_or_default())
            .hint(format!(
                "--python FILE with its install_only archive for {}, or a mirror that uv can reach \
                 (UV_PYTHON_INSTALL_MIRROR)",
                triple(platform)
            ))
    };
    let Some(uv) = tools.uv(progress)? else { return Err(missing("no uv that could fetch one".to_owned(), None)) };
    if let Some(found) = installed(wanted, platform, shelf) {
        return Ok(found);
    }
    let version = likely_version(wanted);
    progress.stage(&format!("fetching Python {version} for {platform}"), None);
    let request = format!("cpython-{version}-{}", of_uv(platform));
    let output = interpreter::install(uv, &request, shelf, progress)?;
    installed(wanted, platform, shelf).ok_or_else(|| missing(format!("uv has no {request}"), Some(&output)))
}

/// What uv has put into our cache before.
fn installed(wanted: &Wanted<'_>, platform: Platform, shelf: &Path) -> Option<Interpreter> {
    let ending = format!("-{}", of_uv(platform));
    let kept = site::entries(&shelf.join("pythons")).ok()?.into_iter().filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("cpython-") && name.ends_with(&ending) && !path.is_symlink()
    });
    let found = kept.filter_map(|path| look_at(&path, &path, platform, Origin::Uv).ok());
    found.filter(|found| wanted.takes(found.numbers)).max_by_key(|found| found.numbers)
}

/// What is in `prefix`, which came from `path`.
fn look_at(prefix: &Path, path: &Path, platform: Platform, origin: Origin) -> Result<Interpreter> {
    let refuse = |what: &str| Error::new(Kind::Dependency, what).file(path);
    let no_interpreter = || {
        refuse("there is no interpreter here")
            .expected("python.exe with Lib, or bin/python3 with lib/python3, as python-build-standalone has them")
            .hint(format!("name the install_only archive for {}", triple(platform)))
    };
    let windows = prefix.join("python.exe");
    let library = match windows.is_file() {
        true => prefix.join("Lib"),
        false => site::entries(&prefix.join("lib"))
            .unwrap_or_default()
            .into_iter()
            .rfind(|library| library.join("os.py").is_file())
            .ok_or_else(no_interpreter)?,
    };
    if !library.join("os.py").is_file() {
        return Err(no_interpreter());
    }
    let library_name = library.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let program = if windows.is_file() { windows } else { prefix.join("bin").join(&library_name) };
    let program = std::fs::canonicalize(&program).map_err(|_| no_interpreter())?;
    let own = Platform::of_program(&tree::read(&program)?).ok_or_else(|| {
        refuse("the interpreter's program is none of a platform that packer knows")
            .found(program.display().to_string())
            .hint(format!("name the install_only archive for {}", triple(platform)))
    })?;
    if own.os != platform.os || own.arch != platform.arch {
        return Err(refuse("this interpreter is for another platform")
            .expected(platform.to_string())
            .found(own.to_string())
            .hint(format!("name the install_only archive for {}", triple(platform))));
    }
    let version = version(prefix).ok_or_else(|| {
        refuse("this interpreter does not say which version it is")
            .expected("patchlevel.h below include, as python-build-standalone has it")
            .hint("take an archive that is complete")
    })?;
    let numbers = numbers(&version).unwrap_or_default();
    if numbers < [3, 9, 0] {
        return Err(refuse("3.9 is the oldest Python that can be packaged").found(version));
    }
    let name = match own.os {
        Os::Windows => format!("python{}.{}", numbers[0], numbers[1]),
        _ => library_name,
    };
    let foreign = Foreign { platform, program, compiles: false };
    Ok(described(prefix.to_path_buf(), name, &version, numbers, foreign, origin))
}

/// `PY_VERSION` of the header that says it.
fn version(prefix: &Path) -> Option<String> {
    let mut found = None;
    let include = prefix.join("include");
    tree::walk(&include, &mut |relative, metadata| {
        if metadata.is_file() && relative.ends_with("patchlevel.h") {
            let text = String::from_utf8_lossy(&tree::read(&include.join(relative))?).into_owned();
            let line = text.lines().find_map(|line| line.trim().strip_prefix("#define PY_VERSION"));
            found =
                line.and_then(|rest| rest.split('"').nth(1)).map(|version| version.trim_end_matches('+').to_owned());
        }
        Ok(Keep::Yes)
    })
    .ok()?;
    found
}

/// "3.14.0rc1" -> [3, 14, 0].
fn numbers(version: &str) -> Option<[u32; 3]> {
    let mut parts = version.split('.');
    let mut next = || {
        let part = parts.next()?;
        part.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    Some([next()?, next()?, next()?])
}

/// As python-build-standalone names its archives, and uv the platforms that it takes wheels for.
pub(super) fn triple(platform: Platform) -> &'static str {
    names(platform)[0]
}

/// As uv names its interpreters.
fn of_uv(platform: Platform) -> &'static str {
    names(platform)[1]
}

/// Operating system and machine, as sysconfig has it.
fn of_sysconfig(platform: Platform) -> &'static str {
    names(platform)[2]
}

fn names(platform: Platform) -> [&'static str; 3] {
    match (platform.os, platform.arch) {
        (Os::Linux, Some(Arch::Arm64)) => ["aarch64-unknown-linux-gnu", "linux-aarch64-gnu", "linux-aarch64"],
        (Os::Linux, _) => ["x86_64-unknown-linux-gnu", "linux-x86_64-gnu", "linux-x86_64"],
        (Os::Darwin, Some(Arch::Arm64)) => ["aarch64-apple-darwin", "macos-aarch64-none", "macosx-arm64"],
        (Os::Darwin, _) => ["x86_64-apple-darwin", "macos-x86_64-none", "macosx-x86_64"],
        (Os::Windows, Some(Arch::Arm64)) => ["aarch64-pc-windows-msvc", "windows-aarch64-none", "win-arm64"],
        (Os::Windows, _) => ["x86_64-pc-windows-msvc", "windows-x86_64-none", "win-amd64"],
    }
}

/// The newest Python that is asked for when the manifest takes any.
const NEWEST: u32 = 13;
/// Where it matters whether a minor version fits at all.
const ANY_PATCH: u32 = 99;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_with_what_follows_the_numbers() {
        assert_eq!(numbers("3.14.0rc1"), Some([3, 14, 0]));
        assert_eq!(numbers("3.11.7"), Some([3, 11, 7]));
        assert_eq!(numbers("3.x"), None);
    }

    #[test]
    fn the_version_is_the_one_of_the_header() {
        let prefix = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(prefix.path().join("include/python3.11")).unwrap();
        let header = "#define PY_MAJOR_VERSION 3\n/* as a string */\n#define PY_VERSION              \"3.11.9+\"\n";
        std::fs::write(prefix.path().join("include/python3.11/patchlevel.h"), header).unwrap();
        assert_eq!(version(prefix.path()).as_deref(), Some("3.11.9"));
        assert_eq!(version(&prefix.path().join("include")), None);
    }
}
