//! The one way in which packing runs other programs: watched, stoppable, and silent unless they fail.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// What a finished program left behind.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl Output {
    pub(super) fn success(&self) -> bool {
        self.status.success()
    }

    pub(super) fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(super) fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// The last lines of what it printed, both streams, for a person who wants to know why it failed.
    pub(super) fn tail(&self) -> String {
        self.last(TAIL_LINES)
    }

    /// As many of the last lines of what it printed, both streams.
    pub(super) fn last(&self, count: usize) -> String {
        let text = format!("{}{}", self.stdout_text(), self.stderr_text());
        let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        let from = lines.len().saturating_sub(count);
        lines[from..].join("\n")
    }
}

const TAIL_LINES: usize = 15;

/// Runs `command` to its end, or kills it with all its children once `progress` is cancelled.
///
/// Its standard input is empty, and its output is collected. A program that fails is not an error here: what that
/// means is for the caller to say.
pub(super) fn run(command: &mut Command, progress: &dyn Progress) -> Result<Output> {
    progress.check()?;
    // Unnamed files rather than pipes: nothing has to be drained while waiting, a daemon that inherits them cannot
    // keep us waiting, and a killed packer leaves none behind.
    let (stdout, stderr) = (unnamed_file()?, unnamed_file()?);
    let handle = |file: &File| file.try_clone().map(Stdio::from);
    let (out, err) = handle(&stdout)
        .and_then(|out| Ok((out, handle(&stderr)?)))
        .map_err(|error| Error::io("cannot pass on a temporary file", std::env::temp_dir(), &error))?;
    let child = command
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        // Nobody is there to answer: a question would wait for ever.
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("PIP_NO_INPUT", "1")
        .process_group(0)
        .spawn()
        .map_err(|error| {
            Error::new(Kind::Execution, "cannot start a program").file(program(command)).found(error.to_string())
        })?;
    progress.debug(&|| shown(command));
    let begun = Instant::now();
    let status = wait(child, progress)?;
    let took = begun.elapsed();
    let directory = command.get_current_dir().map_or("the same directory".into(), |path| path.to_string_lossy());
    progress.trace(&|| format!("ran for {:.1} s in {directory}", took.as_secs_f64()));
    let output = Output { status, stdout: contents(stdout)?, stderr: contents(stderr)? };
    progress.debug(&|| format!("{}{}{}", output.stdout_text(), output.stderr_text(), output.status));
    if !output.success() && output.tail().contains(NO_SPACE) {
        return Err(Error::new(Kind::Io, "the disk is full, said a program that packing needs")
            .file(program(command))
            .found(NO_SPACE)
            .output(output.tail())
            .hint("make room, or choose another place (TMPDIR moves the temporary files)"));
    }
    Ok(output)
}

/// The command as one would type it.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| launcher::text::quote(&[word.to_string_lossy().into_owned()]));
    format!("$ {}", words.collect::<Vec<_>>().join(" "))
}

/// How every system says that a disk is full.
const NO_SPACE: &str = "No space left on device";

fn wait(mut child: Child, progress: &dyn Progress) -> Result<ExitStatus> {
    let mut pause = Duration::from_millis(1);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if !progress.is_cancelled() => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(25));
            }
            outcome => {
                // The group is the child's own: see `process_group` above. It may have ended this very moment.
                if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                    let _ = kill_process_group(group, Signal::KILL);
                }
                let _ = child.wait();
                return match outcome {
                    Err(error) => Err(Error::io("cannot wait for a program", ".", &error)),
                    Ok(_) => Err(Error::cancelled()),
                };
            }
        }
    }
}

fn unnamed_file() -> Result<File> {
    tempfile::tempfile().map_err(|error| Error::io("cannot make a temporary file", std::env::temp_dir(), &error))
}

fn contents(mut file: File) -> Result<Vec<u8>> {
    let mut contents = Vec::new();
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_end(&mut contents))
        .map_err(|error| Error::io("cannot read a temporary file", std::env::temp_dir(), &error))?;
    Ok(contents)
}

fn program(command: &Command) -> &Path {
    Path::new(command.get_program())
}

/// The first executable file called `name` in `PATH`.
pub(crate) fn on_path(name: impl AsRef<OsStr>) -> Option<std::path::PathBuf> {
    all_on_path(name).into_iter().next()
}

/// Every executable file called `name` in `PATH`, in order.
pub(super) fn all_on_path(name: impl AsRef<OsStr>) -> Vec<std::path::PathBuf> {
    let name = name.as_ref();
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .filter(|file| is_executable(file))
        .collect()
}

pub(super) fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    use super::*;
    use crate::progress::Silent;

    struct Stop(AtomicBool);

    impl Progress for Stop {
        fn is_cancelled(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_and_status_of_a_program_are_collected() {
        let output = run(&mut sh("cat; echo out; echo err >&2; exit 3"), &Silent).unwrap();
        assert_eq!((output.status.code(), output.stdout_text().as_str()), (Some(3), "out\n"));
        assert_eq!(output.tail(), "out\nerr");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run(&mut Command::new("/nowhere/tool"), &Silent).unwrap_err();
        assert_eq!(error.kind(), Kind::Execution);
        assert!(error.to_string().contains("/nowhere/tool"));
    }

    #[test]
    fn cancelling_kills_the_program_and_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("survived");
        let stop = Stop(AtomicBool::new(false));
        let start = Instant::now();
        let error = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(100));
                stop.0.store(true, Ordering::Relaxed);
            });
            let script = format!("(sleep 1; touch '{}') & sleep 20", mark.display());
            run(&mut sh(&script), &stop).unwrap_err()
        });
        assert_eq!(error.kind(), Kind::Cancelled);
        assert!(start.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(1200));
        assert!(!mark.exists());
    }
}
