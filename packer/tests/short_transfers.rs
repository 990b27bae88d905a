//! Reads and writes that the kernel does only in part, as it may whenever it likes: a start goes on where they ended.
//!
//! Nothing is pretended: the launcher is traced, and asks for fewer bytes than it meant to, so that the kernel really moves
//! no more. Where a limit or a full disk cuts a file short, the start is refused and the next one is right.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::ptr;

use common::{Finish as _, Finished, Kind, Place};

#[test]
fn starts_are_right_however_few_bytes_each_read_and_write_moves() {
    let app = Place::new(Kind::Private);
    let Some(()) = can_trace() else { return };
    let expected = app.whole();
    for most in [3, 1000] {
        common::remove(&app.cache());
        let transfers = app.starts_with_transfers_of(most);
        assert!(transfers > 100, "only {transfers} transfers were cut to {most} bytes");
        assert_eq!(common::difference(&expected, &common::contents(&app.cache())), None);
        app.starts_with_transfers_of(most);
        // Now each byte of the slots is read back.
        common::boot_again(&app.cache());
        app.starts_with_transfers_of(most);
        assert_eq!(common::difference(&expected, &common::contents(&app.cache())), None);
    }
}

#[test]
fn setup_commands_are_run_however_few_bytes_move() {
    let app = Place::new(Kind::Setup);
    let Some(()) = can_trace() else { return };
    let expected = app.whole();
    common::remove(&app.cache());
    app.starts_with_transfers_of(3);
    assert_eq!(common::difference(&expected, &common::contents(&app.cache())), None);
}

#[test]
fn a_check_and_a_collection_are_right_however_few_bytes_move() {
    let app = Place::new(Kind::Private);
    let Some(()) = can_trace() else { return };
    app.start_is_right();
    // The C library's loader gives up on a program whose first 832 bytes come in pieces.
    let with_transfers_of_1000 = |words: &[&str]| {
        let mut workenv = common::packer();
        workenv.arg("workenv").args(words).env("PSPF_CACHE_DIR", app.cache());
        let (finished, cut) = cut_short(workenv, 1000);
        assert!(cut > 10, "only {cut} transfers were cut");
        finished.exits(0).stays_quiet()
    };
    with_transfers_of_1000(&["verify"]).prints("all as they were extracted");
    with_transfers_of_1000(&["gc", "--older-than", "0"]).prints("removed 1 workenv and 3 slots");
    assert_eq!(common::slots(&app.cache()).len() + common::envs(&app.cache()).len(), 0);
    assert_eq!(common::leftovers(&app.cache()), Vec::<PathBuf>::new());
    app.start_is_right();
}

#[test]
fn a_limit_on_the_size_of_files_refuses_or_ends_a_start_and_the_next_one_is_right() {
    let app = Place::new(Kind::Private);
    let expected = app.whole();
    // The seals' headers end at 256; the largest file has 85,000 bytes.
    for limit in [0, 1, 9, 100, 255, 256, 257, 300, 1000, 4096, 65_536, 84_999] {
        for ignored in [false, true] {
            common::remove(&app.cache());
            let mut start = app.start();
            // SAFETY: two system calls, on values that the closure owns.
            unsafe { start.pre_exec(move || limit_file_size(limit, ignored)) };
            let finished = start.finish();
            if ignored {
                finished.exits(106).prints_nothing().says("cannot write ");
            } else {
                assert_eq!(finished.code(), None, "SIGXFSZ was expected of {finished}");
                finished.prints_nothing();
            }
            app.start_is_right();
            assert_eq!(common::difference(&expected, &common::contents(&app.cache())), None, "limit {limit}");
        }
    }
    let mut start = app.start();
    common::remove(&app.cache());
    // SAFETY: as above.
    unsafe { start.pre_exec(|| limit_file_size(85_000, true)) };
    assert_eq!(start.finish().exits(0).stdout(), common::output("1", Kind::Private));
}

#[test]
fn a_disk_that_is_full_at_any_moment_refuses_a_start_and_the_next_one_on_a_larger_one_is_right() {
    const SCRIPT: &str = r#"
        cache=$1 package=$2 expected=$3; shift 3
        for size; do
            mount -t tmpfs -o size=${size}k,mode=700 tmpfs "$cache" || exit 71
            "$package" > "$cache.said" 2> "$cache.why"; code=$?
            case $code in
                0) cmp -s "$cache.said" "$expected" || echo "$size KiB: another output" ;;
                106) grep -q "no space left on the device" "$cache.why" || echo "$size KiB: another reason" ;;
                *) echo "$size KiB: exit code $code" ;;
            esac
            mount -o remount,size=10m "$cache"
            "$package" > "$cache.said" 2>&1 && cmp -s "$cache.said" "$expected" || echo "$size KiB: then another output"
            find "$cache" -name '.t*' | sed "s/^/$size KiB: left over: /"
            umount "$cache"
            echo $code
        done"#;
    let app = Place::new(Kind::Private);
    let expected = app.scratch.join("expected");
    std::fs::write(&expected, common::output("1", Kind::Private)).unwrap();
    let mut unshare = Command::new("unshare");
    unshare.arg("--mount");
    if !common::is_root() {
        unshare.arg("--map-root-user");
    }
    unshare.args(["sh", "-c", SCRIPT, "sh"]).arg(app.scratch.dir("cache")).arg(common::package(&app.scratch, "1"));
    unshare.arg(&expected).args((1..80).map(|pages| (pages * 4).to_string())).env("PSPF_CACHE_DIR", app.cache());
    let finished = unshare.finish();
    let mounted = match finished.code() {
        Some(0) => Ok(()),
        _ => Err(format!("this machine lets no test mount a file system: {}", finished.stderr().trim())),
    };
    let Some(()) = common::require(mounted) else { return };
    let said = finished.stdout();
    let wrong: Vec<&str> = said.lines().filter(|line| !["0", "106"].contains(line)).collect();
    assert_eq!(wrong, [] as [&str; 0]);
    assert!(said.lines().filter(|line| *line == "106").count() > 20, "{said}");
    assert!(said.ends_with("0\n"), "the largest disk is large enough: {said}");
}

impl Place {
    fn start(&self) -> Command {
        common::start(&common::package(&self.scratch, "1"), &self.cache())
    }

    #[track_caller]
    fn start_is_right(&self) {
        assert_eq!(self.start().finish().exits(0).stays_quiet().stdout(), common::output("1", self.kind));
    }

    /// What a start leaves when nothing is cut short.
    fn whole(&self) -> BTreeMap<PathBuf, String> {
        self.start_is_right();
        common::contents(&self.cache())
    }

    /// Gives how many transfers were cut.
    #[track_caller]
    fn starts_with_transfers_of(&self, most: u64) -> usize {
        let (finished, cut) = cut_short(self.start(), most);
        assert_eq!(finished.exits(0).stays_quiet().stdout(), common::output("1", self.kind));
        cut
    }
}

fn limit_file_size(limit: u64, ignored: bool) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    let action = if ignored { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: the limit is a valid one, and no handler is installed.
    let failed = unsafe { libc::signal(libc::SIGXFSZ, action) == libc::SIG_ERR }
        // SAFETY: as above.
        || unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) } != 0;
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Succeeds where a process may trace its children.
fn can_trace() -> Option<()> {
    let mut trial = Command::new("/bin/true");
    // SAFETY: one system call.
    unsafe { trial.pre_exec(|| trace(libc::PTRACE_TRACEME, 0, 0).map(drop)) };
    let traced = trial.stdin(Stdio::null()).spawn().and_then(|child| {
        wait(child.id() as i32)?;
        trace(libc::PTRACE_DETACH, child.id() as i32, 0)?;
        wait(child.id() as i32)
    });
    common::require(traced.map(drop).map_err(|error| format!("no process may be traced here: {error}")))
}

/// Runs a command to its end, its children too; until they execute another program, none of their transfers has more than
/// `most` bytes. Gives how many were cut short.
#[expect(clippy::zombie_processes, reason = "it is waited for with everything that it starts")]
fn cut_short(mut command: Command, most: u64) -> (Finished, usize) {
    let what = format!("{command:?}, at most {most} bytes at once");
    // SAFETY: one system call.
    unsafe { command.pre_exec(|| trace(libc::PTRACE_TRACEME, 0, 0).map(drop)) };
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a process");
    let main = child.id() as i32;
    // The outputs are shorter than a pipe holds.
    wait(main).expect("it stops when it has become the program");
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_EXITKILL;
    trace(libc::PTRACE_SETOPTIONS, main, options as usize).expect("options of tracing");
    trace(libc::PTRACE_SYSCALL, main, 0).expect("it goes on");

    // What a process asked for, as long as it is in the system call.
    let mut calls: HashMap<i32, u64> = HashMap::new();
    let mut cut = 0;
    let status = loop {
        let (process, status) = wait(-1).expect("a process that stopped or ended");
        if !libc::WIFSTOPPED(status) {
            if process == main {
                break status;
            }
            continue;
        }
        let signal = match (libc::WSTOPSIG(status), status >> 16) {
            (SYSTEM_CALL, _) => {
                let mut registers = registers(process);
                match calls.remove(&process) {
                    // The compiler knows that the kernel leaves this register alone.
                    Some(asked) => registers.rdx = asked,
                    None => {
                        calls.insert(process, registers.rdx);
                        let moves = [libc::SYS_read, libc::SYS_write, libc::SYS_pread64];
                        if moves.contains(&(registers.orig_rax as i64)) && registers.rdx > most {
                            registers.rdx = most;
                            cut += 1;
                        }
                    }
                }
                let registers = &raw const registers;
                trace(libc::PTRACE_SETREGS, process, registers as usize).expect("its registers can be set");
                0
            }
            // The app, or a program of the setup.
            (_, libc::PTRACE_EVENT_EXEC) => {
                trace(libc::PTRACE_DETACH, process, 0).expect("it goes on alone");
                continue;
            }
            (_, 1..) | (libc::SIGSTOP, _) => 0,
            (signal, _) => signal,
        };
        // A process that was killed meanwhile is waited for next.
        let _ = trace(libc::PTRACE_SYSCALL, process, signal as usize);
    };
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    io::Read::read_to_end(child.stdout.as_mut().expect("a pipe"), &mut stdout).expect("its output");
    io::Read::read_to_end(child.stderr.as_mut().expect("a pipe"), &mut stderr).expect("its output");
    (Finished::new(what, Output { status: ExitStatus::from_raw(status), stdout, stderr }), cut)
}

/// The signal of a stop at a system call (ptrace(2): PTRACE_O_TRACESYSGOOD).
const SYSTEM_CALL: i32 = libc::SIGTRAP | 0x80;

fn trace(request: libc::c_uint, process: i32, data: usize) -> io::Result<()> {
    // SAFETY: of the requests that are made here, only the one for registers has the kernel read memory, a whole
    // structure of them; and none changes memory of this process.
    match unsafe { libc::ptrace(request, process, ptr::null_mut::<libc::c_void>(), data) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn registers(process: i32) -> libc::user_regs_struct {
    // SAFETY: registers are numbers, for which zeros will do.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    let to = &raw mut registers;
    // SAFETY: the kernel writes one such structure.
    let read = unsafe { libc::ptrace(libc::PTRACE_GETREGS, process, ptr::null_mut::<libc::c_void>(), to) };
    assert_eq!(read, 0, "the registers of process {process}: {}", io::Error::last_os_error());
    registers
}

/// Waits for a stop or the end of a process, -1 for any that this thread has or traces.
fn wait(process: i32) -> io::Result<(i32, i32)> {
    let mut status = 0;
    // SAFETY: the status is written to a number of ours; other threads' children are left for them.
    match unsafe { libc::waitpid(process, &raw mut status, libc::__WALL | libc::__WNOTHREAD) } {
        -1 => Err(io::Error::last_os_error()),
        process => Ok((process, status)),
    }
}
