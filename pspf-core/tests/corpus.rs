//! Every seed of the fuzz targets and every past finding, by the targets themselves (fuzz/README.md).

#[path = "../../fuzz/src/targets/mod.rs"]
#[allow(dead_code, reason = "the engines and the generator of the seeds use the rest")]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

use targets::TARGETS;

#[test]
fn every_target_has_seeds_that_it_accepts() {
    for target in TARGETS {
        let seeds = files("seeds", target.name);
        let accepted = seeds.iter().filter(|seed| (target.run)(&fs::read(seed).unwrap())).count();
        assert!(accepted > 0, "{}: none of {} seeds", target.name, seeds.len());
    }
}

#[test]
fn past_findings_stay_mended() {
    let mut count = 0;
    for target in TARGETS {
        for finding in files("regressions", target.name) {
            println!("{}", finding.display());
            (target.run)(&fs::read(&finding).unwrap());
            count += 1;
        }
    }
    assert!(count > 0, "none was found");
}

#[test]
fn inputs_belong_to_targets_and_stay_small() {
    let mut size = 0;
    for kind in ["seeds", "regressions"] {
        for directory in fs::read_dir(fuzz().join(kind)).unwrap() {
            let name = directory.unwrap().file_name().into_string().unwrap();
            assert!(TARGETS.iter().any(|target| target.name == name), "{kind}/{name} belongs to no target");
            size += files(kind, &name).iter().map(|file| file.metadata().unwrap().len()).sum::<u64>();
        }
    }
    assert!(size <= 300 << 10, "{size} bytes are checked in");
}

/// The inputs of a target, by name.
fn files(kind: &str, target: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(fuzz().join(kind).join(target)) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}
