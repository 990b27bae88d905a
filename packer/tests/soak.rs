//! Starts that are killed at random moments, in caches that are kept: the next start is right every time.
//!
//! Each cycle begins with one of the situations in which a start has something to write, starts one to three packages at
//! once, and kills them. Then each version is started in peace, and the whole cache is looked at.
//!
//! `PSPF_TEST_CYCLES` is the number of cycles (`cargo xtask soak`), 200 if not given; `PSPF_TEST_SEED` makes the
//! same choices again.
//! `PSPF_TEST_REPORT` names the file whose section about them is written anew (benches/RESULTS-faults.md).

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{Finish as _, Finished, Kind, Scratch};

#[test]
fn after_a_kill_at_any_moment_the_next_start_is_right() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let cycles = number("PSPF_TEST_CYCLES").unwrap_or(200);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    let seed = number("PSPF_TEST_SEED").unwrap_or(now.as_nanos() as u64);
    println!("PSPF_TEST_SEED={seed}");
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            scope.spawn(move || soak(cycles / WORKERS, seed.wrapping_add(worker)));
        }
    });
    record();
}

/// As many cycles in one cache.
fn soak(cycles: u64, seed: u64) {
    let mut soak = Soak::new(seed);
    for cycle in 0..cycles {
        let situation = Situation::ALL[soak.random.below(Situation::ALL.len() as u64) as usize];
        soak.bring_about(situation);
        let (killed, done) = soak.start_and_kill();
        soak.check(&format!("cycle {cycle} of seed {seed}, {situation:?}"));
        COUNTS.lock().unwrap().entry(situation).or_default().add(killed, done);
        if cycle % 1000 == 999 {
            record();
        }
    }
}

/// What was done so far, so that a run which is stopped has not been for nothing.
fn record() {
    let report = report(&COUNTS.lock().unwrap());
    println!("{report}");
    common::record("Kills at random moments", &report);
}

static COUNTS: Mutex<BTreeMap<Situation, Counts>> = Mutex::new(BTreeMap::new());

/// Each with a cache of its own.
const WORKERS: u64 = 2;

/// What is there when a start begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Situation {
    /// Nothing.
    Empty,
    /// The other version.
    Upgrade,
    /// A slot or a file of the workenv that is not what it was.
    Damage,
    /// Everything, in order.
    Whole,
}

impl Situation {
    const ALL: [Self; 4] = [Self::Empty, Self::Upgrade, Self::Damage, Self::Whole];
}

/// Of one situation.
#[derive(Debug, Default)]
struct Counts {
    cycles: u64,
    /// Starts that were killed.
    killed: u64,
    /// Those that were done before, with the right output.
    done: u64,
}

impl Counts {
    fn add(&mut self, killed: u64, done: u64) {
        self.cycles += 1;
        self.killed += killed;
        self.done += done;
    }
}

/// One cache, which is kept through all cycles.
struct Soak {
    scratch: Scratch,
    random: Random,
    expected: BTreeMap<PathBuf, String>,
    /// How long a first start takes.
    first_start: Duration,
}

impl Soak {
    fn new(seed: u64) -> Self {
        let scratch = Scratch::in_memory();
        common::pack_versions(&scratch, KIND);
        let mut soak =
            Self { scratch, random: Random(seed), expected: BTreeMap::new(), first_start: Duration::default() };
        soak.start("2").finish().exits(0);
        common::remove(&soak.cache());
        let began = Instant::now();
        soak.start("1").finish().exits(0);
        soak.first_start = began.elapsed();
        soak.start("2").finish().exits(0);
        soak.expected = common::contents(&soak.cache());
        soak
    }

    fn cache(&self) -> PathBuf {
        self.scratch.join("cache")
    }

    fn start(&self, version: &str) -> std::process::Command {
        common::start(&common::package(&self.scratch, version), &self.cache())
    }

    fn bring_about(&mut self, situation: Situation) {
        let cache = self.cache();
        let published = |kind: &str| -> Vec<PathBuf> {
            let entries = fs::read_dir(cache.join("v1").join(kind)).unwrap().flatten();
            entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
        };
        match situation {
            Situation::Whole => {}
            Situation::Empty => {
                // The lock files stay.
                published("slots").iter().chain(&published("envs")).for_each(|path| common::remove(path));
            }
            Situation::Upgrade => {
                let version = self.random.version();
                for path in published("slots").into_iter().chain(published("envs")) {
                    let marks = ["content/data/version", "content/single", "etc/conf"];
                    let texts = marks.iter().filter_map(|mark| fs::read_to_string(path.join(mark)).ok());
                    if texts.into_iter().any(|text| text.trim_end().ends_with(version)) {
                        common::remove(&path);
                    }
                }
            }
            Situation::Damage => {
                let seals = published("slots").into_iter().chain(published("envs"));
                let mut files: Vec<PathBuf> = seals.map(|path| path.join(".seal")).collect();
                files.extend(published("envs").into_iter().map(|path| path.join("etc/conf")));
                files.extend(published("envs").into_iter().map(|path| path.join("app/bin/run")));
                files.sort();
                let file = &files[self.random.below(files.len() as u64) as usize];
                fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
                fs::write(file, "damaged").unwrap();
            }
        }
    }

    /// One to three starts at once; all are killed after a time in which some are done and some are not.
    /// Gives how many were killed, and how many were done before.
    fn start_and_kill(&mut self) -> (u64, u64) {
        let mut starts: Vec<(Child, &str)> = Vec::new();
        for _ in 0..=self.random.below(3) {
            let version = self.random.version();
            let mut start = self.start(version);
            let child = start.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            starts.push((child, version));
        }
        // Rather early: with two random shares of it, fewer are done.
        let share = (self.random.below(1000) * self.random.below(1000)) as f64 / 1e6;
        std::thread::sleep(self.first_start.mul_f64(share));
        for (child, _) in &mut starts {
            child.kill().unwrap();
        }
        let (mut killed, mut done) = (0, 0);
        for (child, version) in starts {
            let output = child.wait_with_output().unwrap();
            let finished = Finished::new("a start that was killed, or was done before", output);
            match finished.code() {
                // The app was killed, perhaps between two lines.
                None => assert!(common::output(version, KIND).starts_with(&finished.stdout()), "{finished}"),
                Some(_) => assert_eq!(finished.stdout(), common::output(version, KIND), "{finished}"),
            }
            match finished.code() {
                None => killed += 1,
                Some(_) => done += 1,
            }
            finished.stays_quiet();
        }
        (killed, done)
    }

    fn check(&mut self, when: &str) {
        let mut versions = ["1", "2"];
        if self.random.below(2) == 0 {
            versions.reverse();
        }
        for version in versions {
            let finished = self.start(version).finish().exits(0).stays_quiet();
            assert_eq!(finished.stdout(), common::output(version, KIND), "{when}");
        }
        assert_eq!(common::leftovers(&self.cache()), [] as [PathBuf; 0], "{when}");
        let difference = common::difference(&self.expected, &common::contents(&self.cache()));
        assert_eq!(difference, None, "{when}");
    }
}

const KIND: Kind = Kind::Private;

/// Numbers that look random (splitmix64, by S. Vigna, in the public domain).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn version(&mut self) -> &'static str {
        ["1", "2"][self.below(2) as usize]
    }
}

fn report(counts: &BTreeMap<Situation, Counts>) -> String {
    let cycles: u64 = counts.values().map(|counts| counts.cycles).sum();
    let mut text = format!(
        "{cycles} cycles, half of them in each of {WORKERS} caches, each with one to three starts of two versions at once that were killed \
         (SIGKILL)\nafter a random share of the time that a first start takes; then both versions were started in peace, and the \
         whole cache\nwas compared. Wrong outputs: 0. Wrong next starts: 0. Left over: 0: the first of them would have ended the run.\n\n\
         | what was there before | cycles | starts that were killed | that were done before |\n|---|---:|---:|---:|\n"
    );
    for (situation, counts) in counts {
        let _ = writeln!(text, "| {} | {} | {} | {} |", situation.name(), counts.cycles, counts.killed, counts.done);
    }
    text
}

impl Situation {
    fn name(self) -> &'static str {
        match self {
            Self::Empty => "nothing",
            Self::Upgrade => "one version",
            Self::Damage => "both versions, with damage",
            Self::Whole => "both versions",
        }
    }
}
