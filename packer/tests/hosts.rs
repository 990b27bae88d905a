//! Hosts that are old, bare, locked down or full: a package starts there, or says in two lines what to do.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use common::{App, Finish as _, Finished, Mount, Scratch};

const SCRIPT: [(&str, &str); 2] = [("app/bin/run", "#!/bin/sh\necho the app \"$@\"\n"), ("text", "text\n")];
const MANIFEST: &str = r#"
[execution]
command = "{workenv}/app/bin/run"
[[slots]]
id = "app"
source = "app"
[[slots]]
id = "text"
source = "text"
target = "share/text"
[[setup_commands]]
type = "write_file"
path = "{workenv}/etc/conf"
content = "{workenv}"
"#;
const SETUP: &str = "[[setup_commands]]\ntype = \"execute\"\ncommand = \"{workenv}/app/bin/run set up\"\n";
const STRANGER: u32 = 54_321;

/// EPERM is what filters of containers answer, ENOSYS what old kernels do, EINVAL what some emulations do.
const REFUSALS: [i32; 3] = [libc::EPERM, libc::ENOSYS, libc::EINVAL];

#[test]
fn no_system_call_newer_than_linux_3_10_is_needed() {
    for (manifest, said) in [(MANIFEST.to_owned(), ""), (MANIFEST.to_owned() + SETUP, "the app set up\n")] {
        let app = App::new(&SCRIPT, &manifest);
        for errno in REFUSALS {
            let cache = app.scratch.join(format!("cache {errno}"));
            let start = |args: &[&str], cli: &str| {
                let mut start = app.start();
                start.args(args).env("PSPF_CACHE_DIR", &cache).env("FLAVOR_LAUNCHER_CLI", cli);
                common::without_system_calls(&mut start, errno).finish().exits(0)
            };
            let first = start(&["a b"], "");
            assert_eq!((first.stdout(), first.stderr()), ("the app a b\n".to_owned(), said.to_owned()));
            assert_eq!(start(&["a b"], "").stays_quiet().stdout(), "the app a b\n");
            // Damage is healed there, too.
            fs::write(common::env_of(&cache).join("etc/conf"), "longer than it was, whatever it was before").unwrap();
            assert_eq!(start(&[], "").stdout(), "the app\n");
            start(&["verify"], "1").stays_quiet().prints("\nintact: ");
            let to = app.scratch.join(format!("to {errno}"));
            start(&["extract", "0", to.to_str().unwrap()], "1").stays_quiet();
            assert!(to.join("bin/run").is_file());
        }
    }
}

#[test]
fn the_filter_of_these_tests_refuses_what_it_should() {
    let mut grep = Command::new("/bin/grep");
    grep.args(["Seccomp:", "/proc/self/status"]);
    common::without_system_calls(&mut grep, libc::EPERM).finish().exits(0).prints("2\n");
}

/// A shell that needs nothing, and a script for it.
fn static_app() -> Option<App> {
    let busybox = common::busybox()?;
    let manifest = format!(
        "[execution]\ncommand = \"{{workenv}}/bin/busybox sh {{workenv}}/bin/script\"\n\
         [[slots]]\nid = \"shell\"\nsource = \"{}\"\ntarget = \"bin/busybox\"\npermissions = \"0755\"\n\
         [[slots]]\nid = \"script\"\nsource = \"script\"\ntarget = \"bin/script\"\n\
         [[setup_commands]]\ntype = \"execute\"\ncommand = \"busybox touch made\"\n",
        busybox.display()
    );
    let script = "cd \"$FLAVOR_WORKENV\" && test -e made && test ! -e /proc && echo \"$PSPF_ARGV0\" \"$@\"\nexit 3\n";
    Some(App::new(&[("script", script)], &manifest))
}

#[test]
fn a_static_app_runs_where_there_is_nothing_but_its_package() {
    let Some(app) = static_app() else { return };
    for errno in [None, Some(libc::EPERM), Some(libc::ENOSYS)] {
        let scratch = Scratch::new();
        let root = scratch.dir("root");
        common::copy_package(&app.package(), &root.join("app.psp"));
        for _ in 0..2 {
            let mut start = common::in_root(&root, "/app.psp");
            start.args(["a b", "c"]).env_clear().env("HOME", "/");
            if let Some(errno) = errno {
                common::without_system_calls(&mut start, errno);
            }
            assert_eq!(start.finish().exits(3).stays_quiet().stdout(), "/app.psp a b c\n");
        }
        let mut names: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".cache", "app.psp"]);
    }
}

#[test]
fn without_any_place_to_extract_to_it_says_which_variable_names_one() {
    let Some(app) = static_app() else { return };
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    common::copy_package(&app.package(), &root.join("app.psp"));
    let start = || {
        let mut start = common::in_root(&root, "/app.psp");
        start.env_clear();
        start
    };
    let refused = start().finish().exits(109).prints_nothing().says("no place to extract to");
    refused.says("\n  try: set PSPF_CACHE_DIR");
    start().env("PSPF_CACHE_DIR", "/some/where").finish().exits(3).prints("/app.psp");
}

#[test]
fn a_python_app_runs_with_the_c_library_alone_on_a_kernel_that_refuses_newer_calls() {
    let Some(hello) = common::hello() else { return };
    for errno in [libc::EPERM, libc::ENOSYS] {
        let scratch = Scratch::new();
        let root = scratch.dir("root");
        common::copy_package(&hello, &root.join("hello.psp"));
        common::copy_c_library(&root);
        // Python needs random bytes from somewhere when getrandom is refused.
        fs::create_dir(root.join("dev")).unwrap();
        fs::write(root.join("dev/urandom"), [7; 4096]).unwrap();
        for _ in 0..2 {
            let mut start = common::in_root(&root, "/hello.psp");
            start.args(["a", "b c", "--exit", "42"]).env_clear().env("HOME", "/");
            let finished = common::without_system_calls(&mut start, errno).finish().exits(42).stays_quiet();
            assert!(finished.stdout().ends_with("\na\nb c\n"), "{finished}");
        }
    }
}

#[test]
fn who_may_execute_the_file_but_not_read_it_is_told() {
    let Some(()) = common::require_root() else { return };
    let app = App::new(&SCRIPT, MANIFEST);
    fs::set_permissions(app.package(), fs::Permissions::from_mode(0o711)).unwrap();
    let mut start = app.start();
    start.uid(STRANGER).gid(STRANGER).current_dir("/");
    start.finish().exits(109).prints_nothing().says("executed but not read").says("\n  try: chmod +r FILE");
}

/// A first start with its cache on a file system of this kind.
fn on(mount: Mount, app: &App) -> Option<Finished> {
    let cache = app.scratch.dir("cache");
    common::on_a_tmpfs(mount, &cache, &app.start())
}

#[test]
fn a_cache_without_programs_is_told_before_anything_is_extracted() {
    let app = App::new(&SCRIPT, MANIFEST);
    let Some(refused) = on(Mount::NoExec, &app) else { return };
    let refused = refused.exits(104).says("/app/bin/run: permission denied\n  try: set PSPF_CACHE_DIR").says("noexec");
    assert!(!refused.stdout().contains("the app"), "{refused}");

    let cache = app.scratch.join("cache");
    let script = format!("{} >&2; find {} -type f ! -name '.lock.*'", app.package().display(), cache.display());
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script]).env_clear().env("PATH", "/usr/bin:/bin").env("PSPF_CACHE_DIR", &cache);
    let Some(left) = common::on_a_tmpfs(Mount::NoExec, &cache, &command) else { return };
    assert_eq!(left.stdout().lines().filter(|line| !line.starts_with("left over: ")).count(), 0, "{left}");
}

#[test]
fn an_app_whose_program_lies_elsewhere_starts_from_a_cache_without_programs() {
    let app = App::new(&SCRIPT, &MANIFEST.replace("\"{workenv}/app", "\"/bin/sh {workenv}/app"));
    let Some(started) = on(Mount::NoExec, &app) else { return };
    started.exits(0).stays_quiet().prints("the app\n");
}

#[test]
fn a_cache_that_cannot_be_written_or_is_full_is_told_with_the_way_out() {
    let app = App::new(&[SCRIPT[0], ("text", &"0123456789abcdef\n".repeat(40_000))], MANIFEST);
    for (mount, words) in
        [(Mount::ReadOnly, "read-only file system"), (Mount::Small(200), "no space left on the device")]
    {
        let Some(refused) = on(mount, &app) else { return };
        let refused = refused.exits(106).says(words).says("\n  try: ").says("PSPF_CACHE_DIR");
        assert_eq!(refused.stderr().lines().count(), 2, "{refused}");
        assert!(!refused.stdout().contains("the app"), "{refused}");
    }
}

#[test]
fn what_is_extracted_already_starts_from_a_cache_that_cannot_be_written() {
    let app = App::new(&SCRIPT, MANIFEST);
    app.start().finish().exits(0);
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\" || exit 71\n\
                  touch \"$1/x\" 2>/dev/null && exit 72\nexec \"$2\"";
    let mut unshare = Command::new("unshare");
    unshare.arg("--mount");
    if !common::is_root() {
        unshare.arg("--map-root-user");
    }
    unshare.args(["sh", "-c", script, "sh"]).arg(app.cache()).arg(app.package());
    let started = unshare.env("PSPF_CACHE_DIR", app.cache()).finish();
    if started.code() == Some(71) || started.code() == Some(1) {
        common::require::<()>(Err("this machine lets no test mount a file system".into()));
        return;
    }
    started.exits(0).stays_quiet().prints("the app\n");
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn who_helped_with_the_first_start_is_gone_when_the_app_starts() {
    const CHILDREN: &str = "#!/bin/sh\nread children < /proc/$$/task/$$/children\necho \"[$children]\"\n";
    let app = App::new(&[("app/bin/run", CHILDREN), SCRIPT[1]], MANIFEST);
    for _ in 0..2 {
        app.start().finish().exits(0).prints("[]\n").stays_quiet();
    }
    assert_eq!(common::slots(&app.cache()).len(), 2);
}

/// A directory for everybody, as /tmp is.
fn shared_directory(scratch: &Scratch) -> std::path::PathBuf {
    let directory = scratch.dir("everybody");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o1777)).unwrap();
    directory
}

#[test]
fn packer_keeps_what_it_builds_in_the_private_one_too() {
    let scratch = Scratch::new();
    let shared = shared_directory(&scratch);
    let project = scratch.dir("project");
    common::write_files(
        &project,
        &[
            ("data/a", "a"),
            (
                "m.toml",
                "[package]\nname = \"a\"\nversion = \"1\"\n[execution]\ncommand = \"/bin/cat {workenv}/data/a\"\n\
                 [[slots]]\nid = \"data\"\nsource = \"data\"\ntarget = \"data\"\n",
            ),
        ],
    );
    let mut pack = common::pack(&project.join("m.toml"), &scratch.join("a.psp"));
    pack.env("PSPF_CACHE_DIR", &shared).finish().exits(0);
    let own = format!("pspf-{}", rustix::process::geteuid().as_raw());
    let names: Vec<_> = fs::read_dir(&shared).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [own.as_str()]);
    assert_eq!(mode_of(&shared.join(own)), 0o700);
}

#[test]
fn in_a_directory_for_everybody_each_user_has_a_private_one() {
    let app = App::new(&SCRIPT, MANIFEST);
    let uid = rustix::process::geteuid().as_raw();
    for variable in ["PSPF_CACHE_DIR", "CACHE_DIRECTORY"] {
        let scratch = Scratch::new();
        let shared = shared_directory(&scratch);
        let start = || {
            let mut start = app.start();
            start.env_remove("PSPF_CACHE_DIR").env(variable, &shared).current_dir("/");
            start
        };
        for _ in 0..2 {
            start().finish().exits(0).stays_quiet();
        }
        let own = shared.join(format!("pspf-{uid}"));
        assert_eq!(mode_of(&own), 0o700);
        assert_eq!(common::envs(&own).len(), 1);
        if common::is_root() {
            start().uid(STRANGER).gid(STRANGER).finish().exits(0).stays_quiet();
            assert_eq!(mode_of(&shared.join(format!("pspf-{STRANGER}"))), 0o700);
        }
        assert_eq!(fs::read_dir(&shared).unwrap().count(), if common::is_root() { 2 } else { 1 });
    }
}

#[test]
fn a_private_directory_that_somebody_else_prepared_is_refused() {
    let Some(()) = common::require_root() else { return };
    let app = App::new(&SCRIPT, MANIFEST);
    let scratch = Scratch::new();
    let shared = shared_directory(&scratch);
    let start = || app.start().env("PSPF_CACHE_DIR", &shared).finish().exits_with_one_of(&[106, 109]).prints_nothing();
    let trap = scratch.dir("everybody/pspf-0");
    chown(&trap, Some(STRANGER), Some(STRANGER)).unwrap();
    start().says("belongs to somebody else").says("\n  try: ");
    fs::remove_dir(&trap).unwrap();
    std::os::unix::fs::symlink(scratch.dir("elsewhere"), &trap).unwrap();
    start();
    fs::remove_file(&trap).unwrap();
    fs::create_dir(&trap).unwrap();
    fs::set_permissions(&trap, fs::Permissions::from_mode(0o777)).unwrap();
    start().says("can be written to by others");
    // A directory that its owner may take away from under us, whatever its mode.
    fs::remove_dir(&trap).unwrap();
    chown(&shared, Some(STRANGER), Some(STRANGER)).unwrap();
    start().says("belongs to somebody else");
}

#[test]
fn a_directory_in_which_everybody_may_rename_is_refused() {
    let app = App::new(&SCRIPT, MANIFEST);
    let open = app.scratch.dir("open");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let refused = app.start().env("PSPF_CACHE_DIR", &open).finish().exits(109).prints_nothing();
    refused.says("can be written to by others").says("\n  try: ");
}
