//! Staging Python projects for real: a real interpreter, real packages, and a workenv put together by hand, as the
//! launcher does it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use packer::platform::Platform;
use packer::progress::{Progress, Silent};
use packer::python::{self, Request, Staged};
use packer::{Error, Kind, manifest};
use tempfile::TempDir;

#[test]
fn the_app_runs_in_an_environment_of_its_own() {
    let Some(app) = demo() else { return };
    let output = app.run(&["report", "a", "b c", "--x"]);
    assert!(output.status.success(), "{}", text(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let here = app.workenv.to_str().unwrap();
    assert_eq!(report["prefix"], here);
    assert_eq!(report["executable"], format!("{here}/python/{}", app.staged.python.name));
    assert_eq!(report["argv"], serde_json::json!([format!("{here}/bin/demo-app"), "report", "a", "b c", "--x"]));
    assert!(report["file"].as_str().unwrap().starts_with(&format!("{here}/application-code/")));
    assert!(report["rich"].as_str().unwrap().starts_with(&format!("{here}/python-environment/")));
    let path: Vec<&str> = report["path"].as_array().unwrap().iter().map(|entry| entry.as_str().unwrap()).collect();
    assert!(path.iter().all(|entry| entry.starts_with(here)), "{path:?}");
    assert!(report["click"].as_str().unwrap().starts_with('8'));
    assert_eq!(report["resource"], "hello\n");
    assert_eq!(report["scripts"], serde_json::json!(["demo-app", "demo-text"]));
    assert_eq!(output.stderr, b"");
}

#[test]
fn results_of_the_entry_point_become_exit_codes() {
    let Some(app) = demo() else { return };
    for (result, code, stderr) in [("none", 0, ""), ("int", 42, ""), ("text", 1, "went wrong\n"), ("object", 0, "")] {
        let output = app.run(&["result", result]);
        assert_eq!(output.status.code(), Some(code), "{result}: {}", text(&output));
        assert_eq!(String::from_utf8_lossy(&output.stderr), stderr, "{result}");
    }
}

#[test]
fn every_script_of_the_project_runs_by_its_name_and_python_is_not_on_path() {
    let Some(app) = demo() else { return };
    let bin = app.workenv.join("bin");
    let names: BTreeSet<_> = std::fs::read_dir(&bin).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, BTreeSet::from(["demo-app".into(), "demo-text".into()]));
    let output = app.environment(&mut Command::new(bin.join("demo-text"))).output().unwrap();
    assert_eq!((output.status.code(), &*output.stderr), (Some(1), &b"only text\n"[..]), "{}", text(&output));
}

#[test]
fn the_app_can_start_itself_again_and_spawn_workers() {
    let Some(app) = demo() else { return };
    let again = app.python(&["-c", AGAIN, app.command()[1].as_str()]);
    assert_eq!(again.status.code(), Some(42), "{}", text(&again));
    let spawned = app.run(&["spawn"]);
    assert_eq!(String::from_utf8_lossy(&spawned.stdout), "[1, 4, 9]\n", "{}", text(&spawned));
    let module = app.python(&["-m", "rich.palette"]);
    assert!(module.status.success(), "{}", text(&module));
}

const AGAIN: &str = "import os, sys; os.execv(sys.executable, [sys.executable, sys.argv[1], 'result', 'int'])";

#[test]
fn borrowed_libraries_come_from_the_package() {
    let Some(app) = demo() else { return };
    let output = app.python(&["-c", MODULES]);
    assert!(output.status.success(), "{}", text(&output));
    let loaded = String::from_utf8(output.stdout).unwrap();
    let runtime = app.staged.runtime.path.to_str().unwrap();
    let strangers: Vec<&str> = loaded.lines().filter(|path| !path.starts_with(runtime) && !is_glibc(path)).collect();
    assert!(strangers.is_empty(), "{strangers:?}");
    assert!(loaded.contains("/lib-dynload/_ssl"), "{loaded}");
}

const MODULES: &str = "
import bz2, ctypes, hashlib, lzma, readline, sqlite3, ssl, uuid, zlib, zoneinfo, curses, dbm, decimal, asyncio, venv
assert ctypes.CDLL(None).getpid() > 0
assert sqlite3.connect(':memory:').execute('select 1').fetchone() == (1,)
assert lzma.decompress(lzma.compress(b'x')) == bz2.decompress(bz2.compress(b'x')) == b'x'
assert ssl.create_default_context().verify_mode == ssl.CERT_REQUIRED
for line in sorted({line.split(None, 5)[5].strip() for line in open('/proc/self/maps') if '.so' in line}):
    print(line)
";

fn is_glibc(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap();
    ["ld-linux", "libc.so", "libm.so", "libdl.so", "libpthread.so", "librt.so", "libutil.so", "libresolv.so"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

#[test]
fn the_runtime_has_no_links_no_tests_and_no_trace_of_this_machine() {
    let Some(app) = demo() else { return };
    let mut files = 0;
    for tree in [&app.staged.runtime.path, &app.staged.environment.path, &app.staged.application.path] {
        for (path, entry) in listing(tree) {
            assert!(!entry.link, "{path} is a link");
            assert!(entry.directory || [0o644, 0o755].contains(&entry.mode), "{path} has mode {:o}", entry.mode);
            assert!(!path.ends_with(".a") && !path.starts_with("lib/python3.11/test/"), "{path}");
            files += 1;
        }
    }
    assert!(files > 1000);
    let prefix = app.staged.python.prefix.to_str().unwrap();
    let stage = app.staged.application.path.parent().unwrap().to_str().unwrap();
    for tree in [&app.staged.runtime.path, &app.staged.environment.path, &app.staged.application.path] {
        for (path, entry) in listing(tree) {
            let traced =
                [".py", ".pyc", ".txt", "RECORD", "INSTALLER", "METADATA"].iter().any(|ending| path.ends_with(ending));
            if traced && !entry.directory {
                let bytes = std::fs::read(tree.join(&path)).unwrap();
                let text = String::from_utf8_lossy(&bytes);
                assert!(!text.contains(prefix) && !text.contains(stage), "{path}");
            }
        }
    }
    assert!(app.staged.glibc.is_some_and(|(major, minor)| major == 2 && minor >= 17));
}

#[test]
fn pip_installs_into_the_workenv_and_nowhere_else() {
    let Some(app) = demo() else { return };
    // Its own workenv: the others look at what is in theirs.
    let home = TempDir::new().unwrap();
    let workenv = assemble(&app.staged, home.path());
    let trees = [&app.staged.runtime.path, &app.staged.environment.path, &app.staged.application.path];
    let before: Vec<_> = trees.iter().map(|tree| listing(tree)).collect();
    let python = workenv.join("python").join(&app.staged.python.name);
    let mut version = Command::new(&python);
    let output = with_rules(&app.staged, &workenv, version.args(["-m", "pip", "--version"])).output().unwrap();
    assert!(text(&output).contains("python-runtime"), "{}", text(&output));
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "tabulate"]);
    let output = with_rules(&app.staged, &workenv, &mut install).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let site = workenv.join("lib").join(&app.staged.python.name).join("site-packages");
    assert!(site.join("tabulate").is_dir() && workenv.join("bin/tabulate").is_file());
    let mut use_it = Command::new(&python);
    let output = with_rules(&app.staged, &workenv, use_it.args(["-c", "import tabulate; print(tabulate.__file__)"]))
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).starts_with(site.to_str().unwrap()), "{}", text(&output));
    let after: Vec<_> = trees.iter().map(|tree| listing(tree)).collect();
    assert!(before == after, "a slot has changed");
}

#[test]
fn settings_and_packages_of_the_caller_do_not_leak_in() {
    let Some(app) = demo() else { return };
    let caller = TempDir::new().unwrap();
    let user_site = caller.path().join(".local/lib").join(&app.staged.python.name).join("site-packages");
    for directory in [&user_site, &caller.path().join("path")] {
        std::fs::create_dir_all(directory).unwrap();
        std::fs::write(directory.join("leaked.py"), "").unwrap();
        std::fs::write(directory.join("rich.py"), "raise SystemExit('leaked')").unwrap();
    }
    let mut command = app.start(&["report"]);
    command.env("HOME", caller.path()).env("PYTHONPATH", caller.path().join("path")).env("PYTHONHOME", "/nowhere");
    let output = with_rules(&app.staged, &app.workenv, &mut command).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let mut command = Command::new(app.command()[0].as_str());
    command.args(["-c", "import leaked"]).env("HOME", caller.path());
    let output = with_rules(&app.staged, &app.workenv, &mut command).output().unwrap();
    assert!(text(&output).contains("ModuleNotFoundError"), "{}", text(&output));
}

#[test]
fn certificates_of_the_machine_are_used_where_the_built_in_place_is_missing() {
    let Some(app) = demo() else { return };
    let home = TempDir::new().unwrap();
    let workenv = assemble(&app.staged, home.path());
    let pth = workenv.join("lib").join(&app.staged.python.name).join("site-packages/pspf.pth");
    let line = std::fs::read_to_string(&pth).unwrap();
    let (file, directory) = app.staged.python.certificates.clone().unwrap();
    let moved = line
        .replace(file.to_str().unwrap(), "/nowhere/cert.pem")
        .replace(directory.to_str().unwrap(), "/nowhere/certs");
    assert_ne!(line, moved);
    std::fs::write(&pth, moved).unwrap();
    let ask = "import os; print(os.environ.get('SSL_CERT_FILE'))";
    let run = |variable: Option<&str>| {
        let mut command = Command::new(workenv.join("python").join(&app.staged.python.name));
        command.args(["-c", ask]).env_clear().envs(variable.map(|value| ("SSL_CERT_FILE", value)));
        let output = command.output().unwrap();
        assert_eq!(output.stderr, b"");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let found = run(None);
    assert!(Path::new(&found).is_file() || found == "None", "{found}");
    assert_eq!(run(Some("/mine.pem")), "/mine.pem");
}

#[test]
fn staging_again_elsewhere_gives_the_same_trees_byte_for_byte() {
    let Some(app) = demo() else { return };
    let (stage, cache) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    // All but the tools, which would only be downloaded again.
    if shared_cache().join("tools").is_dir() {
        symlink(shared_cache().join("tools"), cache.path().join("tools")).unwrap();
    }
    let again = stage_project(&app.project, stage.path(), cache.path()).unwrap();
    let pairs = [
        (&app.staged.runtime, &again.runtime),
        (&app.staged.environment, &again.environment),
        (&app.staged.application, &again.application),
    ];
    for (one, two) in pairs {
        assert_eq!(one.key, two.key);
        let (one, two) = (listing(&one.path), listing(&two.path));
        let different: Vec<_> =
            one.iter().filter(|(path, entry)| two.get(*path) != Some(entry)).map(|(path, _)| path).collect();
        assert!(different.is_empty() && one.len() == two.len(), "{different:?}");
    }
    assert_eq!(app.staged.workenv, again.workenv);
}

#[test]
fn a_second_pack_takes_runtime_and_environment_from_the_cache() {
    let Some(app) = demo() else { return };
    let stage = TempDir::new().unwrap();
    let count = Counter::default();
    let manifest = manifest::read(&app.project).unwrap();
    let request = Request {
        manifest: &manifest,
        python: None,
        stage: stage.path(),
        cache: shared_cache(),
        platform: platform(),
        extras: &[],
        frozen: false,
    };
    let again = python::stage(&request, &count).unwrap();
    assert_eq!(again.runtime.path, app.staged.runtime.path);
    assert_eq!(again.environment.path, app.staged.environment.path);
    assert!(!count.stages().iter().any(|stage| stage.starts_with("preparing Python")), "{:?}", count.stages());
}

#[test]
fn nothing_is_written_into_the_project() {
    let Some(app) = demo() else { return };
    let names: BTreeSet<String> = listing(&app.project).into_keys().collect();
    assert!(!names.iter().any(|name| name.contains("egg-info") || name.contains("build")), "{names:?}");
}

#[test]
fn a_project_without_a_build_system_is_copied_with_what_is_beside_its_modules() {
    let Some(cache) = usable_cache() else { return };
    let project = project(&[
        ("pyproject.toml", "[project]\nname = \"flat\"\nversion = \"2.0\"\n[tool.flavor]\nentry_point = \"app:run\"\n"),
        ("app/__init__.py", ""),
        (
            "app/run.py",
            "from helper import NAME\nimport importlib.metadata\n\ndef run():\n    print(NAME, importlib.metadata.version('flat'))\n",
        ),
        ("app/templates/page.html", "<p>"),
        ("helper.py", "NAME = 'flat'\n"),
        ("static/x.css", ""),
        ("config/x.toml", ""),
        ("tests/__init__.py", ""),
    ]);
    let (stage, home) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let staged = stage_project(project.path(), stage.path(), cache).unwrap();
    assert_eq!(staged.entry_points["flat"], "app.run:run");
    let names: Vec<String> =
        listing(&staged.application.path).into_keys().filter(|name| !name.contains("__pycache__")).collect();
    assert!(
        names.contains(&"app/templates/page.html".to_owned()) && !names.iter().any(|name| name.starts_with("static")),
        "{names:?}"
    );
    let workenv = assemble(&staged, home.path());
    let output = start(&staged, &workenv, &[]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "flat 2.0\n", "{}", text(&output));
}

#[test]
fn a_module_alone_runs_as_with_m() {
    let Some(cache) = usable_cache() else { return };
    let project = project(&[
        ("pyproject.toml", "[project]\nname = \"mod\"\nversion = \"1\"\n[tool.flavor]\nentry_point = \"mod\"\n"),
        ("mod/__init__.py", ""),
        ("mod/__main__.py", "import sys\nfrom . import other\nprint(__name__, other.X, sys.argv[1:])\nsys.exit(7)\n"),
        ("mod/other.py", "X = 1\n"),
    ]);
    let (stage, home) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let staged = stage_project(project.path(), stage.path(), cache).unwrap();
    let output = start(&staged, &assemble(&staged, home.path()), &["x"]).output().unwrap();
    assert_eq!((output.status.code(), &*output.stdout), (Some(7), &b"__main__ 1 ['x']\n"[..]), "{}", text(&output));
}

#[test]
fn a_package_shared_with_a_dependency_moves_everything_into_one_slot() {
    let Some(cache) = usable_cache() else { return };
    let project = project(&[
        (
            "pyproject.toml",
            "[project]\nname = \"plugin\"\nversion = \"1\"\ndependencies = [\"iniconfig\"]\n[tool.flavor]\nentry_point = \"iniconfig.plugin:main\"\n",
        ),
        ("iniconfig/__init__.py", ""),
        (
            "iniconfig/plugin.py",
            "def main():\n    from iniconfig import exceptions\n    print(exceptions.ParseError.__name__)\n",
        ),
    ]);
    let (stage, home) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let staged = stage_project(project.path(), stage.path(), cache).unwrap();
    assert!(listing(&staged.environment.path).is_empty());
    let output = start(&staged, &assemble(&staged, home.path()), &[]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ParseError\n", "{}", text(&output));
}

#[test]
fn version_and_dependencies_can_come_from_the_build_backend() {
    let Some(cache) = usable_cache() else { return };
    let project = project(&[
        (
            "pyproject.toml",
            "[build-system]\nrequires = [\"setuptools\"]\nbuild-backend = \"setuptools.build_meta\"\n\
             [project]\nname = \"dyn\"\ndynamic = [\"version\", \"dependencies\"]\n\
             [tool.setuptools.dynamic]\nversion = { attr = \"dyn.__version__\" }\ndependencies = { file = [\"needs.txt\"] }\n\
             [tool.flavor]\nentry_point = \"dyn:main\"\n",
        ),
        ("needs.txt", "iniconfig\n"),
        ("dyn/__init__.py", "__version__ = '3.1'\n\ndef main():\n    import iniconfig\n"),
    ]);
    let stage = TempDir::new().unwrap();
    let staged = stage_project(project.path(), stage.path(), cache).unwrap();
    assert_eq!(staged.version, "3.1");
    assert!(staged.environment.path.join("iniconfig").is_dir());
    assert!(!project.path().join("dyn.egg-info").exists() && !project.path().join("build").exists());
}

#[test]
fn an_entry_point_that_does_not_exist_is_refused_with_the_nearest_name() {
    let Some(cache) = usable_cache() else { return };
    let cases = [
        ("app.cli:mian", "the module app.cli has no mian", "\"app.cli:main\""),
        ("app.cil:main", "there is no module app.cil", "\"app.cli:main\""),
        ("app", "without a __main__ module", ""),
        ("app.cli:later", "coroutine", "asyncio.run"),
        ("app.broken:main", "not valid Python", ""),
    ];
    for (entry_point, what, hint) in cases {
        let pyproject =
            format!("[project]\nname = \"app\"\nversion = \"1\"\n[tool.flavor]\nentry_point = \"{entry_point}\"\n");
        let project = project(&[
            ("pyproject.toml", &pyproject),
            ("app/__init__.py", "raise SystemExit('the project was run')\n"),
            ("app/cli.py", "import os\n\ndef main(): ...\n\nasync def later(): ...\n"),
            ("app/broken.py", "def main(:\n"),
        ]);
        let stage = TempDir::new().unwrap();
        let error = stage_project(project.path(), stage.path(), cache).unwrap_err();
        let shown = error.to_string();
        assert_eq!(error.exit_code(), 109, "{shown}");
        assert!(shown.contains(what) && shown.contains(hint) && shown.contains("tool.flavor.entry_point"), "{shown}");
        assert!(shown.contains("line 5"), "{shown}");
    }
}

#[test]
fn a_dependency_that_does_not_resolve_is_named_with_its_line() {
    let Some(cache) = usable_cache() else { return };
    let project = project(&[
        (
            "pyproject.toml",
            "[project]\nname = \"app\"\nversion = \"1\"\ndependencies = [\n  \"click\",\n  \"no-such-distribution-pspf>=1\",\n]\n[tool.flavor]\nentry_point = \"app\"\n",
        ),
        ("app.py", ""),
    ]);
    let stage = TempDir::new().unwrap();
    let error = stage_project(project.path(), stage.path(), cache).unwrap_err();
    let shown = error.to_string();
    assert_eq!(error.kind(), Kind::Dependency, "{shown}");
    assert!(shown.contains("line 6") && shown.contains("found:    no-such-distribution-pspf>=1"), "{shown}");
}

#[test]
fn a_build_that_fails_shows_why() {
    let Some(cache) = usable_cache() else { return };
    let project = project(&[
        (
            "pyproject.toml",
            "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n[project]\nname = \"app\"\nversion = \"1\"\n[tool.flavor]\nentry_point = \"app\"\n",
        ),
        ("backend.py", "def build_wheel(*_):\n    raise RuntimeError('the backend is on strike')\n"),
        ("app.py", ""),
    ]);
    let stage = TempDir::new().unwrap();
    let error = stage_project(project.path(), stage.path(), cache).unwrap_err();
    assert_eq!(error.kind(), Kind::Build, "{error}");
    assert!(error.to_string().contains("the backend is on strike"), "{error}");
}

#[test]
fn an_interpreter_that_nobody_has_is_refused_with_what_was_looked_at() {
    let Some(cache) = usable_cache() else { return };
    let project = project(&[
        (
            "pyproject.toml",
            "[project]\nname = \"app\"\nversion = \"1\"\n[tool.flavor]\nentry_point = \"app\"\npython_version = \"3.98\"\n",
        ),
        ("app.py", ""),
    ]);
    let stage = TempDir::new().unwrap();
    let error = stage_project(project.path(), stage.path(), cache).unwrap_err();
    let shown = error.to_string();
    assert_eq!(error.kind(), Kind::Dependency, "{shown}");
    assert!(
        shown.contains("Python 3.98") && shown.contains("tool.flavor.python_version") && shown.contains(": is 3."),
        "{shown}"
    );
}

#[test]
fn a_named_interpreter_is_taken_or_refused_but_never_replaced() {
    let Some(app) = demo() else { return };
    let stage = TempDir::new().unwrap();
    let manifest = manifest::read(&app.project).unwrap();
    let with = |python: &Path| {
        let request = Request {
            manifest: &manifest,
            python: Some(python),
            stage: stage.path(),
            cache: shared_cache(),
            platform: platform(),
            extras: &[],
            frozen: false,
        };
        python::stage(&request, &Silent)
    };
    for (path, expected) in [
        ("/nowhere/python", "no interpreter here"),
        ("/bin/sh", "cannot be packaged"),
        ("/tmp", "no interpreter in this directory"),
    ] {
        let error = with(Path::new(path)).unwrap_err();
        assert!(error.kind() == Kind::Dependency && error.to_string().contains(expected), "{error}");
    }
    if Path::new("/usr/lib/python3/dist-packages").is_dir() && Path::new("/usr/bin/python3").is_file() {
        let error = with(Path::new("/usr/bin/python3")).unwrap_err();
        assert!(error.to_string().contains("split over"), "{error}");
    }
}

#[test]
fn cancelling_at_any_stage_leaves_nothing_half_made_in_the_cache() {
    let Some(app) = demo() else { return };
    for stages in 1..=4 {
        let (stage, cache) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        if shared_cache().join("tools").is_dir() {
            symlink(shared_cache().join("tools"), cache.path().join("tools")).unwrap();
        }
        let manifest = manifest::read(&app.project).unwrap();
        let request = Request {
            manifest: &manifest,
            python: None,
            stage: stage.path(),
            cache: cache.path(),
            platform: platform(),
            extras: &[],
            frozen: false,
        };
        let error = python::stage(&request, &StopAfter { stages, seen: AtomicUsize::new(0) }).unwrap_err();
        assert_eq!(error.kind(), Kind::Cancelled, "{error}");
        assert!(leftovers(cache.path()).is_empty(), "{:?}", leftovers(cache.path()));
    }
}

/// The demonstration project, staged once for all tests and put together in a directory with a space in its name.
struct App {
    project: PathBuf,
    staged: Staged,
    workenv: PathBuf,
}

impl App {
    fn command(&self) -> Vec<String> {
        self.staged
            .workenv
            .command
            .iter()
            .map(|word| word.replace("{workenv}", self.workenv.to_str().unwrap()))
            .collect()
    }

    fn start(&self, arguments: &[&str]) -> Command {
        start(&self.staged, &self.workenv, arguments)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.start(arguments).output().unwrap()
    }

    fn python(&self, arguments: &[&str]) -> Output {
        self.environment(Command::new(self.command()[0].as_str()).args(arguments)).output().unwrap()
    }

    fn environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env_clear().env("HOME", "/nonexistent").env("LANG", "C.UTF-8")
    }
}

fn demo() -> Option<&'static App> {
    static APP: OnceLock<Option<App>> = OnceLock::new();
    APP.get_or_init(|| {
        let cache = usable_cache()?;
        let root = scratch().join("demo");
        let project = root.join("project");
        for (path, contents) in DEMO {
            write(&project.join(path), contents);
        }
        let stage = root.join("stage");
        std::fs::create_dir_all(&stage).unwrap();
        let staged = stage_project(&project, &stage, cache).unwrap_or_else(|error| panic!("{error}"));
        let workenv = assemble(&staged, &root.join("a home with 'quotes'"));
        Some(App { project, staged, workenv })
    })
    .as_ref()
}

const DEMO: [(&str, &str); 5] = [
    (
        "pyproject.toml",
        r#"
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "demo-app"
version = "1.0.0"
requires-python = ">=3.9"
dependencies = ["click>=8", "rich"]

[project.scripts]
demo-app = "demo.cli:main"
demo-text = "demo.cli:text"

[tool.setuptools.package-data]
demo = ["*.txt"]

[tool.flavor]
entry_point = "demo.cli:main"
"#,
    ),
    ("src/demo/__init__.py", ""),
    ("src/demo/hello.txt", "hello\n"),
    ("src/demo/work.py", "def square(x):\n    return x * x\n"),
    (
        "src/demo/cli.py",
        r#"
import importlib.metadata
import importlib.resources
import json
import multiprocessing
import sys

import rich

from demo import work


def text():
    return "only text"


def main():
    what = sys.argv[1]
    if what == "result":
        return {"none": None, "int": 42, "text": "went wrong", "object": object()}[sys.argv[2]]
    if what == "spawn":
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            print(pool.map(work.square, [1, 2, 3]))
        return None
    own = importlib.metadata.distribution("demo-app").entry_points
    print(json.dumps({
        "prefix": sys.prefix,
        "executable": sys.executable,
        "argv": sys.argv,
        "file": __file__,
        "rich": rich.__file__,
        "path": sys.path,
        "click": importlib.metadata.version("click"),
        "resource": importlib.resources.read_text("demo", "hello.txt") if sys.version_info < (3, 11)
        else importlib.resources.files("demo").joinpath("hello.txt").read_text(),
        "scripts": sorted(script.name for script in own),
    }))
"#,
    ),
];

/// The cache that the tests share, or nothing (and a word about it) when there is no Python to stage.
fn usable_cache() -> Option<&'static Path> {
    static USABLE: OnceLock<bool> = OnceLock::new();
    let usable = USABLE.get_or_init(|| {
        let project = project(&[
            ("pyproject.toml", "[project]\nname = \"app\"\nversion = \"1\"\nrequires-python = \">=3.9\"\n[tool.flavor]\nentry_point = \"app\"\n"),
            ("app.py", ""),
        ]);
        let stage = TempDir::new().unwrap();
        match stage_project(project.path(), stage.path(), shared_cache()) {
            Ok(_) => true,
            Err(error) if error.kind() == Kind::Dependency => {
                eprintln!("skipped: no Python on this machine can be packaged: {error}");
                false
            }
            Err(error) => panic!("{error}"),
        }
    });
    usable.then(shared_cache)
}

fn shared_cache() -> &'static Path {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    CACHE.get_or_init(|| scratch().join("cache"))
}

/// Emptied at the start of a run, since nothing removes a static at its end.
fn scratch() -> &'static Path {
    static SCRATCH: OnceLock<PathBuf> = OnceLock::new();
    SCRATCH.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python_staging");
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        path
    })
}

fn stage_project(project: &Path, stage: &Path, cache: &Path) -> Result<Staged, Error> {
    let manifest = manifest::read(project)?;
    python::stage(
        &Request { manifest: &manifest, python: None, stage, cache, platform: platform(), extras: &[], frozen: false },
        &Silent,
    )
}

fn platform() -> Platform {
    Platform::from_name("linux_amd64").unwrap()
}

fn project(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (path, contents) in files {
        write(&directory.path().join(path), contents);
    }
    directory
}

fn write(path: &Path, contents: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, contents).unwrap();
}

/// Makes the workenv below `home`, as the launcher does.
fn assemble(staged: &Staged, home: &Path) -> PathBuf {
    let workenv = home.join("work env");
    std::fs::create_dir_all(&workenv).unwrap();
    let here = |text: &str| text.replace("{workenv}", workenv.to_str().unwrap());
    for directory in &staged.workenv.directories {
        std::fs::create_dir(here(directory)).unwrap();
    }
    for file in &staged.workenv.files {
        std::fs::write(here(&file.path), here(&file.content)).unwrap();
        std::fs::set_permissions(here(&file.path), PermissionsExt::from_mode(file.mode)).unwrap();
    }
    let slots = [
        ("python-runtime", &staged.runtime),
        ("python-environment", &staged.environment),
        ("application-code", &staged.application),
    ];
    for (name, tree) in slots {
        symlink(&tree.path, workenv.join(name)).unwrap();
    }
    for (path, target) in &staged.workenv.links {
        symlink(here(target), here(path)).unwrap();
    }
    workenv
}

fn start(staged: &Staged, workenv: &Path, arguments: &[&str]) -> Command {
    let command: Vec<String> =
        staged.workenv.command.iter().map(|word| word.replace("{workenv}", workenv.to_str().unwrap())).collect();
    let mut start = Command::new(&command[0]);
    start.args(&command[1..]).args(arguments).env_clear().env("HOME", "/nonexistent").env("LANG", "C.UTF-8");
    start
}

/// Applies the rules for variables, as the launcher does, to what `command` and this process have set.
fn with_rules<'a>(staged: &Staged, workenv: &Path, command: &'a mut Command) -> &'a mut Command {
    let own: Vec<_> =
        command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    let mut variables: BTreeMap<_, _> = std::env::vars_os().collect();
    variables.extend(own);
    command.env_clear();
    for (name, value) in variables {
        let plain = name.to_string_lossy();
        let unset = staged.workenv.unset.iter().any(|rule| match rule.strip_suffix('*') {
            Some(prefix) => plain.starts_with(prefix),
            None => plain == *rule,
        });
        if !unset || staged.workenv.pass.iter().any(|rule| plain == *rule) {
            command.env(&name, value);
        }
    }
    command.current_dir(workenv)
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    directory: bool,
    link: bool,
    mode: u32,
    contents: Vec<u8>,
}

fn listing(root: &Path) -> BTreeMap<String, Entry> {
    fn descend(root: &Path, path: &Path, into: &mut BTreeMap<String, Entry>) {
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let directory = metadata.is_dir();
            let entry = Entry {
                directory,
                link: metadata.is_symlink(),
                mode: metadata.permissions().mode() & 0o7777,
                contents: if directory { Vec::new() } else { std::fs::read(&path).unwrap() },
            };
            into.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), entry);
            if directory {
                descend(root, &path, into);
            }
        }
    }
    let mut all = BTreeMap::new();
    descend(root, root, &mut all);
    all
}

/// Temporary names in the cache.
fn leftovers(cache: &Path) -> Vec<PathBuf> {
    let shelves = ["runtimes", "environments"].map(|shelf| cache.join(shelf));
    let entries = shelves.iter().filter_map(|shelf| std::fs::read_dir(shelf).ok()).flatten();
    let recent = entries.map(|entry| entry.unwrap().path());
    recent.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(".tmp-")).collect()
}

fn text(output: &Output) -> String {
    format!("{}{}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[derive(Default)]
struct Counter(std::sync::Mutex<Vec<String>>);

impl Counter {
    fn stages(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Progress for Counter {
    fn stage(&self, name: &str, _: Option<u64>) {
        self.0.lock().unwrap().push(name.to_owned());
    }
}

struct StopAfter {
    stages: usize,
    seen: AtomicUsize,
}

impl Progress for StopAfter {
    fn stage(&self, _: &str, _: Option<u64>) {
        self.seen.fetch_add(1, Ordering::Relaxed);
    }

    fn is_cancelled(&self) -> bool {
        self.seen.load(Ordering::Relaxed) >= self.stages
    }
}
