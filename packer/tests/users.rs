//! Several users on one machine: a start trusts no place that somebody else has prepared or could exchange. It takes the
//! next place, or says which directory it will not use and what to do.
//!
//! Each test has a root directory of its own, with homes, /var/tmp and /tmp, so that nothing of the real ones matters.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::machine::{ALICE, MALLORY, Machine, ROOT, own, owner, set_mode};

#[test]
fn a_cache_of_somebody_else_is_refused_whatever_its_mode() {
    let Some(machine) = Machine::new() else { return };
    for mode in [0o700, 0o755, 0o777, 0o2777] {
        let cache = machine.dir("srv/cache", MALLORY, mode);
        for variable in ["PSPF_CACHE_DIR", "CACHE_DIRECTORY"] {
            let refused = machine.start(ALICE, &[(variable, "/srv/cache")]).exits_with_one_of(&[106, 109]);
            refused.prints_nothing().says("/srv/cache").says("\n  try: ").says("PSPF_CACHE_DIR");
        }
        assert_eq!(entries(&cache), 0, "mode {mode:o}");
    }
    // Root may write there, and does not either.
    let refused = machine.start(ROOT, &[("PSPF_CACHE_DIR", "/srv/cache")]).exits(109).prints_nothing();
    refused.says("/srv/cache belongs to somebody else\n  try: set PSPF_CACHE_DIR to a directory of your own");
}

#[test]
fn what_somebody_else_prepared_in_a_cache_is_never_started() {
    let Some(machine) = Machine::new() else { return };
    let set = [("PSPF_CACHE_DIR", "/home/alice/cache")];
    machine.start(ALICE, &set).exits(0).stays_quiet();
    let cache = machine.root.join("home/alice/cache");
    // The directories of the cache itself are not made anew: that is for their owner to do.
    for directory in ["", "v1", "v1/slots", "v1/envs"] {
        own(&cache.join(directory), MALLORY);
        let refused = machine.start(ALICE, &set).exits_with_one_of(&[106, 109]).prints_nothing();
        // Without /proc in this root directory, a name is all that is known of what could not be opened.
        let name = directory.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("/home/alice/cache");
        refused.says(name).says("\n  try: ");
        own(&cache.join(directory), ALICE);
        for mode in [0o770, 0o707] {
            set_mode(&cache.join(directory), mode);
            let refused = machine.start(ALICE, &set).exits(109).prints_nothing();
            refused.says("/home/alice/cache can be written to by others\n  try: chmod go-w DIRECTORY");
        }
        set_mode(&cache.join(directory), 0o700);
    }
    // Slots and workenvs are.
    let expected = common::contents(&cache);
    for kind in ["slots", "envs"] {
        for entry in published(&cache, kind) {
            for (uid, mode) in [(MALLORY, 0o755), (ALICE, 0o777), (ALICE, 0o775)] {
                own(&entry, uid);
                set_mode(&entry, mode);
                machine.start(ALICE, &set).exits(0).stays_quiet();
                // She may move what is another's out of her way, and not delete what is in it.
                for left in common::leftovers(&cache) {
                    assert_eq!(owner(&left), MALLORY);
                    common::remove(&left);
                }
                assert_eq!(common::difference(&expected, &common::contents(&cache)), None);
                assert_eq!(owner(&entry), ALICE);
            }
        }
    }
}

#[test]
fn a_directory_above_that_everybody_may_write_to_is_refused_unless_it_is_sticky() {
    let Some(machine) = Machine::new() else { return };
    machine.dir("srv/open", ROOT, 0o777);
    machine.dir("srv/open/alice", ALICE, 0o755);
    for (variable, value) in [
        ("PSPF_CACHE_DIR", "/srv/open/alice/cache"),
        ("PSPF_CACHE_DIR", "/srv/open/alice/far/down/cache"),
        ("CACHE_DIRECTORY", "/srv/open/alice"),
    ] {
        let refused = machine.start(ALICE, &[(variable, value)]).exits(109).prints_nothing();
        refused.says(value).says(" or a directory above it can be written to by everybody\n  try: chmod o-w DIRECTORY");
    }
    for (variable, value) in [("XDG_CACHE_HOME", "/srv/open/alice/xdg"), ("HOME", "/srv/open/alice")] {
        assert_eq!(machine.cache_of_start(ALICE, &[(variable, value)]), "/var/tmp/pspf-54321", "{variable}={value}");
    }
    machine.dir("srv/open", ROOT, 0o1777);
    for variable in ["PSPF_CACHE_DIR", "XDG_CACHE_HOME", "HOME"] {
        let cache = machine.cache_of_start(ALICE, &[(variable, "/srv/open/alice")]);
        assert!(cache.starts_with("/srv/open/alice"), "{variable}: {cache}");
    }
}

#[test]
fn a_home_that_a_group_may_write_to_is_a_home() {
    let Some(machine) = Machine::new() else { return };
    machine.dir("home/alice", ALICE, 0o775);
    machine.dir("home/alice/.cache", ALICE, 0o775);
    machine.dir("home", ROOT, 0o775);
    assert_eq!(machine.cache_of_start(ALICE, &[("HOME", "/home/alice")]), "/home/alice/.cache/pspf");
    machine.dir("home/alice/.cache/pspf", ALICE, 0o775);
    let next = machine.cache_of_start(ALICE, &[("HOME", "/home/alice")]);
    assert_eq!(next, "/var/tmp/pspf-54321", "the cache itself is for its owner alone");
}

#[test]
fn sudo_with_the_users_home_leaves_nothing_there() {
    let Some(machine) = Machine::new() else { return };
    let home = machine.root.join("home/alice");
    assert_eq!(machine.cache_of_start(ROOT, &[("HOME", "/home/alice")]), "/var/tmp/pspf-0");
    assert_eq!(entries(&home), 0);
    // Where the user's own cache is already, too; and the user finds it as it was.
    machine.start(ALICE, &[("HOME", "/home/alice")]).exits(0).stays_quiet();
    let before = common::snapshot(&home);
    assert_eq!(machine.cache_of_start(ROOT, &[("HOME", "/home/alice")]), "/var/tmp/pspf-0");
    assert_eq!(common::snapshot(&home), before);
    machine.start(ALICE, &[("HOME", "/home/alice")]).exits(0).stays_quiet();
    let kept = machine.start(ROOT, &[("HOME", "/home/alice"), ("XDG_CACHE_HOME", "/home/alice/.cache")]);
    kept.exits(0).stays_quiet().prints("/var/tmp/pspf-0/");
    assert_eq!(common::snapshot(&home), before);
}

#[test]
fn without_a_home_to_write_to_the_next_place_is_taken() {
    let Some(machine) = Machine::new() else { return };
    machine.dir("home/read-only", ALICE, 0o500);
    machine.dir("home/roots", ROOT, 0o755);
    for home in ["", "relative/path", "/nowhere", "/home/read-only", "/home/roots", "/home/mallory"] {
        assert_eq!(machine.cache_of_start(ALICE, &[("HOME", home)]), "/var/tmp/pspf-54321", "HOME={home}");
    }
    assert_eq!(machine.cache_of_start(ALICE, &[]), "/var/tmp/pspf-54321", "HOME is not set");
    fs::remove_dir_all(machine.root.join("var/tmp")).unwrap();
    assert_eq!(machine.cache_of_start(ALICE, &[]), "/tmp/pspf-54321");
}

#[test]
fn a_place_for_everybody_in_which_somebody_was_faster_is_passed_over_and_told_in_the_end() {
    let Some(machine) = Machine::new() else { return };
    machine.dir("var/tmp/pspf-54321", MALLORY, 0o777);
    assert_eq!(machine.cache_of_start(ALICE, &[]), "/tmp/pspf-54321");
    common::remove(&machine.root.join("tmp/pspf-54321"));
    let elsewhere = machine.dir("home/alice/elsewhere", ALICE, 0o700);
    symlink("../home/alice/elsewhere", machine.root.join("tmp/pspf-54321")).unwrap();
    let refused = machine.start(ALICE, &[]).exits(109).prints_nothing();
    refused.says("/var/tmp/pspf-54321 belongs to somebody else\n  try: set PSPF_CACHE_DIR to a directory of your own");
    assert_eq!(entries(&elsewhere), 0, "the link was not followed");
}

#[test]
fn links_on_the_way_are_followed_where_the_user_or_root_made_them() {
    let Some(machine) = Machine::new() else { return };
    machine.dir("srv/disk", ALICE, 0o700);
    let link = machine.root.join("home/alice/.cache");
    for (by, followed) in [(ALICE, true), (ROOT, true), (MALLORY, false)] {
        symlink("../../srv/disk", &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(by), Some(by)).unwrap();
        let expected = if followed { "/home/alice/.cache/pspf" } else { "/var/tmp/pspf-54321" };
        assert_eq!(machine.cache_of_start(ALICE, &[("HOME", "/home/alice")]), expected, "a link of user {by}");
        assert_eq!(machine.root.join("srv/disk/pspf").exists(), followed);
        common::remove(&machine.root.join("srv/disk/pspf"));
        fs::remove_file(&link).unwrap();
    }
    // The last directory is never a link.
    machine.dir("home/alice/.cache", ALICE, 0o700);
    symlink("../../../srv/disk", machine.root.join("home/alice/.cache/pspf")).unwrap();
    assert_eq!(machine.cache_of_start(ALICE, &[("HOME", "/home/alice")]), "/var/tmp/pspf-54321");
    // A home may be one, and leads to what is judged as any other.
    symlink("alice", machine.root.join("home/link")).unwrap();
    fs::remove_file(machine.root.join("home/alice/.cache/pspf")).unwrap();
    assert_eq!(machine.cache_of_start(ALICE, &[("HOME", "/home/link")]), "/home/link/.cache/pspf");
    symlink("mallory", machine.root.join("home/trap")).unwrap();
    assert_eq!(machine.cache_of_start(ALICE, &[("HOME", "/home/trap")]), "/var/tmp/pspf-54321");
    assert_eq!(entries(&machine.root.join("home/mallory")), 0);
}

#[test]
fn a_package_with_more_rights_than_its_caller_does_not_start() {
    let Some(machine) = Machine::new() else { return };
    let package = machine.root.join("app.psp");
    for mode in [0o4755, 0o2755, 0o6755] {
        set_mode(&package, mode);
        let refused = machine.start(ALICE, &[("HOME", "/home/alice")]);
        if refused.code() == Some(0) {
            common::require::<()>(Err("the file system of the temporary directory ignores setuid".into()));
            return;
        }
        let refused =
            refused.exits(109).prints_nothing().says("/app.psp: this package runs with more rights than its caller");
        refused.says("\n  try: remove them: chmod u-s,g-s FILE; setcap -r FILE");
    }
    set_mode(&package, 0o755);
    let mut setcap = Command::new("/usr/sbin/setcap");
    let set = setcap.arg("cap_net_bind_service+ep").arg(&package).output();
    let set = set.map_err(|error| format!("setcap does not start: {error}"));
    let set = set.and_then(|output| match output.status.success() {
        true => Ok(()),
        false => Err(format!("no capabilities can be set here: {}", String::from_utf8_lossy(&output.stderr).trim())),
    });
    let Some(()) = common::require(set) else { return };
    let refused = machine.start(ALICE, &[("HOME", "/home/alice")]).exits(109).prints_nothing();
    refused.says("file capabilities").says("setcap -r FILE");
    assert_eq!(entries(&machine.root.join("home/alice")), 0);
}

fn published(cache: &Path, kind: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache.join("v1").join(kind)).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

fn entries(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}
