//! Ctrl-C while packing: exit code 130, no process left, nothing left behind.

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use common::{Finished, Scratch};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// A pack of hello-cli in a process group of its own, as a terminal starts it.
struct Packing {
    child: Child,
    scratch: Scratch,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Packing {
    fn start() -> Self {
        let scratch = Scratch::new();
        let project = scratch.join("project");
        common::copy_tree(&common::source_of("hello-cli"), &project);
        let mut pack = common::pack(&project, &scratch.dir("out"));
        pack.env("TMPDIR", scratch.dir("tmp")).env("PSPF_TEST_MARK", &*scratch).process_group(0);
        pack.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pack.spawn().expect("packer");
        let progress = BufReader::new(child.stderr.take().expect("stderr"));
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || progress.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, scratch, lines }
    }

    /// Waits until packing has said this many lines; false when it ended before.
    fn wait_for_lines(&self, count: usize) -> bool {
        (0..count).all(|_| self.lines.recv().is_ok())
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn finish(mut self) -> (Finished, Scratch) {
        let mut stdout = Vec::new();
        self.child.stdout.take().expect("stdout").read_to_end(&mut stdout).expect("its output");
        let status = self.child.wait().expect("its end");
        let stderr = self.lines.iter().collect::<Vec<_>>().join("\n").into_bytes();
        (Finished::new("a pack that was stopped", Output { status, stdout, stderr }), self.scratch)
    }
}

#[track_caller]
fn left_nothing(finished: Finished, scratch: &Scratch) {
    let finished = finished.exits(130);
    for place in ["out", "tmp"] {
        let left: Vec<_> = common::snapshot(&scratch.join(place)).into_keys().collect();
        assert_eq!(left.len(), 1, "left in {place}: {left:?}, after {finished}");
    }
    // What was killed may take a moment to be gone.
    let patience = Instant::now() + Duration::from_secs(10);
    while !still_running(scratch).is_empty() && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(still_running(scratch), Vec::<String>::new(), "after {finished}");
}

/// The commands of all processes that were started from this scratch directory.
fn still_running(scratch: &Path) -> Vec<String> {
    let mark = format!("PSPF_TEST_MARK={}", scratch.display());
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    processes
        .filter(|process| {
            fs::read(process.path().join("environ")).is_ok_and(|e| e.split(|b| *b == 0).any(|v| v == mark.as_bytes()))
        })
        .filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok())
        .map(|command| command.replace('\0', " "))
        .collect()
}

#[test]
fn ctrl_c_at_a_terminal_stops_packing_at_any_stage() {
    if common::hello().is_none() {
        return; // There is no interpreter; that test has said so.
    }
    let _heavy = common::heavy();
    let mut stopped = 0;
    for lines in 1..=12 {
        let packing = Packing::start();
        if !packing.wait_for_lines(lines) {
            break;
        }
        // A terminal signals the whole foreground group: packer, and uv or pip below it. A pack that is all but done
        // may win the race; then it has to have won it completely.
        if kill_process_group(packing.pid(), Signal::INT).is_err() {
            break;
        }
        let (finished, scratch) = packing.finish();
        if finished.code() == Some(0) {
            assert!(scratch.join("out/hello-cli-1.0.0.psp").is_file());
            break;
        }
        left_nothing(finished, &scratch);
        stopped += 1;
    }
    assert!(stopped >= 3, "packing says at least three lines about its progress, and can be stopped after each");
}

#[test]
fn a_signal_to_packer_alone_stops_its_children_too() {
    if common::hello().is_none() {
        return;
    }
    let _heavy = common::heavy();
    for signal in [Signal::INT, Signal::TERM] {
        let packing = Packing::start();
        assert!(packing.wait_for_lines(2));
        kill_process(packing.pid(), signal).expect("packer runs");
        let (finished, scratch) = packing.finish();
        left_nothing(finished, &scratch);
    }
}
