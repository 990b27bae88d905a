//! Running a process and saying what is expected of it.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Output, Stdio};

/// Runs a command to its end, without standard input.
pub trait Finish {
    fn finish(&mut self) -> Finished;
}

impl Finish for Command {
    #[track_caller]
    fn finish(&mut self) -> Finished {
        let output = self.stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|error| panic!("{:?} does not start: {error}", self.get_program()));
        Finished { what: format!("{self:?}"), output }
    }
}

/// A process that has ended. Every expectation that fails shows everything that the process said.
pub struct Finished {
    what: String,
    output: Output,
}

impl Finished {
    pub fn new(what: impl Into<String>, output: Output) -> Self {
        Self { what: what.into(), output }
    }

    /// It exited with this code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert!(self.code() == Some(code), "exit code {code} was expected of {self}");
        self
    }

    /// It exited with one of these codes.
    #[track_caller]
    pub fn exits_with_one_of(self, codes: &[i32]) -> Self {
        assert!(self.code().is_some_and(|code| codes.contains(&code)), "one of {codes:?} was expected of {self}");
        self
    }

    /// It wrote nothing to standard error.
    #[track_caller]
    pub fn stays_quiet(self) -> Self {
        assert!(self.output.stderr.is_empty(), "nothing on stderr was expected of {self}");
        self
    }

    /// It wrote nothing to standard output.
    #[track_caller]
    pub fn prints_nothing(self) -> Self {
        assert!(self.output.stdout.is_empty(), "nothing on stdout was expected of {self}");
        self
    }

    /// `text` is part of its standard output.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert!(self.stdout().contains(text), "{text:?} on stdout was expected of {self}");
        self
    }

    /// `text` is part of its standard error.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr().contains(text), "{text:?} on stderr was expected of {self}");
        self
    }

    /// Its standard output is one JSON document.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.output.stdout).unwrap_or_else(|error| panic!("JSON ({error}) of {self}"))
    }

    /// None when a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    /// The signal that ended it.
    pub fn signal(&self) -> Option<i32> {
        self.output.status.signal()
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub fn stdout_bytes(&self) -> &[u8] {
        &self.output.stdout
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n--- {}", self.what, self.output.status)?;
        write!(f, "\n--- stdout\n{}\n--- stderr\n{}", self.stdout(), self.stderr())
    }
}
