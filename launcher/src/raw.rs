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

/// In the child: becomes the program. Apart from this process, it starts in a directory, without input, and with its output on
/// standard error. What comes back is why it did not.
#[cfg(feature = "all")]
pub(crate) fn become_child(command: &Command, apart: Option<&[u8]>, no_input: &impl rustix::fd::AsFd) -> Errno {
    use rustix::{process, stdio};
    // Otherwise it would go on in a workenv that the next start takes for its own.
    die_with_parent();
    if let Some(directory) = apart {
        // SAFETY: descriptor 2 is never closed or reused by this process; if the caller closed it, nothing happens.
        let _ = stdio::dup2_stdout(unsafe { stdio::stderr() });
        // It fails only where the caller closed it and it is in its place already.
        let _ = stdio::dup2_stdin(no_input);
        if let Err(errno) = process::chdir(directory) {
            return errno;
        }
    }
    execute(command)
}

/// In the child: ends it when this process ends.
pub(crate) fn die_with_parent() {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
}

/// Ends this process.
pub(crate) fn exit(code: i32) -> ! {
    loop {
        // SAFETY: exit_group takes a number, and does not return.
        let _ = unsafe { call(EXIT_GROUP, [code as usize, 0, 0, 0]) };
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
        Self(set_action(SIGCHLD, &Action::default()))
    }

    /// Puts it back in a child, which has a copy of this.
    pub(crate) fn restore(&self) {
        set_action(SIGCHLD, &self.0);
    }
}

#[cfg(feature = "all")]
impl Drop for Signals {
    fn drop(&mut self) {
        self.restore();
    }
}

/// Sets what happens when a signal arrives; what happened before.
#[cfg(feature = "all")]
fn set_action(signal: usize, action: &Action) -> Action {
    let mut before = Action::default();
    // SAFETY: the kernel reads one action and writes another, each of 32 bytes; a signal set has 8. No handler of
    // ours is installed: only the default and what was there before.
    let _ = unsafe { call(RT_SIGACTION, [signal, action.as_ptr() as usize, before.as_mut_ptr() as usize, 8]) };
    before
}

/// Signals by their bits: that of signal 1 is the lowest.
#[cfg(feature = "all")]
pub(crate) type Mask = u64;

/// Blocks these signals and no others; what was blocked before.
#[cfg(feature = "all")]
pub(crate) fn block_signals(mask: Mask) -> Mask {
    const SET: usize = 2;
    let mut before = 0;
    // SAFETY: the kernel reads a signal set and writes another, of 8 bytes each.
    let _ = unsafe { call(RT_SIGPROCMASK, [SET, (&raw const mask) as usize, (&raw mut before) as usize, 8]) };
    before
}

/// The next signal, all of them being blocked, and whether a process sent it: what a terminal or the kernel sends goes to the whole
/// process group, or is about this process alone. `None` when it was interrupted, or there is none and nobody waits.
#[cfg(feature = "all")]
pub(crate) fn next_signal(wait: bool) -> Option<(i32, bool)> {
    // `siginfo_t`: number, errno and code in front, 128 bytes in all.
    let mut info = [0_i32; 32];
    let no_time = [0_u64; 2];
    let timeout = if wait { 0 } else { no_time.as_ptr() as usize };
    let all = Mask::MAX;
    // SAFETY: the kernel reads a signal set of 8 bytes and, unless the pointer is null, a `struct timespec` of two numbers of 64 bits,
    // and writes the 128 bytes of a `siginfo_t`.
    let signal = unsafe { call(RT_SIGTIMEDWAIT, [(&raw const all) as usize, info.as_mut_ptr() as usize, timeout, 8]) };
    // Codes of processes (SI_USER, SI_QUEUE, SI_TKILL) are not positive.
    Some((signal.ok()? as i32, info[2] <= 0))
}

/// Sends a signal to a process. One that is gone does not get it.
#[cfg(feature = "all")]
pub(crate) fn kill(process: rustix::process::Pid, signal: i32) {
    // SAFETY: two numbers.
    let _ = unsafe { call(KILL, [process.as_raw_nonzero().get() as usize, signal as usize, 0, 0]) };
}

/// Ends this process by a signal, without a core file: that of the child that died of it stays. Comes back when the signal does not
/// end this process, as the first one of a container.
#[cfg(feature = "all")]
pub(crate) fn die_of(signal: i32) {
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    set_action(signal as usize, &Action::default());
    kill(rustix::process::getpid(), signal);
    block_signals(!bit(signal));
}

/// A signal's bit in a mask.
#[cfg(feature = "all")]
fn bit(signal: i32) -> Mask {
    1_u64.wrapping_shl((signal - 1) as u32)
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
#[cfg(all(feature = "all", target_arch = "x86_64"))]
const RT_SIGPROCMASK: usize = 14;
#[cfg(all(feature = "all", target_arch = "aarch64"))]
const RT_SIGPROCMASK: usize = 135;
#[cfg(all(feature = "all", target_arch = "x86_64"))]
const RT_SIGTIMEDWAIT: usize = 128;
#[cfg(all(feature = "all", target_arch = "aarch64"))]
const RT_SIGTIMEDWAIT: usize = 137;
#[cfg(all(feature = "all", target_arch = "x86_64"))]
const KILL: usize = 62;
#[cfg(all(feature = "all", target_arch = "aarch64"))]
const KILL: usize = 129;
// <asm/signal.h>
const SIGCHLD: usize = 17;
