//! The example, packed once and started in the ways that its receiver may start it.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Finish as _, Finished, Scratch};

/// `env -i HOME=... PROGRAM a "b c" --exit 42`: nothing else in the environment, no PATH.
fn greet(program: &Path, home: &Path) -> Finished {
    Command::new(program).args(["a", "b c", "--exit", "42"]).env_clear().env("HOME", home).finish()
}

/// The table, then the arguments unchanged, the code as told, and nothing on stderr.
#[track_caller]
fn is_the_greeting(finished: Finished) {
    let finished = finished.exits(42).stays_quiet().prints("Hello from hello-cli.").prints("1.0.0");
    assert!(finished.stdout().ends_with("\na\nb c\n"), "the arguments were expected at the end of {finished}");
}

#[test]
fn first_and_second_start_do_the_same_without_python_on_path() {
    let Some(hello) = common::hello() else { return };
    let scratch = Scratch::new();
    let home = scratch.dir("home");
    let cold = greet(&hello, &home);
    let cached = common::slots(&home.join(".cache/pspf"));
    let warm = greet(&hello, &home);
    assert_eq!(cold.stdout(), warm.stdout());
    is_the_greeting(cold);
    is_the_greeting(warm);
    assert_eq!(cached.len(), 3, "runtime, dependencies and application are three slots: {cached:?}");
    assert_eq!(cached, common::slots(&home.join(".cache/pspf")), "the second start extracted something");
}

#[test]
fn the_home_directory_holds_nothing_but_the_cache_afterwards() {
    let Some(hello) = common::hello() else { return };
    let scratch = Scratch::new();
    let home = scratch.dir("home");
    is_the_greeting(greet(&hello, &home));
    let names = |path: &Path| -> Vec<_> { fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name()).collect() };
    assert_eq!(names(&home), [".cache"]);
    assert_eq!(names(&home.join(".cache")), ["pspf"]);
}

#[test]
fn a_path_with_spaces_and_other_letters_is_like_any_other() {
    let Some(hello) = common::hello() else { return };
    let scratch = Scratch::new();
    let place = scratch.dir("two words; $(touch x) {workenv} übung");
    let copy = place.join("my app.psp");
    common::copy_package(&hello, &copy);
    let home = place.join("home of someone");
    fs::create_dir(&home).unwrap();
    is_the_greeting(greet(&copy, &home));
    is_the_greeting(greet(&copy, &home));
}

#[test]
fn a_symlink_starts_the_app_and_gives_it_the_name_that_was_typed() {
    let Some(hello) = common::hello() else { return };
    let scratch = Scratch::new();
    let link = scratch.join("greet");
    symlink(&hello, &link).unwrap();
    is_the_greeting(greet(&link, &scratch.dir("home")));

    let mut typed = Command::new("./greet");
    let report = typed.arg("--json").current_dir(&*scratch).env_clear().env("HOME", scratch.join("home")).finish();
    let environ = &report.json()["environ"];
    assert_eq!(environ["PSPF_ARGV0"], "./greet");
    assert_eq!(environ["FLAVOR_ORIGINAL_COMMAND"], "./greet");
    assert_eq!(environ["FLAVOR_COMMAND_NAME"], "greet");
    report.exits(0).stays_quiet();
}

#[test]
fn a_start_by_way_of_path_is_found_too() {
    let Some(hello) = common::hello() else { return };
    let scratch = Scratch::new();
    symlink(&hello, scratch.dir("bin").join("greet")).unwrap();
    let mut typed = Command::new("greet");
    typed.args(["a", "b c", "--exit", "42"]).env_clear();
    typed.env("PATH", scratch.join("bin")).env("HOME", scratch.dir("home"));
    is_the_greeting(typed.finish());
}

#[test]
fn every_byte_of_the_arguments_reaches_the_app() {
    let Some(hello) = common::hello() else { return };
    let scratch = Scratch::new();
    let args = [
        b"".as_slice(),
        b" ",
        b"--help",
        b"--version",
        b"-",
        b"--",
        b"*.psp $HOME `id` \"'\\",
        b"{workenv} {version} {slot:0}",
        b"line\nbreak",
        "größe 包".as_bytes(),
        b"\xff\xfe not text",
    ];
    let mut start = Command::new(&hello);
    start.env_clear().env("HOME", scratch.dir("home")).arg("--").args(args.map(OsStr::from_bytes));
    let finished = start.finish().exits(0).stays_quiet();
    let mut expected = args.join(&b'\n');
    expected.push(b'\n');
    assert!(finished.stdout_bytes().ends_with(&expected), "the arguments were expected at the end of {finished}");
}

#[test]
fn the_app_starts_in_the_directory_of_the_user() {
    let Some(hello) = common::hello() else { return };
    let scratch = Scratch::new();
    let mut start = Command::new(&hello);
    start.arg("--json").env_clear().env("HOME", scratch.dir("home")).current_dir(scratch.dir("here"));
    let report = start.finish().exits(0).json();
    assert_eq!(report["cwd"], scratch.join("here").canonicalize().unwrap().to_str().unwrap());
}

#[test]
fn without_home_the_cache_is_private_and_the_app_starts() {
    let Some(hello) = common::hello() else { return };
    let uid = rustix::process::geteuid().as_raw();
    let places = [PathBuf::from(format!("/var/tmp/pspf-{uid}")), PathBuf::from(format!("/tmp/pspf-{uid}"))];
    let before = places.clone().map(|place| place.exists());
    for _ in 0..2 {
        let mut start = Command::new(&hello);
        is_the_greeting(start.args(["a", "b c", "--exit", "42"]).env_clear().finish());
    }
    for (place, before) in places.iter().zip(before) {
        if place.exists() {
            let mode = fs::metadata(place).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{} is for its owner alone", place.display());
        }
        if place.exists() && !before {
            Command::new("chmod").args(["-R", "u+w"]).arg(place).finish();
            fs::remove_dir_all(place).unwrap();
        }
    }
}

#[test]
fn the_cache_goes_where_the_variables_say() {
    let Some(hello) = common::hello() else { return };
    let scratch = Scratch::new();
    let home = scratch.dir("home");
    for (variable, expected) in [("PSPF_CACHE_DIR", "ours"), ("XDG_CACHE_HOME", "theirs/pspf")] {
        let value = scratch.dir(expected.split('/').next().unwrap());
        let mut start = Command::new(&hello);
        start.env_clear().env("HOME", &home).env(variable, value).finish().exits(0).stays_quiet();
        assert_eq!(common::slots(&scratch.join(expected)).len(), 3, "{variable}");
    }
    assert!(fs::read_dir(&home).unwrap().next().is_none(), "nothing belongs into HOME then");
}

#[test]
fn another_user_who_may_only_read_the_file_can_run_it() {
    let Some(hello) = common::hello() else { return };
    let Some(()) = common::require_root() else { return };
    const STRANGER: u32 = 54_321;
    let scratch = Scratch::new();
    let copy = scratch.join("hello.psp");
    common::copy_package(&hello, &copy);
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    let home = scratch.dir("home");
    chown(&home, Some(STRANGER), Some(STRANGER)).unwrap();
    for _ in 0..2 {
        let mut start = Command::new(&copy);
        start.args(["a", "b c", "--exit", "42"]).env_clear().env("HOME", &home).uid(STRANGER).gid(STRANGER);
        is_the_greeting(start.current_dir("/").finish());
    }
}

/// A place without Python in the strictest sense: a root directory that holds the C library and the package.
#[test]
fn a_root_directory_with_only_the_c_library_is_enough() {
    let Some(hello) = common::hello() else { return };
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    common::copy_package(&hello, &root.join("hello.psp"));
    fs::create_dir_all(root.join("home")).unwrap();
    common::copy_c_library(&root);
    for _ in 0..2 {
        let mut start = common::in_root(&root, "/hello.psp");
        start.args(["a", "b c", "--exit", "42"]).env_clear().env("HOME", "/home");
        is_the_greeting(start.finish());
    }
}

#[test]
fn packer_run_starts_the_app_with_its_arguments_and_exit_code() {
    let Some(hello) = common::hello() else { return };
    let scratch = Scratch::new();
    let mut run = common::packer();
    run.arg("run").arg(&hello).args(["a", "b c", "--exit", "42"]).env("PSPF_CACHE_DIR", scratch.dir("cache"));
    is_the_greeting(run.finish());
}

#[test]
fn pack_with_run_makes_the_package_and_starts_it() {
    if common::hello().is_none() {
        return; // There is no interpreter; that test has said so.
    }
    let _heavy = common::heavy();
    let scratch = Scratch::new();
    let project = scratch.join("project");
    common::copy_tree(&common::source_of("hello-cli"), &project);
    let dist = scratch.join("dist");
    // The output directory does not exist yet, as in a fresh clone.
    let mut pack = common::pack(&project, &dist.join(""));
    pack.env("PSPF_CACHE_DIR", scratch.dir("cache")).args(["--run", "--", "a", "b c", "--exit", "42"]);
    let finished = pack.finish().exits(42).prints("Hello from hello-cli.");
    assert!(finished.stdout().ends_with("\na\nb c\n"), "the app's own output was expected last in {finished}");
    is_the_greeting(greet(&dist.join("hello-cli-1.0.0.psp"), &scratch.dir("home")));
}

#[test]
fn without_output_the_package_lands_in_the_current_directory() {
    if common::hello().is_none() {
        return;
    }
    let _heavy = common::heavy();
    let scratch = Scratch::new();
    let project = scratch.join("project");
    common::copy_tree(&common::source_of("hello-cli"), &project);
    let mut pack = common::packer();
    pack.arg("pack").arg("--manifest").arg(project.join("pyproject.toml")).args(["--key-seed", "anything", "--quiet"]);
    pack.current_dir(scratch.dir("here")).finish().exits(0);
    assert!(scratch.join("here/hello-cli-1.0.0.psp").is_file());
}

#[test]
fn the_package_is_verified_and_inspected_in_words_and_in_json() {
    let Some(hello) = common::hello() else { return };
    common::packer().arg("verify").arg(&hello).finish().exits(0).stays_quiet();
    common::packer().arg("verify").arg(&hello).arg("--json").finish().exits(0).stays_quiet().json();
    let words = common::packer().arg("inspect").arg(&hello).finish().exits(0).stays_quiet();
    let json = common::packer().arg("inspect").arg(&hello).arg("--json").finish().exits(0).stays_quiet();
    for slot in ["python-runtime", "python-environment", "application-code"] {
        assert!(json.json().to_string().contains(slot), "{slot} was expected in {json}");
        assert!(words.stdout().contains(slot), "{slot} was expected in {words}");
    }
}

#[test]
fn slots_are_extracted_by_name_by_number_and_all_together() {
    let Some(hello) = common::hello() else { return };
    let scratch = Scratch::new();
    let by_name = scratch.join("by name");
    let by_number = scratch.join("by-number");
    let extract = |slot: &str, to: &Path| common::packer().arg("extract").arg(&hello).arg(slot).arg(to).finish();
    extract("application-code", &by_name).exits(0);
    extract("2", &by_number).exits(0);
    let files = |directory: &Path| -> Vec<PathBuf> { common::snapshot(directory).into_keys().collect() };
    assert_eq!(files(&by_name), files(&by_number));
    assert!(files(&by_name).iter().any(|path| path.ends_with("hello_cli/cli.py")), "{:?}", files(&by_name));

    let all = scratch.join("all");
    common::packer().arg("extract-all").arg(&hello).arg(&all).finish().exits(0);
    assert!(files(&all).len() > files(&by_name).len());
}
