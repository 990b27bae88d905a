//! Memory does not grow with what is packed: not with the number of files or slots, nor with their size.
//!
//! Every step of a package's life runs as a process of its own, and the kernel says how much memory it had at the most.
//! Packages that differ in one respect are compared. `PSPF_TEST_FULL=1` (`cargo xtask test --full`) takes the sizes that
//! are promised, 100,000 files, 1000 slots and 4 GiB, and writes what it saw to benches/RESULTS-growth.md.

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;

use common::{Finish as _, Scratch};

#[test]
fn memory_does_not_grow_with_the_number_of_files() {
    let files: usize = sample(8_000, 100_000);
    let few = App::new("tree", 1, |project| {
        // As many bytes as the archive of the others has, that shrink no better: packing holds some megabytes of them.
        for i in 0..(2 * files).div_ceil(1024) {
            let lines: String = (0_usize..200_000).map(|line| format!("{:x}\n", (line * line) ^ i)).collect();
            fs::write(project.join(format!("tree-0/{i}")), &lines[..1 << 20]).unwrap();
        }
    });
    let many = App::new("tree", 1, |project| {
        fill(&project.join("tree-0/flat"), files);
        for i in 0..100 {
            let twenty_deep: PathBuf = (0..20).map(|depth| format!("directory-{i:02}-{depth:02}")).collect();
            fill(&project.join("tree-0").join(twenty_deep), files / 100);
        }
    });
    let what = format!("{files} files in one directory and {files} twenty directories deep");
    compare(&what, "as many bytes in large files", &many.life(), &few.life());
}

#[test]
fn memory_does_not_grow_with_the_number_of_slots_and_few_files_are_open_at_once() {
    let slots = sample(300, 1000);
    let app = |slots| {
        App::new("slot", slots, |project| {
            for i in 0..slots {
                fs::write(project.join(format!("slot-{i}/file")), format!("{i}\n")).unwrap();
            }
        })
    };
    compare(&format!("{slots} slots, at most 64 open files"), "3 slots", &app(slots).life(), &app(3).life());
}

#[test]
fn memory_does_not_grow_with_the_size_of_a_slot() {
    let mebibytes = sample(256, 4096);
    for operations in ["gzip", "raw"] {
        let app = |mebibytes: usize| {
            App::new(operations, 1, |project| {
                let path = project.join(format!("{operations}-0"));
                fs::remove_dir(&path).unwrap();
                File::create(path).unwrap().set_len((mebibytes as u64) << 20).unwrap();
            })
        };
        let what = format!("one {operations} slot of {mebibytes} MiB");
        compare(&what, "one of 64 MiB", &app(mebibytes).life(), &app(64).life());
    }
}

#[test]
fn slots_that_cannot_fit_are_refused_before_any_is_encoded() {
    let app = App::new("slot", 2500, |_| {});
    let pack = app.pack_command(1).finish().exits(108).says("for 2500 slots").says("at most 1048576 bytes");
    assert!(pack.says("try:      put several").stderr().lines().all(|line| !line.contains("compressing")));
}

/// What a start or a command may have at the most, in bytes. Packing holds chunks of a slot for each core, of which the
/// tests give it two.
fn limit(step: &str) -> u64 {
    if step == "packer pack" { 48 << 20 } else { 32 << 20 }
}

/// How much more a step may take for the larger one of two packages, in bytes: threads make the peak of packing vary, the
/// names in one directory are held at once, some 60 bytes each, and packer knows every entry of an archive by 16 to 64 bytes.
fn allowance(step: &str) -> u64 {
    let usual = match step {
        "packer pack" => 4,
        _ if step.starts_with("packer") => 2,
        _ => 1,
    };
    sample(usual, usual + 14) << 20
}

/// The number to test with, or the one that is promised.
fn sample<T>(usual: T, full: T) -> T {
    if is_full() { full } else { usual }
}

fn is_full() -> bool {
    std::env::var_os("PSPF_TEST_FULL").is_some()
}

/// Makes this many small files.
fn fill(directory: &Path, files: usize) {
    fs::create_dir_all(directory).unwrap();
    for i in 0..files {
        fs::write(directory.join(format!("file-{i:06}.txt")), format!("{i}\n")).unwrap();
    }
}

/// A program that does nothing, with slots, in two versions.
struct App {
    scratch: Scratch,
}

/// What a step took at the most, in bytes; by the step's name, in order.
type Peaks = Vec<(&'static str, u64)>;

impl App {
    /// Slots are directories of this name and a number; `content` is written into them, or takes their place.
    fn new(name: &str, slots: usize, content: impl FnOnce(&Path)) -> Self {
        let scratch = Scratch::new();
        let project = scratch.dir("project");
        for version in [1, 2] {
            let mut manifest =
                format!("[package]\nname = \"app\"\nversion = \"{version}\"\n[execution]\ncommand = \"/bin/true\"\n");
            for i in 0..slots {
                let operations = if ["gzip", "raw"].contains(&name) { name } else { "tar.gz" };
                let _ = write!(
                    manifest,
                    "[[slots]]\nid = \"{name}-{i}\"\nsource = \"{name}-{i}\"\noperations = \"{operations}\"\n"
                );
            }
            fs::write(project.join(format!("{version}.toml")), manifest).unwrap();
        }
        for i in 0..slots {
            fs::create_dir(project.join(format!("{name}-{i}"))).unwrap();
        }
        content(&project);
        Self { scratch }
    }

    fn package(&self, version: u32) -> PathBuf {
        self.scratch.join(format!("{version}.psp"))
    }

    fn pack_command(&self, version: u32) -> Command {
        common::pack(&self.scratch.join(format!("project/{version}.toml")), &self.package(version))
    }

    /// Everything that is done with a package, once.
    fn life(&self) -> Peaks {
        let (first, second, cache) = (self.package(1), self.package(2), self.scratch.join("cache"));
        let of_packer = |command: &str| {
            let mut packer = common::packer();
            packer.arg(command).arg(&first);
            packer
        };
        let extracted = self.scratch.join("extracted");
        let mut peaks = vec![("packer pack", self.peak(self.pack_command(1)))];
        self.pack_command(2).finish().exits(0);
        peaks.push(("packer verify", self.peak(of_packer("verify"))));
        peaks.push(("packer inspect", self.peak(of_packer("inspect"))));
        let mut extract = of_packer("extract-all");
        extract.arg(&extracted);
        peaks.push(("packer extract-all", self.peak(extract)));
        peaks.push(("packer run", self.peak(of_packer("run"))));
        // Put aside, not removed: ext4 searches long for inodes after many were freed.
        fs::rename(&cache, self.scratch.join("cache of packer run")).unwrap();
        peaks.push(("first start", self.peak(Command::new(&first))));
        peaks.push(("later start", self.peak(Command::new(&first))));
        peaks.push(("first start of an upgrade", self.peak(Command::new(&second))));
        for workenv in common::envs(&cache) {
            fs::write(cache.join("v1/envs").join(workenv).join(".seal"), "").unwrap();
        }
        peaks.push(("start after damage to the workenv", self.peak(Command::new(&first))));
        for slot in common::slots(&cache) {
            fs::write(cache.join("v1/slots").join(slot).join(".seal"), "").unwrap();
        }
        peaks.push(("start after damage to every slot", self.peak(Command::new(&first))));
        peaks
    }

    /// Runs it to its end, which has to be a good one, with few open files; gives the most memory that it had at once.
    ///
    /// The kernel counts from before `exec`: what the process that forked it had is the least that can be seen. So a
    /// shell forks, ends, and leaves us an orphan, which becomes the command once its standard input is closed.
    #[track_caller]
    fn peak(&self, command: Command) -> u64 {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).expect("orphans come to this process");
        let said = self.scratch.join("said");
        let mut shell = Command::new("/bin/sh");
        let script =
            "ulimit -n 64; said=$1; shift; exec 3<&0; { read _ <&3; exec \"$@\" 3<&-; } >\"$said\" 2>&1 & echo $!";
        shell.args(["-c", script, "sh"]);
        shell.arg(&said).arg(command.get_program()).args(command.get_args());
        shell.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.scratch.dir("home"));
        shell.env("PSPF_CACHE_DIR", self.scratch.join("cache")).env("RAYON_NUM_THREADS", "2");
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
        let gate = shell.stdin.take();
        let output = shell.wait_with_output().expect("what the shell said");
        let pid = String::from_utf8_lossy(&output.stdout).trim().parse().expect("the number of a process");
        drop(gate);
        let (status, peak) = wait(pid);
        assert!(status.success(), "{command:?}: {status}\n{}", fs::read_to_string(said).unwrap_or_default());
        peak
    }
}

/// Waits for a process; gives how it ended and the most memory that it had at once, in bytes.
fn wait(pid: libc::pid_t) -> (ExitStatus, u64) {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are valid for what wait4 writes, and nobody else waits for this process.
        if unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) } == pid {
            // SAFETY: a rusage is numbers only, for which zeros will do, and wait4 has filled it in.
            let usage = unsafe { usage.assume_init() };
            return (ExitStatus::from_raw(status), usage.ru_maxrss as u64 * 1024);
        }
        let error = std::io::Error::last_os_error();
        assert_eq!(error.kind(), std::io::ErrorKind::Interrupted, "process {pid} cannot be waited for: {error}");
    }
}

/// Fails when a step of the larger package takes much more than the same step of the smaller one.
#[track_caller]
fn compare(larger: &str, smaller: &str, more: &Peaks, less: &Peaks) {
    let mut table = format!("| {larger} | MiB | {smaller}: MiB |\n| --- | ---: | ---: |\n");
    for ((step, more), (_, less)) in more.iter().zip(less) {
        let _ = writeln!(table, "| {step} | {:.1} | {:.1} |", mebibytes(*more), mebibytes(*less));
    }
    println!("{table}");
    if is_full() {
        record(larger, table.clone());
    }
    for ((step, more), (_, less)) in more.iter().zip(less) {
        assert!(*more <= less + allowance(step) && *more <= limit(step), "{step} grows:\n{table}");
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Writes the tables of all that was compared so far.
fn record(what: &str, table: String) {
    static TABLES: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    let mut tables = TABLES.lock().unwrap();
    tables.insert(what.to_owned(), table);
    let mut text = "# Memory and size\n\nWritten by `cargo xtask test --full`, or alone by `PSPF_TEST_FULL=1 cargo test \
                    -p packer --test growth`: the most\nmemory (resident set) that each step had at once, packing on two \
                    threads, with at most 64 open files.\n"
        .to_owned();
    for table in tables.values() {
        let _ = write!(text, "\n{table}");
    }
    fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/RESULTS-growth.md"), text).unwrap();
}
