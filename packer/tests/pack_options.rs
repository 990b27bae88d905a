//! The options of `packer pack`: what they change in a package, and what `--dry-run` says of it before.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use common::{Finish as _, Finished, Scratch};
use serde_json::{Value, json};

struct Project {
    scratch: Scratch,
}

impl Project {
    fn new() -> Self {
        let project = Self { scratch: Scratch::new() };
        let text = "the same line again and again\n".repeat(1000);
        common::write_files(
            &project.directory(),
            &[
                ("tree/bin/app", "#!/bin/sh\nexit 7\n"),
                ("tree/text", &text),
                ("chosen/text", &text),
                ("text", &text),
                (
                    "app.toml",
                    "[package]\nname = \"app\"\nversion = \"1.0\"\n\
                     [execution]\ncommand = \"/bin/sh {workenv}/tree/bin/app\"\n\
                     [[slots]]\nid = \"tree\"\nsource = \"tree\"\n\
                     [[slots]]\nid = \"chosen\"\nsource = \"chosen\"\noperations = \"tar.bz2\"\n\
                     [[slots]]\nid = \"file\"\nsource = \"text\"\n\
                     [[slots]]\nid = \"raw\"\nsource = \"tree/bin/app\"\noperations = \"raw\"\n",
                ),
            ],
        );
        project
    }

    fn directory(&self) -> PathBuf {
        self.scratch.join("project")
    }

    fn package(&self) -> PathBuf {
        self.scratch.join("out/app.psp")
    }

    fn pack(&self, options: &[&str]) -> Finished {
        let mut pack = common::pack(&self.directory(), &self.package());
        pack.args(options).env("PSPF_CACHE_DIR", self.scratch.dir("cache")).finish()
    }

    /// How each slot is stored, after packing with these options.
    fn stored(&self, options: &[&str]) -> Vec<String> {
        self.pack(options).exits(0);
        Command::new(self.package()).env("PSPF_CACHE_DIR", self.scratch.dir("started")).finish().exits(7);
        let report = common::packer().args(["inspect", "--json"]).arg(self.package()).finish().exits(0).json();
        let operations = |slot: &Value| slot["operations"].as_str().unwrap().to_owned();
        let slots = report["slots"].as_array().unwrap().iter();
        slots.filter(|slot| slot["lifecycle"] != "attestation").map(operations).collect()
    }
}

#[test]
fn compression_is_for_slots_that_name_none() {
    let project = Project::new();
    assert_eq!(project.stored(&[]), ["tar.gz", "tar.bz2", "gzip", "raw"]);
    assert_eq!(project.stored(&["--compression", "xz"]), ["tar.xz", "tar.bz2", "xz", "raw"]);
    assert_eq!(project.stored(&["--compression", "none"]), ["tar", "tar.bz2", "raw", "raw"]);
    project.pack(&["--compression", "brotli"]).exits(105).says("zstd");
}

#[test]
fn a_level_is_for_slots_that_are_compressed_and_has_to_exist() {
    let project = Project::new();
    let size = |level: &str| {
        project.stored(&["--level", level, "--compression", "gzip"]);
        fs::metadata(project.package()).unwrap().len()
    };
    assert!(size("1") > size("9"));
    project.pack(&["--level", "19"]).exits(109).says("--level for slot tree").says("1 to 9");
}

#[test]
fn the_number_of_jobs_changes_no_byte() {
    let project = Project::new();
    // More chunks of 1 MiB than two or six, which are at work at once with one job or three.
    let mut state = 1_u64;
    let letters: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'a' + (state % 13) as u8
    })
    .take(9 << 20)
    .collect();
    fs::write(project.directory().join("text"), letters).unwrap();
    let mut packages = Vec::new();
    for jobs in ["1", "3"] {
        // The time is part of the package.
        let mut pack = common::pack(&project.directory(), &project.package());
        pack.args(["--jobs", jobs]).env("SOURCE_DATE_EPOCH", "1").env("PSPF_CACHE_DIR", project.scratch.dir("cache"));
        pack.finish().exits(0);
        packages.push(fs::read(project.package()).unwrap());
    }
    assert!(packages[0] == packages[1]);
    project.pack(&["--jobs", "0"]).exits(105);
}

#[test]
fn without_verification_the_summary_says_so() {
    let project = Project::new();
    let report = project.pack(&["--no-verify", "--json"]).exits(0);
    assert_eq!(report.json()["verified"], false);
    assert!(!report.stderr().contains("verifying"), "{report}");
    assert_eq!(project.pack(&["--json"]).exits(0).says("verifying what was written").json()["verified"], true);
    project.pack(&["--no-verify"]).exits(0).prints("packer verify");
    common::packer().arg("verify").arg(project.package()).finish().exits(0);
}

#[test]
fn strip_makes_programs_smaller_and_they_still_run() {
    let project = Project::new();
    let program = project.directory().join("tree/bin/app");
    // This test's own binary: it has symbols and line tables.
    fs::remove_file(&program).unwrap();
    Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&program).finish().exits(0);
    let manifest = "[package]\nname = \"app\"\nversion = \"1.0\"\n\
                    [execution]\ncommand = \"{workenv}/tree/bin/app --list\"\n\
                    [[slots]]\nid = \"tree\"\nsource = \"tree\"\n\
                    [[slots]]\nid = \"file\"\nsource = \"tree/bin/app\"\n";
    fs::write(project.directory().join("app.toml"), manifest).unwrap();
    let sizes = |options: &[&str]| {
        let report = project.pack(&[options, &["--json"]].concat()).exits(0);
        let listed = Command::new(project.package()).env("PSPF_CACHE_DIR", project.scratch.dir("started")).finish();
        listed.exits(0).prints("strip_makes_programs_smaller_and_they_still_run: test");
        let original = |slot: usize| report.json()["slots"][slot]["original_size"].as_u64().unwrap();
        ([original(0), original(1)], report.stderr())
    };
    // Sections for debuggers are far more than half of a test's binary.
    let (whole, said) = sizes(&[]);
    assert!(!said.contains("strip"), "{said}");
    let (stripped, said) = sizes(&["--strip"]);
    assert!(stripped[0] * 2 < whole[0] && stripped[1] * 2 < whole[1], "{stripped:?} of {whole:?}");
    assert!(said.contains("slot tree: 1 ELF file stripped, ") && said.contains("slot file: 1 ELF file"), "{said}");
}

#[test]
fn a_dry_run_says_what_would_be_packed_and_writes_nothing() {
    let project = Project::new();
    let plan = project.pack(&["--dry-run", "--compression", "zstd", "--json"]).exits(0).json();
    assert_eq!(
        (&plan["name"], &plan["version"], &plan["platform"]),
        (&json!("app"), &json!("1.0"), &json!("linux_amd64"))
    );
    assert_eq!(plan["path"], project.package().to_str().unwrap());
    let slot = |id: &str| plan["slots"].as_array().unwrap().iter().find(|slot| slot["id"] == id).unwrap().clone();
    assert_eq!((&slot("tree")["operations"], &slot("tree")["files"]), (&json!("tar.zst"), &json!(2)));
    assert_eq!(slot("tree")["original_size"], 30_000 + 17);
    assert_eq!((&slot("raw")["operations"], &slot("raw")["original_size"]), (&json!("raw"), &json!(17)));
    let parts: Vec<&str> =
        plan["layout"].as_array().unwrap().iter().map(|part| part["part"].as_str().unwrap()).collect();
    assert_eq!(parts, ["launcher", "metadata", "slot table", "tree", "chosen", "file", "raw", "index"]);
    let words = project.pack(&["--dry-run"]).exits(0).prints("would pack app 1.0").prints("nothing was written");
    assert!(words.stdout().contains("tree "), "{words}");
    assert!(!project.scratch.join("out").exists());
    // What packing would refuse, this refuses too.
    fs::remove_file(project.directory().join("text")).unwrap();
    project.pack(&["--dry-run"]).exits(109).says("the source of slot file cannot be read");
}

#[test]
fn a_dry_run_of_a_python_project_says_what_would_be_resolved() {
    let scratch = Scratch::new();
    let project = scratch.join("hello");
    common::copy_tree(&common::source_of("hello-cli"), &project);
    let mut dry = common::packer();
    dry.args(["pack", "--dry-run", "--key-seed", "x", "--manifest"]).arg(&project).current_dir(&*scratch);
    let dry = dry.env("PSPF_CACHE_DIR", scratch.join("never")).env("PATH", "").finish().exits(0).stays_quiet();
    dry.prints("resolve and install click").prints("Python >=3.").prints("application-code");
    assert!(!scratch.join("never").exists(), "nothing was looked for or built");
}

#[test]
fn a_dry_run_of_a_python_project_shows_its_slots_commands_and_hooks_and_runs_nothing() {
    let scratch = Scratch::new();
    let manifest = |hooks: &str| {
        format!(
            "[project]\nname = \"myapp\"\ndynamic = [\"version\"]\ndependencies = [\"flask>=2.0\"]\n\
             optional-dependencies.web = [\"gunicorn\"]\n\
             [project.scripts]\nmyapp = \"myapp:main\"\nmyapp-admin = \"myapp.admin:main\"\n\
             [tool.flavor]\ncompression = \"zstd\"\n\
             [[tool.flavor.slots]]\nid = \"models\"\nsource = \"models/\"\nlifecycle = \"lazy\"\n\
             [[tool.flavor.slots]]\nid = \"text\"\nsource = \"text\"\noperations = \"raw\"\n\
             [[tool.flavor.slots]]\nid = \"dll\"\nsource = \"dll\"\nplatform = \"windows\"\n{hooks}"
        )
    };
    let hooks = "[tool.flavor.build]\npre_build = [\"touch made\"]\npost_build = [\"touch checked\"]\ndependencies = [\"pytest\"]\n";
    common::write_files(&scratch, &[("pyproject.toml", &*manifest(hooks)), ("text", "12345"), ("myapp.py", "")]);
    let before = common::snapshot(&scratch);
    let dry = |options: &[&str]| {
        let mut dry = common::packer();
        dry.args(["pack", "--dry-run", "--key-seed", "x"]).args(options).current_dir(&*scratch);
        dry.env("PSPF_CACHE_DIR", scratch.join("never")).env("PATH", "").finish()
    };
    let plan = dry(&["--json", "--extra", "web", "--level", "5"]).exits(0).says("slot dll is for windows").json();
    assert_eq!(
        (&plan["name"], &plan["version"], &plan["path"]),
        (&json!("myapp"), &Value::Null, &json!("myapp-VERSION.psp"))
    );
    let slots: Vec<_> = plan["slots"].as_array().unwrap().iter().collect();
    let facts: Vec<_> = slots
        .iter()
        .map(|slot| json!([slot["id"], slot["operations"], slot["level"], slot["original_size"]]))
        .collect();
    assert_eq!(
        json!(facts),
        json!([
            ["python-runtime", "tar.zst", 5, null],
            ["python-environment", "tar.zst", 5, null],
            ["application-code", "tar.zst", 5, null],
            ["models", "tar.zst", 5, null],
            ["text", "raw", null, 5],
        ])
    );
    assert_eq!(slots[3]["source"], "models/, which is not there yet");
    assert_eq!((&plan["command"], &plan["launcher"]), (&json!("myapp:main"), &json!("packer-all")));
    assert_eq!(
        plan["entry_points"],
        json!([{"name": "myapp", "starts": "myapp:main"}, {"name": "myapp-admin", "starts": "myapp.admin:main"}])
    );
    let steps: Vec<&str> = plan["steps"].as_array().unwrap().iter().map(|step| step.as_str().unwrap()).collect();
    let hooks = [
        "install pytest for the hooks",
        "run touch made (pre_build)",
        "resolve and install flask>=2.0, and the extras web",
    ];
    assert_eq!(&steps[1..4], hooks);
    assert_eq!(plan["afterwards"], json!(["touch checked (post_build)"]));
    let layout = plan["layout"].as_array().unwrap();
    assert_eq!(layout.iter().find(|part| part["part"] == "text").unwrap()["size"], 5);
    dry(&[])
        .exits(0)
        .prints("  then      run touch checked (post_build)\n")
        .prints("  offers    myapp-admin (myapp.admin:main)\n");
    dry(&["--compression", "xz"]).exits(0).prints("tar.xz  lazy");
    assert_eq!(common::snapshot(&scratch), before, "nothing is run or written");

    // What packing would refuse, this refuses too.
    dry(&["--extra", "wbe"]).exits(105).says("no such extra");
    dry(&["--frozen"]).exits(109).says("no lock to keep to");
    dry(&["--level", "99"]).exits(109).says("--level");
    fs::write(scratch.join("pyproject.toml"), manifest("")).unwrap();
    dry(&[]).exits(109).says("the source of slot models cannot be read");
}
