//! Becoming the app.

use alloc::vec::Vec;

#[cfg(all(feature = "all", not(feature = "std")))]
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

use crate::environment::Environment;
use crate::error::{Error, ErrorKind, shown};
#[cfg(feature = "all")]
use crate::error::{Result, SetupEnd};
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
pub fn run(command: &Command, directory: &[u8]) -> Result<SetupEnd> {
    use std::ffi::OsStr;
    use std::os::fd::AsFd;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Stdio;

    let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL);
    let output = std::io::stderr().as_fd().try_clone_to_owned();
    let output = output.map_err(|error| Error::io("cannot use", b"standard error", errno(error)))?;
    let mut process = process(command);
    process.current_dir(OsStr::from_bytes(directory)).stdin(Stdio::null()).stdout(output);
    let status = process.status().map_err(|error| failure(command, errno(error)))?;
    Ok(match status.signal() {
        Some(signal) => SetupEnd::Signal(signal),
        None => SetupEnd::Exit(status.code().unwrap_or_default()),
    })
}

#[cfg(feature = "std")]
fn process(command: &Command) -> std::process::Command {
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
fn enter(command: &Command) -> Result<()> {
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
        raw::exit();
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
pub fn run(command: &Command, directory: &[u8]) -> Result<SetupEnd> {
    let failed = |errno| failure(command, errno);
    // Nothing comes out of the one; through the other a child says why it could not become the program.
    let no_input = pipe().map_err(failed)?.0;
    let (reason, tell) = pipe().map_err(failed)?;
    let signals = raw::Signals::of_children();
    let child = match raw::fork() {
        Ok(Some(child)) => child,
        Ok(None) => {
            drop(signals);
            let errno = raw::become_setup_command(command, directory, &no_input);
            let _ = sys::write_all(tell.as_fd(), &errno.raw_os_error().to_ne_bytes());
            raw::exit()
        }
        Err(errno) => return Err(failed(errno)),
    };
    drop(tell);
    let reason = sys::read_all(reason.as_fd(), 4).unwrap_or_default();
    let ended = sys::retry(|| rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty()));
    drop(signals);
    if let Ok(errno) = <[u8; 4]>::try_from(reason) {
        return Err(failed(Errno::from_raw_os_error(i32::from_ne_bytes(errno))));
    }
    let status = ended.map_err(failed)?.map(|(_, status)| status);
    Ok(match status.and_then(|status| status.terminating_signal()) {
        Some(signal) => SetupEnd::Signal(signal),
        None => SetupEnd::Exit(status.and_then(|status| status.exit_status()).unwrap_or_default()),
    })
}

#[cfg(all(feature = "all", not(feature = "std")))]
fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
}

fn failure(command: &Command, errno: Errno) -> Error {
    ErrorKind::Execution { program: shown(&command.program), errno }.into()
}

/// System calls that rustix has no safe function for.
#[cfg(not(feature = "std"))]
mod raw {
    use alloc::vec::Vec;

    use rustix::io::Errno;

    use super::Command;

    /// Becomes the program; what comes back is why not.
    pub(super) fn execute(command: &Command) -> Errno {
        let program = terminated(core::slice::from_ref(&command.program));
        let (Some((_program, program)), Some((_args, args)), Some((_env, env))) =
            (program, terminated(&command.args), terminated(command.env.strings()))
        else {
            // A NUL character in the command line or the environment.
            return Errno::INVAL;
        };
        // SAFETY: the kernel reads three pointers: a NUL-terminated path, and two arrays of pointers to NUL-terminated
        // strings that end in a null pointer. All of them outlive the call. On success it does not return.
        let result = unsafe { call(EXECVE, [program[0] as usize, args.as_ptr() as usize, env.as_ptr() as usize, 0]) };
        result.err().unwrap_or(Errno::INVAL)
    }

    /// The texts with NULs at their ends and pointers to them with a null pointer at the end, unless there is a NUL
    /// within one of them.
    #[inline(never)]
    fn terminated(texts: &[Vec<u8>]) -> Option<(Vec<Vec<u8>>, Vec<*const u8>)> {
        let (mut strings, mut pointers) = (Vec::new(), Vec::new());
        for text in texts {
            if text.contains(&0) {
                return None;
            }
            let mut string = text.clone();
            string.push(0);
            pointers.push(string.as_ptr());
            strings.push(string);
        }
        pointers.push(core::ptr::null());
        Some((strings, pointers))
    }

    /// The time, in nanoseconds since 1970; 0 where the system does not tell.
    pub(super) fn now() -> u64 {
        let mut time = [0_u64; 2];
        // SAFETY: the kernel writes a `struct timespec`, two numbers of 64 bits: seconds and nanoseconds.
        let _ = unsafe { call(CLOCK_GETTIME, [0, time.as_mut_ptr() as usize, 0, 0]) };
        time[0].wrapping_mul(1_000_000_000).wrapping_add(time[1])
    }

    /// A child of this process, or `None` in the child.
    pub(super) fn fork() -> Result<Option<rustix::process::Pid>, Errno> {
        // SAFETY: without flags but the signal at its end, clone(2) is fork: the child has copies of everything, and
        // this process has one thread.
        let child = unsafe { call(CLONE, [SIGCHLD, 0, 0, 0]) }?;
        Ok(rustix::process::Pid::from_raw(child as i32))
    }

    /// In the child: what a setup command finds when it starts. What comes back is why it did not.
    #[cfg(feature = "all")]
    pub(super) fn become_setup_command(command: &Command, directory: &[u8], input: &impl rustix::fd::AsFd) -> Errno {
        use rustix::{process, stdio};
        // Otherwise it would go on in a workenv that the next start begins anew.
        die_with_parent();
        // SAFETY: descriptor 2 is never closed or reused by this process; if the caller closed it, nothing happens.
        let _ = stdio::dup2_stdout(unsafe { stdio::stderr() });
        // It fails only where the caller closed it and it is in its place already.
        let _ = stdio::dup2_stdin(input);
        process::chdir(directory).err().unwrap_or_else(|| execute(command))
    }

    /// In the child: ends it when this process ends.
    pub(super) fn die_with_parent() {
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    }

    /// Ends a child that did not become a program.
    pub(super) fn exit() -> ! {
        loop {
            // SAFETY: exit_group takes a number, and does not return.
            let _ = unsafe { call(EXIT_GROUP, [127, 0, 0, 0]) };
        }
    }

    /// What the caller wants to happen when children end, put back when dropped. Who ignores it (SIG_IGN is
    /// inherited) is not told how they ended.
    #[cfg(feature = "all")]
    pub(super) struct Signals(Action);

    /// `struct sigaction` of the kernel: handler, flags, restorer, mask. Zeros are the default.
    #[cfg(feature = "all")]
    type Action = [usize; 4];

    #[cfg(feature = "all")]
    impl Signals {
        pub(super) fn of_children() -> Self {
            let mut before = Action::default();
            set(&Action::default(), &mut before);
            Self(before)
        }
    }

    #[cfg(feature = "all")]
    impl Drop for Signals {
        fn drop(&mut self) {
            set(&self.0, &mut Action::default());
        }
    }

    #[cfg(feature = "all")]
    fn set(action: &Action, before: &mut Action) {
        let (action, before) = (action.as_ptr() as usize, before.as_mut_ptr() as usize);
        // SAFETY: the kernel reads one action and writes another, each of 32 bytes; a signal set has 8. No handler of
        // ours is installed: only the default and what was there before.
        let _ = unsafe { call(RT_SIGACTION, [SIGCHLD, action, before, 8]) };
    }

    /// # Safety
    ///
    /// The call with these arguments may touch no memory of this process in a way that the compiler does not expect.
    #[inline(never)]
    unsafe fn call(number: usize, args: [usize; 4]) -> Result<usize, Errno> {
        let result: isize;
        // SAFETY: the caller's promise; but for the result, rcx and r11 no register changes. Where clone has a fifth
        // argument, its flags say that it is not looked at.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            core::arch::asm!(
                "syscall",
                inlateout("rax") number => result,
                in("rdi") args[0],
                in("rsi") args[1],
                in("rdx") args[2],
                in("r10") args[3],
                out("rcx") _,
                out("r11") _,
                options(nostack),
            );
        }
        // SAFETY: as above; but for the result no register changes.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            core::arch::asm!(
                "svc 0",
                in("x8") number,
                inlateout("x0") args[0] => result,
                in("x1") args[1],
                in("x2") args[2],
                in("x3") args[3],
                options(nostack),
            );
        }
        if result < 0 { Err(Errno::from_raw_os_error(-result as i32)) } else { Ok(result as usize) }
    }

    // <asm/unistd.h>
    #[cfg(target_arch = "x86_64")]
    const EXECVE: usize = 59;
    #[cfg(target_arch = "aarch64")]
    const EXECVE: usize = 221;
    #[cfg(target_arch = "x86_64")]
    const CLONE: usize = 56;
    #[cfg(target_arch = "aarch64")]
    const CLONE: usize = 220;
    #[cfg(target_arch = "x86_64")]
    const CLOCK_GETTIME: usize = 228;
    #[cfg(target_arch = "aarch64")]
    const CLOCK_GETTIME: usize = 113;
    #[cfg(target_arch = "x86_64")]
    const EXIT_GROUP: usize = 231;
    #[cfg(target_arch = "aarch64")]
    const EXIT_GROUP: usize = 94;
    #[cfg(all(feature = "all", target_arch = "x86_64"))]
    const RT_SIGACTION: usize = 13;
    #[cfg(all(feature = "all", target_arch = "aarch64"))]
    const RT_SIGACTION: usize = 134;
    // <asm/signal.h>
    const SIGCHLD: usize = 17;
}
