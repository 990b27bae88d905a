//! Becoming the app.

use alloc::vec::Vec;

use crate::environment::Environment;
use crate::error::Error;

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
    process.envs(command.env.iter().map(|(name, value)| (OsStr::from_bytes(name), OsStr::from_bytes(value))));
    let error = process.exec();
    failure(command, rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::INVAL))
}

/// Replaces this process by the app; what comes back is why not.
#[cfg(not(feature = "std"))]
pub fn replace_process(command: &Command) -> Error {
    use alloc::ffi::CString;
    use core::ffi::{CStr, c_char};

    let join = |(name, value): (&[u8], &[u8])| {
        let mut entry = name.to_vec();
        entry.push(b'=');
        entry.extend_from_slice(value);
        CString::new(entry)
    };
    let program = CString::new(command.program.clone());
    let args: Result<Vec<CString>, _> = command.args.iter().map(|arg| CString::new(arg.clone())).collect();
    let env: Result<Vec<CString>, _> = command.env.iter().map(join).collect();
    let (Ok(program), Ok(args), Ok(env)) = (program, args, env) else {
        return Error::Manifest { what: "a NUL character in the command line or the environment".into() };
    };
    let pointers = |strings: &[CString]| -> Vec<*const c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([core::ptr::null()]).collect()
    };
    let execve = |program: &CStr, args: &[*const c_char], env: &[*const c_char]| {
        let errno: isize;
        // SAFETY: the kernel reads three pointers: a NUL-terminated path, and two arrays of pointers to NUL-terminated
        // strings that end in a null pointer. All of them outlive the call. On success it does not return; on
        // failure it changes nothing but rax, rcx and r11.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            core::arch::asm!(
                "syscall",
                inlateout("rax") 59_isize => errno,
                in("rdi") program.as_ptr(),
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
                inlateout("x0") program.as_ptr() as isize => errno,
                in("x1") args.as_ptr(),
                in("x2") env.as_ptr(),
                options(nostack),
            );
        }
        rustix::io::Errno::from_raw_os_error((-errno) as i32)
    };
    failure(command, execve(&program, &pointers(&args), &pointers(&env)))
}

fn failure(command: &Command, errno: rustix::io::Errno) -> Error {
    Error::Execution { program: alloc::string::String::from_utf8_lossy(&command.program).into_owned(), errno }
}
