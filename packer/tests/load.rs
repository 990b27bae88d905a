//! Many starts at once, of one version and of two, with and without somebody who cleans up beside them: every one of them
//! prints what it should, and each slot is extracted once. `cargo xtask load` takes the times and goes up to 500.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Finish as _, Finished, Versions};
use rustix::fs::inotify;
use rustix::process::{Pid, Signal, kill_process};

/// Enough that extracting takes longer than starting the others.
const FILES: usize = 50;
const CROWDS: [usize; 3] = [2, 8, 32];

/// Sees every extraction in a cache: each begins with a directory of its own beside the slots.
struct Extractions(OwnedFd);

impl Extractions {
    fn of(cache: &Path) -> Self {
        let slots = cache.join("v1/slots");
        fs::DirBuilder::new().mode(0o700).recursive(true).create(&slots).unwrap();
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&fd, &slots, inotify::WatchFlags::CREATE).unwrap();
        Self(fd)
    }

    /// How often each slot was extracted since the last call.
    fn count(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        let mut buffer = [MaybeUninit::uninit(); 64 << 10];
        let mut events = inotify::Reader::new(&self.0, &mut buffer);
        while let Ok(event) = events.next() {
            assert!(!event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW), "events were lost");
            let name = event.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if let Some(name) = name.strip_prefix(".tmp.") {
                *counts.entry(name.split('.').next().unwrap().to_owned()).or_default() += 1;
            }
        }
        counts
    }
}

/// Starts this many at once, of each version in turn, and checks what every one of them says.
#[track_caller]
fn crowd(versions: &Versions, count: usize, of: usize) {
    let spawn = |mut command: Command| {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a start")
    };
    let started: Vec<(usize, Child)> =
        (0..count).map(|nth| nth % of + 1).map(|version| (version, spawn(versions.start(version)))).collect();
    for (version, child) in started {
        let finished = Finished::new(format!("version {version}"), child.wait_with_output().unwrap());
        let finished = finished.exits(0).stays_quiet();
        assert_eq!(finished.stdout(), Versions::output(version, FILES), "{finished}");
    }
}

/// What is published in a cache, by file and time of each seal.
fn seals(cache: &Path) -> BTreeMap<String, (u64, i64, i64)> {
    let of = |place: &str, names: std::collections::BTreeSet<String>| {
        let seal = |name: &String| fs::metadata(cache.join("v1").join(place).join(name).join(".seal")).expect("a seal");
        let facts = |seal: fs::Metadata| (seal.ino(), seal.mtime(), seal.mtime_nsec());
        names.into_iter().map(|name| (name.clone(), facts(seal(&name)))).collect::<Vec<_>>()
    };
    of("slots", common::slots(cache)).into_iter().chain(of("envs", common::envs(cache))).collect()
}

#[test]
fn of_many_first_starts_one_extracts_each_slot_and_all_are_right() {
    let versions = Versions::new(2, FILES);
    for of in [1, 2] {
        for count in CROWDS {
            let extractions = Extractions::of(&versions.cache());
            crowd(&versions, count, of);
            let counts = extractions.count();
            assert_eq!(counts.len(), of + 1, "{count} starts of {of} versions: {counts:?}");
            assert!(counts.values().all(|times| *times == 1), "{count} starts of {of} versions: {counts:?}");
            assert_eq!(common::envs(&versions.cache()).len(), of);

            let before = seals(&versions.cache());
            crowd(&versions, count, of);
            assert_eq!(extractions.count(), BTreeMap::new(), "later starts extract nothing");
            assert_eq!(seals(&versions.cache()), before);
            versions.workenv(&["clean"]).exits(0);
            assert!(seals(&versions.cache()).is_empty());
        }
    }
}

/// Somebody who cleans up again and again, whatever its age, beside others that do something.
#[derive(Default)]
struct Cleaner {
    stop: AtomicBool,
    /// How many workenvs were removed.
    removed: AtomicUsize,
}

impl Cleaner {
    fn beside(versions: &Versions, work: impl FnOnce(&Self)) {
        let cleaner = Self::default();
        std::thread::scope(|scope| {
            scope.spawn(|| cleaner.run(versions));
            let _stop = Stop(&cleaner.stop);
            work(&cleaner);
        });
    }

    fn run(&self, versions: &Versions) {
        while !self.stop.load(Ordering::Relaxed) {
            let gc = versions.workenv(&["gc", "--older-than", "0", "--json"]);
            if gc.code() == Some(106) {
                gc.says("a package is being extracted");
            } else {
                let removed = gc.exits(0).stays_quiet().json()["workenvs"].as_array().unwrap().len();
                self.removed.fetch_add(removed, Ordering::Relaxed);
            }
        }
    }

    fn removed(&self) -> usize {
        self.removed.load(Ordering::Relaxed)
    }
}

#[test]
fn starts_are_right_while_somebody_cleans_up() {
    let versions = Versions::new(2, FILES);
    for of in [1, 2] {
        for count in CROWDS {
            Cleaner::beside(&versions, |cleaner| {
                let mut rounds = 0;
                while rounds < 3 || cleaner.removed() == 0 {
                    crowd(&versions, count, of);
                    rounds += 1;
                    assert!(rounds < 1000, "nothing is removed beside {count} starts of {of} versions");
                }
            });
        }
    }
    nothing_is_left(&versions);
}

/// Stops the others also when this one fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[track_caller]
fn nothing_is_left(versions: &Versions) {
    versions.workenv(&["clean"]).exits(0);
    for place in ["envs", "slots"] {
        let entries = fs::read_dir(versions.cache().join("v1").join(place)).unwrap();
        let left: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).filter(|name| name != ".lock.gc").collect();
        assert!(left.is_empty(), "left in {place}: {left:?}");
    }
}

#[test]
fn running_apps_keep_what_they_need_while_somebody_cleans_up() {
    let versions = Versions::new(2, FILES);
    // Eight for a minute where there is time for more samples.
    let time =
        if std::env::var_os("PSPF_TEST_FULL").is_some() { Duration::from_secs(60) } else { Duration::from_secs(2) };
    Cleaner::beside(&versions, |cleaner| {
        let end = Instant::now() + time;
        // Between two rounds nobody runs.
        while Instant::now() < end || cleaner.removed() == 0 {
            let running: Vec<_> = (0..8).map(|nth| (nth % 2 + 1, versions.waiting(nth % 2 + 1))).collect();
            // They read of their slots only now.
            std::thread::sleep(Duration::from_millis(200));
            for (version, app) in running {
                assert_eq!(app.end().exits(0).stays_quiet().stdout(), Versions::output(version, FILES));
            }
        }
    });
    nothing_is_left(&versions);
}

#[test]
fn when_the_one_who_extracts_is_killed_the_one_who_waits_goes_on() {
    // Large enough to be caught at it.
    let versions = Versions::new(1, 8 * FILES);
    let unfinished = || {
        let names = fs::read_dir(versions.cache().join("v1/slots")).into_iter().flatten().flatten();
        names.filter(|entry| entry.file_name().to_string_lossy().starts_with(".tmp.")).count()
    };
    for attempt in 0.. {
        let mut leader = versions.start(1).stdout(Stdio::null()).spawn().unwrap();
        let pid = Pid::from_child(&leader);
        while unfinished() == 0 && leader.try_wait().unwrap().is_none() {}
        let _ = kill_process(pid, Signal::STOP);
        if unfinished() == 0 {
            // It was too fast.
            assert!(attempt < 50, "it is never caught at extracting");
            leader.kill().unwrap();
            leader.wait().unwrap();
            versions.workenv(&["clean"]).exits(0);
            continue;
        }
        let mut next = versions.start(1).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let waits = |pid: u32| {
            let locks = fs::read_to_string("/proc/locks").unwrap();
            locks.lines().any(|line| line.contains("-> ") && line.split(' ').any(|word| word == pid.to_string()))
        };
        while !waits(next.id()) {
            assert!(next.try_wait().unwrap().is_none(), "it did not wait");
            std::thread::sleep(Duration::from_millis(1));
        }
        leader.kill().unwrap();
        leader.wait().unwrap();
        let next = Finished::new("who waited", next.wait_with_output().unwrap()).exits(0);
        assert_eq!(next.stdout(), Versions::output(1, 8 * FILES));
        assert_eq!(unfinished(), 0, "what the dead one left is gone");
        assert_eq!((common::slots(&versions.cache()).len(), common::envs(&versions.cache()).len()), (2, 1));
        versions.start(1).finish().exits(0);
        return;
    }
}
