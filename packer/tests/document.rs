//! The examples of the guide "Creating packages": each packs as it is written there, runs, and does what it says.

mod common;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{Finish as _, Finished, PythonProject, Scratch};
use serde_json::json;

/// Packs as the guide does it: in the project's directory, without `--output`.
#[track_caller]
fn pack_here(project: &PythonProject, options: &[&str]) -> Finished {
    let _heavy = common::heavy();
    let mut pack = common::packer();
    pack.args(["pack", "--manifest", "pyproject.toml"]).args(options).current_dir(project.directory());
    pack.env("SOURCE_DATE_EPOCH", "1735689600").env_remove("PSPF_SEED").env_remove("FLAVOR_SEED").finish().exits(0)
}

/// A package of the project, about to be started.
fn start(project: &PythonProject, package: &str) -> Command {
    let mut start = Command::new(project.path(package));
    start.env_clear().env("HOME", project.scratch.dir("home"));
    start.env("PSPF_CACHE_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-projects"));
    start
}

#[test]
fn the_quick_start_with_a_configuration_and_static_files() {
    let manifest = r#"
[project]
name = "myapp"
version = "1.0.0"
description = "My application"
authors = [{name = "Your Name", email = "you@example.com"}]
dependencies = [
    "flask>=2.0",
    "requests>=2.0"
]

[tool.flavor]
entry_point = "myapp:main"
python_version = "3.11"

[[tool.flavor.slots]]
id = "config"
source = "config/"
purpose = "configuration"
lifecycle = "persistent"

[[tool.flavor.slots]]
id = "static"
source = "static/"
purpose = "static-resources"
lifecycle = "cached"
# Automatic tar.gz compression
"#;
    let main = "def main():\n    \"\"\"Application entry point.\"\"\"\n    import flask, requests\n    \
                print(\"Hello from FlavorPack!\")\n\nif __name__ == \"__main__\":\n    main()\n";
    let files = [
        ("pyproject.toml", manifest),
        ("src/myapp/__init__.py", ""),
        ("src/myapp/main.py", main),
        ("src/myapp/utils.py", ""),
        ("src/myapp/pages/index.html", "<p>"),
        ("src/myapp/tests/test_utils.py", ""),
        ("src/myapp/test_main.py", ""),
        ("src/myapp/__pycache__/stale.cpython-311.pyc", ""),
        ("tests/test_main.py", ""),
        ("static/style.css", "p {}"),
        ("config/settings.ini", "[x]"),
        ("README.md", ""),
    ];
    let Some(project) = PythonProject::new(&files) else { return };
    pack_here(&project, &["--key-seed", "secret-seed"]).prints("  python  3.11.").prints("  run     ./myapp-1.0.0.psp");
    let finished = start(&project, "myapp-1.0.0.psp").finish().exits(0).stays_quiet();
    assert_eq!(finished.stdout(), "Hello from FlavorPack!\n");
    let slots = inspect(&project, "myapp-1.0.0.psp")["slots"].clone();
    let kept = |i: usize| json!([slots[i]["id"], slots[i]["operations"], slots[i]["lifecycle"], slots[i]["purpose"]]);
    assert_eq!(kept(3), json!(["config", "tar.gz", "config", "configuration"]));
    assert_eq!(kept(4), json!(["static", "tar.gz", "runtime", "static-resources"]));
    // Directories are as they were, every module is there, and no test.
    let code = files_in(&project, "myapp-1.0.0.psp", 2);
    let modules = code.iter().filter(|path| path.starts_with("myapp/") && !path.contains("__pycache__"));
    let modules: Vec<&str> = modules.map(String::as_str).collect();
    assert_eq!(modules, ["myapp/__init__.py", "myapp/main.py", "myapp/pages/index.html", "myapp/utils.py"]);
    let bytecode = |path: &&String| path.starts_with("myapp/") && path.ends_with(".pyc");
    assert_eq!(code.iter().filter(bytecode).count(), 3, "{code:?}");
    assert!(files_in(&project, "myapp-1.0.0.psp", 0).iter().any(|path| path.contains("site-packages/pip/")));
    let commands: [&[&str]; 3] =
        [&["verify", "myapp-1.0.0.psp"], &["verify", "myapp-1.0.0.psp", "--deep"], &["inspect", "myapp-1.0.0.psp"]];
    for words in commands {
        common::packer().args(words).current_dir(project.directory()).finish().exits(0);
    }
}

/// The files in a slot.
#[track_caller]
fn files_in(project: &PythonProject, package: &str, slot: usize) -> Vec<String> {
    let mut inspect = common::packer();
    let found = inspect.arg("inspect").arg(project.path(package)).args(["--json", "--files"]).finish().exits(0).json();
    let entries = found["slots"][slot]["entries"].as_array().expect("entries").iter();
    let files = entries.filter(|entry| entry["kind"] == "file").filter_map(|entry| entry["path"].as_str());
    files.map(str::to_owned).collect()
}

#[track_caller]
fn inspect(project: &PythonProject, package: &str) -> serde_json::Value {
    common::packer().arg("inspect").arg(project.path(package)).arg("--json").finish().exits(0).json()
}

#[test]
fn the_options_of_the_guide_build_what_they_say() {
    let manifest = "[project]\nname = \"myapp\"\nversion = \"1.0.0\"\n[tool.flavor]\nentry_point = \"myapp:main\"\n";
    let files = [("pyproject.toml", manifest), ("myapp.py", "def main():\n    print('main')\n")];
    let Some(project) = PythonProject::new(&files) else { return };
    common::packer().args(["keygen", "--out-dir"]).arg(project.path("keys")).finish().exits(0);
    let key = ["--private-key", "keys/flavor-private.key", "--public-key", "keys/flavor-public.key"];
    pack_here(&project, &key).prints("(yours)");
    pack_here(&project, &["--key-seed", "x", "--launcher", "rust", "--platform", "linux_amd64", "--output", "dist/"]);
    pack_here(&project, &["--key-seed", "x", "--strip", "--output", "stripped.psp"]);
    for package in ["myapp-1.0.0.psp", "dist/myapp-1.0.0.psp", "stripped.psp"] {
        assert_eq!(start(&project, package).finish().exits(0).stays_quiet().stdout(), "main\n");
    }
    let size = |package| fs::metadata(project.path(package)).unwrap().len();
    assert!(size("stripped.psp") < size("dist/myapp-1.0.0.psp"));
}

#[test]
fn a_dependency_that_nobody_named_is_told_while_packing() {
    let manifest = "[project]\nname = \"myapp\"\nversion = \"1.0.0\"\ndependencies = [\"click\"]\n\
                    [tool.flavor]\nentry_point = \"myapp:main\"\n";
    let code = "import json, click, requests.adapters\nfrom yaml import load\nfrom . import part\n\n\
                try:\n    import ujson\nexcept ImportError:\n    ujson = None\n\ndef main():\n    import lazily\n";
    let files = [("pyproject.toml", manifest), ("myapp/__init__.py", code), ("myapp/part.py", "import myapp\n")];
    let Some(project) = PythonProject::new(&files) else { return };
    let packed = pack_here(&project, &["--key-seed", "x"]);
    for module in ["requests", "yaml"] {
        assert!(packed.stderr().contains(&format!("myapp/__init__.py imports {module}, which ")), "{packed}");
    }
    assert_eq!(packed.stderr().matches(" imports ").count(), 2, "{packed}");
}

#[test]
fn a_command_line_tool_with_several_commands_and_a_seed() {
    let manifest = r#"
[project]
name = "mytool"
version = "2.0.0"
dependencies = ["click>=8.0", "rich>=12.0"]

[project.scripts]
mytool = "mytool.cli:main"
mytool-admin = "mytool.admin:main"

[tool.flavor]
entry_point = "mytool.cli:main"
"#;
    let cli = "import click, rich\n\n@click.group()\ndef main():\n    pass\n\n@main.command()\n@click.argument('name')\n\
               def greet(name):\n    click.echo(f'Hello, {name}')\n\n@main.command()\ndef admin():\n    \
               import subprocess\n    raise SystemExit(subprocess.run(['mytool-admin', 'x']).returncode)\n";
    let admin = "import sys\n\ndef main():\n    print('admin', *sys.argv[1:])\n    return 3\n";
    let files =
        [("pyproject.toml", manifest), ("mytool/__init__.py", ""), ("mytool/cli.py", cli), ("mytool/admin.py", admin)];
    let Some(project) = PythonProject::new(&files) else { return };
    pack_here(&project, &["--key-seed", "my-secret-seed"]);
    let greeted = start(&project, "mytool-2.0.0.psp").args(["greet", "you"]).finish().exits(0).stays_quiet();
    assert_eq!(greeted.stdout(), "Hello, you\n");
    let admin = start(&project, "mytool-2.0.0.psp").arg("admin").finish().exits(3).stays_quiet();
    assert_eq!(admin.stdout(), "admin x\n");

    // The same seed, given in the other way: the same file.
    let first = fs::read(project.path("mytool-2.0.0.psp")).unwrap();
    let _heavy = common::heavy();
    let mut again = common::packer();
    again.args(["pack", "--manifest", "pyproject.toml"]).current_dir(project.directory()).env_remove("PSPF_SEED");
    again.env("SOURCE_DATE_EPOCH", "1735689600").env("FLAVOR_SEED", "my-secret-seed").finish().exits(0);
    assert!(first == fs::read(project.path("mytool-2.0.0.psp")).unwrap(), "the packages differ");
}

#[test]
fn several_entry_points_a_lazy_slot_and_hooks() {
    let manifest = r#"
[project]
name = "myapp"
version = "1.0.0"

[project.scripts]
myapp = "myapp:main"
myapp-admin = "myapp.admin:main"
myapp-worker = "myapp.worker:main"

[[tool.flavor.slots]]
id = "models"
source = "models/"
purpose = "data-files"
lifecycle = "lazy"  # Load on demand
platform = "linux_amd64"  # Platform-specific

[tool.flavor.build]
pre_build = ["pytest", "myapp/scripts/prepare.py"]
post_build = ["myapp/scripts/verify.py"]
dependencies = ["pytest"]
"#;
    let verify = "import os, subprocess\nsubprocess.run([os.environ['PSPF_OUTPUT']], check=True)\n";
    let prepare = "import pathlib\npathlib.Path('models').mkdir()\npathlib.Path('models/a').write_text('a')\n";
    let files = [
        ("pyproject.toml", manifest),
        ("myapp/__init__.py", "def main():\n    print('main')\n"),
        ("myapp/admin.py", "def main():\n    print('admin')\n"),
        ("myapp/worker.py", "def main():\n    print('worker')\n"),
        ("myapp/scripts/prepare.py", prepare),
        ("myapp/scripts/verify.py", verify),
        ("test_myapp.py", "def test_it():\n    import myapp.admin\n"),
    ];
    let Some(project) = PythonProject::new(&files) else { return };
    pack_here(&project, &["--key-seed", "x"]);
    let finished = start(&project, "myapp-1.0.0.psp").finish().exits(0).stays_quiet();
    assert_eq!(finished.stdout(), "main\n");
    let slot = inspect(&project, "myapp-1.0.0.psp")["slots"][3].clone();
    assert_eq!(json!([slot["id"], slot["lifecycle"], slot["files"]]), json!(["models", "lazy", 1]));
}

#[test]
fn an_entry_point_that_returns_an_application_is_no_error() {
    let manifest = r#"
[project]
name = "webapp"
version = "1.0.0"
dependencies = ["flask>=2.0", "gunicorn>=20.0"]

[tool.flavor]
entry_point = "webapp:create_app"

[[tool.flavor.slots]]
id = "templates"
source = "templates/"
purpose = "static-resources"
"#;
    let app = "from flask import Flask\n\ndef create_app():\n    return Flask(__name__)\n";
    let files = [("pyproject.toml", manifest), ("webapp.py", app), ("templates/index.html", "<p>")];
    let Some(project) = PythonProject::new(&files) else { return };
    pack_here(&project, &["--key-seed", "x"]);
    start(&project, "webapp-1.0.0.psp").finish().exits(0).stays_quiet().prints_nothing();
}

/// An example of the repository, packed into `scratch`. `None`: skipped.
fn example(name: &str, scratch: &Scratch) -> Option<std::path::PathBuf> {
    common::require_python()?;
    let project = scratch.join(name);
    common::copy_tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name), &project);
    let package = scratch.join(format!("{name}.psp"));
    let _heavy = common::heavy();
    common::pack(&project, &package).finish().exits(0);
    Some(package)
}

/// A process of ours, stopped whatever becomes of the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_web_example_serves_its_page_until_it_is_told_to_stop() {
    let scratch = Scratch::new();
    let Some(package) = example("web-app", &scratch) else { return };
    let socket = scratch.join("socket");
    let mut serve = Command::new(package);
    serve.env_clear().env("HOME", scratch.dir("home")).arg("--bind").arg(format!("unix:{}", socket.display()));
    serve.args(["--workers", "2"]).stdin(Stdio::null()).stderr(fs::File::create(scratch.join("log")).unwrap());
    let mut server = Server(serve.spawn().unwrap());
    let mut connection = loop {
        if let Ok(connection) = UnixStream::connect(&socket) {
            break connection;
        }
        let log = || fs::read_to_string(scratch.join("log")).unwrap_or_default();
        assert!(server.0.try_wait().unwrap().is_none(), "the server has ended: {}", log());
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    connection.write_all(b"GET /you HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200") && answer.contains("<p>Hello, you!</p>"), "{answer}");
    let pid = rustix::process::Pid::from_child(&server.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(server.0.wait().unwrap().code(), Some(0));
}

#[test]
fn the_model_example_predicts_with_the_weights_of_its_slot() {
    let scratch = Scratch::new();
    let Some(package) = example("ml-model", &scratch) else { return };
    let mut predict = Command::new(package);
    predict.env_clear().env("HOME", scratch.dir("home"));
    let finished = predict.args(["1", "2.5"]).finish().exits(0).stays_quiet();
    assert_eq!(finished.stdout(), "  x   y\n1.0 1.0\n2.5 4.0\n");
}
