//! `cargo xtask load`: many starts at once, and what comes of them.

use std::collections::BTreeMap;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::inotify;
use rustix::process::{Pid, Signal, kill_process};

use crate::Bench;
use crate::process::{Sample, own_peak, prepare};
use crate::report::{Report, mib, time};

/// How many start at once.
const CROWDS: [usize; 5] = [2, 8, 32, 128, 500];
/// What the slot that all versions share holds: 10 MiB in 400 files, which no compression makes smaller.
const FILES: usize = 400;
const FILE: usize = 26_214;

/// Takes all of it, and gives the report.
pub(crate) fn run(bench: &Bench) -> Result<String> {
    let apps = Apps::pack(bench)?;
    let mut report = Report::new("cargo xtask load --write", &bench.memory.kind, &bench.disk.kind);
    let note = "Starts at once, of one version or of two that share a slot of 10 MiB in 400 files. The app compares two files, one of\n\
                each slot; a failure is any end but that they are the same. Extractions are counted by the kernel (inotify); each\n\
                slot should be extracted once. The time of a start is from before it was asked for until its app has ended; all of\n\
                them wait for the same processors. The kernel counts a start's memory from what started it, which is this bench.";
    let columns = ["starts", "versions", "which", "failures", "extractions", "p50", "p95", "p99", "peak memory of one"];
    report.section("Many starts", note, &columns);
    for versions in [1, 2] {
        for count in CROWDS {
            apps.clean()?;
            let extractions = Extractions::of(&apps.cache)?;
            for which in ["first", "later"] {
                let ended = apps.crowd(count, versions);
                let counts = extractions.count()?;
                let most = counts.values().max().copied().unwrap_or_default();
                let told = format!("{} of {} slots", counts.values().sum::<usize>(), counts.len());
                ensure!(most <= 1, "a slot was extracted {most} times by {count} starts of {versions} versions");
                ended.row(&mut report, which, count, versions, &[told]);
            }
        }
    }
    let note = "The same while `packer workenv gc --older-than 0` runs again and again beside them, until it has removed something:\n\
                what no app holds goes, so that slots are extracted more than once.";
    report.section("Many starts while somebody cleans up", note, &[&columns[..], &["removed", "rounds"]].concat());
    for versions in [1, 2] {
        for count in CROWDS {
            apps.clean()?;
            apps.beside_a_cleaner(count, versions, &mut report)?;
        }
    }
    apps.killed_leaders(&mut report)?;
    Ok(report.finish())
}

/// Two versions of an app, and the cache that they extract to.
struct Apps<'b> {
    bench: &'b Bench,
    packages: [PathBuf; 2],
    cache: PathBuf,
}

impl<'b> Apps<'b> {
    fn pack(bench: &'b Bench) -> Result<Self> {
        let (project, cache) = (bench.file("load"), bench.memory.path().join("load"));
        fs::create_dir_all(project.join("shared"))?;
        fs::create_dir_all(project.join("own"))?;
        let mut state = 1_u64;
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        for file in 0..FILES {
            let bytes: Vec<u8> = (0..FILE).map(|_| byte()).collect();
            fs::write(project.join("shared").join(file.to_string()), bytes)?;
        }
        fs::copy(project.join("shared/0"), project.join("own/same"))?;
        let mut packages = [const { PathBuf::new() }; 2];
        for (nth, package) in packages.iter_mut().enumerate() {
            let manifest = project.join("app.toml");
            let text = format!(
                "[package]\nname = \"load\"\nversion = \"{nth}\"\n[execution]\n\
                 command = \"/usr/bin/cmp -s {{workenv}}/shared/0 {{workenv}}/own/same\"\n\
                 [[slots]]\nid = \"shared\"\nsource = \"shared\"\n[[slots]]\nid = \"own\"\nsource = \"own\"\n"
            );
            fs::write(&manifest, text)?;
            fs::write(project.join("own/version"), nth.to_string())?;
            *package = bench.file(&format!("load-{nth}.psp"));
            let mut pack = Command::new(&bench.packer);
            pack.args(["pack", "--quiet", "--key-seed", "load", "--manifest"]).arg(&manifest);
            prepare(pack.arg("--output").arg(&*package).env("PSPF_CACHE_DIR", bench.packer_cache()))?;
        }
        Ok(Self { bench, packages, cache })
    }

    /// Removes everything that was extracted.
    fn clean(&self) -> Result<()> {
        prepare(&mut self.workenv(&["clean"])).map(|_| ())
    }

    fn workenv(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.bench.packer);
        command.arg("workenv").args(words).env("PSPF_CACHE_DIR", &self.cache);
        command
    }

    /// Starts this many at once, of each version in turn.
    fn crowd(&self, count: usize, versions: usize) -> Ended {
        let barrier = Barrier::new(count);
        let run = |nth: usize| {
            let program = self.bench.package(&self.packages[nth % versions], &self.cache);
            barrier.wait();
            program.run()
        };
        let mut ended = Ended::default();
        std::thread::scope(|scope| {
            let run = &run;
            let starts: Vec<_> = (0..count).map(|nth| scope.spawn(move || run(nth))).collect();
            for start in starts {
                ended.add(start.join().expect("a thread that starts a package"));
            }
        });
        ended
    }

    fn beside_a_cleaner(&self, count: usize, versions: usize, report: &mut Report) -> Result<()> {
        let (stop, removed) = (AtomicBool::new(false), AtomicUsize::new(0));
        let extractions = Extractions::of(&self.cache)?;
        let (mut ended, mut rounds) = (Ended::default(), 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // It fails while a package is being extracted.
                    let gc = self.workenv(&["gc", "--older-than", "0"]).output();
                    let text = gc.map(|gc| String::from_utf8_lossy(&gc.stdout).into_owned()).unwrap_or_default();
                    removed.fetch_add(text.matches("\n  workenv ").count(), Ordering::Relaxed);
                }
            });
            while rounds < 3 || (removed.load(Ordering::Relaxed) == 0 && rounds < 200) {
                ended.0.extend(self.crowd(count, versions).0);
                rounds += 1;
            }
            stop.store(true, Ordering::Relaxed);
        });
        let counts = extractions.count()?;
        let sum = counts.values().sum::<usize>().to_string();
        ended.row(
            report,
            "first or later",
            count,
            versions,
            &[sum, removed.into_inner().to_string(), rounds.to_string()],
        );
        Ok(())
    }

    /// What it costs the next one when the one who extracts is killed.
    fn killed_leaders(&self, report: &mut Report) -> Result<()> {
        let (mut alone, mut after) = (Vec::new(), Vec::new());
        while after.len() < self.bench.rounds(20) {
            self.clean()?;
            alone.push(self.bench.package(&self.packages[0], &self.cache).run()?.wall);
            self.clean()?;
            after.extend(self.after_a_killed_leader()?);
        }
        let note = "The one who extracts is stopped while it holds its locks, another start waits for them, and the first one gets\n\
                    SIGKILL. The time is from the kill until the other's app has ended: it extracts all of it, as a first start does\n\
                    that meets nobody.";
        report.section("A leader is killed", note, &["", "n", "p50", "p95"]);
        for (name, times) in [("a first start alone", &mut alone), ("the next one, from the kill on", &mut after)] {
            times.sort();
            report.row(&[name, &times.len().to_string(), &time(quantile(times, 50)), &time(quantile(times, 95))]);
        }
        let cost = quantile(&after, 50).saturating_sub(quantile(&alone, 50));
        report.row(&["difference (target: below 100 ms)", "", &time(cost), ""]);
        Ok(())
    }

    /// `None` when the leader was too fast to be caught at it.
    fn after_a_killed_leader(&self) -> Result<Option<Duration>> {
        let slots = slots(&self.cache)?;
        let is_extracting = || -> Result<bool> {
            let mut names = fs::read_dir(&slots)?.flatten().map(|entry| entry.file_name());
            Ok(names.any(|name| name.to_string_lossy().starts_with(".tmp.")))
        };
        let spawn = || {
            let mut command = Command::new(&self.packages[0]);
            command.env("PSPF_CACHE_DIR", &self.cache).stdin(Stdio::null()).stdout(Stdio::null()).spawn()
        };
        let mut leader = spawn()?;
        while !is_extracting()? && leader.try_wait()?.is_none() {}
        let _ = kill_process(Pid::from_child(&leader), Signal::STOP);
        if !is_extracting()? {
            leader.kill()?;
            leader.wait()?;
            return Ok(None);
        }
        let mut next = spawn()?;
        let waits = |pid: u32| -> Result<bool> {
            let locks = fs::read_to_string("/proc/locks")?;
            Ok(locks.lines().any(|line| line.contains("-> ") && line.split(' ').any(|word| word == pid.to_string())))
        };
        while !waits(next.id())? {
            ensure!(next.try_wait()?.is_none(), "it did not wait for the one who extracts");
            std::thread::sleep(Duration::from_millis(1));
        }
        let killed = Instant::now();
        leader.kill()?;
        leader.wait()?;
        ensure!(next.wait()?.success(), "the one who waited failed");
        Ok(Some(killed.elapsed()))
    }
}

/// How starts have ended.
#[derive(Default)]
struct Ended(Vec<Option<Sample>>);

impl Ended {
    fn add(&mut self, ended: Result<Sample>) {
        if let Err(error) = &ended {
            eprintln!("failed: {error:#}");
        }
        self.0.push(ended.ok());
    }

    fn row(&self, report: &mut Report, which: &str, count: usize, versions: usize, more: &[String]) {
        let good: Vec<&Sample> = self.0.iter().flatten().collect();
        let mut times: Vec<Duration> = good.iter().map(|sample| sample.wall).collect();
        times.sort();
        let [p50, p95, p99] = [50, 95, 99].map(|percent| time(quantile(&times, percent)));
        let peak = good.iter().map(|sample| sample.peak).max().unwrap_or_default();
        // Less than what started it has does not show.
        let peak = if peak <= own_peak() { format!("at most {}", mib(peak)) } else { mib(peak) };
        let (extractions, more) = more.split_first().expect("how often was extracted");
        let failures = self.0.len() - good.len();
        let cells =
            [count.to_string(), versions.to_string(), which.to_owned(), failures.to_string(), extractions.clone()];
        report.row(&[&cells[..], &[p50, p95, p99, peak], more].concat());
    }
}

/// The smallest time that this many of a hundred do not exceed.
fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// Sees every extraction in a cache: each begins with a directory of its own beside the slots.
struct Extractions(OwnedFd);

impl Extractions {
    fn of(cache: &Path) -> Result<Self> {
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        inotify::add_watch(&fd, slots(cache)?, inotify::WatchFlags::CREATE)?;
        Ok(Self(fd))
    }

    /// How often each slot was extracted since the last call.
    fn count(&self) -> Result<BTreeMap<String, usize>> {
        let mut counts = BTreeMap::new();
        let mut buffer = [MaybeUninit::uninit(); 64 << 10];
        let mut events = inotify::Reader::new(&self.0, &mut buffer);
        while let Ok(event) = events.next() {
            ensure!(!event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW), "events of the cache were lost");
            let name = event.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if let Some(slot) = name.strip_prefix(".tmp.").and_then(|name| name.split('.').next()) {
                *counts.entry(slot.to_owned()).or_default() += 1;
            }
        }
        Ok(counts)
    }
}

/// Where a cache has its slots; made when it is missing.
fn slots(cache: &Path) -> Result<PathBuf> {
    let slots = cache.join("v1/slots");
    fs::DirBuilder::new().mode(0o700).recursive(true).create(&slots).context("no directory for slots")?;
    Ok(slots)
}
