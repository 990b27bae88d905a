//! The store that root fills for every user of a machine or container image (`packer workenv fill`), and the starts over it.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::machine::{ALICE, MALLORY, Machine, ROOT, own, owner, set_mode};
use common::{App, Finish as _, Finished, Mount, on_a_tmpfs};

const ALICES: [(&str, &str); 1] = [("HOME", "/home/alice")];
const MALLORYS: [(&str, &str); 1] = [("HOME", "/home/mallory")];
/// Prints where its slot is and what it finds in it and in the workenv.
const APP: &str = r#"box="$FLAVOR_WORKENV/bin/busybox"
"$box" readlink -f "$FLAVOR_WORKENV/data"
"$box" cat "$FLAVOR_WORKENV/data/text"
test ! -e "$FLAVOR_WORKENV/own/left" || "$box" cat "$FLAVOR_WORKENV/own/left"
"#;

#[test]
fn a_start_of_any_user_links_to_what_root_has_extracted_and_writes_none_of_it() {
    let Some(machine) = machine() else { return };
    fill(&machine).exits(0);
    let system = machine.root.join("var/cache/pspf");
    let before = common::snapshot(&system);
    for (uid, home) in [(ALICE, ALICES), (MALLORY, MALLORYS), (ROOT, [("HOME", "/")])] {
        for _ in 0..2 {
            let started = machine.start(uid, &home).exits(0).stays_quiet();
            started.prints("/var/cache/pspf/v1/slots/").prints("what is shared");
        }
        let slots = machine.root.join(&home[0].1[1..]).join(".cache/pspf/v1/slots");
        for slot in slots_in(&slots) {
            assert!(slot.is_symlink(), "{} is the user's own", slot.display());
        }
        assert_eq!(slots_in(&slots).len(), 2);
    }
    assert_eq!(common::snapshot(&system), before);
}

#[test]
fn what_root_filled_is_readable_by_all_whatever_the_umask_and_has_times_that_images_keep() {
    let Some(machine) = machine() else { return };
    let cache = machine.root.join("var/cache/pspf");
    let filled = |umask: &str| {
        let mut fill = Command::new("sh");
        fill.args(["-c", "umask $1; shift; exec \"$@\"", "sh", umask]).arg(common::packer().get_program());
        fill.args(["workenv", "fill", "--json", "--to"]).arg(&cache).arg(machine.root.join("app.psp")).finish()
    };
    let report = filled("077").exits(0).json();
    assert_eq!((&report[0]["for_everybody"], report[0]["slots"].as_array().unwrap().len()), (&true.into(), 2));
    assert_eq!(report[0]["private"], serde_json::json!(["own"]));
    let entries = common::walk(&cache);
    assert!(entries.iter().any(|(path, _)| path.ends_with("content/deep/er/text")));
    for (path, metadata) in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let expected = match (metadata.is_dir(), name.as_str()) {
            (true, _) => 0o755,
            (_, ".seal") => 0o644,
            (_, name) if name.starts_with(".lock.") => continue,
            (_, "busybox") => 0o555,
            _ => 0o444,
        };
        assert_eq!(metadata.permissions().mode() & 0o7777, expected, "{}", path.display());
        if metadata.is_file() && name != ".seal" {
            assert_eq!(std::os::unix::fs::MetadataExt::mtime_nsec(&metadata), 0, "{}", path.display());
        }
    }
    machine.start(ALICE, &ALICES).exits(0).stays_quiet().prints("/var/cache/pspf/v1/slots/");
    let again = filled("022").exits(0).json();
    assert!(again[0]["slots"].as_array().unwrap().iter().all(|slot| slot["is_new"] == false), "{again}");
    // In another boot as well: nobody but root could write down that it was read.
    let before = common::snapshot(&cache);
    for slot in slots_in(&cache.join("v1/slots")) {
        let seal = fs::read_to_string(slot.join(".seal")).unwrap();
        assert!(seal[..256].ends_with("durable\n"));
    }
    machine.start(ALICE, &ALICES).exits(0).stays_quiet();
    assert_eq!(common::snapshot(&cache), before);
}

#[test]
fn damage_in_the_systems_store_costs_a_user_a_slot_of_his_own_and_nothing_that_the_app_wrote() {
    let Some(machine) = machine() else { return };
    fill(&machine).exits(0);
    machine.start(ALICE, &ALICES).exits(0).prints("what is shared");
    let left = workenv(&machine, "home/alice").join("own/left");
    fs::write(&left, "left by the app\n").unwrap();
    let text = slot(&machine).join("content/text");
    // Same size, and it looks as old: only who reads it can tell.
    let time = fs::metadata(&text).unwrap().modified().unwrap();
    fs::write(&text, "what is forged").unwrap();
    fs::File::options().write(true).open(&text).unwrap().set_modified(time).unwrap();
    let full = [ALICES[0], ("PSPF_VERIFY", "full")];
    let healed = machine.start(ALICE, &full).exits(0).stays_quiet().prints("what is shared").prints("left by the app");
    healed.prints("/home/alice/.cache/pspf/v1/slots/");
    // Another size shows when a new workenv begins to use it.
    fs::write(&text, "longer than it was").unwrap();
    let own = machine.start(MALLORY, &MALLORYS).exits(0).stays_quiet().prints("what is shared");
    own.prints("/home/mallory/.cache/pspf/v1/slots/");
    // Who fills it again mends it.
    fill(&machine).exits(0).prints("there already");
    assert_eq!(fs::read_to_string(&text).unwrap(), "what is shared");
    fs::remove_dir_all(machine.root.join("home/mallory/.cache")).unwrap();
    machine.start(MALLORY, &MALLORYS).exits(0).prints("/var/cache/pspf/v1/slots/");
}

#[test]
fn when_the_systems_store_is_taken_away_starts_extract_their_own() {
    let Some(machine) = machine() else { return };
    fill(&machine).exits(0);
    machine.start(ALICE, &ALICES).exits(0).prints("/var/cache/pspf/v1/slots/");
    fs::write(workenv(&machine, "home/alice").join("own/left"), "left by the app\n").unwrap();
    common::remove(&machine.root.join("var/cache/pspf"));
    let own = machine.start(ALICE, &ALICES).exits(0).stays_quiet().prints("what is shared").prints("left by the app");
    own.prints("/home/alice/.cache/pspf/v1/slots/");
    // And what is there again later is left alone by who has his own.
    fill(&machine).exits(0);
    machine.start(ALICE, &ALICES).exits(0).stays_quiet().prints("/home/alice/.cache/pspf/v1/slots/");
    machine.start(MALLORY, &MALLORYS).exits(0).stays_quiet().prints("/var/cache/pspf/v1/slots/");
}

#[test]
fn a_store_that_somebody_else_than_root_could_change_is_passed_over() {
    let Some(machine) = machine() else { return };
    fill(&machine).exits(0);
    let pspf = machine.root.join("var/cache/pspf");
    let slot = slot(&machine);
    let alone = |what: &str| {
        let started = machine.start(ALICE, &ALICES).exits(0).stays_quiet().prints("what is shared").stdout();
        assert!(started.contains("/home/alice/.cache/pspf/v1/slots/"), "{what}: {started}");
        common::remove(&machine.root.join("home/alice/.cache"));
    };
    for directory in [pspf.clone(), pspf.join("v1"), pspf.join("v1/slots"), slot.clone()] {
        for (uid, mode) in [(MALLORY, 0o755), (ROOT, 0o775), (ROOT, 0o757)] {
            own(&directory, uid);
            set_mode(&directory, mode);
            alone(&format!("{} of user {uid} with mode {mode:o}", directory.display()));
        }
        own(&directory, ROOT);
        set_mode(&directory, 0o755);
    }
    for directory in [pspf.clone(), pspf.join("v1"), pspf.join("v1/slots")] {
        let elsewhere = directory.with_extension("elsewhere");
        fs::rename(&directory, &elsewhere).unwrap();
        symlink(elsewhere.file_name().unwrap(), &directory).unwrap();
        alone(&format!("{} is a link", directory.display()));
        fs::remove_file(&directory).unwrap();
        fs::rename(&elsewhere, &directory).unwrap();
    }
    machine.start(ALICE, &ALICES).exits(0).stays_quiet().prints("/var/cache/pspf/v1/slots/");
    // One that is not there for this user is none.
    set_mode(&slot, 0o700);
    machine.start(ALICE, &ALICES).exits(0).stays_quiet().prints("/home/alice/.cache/pspf/v1/slots/");
}

#[test]
fn whatever_fails_in_a_start_over_the_systems_store_the_next_one_is_right() {
    let (Some(machine), Some(())) = (machine(), common::require_strace()) else { return };
    fill(&machine).exits(0);
    let system = machine.root.join("var/cache/pspf");
    let before = common::snapshot(&system);
    let cache = machine.root.join("home/alice/.cache");
    let strace = |options: &[&str]| {
        let start = machine.starting(ALICE, &ALICES);
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o"]).arg(machine.root.join("log")).args(options);
        strace.arg(start.get_program()).args(start.get_args()).env_clear().env("HOME", "/home/alice").finish()
    };
    for call in ["symlinkat", "readlinkat", "renameat", "unlinkat", "mkdirat", "openat", "fstat", "flock"] {
        let trace = format!("trace={call}");
        common::remove(&cache);
        strace(&["-e", &trace]).exits(0);
        let count = fs::read_to_string(machine.root.join("log")).unwrap().lines().count();
        let step = if count > 12 && !common::is_full() { 4 } else { 1 };
        for fault in ["signal=KILL", "error=EIO"] {
            for nth in (1..=count).step_by(step) {
                common::remove(&cache);
                strace(&["-e", &trace, "-e", &format!("inject={call}:{fault}:when={nth}")]);
                let next = machine.start(ALICE, &ALICES);
                assert_eq!(next.code(), Some(0), "after {fault} at {call} {nth}: {}", next.stderr());
                next.stays_quiet().prints("what is shared");
                let left = common::leftovers(&cache.join("pspf"));
                assert!(left.is_empty(), "after {fault} at {call} {nth}: {left:?}");
            }
        }
    }
    assert_eq!(common::snapshot(&system), before);
}

#[test]
fn where_the_cache_runs_no_programs_the_systems_store_does() {
    let Some(machine) = machine() else { return };
    let cache = machine.dir("srv/cache", ALICE, 0o700);
    let start = machine.starting(ALICE, &[("PSPF_CACHE_DIR", "/srv/cache")]);
    let Some(refused) = on_a_tmpfs(Mount::NoExec, &cache, &start) else { return };
    refused.exits(104).says("noexec");
    fill(&machine).exits(0);
    let started = on_a_tmpfs(Mount::NoExec, &cache, &start).expect("as before").exits(0).stays_quiet();
    started.prints("/var/cache/pspf/v1/slots/").prints("what is shared");
}

#[test]
fn only_who_may_write_there_fills_it_and_a_package_that_was_changed_fills_nothing() {
    let Some(machine) = machine() else { return };
    let package = machine.root.join("app.psp");
    machine.dir("srv/closed", MALLORY, 0o755);
    let closed = machine.root.join("srv/closed/pspf");
    let as_alice = |to: &Path| {
        let mut fill = Command::new("setpriv");
        let [uid, gid] = ["reuid", "regid"].map(|what| format!("--{what}={ALICE}"));
        fill.args([uid, gid, "--clear-groups".into()]).arg(common::packer().get_program());
        fill.args(["workenv", "fill", "--to"]).arg(to).arg(&package).finish()
    };
    as_alice(&closed).exits(106).prints_nothing().says("srv/closed").says("do it as root: sudo packer workenv fill");
    assert!(!closed.exists());
    let own = machine.dir("srv/alices", ALICE, 0o755).join("pspf");
    as_alice(&own).exits(0).prints("note: the directory is not root's");
    // A directory that others can write to is not one that a launcher would take.
    let open = machine.dir("srv/open", ROOT, 0o777);
    let refused = fill_to(&open, &package).exits(109).prints_nothing().says("srv/open").says("0777");
    refused.says("chmod 0755");
    assert_eq!(fs::read_dir(&open).unwrap().count(), 0);
    let mut bytes = fs::read(&package).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&package, bytes).unwrap();
    fill_to(&machine.root.join("var/cache/pspf"), &package).exits(107).prints_nothing();
    assert!(!machine.root.join("var/cache/pspf").exists());
}

#[test]
fn packers_own_commands_know_which_slots_are_the_systems() {
    if common::require_root().is_none() {
        return;
    }
    let app = App::new(
        &[("bin/run", "#!/bin/sh\necho started\n"), ("bin/text", "")],
        "[execution]\ncommand = \"{workenv}/bin/run\"\n[[slots]]\nid = \"bin\"\nsource = \"bin\"\n",
    );
    const SCRIPT: &str = r#"
        mount -t tmpfs -o mode=755 tmpfs /var/cache || exit 71
        packer=$1 app=$2
        "$packer" workenv fill --json "$app" > filled || exit 72
        "$app" && "$packer" workenv list --json > list && "$packer" workenv verify > whole || exit 73
        echo damage >> "$(readlink -f cache/v1/slots/*/content/text)"
        "$packer" workenv verify > damaged; test $? = 107 || exit 74
        "$packer" workenv verify --repair > repaired || exit 75
        "$app" && "$packer" workenv list --json > own || exit 76
        "$packer" workenv clean > cleaned && ls -A cache/v1/slots cache/v1/envs && ls -A /var/cache/pspf/v1/slots > kept"#;
    let scratch = common::Scratch::new();
    let mut run = Command::new("unshare");
    run.args(["--mount", "sh", "-c", SCRIPT, "sh"]).arg(common::packer().get_program()).arg(app.package());
    let run = run.current_dir(&*scratch).env("PSPF_CACHE_DIR", scratch.join("cache")).finish().exits(0);
    assert!(run.stdout().starts_with("started\nstarted\n"), "{}", run.stdout());
    let read = |name: &str| fs::read_to_string(scratch.join(name)).unwrap();
    let slots = |name: &str| serde_json::from_str::<serde_json::Value>(&read(name)).unwrap()["slots"][0].clone();
    let name = serde_json::from_str::<serde_json::Value>(&read("filled")).unwrap()[0]["slots"][0]["name"].clone();
    assert_eq!((&slots("list")["name"], &slots("list")["is_systems"]), (&name, &true.into()));
    assert_eq!(slots("list")["workenvs"].as_array().unwrap().len(), 1);
    assert!(read("whole").contains("1 workenv and 1 slot: all as they were extracted"));
    assert!(read("damaged").contains("its files are not those that were extracted\n    text"), "{}", read("damaged"));
    assert!(read("repaired").contains("moved away: the next start extracts it again"));
    assert_eq!((&slots("own")["name"], &slots("own")["is_systems"]), (&name, &false.into()));
    assert!(read("cleaned").contains("removed 1 workenv and 1 slot"), "{}", read("cleaned"));
    assert!(read("kept").contains(name.as_str().unwrap()), "what root filled is not a user's to remove");
}

/// A package with slots that are shared and one of each workenv's own.
fn machine() -> Option<Machine> {
    let files = [("data/run", APP), ("data/text", "what is shared"), ("data/deep/er/text", ""), ("own/settings", "")];
    let slots = "[[slots]]\nid = \"data\"\nsource = \"data\"\n[[slots]]\nid = \"own\"\nsource = \"own\"\n\
                 [workenv]\ndirectories = [{ path = \"own/made\" }]\n";
    let machine = Machine::with(&files, "sh {workenv}/data/run", slots)?;
    machine.dir("var/cache", ROOT, 0o755);
    machine.dir("home/mallory", MALLORY, 0o755);
    Some(machine)
}

fn fill(machine: &Machine) -> Finished {
    fill_to(&machine.root.join("var/cache/pspf"), &machine.root.join("app.psp"))
}

fn fill_to(cache: &Path, package: &Path) -> Finished {
    common::packer().args(["workenv", "fill", "--to"]).arg(cache).arg(package).finish()
}

/// The slot in the system's store that has the text.
fn slot(machine: &Machine) -> PathBuf {
    let slots = slots_in(&machine.root.join("var/cache/pspf/v1/slots"));
    slots.into_iter().find(|slot| slot.join("content/text").exists()).expect("the slot")
}

fn slots_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.')).collect()
}

fn workenv(machine: &Machine, home: &str) -> PathBuf {
    let env = common::env_of(&machine.root.join(home).join(".cache/pspf"));
    assert_eq!(owner(&env), ALICE);
    env
}
