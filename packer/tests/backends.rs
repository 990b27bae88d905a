//! A project for each build backend, and the kinds of things that projects consist of: data, namespaces, extension
//! modules, dependencies from a directory and from a repository.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Finish as _, PythonProject};
use serde_json::json;

/// Prints its version, a data file that is beside it, and its arguments.
const APP: &str = r#"
import importlib.metadata, importlib.resources, json, sys

def main():
    text = importlib.resources.files("my_app").joinpath("data/greeting.txt").read_text()
    version = importlib.metadata.version("my-app")
    print(json.dumps({"version": version, "data": text, "argv": sys.argv[1:]}))

def window():
    print(json.dumps("window"))
"#;

/// Packs and starts a project with this backend; `files` are its package and what the backend wants besides.
#[track_caller]
fn packs_with(backend: &str, lines: &str, files: &[(&str, &str)]) {
    let text = format!(
        "[build-system]\nrequires = [{requires}]\nbuild-backend = \"{module}\"\n\
         [project]\nname = \"my-app\"\nversion = \"1.2\"\nrequires-python = \">=3.8\"\n\
         scripts.my-app = \"my_app:main\"\ngui-scripts.my-window = \"my_app:window\"\n{lines}\n",
        requires = backend.split_once(' ').map_or("", |(requires, _)| requires),
        module = backend.split_once(' ').map_or("", |(_, module)| module),
    );
    let Some(project) = PythonProject::new(&[&[("pyproject.toml", &*text)], files].concat()) else { return };
    let before = common::snapshot(&project.directory());
    project.pack(&[]).exits(0);
    assert_eq!(common::snapshot(&project.directory()), before, "packing changed the project");
    assert_eq!(project.report(&["a b"]), json!({"version": "1.2", "data": "hello", "argv": ["a b"]}));
    let offers = metadata(&project)["extensions"]["x-pspf-python"]["entry_points"].clone();
    assert_eq!(offers, json!({"my-app": "my_app:main", "my-window": "my_app:window"}));
}

/// The signed metadata, as the package itself prints them.
#[track_caller]
fn metadata(project: &PythonProject) -> serde_json::Value {
    project.start().env("FLAVOR_LAUNCHER_CLI", "1").arg("metadata").finish().exits(0).json()
}

const FLAT: [(&str, &str); 2] = [("my_app/__init__.py", APP), ("my_app/data/greeting.txt", "hello")];
const SOURCE: [(&str, &str); 2] = [("src/my_app/__init__.py", APP), ("src/my_app/data/greeting.txt", "hello")];

#[test]
fn setuptools_with_package_data() {
    let lines =
        "[tool.setuptools.package-data]\nmy_app = [\"data/*.txt\"]\n[tool.setuptools.packages.find]\nwhere = [\"src\"]";
    packs_with("\"setuptools>=64\" setuptools.build_meta", lines, &SOURCE);
}

#[test]
fn hatchling() {
    packs_with("\"hatchling\" hatchling.build", "", &SOURCE);
}

#[test]
fn poetry_core() {
    packs_with("\"poetry-core>=2\" poetry.core.masonry.api", "", &FLAT);
}

#[test]
fn poetry_core_without_a_project_table() {
    let text = "[build-system]\nrequires = [\"poetry-core>=1\"]\nbuild-backend = \"poetry.core.masonry.api\"\n\
                [tool.poetry]\nname = \"my-app\"\nversion = \"1.2\"\ndescription = \"says hello\"\nauthors = []\n\
                packages = [{ include = \"my_app\" }]\n[tool.poetry.scripts]\nmy-app = \"my_app:main\"\n\
                [tool.poetry.dependencies]\npython = \"^3.8\"\nsix = \"^1.16\"\n";
    let app = APP.replace("def main():", "import six\n\ndef main():");
    let files = [("pyproject.toml", text), (FLAT[0].0, &app), FLAT[1]];
    let Some(project) = PythonProject::new(&files) else { return };
    project.pack(&[]).exits(0);
    assert_eq!(project.report(&["a"]), json!({"version": "1.2", "data": "hello", "argv": ["a"]}));
}

#[test]
fn flit() {
    // It wants a description, and takes none from an empty docstring.
    packs_with("\"flit-core>=3.9\" flit_core.buildapi", "description = \"says hello\"", &FLAT);
}

#[test]
fn uv_build() {
    packs_with("\"uv_build>=0.8\" uv_build", "", &SOURCE);
}

#[test]
fn maturin_with_an_extension_module_in_rust() {
    let has_rust = Command::new("cargo").arg("--version").output().is_ok_and(|output| output.status.success());
    let Some(()) = common::require(has_rust.then_some(()).ok_or_else(|| "there is no cargo for maturin".into())) else {
        return;
    };
    let cargo = "[package]\nname = \"my-app\"\nversion = \"1.2.0\"\nedition = \"2021\"\n[lib]\nname = \"native\"\n\
                 crate-type = [\"cdylib\"]\n[workspace]\n";
    let app = APP
        .replace("def main():", "from .native import lib\n\ndef main():")
        .replace("read_text()", "read_text() * lib.one()");
    packs_with(
        "\"maturin>=1.7\",\"cffi\" maturin",
        "dependencies = [\"cffi\"]\n[tool.maturin]\nbindings = \"cffi\"\npython-source = \"python\"\n\
         module-name = \"my_app.native\"",
        &[
            ("Cargo.toml", cargo),
            ("src/lib.rs", "#[no_mangle]\npub extern \"C\" fn one() -> i32 {\n    1\n}\n"),
            ("python/my_app/__init__.py", &app),
            ("python/my_app/data/greeting.txt", "hello"),
        ],
    );
}

#[test]
fn one_namespace_in_project_and_dependency() {
    let part = |name: &str, more: &str| {
        format!(
            "[build-system]\nrequires = [\"setuptools>=64\"]\nbuild-backend = \"setuptools.build_meta\"\n\
             [project]\nname = \"{name}\"\nversion = \"1.2\"\n{more}\n\
             [tool.setuptools.packages.find]\nwhere = [\"src\"]\n"
        )
    };
    let sources = "dependencies = [\"acme-parts\"]\n[tool.flavor]\nentry_point = \"acme.app:main\"\n\
                   [tool.uv.sources]\nacme-parts = { path = \"parts\" }\n";
    let app = "def main():\n    import acme, acme.parts\n    print(acme.parts.NAME, getattr(acme, '__file__', None))\n";
    let files = [
        ("pyproject.toml", &*part("acme-app", sources)),
        ("src/acme/app/__init__.py", app),
        ("parts/pyproject.toml", &*part("acme-parts", "")),
        ("parts/src/acme/parts/__init__.py", "NAME = 'parts of acme'\n"),
    ];
    let Some(project) = PythonProject::new(&files) else { return };
    project.pack(&[]).exits(0);
    assert_eq!(project.start().finish().exits(0).stays_quiet().stdout(), "parts of acme None\n");
}

const DEPENDENCY: &str = "[build-system]\nrequires = [\"setuptools>=64\"]\nbuild-backend = \"setuptools.build_meta\"\n\
                          [project]\nname = \"helper\"\nversion = \"3.1\"\n[tool.setuptools]\npy-modules = [\"helper\"]\n";

#[test]
fn dependencies_from_a_directory_and_from_a_repository() {
    let has_git = Command::new("git").arg("--version").output().is_ok_and(|output| output.status.success());
    let Some(()) = common::require(has_git.then_some(()).ok_or_else(|| "there is no git".into())) else { return };
    let app = "def main():\n    import helper, importlib.metadata\n    print(helper.NAME, importlib.metadata.version('helper'))\n";
    let Some(project) = PythonProject::new(&[("my_app.py", app)]) else { return };
    let repository = project.scratch.join("repository");
    common::write_files(&repository, &[("pyproject.toml", DEPENDENCY), ("helper.py", "NAME = 'first'\n")]);
    commit(&repository);
    fs::write(repository.join("helper.py"), "NAME = 'second'\n").unwrap();
    let text = |line: &str| {
        format!(
            "[project]\nname = \"my-app\"\nversion = \"1\"\ndependencies = [\"{line}\"]\n\
             [tool.flavor]\nentry_point = \"my_app:main\"\n"
        )
    };
    let url = repository.display();
    for (line, printed) in
        [(format!("helper @ file://{url}"), "second 3.1\n"), (format!("helper @ git+file://{url}"), "first 3.1\n")]
    {
        fs::write(project.path("pyproject.toml"), text(&line)).unwrap();
        project.pack(&[]).exits(0);
        assert_eq!(project.start().finish().exits(0).stays_quiet().stdout(), printed, "{line}");
    }
}

#[test]
fn what_a_backend_decides_is_taken_from_its_wheel() {
    let setup = "from setuptools import setup\nsetup(version='4.5', py_modules=['my_app'], install_requires=['helper'], \
                 extras_require={'more': ['spare; python_version > \"3\"']})\n";
    let text = "[build-system]\nrequires = [\"setuptools>=64\"]\nbuild-backend = \"setuptools.build_meta\"\n\
                [project]\nname = \"my-app\"\ndynamic = [\"version\", \"dependencies\", \"optional-dependencies\"]\n\
                [tool.flavor]\nentry_point = \"my_app:main\"\n[tool.uv]\nfind-links = [\"wheels\"]\n";
    let app = "def main():\n    import helper, importlib.util\n    \
               print(helper.version, importlib.util.find_spec('spare') is not None)\n";
    let Some(project) = PythonProject::new(&[("pyproject.toml", text), ("setup.py", setup), ("my_app.py", app)]) else {
        return;
    };
    for (name, version) in [("helper", "99!1.0"), ("spare", "99!2.0")] {
        common::write_wheel(&project.path("wheels"), name, version, "py3-none-any", &[]);
    }
    project.pack(&[]).exits(0).prints("my-app 4.5");
    assert_eq!(project.start().finish().exits(0).stays_quiet().stdout(), "99!1.0 False\n");
    project.pack(&["--extra", "more"]).exits(0);
    assert_eq!(project.start().finish().exits(0).stays_quiet().stdout(), "99!1.0 True\n");
    project.pack(&["--extra", "mor"]).exits(105).says("did you mean \"more\"?");
}

fn commit(repository: &Path) {
    for words in [&["init", "--quiet"][..], &["add", "."], &["commit", "--quiet", "--message", "first"]] {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]).args(words);
        git.current_dir(repository).finish().exits(0);
    }
}
