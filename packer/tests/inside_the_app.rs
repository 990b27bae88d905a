//! What a packaged program finds when it looks around: `tests/projects/probe` performs each check from the inside.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Finish as _, Finished, Scratch};
use serde_json::{Value, json};

/// The probe, with a home directory and a cache of its own.
struct Probe {
    package: PathBuf,
    scratch: Scratch,
}

impl Probe {
    fn new() -> Option<Self> {
        let package = common::probe()?;
        let scratch = Scratch::new();
        scratch.dir("home");
        scratch.dir("cache");
        Some(Self { package, scratch })
    }

    fn home(&self) -> PathBuf {
        self.scratch.join("home")
    }

    fn cache(&self) -> PathBuf {
        self.scratch.join("cache")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.package);
        command.args(args).env_clear().env("HOME", self.home()).env("PSPF_CACHE_DIR", self.cache());
        command
    }

    /// What a check found. It must succeed, and in silence.
    #[track_caller]
    fn check(&self, args: &[&str]) -> Value {
        found(self.command(args).finish())
    }
}

#[track_caller]
fn found(finished: Finished) -> Value {
    finished.exits(0).stays_quiet().json()
}

#[test]
fn the_workenv_is_a_virtual_environment_of_its_own() {
    let Some(probe) = Probe::new() else { return };
    let seen = probe.check(&["surroundings"]);
    let workenv = common::env_of(&probe.cache());
    let python = PathBuf::from(seen["executable"].as_str().unwrap());
    assert_eq!(seen["prefix"], workenv.to_str().unwrap());
    assert_eq!(seen["environ"]["FLAVOR_WORKENV"], seen["prefix"]);
    assert_ne!(seen["base_prefix"], seen["prefix"]);
    assert_eq!(python.parent(), Some(&*workenv.join("python")));
    assert!(python.file_name().unwrap().to_str().unwrap().starts_with("python3."), "{}", python.display());
    assert_eq!(seen["argv"][0], workenv.join("bin/probe").to_str().unwrap());
    assert!(Path::new(seen["argv"][0].as_str().unwrap()).is_file(), "argv[0] is a file that can be started again");
    for place in seen["sys_path"].as_array().unwrap() {
        let place = place.as_str().unwrap();
        assert!(place.starts_with(probe.cache().to_str().unwrap()), "{place} lies outside of the cache");
    }
}

#[test]
fn the_app_is_told_by_which_name_it_was_started() {
    let Some(probe) = Probe::new() else { return };
    let environ = probe.check(&["surroundings"])["environ"].clone();
    assert_eq!(environ["PSPF_ARGV0"], probe.package.to_str().unwrap());
    assert_eq!(environ["FLAVOR_ORIGINAL_COMMAND"], probe.package.to_str().unwrap());
    assert_eq!(environ["FLAVOR_COMMAND_NAME"], probe.package.file_name().unwrap().to_str().unwrap());
    assert!(Path::new(environ["FLAVOR_CACHE_DIR"].as_str().unwrap()).is_dir());
}

#[test]
fn starting_sys_executable_with_sys_argv_starts_the_app_again() {
    let Some(probe) = Probe::new() else { return };
    let first = probe.check(&["surroundings", "b c", "--flag"]);
    let again = probe.check(&["restart", "b c", "--flag"]);
    assert_eq!(again["environ"]["PROBE_RESTARTED"], "1");
    for same in ["executable", "prefix", "base_prefix", "sys_path"] {
        assert_eq!(again[same], first[same], "{same}");
    }
    assert_eq!(again["argv"][0], first["argv"][0]);
    assert_eq!(again["argv"].as_array().unwrap()[1..], [json!("restart"), json!("b c"), json!("--flag")]);
}

#[test]
fn sys_executable_with_c_sees_the_same_packages() {
    let Some(probe) = Probe::new() else { return };
    let seen = probe.check(&["command"]);
    let workenv = common::env_of(&probe.cache());
    assert_eq!(seen[0], workenv.to_str().unwrap());
    assert!(seen[1].as_str().unwrap().starts_with(workenv.join("python").to_str().unwrap()), "{seen}");
}

#[test]
fn sys_executable_with_m_runs_a_dependency() {
    let Some(probe) = Probe::new() else { return };
    assert!(probe.check(&["module"]).as_u64().unwrap() > 1000, "rich prints a page about itself");
}

#[test]
fn spawned_workers_import_the_app() {
    let Some(probe) = Probe::new() else { return };
    let seen = probe.check(&["workers"]);
    let workenv = common::env_of(&probe.cache());
    for (number, worker) in seen.as_array().unwrap().iter().enumerate() {
        assert_eq!(worker[0], number * number);
        assert_eq!(worker[2], workenv.to_str().unwrap());
    }
    assert_eq!(seen.as_array().unwrap().len(), 8);
}

#[test]
fn ssl_holds_a_conversation_and_finds_the_certificates_of_the_machine() {
    let Some(probe) = Probe::new() else { return };
    let seen = probe.check(&["openssl"]);
    assert_eq!(seen["heard"], "over TLS");
    let bundles = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
    if bundles.iter().any(|bundle| Path::new(bundle).exists()) {
        assert_eq!(seen["authorities"], true);
    }
}

#[test]
fn sqlite_ctypes_and_the_compressors_work() {
    let Some(probe) = Probe::new() else { return };
    assert_eq!(probe.check(&["sqlite"]), 42);
    assert_eq!(probe.check(&["foreign_functions"]), true);
    assert_eq!(probe.check(&["codecs"]), json!([true, true, true]));
}

#[test]
fn metadata_and_data_files_of_the_project_are_found() {
    let Some(probe) = Probe::new() else { return };
    let installed = probe.check(&["installed"]);
    assert_eq!(installed["probe"], "1.0.0");
    assert_eq!(installed["scripts"], json!(["probe", "probe-admin"]));
    assert_eq!(installed["files"], true);
    assert_eq!(probe.check(&["data"]), json!(["seven\n", "seven\n"]));
}

#[test]
fn only_the_scripts_of_the_project_are_on_path() {
    let Some(probe) = Probe::new() else { return };
    assert_eq!(probe.check(&["scripts"]), "probe-admin one two words\n");
    let found = probe.check(&["python_on_path"]);
    let cache = probe.cache().to_str().unwrap().to_owned();
    let inside = |path: &serde_json::Value| path.as_str().is_some_and(|path| path.contains(&cache));
    assert!(!found.as_array().unwrap().iter().any(inside), "python or pip of the package is on PATH: {found}");
    let bin = common::env_of(&probe.cache()).join("bin");
    let mut names: Vec<_> = fs::read_dir(&bin).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["probe", "probe-admin"]);
    let found = probe.command(&["surroundings"]).env("PATH", "/usr/local/bin:/usr/bin").finish();
    assert_eq!(found.json()["environ"]["PATH"], format!("{}:/usr/local/bin:/usr/bin", bin.display()));
}

#[test]
fn pip_installs_into_the_workenv_and_nowhere_else() {
    let Some(probe) = Probe::new() else { return };
    probe.check(&["surroundings"]);
    let slots = probe.cache().join("v1/slots");
    let (slots_before, home_before) = (common::snapshot(&slots), common::snapshot(&probe.home()));

    let module = probe.check(&["install"]);

    let workenv = common::env_of(&probe.cache());
    assert!(module.as_str().unwrap().starts_with(workenv.to_str().unwrap()), "{module}");
    assert_eq!(common::snapshot(&slots), slots_before, "the slots that all apps share have changed");
    assert_eq!(common::snapshot(&probe.home()), home_before, "the home directory has changed");
    let importable = json!({"here": ["latecomer"], "in_a_child": ["latecomer"]});
    assert_eq!(probe.check(&["importable", "latecomer"]), importable, "it is still there at the next start");
}

#[test]
fn home_and_the_xdg_directories_stay_those_of_the_user() {
    let Some(probe) = Probe::new() else { return };
    let given = [
        ("XDG_CONFIG_HOME", "/somewhere/config"),
        ("XDG_DATA_HOME", "/somewhere/data"),
        ("XDG_STATE_HOME", "/somewhere/state"),
        ("XDG_RUNTIME_DIR", "/somewhere/runtime"),
        ("LANG", "de_DE.UTF-8"),
        ("TMPDIR", "/tmp"),
        ("MY_APP_SETTING", "a=b c"),
    ];
    let environ = found(probe.command(&["surroundings"]).envs(given).finish())["environ"].clone();
    assert_eq!(environ["HOME"], probe.home().to_str().unwrap());
    for (name, value) in given {
        assert_eq!(environ[name], value, "{name}");
    }
    let without = found(probe.command(&["surroundings"]).env_remove("HOME").finish())["environ"].clone();
    assert_eq!(without["HOME"], Value::Null, "what the user has not set stays unset");
}

#[test]
fn python_variables_and_packages_of_the_user_do_not_leak_in() {
    let Some(probe) = Probe::new() else { return };
    let version =
        probe.check(&["surroundings"])["executable"].as_str().unwrap().rsplit("python").next().unwrap().to_owned();
    let local = format!("home/.local/lib/python{version}/site-packages/from_home.py");
    common::write_files(&probe.scratch, &[("path/from_path.py", ""), ("here/from_here.py", ""), (&local, "")]);
    let mut command = probe.command(&["importable", "from_path", "from_home", "from_here", "rich"]);
    command.env("PYTHONPATH", probe.scratch.join("path")).env("PYTHONHOME", "/nowhere");
    command.env("PYTHONSTARTUP", "/nowhere.py").env("PYTHONUSERBASE", probe.scratch.join("home/.local"));
    let seen = found(command.current_dir(probe.scratch.join("here")).finish());
    assert_eq!(seen["here"], json!(["rich"]));
    // `python -c` looks into the current directory itself; that is Python's own rule, not a leak.
    assert_eq!(seen["in_a_child"], json!(["from_here", "rich"]));
    assert_eq!(probe.check(&["surroundings"])["user_site"], false);
}

#[test]
fn an_entry_point_exits_as_its_result_says() {
    let Some(probe) = Probe::new() else { return };
    probe.command(&["result", "none"]).finish().exits(0).stays_quiet().prints_nothing();
    probe.command(&["result", "int"]).finish().exits(7).stays_quiet().prints_nothing();
    probe.command(&["result", "str"]).finish().exits(1).says("no such thing").prints_nothing();
    probe.command(&["result", "object"]).finish().exits(0).stays_quiet().prints_nothing();
}

#[test]
fn starts_at_the_same_time_share_one_extraction() {
    let Some(probe) = Probe::new() else { return };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| probe.check(&["sqlite"]));
        }
    });
    assert_eq!(common::slots(&probe.cache()).len(), 3);
    common::env_of(&probe.cache());
    for kind in ["slots", "envs"] {
        let left = fs::read_dir(probe.cache().join("v1").join(kind)).unwrap().flatten().map(|entry| entry.file_name());
        let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with(".tmp")).collect();
        assert!(left.is_empty(), "{left:?} was left in {kind}");
    }
}
