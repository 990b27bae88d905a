//! The commands around a package: what is in it, what changed, what this machine has, and a manifest for a folder.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{App, Finish as _, Finished, Scratch};
use serde_json::{Value, json};

const SLOTS: &str = "[execution]\ncommand = \"/bin/sh {workenv}/tree/run\"\n\
                     [[slots]]\nid = \"tree\"\nsource = \"tree\"\n[[slots]]\nid = \"note\"\nsource = \"note\"\n";

fn app(run: &str, more: &[(&str, &str)], manifest: &str) -> App {
    App::new(&[&[("tree/run", run), ("tree/deep/er/text", "text"), ("note", "a note\n")], more].concat(), manifest)
}

fn packer(args: &[&str], files: &[&Path]) -> Finished {
    let mut packer = common::packer();
    packer.args(args).args(files).finish()
}

#[test]
fn inspect_shows_the_files_inside_slots_as_a_tree_and_in_json() {
    let files = [("tree/run", "exit 0\n"), ("tree/deep/er/text", "text"), ("note", "a note\n")];
    let app = App::new(&files, SLOTS);
    let words = packer(&["inspect", "--files"], &[&app.package()]).exits(0).stays_quiet().stdout();
    let tree: Vec<&str> =
        words.lines().skip_while(|line| !line.contains("0  tree")).skip(1).map(str::trim_end).collect();
    assert_eq!(
        tree[..4],
        ["         deep/  4 B", "           er/  4 B", "             text  4 B", "         run  7 B"],
        "{words}"
    );
    let report = packer(&["inspect", "--files", "--json"], &[&app.package()]).exits(0).json();
    let entries = &report["slots"][0]["entries"];
    assert_eq!(
        (&entries[0]["path"], &entries[0]["kind"], &entries[0]["size"]),
        (&json!("deep/er/text"), &json!("file"), &json!(4))
    );
    assert_eq!(report["slots"][1]["entries"][0]["path"], "note");
    assert_eq!(report["slots"][1]["entries"][0]["sha256"], pspf_core::Digest::of(b"a note\n").to_string());
    let without = packer(&["inspect", "--json"], &[&app.package()]).exits(0).json();
    assert!(without["slots"][0].get("entries").is_none());
}

#[test]
fn verify_deep_counts_the_files_and_refuses_what_verify_refuses() {
    let app = app("exit 0\n", &[], SLOTS);
    let deep = packer(&["verify", "--deep"], &[&app.package()]).exits(0);
    deep.prints("3 files inside the slots").prints("reads every byte without --deep");
    assert_eq!(packer(&["verify", "--deep", "--json"], &[&app.package()]).exits(0).json()["files"], 3);
    assert_eq!(packer(&["verify", "--json"], &[&app.package()]).exits(0).json()["files"], Value::Null);
    let mut bytes = fs::read(app.package()).unwrap();
    let last = bytes.len() - 8200 - 8;
    bytes[last] ^= 1;
    let changed = app.scratch.join("changed.psp");
    fs::write(&changed, bytes).unwrap();
    packer(&["verify", "--deep"], &[&changed]).exits(107);
    packer(&["inspect", "--files"], &[&changed]).exits(107);
}

#[test]
fn a_package_is_the_same_as_its_copy() {
    let app = app("exit 0\n", &[], SLOTS);
    let copy = app.scratch.join("copy.psp");
    common::copy_package(&app.package(), &copy);
    packer(&["diff"], &[&app.package(), &copy]).exits(0).prints("the same");
    assert_eq!(packer(&["diff", "--json"], &[&app.package(), &copy]).exits(0).json()["same"], true);
}

#[test]
fn diff_names_what_was_added_removed_and_changed_with_sizes() {
    let before = app("exit 0\n", &[("tree/gone", "gone")], SLOTS);
    let manifest = format!("{SLOTS}[[slots]]\nid = \"new\"\nsource = \"note\"\n").replace("/bin/sh", "/bin/dash");
    let after = app("exit 10\n", &[("tree/more", "m")], &manifest);
    let report = packer(&["diff", "--json"], &[&before.package(), &after.package()]).exits(0).stays_quiet().json();
    assert_eq!((&report["same"], &report["same_launcher"]), (&json!(false), &json!(true)));
    let field = |name: &str| report["metadata"].as_array().unwrap().iter().find(|one| one["field"] == name).cloned();
    assert_eq!(field("execution.command").unwrap()["after"], "\"/bin/dash {workenv}/tree/run\"");
    assert_eq!(field("package.name"), None, "what is the same is not listed");
    let slots: Vec<(&str, &str)> = report["slots"]
        .as_array()
        .unwrap()
        .iter()
        .map(|slot| (slot["id"].as_str().unwrap(), slot["change"].as_str().unwrap()))
        .collect();
    assert_eq!(slots, [("tree", "changed"), ("new", "added")]);
    let files: Vec<Value> = report["slots"][0]["files"].as_array().unwrap().clone();
    let files: Vec<_> =
        files.iter().map(|one| (&one["path"], &one["change"], &one["size_before"], &one["size_after"])).collect();
    assert_eq!(
        files,
        [
            (&json!("gone"), &json!("removed"), &json!(4), &Value::Null),
            (&json!("more"), &json!("added"), &Value::Null, &json!(1)),
            (&json!("run"), &json!("changed"), &json!(7), &json!(8)),
        ]
    );
    let words = packer(&["diff"], &[&before.package(), &after.package()]).exits(0);
    words.prints("- gone  4 B").prints("+ more  1 B").prints("~ run  7 B -> 8 B").prints("+ slot new");
}

#[test]
fn clean_says_what_it_would_remove_and_then_removes_it() {
    let app = app("exit 0\n", &[], SLOTS);
    let cache = app.cache();
    app.start().finish().exits(0);
    fs::create_dir_all(cache.join("build/slots")).unwrap();
    fs::write(cache.join("build/slots/one"), vec![0; 2048]).unwrap();
    let clean = |options: &[&str]| {
        let mut clean = common::packer();
        clean.arg("clean").args(options).env("PSPF_CACHE_DIR", &cache).finish().exits(0)
    };
    let there = || (common::envs(&cache).len(), common::slots(&cache).len(), cache.join("build/slots/one").exists());
    let before = there();
    assert_eq!(before, (1, 2, true));
    clean(&["--dry-run"]).prints("would remove the build cache").prints("1 files, 2.00 KiB").prints("1 workenv");
    assert_eq!(there(), before, "nothing was removed");
    let report = clean(&["--json"]).json();
    assert_eq!((&report["build_cache"]["bytes"], &report["workenvs"]["dry_run"]), (&json!(2048), &json!(false)));
    assert_eq!(there(), (0, 0, false));
    app.start().finish().exits(0);
}

#[test]
fn doctor_says_what_is_there_and_fails_where_something_will() {
    let scratch = Scratch::new();
    let doctor = |cache: &Path, options: &[&str]| {
        let mut doctor = common::packer();
        doctor.arg("doctor").args(options).env("HOME", scratch.dir("home")).env("PSPF_CACHE_DIR", cache);
        doctor.env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME").finish()
    };
    let words = doctor(&scratch.dir("cache"), &[]).exits(0);
    let words = words.prints("packer's own for linux_amd64").prints("not needed").prints("may run in the cache");
    assert!(words.stdout().lines().any(|line| line.starts_with("note") && line.contains("key")), "{words}");
    let report = doctor(&scratch.dir("cache"), &["--json"]).exits(0).json();
    let abouts: Vec<&str> = report.as_array().unwrap().iter().map(|one| one["about"].as_str().unwrap()).collect();
    for about in ["launchers", "python", "uv", "cache", "programs", "disk", "key", "policy", "rust"] {
        assert!(abouts.contains(&about), "{about}: {abouts:?}");
    }
    let keys = scratch.dir("home/.config/pspf/keys");
    fs::write(keys.join("flavor-private.key"), "secret").unwrap();
    fs::set_permissions(keys.join("flavor-private.key"), fs::Permissions::from_mode(0o644)).unwrap();
    doctor(&scratch.dir("cache"), &[]).exits(109).prints("problem").prints("chmod 600").says("1 problem");
    doctor(Path::new("relative"), &[]).exits(109).prints("PSPF_CACHE_DIR");
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    let scratch = Scratch::new();
    let commands = listed(&packer(&["--help"], &[]).exits(0).stdout());
    assert!(commands.contains(&"pack".to_owned()) && commands.len() > 15, "{commands:?}");
    packer(&["man"], &[&scratch.join("man/man1")]).exits(0).stays_quiet();
    for shell in ["bash", "zsh", "fish"] {
        let script = packer(&["completions", shell], &[]).exits(0).stays_quiet().stdout();
        for command in &commands {
            assert!(script.contains(command.as_str()), "{shell} does not know {command}");
        }
    }
    for command in commands {
        assert!(scratch.join(format!("man/man1/packer-{command}.1")).is_file(), "{command}");
    }
    packer(&["completions", "tcsh"], &[]).exits(105).says("bash");
}

/// The commands that a help text lists.
fn listed(help: &str) -> Vec<String> {
    let lines =
        help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1).take_while(|line| !line.is_empty());
    // What does not begin in the third column goes on with the line before.
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn the_schemas_know_the_keys_that_the_parser_knows() {
    let scratch = Scratch::new();
    let schema = |which: &str| packer(&["schema", which], &[]).exits(0).stays_quiet().json();
    let keys = |schema: &Value| {
        let mut keys: Vec<String> = schema["properties"].as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    // What the error for a key that nobody knows lists.
    let parsed = |file: &str, text: &str| {
        fs::write(scratch.join(file), text).unwrap();
        let refusal = packer(&["pack", "--dry-run", "--key-seed", "x"], &[&scratch.join(file)]).exits(109).stderr();
        let list = refusal.lines().find_map(|line| line.trim().strip_prefix("expected: one of ")).expect(&refusal);
        let mut list: Vec<String> = list.split(", ").map(str::to_owned).collect();
        list.sort();
        list
    };
    let flavor = "[project]\nname = \"a\"\nversion = \"1\"\n[tool.flavor]\nentry_point = \"a:b\"\nnobody = 1\n";
    assert_eq!(keys(&schema("flavor")), parsed("pyproject.toml", flavor));
    let app = schema("app");
    let table = |place: &str| match place {
        "" => app.clone(),
        "slots" => app["properties"]["slots"]["items"].clone(),
        place => app["properties"][place].clone(),
    };
    let whole = "[package]\nname = \"a\"\nversion = \"1\"\n[execution]\ncommand = \"/bin/true\"\n";
    for (place, text) in [
        ("package", "[package]\nname = \"a\"\nversion = \"1\"\nnobody = 1\n".to_owned()),
        ("execution", format!("{whole}nobody = 1\n")),
        ("slots", format!("{whole}[[slots]]\nid = \"a\"\nsource = \".\"\nnobody = 1\n")),
        ("policy", format!("{whole}[policy]\nnobody = 1\n")),
        ("workenv", format!("{whole}[workenv]\nnobody = 1\n")),
        ("runtime", format!("{whole}[runtime]\nnobody = 1\n")),
    ] {
        assert_eq!(keys(&table(place)), parsed("app.toml", &text), "{place}");
    }
}

/// A folder, and what packer makes of it.
struct Folder {
    scratch: Scratch,
}

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self { scratch: Scratch::new() };
        common::write_files(&folder.path(), files);
        folder
    }

    fn path(&self) -> PathBuf {
        self.scratch.join("folder")
    }

    fn packer(&self, args: &[&str]) -> Finished {
        let mut packer = common::packer();
        packer.args(args).current_dir(&*self.scratch).env("PSPF_CACHE_DIR", self.scratch.dir("cache")).finish()
    }

    /// Writes the manifest, packs by it, and gives the package's start.
    #[track_caller]
    fn packed(&self, package: &str) -> Command {
        self.packer(&["init", "folder"]).exits(0).prints("guessed").prints("packer pack folder");
        self.packer(&["pack", "folder", "--key-seed", "x", "--quiet"]).exits(0);
        let mut start = Command::new(self.scratch.join(package));
        start.env("PSPF_CACHE_DIR", self.scratch.dir("cache"));
        start
    }
}

#[test]
fn a_folder_without_a_manifest_is_not_packed_but_one_is_proposed() {
    let folder = Folder::with(&[("run.sh", "echo \"$#\"\n")]);
    let proposal = folder.packer(&["pack", "folder"]).exits(109).says("this looks like a shell script");
    let proposal = proposal.says("command = \"/bin/sh {workenv}/app/run.sh\"").says("packer init folder");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was written: {proposal}");
    folder.packed("folder-0.1.0.psp").args(["a b", "c"]).finish().exits(0).prints("2\n");
    folder.packer(&["init", "folder"]).exits(106).says("not overwritten");
}

#[test]
fn a_script_that_runs_itself_and_a_single_program_are_started_directly() {
    let script = Folder::with(&[("greet", "#!/bin/sh\necho hello\n"), ("data.txt", "data")]);
    fs::set_permissions(script.path().join("greet"), fs::Permissions::from_mode(0o755)).unwrap();
    script.packed("greet-0.1.0.psp").finish().exits(0).prints("hello\n");
    let program = Folder::with(&[("README", "text")]);
    fs::copy("/bin/true", program.path().join("tool")).unwrap();
    program.packed("tool-0.1.0.psp").finish().exits(0);
}

#[test]
fn a_python_folder_gets_a_pyproject_with_its_requirements_and_its_entry_point() {
    let main = "def main():\n    print('from main')\n";
    let folder = Folder::with(&[("main.py", main), ("requirements.txt", "click>=8\n-r other.txt\n")]);
    folder.packer(&["init", "folder"]).exits(0).prints("a Python project").prints("left out \"-r other.txt\"");
    let text = fs::read_to_string(folder.path().join("pyproject.toml")).unwrap();
    assert!(text.contains("entry_point = \"main:main\"") && text.contains("\"click>=8\""), "{text}");
    folder.packer(&["pack", "folder", "--dry-run", "--key-seed", "x"]).exits(0).prints("install click>=8");
    let setup = Folder::with(&[
        ("setup.py", "setup(\n    name='thing',\n)\n"),
        ("thing/__init__.py", ""),
        ("thing/__main__.py", ""),
    ]);
    setup.packer(&["init", "folder"]).exits(0).prints("runs as with python -m thing");
    let text = fs::read_to_string(setup.path().join("pyproject.toml")).unwrap();
    assert!(text.contains("name = \"thing\"") && text.contains("setuptools.build_meta"), "{text}");
}

#[test]
fn node_apps_and_sites_get_a_manifest_with_the_program_that_runs_them() {
    let node = r#"{"name": "@me/web", "version": "2.1.0", "scripts": {"start": "node server.js"}, "dependencies": {"a": "1"}}"#;
    let node = Folder::with(&[("package.json", node), ("server.js", "")]);
    node.packer(&["init", "folder"]).exits(0).prints("a Node app").prints("run npm ci");
    let plan = node.packer(&["pack", "folder", "--dry-run", "--key-seed", "x", "--json"]).exits(0).json();
    assert_eq!((&plan["name"], &plan["version"]), (&json!("web"), &json!("2.1.0")));
    assert!(fs::read_to_string(node.path().join("app.toml")).unwrap().contains("node {workenv}/app/server.js"));
    let site = Folder::with(&[("index.html", "<p>")]);
    site.packer(&["init", "folder"]).exits(0).prints("a static site").prints("port 8000");
    site.packer(&["pack", "folder", "--dry-run", "--key-seed", "x"]).exits(0);
}

#[test]
fn what_nobody_recognises_is_told_with_what_would_be() {
    let folder = Folder::with(&[("notes.txt", "text")]);
    symlink("nowhere", folder.path().join("link")).unwrap();
    folder.packer(&["init", "folder"]).exits(109).says("package.json").says("packer schema");
    folder.packer(&["pack", "folder"]).exits(109).says("there is no manifest here").says("app.toml");
    folder.packer(&["init", "nowhere"]).exits(106);
}

#[test]
fn errors_are_red_where_colours_are_wanted_and_plain_elsewhere() {
    let error = |name: &str, value: &str| {
        let mut packer = common::packer();
        packer.args(["verify", "/nowhere"]).env_remove("NO_COLOR").env(name, value).finish().exits(106).stderr()
    };
    assert!(error("CLICOLOR_FORCE", "1").starts_with("\x1b[31m\x1b[1merror:\x1b[0m "));
    assert!(error("NO_COLOR", "1").starts_with("error: "));
    assert!(error("CLICOLOR_FORCE", "0").starts_with("error: "), "standard error is no terminal here");
}

#[test]
fn how_much_is_told_follows_options_and_variables() {
    let folder = Folder::with(&[("run.sh", "exit 0\n")]);
    folder.packer(&["init", "folder"]).exits(0);
    let said = |options: &[&str], env: &[(&str, &str)]| {
        let mut pack = common::packer();
        pack.args(["pack", "folder", "--key-seed", "x"]).args(options).current_dir(&*folder.scratch);
        for name in ["PSPF_LOG", "FOUNDATION_LOG_LEVEL", "FLAVOR_LOG_LEVEL"] {
            pack.env_remove(name);
        }
        let pack = pack.envs(env.iter().copied()).env("PSPF_CACHE_DIR", folder.scratch.dir("cache")).finish().exits(0);
        (pack.stderr().contains("note: "), pack.stderr().contains("signing and writing"), !pack.stdout().is_empty())
    };
    assert_eq!(said(&[], &[]), (true, true, true));
    assert_eq!(said(&["--quiet"], &[]), (false, false, false));
    assert_eq!(said(&[], &[("PSPF_LOG", "error")]), (false, false, true));
    assert_eq!(said(&[], &[("FLAVOR_LOG_LEVEL", "WARNING")]), (true, false, true));
    assert_eq!(said(&[], &[("FLAVOR_LOG_LEVEL", "error"), ("FOUNDATION_LOG_LEVEL", "info")]), (true, true, true));
    assert_eq!(said(&["-v"], &[("PSPF_LOG", "error")]), (true, true, true), "what was typed counts first");
    let files = |options: &[&str], level: &str| {
        let mut pack = common::packer();
        pack.args(["pack", "folder", "--key-seed", "x"]).args(options).current_dir(&*folder.scratch);
        pack.env("PSPF_LOG", level).env("PSPF_CACHE_DIR", folder.scratch.dir("cache")).finish().exits(0).stderr()
    };
    for (options, level, told) in [(&["-vv"][..], "error", true), (&[], "trace", true), (&["-v"], "error", false)] {
        let said = files(options, level);
        assert_eq!(said.contains("trace: run.sh\n") && said.contains("signing and writing (after "), told, "{said}");
    }
    let mut wrong = common::packer();
    wrong.args(["pack", "folder"]).env("PSPF_LOG", "loud").current_dir(&*folder.scratch);
    wrong.finish().exits(105).says("PSPF_LOG").says("debug");
}

#[test]
fn at_debug_the_programs_that_are_run_are_shown_with_what_they_say() {
    let Some(()) = common::require_python() else { return };
    let _heavy = common::heavy();
    let folder = Folder::with(&[("main.py", "def main():\n    pass\n")]);
    folder.packer(&["init", "folder"]).exits(0);
    let mut pack = common::pack(&folder.path(), &folder.scratch.join("out.psp"));
    let pack = pack.env("FOUNDATION_LOG_LEVEL", "debug").env("PSPF_CACHE_DIR", folder.scratch.dir("cache")).finish();
    let said = pack.exits(0).stderr();
    assert!(said.lines().any(|line| line.starts_with("debug: $ ") && line.contains("python")), "{said}");
    assert!(said.contains("debug: exit status: 0"), "{said}");
}
