//! System calls that rustix has no safe function for, where there is no libc.

use alloc::vec::Vec;

use rustix::io::Errno;

use crate::exec::Command;

/// Becomes the program; what comes back is why not.
pub(crate) fn execute(command: &Command) -> Errno {
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
pub(crate) fn now() -> u64 {
    let mut time = [0_u64; 2];
    // SAFETY: the kernel writes a `struct timespec`, two numbers of 64 bits: seconds and nanoseconds.
    let _ = unsafe { call(CLOCK_GETTIME, [0, time.as_mut_ptr() as usize, 0, 0]) };
    time[0].wrapping_mul(1_000_000_000).wrapping_add(time[1])
}

/// A child of this process, or `None` in the child.
pub(crate) fn fork() -> Result<Option<rustix::process::Pid>, Errno> {
    // SAFETY: without flags but the signal at its end, clone(2) is fork: the child has copies of everything, and
    // this process has one thread.
    let child = unsafe { call(CLONE, [SIGCHLD, 0, 0, 0]) }?;
    Ok(rustix::process::Pid::from_raw(child as i32))
}

/// In the child: what a setup command finds when it starts. What comes back is why it did not.
#[cfg(feature = "all")]
pub(crate) fn become_setup_command(command: &Command, directory: &[u8], input: &impl rustix::fd::AsFd) -> Errno {
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
pub(crate) fn die_with_parent() {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
}

/// Ends a child that did not become a program.
pub(crate) fn exit() -> ! {
    loop {
        // SAFETY: exit_group takes a number, and does not return.
        let _ = unsafe { call(EXIT_GROUP, [127, 0, 0, 0]) };
    }
}

/// What the caller wants to happen when children end, put back when dropped. Who ignores it (SIG_IGN is
/// inherited) is not told how they ended.
#[cfg(feature = "all")]
pub(crate) struct Signals(Action);

/// `struct sigaction` of the kernel: handler, flags, restorer, mask. Zeros are the default.
#[cfg(feature = "all")]
type Action = [usize; 4];

#[cfg(feature = "all")]
impl Signals {
    pub(crate) fn of_children() -> Self {
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
