//! Becoming the app.

use alloc::vec::Vec;

use crate::environment::Environment;
use crate::error::{Error, ErrorKind, shown};

/// What to execute.
#[derive(Debug, Clone)]
pub struct Command {
    /// The path of the program. It is executed by this path, never searched for.
    pub program: Vec<u8>,
    /// The arguments, the program's own name first.
    pub args: Vec<Vec<u8>>,
    /// The whole environment.
    pub env: Environment,
}

/// The directory of the file that a program's path leads to, when its last component is a link.
pub fn directory_of(program: &[u8]) -> Vec<u8> {
    let parent = |path: &[u8]| path[..path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)].to_vec();
    let directory = parent(program);
    match rustix::fs::readlinkat(rustix::fs::CWD, program, Vec::new()) {
        Ok(target) if target.to_bytes().starts_with(b"/") => parent(target.to_bytes()),
        Ok(target) => parent(&crate::sys::join(&directory, target.to_bytes())),
        Err(_) => directory,
    }
}

/// Replaces this process by the app; what comes back is why not.
#[cfg(feature = "std")]
pub fn replace_process(command: &Command) -> Error {
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
    let error = process.exec();
    failure(command, rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::INVAL))
}

/// Replaces this process by the app; what comes back is why not.
#[cfg(not(feature = "std"))]
pub fn replace_process(command: &Command) -> Error {
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

    let program = terminated(core::slice::from_ref(&command.program));
    let (Some((_program, program)), Some((_args, args)), Some((_env, env))) =
        (program, terminated(&command.args), terminated(command.env.strings()))
    else {
        return Error::manifest("a NUL character in the command line or the environment", "");
    };
    let errno: isize;
    // SAFETY: the kernel reads three pointers: a NUL-terminated path, and two arrays of pointers to NUL-terminated
    // strings that end in a null pointer. All of them outlive the call. On success it does not return; on
    // failure it changes nothing but rax, rcx and r11.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") 59_isize => errno,
            in("rdi") program[0],
            in("rsi") args.as_ptr(),
            in("rdx") env.as_ptr(),
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    // SAFETY: as above; on failure it changes nothing but x0.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") 221_isize,
            inlateout("x0") program[0] as isize => errno,
            in("x1") args.as_ptr(),
            in("x2") env.as_ptr(),
            options(nostack),
        );
    }
    failure(command, rustix::io::Errno::from_raw_os_error((-errno) as i32))
}

fn failure(command: &Command, errno: rustix::io::Errno) -> Error {
    ErrorKind::Execution { program: shown(&command.program), errno }.into()
}
