//! What this machine has for packing and running packages, and what to do about what is missing.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use launcher::cache::Cache;
use launcher::sys::is_noexec;
use rustix::fd::AsFd as _;
use serde::Serialize;

use crate::keys;
use crate::launchers::{self, Registry};
use crate::package_file::of_launcher;
use crate::places;
use crate::platform::Platform;
use crate::progress::Progress;
use crate::python;
use crate::trust::Trust;
use crate::trust::policy;

/// One thing that was looked at. The JSON of this is a stable interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about: `launchers`, `python`, `uv`, `cache`, `programs`, `disk`, `key`, `policy`, `rust`.
    pub about: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// The next step; null when there is none to take.
    pub hint: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Worth knowing; everything works.
    Note,
    /// Something will fail.
    Problem,
}

/// Looks at everything. Nothing is installed or fetched; the cache's directory is made where it is missing.
pub fn examine(progress: &dyn Progress) -> Vec<Finding> {
    let mut findings = vec![launcher(), python(progress), uv()];
    findings.extend(cache());
    findings.extend([temporary(), key(), policy()]);
    findings.push(ok("rust", "not needed: launchers are built already".to_owned()));
    findings
}

fn launcher() -> Finding {
    let own = launchers::built_in().and_then(Platform::of_program);
    let added = Registry::of_this_user().and_then(|registry| registry.list());
    let added = match added {
        Ok(added) => added,
        Err(error) => return problem("launchers", flat(&error), "mend that, or move the directory away"),
    };
    let count = match added.len() {
        0 => "none added for other platforms".to_owned(),
        count => format!("{count} added: {}", added.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ")),
    };
    match own {
        Some(own) => ok("launchers", format!("packer's own for {own}; {count}")),
        None if added.is_empty() => problem(
            "launchers",
            "none for this platform".to_owned(),
            "packer launchers add FILE, a launcher or a wheel that carries some",
        ),
        None => note("launchers", format!("none of packer's own; {count}"), "name one with --launcher"),
    }
}

fn python(progress: &dyn Progress) -> Finding {
    let found = python::on_this_machine(progress);
    if let Some(usable) = found.iter().find_map(|(_, found)| found.as_ref().ok()) {
        let what = format!("{} {} ({})", usable.version, usable.origin, usable.prefix.display());
        return ok("python", what);
    }
    let hint =
        "uv python install 3.12, or pyenv install 3.12, or name one with --python; only Python projects need one";
    match found.first() {
        None => note("python", "none here that could be packed".to_owned(), hint),
        Some((path, Err(reason))) => note("python", format!("none to pack: {} {reason}", path.display()), hint),
        Some((path, Ok(_))) => ok("python", path.display().to_string()),
    }
}

fn uv() -> Finding {
    let Some(path) = python::on_path("uv") else {
        let hint = "packer fetches it when it is needed, and goes by pip when that fails";
        return note("uv", "not on PATH".to_owned(), hint);
    };
    let output = Command::new(&path).arg("--version").output();
    match output {
        Ok(output) if output.status.success() => {
            let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            ok("uv", format!("{version} ({})", path.display()))
        }
        _ => problem("uv", format!("{} does not start", path.display()), "install it again, or take it off PATH"),
    }
}

/// Where packages extract to and packer keeps what it built.
fn cache() -> Vec<Finding> {
    let cache = match Cache::open(&places::environment()) {
        Ok(cache) => cache,
        Err(error) => {
            return vec![problem("cache", flat(&of_launcher(&error)), "set PSPF_CACHE_DIR to a directory of your own")];
        }
    };
    let path = PathBuf::from(OsStr::from_bytes(cache.path()));
    let mut findings = vec![ok("cache", path.display().to_string())];
    findings.push(if is_noexec(cache.envs.as_fd()) {
        let hint = "set PSPF_CACHE_DIR to a directory on a file system without noexec: packages cannot start from here";
        problem("programs", format!("may not run below {} (noexec)", path.display()), hint)
    } else {
        ok("programs", "may run in the cache".to_owned())
    });
    findings.push(room("disk", &path, "packer clean removes what can be made again"));
    findings
}

fn temporary() -> Finding {
    let path = std::env::temp_dir();
    if let Err(error) = tempfile::tempfile_in(&path) {
        return problem(
            "disk",
            format!("{}: {error}", path.display()),
            "set TMPDIR to a directory that can be written",
        );
    }
    room("disk", &path, "set TMPDIR to a place with more of it")
}

/// How much room there is at `path`.
fn room(about: &'static str, path: &Path, hint: &str) -> Finding {
    const LITTLE: u64 = 2 << 30;
    const TOO_LITTLE: u64 = 200 << 20;
    let free = match rustix::fs::statvfs(path) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(error) => return note(about, format!("{}: {error}", path.display()), "look at the disk"),
    };
    let found = format!("{} MiB free at {}", free >> 20, path.display());
    match free {
        0..TOO_LITTLE => problem(about, found, hint),
        TOO_LITTLE..LITTLE => note(about, found, hint),
        _ => ok(about, found),
    }
}

fn key() -> Finding {
    let Ok(path) = places::keys().map(|keys| keys.join(keys::PRIVATE)) else {
        let hint = "set HOME, or give a key with --private-key (packer keygen makes one)";
        return problem("key", "there is no home directory to keep one in".to_owned(), hint);
    };
    let Ok(metadata) = fs::metadata(&path) else {
        let hint = "packer makes one at the first pack; packer keygen makes one of your own";
        return note("key", "none yet".to_owned(), hint);
    };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 || metadata.uid() != rustix::process::geteuid().as_raw() {
        let found = format!("others may read {} (mode {mode:04o})", path.display());
        return problem("key", found, &format!("chmod 600 {}", path.display()));
    }
    ok("key", format!("packer's own for you, in {}", path.display()))
}

fn policy() -> Finding {
    if let Err(error) = Trust::of_this_machine() {
        return problem("policy", flat(&error), "packer policy show and packer trust list say more");
    }
    let places = [Some(places::system_config()), places::config()];
    let files = places.into_iter().flatten().map(|place| place.join(policy::FILE)).filter(|file| file.exists());
    let files: Vec<String> = files.map(|file| file.display().to_string()).collect();
    ok("policy", if files.is_empty() { "none: everything may run that is intact".to_owned() } else { files.join(", ") })
}

fn ok(about: &'static str, found: String) -> Finding {
    Finding { about, verdict: Verdict::Ok, found, hint: None }
}

fn note(about: &'static str, found: String, hint: &str) -> Finding {
    Finding { about, verdict: Verdict::Note, found, hint: Some(hint.to_owned()) }
}

fn problem(about: &'static str, found: String, hint: &str) -> Finding {
    Finding { about, verdict: Verdict::Problem, found, hint: Some(hint.to_owned()) }
}

/// An error in one line.
fn flat(error: &crate::Error) -> String {
    error.to_string().lines().map(str::trim).collect::<Vec<_>>().join("; ")
}
