//! File systems that are too small or may not be written, seen by one child process alone.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use super::process::{Finish as _, Finished};

/// What kind of file system.
#[derive(Debug, Clone, Copy)]
pub enum Mount {
    /// Holds this many kibibytes.
    Small(u32),
    /// Holds nothing, and nothing can be written.
    ReadOnly,
    /// Holds what it should, and runs no program.
    NoExec,
}

/// Runs `command` with a tmpfs over `directory` in a mount namespace of its own. What is in the directory when the
/// command has ended is listed on its standard output, each line after `left over: `. `None`: skipped.
pub fn on_a_tmpfs(mount: Mount, directory: &Path, command: &Command) -> Option<Finished> {
    let options = match mount {
        Mount::Small(kibibytes) => format!("size={kibibytes}k"),
        Mount::ReadOnly => "ro".to_owned(),
        Mount::NoExec => "noexec".to_owned(),
    };
    let trial = namespace("ro", directory, OsStr::new("true")).finish();
    super::require(match trial.code() {
        Some(0) => Ok(()),
        _ => Err(format!("this machine lets no test mount a file system: {}", trial.stderr().trim())),
    })?;
    let mut wrapped = namespace(&options, directory, command.get_program());
    wrapped.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    Some(wrapped.finish())
}

fn namespace(options: &str, directory: &Path, program: &OsStr) -> Command {
    const SCRIPT: &str = r#"
        options=$1 directory=$2; shift 2
        mount -t tmpfs -o "$options" tmpfs "$directory" || exit 71
        "$@"; code=$?
        ls -A "$directory" | sed 's/^/left over: /'
        exit $code"#;
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !super::is_root() {
        command.arg("--map-root-user");
    }
    command.args(["sh", "-c", SCRIPT, "sh", options]).arg(directory).arg(program);
    command
}
