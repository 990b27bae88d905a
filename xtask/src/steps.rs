//! Steps that are announced, timed, and summed up at the end.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How a step ended that did not fail.
pub(crate) enum Outcome {
    Done,
    /// Something on this machine is missing; the reason says what and how to get it.
    Skipped(String),
}

/// Runs steps one after the other; a failure does not stop the others.
pub(crate) struct Steps {
    started: Instant,
    /// What is skipped counts as failed.
    strict: bool,
    passed: usize,
    failed: Vec<(String, String)>,
    skipped: Vec<(String, String)>,
}

impl Steps {
    pub(crate) fn new(strict: bool) -> Self {
        Self { started: Instant::now(), strict, passed: 0, failed: Vec::new(), skipped: Vec::new() }
    }

    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Result<Outcome>) {
        let started = Instant::now();
        println!("\n=== {name}");
        let (ended, list, reason) = match work() {
            Ok(Outcome::Done) => {
                self.passed += 1;
                println!("=== {name}: passed in {}", seconds(started.elapsed()));
                return;
            }
            Ok(Outcome::Skipped(reason)) if self.strict => {
                ("failed", &mut self.failed, format!("nothing may be skipped here, but {reason}"))
            }
            Ok(Outcome::Skipped(reason)) => ("skipped", &mut self.skipped, reason),
            Err(error) => ("failed", &mut self.failed, format!("{error:#}")),
        };
        println!("=== {name}: {ended} after {}: {reason}", seconds(started.elapsed()));
        list.push((name.to_owned(), reason));
    }

    /// Something inside a step was skipped; the step itself goes on.
    pub(crate) fn skipped(&mut self, name: &str, reason: &str) {
        let list = if self.strict { &mut self.failed } else { &mut self.skipped };
        list.push((name.to_owned(), reason.to_owned()));
    }

    /// The summary; an error when anything failed.
    pub(crate) fn finish(self) -> Result<()> {
        println!("\n=== {} steps passed in {}", self.passed, seconds(self.started.elapsed()));
        for (title, list) in [("skipped", &self.skipped), ("failed", &self.failed)] {
            for (name, reason) in list {
                println!("{title}: {name}: {reason}");
            }
        }
        match self.failed.len() {
            0 if self.skipped.is_empty() => println!("All is well: every check passed and nothing was skipped."),
            0 => println!("What ran has passed; `cargo xtask test --install` leaves nothing out."),
            count => bail!("{count} of the checks failed; they are named above"),
        }
        Ok(())
    }
}

fn seconds(duration: Duration) -> String {
    match duration.as_secs() {
        whole @ 100.. => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}
