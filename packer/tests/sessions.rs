//! Apps with something to be done when they have ended: the launcher stays as their parent, and nobody notices.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{App, Finish as _, PythonProject, packer, write_files};
use rustix::process::{Pid, Signal, kill_process};

/// An app that does what its arguments say, in its workenv.
const RUN: &str = "#!/bin/sh\ncd \"$FLAVOR_WORKENV\" || exit 1\neval \"$*\"\n";

/// An app of that kind with these files and slots.
fn app(files: &[(&str, &str)], slots: &str) -> App {
    let manifest = "[execution]\ncommand = \"{workenv}/app/bin/run\"\n[[slots]]\nid = \"app\"\nsource = \"app\"\n";
    App::new(&[files, &[("app/bin/run", RUN)]].concat(), &format!("{manifest}{slots}"))
}

const TEMPORARY: &str =
    "[[slots]]\nid = \"scratch\"\nsource = \"scratch\"\ntarget = \"var/scratch\"\nlifecycle = \"temporary\"\n";

fn temporary() -> App {
    app(&[("scratch/deep/words", "as packed")], TEMPORARY)
}

/// Everything of a temporary slot that is anywhere in the cache.
fn found(app: &App, name: &str) -> Vec<PathBuf> {
    let all = common::walk(&app.cache()).into_iter().map(|(path, _)| path);
    all.filter(|path| path.components().any(|part| part.as_os_str() == name)).collect()
}

/// An app that was started, in a process group of its own, and has said that it is ready.
struct Running {
    launcher: Child,
    log: PathBuf,
}

impl Running {
    /// Starts the app with a script that says "ready" when it is.
    fn start(app: &App, script: &str) -> Self {
        Self::start_with(app, app.start(), script)
    }

    fn start_with(app: &App, mut start: Command, script: &str) -> Self {
        take_signals();
        let log =
            app.scratch.dir("logs").join(format!("{:?}", Instant::now()).replace(|c: char| !c.is_ascii_digit(), ""));
        let file = fs::File::create(&log).unwrap();
        start.arg(script).process_group(0).stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let running = Self { launcher: start.spawn().unwrap(), log };
        running.waits_for("ready");
        running
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    #[track_caller]
    fn waits_for(&self, text: &str) {
        until(|| self.said().contains(text), || format!("{text:?} was expected of {:?}", self.said()));
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.launcher)
    }

    /// The launcher's child.
    fn app(&self) -> Pid {
        let id = self.launcher.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        Pid::from_raw(children.split_whitespace().next().unwrap().parse().unwrap()).unwrap()
    }

    fn send(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Exit code, or the signal as a negative number.
    fn ends(mut self) -> (i32, String) {
        let status = self.launcher.wait().unwrap();
        (status.code().unwrap_or_else(|| -status.signal().unwrap()), self.said())
    }
}

/// Shells start what runs in the background with some signals ignored, which is inherited: tests, too, may run there.
fn take_signals() {
    for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP] {
        // SAFETY: the default action of a signal, and nobody here has another one.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

#[track_caller]
fn until(mut holds: impl FnMut() -> bool, otherwise: impl Fn() -> String) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{}", otherwise());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn state(pid: Pid) -> char {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).unwrap_or('-')
}

#[test]
fn a_temporary_slot_is_fresh_for_each_process_and_gone_when_it_has_ended() {
    let app = temporary();
    for code in [0, 7] {
        let script =
            format!("cat var/scratch/deep/words; echo changed > var/scratch/deep/words; touch kept; exit {code}");
        assert_eq!(app.start().arg(script).finish().exits(code).stays_quiet().stdout(), "as packed");
        assert_eq!(found(&app, "words"), Vec::<PathBuf>::new());
        assert_eq!(common::leftovers(&app.cache()), Vec::<PathBuf>::new());
    }
    assert!(common::env_of(&app.cache()).join("kept").exists(), "what else the app writes stays");
}

#[test]
fn directories_that_nobody_may_write_to_go_as_well() {
    let app = temporary();
    let script = "mkdir -p var/scratch/a/b; touch var/scratch/a/b/words; chmod 0 var/scratch/a/b; chmod 555 var/scratch/a var/scratch";
    app.start().arg(script).finish().exits(0).stays_quiet();
    assert_eq!(found(&app, "words"), Vec::<PathBuf>::new());
    assert_eq!(common::leftovers(&app.cache()), Vec::<PathBuf>::new());
}

#[test]
fn a_signal_to_the_launcher_is_one_to_the_app_and_the_launcher_ends_by_it() {
    let app = temporary();
    for signal in [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT, Signal::USR1, Signal::USR2, Signal::ALARM] {
        let running = Running::start(&app, "ls var/scratch; echo ready; exec sleep 100");
        running.send(signal);
        let (end, said) = running.ends();
        assert_eq!(end, -signal.as_raw(), "{said}");
        assert_eq!(found(&app, "words"), Vec::<PathBuf>::new(), "after {signal:?}");
    }
}

#[test]
fn an_app_that_handles_a_signal_decides_how_both_end() {
    let app = temporary();
    let trap = "trap 'echo got it; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let running = Running::start(&app, trap);
    running.send(Signal::TERM);
    assert_eq!(running.ends(), (3, "ready\ngot it\n".to_owned()));
    let running =
        Running::start(&app, "trap 'echo -n w' WINCH; echo ready; until [ -e var/scratch/end ]; do sleep 0.05; done");
    running.send(Signal::WINCH);
    running.waits_for("w");
    fs::write(common::env_of(&app.cache()).join("var/scratch/end"), "").unwrap();
    assert_eq!(running.ends(), (0, "ready\nw".to_owned()));
}

#[test]
fn an_app_that_kills_itself_takes_the_launcher_with_it_without_a_core_file() {
    let app = temporary();
    let mut start = app.start();
    start.arg("ulimit -c unlimited; kill -SEGV $$").current_dir(app.scratch.dir("cores"));
    let ended = start.finish();
    assert_eq!(ended.signal(), Some(Signal::SEGV.as_raw()), "{ended}");
    assert_eq!(found(&app, "words"), Vec::<PathBuf>::new());
}

#[test]
fn a_launcher_that_is_killed_takes_the_app_with_it_and_the_next_start_sweeps() {
    let app = temporary();
    let running = Running::start(&app, "echo changed > var/scratch/deep/words; echo ready; exec sleep 100");
    let child = running.app();
    running.send(Signal::KILL);
    assert_eq!(running.ends().0, -Signal::KILL.as_raw());
    until(|| matches!(state(child), '-' | 'Z'), || "the app goes on without its launcher".to_owned());
    assert_eq!(app.start().arg("cat var/scratch/deep/words").finish().exits(0).stdout(), "as packed");
    assert_eq!(found(&app, "words"), Vec::<PathBuf>::new());
}

#[test]
fn processes_at_the_same_time_have_a_slot_and_a_workenv_each() {
    let app = temporary();
    let script = |name: &str| {
        format!(
            "echo {name} > var/scratch/mine; echo ready; until [ -e var/scratch/end ]; do sleep 0.05; done; cat var/scratch/mine; ls var/scratch"
        )
    };
    let first = Running::start(&app, &script("first"));
    let workenv = common::env_of(&app.cache());
    let second = Running::start(&app, &script("second"));
    let third = app.start().arg("ls var/scratch; pwd").finish().exits(0).stays_quiet().stdout();
    assert!(third.starts_with("deep\n/"), "{third}");
    let envs = common::envs(&app.cache());
    assert_eq!(envs.len(), 3);
    for env in &envs {
        let scratch = app.cache().join("v1/envs").join(env).join("var/scratch");
        if scratch.exists() {
            fs::write(scratch.join("end"), "").unwrap();
        }
    }
    assert_eq!(first.ends(), (0, "ready\nfirst\ndeep\nend\nmine\n".to_owned()));
    assert_eq!(second.ends(), (0, "ready\nsecond\ndeep\nend\nmine\n".to_owned()));
    assert_eq!(found(&app, "words"), Vec::<PathBuf>::new());
    let alone = app.start().arg("pwd").finish().exits(0).stdout();
    assert_eq!(alone, format!("{}\n", workenv.display()), "one alone has the first one");
}

#[test]
fn a_start_that_stops_for_a_while_stops_the_launcher_and_goes_on_with_it() {
    let app = temporary();
    let running =
        Running::start(&app, "trap 'echo on' CONT; echo ready; until [ -e var/scratch/end ]; do sleep 0.05; done");
    let child = running.app();
    running.send(Signal::TSTP);
    until(|| state(child) == 'T', || "the app does not stop".to_owned());
    until(|| state(running.pid()) == 'T', || "the launcher does not stop".to_owned());
    running.send(Signal::CONT);
    running.waits_for("on");
    kill_process(child, Signal::STOP).unwrap();
    until(|| state(running.pid()) == 'T', || "the launcher goes on without the app".to_owned());
    running.send(Signal::CONT);
    until(|| state(child) != 'T', || "the app does not go on".to_owned());
    fs::write(common::env_of(&app.cache()).join("var/scratch/end"), "").unwrap();
    assert_eq!(running.ends().0, 0);
}

/// Starts the program on a terminal of its own, types control-C when it is ready, and prints what came on that terminal and how it
/// ended.
const TERMINAL: &str = "
import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], sys.argv[1:])
said, typed = b'', False
while True:
    try:
        said += os.read(terminal, 1000)
    except OSError:
        break
    if b'ready' in said and not typed:
        os.write(terminal, b'\\x03')
        typed = True
print(said.replace(b'^C', b'').split(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
";

#[test]
fn control_c_on_a_terminal_reaches_the_app_once() {
    if common::require_python().is_none() {
        return;
    }
    take_signals();
    let app = temporary();
    let script =
        "trap 'echo interrupted; n=1' INT; echo ready; until [ \"$n\" ]; do sleep 0.05; done; sleep 0.5; exit 5";
    let mut python = Command::new("python3");
    python.args(["-c", TERMINAL]).arg(app.package()).arg(script).env("PSPF_CACHE_DIR", app.cache());
    let said = python.finish().exits(0).stdout();
    assert_eq!(said, "[b'ready', b'interrupted'] 5\n");
    let mut python = Command::new("python3");
    python
        .args(["-c", TERMINAL])
        .arg(app.package())
        .arg("echo ready; exec sleep 100")
        .env("PSPF_CACHE_DIR", app.cache());
    assert_eq!(python.finish().exits(0).stdout(), "[b'ready'] -2\n");
    assert_eq!(found(&app, "words"), Vec::<PathBuf>::new());
}

#[test]
fn the_app_begins_with_the_signals_of_the_caller() {
    let app = temporary();
    let signals = "grep -E '^Sig(Blk|Ign)' /proc/self/status";
    let mut plain = Command::new("/bin/sh");
    let plain = plain.args(["-c", &format!("trap '' HUP USR2; exec {signals}")]).finish().exits(0).stdout();
    let started = format!("trap '' HUP USR2; exec \"$0\" \"exec {signals}\"");
    let mut start = Command::new("/bin/sh");
    start.args(["-c", &started]).arg(app.package()).env("PSPF_CACHE_DIR", app.cache());
    assert_eq!(start.finish().exits(0).stdout(), plain);
}

#[test]
fn an_app_that_cannot_start_leaves_nothing() {
    let files = [("scratch/words", "words"), ("app/bin/broken", "#!/nowhere/sh\n")];
    let slots = format!("[[slots]]\nid = \"app\"\nsource = \"app\"\n{TEMPORARY}");
    let app = App::new(&files, &format!("[execution]\ncommand = \"{{workenv}}/app/bin/broken\"\n{slots}"));
    app.start().finish().exits(104).prints_nothing().says("broken");
    assert_eq!(found(&app, "words"), Vec::<PathBuf>::new());
    assert_eq!(common::leftovers(&app.cache()), Vec::<PathBuf>::new());
}

#[test]
fn the_slot_command_knows_which_process_asks() {
    let app = temporary();
    let ask = "FLAVOR_LAUNCHER_CLI=1 \"$PSPF_PACKAGE\" slot scratch";
    let running = Running::start(&app, "echo ready; until [ -e var/scratch/end ]; do sleep 0.05; done");
    let second = app.start().arg(format!("{ask}; pwd")).finish().exits(0).stays_quiet().stdout();
    let (path, workenv) = second.trim_end().split_once('\n').unwrap();
    assert_eq!(path, format!("{workenv}/var/scratch"));
    let outside = app.cli(&["slot", "scratch"]).exits(109).prints_nothing();
    outside.says("only while the app runs").says("from within the app");
    running.send(Signal::TERM);
    running.ends();
}

#[test]
fn cleaning_up_leaves_a_running_process_alone() {
    let app = temporary();
    let running = Running::start(
        &app,
        "echo ready; until [ -e var/scratch/end ]; do sleep 0.05; done; cat var/scratch/deep/words",
    );
    let mut gc = packer();
    gc.args(["workenv", "gc", "--older-than", "0"]).env("PSPF_CACHE_DIR", app.cache());
    gc.finish().exits(0).prints("removed 0 workenvs");
    fs::write(common::env_of(&app.cache()).join("var/scratch/end"), "").unwrap();
    assert_eq!(running.ends(), (0, "ready\nas packed".to_owned()));
}

/// A slot of what is run when the app has ended.
fn shutdown(more: &str) -> String {
    format!("[[slots]]\nid = \"bye\"\nsource = \"bye\"\nlifecycle = \"shutdown\"\n{more}")
}

#[test]
fn a_shutdown_slot_comes_when_the_app_has_ended_is_run_and_goes() {
    let bye = "#!/bin/sh\necho \"bye ${PSPF_EXIT_CODE-} ${PSPF_EXIT_SIGNAL-}\"\npwd\nread line || echo no input\ncat \"${0%/bin/*}/text\"\n";
    let app = app(
        &[("bye/bin/run", bye), ("bye/text", "text\n")],
        &shutdown("command = [\"{slot:1}/bin/run\", \"--all\"]\n"),
    );
    let ended = app.start().arg("ls -d bye; echo out; exit 4").finish().exits(4);
    assert_eq!(ended.stdout(), "out\n", "the app's output is the app's alone");
    let workenv = common::env_of(&app.cache());
    let said = ended.stderr();
    assert!(said.contains("cannot access 'bye'"), "it was there before: {said}");
    assert!(said.ends_with(&format!("bye 4 \n{}\nno input\ntext\n", workenv.display())), "{said}");
    assert_eq!(found(&app, "text"), Vec::<PathBuf>::new());
    let running = Running::start(&app, "echo ready; exec sleep 100");
    running.send(Signal::TERM);
    running.send(Signal::TERM);
    let (end, said) = running.ends();
    assert_eq!(end, -Signal::TERM.as_raw());
    assert!(said.contains("bye  15"), "{said}");
    assert_eq!(common::leftovers(&app.cache()), Vec::<PathBuf>::new());
}

#[test]
fn a_directory_without_a_command_runs_its_programs_in_order_and_a_failure_changes_nothing() {
    let files = [
        ("bye/20-bin/note", "not a program here"),
        ("bin/bye-2", "#!/bin/sh\necho two\n"),
        ("bin/bye-1", "#!/bin/sh\necho one\nexit 9\n"),
        ("bin/readme", "echo never\n"),
    ];
    let slots = "[[slots]]\nid = \"bye\"\nsource = \"bin\"\nlifecycle = \"shutdown\"\nexclude = [\"readme\"]\n";
    let app = app(&files, slots);
    let ended = app.start().arg("true").finish().exits(0).prints_nothing();
    let said = ended.stderr();
    assert!(said.starts_with("one\n") && said.ends_with("two\n"), "{said}");
    assert!(said.contains("bye-1 ended with exit code 9"), "{said}");
}

#[test]
fn one_executable_file_is_run_itself() {
    let app = app(
        &[("bin/bye", "#!/bin/sh\necho \"bye from $0\"\n")],
        "[[slots]]\nid = \"bye now\"\nsource = \"bin/bye\"\nlifecycle = \"shutdown\"\n",
    );
    app.start().arg("true").finish().exits(0).says("bye from ").says("/bye now\n");
}

#[test]
fn a_shutdown_slot_with_nothing_to_run_and_a_command_elsewhere_are_refused_when_packing() {
    let scratch = common::Scratch::new();
    let refused = |slot: &str| {
        let manifest = format!(
            "[package]\nname = \"app\"\nversion = \"1\"\n[execution]\ncommand = \"/bin/true\"\n[[slots]]\nid = \"bye\"\nsource = \"bye\"\n{slot}"
        );
        write_files(&scratch, &[("app.toml", &manifest), ("bye/text", "text")]);
        common::pack(&scratch.join("app.toml"), &scratch.join("app.psp")).finish().exits(109)
    };
    refused("lifecycle = \"shutdown\"\n")
        .says("nothing says what shutdown slot bye runs")
        .says("command = ")
        .says("chmod +x");
    refused("command = \"bye/run\"\n").says("slots[0].command").says("only slots with the lifecycle shutdown");
    refused("lifecycle = \"shutdown\"\ncommand = \"'\"\n").says("a quote is not closed");
}

#[test]
fn packer_run_is_such_a_parent_too() {
    let bye = shutdown("command = \"{workenv}/bye/bin/run\"\n");
    let app =
        app(&[("scratch/words", "words"), ("bye/bin/run", "#!/bin/sh\necho bye\n")], &format!("{TEMPORARY}{bye}"));
    let mut run = packer();
    run.arg("run").arg(app.package()).arg("cat var/scratch/words; exit 6").env("PSPF_CACHE_DIR", app.cache());
    let ended = run.finish().exits(6).says("bye\n");
    assert_eq!(ended.stdout(), "words");
    let mut run = packer();
    run.arg("run").arg(app.package()).env("PSPF_CACHE_DIR", app.cache());
    let running = Running::start_with(&app, run, "echo ready; exec sleep 100");
    running.send(Signal::TSTP);
    until(|| state(running.pid()) == 'T', || "packer does not stop".to_owned());
    running.send(Signal::CONT);
    running.send(Signal::TERM);
    let (end, said) = running.ends();
    assert_eq!((end, said.ends_with("bye\n")), (-Signal::TERM.as_raw(), true), "{said}");
    assert_eq!(found(&app, "words"), Vec::<PathBuf>::new());
}

const PYTHON: &str = "
import os, pathlib, pspf, sys, tempfile

def main():
    scratch = pspf.slot('scratch')
    print((scratch / 'words').read_text(), scratch == pathlib.Path(sys.prefix, 'scratch'))
    tempfile.tempdir = str(scratch)
    with tempfile.NamedTemporaryFile(delete=False) as file:
        print(pathlib.Path(file.name).parent == scratch)
    sys.exit(3)
";

#[test]
fn a_python_app_has_temporary_files_and_python_that_runs_in_the_end() {
    let manifest = "[project]\nname = \"app\"\nversion = \"1\"\n[project.scripts]\napp = \"app:main\"\n\
                    [[tool.flavor.slots]]\nid = \"scratch\"\nsource = \"scratch\"\nlifecycle = \"volatile\"\n\
                    [[tool.flavor.slots]]\nid = \"lazy\"\nsource = \"scratch\"\nlifecycle = \"lazy\"\n\
                    [[tool.flavor.slots]]\nid = \"cleanup\"\nsource = \"cleanup.py\"\nlifecycle = \"shutdown\"\n";
    let bye = "import os, sys\nimport app\nprint('bye', os.environ['PSPF_EXIT_CODE'], os.path.exists(sys.prefix + '/scratch'))\n";
    let files = [("pyproject.toml", manifest), ("app.py", PYTHON), ("scratch/words", "words"), ("cleanup.py", bye)];
    let Some(project) = PythonProject::new(&files) else { return };
    project.pack(&[]).exits(0);
    for _ in 0..2 {
        let ended = project.start().env("PSPF_CACHE_DIR", project.scratch.join("cache")).finish().exits(3);
        assert_eq!((ended.stdout(), ended.stderr()), ("words True\nTrue\n".to_owned(), "bye 3 False\n".to_owned()));
    }
    let cache = project.scratch.join("cache");
    let left = |name: &str| common::walk(&cache).into_iter().any(|(path, _)| path.ends_with(name));
    assert!(!left("scratch/words") && !left("cleanup"));
}

#[test]
fn what_the_launcher_says_of_a_shutdown_command_that_is_missing_names_it() {
    let app = app(&[("bye/text", "text")], &shutdown("command = \"{workenv}/bye/nothing\"\n"));
    app.start().arg("exit 2").finish().exits(2).says("bye/nothing").says("no such file");
}
