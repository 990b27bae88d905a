//! Staying as the app's parent until it has ended, and standing for it meanwhile.
//!
//! Both are in one process group. What a terminal sends, the app gets by itself; what a process sends to this one, which is the
//! one that it knows, is passed on. When the app stops, this process stops, and when somebody continues this process, the app goes on.
//! In the end this process ends as the app did: with its exit code, or by its signal.

#[cfg(not(feature = "std"))]
pub use freestanding::Parent;
#[cfg(feature = "std")]
pub use hosted::Parent;

/// What a shell says of a process that a signal ended.
const BY_SIGNAL: i32 = 128;

#[cfg(not(feature = "std"))]
mod freestanding {
    use rustix::process::{Signal, WaitOptions};

    use super::BY_SIGNAL;
    use crate::error::{End, Result};
    use crate::exec::{self, Child, Command};
    use crate::raw::{self, Mask, Signals};
    use crate::sys;

    /// This process, from the moment on in which no signal ends it any more.
    pub struct Parent {
        /// The signals that the caller has blocked: the app begins with them.
        blocked: Mask,
        children: Signals,
    }

    impl Parent {
        /// From now on all signals wait, those that end it as well: for the app, once it runs.
        pub fn begin() -> Self {
            Self { children: Signals::of_children(), blocked: raw::block_signals(Mask::MAX) }
        }

        /// Runs a program to its end: the app, or what comes after it, apart from the app's streams in this directory.
        pub fn run(&self, command: &Command, apart: Option<&[u8]>) -> Result<End> {
            exec::enter(command)?;
            let prepare = || {
                self.children.restore();
                raw::block_signals(self.blocked);
            };
            // What came before there was a child is for it, a terminal's signals as well. What is run behind the app's end is not
            // who they were meant for.
            let forked = |child| {
                while let Some((signal, _)) = raw::next_signal(false) {
                    if apart.is_none() {
                        raw::kill(child, signal);
                    }
                }
            };
            let child = exec::spawn(command, apart, &prepare, &forked)?;
            loop {
                if let Some(end) = look_after(child).map_err(|errno| exec::failure(command, errno))? {
                    return Ok(end);
                }
                // The child's own news is asked for at the top.
                if let Some((signal, true)) = raw::next_signal(true) {
                    raw::kill(child, signal);
                }
            }
        }

        /// Ends this process as the app ended.
        pub fn end(&self, end: End) -> ! {
            match end {
                End::Exit(code) => raw::exit(code),
                End::Signal(signal) => {
                    raw::die_of(signal);
                    raw::exit(BY_SIGNAL + signal)
                }
            }
        }
    }

    /// Does what the child's state asks for: stops when it has stopped, and says how it ended.
    fn look_after(child: Child) -> rustix::io::Result<Option<End>> {
        let options = WaitOptions::NOHANG | WaitOptions::UNTRACED;
        while let Some((_, status)) = sys::retry(|| rustix::process::waitpid(Some(child), options))? {
            if let Some(end) = exec::end_of(status) {
                return Ok(Some(end));
            }
            if status.stopped() {
                raw::kill(rustix::process::getpid(), Signal::STOP.as_raw());
                raw::kill(child, Signal::CONT.as_raw());
            }
        }
        Ok(None)
    }
}

#[cfg(feature = "std")]
mod hosted {
    use std::os::unix::process::CommandExt as _;
    use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

    use rustix::io::Errno;
    use rustix::process::{Pid, Signal, WaitOptions};

    use super::BY_SIGNAL;
    use crate::error::{End, Result};
    use crate::exec::{self, Command};
    use crate::sys;

    /// This process, from the moment on in which the usual signals do not end it any more.
    pub struct Parent(());

    /// Who gets the signals that this process is sent; 0 before there is an app and after it has ended.
    static CHILD: AtomicI32 = AtomicI32::new(0);
    /// The signals that came before there was an app, by their bits.
    static EARLY: AtomicU64 = AtomicU64::new(0);

    /// Those that one sends to an app. Whoever ignores one goes on ignoring it, and so does the app.
    const FORWARDED: [i32; 9] = [
        libc::SIGTERM,
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGWINCH,
        libc::SIGTSTP,
        libc::SIGCONT,
    ];

    impl Parent {
        /// From now on these signals wait for the app.
        pub fn begin() -> Self {
            for signal in FORWARDED {
                // SAFETY: `sigaction` is a plain structure for which zeros are valid; both pointers are to such.
                // The handler does only what is safe in one: atomic accesses and kill(2).
                unsafe {
                    let mut action: libc::sigaction = std::mem::zeroed();
                    libc::sigaction(signal, std::ptr::null(), &raw mut action);
                    if action.sa_sigaction != libc::SIG_IGN {
                        action.sa_sigaction = forward as *const () as usize;
                        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
                        libc::sigaction(signal, &raw const action, std::ptr::null_mut());
                    }
                }
            }
            Self(())
        }

        /// Runs a program to its end: the app, or what comes after it, apart from the app's streams in this directory.
        pub fn run(&self, command: &Command, apart: Option<&[u8]>) -> Result<End> {
            exec::enter(command)?;
            let mut process = exec::process(command);
            if let Some(directory) = apart {
                exec::set_apart(&mut process, directory)?;
            }
            #[cfg(target_os = "linux")]
            // SAFETY: between fork and exec only one system call is made; it takes a number.
            unsafe {
                process.pre_exec(|| Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?));
            }
            let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL);
            let child = process.spawn().map_err(|error| exec::failure(command, errno(error)))?;
            let pid = Pid::from_child(&child);
            CHILD.store(pid.as_raw_nonzero().get(), Ordering::SeqCst);
            let early = EARLY.swap(0, Ordering::SeqCst);
            // What is run behind the app's end is not who they were meant for.
            for signal in FORWARDED.into_iter().filter(|signal| apart.is_none() && early & bit(*signal) != 0) {
                send(pid.as_raw_nonzero().get(), signal);
            }
            loop {
                let waited = sys::retry(|| rustix::process::waitpid(Some(pid), WaitOptions::UNTRACED));
                let Some((_, status)) = waited.map_err(|errno| exec::failure(command, errno))? else { continue };
                if let Some(end) = exec::end_of(status) {
                    CHILD.store(0, Ordering::SeqCst);
                    return Ok(end);
                }
                if status.stopped() {
                    send(rustix::process::getpid().as_raw_nonzero().get(), libc::SIGSTOP);
                    send(pid.as_raw_nonzero().get(), libc::SIGCONT);
                }
            }
        }

        /// Ends this process as the app ended.
        pub fn end(&self, end: End) -> ! {
            let signal = match end {
                End::Exit(code) => std::process::exit(code),
                End::Signal(signal) => signal,
            };
            // The core file of the child that died of it stays.
            #[cfg(target_os = "linux")]
            let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
            // SAFETY: the default action for a signal number that the system gave; nothing else of this process runs on.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
            std::process::exit(BY_SIGNAL + signal)
        }
    }

    extern "C" fn forward(signal: i32, info: *const libc::siginfo_t, _context: *const libc::c_void) {
        // SAFETY: the system hands a valid one to a handler with SA_SIGINFO.
        let by_a_process = unsafe { (*info).si_code } <= 0;
        match CHILD.load(Ordering::SeqCst) {
            0 => {
                EARLY.fetch_or(bit(signal), Ordering::SeqCst);
            }
            // What a terminal sends, the app gets as well.
            child if by_a_process => send(child, signal),
            _ => {}
        }
    }

    fn send(process: i32, signal: i32) {
        // SAFETY: two numbers.
        unsafe { libc::kill(process, signal) };
    }

    fn bit(signal: i32) -> u64 {
        1 << signal
    }
}
