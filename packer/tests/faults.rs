//! Faults at every system call: whatever fails, and whenever a start is killed, the next one is right. The same for
//! `packer workenv`, which removes and repairs what packages start from.
//!
//! strace makes the Nth call of one kind fail, or kills the process there; it lets go of what the launcher executes, so
//! that no fault lands in the app. It counts for each process alone: the child that helps with a first start meets the same
//! fault at its own Nth call. packer's calls count from where it opens the cache: what fails before only keeps it from
//! starting.
//!
//! Each scenario takes a sample of its faults. `PSPF_TEST_FULL=1` (`cargo xtask faults`, `cargo xtask test --full`) takes
//! all, and `PSPF_TEST_REPORT` names the file whose section about them is written anew (benches/RESULTS-faults.md).

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::{Finish as _, Finished, Kind, Place, Processes};
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
fn a_first_start_with_slots_that_come_and_go() {
    sweep(&Scenario {
        name: "first start with slots that come and go",
        kind: Kind::Passing,
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

#[test]
fn a_collection_beside_an_app_that_holds_its_workenv() {
    let Some(()) = common::require_processes() else { return };
    sweep(&Scenario {
        name: "packer workenv gc",
        kind: Kind::Private,
        prepare: |place| {
            place.start_both();
            place.leave_what_killed_starts_leave();
            place.among(&[]);
        },
        faulty: |place| Step { _held: Some(place.hold("1")), ..place.packer(GC, REMOVED) },
        after: |place| {
            let again = Step { _held: Some(place.hold("1")), ..place.packer(GC, "") };
            vec![place.start("1"), place.start("2"), again, place.start("1"), place.start("2")]
        },
        actions: FAULTS,
    });
}

#[test]
fn a_cleaning_beside_an_app_that_has_closed_the_lock() {
    let Some(()) = common::require_processes() else { return };
    sweep(&Scenario {
        name: "packer workenv clean",
        kind: Kind::Shared,
        prepare: |place| {
            place.start_both();
            place.leave_what_killed_starts_leave();
            // What it has links to, the links alone say.
            fs::write(place.workenv("1").join(".seal"), "").unwrap();
            place.among(&[("FLAVOR_WORKENV", place.workenv("1").as_os_str())]);
        },
        faulty: |place| place.packer(&["clean"], REMOVED),
        after: |place| {
            let again = place.packer(&["clean"], "");
            vec![place.start("1"), place.start("2"), again, place.start("1"), place.start("2")]
        },
        actions: FAULTS,
    });
}

#[test]
fn a_repair_of_what_no_start_looks_at() {
    let Some(()) = common::require_processes() else { return };
    sweep(&Scenario {
        name: "packer workenv verify --repair",
        kind: Kind::Private,
        prepare: |place| {
            place.start_both();
            common::edit_without_a_trace(&place.workenv("1").join("runtime/lib/text"));
            fs::remove_file(place.workenv("2").join("app").canonicalize().unwrap().with_file_name(".seal")).unwrap();
            place.among(&[]);
        },
        faulty: |place| place.packer(&["verify", "--repair"], "2 damaged, 5 slots, 2 workenvs"),
        after: |place| {
            let again = place.packer(&["verify", "--repair"], "");
            // Of both there is nothing to remove but what is left over.
            let collect = place.packer(&["gc"], "");
            vec![place.start("1"), place.start("2"), again, collect, place.start("1"), place.start("2")]
        },
        actions: FAULTS,
    });
}

const GC: &[&str] = &["gc", "--older-than", "0"];
/// What is removed of two versions, one of them in use, and of what killed starts have left.
const REMOVED: &str = "false dry_run, 1 kept, 3 leftovers, 0 not_deleted, 2 slots, 1 workenvs";

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

/// Calls that do what they should whatever happens, or that do not say by an error what they did not (brk). strace makes a
/// call fail by leaving it out: after a failed close(2) a descriptor would still be open, which it never is.
const CANNOT_FAIL: &[&str] =
    &["brk", "close", "exit_group", "geteuid", "getpid", "munmap", "rt_sigaction", "rt_sigprocmask"];

/// How many faults of a scenario are tried where not all are: of the launcher, and of packer, which takes longer.
const SAMPLE: usize = 200;
const SAMPLE_OF_PACKER: usize = 40;

/// Those of packer that are always tried at every call: they are about who uses what.
const DECISIVE: &[(&str, Action)] = &[
    ("flock", Action::Fails("EIO")),
    ("readlink", Action::Fails("EIO")),
    ("readlinkat", Action::Fails("EIO")),
    // Processes are looked at more than once.
    ("read", Action::FailsFromNowOn("EIO")),
];

/// After this time a start hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was there before a command, the command that meets a fault, and what has to be right after it.
struct Scenario {
    name: &'static str,
    kind: Kind,
    prepare: fn(&Place),
    faulty: fn(&Place) -> Step<'_>,
    after: fn(&Place) -> Vec<Step<'_>>,
    actions: &'static [Action],
}

/// A command and what it prints when all is well.
struct Step<'p> {
    command: Command,
    output: String,
    by: By<'p>,
    /// What nobody else may have while the command runs.
    _held: Option<File>,
}

/// Whose command it is.
#[derive(Clone, Copy)]
enum By<'p> {
    Package,
    /// A package's, whose launcher stays as the app's parent.
    Parent,
    /// packer's, among these. How much it finds depends on what failed before, so that nothing is expected of its output
    /// where `output` is empty.
    Packer(&'p Processes),
}

impl Step<'_> {
    #[track_caller]
    fn succeed(self) {
        let finished = self.finish();
        assert!(self.is_right(&finished), "{:?} was expected of {finished}", self.output);
    }

    fn finish(&self) -> Finished {
        let mut command = Command::new(self.command.get_program());
        command.args(self.command.get_args()).env_clear();
        command.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.where_it_belongs(command).finish()
    }

    /// The command, about to be started under strace with these options.
    fn traced(&self, log: &Path, options: &[&str]) -> Command {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-b", "execve", "-o"]).arg(log).args(options);
        strace.arg(self.command.get_program()).args(self.command.get_args()).env_clear();
        strace.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.where_it_belongs(strace)
    }

    fn where_it_belongs(&self, command: Command) -> Command {
        match self.by {
            By::Package | By::Parent => command,
            By::Packer(processes) => processes.beside(&command),
        }
    }

    fn is_right(&self, finished: &Finished) -> bool {
        let said = self.said(finished);
        let right = said == self.output || matches!(self.by, By::Packer(_)) && self.output.is_empty();
        right && finished.code() == Some(0) && finished.stderr().is_empty()
    }

    /// What it printed; of a report of packer's how many there are of each.
    fn said(&self, finished: &Finished) -> String {
        let report = serde_json::from_slice(finished.stdout_bytes());
        match (self.by, report) {
            (By::Packer(_), Ok(serde_json::Value::Object(report))) => {
                // Sizes are for people: what cannot be looked at has none.
                let counts = report.iter().filter(|(name, _)| *name != "bytes").map(|(name, value)| match value {
                    serde_json::Value::Array(list) => format!("{} {name}", list.len()),
                    other => format!("{other} {name}"),
                });
                counts.collect::<Vec<_>>().join(", ")
            }
            _ => finished.stdout(),
        }
    }
}

impl Place {
    fn start(&self, version: &str) -> Step<'_> {
        let command = common::start(&common::package(&self.scratch, version), &self.cache());
        let by = if self.kind == Kind::Passing { By::Parent } else { By::Package };
        Step { command, output: common::output(version, self.kind), by, _held: None }
    }

    /// `packer workenv`, with a report.
    fn packer(&self, words: &[&str], output: &str) -> Step<'_> {
        let mut command = common::start(Path::new(common::packer().get_program()), &self.cache());
        command.arg("workenv").args(words).arg("--json");
        let by = By::Packer(self.processes.get().expect("those that it looks at"));
        Step { command, output: output.to_owned(), by, _held: None }
    }

    /// Tells among whom packer's commands run.
    fn among(&self, environment: &[(&str, &OsStr)]) {
        self.processes.get_or_init(|| Processes::new(environment));
    }

    fn start_both(&self) {
        for version in ["1", "2"] {
            self.start(version).succeed();
            fs::write(self.workenv(version).join("tmp/mine"), "keep this").unwrap();
        }
    }

    /// As an app holds its workenv while it runs.
    fn hold(&self, version: &str) -> File {
        let seal = File::open(self.workenv(version).join(".seal")).unwrap();
        seal.lock_shared().unwrap();
        seal
    }

    /// As apps and their users do.
    fn leave_something_in_the_workenv(&self) {
        fs::write(common::env_of(&self.cache()).join("tmp/mine"), "keep this").unwrap();
    }

    fn leave_what_killed_starts_leave(&self) {
        let dead = "d".repeat(64);
        let files =
            [format!(".tmp.{dead}.1.0/content/file"), format!(".trash.{dead}.1.0/file"), format!(".lock.{dead}")];
        for file in files.iter().map(String::as_str).chain([".trash.gc.something.0/file"]) {
            common::write_files(&self.cache().join("v1/slots"), &[(file, "left")]);
        }
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
            // Waiting for a child that is there fails by a signal alone (wait(2)), and so does waiting for signals.
            Action::Fails(errno) if ["wait4", "rt_sigtimedwait"].contains(&&*self.call) => errno == "EINTR",
            Action::FailsFromNowOn(_) if ["wait4", "rt_sigtimedwait"].contains(&&*self.call) => false,
            Action::Fails(_) | Action::FailsFromNowOn(_) => !CANNOT_FAIL.contains(&self.call.as_str()),
        }
    }
}

/// What came of one fault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// The app started and said what it should; packer did what it says.
    Done,
    /// It was not done, and it was told why.
    Refused,
    /// The signal ended the launcher, or packer.
    Ended,
    /// Anything else of the command with the fault.
    WrongNow(String),
    /// The commands after it, or what is in the cache after them.
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
    done: usize,
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
                Outcome::Done => (&mut counts.done, None),
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

    /// `done` is the column of those with which the command did what it should.
    fn table(&self, actions: &[Action], calls: &[Calls], done: &str) -> String {
        let names: Vec<String> = actions.iter().map(Action::name).collect();
        let mut table = format!(
            "| call | made | {} | {done} | said why not | ended by it | wrong outputs | wrong next starts | left for later | left over |\n|---|{}\n",
            names.join(" | "),
            "---:|".repeat(names.len() + 8)
        );
        let mut all = Counts::default();
        for Calls { call, made, .. } in calls {
            let Some(counts) = self.calls.get(call) else { continue };
            let _ = writeln!(table, "| {call} | {made} | {} |", counts.row(actions));
            all.add(counts);
        }
        let made: usize = calls.iter().map(|calls| calls.made).sum();
        let _ = writeln!(table, "| **all** | {made} | {} |", all.row(actions));
        table
    }
}

impl Counts {
    fn add(&mut self, other: &Self) {
        for (action, count) in &other.actions {
            *self.actions.entry(*action).or_default() += count;
        }
        self.done += other.done;
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
        let outcomes =
            [self.done, self.refused, self.ended, self.wrong_now, self.wrong_next, self.left_for_later, self.left_over];
        counts.extend(outcomes);
        counts.iter().map(usize::to_string).collect::<Vec<_>>().join(" | ")
    }
}

#[track_caller]
fn sweep(scenario: &Scenario) {
    let Some(()) = common::require_strace() else { return };
    let place = Place::new(scenario.kind);
    place.prepare(scenario);
    let before = common::snapshot(&place.cache());
    (scenario.faulty)(&place).succeed();
    let gone = gone(&before, &common::snapshot(&place.cache()));
    (scenario.after)(&place).into_iter().for_each(Step::succeed);
    let expected = Expected { gone, contents: common::contents(&place.cache()) };
    assert_eq!(common::leftovers(&place.cache()), [] as [PathBuf; 0]);

    let calls = calls(scenario, &place);
    let mut faults = Vec::new();
    for Calls { call, before, made } in &calls {
        for nth in before + 1..=before + made {
            for action in scenario.actions {
                let fault = Fault { call: call.clone(), nth, action: *action };
                if fault.can_be() {
                    faults.push(fault);
                }
            }
        }
    }
    let by_packer = place.processes.get().is_some();
    let decisive = |fault: &Fault| by_packer && DECISIVE.contains(&(fault.call.as_str(), fault.action));
    let (decisive, others): (Vec<_>, Vec<_>) = faults.into_iter().partition(decisive);
    let size = if by_packer { SAMPLE_OF_PACKER } else { SAMPLE };
    let mut tally = Tally::default();
    for fault in decisive.into_iter().chain(sampled(others, size, scenario.actions.len())) {
        let outcomes = suffer(scenario, &place, &fault, &expected);
        tally.add(&fault, outcomes);
    }
    let table = tally.table(scenario.actions, &calls, if by_packer { "did it" } else { "started" });
    println!("{table}");
    common::record(scenario.name, &table);
    assert!(tally.wrong.is_empty(), "{}\n{table}", tally.wrong.join("\n"));
}

/// What comes of a scenario without a fault.
struct Expected {
    /// The slots and workenvs that go with the command that meets the faults.
    gone: BTreeSet<PathBuf>,
    /// What is in the cache in the end.
    contents: BTreeMap<PathBuf, String>,
}

/// All faults, or about `size` that are spread over all calls and actions.
fn sampled(faults: Vec<Fault>, size: usize, actions: usize) -> Vec<Fault> {
    if common::is_full() {
        return faults;
    }
    let mut step = (faults.len() / size).max(1);
    // Not always the same action.
    while step > 1 && (2..=actions).any(|n| actions.is_multiple_of(n) && step.is_multiple_of(n)) {
        step += 1;
    }
    faults.into_iter().step_by(step).collect()
}

/// The scenario, once, with this fault; what came of it, the command itself first.
fn suffer(scenario: &Scenario, place: &Place, fault: &Fault, expected: &Expected) -> Vec<Outcome> {
    let (what, when) = match fault.action {
        Action::Fails(error) => (format!("error={error}"), ""),
        Action::FailsFromNowOn(error) => (format!("error={error}"), "+"),
        Action::Signal(signal) => (format!("signal={signal}"), ""),
    };
    let inject = format!("inject={}:{what}:when={}{when}", fault.call, fault.nth);
    let meet = || {
        place.prepare(scenario);
        let step = (scenario.faulty)(place);
        let faulty = step.traced(Path::new("/dev/null"), &["-e", &format!("trace={}", fault.call), "-e", &inject]);
        let before = matches!(step.by, By::Packer(_)).then(|| common::snapshot(&place.cache()));
        (step, ended(faulty), before)
    };
    let is_met = |finished: &Option<Finished>| {
        finished.as_ref().is_none_or(|finished| !finished.stderr().contains("strace: Failed to tamper"))
    };
    let mut more = 0..3;
    // Now and then, on a busy machine, strace says that a call was made in spite of it: the fault was not met then.
    let (step, finished, before) = loop {
        let met = meet();
        if is_met(&met.1) || more.next().is_none() {
            break met;
        }
    };
    let mut outcomes = vec![match (finished, before) {
        (None, _) => Outcome::WrongNow("it hangs".to_owned()),
        (Some(finished), None) => judge(&step, &finished, fault),
        (Some(finished), Some(before)) => match untrue(place, &finished, &before, &expected.gone) {
            Some(what) => Outcome::WrongNow(format!("{what}: {finished}")),
            None => judge(&step, &finished, fault),
        },
    }];
    if matches!((step.by, &outcomes[..]), (By::Packer(_), [Outcome::WrongNow(_)])) {
        return outcomes;
    }
    drop(step);
    for step in (scenario.after)(place) {
        let next = step.finish();
        if !step.is_right(&next) {
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
    } else if let Some(difference) = common::difference(&expected.contents, &common::contents(&place.cache())) {
        outcomes.push(Outcome::WrongNext(difference));
    }
    outcomes
}

/// What came of the command that met the fault: never the output of another tree, and never an end without a reason.
fn judge(step: &Step, finished: &Finished, fault: &Fault) -> Outcome {
    let (said, reason) = (finished.stdout(), finished.stderr());
    // packer says first what it did, and then what not.
    let silent = said.is_empty() || matches!(step.by, By::Packer(_));
    // Where the launcher stays as the app's parent, the fault may come behind the app's end, which it does not change.
    if matches!(step.by, By::Parent) && are_reasons(&reason) {
        match (finished.code(), fault.action) {
            (Some(0), _) if said == step.output => return Outcome::Done,
            // The app is killed along with the launcher, perhaps between two lines.
            (None, Action::Signal(_)) if step.output.starts_with(&said) => return Outcome::Ended,
            _ => {}
        }
    }
    match (finished.code(), fault.action) {
        (Some(0), _) if step.is_right(finished) => Outcome::Done,
        (None, Action::Signal(_)) if silent && reason.is_empty() => Outcome::Ended,
        (Some(102..=107 | 109), _) if silent && is_a_reason(&reason) => Outcome::Refused,
        // It could not be told.
        (Some(102..=107 | 109), Action::FailsFromNowOn(_)) if fault.call == "write" && silent => Outcome::Refused,
        _ => Outcome::WrongNow(finished.to_string()),
    }
}

/// What is wrong with what packer left: each slot and workenv has to be as it was or away, and only those may go that
/// should. What its report says is removed has to be away, and what it does not call not deleted has to be deleted.
fn untrue(
    place: &Place,
    finished: &Finished,
    before: &BTreeMap<PathBuf, String>,
    may_go: &BTreeSet<PathBuf>,
) -> Option<String> {
    let after = common::snapshot(&place.cache());
    let gone = gone(before, &after);
    if let Some(lost) = gone.difference(may_go).next() {
        return Some(format!("{} is away", lost.display()));
    }
    let stays = |path: &&PathBuf| published(path).is_some_and(|name| !gone.contains(&name));
    let mut staying = before.keys().chain(after.keys()).filter(stays);
    if let Some(path) = staying.find(|path| before.get(*path) != after.get(*path)) {
        return Some(format!("{} is not as it was", path.display()));
    }
    let report: serde_json::Value = serde_json::from_slice(finished.stdout_bytes()).ok()?;
    let listed = |list: &str| report[list].as_array().into_iter().flatten();
    let removed = ["workenvs", "slots", "leftovers"].into_iter().flat_map(listed);
    let removed = removed.chain(listed("damaged").filter(|damage| damage["repaired"] == true));
    let removed: BTreeSet<&str> = removed.filter_map(|entry| entry["name"].as_str()).collect();
    let is_told = |name: &str| listed("not_deleted").any(|path| path.as_str().is_some_and(|path| path.ends_with(name)));
    // A repair only promises to move things away.
    let collects = report.get("not_deleted").is_some();
    let is_untrue = |name: &&str| {
        let is_trash = collects && name.starts_with(".trash.gc.");
        (removed.contains(name) || is_trash) && !is_told(name)
    };
    let mut there = after.keys().filter_map(|path| path.iter().nth(2)?.to_str());
    there.find(is_untrue).map(|name| format!("{name} is said to be removed, and there"))
}

/// The slots and workenvs that are missing.
fn gone(before: &BTreeMap<PathBuf, String>, after: &BTreeMap<PathBuf, String>) -> BTreeSet<PathBuf> {
    let names = |contents: &BTreeMap<PathBuf, String>| contents.keys().filter_map(|path| published(path)).collect();
    let (before, after): (BTreeSet<_>, BTreeSet<_>) = (names(before), names(after));
    before.difference(&after).cloned().collect()
}

/// The slot or workenv that an entry of a cache is in.
fn published(path: &Path) -> Option<PathBuf> {
    let name: PathBuf = path.iter().take(3).collect();
    let is_hidden = name.file_name()?.as_bytes().starts_with(b".");
    (name.iter().count() == 3 && !is_hidden).then_some(name)
}

/// One line, and more about it that is indented (docs/wording.md).
fn is_a_reason(text: &str) -> bool {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let told = first.contains(".psp: ") || first.starts_with("error: ") || first == "pspf: out of memory";
    told && lines.all(|line| line.starts_with("  "))
}

/// Any number of these.
fn are_reasons(text: &str) -> bool {
    text.lines().all(|line| line.starts_with("  ") || is_a_reason(line))
}

/// How often a system call is made.
struct Calls {
    call: String,
    /// Before packer opens the cache; none by a launcher.
    before: usize,
    /// From there on.
    made: usize,
}

/// The calls that the scenario's command makes until the app starts, and the most that one process makes of each.
fn calls(scenario: &Scenario, place: &Place) -> Vec<Calls> {
    let log = place.scratch.join("calls");
    place.prepare(scenario);
    let step = (scenario.faulty)(place);
    let finished = step.traced(&log, &[]).finish();
    assert!(step.is_right(&finished), "{:?} was expected of {finished}", step.output);
    let mut counts: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    let mut before: BTreeMap<String, usize> = BTreeMap::new();
    let mut begun = !matches!(step.by, By::Packer(_));
    let opened = format!("\"{}\"", place.cache().display());
    // The first execve is strace's own, of the package.
    let mut own = true;
    for line in fs::read_to_string(log).unwrap().lines() {
        let (process, rest) = line.split_once(' ').unwrap();
        let Some((call, arguments)) = rest.trim_start().split_once('(') else { continue };
        if call == "execve" && std::mem::take(&mut own) {
            continue;
        }
        // The standard library's, of its debug builds.
        if arguments.contains("F_GETFD") {
            continue;
        }
        begun |= arguments.contains(&opened);
        if !begun {
            *before.entry(call.to_owned()).or_default() += 1;
        } else if call.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            *counts.entry(call.to_owned()).or_default().entry(process.to_owned()).or_default() += 1;
        }
    }
    let calls = counts.into_iter().map(|(call, counts)| Calls {
        before: before.get(&call).copied().unwrap_or_default(),
        made: counts.into_values().max().unwrap_or_default(),
        call,
    });
    calls.collect()
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
