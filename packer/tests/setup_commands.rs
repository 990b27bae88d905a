//! Setup commands that run programs: once, in a new workenv, before the app.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{App, Finish as _, Scratch};
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process};

/// An app that prints what the setup left, and a step that writes down how it was called.
fn files() -> [(&'static str, &'static str); 2] {
    [
        ("app/bin/run", "#!/bin/sh\ncat \"$FLAVOR_WORKENV/log\" 2>/dev/null; echo the app\n"),
        ("app/bin/step", "#!/bin/sh\nprintf '%s|' \"$@\" >> log\necho >> log\necho \"step $*\"\n"),
    ]
}

const HEAD: &str = r#"
[execution]
command = "{workenv}/app/bin/run"
[[slots]]
id = "app"
source = "app"
"#;

/// A setup command of type execute, as TOML.
fn execute(command: &str) -> String {
    format!("[[setup_commands]]\ntype = \"execute\"\ncommand = '''{command}'''\n")
}

#[test]
fn they_run_once_in_their_order_and_the_app_comes_after() {
    let write = "[[setup_commands]]\ntype = \"write_file\"\npath = \"{workenv}/between\"\ncontent = \"x\"\n";
    let steps = [
        &execute("{workenv}/app/bin/step first"),
        write,
        &execute("/bin/sh -c 'test -e between && printf second >> log && echo >> log'"),
        "[[setup_commands]]\ntype = \"chmod\"\npath = \"{workenv}/between\"\nmode = \"0600\"\n",
        &execute("/bin/sh -c 'stat -c %a between >> log'"),
    ];
    let app = App::new(&files(), &[HEAD, &steps.concat()].concat());
    let first = app.start().finish().exits(0);
    assert_eq!(first.stdout(), "first|\nsecond\n600\nthe app\n");
    assert_eq!(first.stderr(), "step first\n", "what commands print does not mix with the app's output");
    let second = app.start().finish().exits(0).stays_quiet();
    assert_eq!(second.stdout(), first.stdout());
}

#[test]
fn placeholders_are_filled_after_the_words_are_split() {
    let steps = execute("{workenv}/app/bin/step '{workenv}' {package_name}-{version} {slot:0} \"a b\" '' {other}");
    let app = App::new(&files(), &(HEAD.to_owned() + &steps));
    let cache = app.scratch.join("two words $HOME {version} 'x");
    let output = app.start().env("PSPF_CACHE_DIR", &cache).finish().exits(0).stdout();
    let workenv = common::env_of(&cache);
    let workenv = workenv.to_str().unwrap();
    assert_eq!(output, format!("{workenv}|app-1.0|{workenv}/app|a b||{{other}}|\nthe app\n"));
}

#[test]
fn they_have_the_environment_of_the_app_and_start_in_the_workenv() {
    let steps = execute("/bin/sh -c 'pwd > where; env | grep -v ^_= | sort > env.txt'");
    let head = HEAD.replace("command =", "env = { SET = \"{version}\" }\ncommand =")
        + "[runtime.env]\nunset = [\"DROPPED\"]\n"
        + &steps;
    let files = [("app/bin/run", "#!/bin/sh\ncd \"$FLAVOR_WORKENV\"; cat where; env | grep -v -e ^_= -e PWD= | sort")];
    let app = App::new(&files, &head);
    let mut start = app.start();
    start.env("DROPPED", "1").env("KEPT", "1").env("FLAVOR_LAUNCHER_CLI", "0").current_dir("/");
    let output = start.finish().exits(0).stays_quiet().stdout();
    let workenv = common::env_of(&app.cache());
    let setup = fs::read_to_string(workenv.join("env.txt")).unwrap();
    let (pwd, env) = output.split_once('\n').unwrap();
    assert_eq!(Path::new(pwd), workenv);
    let setup: String = setup.lines().filter(|line| !line.contains("PWD=")).map(|line| format!("{line}\n")).collect();
    assert_eq!(setup, env);
    assert!(env.contains("KEPT=1\n") && env.contains("SET=1.0\n") && !env.contains("DROPPED"), "{env}");
    assert!(env.contains(&format!("PATH={}/bin:", workenv.display())) && !env.contains("FLAVOR_LAUNCHER_CLI"), "{env}");
}

#[test]
fn enumerating_takes_matching_files_by_name_and_adds_each_as_the_last_argument() {
    let enumerate = |pattern: &str| {
        format!(
            "[[setup_commands]]\ntype = \"enumerate_and_execute\"\ncommand = \"{{workenv}}/app/bin/step -i\"\n\
             enumerate = {{ path = \"{{workenv}}/wheels\", pattern = \"{pattern}\" }}\n"
        )
    };
    let slot = "[[slots]]\nid = \"wheels\"\nsource = \"wheels\"\n";
    let all = ["b-1.whl", "a b.whl", "a-2.whl", "B.whl", "c.whl.txt", "dir.whl/x", "ab"];
    let wheels: Vec<_> = all.iter().map(|name| format!("wheels/{name}")).collect();
    let mut all_files = files().to_vec();
    all_files.extend(wheels.iter().map(|name| (name.as_str(), "")));
    let steps = [enumerate("*.whl"), enumerate("?b"), enumerate("*.none")].concat();
    let app = App::new(&all_files, &[HEAD, slot, &steps].concat());
    let output = app.start().finish().exits(0).stdout();
    let workenv = common::env_of(&app.cache());
    let lines = ["B.whl", "a b.whl", "a-2.whl", "b-1.whl", "ab"];
    let lines = lines.map(|name| format!("-i|{}/wheels/{name}|\n", workenv.display()));
    assert_eq!(output, lines.concat() + "the app\n");

    let missing = enumerate("*").replace("/wheels", "/nowhere");
    let app = App::new(&files(), &(HEAD.to_owned() + &missing));
    app.start().finish().exits(106).prints_nothing().says("/nowhere: no such file or directory");
}

#[test]
fn a_bare_name_is_a_program_of_the_workenv_and_never_one_on_path() {
    let slot = "[[slots]]\nid = \"tool\"\nsource = \"app/bin/step\"\ntarget = \"bin/tool\"\n";
    let app = App::new(&files(), &[HEAD, slot, &execute("tool x")].concat());
    assert_eq!(app.start().finish().exits(0).stdout(), "x|\nthe app\n");

    let first = execute("/bin/true");
    let app = App::new(&files(), &[HEAD, &first, &execute("sh -c 'echo from PATH'")].concat());
    let refused = app.start().finish().exits(104).prints_nothing().says("/bin/sh: no such file").says("\n  try: ");
    assert!(refused.stderr().contains(common::env_of(&app.cache()).to_str().unwrap()), "{refused}");
    assert!(!common::env_of(&app.cache()).join(".seal").exists());
}

/// A step that fails until a file is there; `outside` sees how often the steps ran.
fn failing(outside: &Path, how: &str) -> App {
    let outside = outside.display();
    let steps = [
        execute("{workenv}/app/bin/step began"),
        execute(&format!("/bin/sh -c 'echo tried >> {outside}/tries; test -e {outside}/go || {how}'")),
        execute("{workenv}/app/bin/step done"),
    ];
    App::new(&files(), &(HEAD.to_owned() + &steps.concat()))
}

fn tries(outside: &Path) -> usize {
    fs::read_to_string(outside.join("tries")).unwrap_or_default().lines().count()
}

#[test]
fn a_failure_is_told_with_its_command_and_the_next_start_begins_anew() {
    for (how, words) in [
        ("{ echo because; exit 3; }", "test -e"),
        ("exit 3", " ended with exit code 3\n  try: "),
        ("kill -9 $$", " was killed by signal 9\n  try: "),
    ] {
        let outside = Scratch::new();
        let app = failing(&outside, how);
        for _ in 0..2 {
            let failed = app.start().finish().exits(103).prints_nothing().says("setup command /bin/sh -c ").says(words);
            assert_eq!(failed.stderr().contains("because\n"), how.contains("because"), "{failed}");
            assert!(!common::env_of(&app.cache()).join(".seal").exists());
        }
        fs::write(outside.join("go"), "").unwrap();
        assert_eq!(app.start().finish().exits(0).stdout(), "began|\ndone|\nthe app\n", "a new workenv, whole");
        assert_eq!(app.start().finish().exits(0).stays_quiet().stdout(), "began|\ndone|\nthe app\n");
        assert_eq!(tries(&outside), 3);
    }
}

#[test]
fn what_cannot_be_executed_is_told_too() {
    let broken = ("app/broken", "not a program");
    let app = App::new(
        &[files()[0], files()[1], broken],
        &[HEAD, &execute("/bin/true"), &execute("{workenv}/app/broken")].concat(),
    );
    app.start().finish().exits(104).prints_nothing().says("/app/broken: permission denied");
}

#[test]
fn the_apps_input_is_left_for_the_app() {
    let files = [("app/bin/run", "#!/bin/sh\ncat\n")];
    let app = App::new(&files, &(HEAD.to_owned() + &execute("/bin/sh -c 'cat > eaten'")));
    let mut child = app.start().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"for the app").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, b"for the app");
    assert_eq!(fs::read(common::env_of(&app.cache()).join("eaten")).unwrap(), b"");
}

#[test]
fn it_works_for_callers_without_standard_streams() {
    let app = App::new(&files(), &(HEAD.to_owned() + &execute("/bin/sh -c 'echo once >> log'")));
    for (i, streams) in ["<&-", "<&- >&-", "<&- >&- 2>&-", "2>&-"].iter().enumerate() {
        let cache = app.scratch.join(format!("cache {i}"));
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &format!("exec \"$0\" {streams}")]).arg(app.package()).env("PSPF_CACHE_DIR", &cache);
        let code = shell.finish().code();
        // An app that cannot print may say so in its own way.
        assert!(code == Some(0) || streams.contains(">&-"), "{streams}: {code:?}");
        assert!(common::env_of(&cache).join(".seal").exists(), "{streams}");
        assert_eq!(fs::read_to_string(common::env_of(&cache).join("log")).unwrap(), "once\n", "{streams}");
    }
}

#[test]
fn a_script_that_was_written_for_them_may_be_gone_afterwards() {
    let write = "[[setup_commands]]\ntype = \"write_file\"\npath = \"{workenv}/install.sh\"\n\
                 content = \"echo installed > log; rm install.sh\"\n";
    let app = App::new(&files(), &[HEAD, write, &execute("/bin/sh install.sh")].concat());
    assert_eq!(app.start().finish().exits(0).stays_quiet().stdout(), "installed\nthe app\n");
    fs::write(common::env_of(&app.cache()).join("log"), "still\n").unwrap();
    assert_eq!(app.start().finish().exits(0).stays_quiet().stdout(), "still\nthe app\n", "no second setup");
}

#[test]
fn of_many_first_starts_one_runs_them_and_the_others_wait() {
    let outside = Scratch::new();
    fs::write(outside.join("go"), "").unwrap();
    let app = failing(&outside, "false");
    let starts: Vec<Child> = (0..8)
        .map(|_| app.start().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    for start in starts {
        let output = start.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "began|\ndone|\nthe app\n");
    }
    assert_eq!(tries(&outside), 1);
}

/// A start whose setup command waits to be ended, and that command's process.
fn waiting(app: &App, outside: &Path) -> (Child, Pid) {
    let mut start = app.start();
    // Who runs the tests in the background of a shell gives them SIGINT ignored.
    let heed_ctrl_c = || {
        // SAFETY: a number and the default are valid, and no handler is installed.
        unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
        Ok(())
    };
    // SAFETY: signal(2) is all that it calls, and that is safe between fork and exec.
    unsafe { start.pre_exec(heed_ctrl_c) };
    let child = start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn();
    let pid = outside.join("pid");
    loop {
        if let Some(pid) = fs::read_to_string(&pid).ok().and_then(|pid| pid.trim().parse().ok()).and_then(Pid::from_raw)
        {
            return (child.unwrap(), pid);
        }
        std::thread::yield_now();
    }
}

fn ends(pid: Pid) {
    // Its new parent may take a moment to notice.
    while test_kill_process(pid).is_ok() && !is_zombie(pid) {
        std::thread::yield_now();
    }
}

fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read_to_string(PathBuf::from(format!("/proc/{}/stat", pid.as_raw_nonzero()))).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}

#[test]
fn when_the_launcher_is_killed_its_command_dies_and_the_next_start_begins_anew() {
    let outside = Scratch::new();
    let app = failing(&outside, &format!("{{ echo $$ > {}/pid; exec sleep 1000; }}", outside.display()));
    for signal in [Signal::KILL, Signal::TERM] {
        let (mut child, pid) = waiting(&app, &outside);
        kill_process(Pid::from_child(&child), signal).unwrap();
        child.wait().unwrap();
        ends(pid);
        fs::remove_file(outside.join("pid")).unwrap();
    }
    fs::write(outside.join("go"), "").unwrap();
    assert_eq!(app.start().finish().exits(0).stdout(), "began|\ndone|\nthe app\n");
}

#[test]
fn ctrl_c_ends_both_and_leaves_no_lock() {
    let outside = Scratch::new();
    let app = failing(&outside, &format!("{{ echo $$ > {}/pid; exec sleep 1000; }}", outside.display()));
    let (mut child, pid) = waiting(&app, &outside);
    kill_process_group(Pid::from_child(&child), Signal::INT).unwrap();
    assert!(!child.wait().unwrap().success());
    ends(pid);
    fs::write(outside.join("go"), "").unwrap();
    assert_eq!(app.start().finish().exits(0).stdout(), "began|\ndone|\nthe app\n");
}

#[test]
fn a_caller_that_ignores_its_children_changes_nothing() {
    let outside = Scratch::new();
    let app = failing(&outside, "exit 3");
    let start = || {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "trap '' CHLD; exec \"$0\""]).arg(app.package()).env_clear();
        shell.env("PSPF_CACHE_DIR", app.cache()).env("PATH", "/usr/bin:/bin").finish()
    };
    start().exits(103).says(" ended with exit code 3");
    fs::write(outside.join("go"), "").unwrap();
    assert_eq!(start().exits(0).stdout(), "began|\ndone|\nthe app\n");
}

#[test]
fn a_damaged_workenv_is_set_up_again() {
    let steps = [
        "[[setup_commands]]\ntype = \"write_file\"\npath = \"{workenv}/etc/conf\"\ncontent = \"right\"\n",
        &execute("{workenv}/app/bin/step once"),
    ];
    let app = App::new(&files(), &(HEAD.to_owned() + &steps.concat()));
    app.start().finish().exits(0);
    let conf = common::env_of(&app.cache()).join("etc/conf");
    fs::write(&conf, "wrong and longer").unwrap();
    let healed = app.start().finish().exits(0);
    assert_eq!((healed.stdout(), healed.stderr()), ("once|\nthe app\n".into(), "step once\n".into()));
    assert_eq!(fs::read_to_string(conf).unwrap(), "right");
}

#[test]
fn what_cache_validation_asks_for_holds_at_every_start_without_it() {
    let check = "[cache_validation]\ncheck_file = \"{workenv}/ready\"\nexpected_content = \"1.0\"\n";
    let write = "[[setup_commands]]\ntype = \"write_file\"\npath = \"{workenv}/ready\"\ncontent = \"{version}\"\n";
    for manifest in [[HEAD, write, ""].concat(), [HEAD, write, check].concat()] {
        let app = App::new(&files(), &manifest);
        app.start().finish().exits(0).stays_quiet();
        let ready = common::env_of(&app.cache()).join("ready");
        for damage in [|path: &Path| fs::remove_file(path), |path: &Path| fs::write(path, "0.9 and before")] {
            damage(&ready).unwrap();
            app.start().finish().exits(0).stays_quiet();
            assert_eq!(fs::read_to_string(&ready).unwrap(), "1.0");
        }
    }
}

#[test]
fn packer_run_sets_up_in_the_same_way() {
    let outside = Scratch::new();
    let app = failing(&outside, "exit 3");
    let run = || common::packer().arg("run").arg(app.package()).env("PSPF_CACHE_DIR", app.cache()).finish();
    run().exits(103).prints_nothing().says(" ended with exit code 3").says("try:");
    fs::write(outside.join("go"), "").unwrap();
    let ran = run().exits(0).says("step began\nstep done\n");
    assert_eq!(ran.stdout(), "began|\ndone|\nthe app\n");
    assert_eq!(app.start().finish().exits(0).stays_quiet().stdout(), "began|\ndone|\nthe app\n");
    let app = App::new(&files(), &[HEAD, &execute("/bin/true"), &execute("nowhere")].concat());
    let mut run = common::packer();
    run.arg("run").arg(app.package()).env("PSPF_CACHE_DIR", app.cache()).finish().exits(104).says("nowhere");
}

#[test]
fn only_packages_that_need_it_carry_the_larger_launcher() {
    let size = |manifest: &str| {
        let app = App::new(&files(), manifest);
        let package = fs::read(app.package()).unwrap();
        pspf_core::Package::open(&*package).unwrap().index().launcher_size() as usize
    };
    let small = packer::launchers::built_in().unwrap().len();
    assert_eq!(size(HEAD), small);
    let chmod = "[[setup_commands]]\ntype = \"chmod\"\npath = \"{workenv}/app/bin/run\"\nmode = \"0755\"\n";
    assert_eq!(size(&[HEAD, chmod].concat()), small);
    assert!(size(&[HEAD, chmod, &execute("/bin/true")].concat()) > small);
}

#[test]
fn the_small_launcher_starts_no_app_whose_setup_it_cannot_run() {
    let scratch = Scratch::new();
    let launcher = scratch.join("launcher");
    fs::write(&launcher, packer::launchers::built_in().unwrap()).unwrap();
    let options = ["--launcher-bin".as_ref(), launcher.as_os_str()];
    let app = App::with(&files(), &(HEAD.to_owned() + &execute("/bin/true")), &options);
    app.start().finish().exits(109).prints_nothing().says("runs no commands");
}
