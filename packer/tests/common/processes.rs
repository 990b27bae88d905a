//! Few processes: who looks at all that run finds the same ones whenever it looks.

use std::ffi::OsStr;
use std::fs;
use std::process::{Child, Command, Stdio};

use super::is_root;
use super::process::Finish as _;

/// A process that does nothing, alone in a process namespace with a `/proc` of its own; both end when this is dropped.
pub struct Processes {
    first: Child,
    number: String,
}

impl Processes {
    /// `environment` is all that is in the environment of that process.
    pub fn new(environment: &[(&str, &OsStr)]) -> Self {
        let mut namespace = namespace();
        namespace
            .args(["--", "/bin/sh", "-c", "echo ready; read -r wait"])
            .env_clear()
            .envs(environment.iter().copied());
        let mut first = namespace.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a process");
        let mut ready = [0; 6];
        std::io::Read::read_exact(first.stdout.as_mut().expect("its output"), &mut ready).expect("it to be there");
        let children = format!("/proc/{0}/task/{0}/children", first.id());
        let number = fs::read_to_string(children).expect("its number").trim().to_owned();
        Self { first, number }
    }

    /// The same command, about to be started beside it.
    pub fn beside(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.args(["--target", &self.number, "--pid", "--mount"]);
        if !is_root() {
            inside.args(["--user", "--preserve-credentials"]);
        }
        inside.arg("--").arg(command.get_program()).args(command.get_args()).env_clear();
        inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        inside
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        // What it reads has an end then.
        drop(self.first.stdin.take());
        let _ = self.first.wait();
    }
}

/// Succeeds where there can be [`Processes`].
pub fn require_processes() -> Option<()> {
    let trial = namespace().args(["--", "true"]).finish();
    super::require(match trial.code() {
        Some(0) => Ok(()),
        _ => Err(format!("this machine lets no test have processes of its own: {}", trial.stderr().trim())),
    })
}

fn namespace() -> Command {
    let mut namespace = Command::new("unshare");
    if !is_root() {
        namespace.arg("--map-root-user");
    }
    namespace.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    namespace
}
