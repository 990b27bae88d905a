//! Becoming the app.

use alloc::vec::Vec;

#[cfg(all(feature = "all", not(feature = "std")))]
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

use crate::environment::Environment;
#[cfg(feature = "all")]
use crate::error::{End, Result};
use crate::error::{Error, ErrorKind, shown};
#[cfg(not(feature = "std"))]
use crate::raw;
#[cfg(all(feature = "all", not(feature = "std")))]
use crate::sys;

/// What to execute.
#[derive(Debug, Clone)]
pub struct Command {
    /// The path of the program. It is executed by this path, never searched for.
    pub program: Vec<u8>,
    /// The arguments, the program's own name first.
    pub args: Vec<Vec<u8>>,
    /// The whole environment.
    pub env: Environment,
    /// Where it starts, when that is not where its caller is.
    #[cfg(feature = "all")]
    pub directory: Option<Vec<u8>>,
}

/// Tells the dynamic linker where the program lies, which $ORIGIN in its run path asks, where there is no /proc that
/// could tell it (ld.so(8)).
pub fn add_origin(command: &mut Command) {
    if rustix::fs::statat(rustix::fs::CWD, c"/proc/self/exe", rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_err() {
        command.env.set(b"LD_ORIGIN_PATH", &directory_of(&command.program));
    }
}

/// The directory of the file that a program's path leads to, when its last component is a link.
fn directory_of(program: &[u8]) -> Vec<u8> {
    let mut path = program.to_vec();
    let up = |path: &mut Vec<u8>| path.truncate(path.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
    up(&mut path);
    if let Ok(target) = crate::sys::read_link(rustix::fs::CWD, program) {
        path = if target.starts_with(b"/") { target } else { crate::sys::join(&path, &target) };
        up(&mut path);
    }
    path
}

/// Replaces this process by the app; what comes back is why not.
#[cfg(feature = "std")]
pub fn replace_process(command: &Command) -> Error {
    use std::os::unix::process::CommandExt;
    #[cfg(feature = "all")]
    if let Err(error) = enter(command) {
        return error;
    }
    let error = process(command).exec();
    failure(command, Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
}

/// Runs a program in this directory to its end, without input, and with its output on standard error.
#[cfg(all(feature = "std", feature = "all"))]
pub fn run(command: &Command, directory: &[u8]) -> Result<End> {
    use std::os::unix::process::ExitStatusExt;

    let mut process = process(command);
    set_apart(&mut process, directory)?;
    let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL);
    let status = process.status().map_err(|error| failure(command, errno(error)))?;
    Ok(match status.signal() {
        Some(signal) => End::Signal(signal),
        None => End::Exit(status.code().unwrap_or_default()),
    })
}

/// Starts it in this directory, without input, and with its output on standard error.
#[cfg(all(feature = "std", feature = "all"))]
pub(crate) fn set_apart(process: &mut std::process::Command, directory: &[u8]) -> Result<()> {
    use std::ffi::OsStr;
    use std::os::fd::AsFd;
    use std::os::unix::ffi::OsStrExt;
    use std::process::Stdio;

    let output = std::io::stderr().as_fd().try_clone_to_owned();
    let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL);
    let output = output.map_err(|error| Error::io("cannot use", b"standard error", errno(error)))?;
    process.current_dir(OsStr::from_bytes(directory)).stdin(Stdio::null()).stdout(output);
    Ok(())
}

#[cfg(feature = "std")]
pub(crate) fn process(command: &Command) -> std::process::Command {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::process::CommandExt;
    // It also gives the app back the signal mask and SIGPIPE that a Rust process has changed.
    let mut process = std::process::Command::new(OsStr::from_bytes(&command.program));
    if let Some((name, args)) = command.args.split_first() {
        process.arg0(OsStr::from_bytes(name)).args(args.iter().map(|arg| OsStr::from_bytes(arg)));
    }
    process.env_clear();
    process.envs(command.env.variables().map(|(name, value)| (OsStr::from_bytes(name), OsStr::from_bytes(value))));
    process
}

/// Replaces this process by the app; what comes back is why not.
#[cfg(not(feature = "std"))]
pub fn replace_process(command: &Command) -> Error {
    #[cfg(feature = "all")]
    if let Err(error) = enter(command) {
        return error;
    }
    failure(command, raw::execute(command))
}

/// Goes to where the app starts.
#[cfg(feature = "all")]
pub(crate) fn enter(command: &Command) -> Result<()> {
    let Some(directory) = &command.directory else { return Ok(()) };
    crate::sys::change_directory(directory).map_err(|errno| Error::io("cannot start the app in", directory, errno))
}

/// The time, in nanoseconds since 1970.
#[cfg(feature = "std")]
pub fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

/// The time, in nanoseconds since 1970.
#[cfg(not(feature = "std"))]
pub fn now() -> u64 {
    raw::now()
}

/// A child process.
#[cfg(not(feature = "std"))]
pub type Child = rustix::process::Pid;

/// Starts a child that does ahead of time what this process is going to do. It is allowed to fail, or not to start: nobody asks
/// what became of it. It dies with us.
#[cfg(not(feature = "std"))]
pub fn ahead(work: &dyn Fn()) -> Option<Child> {
    let child = raw::fork().ok()?;
    if child.is_none() {
        raw::die_with_parent();
        work();
        raw::exit(0)
    }
    child
}

/// Waits for the child's end, so that the app has none that it knows nothing of.
#[cfg(not(feature = "std"))]
pub fn wait(child: Option<Child>) {
    if let Some(child) = child {
        let wait = || rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
        let _ = crate::sys::retry(wait);
    }
}

/// Runs a program in this directory to its end, without input, and with its output on standard error. It dies with us.
#[cfg(all(feature = "all", not(feature = "std")))]
pub fn run(command: &Command, directory: &[u8]) -> Result<End> {
    let signals = raw::Signals::of_children();
    let child = spawn(command, Some(directory), &|| signals.restore(), &|_| {})?;
    let ended = sys::retry(|| rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty()));
    let status = ended.map_err(|errno| failure(command, errno))?.map(|(_, status)| status);
    Ok(status.and_then(end_of).unwrap_or(End::Exit(0)))
}

/// Starts a child that becomes the program: in this directory, without input and with its output on standard error, or as this
/// process is. It dies with us. `prepare` is done in the child before, `forked` here as soon as there is a child.
#[cfg(all(feature = "all", not(feature = "std")))]
pub(crate) fn spawn(
    command: &Command,
    apart: Option<&[u8]>,
    prepare: &dyn Fn(),
    forked: &dyn Fn(Child),
) -> Result<Child> {
    let failed = |errno| failure(command, errno);
    // Nothing comes out of the one; through the other a child says why it could not become the program.
    let no_input = pipe().map_err(failed)?.0;
    let (reason, tell) = pipe().map_err(failed)?;
    let Some(child) = raw::fork().map_err(failed)? else {
        prepare();
        let errno = raw::become_child(command, apart, &no_input);
        let _ = sys::write_all(tell.as_fd(), &errno.raw_os_error().to_ne_bytes());
        raw::exit(127)
    };
    drop(tell);
    forked(child);
    let reason = sys::read_all(reason.as_fd(), 4).unwrap_or_default();
    if let Ok(errno) = <[u8; 4]>::try_from(reason) {
        wait(Some(child));
        return Err(failed(Errno::from_raw_os_error(i32::from_ne_bytes(errno))));
    }
    Ok(child)
}

/// How a child ended, if it did.
#[cfg(feature = "all")]
pub(crate) fn end_of(status: rustix::process::WaitStatus) -> Option<End> {
    status.terminating_signal().map(End::Signal).or_else(|| status.exit_status().map(End::Exit))
}

#[cfg(all(feature = "all", not(feature = "std")))]
fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
}

pub(crate) fn failure(command: &Command, errno: Errno) -> Error {
    ErrorKind::Execution { program: shown(&command.program), errno }.into()
}
