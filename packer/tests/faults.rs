//! Faults at every system call: whatever fails, and whenever a start is killed, the next one is right.
//!
//! strace makes the Nth call of one kind fail, or kills the process there; it lets go of what the launcher executes, so
//! that no fault lands in the app. It counts for each process alone: the child that helps with a first start meets the same
//! fault at its own Nth call.
//!
//! Each scenario takes a sample of its faults. `PSPF_TEST_FULL=1` (`cargo xtask faults`, `cargo xtask test --full`) takes
//! all, and `PSPF_TEST_REPORT` names the file whose section about them is written anew (benches/RESULTS-faults.md).

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::{Finish as _, Finished, Kind, Place};
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn a_first_start() {
    sweep(&Scenario {
        name: "first start",
        kind: Kind::Private,
        prepare: |_| {},
        faulty: |place| place.start("1"),
        after: |place| vec![place.start("1")],
        actions: FAULTS,
    });
}

#[test]
fn a_later_start() {
    sweep(&Scenario {
        name: "later start",
        kind: Kind::Private,
        prepare: |place| {
            place.start("1").succeed();
            place.leave_something_in_the_workenv();
        },
        faulty: |place| place.start("1"),
        after: |place| vec![place.start("1")],
        actions: FAULTS,
    });
}

#[test]
fn an_upgrade_and_the_old_version_beside_it() {
    sweep(&Scenario {
        name: "upgrade",
        kind: Kind::Private,
        prepare: |place| place.start("1").succeed(),
        faulty: |place| place.start("2"),
        after: |place| vec![place.start("1"), place.start("2"), place.start("1")],
        actions: FAULTS,
    });
}

#[test]
fn a_start_that_heals_a_slot_below_a_private_workenv() {
    sweep(&Scenario {
        name: "start after damage to a slot",
        kind: Kind::Private,
        prepare: |place| {
            place.start("1").succeed();
            place.leave_something_in_the_workenv();
            let slots = common::slots(&place.cache()).into_iter().map(|slot| place.cache().join("v1/slots").join(slot));
            let runtime = slots.into_iter().find(|slot| slot.join("content/lib").exists()).unwrap();
            fs::remove_file(runtime.join(".seal")).unwrap();
        },
        faulty: |place| place.start("1"),
        after: |place| vec![place.start("1")],
        actions: FAULTS,
    });
}

#[test]
fn a_start_that_heals_slots_and_mends_their_workenv() {
    sweep(&Scenario {
        name: "start after damage",
        kind: Kind::Shared,
        prepare: |place| {
            place.start("1").succeed();
            for slot in common::slots(&place.cache()) {
                let content = place.cache().join("v1/slots").join(slot).join("content");
                damage(&content.join("data/version"));
                damage(&content.join("bin/run"));
                damage(&content.join("single"));
            }
        },
        faulty: |place| place.start("1"),
        after: |place| vec![place.start("1")],
        actions: FAULTS,
    });
}

#[test]
fn a_start_that_mends_a_workenv_in_which_the_app_wrote() {
    sweep(&Scenario {
        name: "start after damage to a workenv",
        kind: Kind::Shared,
        prepare: |place| {
            place.start("1").succeed();
            place.leave_something_in_the_workenv();
            fs::remove_file(common::env_of(&place.cache()).join("etc/conf")).unwrap();
        },
        faulty: |place| place.start("1"),
        after: |place| vec![place.start("1")],
        actions: FAULTS,
    });
}

#[test]
fn a_start_that_makes_a_damaged_workenv_anew() {
    sweep(&Scenario {
        name: "start after damage to a private workenv",
        kind: Kind::Private,
        prepare: |place| {
            place.start("1").succeed();
            fs::remove_file(common::env_of(&place.cache()).join("etc/conf")).unwrap();
        },
        faulty: |place| place.start("1"),
        after: |place| vec![place.start("1")],
        actions: FAULTS,
    });
}

#[test]
fn a_start_in_another_boot() {
    sweep(&Scenario {
        name: "start in another boot",
        kind: Kind::Private,
        prepare: |place| {
            place.start("1").succeed();
            common::boot_again(&place.cache());
        },
        faulty: |place| place.start("1"),
        after: |place| vec![place.start("1")],
        actions: FAULTS,
    });
}

#[test]
fn a_first_start_with_setup_commands() {
    sweep(&Scenario {
        name: "first start with setup commands",
        kind: Kind::Setup,
        prepare: |_| {},
        faulty: |place| place.start("1"),
        after: |place| vec![place.start("1")],
        actions: FAULTS,
    });
}

#[test]
fn signals_at_a_first_start() {
    sweep(&Scenario {
        name: "signals at a first start",
        kind: Kind::Private,
        prepare: |_| {},
        faulty: |place| place.start("1"),
        after: |place| vec![place.start("1")],
        actions: SIGNALS,
    });
}

/// What happens at a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Action {
    /// It is not made, and fails with this error.
    Fails(&'static str),
    /// So do all of its kind that come after it.
    FailsFromNowOn(&'static str),
    /// The process gets this signal, and the call is made if it lives on.
    Signal(&'static str),
}

impl Action {
    /// As a column of a table.
    fn name(&self) -> String {
        match self {
            Self::Fails(error) => (*error).to_owned(),
            Self::FailsFromNowOn(error) => format!("{error} from then on"),
            Self::Signal(signal) => (*signal).to_owned(),
        }
    }
}

const FAULTS: &[Action] = &[
    Action::Signal("KILL"),
    Action::Fails("ENOSPC"),
    Action::Fails("EIO"),
    Action::Fails("EROFS"),
    Action::Fails("EMFILE"),
    Action::Fails("ENOMEM"),
    Action::Fails("EINTR"),
    Action::FailsFromNowOn("ENOSPC"),
    Action::FailsFromNowOn("EIO"),
];

/// Those that end a process, and two that do not.
const SIGNALS: &[Action] = &[
    Action::Signal("HUP"),
    Action::Signal("INT"),
    Action::Signal("QUIT"),
    Action::Signal("TERM"),
    Action::Signal("PIPE"),
    Action::Signal("ALRM"),
    Action::Signal("USR1"),
    Action::Signal("USR2"),
    Action::Signal("XFSZ"),
    Action::Signal("SEGV"),
    Action::Signal("WINCH"),
    Action::Signal("CONT"),
];

/// Calls that do what they should whatever happens. strace makes a call fail by leaving it out: after a failed close(2) a
/// descriptor would still be open, which it never is.
const CANNOT_FAIL: &[&str] = &["close", "exit_group", "geteuid", "getpid", "munmap"];

/// How many faults of a scenario are tried where not all are.
const SAMPLE: usize = 200;

/// After this time a start hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was there before a command, the command that meets a fault, and what has to be right after it.
struct Scenario {
    name: &'static str,
    kind: Kind,
    prepare: fn(&Place),
    faulty: fn(&Place) -> Step,
    after: fn(&Place) -> Vec<Step>,
    actions: &'static [Action],
}

/// A command and what it prints when all is well.
struct Step {
    command: Command,
    output: String,
}

impl Step {
    #[track_caller]
    fn succeed(mut self) {
        let finished = self.command.finish().exits(0).stays_quiet();
        assert_eq!(finished.stdout(), self.output);
    }
}

impl Place {
    fn start(&self, version: &str) -> Step {
        let command = common::start(&common::package(&self.scratch, version), &self.cache());
        Step { command, output: common::output(version, self.kind) }
    }

    /// As apps and their users do.
    fn leave_something_in_the_workenv(&self) {
        fs::write(common::env_of(&self.cache()).join("tmp/mine"), "keep this").unwrap();
    }

    /// Empties the cache, and does what the scenario begins with.
    fn prepare(&self, scenario: &Scenario) {
        common::remove(&self.cache());
        (scenario.prepare)(self);
    }
}

/// Makes a file longer, and other than it was.
fn damage(file: &Path) {
    if let Ok(content) = fs::read(file) {
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(file, [&content[..], b"damaged"].concat()).unwrap();
    }
}

/// One fault.
#[derive(Debug, Clone)]
struct Fault {
    call: String,
    /// Counted from 1.
    nth: usize,
    action: Action,
}

impl Fault {
    fn can_be(&self) -> bool {
        match self.action {
            Action::Signal("KILL") => true,
            // It would be the app that gets it.
            Action::Signal(_) => self.call != "execve",
            Action::Fails(_) | Action::FailsFromNowOn(_) => !CANNOT_FAIL.contains(&self.call.as_str()),
        }
    }
}

/// What came of one fault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// The app started and said what it should.
    Started,
    /// It did not start, and was told why.
    Refused,
    /// The signal ended the launcher.
    Ended,
    /// Anything else of the start with the fault.
    WrongNow(String),
    /// The starts after it, or what is in the cache after them.
    WrongNext(String),
    /// What could not be deleted as long as the errors lasted. It stays until a start has to write in its place again, which
    /// then deleted it.
    LeftForLater,
    /// What they did not clean up.
    LeftOver(String),
}

/// What came of all faults of a scenario.
#[derive(Default)]
struct Tally {
    calls: BTreeMap<String, Counts>,
    wrong: Vec<String>,
}

/// Of one system call.
#[derive(Default)]
struct Counts {
    actions: BTreeMap<Action, usize>,
    started: usize,
    refused: usize,
    ended: usize,
    wrong_now: usize,
    wrong_next: usize,
    left_for_later: usize,
    left_over: usize,
}

impl Tally {
    fn add(&mut self, fault: &Fault, outcomes: Vec<Outcome>) {
        let counts = self.calls.entry(fault.call.clone()).or_default();
        *counts.actions.entry(fault.action).or_default() += 1;
        for outcome in outcomes {
            let (count, wrong) = match outcome {
                Outcome::Started => (&mut counts.started, None),
                Outcome::Refused => (&mut counts.refused, None),
                Outcome::Ended => (&mut counts.ended, None),
                Outcome::WrongNow(what) => (&mut counts.wrong_now, Some(("wrong", what))),
                Outcome::WrongNext(what) => (&mut counts.wrong_next, Some(("afterwards", what))),
                Outcome::LeftForLater => (&mut counts.left_for_later, None),
                Outcome::LeftOver(what) => (&mut counts.left_over, Some(("left over", what))),
            };
            *count += 1;
            self.wrong.extend(wrong.map(|(how, what)| format!("{how}, after {fault:?}: {what}")));
        }
    }

    fn table(&self, actions: &[Action], calls: &[(String, usize)]) -> String {
        let names: Vec<String> = actions.iter().map(Action::name).collect();
        let mut table = format!(
            "| call | made | {} | started | said why not | ended by it | wrong outputs | wrong next starts | left for later | left over |\n|---|{}\n",
            names.join(" | "),
            "---:|".repeat(names.len() + 8)
        );
        let mut all = Counts::default();
        for (call, made) in calls {
            let Some(counts) = self.calls.get(call) else { continue };
            let _ = writeln!(table, "| {call} | {made} | {} |", counts.row(actions));
            all.add(counts);
        }
        let made: usize = calls.iter().map(|(_, made)| made).sum();
        let _ = writeln!(table, "| **all** | {made} | {} |", all.row(actions));
        table
    }
}

impl Counts {
    fn add(&mut self, other: &Self) {
        for (action, count) in &other.actions {
            *self.actions.entry(*action).or_default() += count;
        }
        self.started += other.started;
        self.refused += other.refused;
        self.ended += other.ended;
        self.wrong_now += other.wrong_now;
        self.wrong_next += other.wrong_next;
        self.left_for_later += other.left_for_later;
        self.left_over += other.left_over;
    }

    fn row(&self, actions: &[Action]) -> String {
        let mut counts: Vec<usize> =
            actions.iter().map(|action| self.actions.get(action).copied().unwrap_or_default()).collect();
        let outcomes = [
            self.started,
            self.refused,
            self.ended,
            self.wrong_now,
            self.wrong_next,
            self.left_for_later,
            self.left_over,
        ];
        counts.extend(outcomes);
        counts.iter().map(usize::to_string).collect::<Vec<_>>().join(" | ")
    }
}

#[track_caller]
fn sweep(scenario: &Scenario) {
    let Some(()) = common::require_strace() else { return };
    let place = Place::new(scenario.kind);
    place.prepare(scenario);
    (scenario.faulty)(&place).succeed();
    (scenario.after)(&place).into_iter().for_each(Step::succeed);
    let expected = common::contents(&place.cache());
    assert_eq!(common::leftovers(&place.cache()), [] as [PathBuf; 0]);

    let calls = calls(scenario, &place);
    let mut faults = Vec::new();
    for (call, count) in &calls {
        for nth in 1..=*count {
            for action in scenario.actions {
                let fault = Fault { call: call.clone(), nth, action: *action };
                if fault.can_be() {
                    faults.push(fault);
                }
            }
        }
    }
    let mut tally = Tally::default();
    for fault in sampled(faults, scenario.actions.len()) {
        let outcomes = suffer(scenario, &place, &fault, &expected);
        tally.add(&fault, outcomes);
    }
    let table = tally.table(scenario.actions, &calls);
    println!("{table}");
    common::record(scenario.name, &table);
    assert!(tally.wrong.is_empty(), "{}\n{table}", tally.wrong.join("\n"));
}

/// All faults, or some that are spread over all calls and actions.
fn sampled(faults: Vec<Fault>, actions: usize) -> Vec<Fault> {
    if common::is_full() {
        return faults;
    }
    let mut step = (faults.len() / SAMPLE).max(1);
    // Not always the same action.
    while step > 1 && (2..=actions).any(|n| actions.is_multiple_of(n) && step.is_multiple_of(n)) {
        step += 1;
    }
    faults.into_iter().step_by(step).collect()
}

/// The scenario, once, with this fault; what came of it, the start itself first.
fn suffer(scenario: &Scenario, place: &Place, fault: &Fault, expected: &BTreeMap<PathBuf, String>) -> Vec<Outcome> {
    place.prepare(scenario);
    let Step { command, output } = (scenario.faulty)(place);
    let (what, when) = match fault.action {
        Action::Fails(error) => (format!("error={error}"), ""),
        Action::FailsFromNowOn(error) => (format!("error={error}"), "+"),
        Action::Signal(signal) => (format!("signal={signal}"), ""),
    };
    let inject = format!("inject={}:{what}:when={}{when}", fault.call, fault.nth);
    let faulty = traced(&command, Path::new("/dev/null"), &["-e", &format!("trace={}", fault.call), "-e", &inject]);
    let mut outcomes = vec![match ended(faulty) {
        Some(finished) => judge(&finished, &output, fault),
        None => Outcome::WrongNow("it hangs".to_owned()),
    }];
    for mut step in (scenario.after)(place) {
        let next = step.command.finish();
        if next.code() != Some(0) || next.stdout() != step.output || !next.stderr().is_empty() {
            outcomes.push(Outcome::WrongNext(next.to_string()));
            return outcomes;
        }
    }
    let mut left = common::leftovers(&place.cache());
    if !left.is_empty() && matches!(fault.action, Action::FailsFromNowOn(_)) {
        outcomes.push(Outcome::LeftForLater);
        for trash in &left {
            let name = trash.file_name().unwrap().to_string_lossy();
            let replaced = trash.with_file_name(name.split('.').nth(2).unwrap());
            fs::remove_file(replaced.join(".seal")).unwrap();
        }
        (scenario.after)(place).into_iter().for_each(Step::succeed);
        left = common::leftovers(&place.cache());
    }
    if !left.is_empty() {
        outcomes.push(Outcome::LeftOver(format!("{left:?}")));
    } else if let Some(difference) = common::difference(expected, &common::contents(&place.cache())) {
        outcomes.push(Outcome::WrongNext(difference));
    }
    outcomes
}

/// What came of the start that met the fault: never the output of another tree, and never an end without a reason.
fn judge(finished: &Finished, output: &str, fault: &Fault) -> Outcome {
    let (said, reason) = (finished.stdout(), finished.stderr());
    match (finished.code(), fault.action) {
        (Some(0), _) if said == output && reason.is_empty() => Outcome::Started,
        (None, Action::Signal(_)) if said.is_empty() && reason.is_empty() => Outcome::Ended,
        (Some(102..=107 | 109), _) if said.is_empty() && is_a_reason(&reason) => Outcome::Refused,
        // It could not be told.
        (Some(102..=107 | 109), Action::FailsFromNowOn(_)) if fault.call == "write" && said.is_empty() => {
            Outcome::Refused
        }
        _ => Outcome::WrongNow(finished.to_string()),
    }
}

/// One line, and more about it that is indented (docs/wording.md).
fn is_a_reason(text: &str) -> bool {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let told = first.contains(".psp: ") || first.starts_with("error: ") || first == "pspf: out of memory";
    told && lines.all(|line| line.starts_with("  "))
}

/// The calls that the scenario's command makes until the app starts, and the most that one process makes of each.
fn calls(scenario: &Scenario, place: &Place) -> Vec<(String, usize)> {
    let log = place.scratch.join("calls");
    place.prepare(scenario);
    let Step { command, output } = (scenario.faulty)(place);
    let finished = traced(&command, &log, &[]).finish().exits(0);
    assert_eq!(finished.stdout(), output);
    let mut counts: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    // The first execve is strace's own, of the package.
    let mut own = true;
    for line in fs::read_to_string(log).unwrap().lines() {
        let (process, rest) = line.split_once(' ').unwrap();
        let Some((call, _)) = rest.trim_start().split_once('(') else { continue };
        if call == "execve" && std::mem::take(&mut own) {
            continue;
        }
        if call.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            *counts.entry(call.to_owned()).or_default().entry(process.to_owned()).or_default() += 1;
        }
    }
    counts.into_iter().map(|(call, counts)| (call, counts.into_values().max().unwrap_or_default())).collect()
}

/// The command under strace, with these options.
fn traced(command: &Command, log: &Path, options: &[&str]) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-b", "execve", "-o"]).arg(log).args(options);
    strace.arg(command.get_program()).args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            strace.env(name, value);
        }
    }
    strace
}

/// Runs it to its end; `None` when there is none.
fn ended(mut command: Command) -> Option<Finished> {
    let what = format!("{command:?}");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (pid, (done, over)) = (Pid::from_child(&child), std::sync::mpsc::channel::<()>());
    let watch = std::thread::spawn(move || {
        let hangs = over.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
        if hangs {
            // What strace traces dies with it.
            let _ = kill_process(pid, Signal::KILL);
        }
        hangs
    });
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
    child.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
    let status = child.wait().unwrap();
    drop(done);
    let hung = watch.join().unwrap();
    (!hung).then(|| Finished::new(what, Output { status, stdout, stderr }))
}
