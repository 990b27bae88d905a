//! The engine for stable Rust: changes seeds and what became of them at random, without coverage.
//!
//! Usage: `stable SECONDS SEED TARGET..`. The same number gives the same inputs. Ends with an error at the first finding,
//! which lies in `artifacts/TARGET/` then.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use pspf_fuzz::mutate::{Numbers, mutate};
use pspf_fuzz::targets::{TARGETS, Target};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((seconds, seed, targets)) = parse(&args) else {
        eprintln!("usage: stable SECONDS SEED TARGET..");
        return ExitCode::from(2);
    };
    let mut clean = true;
    for target in targets {
        match fuzz(target, Duration::from_secs(seconds), seed) {
            Ok(report) => println!("{}: {report}", target.name),
            Err(finding) => {
                eprintln!("{}: {finding}", target.name);
                clean = false;
            }
        }
    }
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(args: &[String]) -> Option<(u64, u64, Vec<&'static Target>)> {
    let [seconds, seed, names @ ..] = args else { return None };
    let find = |name: &String| TARGETS.iter().find(|target| target.name == name);
    Some((seconds.parse().ok()?, seed.parse().ok()?, names.iter().map(find).collect::<Option<_>>()?))
}

/// What is being tried, for the one who watches.
struct Running {
    begun: Instant,
    input: Vec<u8>,
}

/// Runs one target for so long; what was done, or what was found.
fn fuzz(target: &Target, time: Duration, seed: u64) -> Result<String, String> {
    let mut inputs = seeds_of(target.name).map_err(|error| format!("no seeds: {error}"))?;
    let kept = inputs.len();
    let mut numbers = Numbers::new(seed);
    let running = Arc::new(Mutex::new(None));
    watch(target.name, Arc::clone(&running));
    let (started, mut runs, mut accepted, mut slowest) = (Instant::now(), 0_u64, 0_u64, Duration::ZERO);
    while started.elapsed() < time {
        let from = numbers.below(inputs.len());
        let mut input = inputs[from].clone();
        let other = numbers.below(inputs.len());
        mutate(&mut input, &inputs[other], &mut numbers);

        let begun = Instant::now();
        *running.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running { begun, input: input.clone() });
        let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(&input)));
        *running.lock().unwrap_or_else(PoisonError::into_inner) = None;
        runs += 1;
        slowest = slowest.max(begun.elapsed());
        match outcome {
            Err(_) => return Err(format!("run {runs} broke a promise: {}", keep(target.name, "crash", &input))),
            Ok(true) => {
                accepted += 1;
                // What was accepted leads to more that is; it replaces earlier ones, never a seed.
                if inputs.len() < kept + KEPT {
                    inputs.push(input);
                } else {
                    inputs[kept + numbers.below(KEPT)] = input;
                }
            }
            Ok(false) => {}
        }
    }
    let seconds = started.elapsed().as_secs();
    Ok(format!("{runs} runs in {seconds} s, {accepted} accepted, slowest {} ms, no finding", slowest.as_millis()))
}

/// The seeds and the past findings of a target.
fn seeds_of(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let mut inputs = Vec::new();
    for directory in ["seeds", "regressions"] {
        let directory = root().join(directory).join(target);
        if directory.exists() || inputs.is_empty() {
            let mut files: Vec<PathBuf> =
                fs::read_dir(directory)?.map(|file| Ok(file?.path())).collect::<io::Result<_>>()?;
            files.sort();
            inputs.extend(files.iter().map(fs::read).collect::<io::Result<Vec<_>>>()?);
        }
    }
    Ok(inputs)
}

/// Ends the program when one input takes too long, and keeps that input.
fn watch(target: &'static str, running: Arc<Mutex<Option<Running>>>) {
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_secs(1));
            let running = running.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(Running { begun, input }) = &*running
                && begun.elapsed() > TIMEOUT
            {
                eprintln!("{target}: an input takes more than {TIMEOUT:?}: {}", keep(target, "timeout", input));
                std::process::exit(1);
            }
        }
    });
}

/// Writes a finding down, and gives where.
fn keep(target: &str, kind: &str, input: &[u8]) -> String {
    let directory = root().join("artifacts").join(target);
    let path = directory.join(format!("{kind}-{}", &pspf_core::Digest::of(input).to_string()[..16]));
    match fs::create_dir_all(&directory).and_then(|()| fs::write(&path, input)) {
        Ok(()) => path.display().to_string(),
        Err(error) => format!("{error}; the input is {input:?}"),
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// How many inputs are kept beside the seeds.
const KEPT: usize = 200;
/// How long one input may take.
const TIMEOUT: Duration = Duration::from_secs(10);
