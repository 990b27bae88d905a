//! Several commands in one package: by the name of a link or a copy, by `PSPF_ENTRY`, by `packer run --entry`; and `packer link`.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use common::forge::Forged;
use common::{App, Finish as _, Finished, Launcher, PythonProject, Reference};
use serde_json::{Value, json};

/// The document's example of several entry points, with a window and a default that is no script besides.
const MANIFEST: &str = r#"
[project]
name = "myapp"
version = "1.0.0"

[project.scripts]
myapp = "myapp:main"
myapp-admin = "myapp.admin:main"
myapp-worker = "myapp.worker:main"

[project.gui-scripts]
myapp-window = "myapp:window"

[tool.flavor]
entry_point = "myapp:default"

[tool.flavor.execution]
args = ["--given"]

[[tool.flavor.slots]]
id = "models"
source = "models/"
lifecycle = "lazy"
"#;

/// Tells who was called and how; `again` starts itself once more, `ask` asks for a slot.
const TELL: &str = r#"
import json, os, subprocess, sys

def tell(who):
    if sys.argv[1:] == ["again"]:
        return subprocess.run([sys.executable, sys.argv[0], "x"]).returncode
    files = []
    if sys.argv[1:] == ["ask"]:
        import pspf
        files = os.listdir(pspf.slot("models"))
    names = ["PSPF_ARGV0", "FLAVOR_COMMAND_NAME", "FLAVOR_ORIGINAL_COMMAND", "PSPF_ENTRY"]
    print(json.dumps({
        "who": who, "args": sys.argv[1:], "script": os.path.relpath(sys.argv[0], sys.prefix), "files": files,
        "env": {name: os.environ.get(name) for name in names},
    }))
"#;

fn project() -> Option<PythonProject> {
    let calls = |who: &str| format!("from myapp.tell import tell\n\ndef main():\n    return tell(\"{who}\")\n");
    let first = "from myapp.tell import tell\n\ndef main():\n    return tell('main')\n\ndef window():\n    \
                 return tell('window')\n\ndef default():\n    return tell('default')\n";
    let files = [
        ("pyproject.toml", MANIFEST),
        ("myapp/__init__.py", first),
        ("myapp/tell.py", TELL),
        ("myapp/admin.py", &calls("admin")),
        ("myapp/worker.py", &calls("worker")),
        ("models/weights", "1"),
    ];
    let project = PythonProject::new(&files)?;
    let packed = project.pack(&[]).exits(0);
    let packed = packed.says("the script myapp calls myapp:main, and the package itself myapp:default");
    packed.prints("  offers  myapp, myapp-admin, myapp-window, myapp-worker (packer link makes them callable)\n");
    Some(project)
}

/// The package under another path, about to be started.
fn start_as(project: &PythonProject, path: &Path) -> Command {
    let mut start = Command::new(path);
    let shared = project.start();
    start.env_clear().envs(shared.get_envs().filter_map(|(name, value)| Some((name, value?))));
    start
}

#[track_caller]
fn told(start: &mut Command) -> Value {
    start.finish().exits(0).stays_quiet().json()
}

#[test]
fn every_script_of_a_python_project_starts_by_its_name() {
    let Some(project) = project() else { return };
    let bin = project.scratch.dir("bin");
    let linked = common::packer().arg("link").arg(project.package()).arg(&bin).finish().exits(0).stays_quiet();
    linked.prints("linked ").prints("bin/myapp-admin -> ").prints("is not on PATH: export PATH=");

    for (name, who, args) in [
        ("myapp", "main", json!(["x y"])),
        ("myapp-admin", "admin", json!(["x y"])),
        ("myapp-worker", "worker", json!(["x y"])),
        ("myapp-window", "window", json!(["x y"])),
    ] {
        let script = format!("bin/{name}");
        let path = bin.join(name);
        let env = json!({"PSPF_ARGV0": path, "FLAVOR_COMMAND_NAME": name, "FLAVOR_ORIGINAL_COMMAND": path, "PSPF_ENTRY": null});
        let linked = told(start_as(&project, &path).arg("x y"));
        assert_eq!(linked, json!({"who": who, "args": args, "script": script, "files": [], "env": env}));
        let by_variable = told(project.start().env("PSPF_ENTRY", name).arg("x y"));
        assert_eq!((&by_variable["who"], &by_variable["args"]), (&who.into(), &args));
        assert_eq!(by_variable["env"]["PSPF_ENTRY"], Value::Null, "the app does not see how it was chosen");
        assert_eq!(by_variable["env"]["PSPF_ARGV0"], json!(project.package()));
    }

    // The package itself starts what the manifest says, with the manifest's arguments; so does whatever it is called besides.
    let sh = project.scratch.join("sh");
    common::copy_package(&project.package(), &sh);
    for package in [project.package(), sh] {
        let own = told(start_as(&project, &package).arg("x"));
        assert_eq!((&own["who"], &own["args"]), (&"default".into(), &json!(["--given", "x"])));
    }

    // A copy under the name of a script, also as it would be called for another system or by packer.
    for name in ["myapp-worker", "myapp-worker.psp", "myapp-worker.psp.exe", "myapp-worker.exe"] {
        let copy = project.scratch.dir("copies").join(name);
        common::copy_package(&project.package(), &copy);
        assert_eq!(told(&mut start_as(&project, &copy))["who"], "worker", "{name}");
    }

    // By a shell that looks for it on PATH, and by a caller who passes the bare name.
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let shell = told(start_as(&project, Path::new("/bin/sh")).args(["-c", "exec myapp-admin x"]).env("PATH", path));
    assert_eq!((&shell["who"], &shell["args"]), (&"admin".into(), &json!(["x"])));
    let bare = told(project.start().arg0("myapp-admin"));
    assert_eq!((&bare["who"], &bare["env"]["FLAVOR_COMMAND_NAME"]), (&"admin".into(), &"myapp-admin".into()));

    // From every one of them, what a Python program expects works.
    let again = told(start_as(&project, &bin.join("myapp-admin")).arg("again"));
    assert_eq!((&again["who"], &again["args"]), (&"admin".into(), &json!(["x"])));
    assert_eq!(told(start_as(&project, &bin.join("myapp-worker")).arg("ask"))["files"], json!(["weights"]));

    let wrong = project.start().env("PSPF_ENTRY", "myapp-amdin").finish().exits(105).prints_nothing();
    wrong.says("no entry point myapp-amdin; it has myapp, myapp-admin, myapp-window, myapp-worker").says("\n  try: ");
    let run = |args: &[&str]| {
        let mut run = common::packer();
        run.arg("run").args(args).arg(project.package()).arg("x").env("PSPF_CACHE_DIR", project.scratch.join("cache"));
        run
    };
    assert_eq!(told(&mut run(&["--entry", "myapp-admin"]))["who"], "admin");
    assert_eq!(told(run(&["--entry", "myapp-admin"]).env("PSPF_ENTRY", "myapp"))["who"], "admin");
    assert_eq!(told(run(&[]).env("PSPF_ENTRY", "myapp-worker"))["who"], "worker");
    run(&["--entry", "other"]).finish().exits(105).says("error: the package has no entry point other; it has myapp");

    let offer = project.inspect()["entry_points"][1].clone();
    assert_eq!((&offer["name"], &offer["calls"]), (&"myapp-admin".into(), &"myapp.admin:main".into()));
    let command = offer["command"].as_str().unwrap();
    assert!(command.starts_with("{workenv}/python/python3.") && command.ends_with(" {workenv}/bin/myapp-admin"));
    let inspect = common::packer().arg("inspect").arg(project.package()).finish().exits(0);
    inspect.prints("  offers    myapp-window (myapp:window)\n");
}

#[test]
fn programs_that_wheels_bring_are_beside_the_project_s_own() {
    let setuptools = "[build-system]\nrequires = [\"setuptools>=64\"]\nbuild-backend = \"setuptools.build_meta\"\n";
    let app = format!(
        "{setuptools}[project]\nname = \"app\"\nversion = \"1\"\nscripts.app = \"app:main\"\n\
         [tool.flavor.build]\ndependencies = [\"./part\"]\n\
         [tool.setuptools]\npy-modules = [\"app\"]\n\
         script-files = [\"bin/of-shell\", \"bin/of-python\", \"bin/python-x\"]\n"
    );
    let part = format!(
        "{setuptools}[project]\nname = \"part\"\nversion = \"1\"\nscripts.part-entry = \"part:main\"\n\
         [tool.setuptools]\npy-modules = [\"part\"]\nscript-files = [\"bin/part-shell\", \"bin/part-python\"]\n"
    );
    // They say how they were started: a link in bin, first on PATH, and for Python the interpreter that is packed.
    let python = "#!/usr/bin/env python\nimport json, os, sys\nprint(json.dumps([sys.prefix, sys.argv]))\n";
    let main = "import json, os, subprocess, sys\n\ndef main():\n    told = {}\n    \
                for name in ['of-shell', 'of-python', 'part-shell']:\n        \
                told[name] = subprocess.run([name, 'a b'], capture_output=True, text=True, check=True).stdout\n    \
                told['bin'] = sorted(os.listdir(sys.prefix + '/bin'))\n    told['prefix'] = sys.prefix\n    \
                print(json.dumps(told))\n";
    let files = [
        ("pyproject.toml", &*app),
        ("app.py", main),
        ("bin/of-shell", "#!/bin/sh\necho \"shell $1\"\n"),
        ("bin/of-python", python),
        ("bin/python-x", "#!/bin/sh\n"),
        ("part/pyproject.toml", &*part),
        ("part/part.py", "def main():\n    pass\n"),
        ("part/bin/part-shell", "#! /bin/sh\necho \"part $1\"\n"),
        ("part/bin/part-python", python),
    ];
    let Some(project) = PythonProject::new(&files) else { return };
    project.pack(&[]).exits(0);
    let told = project.report(&[]);
    assert_eq!(told["bin"], json!(["app", "of-python", "of-shell", "part-shell"]));
    assert_eq!((&told["of-shell"], &told["part-shell"]), (&"shell a b\n".into(), &"part a b\n".into()));
    let prefix = told["prefix"].as_str().unwrap();
    let of_python: Value = serde_json::from_str(told["of-python"].as_str().unwrap()).unwrap();
    assert_eq!(of_python, json!([prefix, [format!("{prefix}/bin/of-python"), "a b"]]));
}

#[test]
fn several_scripts_without_one_to_begin_with_are_listed() {
    let manifest =
        "[project]\nname = \"tools\"\nversion = \"1\"\n[project.scripts]\none = \"tools:one\"\ntwo = \"tools:two\"\n";
    let scratch = common::Scratch::new();
    common::write_files(&scratch, &[("pyproject.toml", manifest), ("tools.py", "")]);
    let refused = common::pack(&scratch, &scratch.join("tools.psp")).finish().exits(109).prints_nothing();
    refused.says("which one starts the app?").says("one, two").says("entry_point = \"tools:one\" under [tool.flavor]");
}

/// A program that says its name and arguments, and what it sees of how it was chosen.
const SAY: &str = "#!/bin/sh\necho \"${0##*/} $* ${PSPF_ENTRY-unset} $FLAVOR_COMMAND_NAME\"\n";
const FILES: [(&str, &str); 3] = [("tools/bin/serve", SAY), ("tools/bin/admin", SAY), ("tools/bin/worker", SAY)];
const GENERIC: &str = r#"
[execution]
command = "{workenv}/tools/bin/serve --all"
[execution.entry_points]
admin = "{workenv}/tools/bin/admin 'a b'"
worker = ["{slot:0}/bin/worker", "{version}"]
[[slots]]
id = "tools"
source = "tools"
"#;

fn says(app: &App, entry: &str) -> String {
    app.start().env("PSPF_ENTRY", entry).arg("x").finish().exits(0).stays_quiet().stdout()
}

#[test]
fn a_generic_manifest_offers_commands_too() {
    let app = App::new(&FILES, GENERIC);
    assert_eq!(says(&app, "admin"), "admin a b x unset app.psp\n");
    assert_eq!(says(&app, "worker"), "worker 1.0 x unset app.psp\n");
    assert_eq!(says(&app, "app"), "serve --all x unset app.psp\n", "its own goes by the package's name");
    assert_eq!(says(&app, ""), "serve --all x unset app.psp\n", "an empty variable is none");
    app.start().env("PSPF_ENTRY", "../bin/admin").finish().exits(105).says("it has admin, app, worker");
    app.start().env("PSPF_ENTRY", "tools/bin/admin").finish().exits(105);

    let linked = app.scratch.join("admin");
    symlink(app.package(), &linked).unwrap();
    assert_eq!(app.start_of(&linked).finish().exits(0).stdout(), "admin a b unset admin\n");
    let mut run = common::packer();
    run.arg("run").arg(&linked).env("PSPF_CACHE_DIR", app.cache());
    assert_eq!(run.finish().exits(0).stdout(), "admin a b unset admin\n");
    // Its own command is another one where an entry point has the package's name.
    let same = GENERIC.replace("admin =", "app =");
    let same = App::new(&FILES, &same);
    assert_eq!(says(&same, "app"), "admin a b x unset app.psp\n");
    let own = same.start().arg0("other").finish().exits(0).stdout();
    assert_eq!(own, "serve --all unset other\n");
    app.cli(&["info"]).exits(0).prints("  entry   admin  {workenv}/tools/bin/admin 'a b'\n");
}

#[test]
fn a_package_of_one_command_takes_no_other_name_with_the_small_launcher_either() {
    let app = App::new(&FILES, &GENERIC.replace("admin =", "x-admin =").replace("worker =", "x-worker ="));
    let small = App::new(
        &FILES,
        "[execution]\ncommand = \"{workenv}/tools/bin/serve\"\n[[slots]]\nid = \"tools\"\nsource = \"tools\"\n",
    );
    let launcher = |app: &App| {
        let report = common::packer().arg("inspect").arg("--json").arg(app.package()).finish().exits(0).json();
        report["launcher_size"].as_u64().unwrap()
    };
    assert!(launcher(&small) < launcher(&app), "one command asks for no choice");
    assert_eq!(says(&small, "app"), "serve x unset app.psp\n");
    small.start().env("PSPF_ENTRY", "admin").finish().exits(105).prints_nothing().says("no entry point admin");
    // A package that somebody calls like a program of the system stays what it is.
    for name in ["sh", "serve", "admin"] {
        let renamed = small.scratch.join(name);
        common::copy_package(&small.package(), &renamed);
        assert_eq!(small.start_of(&renamed).finish().exits(0).stdout(), format!("serve  unset {name}\n"));
    }
}

#[test]
fn what_cannot_be_an_entry_point_is_refused_with_its_line() {
    let refused = |lines: &str, words: &[&str]| {
        let scratch = common::Scratch::new();
        let manifest = format!(
            "[package]\nname = \"app\"\nversion = \"1\"\n[execution]\ncommand = \"/bin/true\"\n[execution.entry_points]\n{lines}\n\
             [[slots]]\nid = \"text\"\nsource = \"app.toml\"\n"
        );
        common::write_files(&scratch, &[("app.toml", &*manifest)]);
        let refused = common::pack(&scratch, &scratch.join("app.psp")).finish().exits(109).prints_nothing();
        let refused = refused.says("app.toml, line 7, execution.entry_points").says("\n  try: ");
        words.iter().fold(refused, |refused, word| refused.says(word));
    };
    for name in ["a/b", "..", ".hidden", "-x", "", "a b", "a\\u0000", "{workenv}"] {
        refused(&format!("\"{name}\" = \"/bin/true\""), &["cannot be a file name"]);
    }
    refused("other = \"{workenv}/nothing\"", &["in no slot"]);
    refused("other = \"{slot:1}/x\"", &["no such slot"]);
    refused("other = \"'x\"", &["a quote is not closed"]);
    refused("other = []", &["the command is empty"]);
    refused("other = 1", &["not a string"]);
}

#[test]
fn a_start_looks_at_the_files_of_every_command() {
    let app = App::new(&FILES, GENERIC);
    assert_eq!(says(&app, "app"), "serve --all x unset app.psp\n");
    let admin = common::env_of(&app.cache()).join("tools/bin/admin");
    fs::set_permissions(admin.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(&admin).unwrap();
    fs::write(&admin, "#!/bin/sh\necho changed\n").unwrap();
    fs::set_permissions(&admin, fs::Permissions::from_mode(0o555)).unwrap();
    assert_eq!(says(&app, "admin"), "admin a b x unset app.psp\n", "it was healed before it was started");
}

#[test]
fn a_command_that_is_chosen_keeps_its_launcher_as_parent_where_that_is_asked_for() {
    let last =
        "#!/bin/sh\ncat \"$FLAVOR_WORKENV/scratch/note\"\necho changed > \"$FLAVOR_WORKENV/scratch/note\"\nexit 9\n";
    let files = [("tools/bin/serve", SAY), ("tools/bin/last", last), ("scratch/note", "fresh\n")];
    let app = App::new(
        &files,
        "[execution]\ncommand = \"{workenv}/tools/bin/serve\"\n\
         [execution.entry_points]\nlast = \"{workenv}/tools/bin/last\"\n\
         [[slots]]\nid = \"tools\"\nsource = \"tools\"\n\
         [[slots]]\nid = \"scratch\"\nsource = \"scratch\"\nlifecycle = \"temporary\"\n",
    );
    for _ in 0..2 {
        let ended = app.start().env("PSPF_ENTRY", "last").finish().exits(9).stays_quiet();
        assert_eq!(ended.stdout(), "fresh\n");
        assert!(!common::env_of(&app.cache()).join("scratch/note").exists(), "it went with the app");
    }
}

#[test]
fn an_entry_point_that_nobody_signed_starts_nothing() {
    let app = App::new(&FILES, GENERIC);
    let mut forged = Forged::of(&app.package());
    let json = forged.json();
    let changed = json.replace("\"admin\":\"{workenv}/tools/bin/admin 'a b'\"", "\"admin\":\"/bin/echo harm\"");
    assert_ne!(json, changed);
    forged.set_json(&changed);
    let package = app.scratch.join("forged.psp");
    fs::write(app.scratch.join("bytes"), &forged.bytes).unwrap();
    common::copy_package(&app.scratch.join("bytes"), &package);
    fs::set_permissions(&package, fs::Permissions::from_mode(0o755)).unwrap();
    app.start_of(&package).env("PSPF_ENTRY", "admin").finish().exits(107).prints_nothing();
    let mut link = common::packer();
    link.arg("link").arg(&package).arg(app.scratch.join("bin")).finish().exits(107).prints_nothing();
    assert!(!app.scratch.join("bin").exists());
}

fn link(app: &App, options: &[&str]) -> Finished {
    let mut link = common::packer();
    link.arg("link").arg(app.package()).arg(app.scratch.join("bin")).args(options).finish()
}

/// The names in the directory of links.
fn names(app: &App) -> Vec<String> {
    let entries = fs::read_dir(app.scratch.join("bin")).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn links_replace_nothing_that_is_not_theirs_unless_they_are_told_to() {
    let app = App::new(&FILES, GENERIC);
    let bin = app.scratch.dir("bin");
    fs::write(bin.join("worker"), "mine").unwrap();
    link(&app, &[]).exits(106).prints_nothing().says("something else is where worker belongs").says("--force");
    assert_eq!(names(&app), ["worker"], "none or all");
    symlink("/bin/true", bin.join("admin")).unwrap();
    link(&app, &[]).exits(106).says("bin/admin");
    link(&app, &["--force"]).exits(0).prints("linked ");
    assert_eq!(names(&app), ["admin", "app", "worker"]);
    for name in names(&app) {
        assert_eq!(fs::read_link(bin.join(name)).unwrap(), app.package());
    }
    let kept = link(&app, &[]).exits(0);
    assert_eq!(kept.stdout().lines().filter(|line| line.starts_with("kept ")).count(), 3);

    fs::remove_file(bin.join("app")).unwrap();
    fs::create_dir(bin.join("app")).unwrap();
    link(&app, &["--force"]).exits(106).says("a directory").says("another directory");
    fs::remove_dir(bin.join("app")).unwrap();

    // Copies, which take the place of links only when that is wanted.
    link(&app, &["--copy"]).exits(106);
    link(&app, &["--copy", "--force"]).exits(0).prints("copied ");
    assert!(fs::symlink_metadata(bin.join("worker")).unwrap().is_file());
    assert_eq!(app.start_of(&bin.join("worker")).finish().exits(0).stdout(), "worker 1.0 unset worker\n");
    link(&app, &["--copy"]).exits(0).prints("kept ");
    assert_eq!(names(&app), ["admin", "app", "worker"], "nothing is left over");
}

#[test]
fn links_are_reported_to_programs_and_hints_to_people() {
    let app = App::new(&FILES, GENERIC);
    let bin = app.scratch.join("bin");
    let mut linked = common::packer();
    linked.args(["link", "app.psp", "bin", "--json"]).current_dir(&app.scratch);
    let report = linked.env("PATH", format!("/bin:{}", bin.display())).finish().exits(0).stays_quiet().json();
    let one = |name: &str| json!({"name": name, "path": bin.join(name), "form": "link", "new": true});
    assert_eq!(
        report,
        json!({"package": app.package(), "directory": bin, "on_path": true, "executable": true,
               "links": [one("admin"), one("app"), one("worker")]})
    );
    fs::set_permissions(app.package(), fs::Permissions::from_mode(0o644)).unwrap();
    link(&app, &[]).exits(0).prints("chmod +x").prints("not on PATH");
    fs::write(app.scratch.join("file"), "").unwrap();
    let mut wrong = common::packer();
    wrong.arg("link").arg(app.package()).arg(app.scratch.join("file")).finish().exits(106).says("file");
}

#[test]
fn a_launcher_that_knows_one_command_is_told_of_while_packing() {
    let Some(reference) = Reference::find() else { return };
    let scratch = common::Scratch::new();
    let manifest = format!("[package]\nname = \"app\"\nversion = \"1.0\"\n{GENERIC}");
    common::write_files(&scratch, &[&FILES[..], &[("app.toml", &*manifest)]].concat());
    for (name, _) in FILES {
        fs::set_permissions(scratch.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let package = scratch.join("admin");
    let mut pack = common::pack(&scratch, &package);
    pack.arg("--launcher-bin").arg(reference.launcher(Launcher::Rust)).env("PSPF_CACHE_DIR", scratch.dir("cache"));
    let packed = pack.finish().exits(0);
    packed.says("note: FlavorPack's launchers start one command, so the package does not offer admin, worker");
    let report = common::packer().args(["inspect", "--json"]).arg(&package).finish().exits(0).json();
    assert_eq!(
        report["entry_points"],
        json!([{"name": "app", "command": "{workenv}/tools/bin/serve --all", "calls": null}])
    );
    let home = scratch.dir("home");
    let started = common::at_home(&package, &home).arg("x").finish().exits(0).stdout();
    assert!(started.starts_with("serve --all x"), "{started}");
}
