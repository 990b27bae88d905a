//! Packages with changed fields by the finished tool: what `packer verify` says and takes. That nothing changed gets past is
//! shown for all of them in the library (pspf-core/tests/fields.rs); here for some, as processes.
//!
//! `PSPF_TEST_FULL=1` (`cargo xtask sweep`, `cargo xtask test --full`) takes more of them.

#![cfg(target_os = "linux")]

mod common;
mod library;

use std::collections::BTreeMap;
use std::fs;
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use common::Scratch;
use library::sweep::{Change, Mended, Subject, described, other_key};
use pspf_core::{Package, verify};

#[test]
fn packer_verify_refuses_changed_packages_in_a_line_and_little_memory() {
    let subject = Subject::new();
    let scratch = Scratch::new();
    let package = scratch.join("changed.psp");
    let fields = subject.fields();
    let all: Vec<&Change> = fields.iter().flat_map(|field| &field.values).collect();
    let stride = if std::env::var_os("PSPF_TEST_FULL").is_some() { 5 } else { 47 };
    let mut codes: BTreeMap<i32, usize> = BTreeMap::new();
    let (mut tried, mut largest) = (0, 0);
    for (turn, change) in all.iter().enumerate().step_by(stride) {
        for mended in Mended::ALL {
            // Alone, and with another one from elsewhere.
            let other = all[turn * 31 % all.len()];
            for changes in [&[*change][..], &[*change, other]] {
                let file = subject.changed(changes, mended);
                fs::write(&package, &file).unwrap();
                let what = || format!("{mended:?}, {changes:.300?}");
                let Ended { status, memory, stderr } = packer_verify(&package, &scratch);
                let code = status.code().unwrap_or_else(|| panic!("{}: {status}", what()));
                // By hand: what was signed by somebody is let through with the grade and the key that it has.
                let passes = Package::open(&file[..]).is_ok_and(|file| verify::report(&file, &mut |_| {}).passed());
                assert_eq!(code == 0, passes, "{}: {code}\n{stderr}", what());
                if code == 0 && file != subject.file {
                    assert_eq!(mended, Mended::Signature, "{}: accepted without the key", what());
                    assert_eq!(described::Index::of(&file).public_key(), other_key().public_key(), "{}", what());
                }
                assert!(matches!(code, 0 | 102 | 107), "{}: {code}\n{stderr}", what());
                let reasons = stderr.lines().filter(|line| line.starts_with("error: ")).count();
                assert_eq!(reasons, usize::from(code != 0), "{}: one reason is expected\n{stderr}", what());
                assert!(memory < MEMORY, "{}: {memory} bytes", what());
                tried += 1;
                largest = largest.max(memory);
                *codes.entry(code).or_default() += 1;
            }
        }
    }
    println!("{tried} packages, exit codes {codes:?}, at most {:.1} MiB", largest as f64 / f64::from(1 << 20));
    assert!(tried >= 300, "{tried}");
    publish(tried, &codes, largest);
}

struct Ended {
    status: ExitStatus,
    /// The most that it had at once, in bytes, or the tests when it was forked.
    memory: u64,
    stderr: String,
}

fn packer_verify(package: &Path, scratch: &Scratch) -> Ended {
    let said = scratch.join("said");
    let stderr = fs::File::create(&said).unwrap();
    let mut packer = common::packer();
    packer.arg("verify").arg(package).env_clear().env("HOME", scratch.dir("home"));
    packer.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    // Never waited for by `Child`: `wait4` does.
    #[expect(clippy::zombie_processes, reason = "wait4 takes its end")]
    let process = packer.spawn().unwrap();
    let (mut status, mut usage) = (0, MaybeUninit::<libc::rusage>::zeroed());
    loop {
        let pid = process.id().cast_signed();
        // SAFETY: both pointers are valid for what wait4 writes, and nobody else waits for this process.
        if unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) } == pid {
            break;
        }
        let error = std::io::Error::last_os_error();
        assert_eq!(error.kind(), std::io::ErrorKind::Interrupted, "process {pid} cannot be waited for: {error}");
    }
    // SAFETY: a rusage is numbers only, for which zeros will do, and wait4 has filled it in.
    let usage = unsafe { usage.assume_init() };
    Ended {
        status: ExitStatus::from_raw(status),
        memory: usage.ru_maxrss as u64 * 1024,
        stderr: fs::read_to_string(&said).unwrap(),
    }
}

/// For `cargo xtask sweep`, which says where.
fn publish(tried: usize, codes: &BTreeMap<i32, usize>, largest: u64) {
    let Some(results) = std::env::var_os("PSPF_TEST_RESULTS") else { return };
    let count = |code| codes.get(&code).copied().unwrap_or_default();
    let text = format!(
        "## By `packer verify`\n\n{tried} of such packages as processes, by `packer/tests/fields.rs`: {} refused as none or as \
         contradicting the format (102),\n{} because a signature or digest does not hold (107), {} let through, which \
         somebody else had signed. At most {:.1} MiB\nresident. No other exit code, and one line that begins with `error: ` \
         for each that is refused.\n",
        count(102),
        count(107),
        count(0),
        largest as f64 / f64::from(1 << 20)
    );
    fs::write(Path::new(&results).join("2-packer.md"), text).unwrap();
}

/// The most memory that a process may take, in bytes.
const MEMORY: u64 = 64 << 20;
