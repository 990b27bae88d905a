//! Starting a program and learning what it cost.

use std::ffi::{CString, OsStr, c_char};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, ptr};

use anyhow::{Context as _, Result, bail, ensure};

/// Set by Ctrl-C: nothing is started any more, so that everything unwinds and cleans up.
pub(crate) static STOPPED: AtomicBool = AtomicBool::new(false);

/// A program with its arguments and its whole environment, ready to be started many times.
#[derive(Debug)]
pub(crate) struct Program {
    path: PathBuf,
    args: Vec<CString>,
    env: Vec<CString>,
}

/// What one run cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// From before the start until the end was seen.
    pub(crate) wall: Duration,
    /// User and system time of the process and of the children that it waited for.
    pub(crate) cpu: Duration,
    /// The most memory that it, or one of those children, had at once, in bytes. At least what the process that
    /// started it had: the kernel counts from before `exec`.
    pub(crate) peak: u64,
}

impl Program {
    /// A program by its path, with nothing in its environment.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let name = c_string(path.as_os_str());
        Self { path, args: vec![name], env: Vec::new() }
    }

    /// Adds arguments.
    pub(crate) fn args(mut self, args: impl IntoIterator<Item: AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| c_string(arg.as_ref())));
        self
    }

    /// Adds a variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let entry = [name.as_bytes(), b"=", value.as_ref().as_bytes()].concat();
        self.env.push(c_string(OsStr::from_bytes(&entry)));
        self
    }

    /// Runs it to its end with nothing to read and its output thrown away; anything but success is an error.
    pub(crate) fn run(&self) -> Result<Sample> {
        ensure!(!STOPPED.load(Ordering::Relaxed), "stopped");
        let null = fs::File::options().read(true).write(true).open("/dev/null")?;
        let pointers = |strings: &[CString]| -> Vec<*mut c_char> {
            strings.iter().map(|string| string.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
        };
        let (args, env) = (pointers(&self.args), pointers(&self.env));
        let path = c_string(self.path.as_os_str());
        let actions = Actions::new(null.as_raw_fd())?;
        let mut pid = 0;

        let start = Instant::now();
        // SAFETY: a NUL-terminated path, initialised actions, and two arrays of NUL-terminated strings that end in
        // a null pointer; all of them outlive the call, which writes to none of them.
        let code = unsafe {
            libc::posix_spawn(
                &raw mut pid,
                path.as_ptr(),
                &raw const actions.0,
                ptr::null(),
                args.as_ptr(),
                env.as_ptr(),
            )
        };
        if code != 0 {
            let error = io::Error::from_raw_os_error(code);
            return Err(error).with_context(|| format!("{} does not start", self.path.display()));
        }
        let (status, usage) = wait(pid)?;
        let wall = start.elapsed();

        if status != 0 {
            let ended = ExitStatus::from_raw(status);
            let words: Vec<_> = self.args.iter().map(|arg| arg.to_string_lossy()).collect();
            bail!("`{}` ended with {ended}", words.join(" "));
        }
        let cpu = duration(usage.ru_utime) + duration(usage.ru_stime);
        Ok(Sample { wall, cpu, peak: usage.ru_maxrss as u64 * 1024 })
    }
}

/// What a child does between its start and its program: its three standard descriptors become /dev/null.
struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new(null: i32) -> Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: it initialises what it is given.
        let mut code = unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) };
        if code == 0 {
            // SAFETY: it succeeded.
            let mut actions = Self(unsafe { actions.assume_init() });
            for standard in 0..3 {
                // SAFETY: the actions are initialised; the descriptors are numbers until a child uses them.
                code |= unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut actions.0, null, standard) };
            }
            if code == 0 {
                return Ok(actions);
            }
        }
        Err(io::Error::from_raw_os_error(code).into())
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: they were initialised, and nothing uses them after this.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

fn wait(pid: libc::pid_t) -> Result<(i32, libc::rusage)> {
    let mut status = 0;
    let mut usage = MaybeUninit::uninit();
    loop {
        // SAFETY: both pointers are valid for the types that wait4 writes. The process is a child of ours that
        // nobody else waits for.
        if unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) } == pid {
            // SAFETY: wait4 has seen a child end and filled it in.
            return Ok((status, unsafe { usage.assume_init() }));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error).context("a child cannot be waited for");
        }
    }
}

/// The most memory that this process had at once, in bytes: the least that [`Sample::peak`] can show.
pub(crate) fn own_peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Runs a command that is part of the preparation; what it said is shown when it fails.
pub(crate) fn prepare(command: &mut std::process::Command) -> Result<String> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command.output().with_context(|| format!("{program} does not start"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} ended with {}:\n{}", output.status, said.trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

fn duration(time: libc::timeval) -> Duration {
    Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
}

fn c_string(text: &OsStr) -> CString {
    CString::new(text.as_bytes()).expect("no NUL in a path, an argument or a variable")
}
