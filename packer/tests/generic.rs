//! Programs that are not Python: a manifest in TOML or JSON, packed and started.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Finish as _, Finished, Scratch};
use serde_json::json;

/// A project, and the places where its package goes and runs.
struct Project {
    scratch: Scratch,
}

impl Project {
    fn new(files: &[(&str, &str)]) -> Self {
        let project = Self { scratch: Scratch::new() };
        common::write_files(&project.directory(), files);
        for name in files.iter().map(|(name, _)| name).filter(|name| name.contains("bin/")) {
            fs::set_permissions(project.path(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        project
    }

    fn directory(&self) -> PathBuf {
        self.scratch.join("project")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    fn package(&self) -> PathBuf {
        self.scratch.join("app.psp")
    }

    fn pack(&self, manifest: &str) -> Finished {
        let mut pack = common::pack(&self.path(manifest), &self.package());
        pack.env("PSPF_CACHE_DIR", self.scratch.join("cache")).finish()
    }

    /// Packs `app.toml` of these lines, after a [package] table of four.
    fn pack_toml(&self, lines: &str) -> Finished {
        let text = format!("[package]\nname = \"app\"\nversion = \"1.0\"\n\n{lines}");
        fs::write(self.path("app.toml"), text).unwrap();
        self.pack("app.toml")
    }

    fn start(&self) -> Command {
        let mut start = Command::new(self.package());
        start.env_clear().env("HOME", self.scratch.dir("home")).env("PATH", "/usr/bin:/bin");
        start
    }

    /// Twice, with the same result: the second start finds everything prepared.
    #[track_caller]
    fn run(&self, args: &[&str]) -> Finished {
        let first = self.start().args(args).finish().exits(0);
        let second = self.start().args(args).finish().exits(0);
        assert_eq!(first.stdout(), second.stdout());
        second.stays_quiet()
    }

    /// The one workenv that runs have made.
    fn workenv(&self) -> PathBuf {
        common::env_of(&self.scratch.join("home/.cache/pspf"))
    }

    #[track_caller]
    fn verifies(&self) {
        common::packer().arg("verify").arg(self.package()).finish().exits(0);
    }

    fn slots(&self) -> Vec<serde_json::Value> {
        let report = common::packer().arg("inspect").arg(self.package()).arg("--json").finish().exits(0);
        report.json()["slots"].as_array().expect("slots").clone()
    }
}

/// Prints its arguments, one per line.
const ARGUMENTS: &str = "#!/bin/sh\nfor argument in \"$@\"; do printf '%s\\n' \"$argument\"; done\n";
/// Prints the environment.
const ENVIRONMENT: &str = "#!/bin/sh\nenv\n";

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o7777
}

#[test]
fn the_example_says_hello() {
    let scratch = Scratch::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/any-binary");
    let package = scratch.join("dist/any-binary-1.0.0.psp");
    common::pack(&example, &scratch.join("dist/")).finish().exits(0).prints("packed any-binary 1.0.0");
    let start = |language: &str| {
        let mut start = Command::new(&package);
        start.env_clear().env("HOME", scratch.dir("home")).env("HELLO_LANG", language).env("HELLO_WORDS", "/nowhere");
        start.args(["one", "two words"]).finish()
    };
    assert_eq!(start("de").exits(0).stays_quiet().stdout(), "Servus!\none\ntwo words\n");
    assert_eq!(start("en").exits(0).stays_quiet().stdout(), "Hello!\none\ntwo words\n");
    start("xx").exits(2).says("no words for the language xx");
}

#[test]
fn arguments_arrive_untouched_after_those_of_the_manifest() {
    let project = Project::new(&[("bin/run", ARGUMENTS)]);
    let hard = ["", "two words", "{workenv}", "$HOME", "*", "a\nb", "-x", "--", "'\"\\"];
    for command in [
        r#"command = "{workenv}/app/run 'a b' {package_name}-{version} \"{slot:0}\" '' x\\ y""#,
        r#"command = ["{workenv}/app/run", "a b", "{package_name}-{version}", "{slot:0}", "", "x y"]"#,
    ] {
        let slots = "[[slots]]\nid = \"app\"\nsource = \"bin\"\n";
        project.pack_toml(&format!("[execution]\n{command}\n{slots}")).exits(0);
        project.verifies();
        let output = project.start().args(hard).finish().exits(0).stays_quiet().stdout();
        let mut expected = vec!["a b", "app-1.0"];
        let app = project.workenv().join("app");
        expected.extend([app.to_str().unwrap(), "", "x y"]);
        expected.extend(hard);
        assert_eq!(output, expected.join("\n") + "\n");
        fs::remove_dir_all(project.scratch.join("home/.cache/pspf/v1/envs")).unwrap();
    }
}

#[test]
fn what_the_manifest_says_of_the_package_is_in_it() {
    let project = Project::new(&[("bin/run", ARGUMENTS)]);
    let text = "x-made-by = \"hand\"\n[package]\nname = \"app\"\nversion = \"2.1\"\ndescription = \"does things\"\n\
                app_id = \"dev.example/app\"\nrelease = 7\n[execution]\ncommand = \"{workenv}/app/run\"\n\
                [[slots]]\nid = \"app\"\nsource = \"bin\"\npurpose = \"tool\"\nlifecycle = \"eager\"\n\
                [policy]\nrequire_env = [\"WANTED\"]\n[extensions]\nx-mine = { a = [1, true] }\n";
    fs::write(project.path("app.toml"), text).unwrap();
    project.pack("app.toml").exits(0).prints("packed app 2.1");
    let metadata = project.start().env("FLAVOR_LAUNCHER_CLI", "1").arg("metadata").finish().exits(0).json();
    let package = json!({"name": "app", "version": "2.1", "description": "does things"});
    assert_eq!((&metadata["package"], &metadata["x-made-by"]), (&package, &json!("hand")));
    let extensions = &metadata["extensions"];
    assert_eq!(extensions["x-mine"], json!({"a": [1, true]}));
    let claims = &extensions["x-pspf-claims"];
    assert_eq!((&claims["app_id"], &claims["release"]), (&json!("dev.example/app"), &json!(7)));
    let slot = &project.slots()[0];
    assert_eq!((&slot["id"], &slot["purpose"], &slot["lifecycle"]), (&json!("app"), &json!("tool"), &json!("eager")));
    project.start().finish().exits(109).prints_nothing().says("missing_env");
    let started = project.start().env("WANTED", "1").arg("x").finish().exits(0);
    assert_eq!(started.stdout(), "x\n");
}

#[test]
fn a_program_starts_where_its_user_is_or_where_the_manifest_says() {
    let project = Project::new(&[("bin/run", "#!/bin/sh\npwd -P\n"), ("data/deep/x", "")]);
    let starts_in = |line: &str| {
        let slots = [slot("app", "bin", ""), slot("data", "data", "")].concat();
        project.pack_toml(&format!("[execution]\ncommand = \"{{workenv}}/app/run\"\n{line}\n{slots}")).exits(0);
        project.start().current_dir("/usr").finish().exits(0).stays_quiet().stdout()
    };
    assert_eq!(starts_in(""), "/usr\n");
    assert_eq!(starts_in("working_directory = \"/var/tmp\""), "/var/tmp\n");
    let inside = starts_in("working_directory = \"{slot:1}/deep\"");
    assert!(
        inside.starts_with(project.scratch.join("home").to_str().unwrap()) && inside.ends_with("/deep\n"),
        "{inside}"
    );
    let refused = project.pack_toml("[execution]\ncommand = \"/bin/true\"\nworking_directory = \"../x\"\n");
    refused.exits(109).says("execution.working_directory").says("below the workenv");
}

#[test]
fn toml_and_json_give_the_same_package() {
    let project = Project::new(&[("bin/run", ARGUMENTS), ("data/x", "x")]);
    fs::write(
        project.path("app.json"),
        r#"{
            "package": {"name": "app", "version": "1.0"},
            "execution": {"command": "{workenv}/bin/run", "env": {"A": "1"}},
            "slots": [
                {"id": "run", "source": "bin/run", "target": "bin/run"},
                {"id": "data", "source": "data", "lifecycle": "eager", "purpose": "tool"}
            ],
            "policy": {"platforms": ["linux"]}
        }"#,
    )
    .unwrap();
    let lines = "[execution]\ncommand = \"{workenv}/bin/run\"\nenv = { A = \"1\" }\n\
                 [[slots]]\nid = \"run\"\nsource = \"bin/run\"\ntarget = \"bin/run\"\n\
                 [[slots]]\nid = \"data\"\nsource = \"data\"\nlifecycle = \"eager\"\npurpose = \"tool\"\n\
                 [policy]\nplatforms = [\"linux\"]\n";
    let bytes = |manifest: &str| {
        let mut pack = common::pack(&project.path(manifest), &project.package());
        pack.env("SOURCE_DATE_EPOCH", "1735689600").finish().exits(0);
        fs::read(project.package()).unwrap()
    };
    let json = bytes("app.json");
    project.run(&["a"]);
    project.pack_toml(lines).exits(0);
    assert_eq!(json, bytes("app.toml"));
}

#[test]
fn the_environment_follows_the_rules_of_the_manifest() {
    let project = Project::new(&[("bin/run", ENVIRONMENT)]);
    project
        .pack_toml(
            "[execution]\ncommand = \"{workenv}/app/run\"\nenv = { LAST = \"execution\", ROOT = \"{workenv}\" }\n\
             [[slots]]\nid = \"app\"\nsource = \"bin\"\n\
             [runtime.env]\nunset = [\"DROP*\", \"?_SECRET\"]\npass = [\"DROP_NOT\"]\n\
             set = { SET = \"{package_name} {version}\", LAST = \"runtime\" }\nmap = { OLD = \"NEW\" }\n\
             [workenv]\nenv = { TMPDIR = \"{workenv}/tmp\", LAST = \"workenv\" }\n\
             directories = [{ path = \"{workenv}/tmp\", mode = \"0700\" }]\n",
        )
        .exits(0);
    let mut start = project.start();
    for name in ["DROPPED", "DROP_NOT", "A_SECRET", "AN_SECRET", "OLD", "KEPT"] {
        start.env(name, "from the caller");
    }
    let output = start.finish().exits(0).stays_quiet().stdout();
    let env: BTreeMap<&str, &str> = output.lines().filter_map(|line| line.split_once('=')).collect();
    for name in ["DROPPED", "A_SECRET", "OLD"] {
        assert!(!env.contains_key(name), "{output}");
    }
    for name in ["DROP_NOT", "AN_SECRET", "NEW", "KEPT"] {
        assert_eq!(env.get(name), Some(&"from the caller"), "{name}: {output}");
    }
    let root = project.workenv();
    let root = root.to_str().unwrap();
    assert_eq!((env["SET"], env["LAST"], env["ROOT"]), ("app 1.0", "execution", root));
    assert_eq!(env["TMPDIR"], format!("{root}/tmp"));
    assert!(env["PATH"].starts_with(&format!("{root}/bin:")), "{output}");
}

#[test]
fn directories_files_and_modes_are_made_in_the_workenv() {
    let project = Project::new(&[("bin/run", ARGUMENTS), ("tool", ARGUMENTS), ("data/conf/x", "x")]);
    project
        .pack_toml(
            "[execution]\ncommand = \"{workenv}/app/run\"\n\
             [[slots]]\nid = \"app\"\nsource = \"bin\"\n\
             [[slots]]\nid = \"tool\"\nsource = \"tool\"\ntarget = \"lib/\"\n\
             [[slots]]\nid = \"data\"\nsource = \"data\"\n\
             [workenv]\ndirectories = [{ path = \"{workenv}/var/log\", mode = \"0700\" }, { path = \"var/run\" }]\n\
             [[setup_commands]]\ntype = \"write_file\"\npath = \"{workenv}/etc/{package_name}-{version}.conf\"\n\
             content = \"root={workenv}\\ndata={slot:2}\\n{ this stays }\\n\"\nmode = \"0600\"\n\
             [[setup_commands]]\ntype = \"write_file\"\npath = \"{slot:2}/conf/y\"\ncontent = \"\"\n\
             [[setup_commands]]\ntype = \"chmod\"\npath = \"lib/tool\"\nmode = \"0700\"\n",
        )
        .exits(0);
    project.verifies();
    project.run(&[]);
    let root = project.workenv();
    assert_eq!((mode_of(&root.join("var/log")), mode_of(&root.join("var/run"))), (0o700, 0o755));
    let conf = root.join("etc/app-1.0.conf");
    let shown = root.display();
    assert_eq!(fs::read_to_string(&conf).unwrap(), format!("root={shown}\ndata={shown}/data\n{{ this stays }}\n"));
    assert_eq!(mode_of(&conf), 0o600);
    assert_eq!(mode_of(&root.join("lib/tool")), 0o700);
    assert!(root.join("data/conf/x").is_file() && root.join("data/conf/y").is_file());
}

/// The lines of a slot.
fn slot(id: &str, source: &str, more: &str) -> String {
    format!("[[slots]]\nid = \"{id}\"\nsource = \"{source}\"\n{more}\n")
}

#[test]
fn every_chain_that_packer_writes_comes_back_the_same() {
    let text = "line after line\n".repeat(200_000);
    let project = Project::new(&[("bin/run", ARGUMENTS), ("dir/a/b", "b"), ("dir/c", "c"), ("big", &text)]);
    let slots = [
        slot("raw", "big", "operations = \"raw\""),
        slot("gzip", "big", "operations = \"gz\"\npermissions = \"0755\""),
        slot("chosen", "big", ""),
        slot("tar", "dir", "operations = \"tar\""),
        slot("targz", "dir", "operations = \"tar|gzip\""),
        slot("less", "dir", "exclude = [\"*/b\"]"),
        slot("empty", "nothing", ""),
    ];
    fs::create_dir(project.path("nothing")).unwrap();
    project.pack_toml(&format!("[execution]\ncommand = \"/bin/true\"\n{}", slots.concat())).exits(0);
    project.verifies();
    project.run(&[]);
    let root = project.workenv();
    for (id, mode) in [("raw", 0o444), ("gzip", 0o555), ("chosen", 0o444)] {
        assert_eq!(fs::read_to_string(root.join(id)).unwrap(), text, "{id}");
        assert_eq!(mode_of(&root.join(id)), mode, "{id}");
    }
    for id in ["tar", "targz"] {
        assert_eq!(fs::read_to_string(root.join(id).join("a/b")).unwrap(), "b", "{id}");
    }
    assert!(root.join("less/c").is_file() && !root.join("less/a/b").exists());
    assert!(root.join("empty").is_dir());
    let operations: Vec<String> =
        project.slots().iter().map(|slot| slot["operations"].as_str().unwrap().to_owned()).collect();
    assert_eq!(
        operations,
        ["raw", "gzip", "gzip", "tar", "tar.gz", "tar.gz", "tar.gz", "raw"],
        "the SBOM is the last one"
    );
}

#[test]
fn a_pattern_packs_what_it_matches_and_no_more() {
    let project = Project::new(&[
        ("bin/run", "#!/bin/sh\ncd \"$FLAVOR_WORKENV/$1\" && find -L . | LC_ALL=C sort\n"),
        ("data/one.csv", "1"),
        ("data/two three [4].csv", "2"),
        ("data/notes.txt", "3"),
        ("data/deep/er/four.csv", "4"),
        ("data/deep/er/notes.txt", "5"),
        ("data/empty.csv/inside", "6"),
        ("data/without/notes.txt", "7"),
    ]);
    let slots = [
        slot("app", "bin", ""),
        slot("flat", "data/*.csv", "compression = \"zstd\""),
        slot("deep", "data/**/*.csv", "exclude = [\"one*\"]"),
        slot("other", "da?a/deep", "target = \"share/other\""),
        slot("literal", "data/two three [4].csv", "target = \"share/\""),
    ];
    let lines = format!("[execution]\ncommand = \"{{workenv}}/app/run\"\n{}", slots.concat());
    project.pack_toml(&lines).exits(0);
    let listed = |target: &str| project.run(&[target]).stdout();
    assert_eq!(listed("flat"), ".\n./empty.csv\n./empty.csv/inside\n./one.csv\n./two three [4].csv\n");
    assert_eq!(
        listed("deep"),
        ".\n./deep\n./deep/er\n./deep/er/four.csv\n./empty.csv\n./empty.csv/inside\n./two three [4].csv\n"
    );
    assert_eq!(
        listed("share"),
        ".\n./other\n./other/data\n./other/data/deep\n./other/data/deep/er\n./other/data/deep/er/four.csv\n\
         ./other/data/deep/er/notes.txt\n./two three [4].csv\n"
    );
}

#[test]
fn slots_may_merge_into_the_root_of_the_workenv() {
    let project = Project::new(&[("one/bin/run", ARGUMENTS), ("two/share/x", "x"), ("three/share/y", "y")]);
    let slots =
        ["one", "two", "three"].map(|id| format!("[[slots]]\nid = \"{id}\"\nsource = \"{id}\"\ntarget = \".\"\n"));
    project.pack_toml(&format!("[execution]\ncommand = \"run\"\n{}", slots.concat())).exits(0);
    assert_eq!(project.run(&["a b"]).stdout(), "a b\n");
    let root = project.workenv();
    assert!(root.join("share/x").is_file() && root.join("share/y").is_file());
}

/// Compresses or archives with the tools of the system.
#[track_caller]
fn shell(directory: &Path, script: &str) {
    Command::new("/bin/sh").arg("-ec").arg(script).current_dir(directory).finish().exits(0);
}

/// What FlavorPack's builders take: everything is encoded already, archives are unpacked into the root.
const OF_A_BUILDER: &str = r#"{
    "package": {"name": "app", "version": "1.0"},
    "execution": {"command": "{workenv}/bin/run", "environment": {"A": "1"}},
    "cache_validation": {"check_file": "{workenv}/metadata/installed", "expected_content": "app-1.0"},
    "workenv": {"directories": [{"path": "{workenv}/tmp", "mode": "0700"}], "env": {"TMPDIR": "{workenv}/tmp"}},
    "setup_commands": [
        {"type": "write_file", "path": "{workenv}/metadata/installed", "content": "{package_name}-{version}"}
    ],
    "slots": [
        {"id": "tool", "source": "tool.gz", "operations": "gzip", "purpose": "tool", "lifecycle": "cache",
         "target": "bin/tool", "type": "file", "permissions": "0700"},
        {"id": "tree", "source": "tree.tgz", "operations": "tgz", "purpose": "runtime", "lifecycle": "cache",
         "target": "{workenv}"},
        {"id": "wheels", "source": "wheels.tar.gz", "operations": "tar,gzip", "purpose": "payload",
         "lifecycle": "runtime", "target": "wheels", "resolution": "build"},
        {"id": "plain", "source": "plain", "operations": "none", "target": "{workenv}/share/plain"}
    ],
    "signature": {"private_key": null, "public_key": null},
    "runtime": {"env": {"pass": ["HOME"], "unset": ["PYTHON*"]}}
}"#;

fn of_a_builder() -> Project {
    let project = Project::new(&[
        ("tree/bin/run", ARGUMENTS),
        ("tree/zz", "z"),
        ("tree/aa", "a"),
        ("wheels/x.whl", "x"),
        ("tool", ARGUMENTS),
        ("plain", "plain"),
        ("app.json", OF_A_BUILDER),
    ]);
    // In an order that no directory has.
    shell(
        &project.directory(),
        "gzip -n tool; tar -C tree -czf tree.tgz zz bin aa; tar -czf wheels.tar.gz wheels; rm -r tree wheels",
    );
    project
}

#[test]
fn a_manifest_of_flavorpacks_builders_is_packed_as_it_is() {
    let project = of_a_builder();
    let packed = project.pack("app.json").exits(0);
    packed.says("packer decides signature itself").says("slot wheels: as with FlavorPack's launchers");
    project.verifies();
    assert_eq!(project.run(&["a b"]).stdout(), "a b\n");
    let root = project.workenv();
    for (path, content) in
        [("wheels/x.whl", "x"), ("share/plain", "plain"), ("aa", "a"), ("metadata/installed", "app-1.0")]
    {
        assert_eq!(fs::read_to_string(root.join(path)).unwrap(), content, "{path}");
    }
    assert_eq!(fs::read_to_string(root.join("bin/tool")).unwrap(), ARGUMENTS);
    for slot in project.slots() {
        assert!(slot["original_size"].as_u64() >= Some(5), "{slot}");
    }
}

#[test]
fn what_is_encoded_already_keeps_its_bytes() {
    let project = of_a_builder();
    project.pack("app.json").exits(0);
    let package = fs::read(project.package()).unwrap();
    let slots = project.slots();
    for (slot, name) in slots.iter().zip(["tool.gz", "tree.tgz", "wheels.tar.gz", "plain"]) {
        let (at, size) = (slot["offset"].as_u64().unwrap() as usize, slot["size"].as_u64().unwrap() as usize);
        assert_eq!(package[at..at + size], fs::read(project.path(name)).unwrap(), "{name}");
    }
}

#[test]
fn other_compressions_are_taken_when_they_are_there_already() {
    let project = Project::new(&[("tree/x", "x")]);
    for (program, chain) in [("bzip2", "tar.bz2"), ("xz", "tar.xz"), ("zstd", "tar.zst")] {
        if let Err(error) = Command::new(program).arg("--version").output() {
            common::require::<()>(Err(format!("{program}: {error}")));
            continue;
        }
        shell(&project.directory(), &format!("tar -cf - -C tree x | {program} -c > x.{chain}"));
        let slot = format!("[[slots]]\nid = \"x\"\nsource = \"x.{chain}\"\noperations = \"{chain}\"\n");
        project.pack_toml(&format!("[execution]\ncommand = \"/bin/cat {{workenv}}/x/x\"\n{slot}")).exits(0);
        project.verifies();
        assert_eq!(project.run(&[]).stdout(), "x", "{chain}");
        assert_eq!(project.slots()[0]["operations"], chain);
    }
}

#[test]
fn an_archive_that_no_reader_of_ours_takes_is_refused_with_its_entry() {
    let project = Project::new(&[("dir/a", "a"), ("dir/b", "b")]);
    let refused = |words: &[&str]| {
        let lines = "[execution]\ncommand = \"/bin/true\"\n[[slots]]\nid = \"x\"\nsource = \"x.tgz\"\noperations = \"tar.gz\"\n";
        let finished = project.pack_toml(lines).exits(108).says("x.tgz").says("\n  try: ");
        words.iter().fold(finished, |finished, word| finished.says(word));
        assert!(!project.package().exists());
    };
    let tar = |script: &str| shell(&project.directory(), script);
    tar("tar -czf x.tgz -C dir --transform 's|^a$|../a|' -P a b");
    refused(&["../a"]);
    tar("tar -czf x.tgz -C dir a a b");
    refused(&["every path once", "twice"]);
    tar("mkfifo dir/pipe; tar -czf x.tgz -C dir a pipe; rm dir/pipe");
    refused(&["pipe", "FIFO"]);
    tar("ln -s /etc/passwd dir/link; tar -czf x.tgz -C dir a link");
    refused(&["link", "/etc/passwd"]);
    tar("tar -czf x.tgz -C dir a b; truncate -s -20 x.tgz");
    refused(&["not a tar.gz"]);
    tar("tar -czf x.tgz -C dir a b; printf x >> x.tgz");
    refused(&["not a tar.gz"]);
    tar("tar -cf x.tgz -C dir a b");
    refused(&["a gzip header"]);
    tar("gzip -c dir/a > x.tgz");
    refused(&["not a tar.gz"]);
}

/// The error of a manifest: kind, place and next step.
#[track_caller]
fn is_refused(finished: Finished, words: &[&str]) {
    let finished = finished.exits(109).prints_nothing().says("error: ").says("\n  try: ");
    words.iter().fold(finished, |finished, word| finished.says(word));
}

#[test]
fn a_manifest_that_cannot_be_packed_says_where_and_what_to_do() {
    let project = Project::new(&[("bin/run", ARGUMENTS), ("data", "x")]);
    let execution = "[execution]\ncommand = \"{workenv}/app/run\"\n[[slots]]\nid = \"app\"\nsource = \"bin\"\n";
    for (lines, words) in [
        ("[execution]\ncommand = \"run\"\n", &["app.toml, line 6, execution.command", "/usr/bin/run"][..]),
        (&*execution.replace("bin", "bni"), &["line 9, slots[0].source", "bni"]),
        (&*execution.replace("[[slots]]", "[[slot]]"), &["line 7, slot", "did you mean \"slots\"?"]),
        (&*format!("{execution}lifecycle = \"forever\"\n"), &["line 10, slots[0].lifecycle", "one of runtime"]),
        (&*format!("{execution}operations = \"rar\"\n"), &["line 10, slots[0].operations", "one of raw, tar, gzip"]),
        (&*format!("{execution}target = \"../x\"\n"), &["slots[0].target", "below the workenv"]),
        (&*format!("{execution}permissions = 755\n"), &["slots[0].permissions", "\"0755\""]),
        (&*execution.replace("app/run", "{slot:4}"), &["execution.command", "{slot:4}"]),
        ("[execution\n", &["line 5", "not TOML"]),
    ] {
        is_refused(project.pack_toml(lines), words);
        assert!(!project.package().exists());
    }
    fs::write(project.path("app.json"), "{\n  \"package\": {\"name\": \"a\",\n  \"verzion\": \"1\"}\n}").unwrap();
    is_refused(project.pack("app.json"), &["app.json, line 3, package.verzion", "did you mean \"version\"?"]);
    fs::write(project.path("app.json"), "{\n  \"package\": }").unwrap();
    is_refused(project.pack("app.json"), &["app.json, line 2", "not JSON"]);
    fs::write(project.path("app.json"), OF_A_BUILDER).unwrap();
    let mut pack = common::pack(&project.path("app.json"), &project.package());
    pack.args(["--python", "/usr"]).finish().exits(105).says("--python").says("\n  try: ");
}

#[test]
fn more_slots_than_metadata_can_hold_are_refused_with_how_many_fit() {
    let project = Project::new(&[("data", "x")]);
    let slot = |i: usize| format!("[[slots]]\nid = \"slot-number-{i}\"\nsource = \"data\"\n");
    let manifest =
        |count: usize| format!("[execution]\ncommand = \"/bin/true\"\n{}", (0..count).map(slot).collect::<String>());
    is_refused(project.pack_toml(&manifest(4097)), &["at most 4096", "slots"]);
    let refusal = project.pack_toml(&manifest(4000)).exits(108).says("slots like these").says("\n  try: ").stderr();
    let fit = refusal.split("about ").nth(1).and_then(|rest| rest.split(' ').next()).expect("how many fit");
    let fit: usize = fit.parse().expect("a number");
    project.pack_toml(&manifest(fit - fit / 50)).exits(0);
    project.verifies();
    project.pack_toml(&manifest(fit + fit / 50)).exits(108);
}

#[test]
fn an_empty_directory_beside_a_file_with_a_longer_name_stays_intact() {
    let project = Project::new(&[("all/data.json", "{}"), ("all/zero", "")]);
    fs::create_dir(project.path("all/data")).unwrap();
    let manifest = "[execution]\ncommand = \"/bin/true\"\n[[slots]]\nid = \"all\"\nsource = \"all\"\n";
    project.pack_toml(manifest).exits(0);
    project.run(&[]);
    let workenv = project.workenv();
    let content = fs::canonicalize(workenv.join("all")).unwrap();
    let before = common::snapshot(&content);
    // Now every byte of the slot is compared with what was signed. Files that are made anew have other inodes.
    fs::write(workenv.join(".seal"), "").unwrap();
    project.run(&[]);
    assert_eq!(common::snapshot(&content), before);
}

#[test]
fn a_package_may_be_written_into_what_it_packs() {
    let project = Project::new(&[("bin/run", ARGUMENTS)]);
    let text = "[package]\nname = \"app\"\nversion = \"1\"\n[execution]\ncommand = \"{workenv}/all/bin/run\"\n\
                [[slots]]\nid = \"all\"\nsource = \".\"\n";
    fs::write(project.path("app.toml"), text).unwrap();
    let mut sizes = Vec::new();
    for _ in 0..2 {
        let package = project.path("app.psp");
        common::pack(&project.path("app.toml"), &package).finish().exits(0);
        sizes.push(fs::metadata(&package).unwrap().len());
        assert_eq!(
            common::packer()
                .arg("run")
                .arg(&package)
                .arg("x")
                .env("PSPF_CACHE_DIR", project.scratch.join("c"))
                .finish()
                .exits(0)
                .stdout(),
            "x\n"
        );
    }
    assert_eq!(sizes[0], sizes[1], "the first package is in the second");
}

#[test]
fn the_reference_accepts_what_its_own_manifest_gave() {
    let Some(flavor) = common::flavor() else { return };
    let project = of_a_builder();
    project.pack("app.json").exits(0);
    let home = project.scratch.dir("home");
    let run = |args: &[&str]| {
        let mut command = Command::new(&flavor);
        command.arg(args[0]).arg(project.package()).args(&args[1..]);
        command.env("HOME", &home).env("XDG_CACHE_HOME", home.join(".cache")).finish()
    };
    run(&["verify"]).exits(0);
    run(&["inspect"]).exits(0).prints("wheels");
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn a_slot_whose_tree_nobody_signed_is_not_shared_and_there_all_the_same() {
    use common::victim::{GOOD, Maker, Stored, Victim, Way};

    let launcher = packer::launchers::built_in().expect("a launcher for this platform");
    let victim = Victim::of(Maker::Packer(launcher));
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_path_with_name(common::source_of("hello-cli").join("pyproject.toml"), "file").unwrap();
    let archive = archive.into_inner().unwrap();
    let package = victim.pack("one", &[Stored { target: "archive", ..Stored::archive(&archive) }]);
    let cache = victim.directory();
    for _ in 0..2 {
        let app = victim.start(Way::Itself, &package, &cache).finish().exits(0).stays_quiet();
        assert!(app.stdout().starts_with(&format!("{GOOD}archive/file: regular file ")), "{app}");
    }
    assert_eq!(common::slots(&cache).len(), 2, "the program and the word");
}

#[test]
fn a_program_is_in_a_slot_that_is_there_as_it_was_signed() {
    for (lifecycle, why) in [
        ("lazy", "not on disk until it is asked for"),
        ("init", "gone when the app starts"),
        ("shutdown", "not on disk while the app runs"),
        ("persistent", "which its user may change"),
    ] {
        let scratch = Scratch::new();
        let slot = format!("[[slots]]\nid = \"app\"\nsource = \"app\"\nlifecycle = \"{lifecycle}\"\n");
        let manifest = format!(
            "[package]\nname = \"app\"\nversion = \"1\"\n[execution]\ncommand = \"{{workenv}}/app/run\"\n{slot}"
        );
        common::write_files(&scratch, &[("app.toml", &manifest), ("app/run", "#!/bin/sh\n")]);
        fs::set_permissions(scratch.join("app/run"), fs::Permissions::from_mode(0o755)).unwrap();
        let refused = common::pack(&scratch.join("app.toml"), &scratch.join("app.psp")).finish().exits(109);
        refused.says("execution.command").says("in slot app").says(why).says("a slot of their own");
    }
}
