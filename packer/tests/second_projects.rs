//! Beyond the first package: compiled dependencies, an upgrade, and the same input packed twice.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Finish as _, Scratch};

#[test]
fn a_project_with_numpy_packs_and_computes() {
    let Some(numbers) = common::numbers() else { return };
    let scratch = Scratch::new();
    for _ in 0..2 {
        let mut start = Command::new(&numbers);
        let finished = start.arg("40").env_clear().env("HOME", scratch.dir("home")).finish();
        finished.exits(0).stays_quiet().prints("largest error small\nsum 780\nrandom 3\n");
    }
}

#[test]
fn an_upgrade_extracts_the_application_and_nothing_else() {
    let Some(first) = common::hello() else { return };
    let scratch = Scratch::new();
    let project = scratch.join("project");
    common::copy_tree(&common::source_of("hello-cli"), &project);
    replace(&project.join("pyproject.toml"), "version = \"1.0.0\"", "version = \"1.1.0\"");
    replace(&project.join("src/hello_cli/greeting.txt"), "Hello", "Hello again");
    let second = scratch.join("hello-cli-1.1.0.psp");
    {
        let _heavy = common::heavy();
        common::pack(&project, &second).finish().exits(0);
    }

    let (home, cache) = (scratch.dir("home"), scratch.dir("cache"));
    let start = |package: &Path| {
        let mut start = Command::new(package);
        start.env_clear().env("HOME", &home).env("PSPF_CACHE_DIR", &cache).finish().exits(0).stays_quiet()
    };
    start(&first).prints("Hello from hello-cli.").prints("1.0.0");
    let before = common::slots(&cache);
    let shared = |names: &std::collections::BTreeSet<String>| -> Vec<_> {
        names.iter().map(|name| common::snapshot(&cache.join("v1/slots").join(name).join("content"))).collect()
    };
    let untouched = shared(&before);
    start(&second).prints("Hello again from hello-cli.").prints("1.1.0");

    let new: Vec<String> = common::slots(&cache).difference(&before).cloned().collect();
    assert_eq!(new.len(), 1, "one new slot was expected beside {before:?}");
    let content = common::snapshot(&cache.join("v1/slots").join(&new[0]).join("content"));
    assert!(content.keys().any(|path| path.ends_with("hello_cli/greeting.txt")), "{:?}", content.keys());
    assert!(!content.keys().any(|path| path.ends_with("click/core.py")), "dependencies are in the application's slot");
    assert_eq!(shared(&before), untouched, "slots that both versions share were written again");
    assert_eq!(common::envs(&cache).len(), 2, "each version has a workenv of its own");
    start(&first).prints("Hello from hello-cli.").prints("1.0.0");
}

#[test]
fn the_same_input_gives_the_same_bytes_wherever_and_however_it_is_packed() {
    if common::hello().is_none() {
        return; // There is no interpreter; that test has said so.
    }
    let _heavy = common::heavy();
    let scratch = Scratch::new();
    let keys = scratch.dir("keys");
    common::packer().arg("keygen").arg("--out-dir").arg(&keys).finish().exits(0);
    let packed = |place: &str, umask: &str, variables: &[(&str, &str)]| -> PathBuf {
        let project = scratch.join(place).join("project");
        common::copy_tree(&common::source_of("hello-cli"), &project);
        let package = scratch.join(place).join("out.psp");
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("umask {umask}; exec \"$@\""), "sh", env!("CARGO_BIN_EXE_packer"), "pack"]);
        shell.arg("--manifest").arg(project.join("pyproject.toml")).arg("--output").arg(&package);
        shell.arg("--private-key").arg(keys.join("flavor-private.key"));
        shell.arg("--public-key").arg(keys.join("flavor-public.key"));
        if let Some(python) = std::env::var_os("PSPF_TEST_PYTHON") {
            shell.arg("--python").arg(python);
        }
        shell.env("SOURCE_DATE_EPOCH", "1735689600").env("TMPDIR", scratch.dir(&format!("{place}-tmp")));
        shell.envs(variables.iter().copied()).current_dir(&project).finish().exits(0);
        package
    };
    let one = packed("one", "022", &[]);
    let two = packed("a second place", "077", &[("TZ", "Asia/Tokyo"), ("LC_ALL", "C"), ("RAYON_NUM_THREADS", "1")]);
    let (one, two) = (fs::read(one).unwrap(), fs::read(two).unwrap());
    let differs = one.iter().zip(&two).position(|(a, b)| a != b);
    assert_eq!(differs, None, "first different byte; the packages have {} and {} bytes", one.len(), two.len());
    assert_eq!(one.len(), two.len());
}

#[test]
fn packing_leaves_the_project_as_it_was() {
    if common::hello().is_none() {
        return;
    }
    let _heavy = common::heavy();
    let scratch = Scratch::new();
    let project = scratch.join("project");
    common::copy_tree(&common::source_of("probe"), &project);
    let before = common::snapshot(&project);
    // setuptools, the backend of this one, likes to build inside the project.
    common::pack(&project, &scratch.join("probe.psp")).env("TMPDIR", scratch.dir("tmp")).finish().exits(0);
    assert_eq!(common::snapshot(&project), before);
    assert_eq!(common::snapshot(&scratch.join("tmp")).len(), 1, "temporary files were left behind");
}

#[track_caller]
fn replace(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from:?} in {}", file.display());
    fs::write(file, text.replace(from, to)).unwrap();
}
