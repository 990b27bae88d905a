//! `packer workenv`: what is there, whether it is whole, and how it goes away while packages start and run.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use common::{App, Finish as _, Finished, Versions, Waiting};

const FILES: usize = 4;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Versions that were all started once.
fn started(count: usize) -> Versions {
    let versions = Versions::new(count, FILES);
    for version in 1..=count {
        starts(&versions, version);
    }
    versions
}

#[track_caller]
fn starts(versions: &Versions, version: usize) {
    let started = versions.start(version).finish().exits(0).stays_quiet();
    assert_eq!(started.stdout(), Versions::output(version, FILES));
}

/// Workenv and package, as `packer workenv list` has them.
fn listed(versions: &Versions) -> serde_json::Value {
    versions.workenv(&["list", "--json"]).exits(0).stays_quiet().json()
}

/// The name of a version's workenv.
#[track_caller]
fn env_of(versions: &Versions, version: usize) -> String {
    let list = listed(versions);
    let package = format!("app {version}.0");
    let env = list["workenvs"].as_array().unwrap().iter().find(|env| env["package"] == package);
    env.unwrap_or_else(|| panic!("no workenv of {package} in {list}"))["name"].as_str().unwrap().to_owned()
}

fn seal_of(versions: &Versions, version: usize) -> PathBuf {
    versions.cache().join("v1/envs").join(env_of(versions, version)).join(".seal")
}

fn unused_for(seal: &Path, time: Duration) {
    File::options().write(true).open(seal).unwrap().set_modified(SystemTime::now() - time).unwrap();
}

fn names(report: &Finished, what: &str) -> Vec<String> {
    let report = report.json();
    let names = report[what].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned());
    names.collect()
}

/// The slot in which a file of this name is.
fn slot_with(cache: &Path, file: &str) -> PathBuf {
    let slots = common::slots(cache).into_iter().map(|slot| cache.join("v1/slots").join(slot));
    slots.into_iter().find(|slot| slot.join("content").join(file).exists()).expect("a slot")
}

#[test]
fn list_and_info_say_what_belongs_to_which_package() {
    let versions = started(2);
    let list = listed(&versions);
    let (envs, slots) = (list["workenvs"].as_array().unwrap(), list["slots"].as_array().unwrap());
    assert_eq!((envs.len(), slots.len()), (2, 3), "{list}");
    for env in envs {
        assert_eq!((&env["in_use"], &env["sealed"]), (&false.into(), &true.into()), "{list}");
        assert!(env["bytes"].as_u64().unwrap() > 0);
        assert_eq!(env["slots"].as_array().unwrap().len(), 2, "{list}");
    }
    let shared = slot_with(&versions.cache(), "0");
    let shared = slots.iter().find(|slot| slot["path"] == shared.to_str().unwrap()).expect("the shared slot");
    assert_eq!(shared["workenvs"].as_array().unwrap().len(), 2);
    assert!(shared["bytes"].as_u64().unwrap() >= FILES as u64 * 10_000);

    let text = versions.workenv(&["list"]).exits(0).stays_quiet();
    let text = text.prints("2 workenvs, ").prints("3 slots, ").prints("app 1.0\n").prints("app 2.0\n");
    text.prints("today").prints("  2 workenvs\n");
    let name = env_of(&versions, 1);
    for typed in [&name, &name[..8], "app 1.0"] {
        let info = versions.workenv(&["info", typed]).exits(0).stays_quiet();
        info.prints(&format!("{name}: app 1.0\n")).prints("shared with 1 more").prints("  used  today\n");
    }
    let both = versions.workenv(&["info", "app", "--json"]).exits(0).json();
    assert_eq!(both.as_array().unwrap().len(), 2, "{both}");
    versions.workenv(&["info", "nothing"]).exits(105).says("there is no such workenv").says("packer workenv list");
}

#[test]
fn a_long_name_is_cut_off_and_does_not_break_the_seal() {
    use pspf_core::build::Builder;
    use pspf_core::json::Value;
    use pspf_core::sign::{KeyOrigin, SecretKey};

    let launcher = packer::launchers::built_in().expect("one for this platform");
    // Each three bytes long, so that the cut falls between two of them, or into one.
    for offset in ["", "a", "ab"] {
        let name = format!("{offset}{}", "\u{20ac}".repeat(40));
        let document = Value::object([
            ("package", Value::object([("name", name.clone().into()), ("version", "1".into())])),
            ("execution", Value::object([("command", "/bin/echo yes".into())])),
        ]);
        let head = Builder::new(document, &launcher).unwrap();
        let head = head.sign(&SecretKey::from_seed_text("doc"), KeyOrigin::Seed).unwrap();
        let mut bytes = Vec::new();
        head.write(&launcher, &[], &mut bytes).unwrap();
        let scratch = common::Scratch::new();
        let (package, cache) = (scratch.join("app.psp"), scratch.join("cache"));
        fs::write(scratch.join("bytes"), bytes).unwrap();
        common::copy_package(&scratch.join("bytes"), &package);
        fs::set_permissions(&package, fs::Permissions::from_mode(0o755)).unwrap();

        let start = || Command::new(&package).env("PSPF_CACHE_DIR", &cache).finish().exits(0).prints("yes\n");
        start();
        let seal = || fs::metadata(common::env_of(&cache).join(".seal")).unwrap();
        let before = (seal().ino(), seal().modified().unwrap());
        start();
        assert_eq!((seal().ino(), seal().modified().unwrap()), before, "it was made again");
        let mut list = common::packer();
        let list = list.args(["workenv", "list", "--json"]).env("PSPF_CACHE_DIR", &cache).finish().exits(0).json();
        let shown = list["workenvs"][0]["package"].as_str().unwrap();
        assert!(name.starts_with(shown) && shown.len() > 60 && shown.len() < name.len(), "{list}");
    }
}

#[test]
fn gc_removes_what_nobody_used_for_a_week_and_the_slots_that_nobody_needs_then() {
    let versions = started(2);
    let gone = env_of(&versions, 1);
    unused_for(&seal_of(&versions, 1), 9 * DAY);
    unused_for(&seal_of(&versions, 2), 6 * DAY);
    let report = versions.workenv(&["gc", "--json"]).exits(0).stays_quiet();
    assert_eq!(names(&report, "workenvs"), [gone.as_str()]);
    assert_eq!(names(&report, "slots").len(), 1);
    assert_eq!(report.json()["kept"][0]["reason"], "recent");
    assert!(report.json()["bytes"].as_u64().unwrap() > 0);
    assert_eq!((common::envs(&versions.cache()).len(), common::slots(&versions.cache()).len()), (1, 2));
    assert!(slot_with(&versions.cache(), "0").exists(), "the other version has it too");
    nothing_is_left_over(&versions);
    for version in [2, 1] {
        starts(&versions, version);
    }
}

/// Nothing but what is published, and the lock of who collects.
#[track_caller]
fn nothing_is_left_over(versions: &Versions) {
    for (place, published) in [("envs", common::envs(&versions.cache())), ("slots", common::slots(&versions.cache()))] {
        let entries = fs::read_dir(versions.cache().join("v1").join(place)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let left: Vec<_> = names
            .filter(|name| !published.contains(name.strip_prefix(".lock.").unwrap_or(name)) && name != ".lock.gc")
            .collect();
        assert!(left.is_empty(), "left in {place}: {left:?}");
    }
}

#[test]
fn a_start_says_that_it_used_its_workenv_at_most_once_a_day() {
    let versions = started(1);
    let seal = seal_of(&versions, 1);
    let modified = || fs::metadata(&seal).unwrap().modified().unwrap();
    for (before, is_told) in [(8 * DAY, true), (DAY + DAY / 24, true), (DAY - DAY / 24, false)] {
        unused_for(&seal, before);
        let marked = modified();
        starts(&versions, 1);
        assert_eq!(modified() != marked, is_told, "{before:?}");
    }
    unused_for(&seal, 8 * DAY);
    let mut run = versions.in_cache(Path::new(common::packer().get_program()));
    run.arg("run").arg(versions.package(1)).finish().exits(0);
    assert!(modified() > SystemTime::now() - DAY);
    unused_for(&seal, 100 * DAY);
    starts(&versions, 1);
    assert!(names(&versions.workenv(&["gc", "--json"]).exits(0), "workenvs").is_empty());
}

#[test]
fn a_running_app_keeps_its_workenv_whatever_is_asked_for() {
    let versions = started(2);
    let running = versions.waiting(1);
    let name = env_of(&versions, 1);
    unused_for(&seal_of(&versions, 1), 100 * DAY);
    let list = listed(&versions);
    let env = list["workenvs"].as_array().unwrap().iter().find(|env| env["name"] == *name).unwrap();
    assert_eq!(env["in_use"], true);
    versions.workenv(&["remove", &name]).exits(106).says("in use").says("app 1.0").prints("removed 0 workenvs");
    let report = versions.workenv(&["gc", "--older-than", "0", "--max-size", "0", "--json"]).exits(0);
    assert_eq!(report.json()["kept"][0]["name"], *name);
    assert_eq!(report.json()["kept"][0]["reason"], "in-use");
    assert_eq!(names(&report, "workenvs").len(), 1, "{report}");
    versions.workenv(&["clean"]).exits(0).prints("removed 0 workenvs and 0 slots").prints("in use");
    assert_eq!(running.end().exits(0).stdout(), Versions::output(1, FILES));
    versions.workenv(&["clean"]).exits(0).prints("removed 1 workenv and 2 slots");
    assert!(common::envs(&versions.cache()).is_empty() && common::slots(&versions.cache()).is_empty());
    nothing_is_left_over(&versions);
}

#[test]
fn a_daemon_that_has_closed_the_lock_counts_as_running() {
    let versions = started(1);
    let running = Waiting::new(&mut daemon_of(&versions));
    versions.workenv(&["clean"]).exits(0).prints("removed 0 workenvs").prints("in use");
    running.end().exits(0);
    versions.workenv(&["clean"]).exits(0).prints("removed 1 workenv");
}

/// What is left of an app that has closed every descriptor but the first three.
fn daemon_of(versions: &Versions) -> Command {
    let mut command = Command::new("/bin/sh");
    let env = versions.cache().join("v1/envs").join(env_of(versions, 1));
    command.args(["-c", "echo waiting; cat > /dev/null"]).env("FLAVOR_WORKENV", env);
    command
}

#[test]
fn mending_a_workenv_leaves_it_in_use_by_the_app_that_ran_in_it_before() {
    let versions = started(1);
    let running = versions.waiting(1);
    let name = env_of(&versions, 1);
    fs::remove_file(versions.cache().join("v1/envs").join(&name).join("own")).unwrap();
    starts(&versions, 1);
    // Its lock is on the seal before this one; its environment names the workenv all the same.
    versions.workenv(&["clean"]).exits(0).prints("in use");
    assert_eq!(running.end().exits(0).stdout(), Versions::output(1, FILES));
}

#[test]
fn max_size_takes_those_first_that_were_unused_the_longest() {
    let versions = started(3);
    for (version, days) in [(1, 2), (2, 4), (3, 3)] {
        unused_for(&seal_of(&versions, version), days * DAY);
    }
    let list = listed(&versions);
    let sum =
        |what: &str| list[what].as_array().unwrap().iter().map(|entry| entry["bytes"].as_u64().unwrap()).sum::<u64>();
    let total = sum("workenvs") + sum("slots");
    let limit = |bytes: u64| versions.workenv(&["gc", "--max-size", &bytes.to_string(), "--json"]).exits(0);
    assert!(names(&limit(total), "workenvs").is_empty(), "all of it fits");
    let oldest = env_of(&versions, 2);
    let report = limit(total - 1);
    assert_eq!(names(&report, "workenvs"), [oldest]);
    assert_eq!(names(&report, "slots").len(), 1, "the shared one stays");
    let (next, last) = (env_of(&versions, 3), env_of(&versions, 1));
    assert_eq!(names(&limit(0), "workenvs").len(), 2);
    assert!(!common::envs(&versions.cache()).contains(&next) && !common::envs(&versions.cache()).contains(&last));
    assert!(common::slots(&versions.cache()).is_empty());
}

#[test]
fn a_dry_run_tells_what_would_go_and_changes_nothing() {
    let versions = started(2);
    versions.workenv(&["clean", "--dry-run"]).exits(0).prints("would remove 2 workenvs and 3 slots");
    let before = common::snapshot(&versions.cache());
    let would = versions.workenv(&["clean", "--dry-run", "--json"]).exits(0);
    assert_eq!(common::snapshot(&versions.cache()), before);
    let really = versions.workenv(&["clean", "--json"]).exits(0);
    assert_eq!(names(&would, "workenvs"), names(&really, "workenvs"));
    assert_eq!(would.json()["bytes"], really.json()["bytes"]);
}

#[test]
fn remove_takes_names_beginnings_and_packages_and_leaves_the_others() {
    let versions = started(3);
    let name = env_of(&versions, 3);
    versions.workenv(&["remove", &name[..10], "app 1.0"]).exits(0).prints("removed 2 workenvs and 2 slots");
    assert_eq!(common::envs(&versions.cache()), [env_of(&versions, 2)].into());
    starts(&versions, 2);
    versions.workenv(&["remove", "app"]).exits(0).prints("removed 1 workenv and 2 slots");
    versions.workenv(&["remove", "app"]).exits(105).says("there is no such workenv");
}

#[test]
fn leftovers_of_the_dead_go_and_those_of_the_living_stay() {
    let versions = started(1);
    let slots = versions.cache().join("v1/slots");
    let (dead, alive) = ("d".repeat(64), "a".repeat(64));
    for owner in [&dead, &alive] {
        common::write_files(
            &slots,
            &[(&format!(".tmp.{owner}.1.0/content/file"), "x"), (&format!(".lock.{owner}"), "")],
        );
        fs::create_dir(slots.join(format!(".trash.{owner}.1.0"))).unwrap();
    }
    common::write_files(&slots, &[(".trash.gc.something.0/file", "x")]);
    let lock = File::open(slots.join(format!(".lock.{alive}"))).unwrap();
    lock.lock().unwrap();
    let report = versions.workenv(&["gc", "--json"]).exits(0);
    assert_eq!(names(&report, "leftovers").len(), 3, "{report}");
    let left =
        || fs::read_dir(&slots).unwrap().filter(|e| e.as_ref().unwrap().file_name().to_str().unwrap().starts_with('.'));
    let of = |owner: &str| left().filter(|e| e.as_ref().unwrap().file_name().to_str().unwrap().contains(owner)).count();
    assert_eq!((of(&dead), of(&alive), of("something")), (0, 3, 0));
    drop(lock);
    versions.workenv(&["gc"]).exits(0).prints("2 leftovers of starts that were killed");
    assert_eq!(of(&alive), 0);
    nothing_is_left_over(&versions);
}

#[test]
fn nothing_is_removed_while_a_package_is_being_extracted() {
    let versions = started(1);
    let lock = File::open(versions.cache().join("v1/lock")).unwrap();
    lock.lock_shared().unwrap();
    for command in ["gc", "clean"] {
        versions.workenv(&[command]).exits(106).prints_nothing().says("being extracted").says("  try:      try again");
    }
    assert_eq!(common::envs(&versions.cache()).len(), 1);
    // A first start shares the lock, and a later one does not look at it.
    starts(&versions, 1);
    drop(lock);
    versions.workenv(&["clean"]).exits(0);
    let lock = File::open(versions.cache().join("v1/lock")).unwrap();
    lock.lock_shared().unwrap();
    starts(&versions, 1);
    drop(lock);
    let lock = File::open(versions.cache().join("v1/lock")).unwrap();
    lock.lock().unwrap();
    starts(&versions, 1);
}

#[test]
fn a_first_start_waits_for_who_cleans_up() {
    let versions = Versions::new(1, FILES);
    fs::create_dir_all(versions.cache().join("v1")).unwrap();
    fs::set_permissions(versions.cache().join("v1"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(versions.cache(), fs::Permissions::from_mode(0o700)).unwrap();
    let lock = File::create(versions.cache().join("v1/lock")).unwrap();
    lock.lock().unwrap();
    let mut waiting = versions.start(1).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let is_blocked = |pid: u32| {
        let locks = fs::read_to_string("/proc/locks").unwrap();
        let of = pid.to_string();
        locks.lines().any(|line| line.contains("-> FLOCK") && line.split_whitespace().any(|word| word == of))
    };
    while !is_blocked(waiting.id()) {
        assert!(waiting.try_wait().unwrap().is_none(), "it did not wait");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(common::slots(&versions.cache()).is_empty() && common::envs(&versions.cache()).is_empty());
    drop(lock);
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), Versions::output(1, FILES));
}

#[test]
fn a_start_that_is_asked_for_a_full_check_heals_what_was_edited_without_a_trace() {
    let versions = started(1);
    let file = slot_with(&versions.cache(), "0").join("content/2");
    let whole = fs::read(&file).unwrap();
    for (name, value, heals) in [
        ("PSPF_VERIFY", "full", true),
        ("FLAVOR_VALIDATION", "strict", true),
        ("FLAVOR_VALIDATION", "none", false),
        ("PSPF_VERIFY", "none", false),
    ] {
        common::edit_without_a_trace(&file);
        let finished = versions.start(1).env(name, value).stdin(Stdio::null()).finish();
        assert_eq!(finished.exits(0).stdout(), Versions::output(1, FILES));
        assert_eq!(fs::read(&file).unwrap() == whole, heals, "{name}={value}");
        versions.start(1).env("PSPF_VERIFY", "full").stdin(Stdio::null()).finish().exits(0);
        assert_eq!(fs::read(&file).unwrap(), whole);
    }
}

#[test]
fn a_start_that_heals_the_slot_of_its_program_keeps_what_the_app_wrote_and_never_seals_a_private_program_that_changed()
{
    let private =
        |slot: &str| format!("[[setup_commands]]\ntype = \"write_file\"\npath = \"{slot}/made\"\ncontent = \"\"\n");
    for (kind, keeps) in [("shared", true), ("private", false)] {
        let mut slots =
            "[[slots]]\nid = \"app\"\nsource = \"app\"\n[[slots]]\nid = \"own\"\nsource = \"own\"\n".to_owned();
        slots += &private("own");
        if kind == "private" {
            slots += &private("app");
        }
        let files = [("app/bin/run", "#!/bin/sh\necho as signed\n"), ("own/settings", "")];
        let app = App::new(&files, &format!("[execution]\ncommand = \"{{workenv}}/app/bin/run\"\n{slots}"));
        let start = || app.start().finish().exits(0).stays_quiet().stdout();
        assert_eq!(start(), "as signed\n");
        let env = common::env_of(&app.cache());
        fs::write(env.join("own/left"), "").unwrap();
        let program = fs::canonicalize(env.join("app/bin/run")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(&program, "#!/bin/sh\necho forged\n").unwrap();
        for _ in 0..2 {
            assert_eq!(start(), "as signed\n", "{kind}");
        }
        assert_eq!(env.join("own/left").exists(), keeps, "{kind}");
    }
}

#[test]
fn verify_finds_what_was_changed_and_repair_brings_it_back_with_the_next_start() {
    let versions = started(2);
    versions.workenv(&["verify"]).exits(0).stays_quiet().prints("2 workenvs and 3 slots: all as they were extracted\n");
    let slot = slot_with(&versions.cache(), "0");
    common::edit_without_a_trace(&slot.join("content/2"));
    let name = slot.file_name().unwrap().to_str().unwrap();
    let found = versions.workenv(&["verify"]).exits(107).prints("1 damaged\n").prints(name).says("--repair");
    assert!(!found.stdout().contains("moved away"));
    let report = versions.workenv(&["verify", "app 1.0", "--json"]).exits(107).json();
    assert_eq!((&report["workenvs"], &report["slots"]), (&1.into(), &2.into()), "{report}");
    assert_eq!(report["damaged"][0]["name"], name);
    assert_eq!(report["damaged"][0]["workenvs"].as_array().unwrap().len(), 2);

    let running = versions.waiting(2);
    versions.workenv(&["verify", "--repair"]).exits(107).prints("in use").says("end the apps");
    assert!(slot.exists());
    running.end().exits(0);
    versions
        .workenv(&["verify", "--repair"])
        .exits(0)
        .stays_quiet()
        .prints("moved away: the next start extracts it again");
    assert!(!slot.exists());
    for version in [1, 2] {
        starts(&versions, version);
    }
    versions.workenv(&["verify"]).exits(0);
}

#[test]
fn verify_names_the_files_that_changed_and_the_next_start_mends_a_workenv() {
    let versions = started(1);
    let slot = slot_with(&versions.cache(), "0");
    fs::remove_file(slot.join("content/3")).unwrap();
    let env = versions.cache().join("v1/envs").join(env_of(&versions, 1));
    fs::remove_file(env.join("own")).unwrap();
    symlink("elsewhere", env.join("own")).unwrap();
    let found =
        versions.workenv(&["verify"]).exits(107).prints("2 damaged\n").prints("\n    3\n").prints("\n    own\n");
    found.prints("the next start mends it");
    versions.workenv(&["verify", "--repair"]).exits(107).says("start the packages");
    starts(&versions, 1);
    versions.workenv(&["verify"]).exits(0);
    fs::write(env.join(".seal"), "").unwrap();
    versions.workenv(&["verify"]).exits(107).prints("it has no seal");
}

#[test]
fn what_a_link_in_a_workenv_leads_to_stays() {
    let versions = started(1);
    let outside = versions.scratch.dir("outside");
    fs::write(outside.join("file"), "mine").unwrap();
    let env = versions.cache().join("v1/envs").join(env_of(&versions, 1));
    symlink(&outside, env.join("link")).unwrap();
    fs::create_dir(env.join("own-data")).unwrap();
    symlink(outside.join("file"), env.join("own-data/link")).unwrap();
    versions.workenv(&["clean"]).exits(0);
    assert!(!env.exists());
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "mine");
}

#[test]
fn directories_that_an_app_has_locked_are_deleted_too() {
    let Some(()) = common::require_root() else { return };
    let versions = started(1);
    let env = versions.cache().join("v1/envs").join(env_of(&versions, 1));
    fs::create_dir_all(env.join("a/b")).unwrap();
    fs::write(env.join("a/b/file"), "x").unwrap();
    for path in ["a/b", "a"] {
        fs::set_permissions(env.join(path), fs::Permissions::from_mode(0o555)).unwrap();
    }
    Command::new("chown").args(["-R", "12345:12345"]).arg(versions.cache()).finish().exits(0);
    let packer = versions.scratch.join("packer");
    common::copy_package(Path::new(common::packer().get_program()), &packer);
    let mut clean = versions.in_cache(&packer);
    clean
        .args(["workenv", "clean"])
        .uid(12345)
        .gid(12345)
        .current_dir("/")
        .finish()
        .exits(0)
        .prints("removed 1 workenv");
    nothing_is_left_over(&versions);
}

#[test]
fn packers_own_build_cache_stays() {
    let app = App::new(&[("app/bin/run", "#!/bin/sh\necho yes\n")], SINGLE);
    app.start().finish().exits(0);
    let build = app.cache().join("build/slots/x");
    common::write_files(&build, &[("facts.json", "{}"), ("stored", "bytes")]);
    let mut clean = common::packer();
    clean.args(["workenv", "clean"]).env("PSPF_CACHE_DIR", app.cache()).finish().exits(0).prints("removed 1 workenv");
    assert!(build.join("stored").exists());
}

const SINGLE: &str = "[execution]\ncommand = \"{workenv}/app/bin/run\"\n[[slots]]\nid = \"app\"\nsource = \"app\"\n";

#[test]
fn times_and_sizes_that_make_no_sense_are_refused() {
    let versions = Versions::new(1, 1);
    for words in [&["gc", "--older-than", "soon"][..], &["gc", "--max-size", "big"], &["remove"], &["info"], &[]] {
        versions.workenv(words).exits(105);
    }
    versions.workenv(&["list"]).exits(0).prints("no workenvs");
    versions.workenv(&["gc"]).exits(0).prints("removed 0 workenvs and 0 slots");
}
