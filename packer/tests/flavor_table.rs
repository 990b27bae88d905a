//! `[tool.flavor]` of a `pyproject.toml`: slots, hooks, execution and policy, packed and seen from inside the app.

mod common;

use std::fs;

use common::{Finish as _, Finished, PythonProject};
use serde_json::json;

/// Prints what it was started with, and every file below `FLAVOR_WORKENV/files`.
const APP: &str = r#"
import json, os, pathlib, sys

def main():
    root = pathlib.Path(os.environ["FLAVOR_WORKENV"])
    names = ["models", "styles", "settings.ini", "here", "elsewhere", "made"]
    found = {}
    for name in names:
        path = root / name
        if path.is_file():
            found[name] = path.read_text()
        elif path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.is_file():
                    found[str(file.relative_to(root))] = file.read_text()
    print(json.dumps({"argv": sys.argv[1:], "environ": dict(os.environ), "files": found, "cwd": os.getcwd()}))
"#;

fn manifest(lines: &str) -> String {
    format!("[project]\nname = \"my-app\"\nversion = \"1.0\"\n[tool.flavor]\nentry_point = \"my_app:main\"\n{lines}")
}

fn project(lines: &str, files: &[(&str, &str)]) -> Option<PythonProject> {
    let manifest = manifest(lines);
    PythonProject::new(&[&[("pyproject.toml", &*manifest), ("my_app/__init__.py", APP)], files].concat())
}

#[track_caller]
fn is_refused(finished: Finished, code: i32, words: &[&str]) {
    let finished = finished.exits(code).prints_nothing().says("error: ").says("\n  try: ");
    words.iter().fold(finished, |finished, word| finished.says(word));
}

#[test]
fn slots_of_a_python_project_are_where_their_targets_say() {
    let lines = r#"
        compression = "zstd"
        [[tool.flavor.slots]]
        id = "models"
        source = "trained/"
        purpose = "data-files"
        exclude = ["*.tmp"]
        compression = "tar.bz2"
        level = 3
        [[tool.flavor.slots]]
        id = "styles"
        source = "static/**/*.css"
        purpose = "static-resources"
        lifecycle = "cached"
        [[tool.flavor.slots]]
        id = "settings"
        source = "settings.ini"
        target = "settings.ini"
        permissions = "0600"
        operations = "raw"
        [[tool.flavor.slots]]
        id = "here"
        source = "static"
        platform = "linux"
        operations = "gzip"
        [[tool.flavor.slots]]
        id = "elsewhere"
        source = "static"
        platform = "windows_amd64"
        [tool.flavor.execution]
        args = ["{slot:1}"]
    "#;
    let files = [
        ("trained/weights.bin", "1 2 3"),
        ("trained/x.tmp", ""),
        ("static/a.css", "a"),
        ("static/deep/b.css", "b"),
        ("static/c.js", "c"),
        ("settings.ini", "[x]"),
    ];
    let Some(project) = project(lines, &files) else { return };
    project.pack(&[]).exits(0).says("slot elsewhere is for windows_amd64");
    let seen = project.report(&["x"]);
    assert_eq!(
        seen["files"],
        json!({
            "models/weights.bin": "1 2 3",
            "styles/a.css": "a", "styles/deep/b.css": "b",
            "settings.ini": "[x]",
            "here/a.css": "a", "here/deep/b.css": "b", "here/c.js": "c",
        })
    );
    // Slots are counted as in the manifest, whatever packer puts in front of them.
    let workenv = seen["environ"]["FLAVOR_WORKENV"].as_str().unwrap();
    assert_eq!(seen["argv"], json!([format!("{workenv}/styles"), "x"]));
    let slots = project.inspect()["slots"].as_array().unwrap().clone();
    let slots = slots.iter().filter(|slot| slot["lifecycle"] != "attestation");
    let facts: Vec<_> = slots.map(|slot| json!([slot["id"], slot["operations"], slot["purpose"]])).collect();
    assert_eq!(
        json!(facts),
        json!([
            ["python-runtime", "tar.zst", "runtime"],
            ["python-environment", "tar.zst", "payload"],
            ["application-code", "tar.zst", "payload"],
            ["models", "tar.bz2", "data-files"],
            ["styles", "tar.zst", "static-resources"],
            ["settings", "raw", "payload"],
            ["here", "tar.gz", "payload"],
        ])
    );
}

#[test]
fn a_slot_that_would_hide_what_packer_makes_is_refused() {
    let lines = "[[tool.flavor.slots]]\nid = \"tools\"\nsource = \"tools\"\ntarget = \"bin\"\n";
    let Some(project) = project(lines, &[("tools/my-app", ""), ("tools/other", "")]) else { return };
    is_refused(project.pack(&[]), 109, &["slot tools goes to bin, where packer writes bin/my-app", "line 9"]);
    let mended = manifest(&format!("{lines}exclude = [\"my-app\"]\n"));
    fs::write(project.path("pyproject.toml"), mended).unwrap();
    project.pack(&[]).exits(0);
    project.report(&[]);
}

#[test]
fn the_package_has_the_names_and_the_counter_of_its_manifest() {
    let lines = "package_name = \"other\"\ndescription = \"does things\"\napp_id = \"dev.example/app\"\nrelease = 7\n";
    let Some(project) = project(lines, &[]) else { return };
    project.pack(&[]).exits(0).prints("packed other 1.0");
    let metadata = metadata(&project);
    assert_eq!(metadata["package"], json!({"name": "other", "version": "1.0", "description": "does things"}));
    let claims = &metadata["extensions"]["x-pspf-claims"];
    assert_eq!((&claims["app_id"], &claims["release"]), (&json!("dev.example/app"), &json!(7)));
}

#[test]
fn the_name_may_be_where_flavorpack_has_it_too() {
    let Some(project) = project("[tool.flavor.metadata]\npackage_name = \"other\"\n", &[]) else { return };
    project.pack(&["--dry-run"]).exits(0).prints("would pack other 1.0");
    let both = |name: &str| {
        let lines = format!("package_name = \"other\"\n[tool.flavor.metadata]\npackage_name = \"{name}\"\n");
        fs::write(project.path("pyproject.toml"), manifest(&lines)).unwrap();
        project.pack(&["--dry-run"])
    };
    both("other").exits(0).prints("would pack other 1.0");
    is_refused(
        both("third"),
        109,
        &["line 8, tool.flavor.metadata.package_name", "two names", "\"other\"", "\"third\""],
    );
    is_refused(both("a/b"), 109, &["tool.flavor.metadata.package_name", "file name"]);
    fs::write(project.path("pyproject.toml"), manifest("[tool.flavor.metadata]\nname = \"x\"\n")).unwrap();
    is_refused(project.pack(&["--dry-run"]), 109, &["tool.flavor.metadata.name", "one of package_name"]);
}

#[test]
fn the_interpreter_is_the_one_that_the_manifest_names() {
    let Some(project) = project("python = \"no/such/python\"\n", &[]) else { return };
    // Without --python, whatever the tests are told to pack.
    let pack = || {
        let mut pack = common::packer();
        pack.args(["pack", "--key-seed", "x"]).current_dir(project.directory()).finish()
    };
    let named = project.path("no/such/python");
    is_refused(pack(), 110, &["no interpreter here", named.to_str().unwrap()]);
    fs::write(project.path("pyproject.toml"), manifest("python_version = \"3.4\"\n")).unwrap();
    is_refused(pack(), 110, &["3.4"]);
}

#[test]
fn patterns_keep_files_of_the_project_out_and_in() {
    let lines = "exclude = [\"*.secret\", \"notes/\", \"*.psp\"]\ninclude = [\"*.psp\", \"public.secret\"]\n";
    let app = "import json, pathlib\n\ndef main():\n    here = pathlib.Path(__file__).parent\n    \
               print(json.dumps(sorted(str(p.relative_to(here)) for p in here.rglob('*') if p.is_file() and p.suffix != '.pyc')))\n";
    let files = [
        ("my_app/__init__.py", app),
        ("my_app/a.secret", ""),
        ("my_app/public.secret", ""),
        ("my_app/notes/x.txt", ""),
        ("my_app/data/x.txt", ""),
        ("my_app/old.psp", ""),
        ("my_app/__pycache__/stale.py", ""),
    ];
    let Some(project) = PythonProject::new(&[&[("pyproject.toml", &*manifest(lines))], &files[..]].concat()) else {
        return;
    };
    project.pack(&[]).exits(0);
    assert_eq!(project.report(&[]), json!(["__init__.py", "data/x.txt", "old.psp", "public.secret"]));
}

#[test]
fn tests_stay_out_of_project_and_dependencies_unless_they_are_wanted() {
    let manifest = |include: &str| {
        format!(
            "[project]\nname = \"my-app\"\nversion = \"1.0\"\ndependencies = [\"part\", \"other\"]\n\
             [tool.flavor]\nentry_point = \"my_app:main\"\n{include}\n\
             [tool.uv.sources]\npart = {{ path = \"part\" }}\nother = {{ path = \"other\" }}\n"
        )
    };
    let wheel = |name: &str| {
        format!(
            "[build-system]\nrequires = [\"hatchling\"]\nbuild-backend = \"hatchling.build\"\n\
             [project]\nname = \"{name}\"\nversion = \"1\"\n"
        )
    };
    let app = "import json, pathlib, part, other\nfrom . import test_data\n\ndef main():\n    found = []\n    \
               for module in [part, other, test_data]:\n        here = pathlib.Path(module.__file__).parent\n        \
               found += [f'{here.name}/{p.relative_to(here)}' for p in here.rglob('*.py')]\n    \
               print(json.dumps(sorted(found)))\n";
    let files = [
        ("pyproject.toml", &*manifest("")),
        ("my_app/__init__.py", app),
        ("my_app/test_data.py", ""),
        ("my_app/test_more.py", ""),
        ("my_app/conftest.py", ""),
        ("my_app/tests/test_it.py", ""),
        ("part/pyproject.toml", &*wheel("part")),
        ("part/part/__init__.py", ""),
        ("part/part/tests/test_it.py", ""),
        ("other/pyproject.toml", &*wheel("other")),
        ("other/other/__init__.py", "from .tests import runner\n"),
        ("other/other/docs/index.rst", ""),
        ("other/other/tests/__init__.py", ""),
        ("other/other/tests/runner.py", ""),
        ("other/other/deep/tests/test_it.py", ""),
    ];
    let Some(project) = PythonProject::new(&files) else { return };
    let packed = project.pack(&[]).exits(0);
    let packed = packed.says("left out what looks like tests: my_app/conftest.py, my_app/test_more.py, my_app/tests (");
    let wanted = ["my_app/__init__.py", "my_app/test_data.py", "other/__init__.py"];
    let imported = ["other/tests/__init__.py", "other/tests/runner.py", "part/__init__.py"];
    assert_eq!(project.report(&[]), json!([&wanted[..], &imported].concat()), "{packed}");
    fs::write(project.path("pyproject.toml"), manifest("include = [\"tests/\"]")).unwrap();
    project.pack(&[]).exits(0);
    let tests = ["my_app/tests/test_it.py", "other/__init__.py", "other/deep/tests/test_it.py"];
    let all = [&wanted[..2], &tests, &imported[..], &["part/tests/test_it.py"]].concat();
    assert_eq!(project.report(&[]), json!(all));
}

#[test]
fn a_source_that_is_missing_is_told_before_anything_is_built() {
    let Some(project) = project("[[tool.flavor.slots]]\nid = \"a\"\nsource = \"models/\"\n", &[("model/x", "")]) else {
        return;
    };
    let finished = project.pack(&[]);
    assert!(!finished.stderr().contains("building"), "{finished}");
    is_refused(finished, 109, &["line 8, tool.flavor.slots[0].source", "did you mean \"model\"?"]);
}

#[test]
fn the_command_gets_arguments_and_an_environment_from_the_manifest() {
    let lines = r#"
        [tool.flavor.execution]
        args = ["--root", "{workenv}", "two words", "{}"]
        working_directory = "bin"
        [tool.flavor.execution.runtime.env]
        unset = ["SECRET_*"]
        pass = ["SECRET_PUBLIC", "PYTHONSAFEPATH"]
        set = { APP_HOME = "{workenv}/share", APP_VERSION = "{version}" }
        map = { OLD_NAME = "NEW_NAME" }
        [tool.flavor.policy]
        platforms = ["linux_amd64"]
        refuse_root = false
        max_age_days = 3650
        require_env = ["HOME"]
    "#;
    let Some(project) = project(lines, &[]) else { return };
    project.pack(&[]).exits(0);
    let mut start = project.start();
    start.envs([("SECRET_KEY", "1"), ("SECRET_PUBLIC", "2"), ("OLD_NAME", "3"), ("PYTHONPATH", "4")]);
    let seen = start.env("PYTHONSAFEPATH", "5").arg("mine").finish().exits(0).stays_quiet().json();
    let environ = &seen["environ"];
    let workenv = environ["FLAVOR_WORKENV"].as_str().unwrap();
    assert_eq!(seen["argv"], json!(["--root", workenv, "two words", "{}", "mine"]));
    assert_eq!(environ["APP_HOME"], format!("{workenv}/share"));
    assert_eq!(environ["APP_VERSION"], "1.0");
    for (name, value) in [("SECRET_PUBLIC", "2"), ("NEW_NAME", "3"), ("PYTHONSAFEPATH", "5")] {
        assert_eq!(environ[name], value, "{name}");
    }
    for name in ["SECRET_KEY", "OLD_NAME", "PYTHONPATH"] {
        assert!(environ.get(name).is_none(), "{name}");
    }
    let metadata = metadata(&project);
    assert_eq!(metadata["execution"]["working_directory"], "{workenv}/bin");
    assert_eq!(seen["cwd"], format!("{workenv}/bin"));
    let policy =
        json!({"platforms": ["linux_amd64"], "refuse_root": false, "max_age_days": 3650, "require_env": ["HOME"]});
    assert_eq!(metadata["policy"], policy);
    // And the package keeps to it.
    project.start().env_remove("HOME").finish().exits(109).prints_nothing().says("missing_env");
}

/// The signed metadata, as the package itself prints them.
#[track_caller]
fn metadata(project: &PythonProject) -> serde_json::Value {
    project.start().env("FLAVOR_LAUNCHER_CLI", "1").arg("metadata").finish().exits(0).json()
}

const PREPARE: &str = r#"
import json, os, pathlib, sys
names = ["PSPF_HOOK", "PSPF_NAME", "PSPF_VERSION", "PSPF_PROJECT", "PSPF_MANIFEST", "PSPF_PLATFORM", "PSPF_PYTHON"]
said = {name: os.environ.get(name) for name in names}
said["argv"] = sys.argv[1:]
said["executable"] = sys.executable
pathlib.Path("made").mkdir(exist_ok=True)
pathlib.Path("made/said.json").write_text(json.dumps(said))
pathlib.Path("my_app/made.py").write_text("")
"#;

const VERIFY: &str = r#"
import os, pathlib, subprocess
package = pathlib.Path(os.environ["PSPF_OUTPUT"])
assert package.name == "app.psp" and os.environ["PSPF_HOOK"] == "post_build", package
out = subprocess.run([package, "from the hook"], check=True, capture_output=True, text=True).stdout
pathlib.Path("after.json").write_text(out)
pathlib.Path("there").write_text(str((pathlib.Path("../dist/app.psp")).exists()))
"#;

#[test]
fn hooks_run_before_and_after_in_the_project_and_know_what_is_built() {
    let lines = r#"
        [tool.flavor.build]
        pre_build = ["scripts/prepare.py 'a b' --x", "touch made/touched"]
        post_build = ["scripts/verify.py", "./bin/mark 'done'"]
        [[tool.flavor.slots]]
        id = "made"
        source = "made"
    "#;
    let mark = "#!/bin/sh\nprintf '%s %s' \"$1\" \"$PSPF_VERSION\" > marked\n";
    let files = [("scripts/prepare.py", PREPARE), ("scripts/verify.py", VERIFY), ("bin/mark", mark)];
    let Some(project) = project(lines, &files) else { return };
    project.pack(&[]).exits(0);
    let seen = project.report(&[]);
    let said: serde_json::Value = serde_json::from_str(seen["files"]["made/said.json"].as_str().unwrap()).unwrap();
    let directory = project.directory();
    for (name, expected) in [
        ("PSPF_HOOK", "pre_build"),
        ("PSPF_NAME", "my-app"),
        ("PSPF_VERSION", "1.0"),
        ("PSPF_PROJECT", directory.to_str().unwrap()),
        ("PSPF_MANIFEST", directory.join("pyproject.toml").to_str().unwrap()),
        ("PSPF_PLATFORM", "linux_amd64"),
    ] {
        assert_eq!(said[name], expected, "{name}");
    }
    assert_eq!(said["PSPF_PYTHON"], said["executable"]);
    assert_eq!(said["argv"], json!(["a b", "--x"]));
    assert_eq!(seen["files"]["made/touched"], "");
    // The package worked before it was where it was to be.
    let after: serde_json::Value = serde_json::from_slice(&fs::read(project.path("after.json")).unwrap()).unwrap();
    assert_eq!(after["argv"], json!(["from the hook"]));
    assert_eq!(fs::read_to_string(project.path("there")).unwrap(), "False");
    assert_eq!(fs::read_to_string(project.path("marked")).unwrap(), "done 1.0");
    assert_eq!(fs::read_dir(project.scratch.join("dist")).unwrap().count(), 1, "something was left beside the package");
}

#[test]
fn a_hook_that_fails_stops_the_build_and_shows_what_it_said() {
    let cases: [(&str, &[&str]); 5] = [
        (
            "pre_build = [\"scripts/fail.py\"]",
            &["a hook failed", "line 7, tool.flavor.build.pre_build[0]", "exit code 3", "    it went wrong"],
        ),
        (
            "pre_build = [\"true\",\n \"no-such-program-anywhere\"]",
            &["line 8, tool.flavor.build.pre_build[1]", "cannot be started", "build.dependencies"],
        ),
        ("pre_build = [\"scripts/nowhere.py\"]", &["the hook's file is not there", "scripts/nowhere.py"]),
        ("post_build = [\"scripts/fail.py\"]", &["tool.flavor.build.post_build[0]", "it went wrong"]),
        ("post_build = [\"bin/spoil\"]", &["a hook changed the finished package", "work on a copy"]),
    ];
    let fail = "import sys\nprint('it went wrong')\nsys.exit(3)\n";
    let spoil = "#!/bin/sh\necho >> \"$PSPF_OUTPUT\"\n";
    let Some(project) = project("", &[("scripts/fail.py", fail), ("bin/spoil", spoil)]) else { return };
    for (lines, words) in cases {
        fs::write(project.path("pyproject.toml"), manifest(&format!("[tool.flavor.build]\n{lines}\n"))).unwrap();
        is_refused(project.pack(&[]), 108, words);
        assert!(!project.scratch.join("dist").exists(), "{lines}: a package, or something beside it, was left");
    }
}

#[test]
fn hooks_have_what_the_manifest_says_they_need() {
    let lines = r#"
        [tool.flavor.build]
        dependencies = ["rich>=13"]
        pre_build = ["check.py", "markdown-it --version"]
    "#;
    let check = "import rich, os, sys, shutil\nassert sys.prefix == os.environ['VIRTUAL_ENV'] != sys.base_prefix\n";
    let Some(project) = project(lines, &[("check.py", check)]) else { return };
    project.pack(&[]).exits(0);
    // It is for the hooks, not for the app.
    let slots = project.inspect()["slots"].clone();
    assert_eq!((&slots[1]["id"], &slots[1]["files"]), (&json!("python-environment"), &json!(0)));
}

#[test]
fn a_manifest_may_ask_for_stripped_libraries() {
    let Some(project) = project("", &[]) else { return };
    let size_of_runtime = || {
        project.pack(&[]).exits(0);
        project.report(&[]);
        project.inspect()["slots"][0]["original_size"].as_u64().unwrap()
    };
    let whole = size_of_runtime();
    fs::write(project.path("pyproject.toml"), manifest("strip = true\n")).unwrap();
    let stripped = size_of_runtime();
    assert!(stripped < whole, "{stripped} bytes of {whole}");
}

#[test]
fn projects_beside_this_one_become_parts_of_the_app() {
    let part = |name: &str, more: &str| {
        format!(
            "[build-system]\nrequires = [\"hatchling\"]\nbuild-backend = \"hatchling.build\"\n\
             [project]\nname = \"{name}\"\nversion = \"1\"\n{more}"
        )
    };
    let lines = |path: &str| {
        let build = format!("[tool.flavor.build]\ndependencies = [\"{path}\"]\n");
        format!(
            "[project]\nname = \"my-app\"\nversion = \"1.0\"\n[tool.flavor]\nentry_point = \"my_app:main\"\n{build}"
        )
    };
    let files = [
        ("app/pyproject.toml", &*lines("../part")),
        ("app/my_app.py", "def main():\n    import deeper, part\n    print(part.name, deeper.name)\n"),
        ("part/pyproject.toml", &*part("part", "[tool.flavor.build]\ndependencies = [\"../deeper\"]\n")),
        ("part/part/__init__.py", "name = 'part'\n"),
        ("deeper/pyproject.toml", &*part("deeper", "[tool.flavor.build]\ndependencies = [\"../part\"]\n")),
        ("deeper/deeper/__init__.py", "name = 'deeper'\n"),
    ];
    let Some(project) = PythonProject::new(&files) else { return };
    let manifest = project.path("app/pyproject.toml");
    let pack = || {
        let _heavy = common::heavy();
        common::pack(&manifest, &project.package()).finish()
    };
    pack().exits(0);
    assert_eq!(project.start().finish().exits(0).stays_quiet().stdout(), "part deeper\n");
    fs::write(&manifest, lines("../prat")).unwrap();
    is_refused(
        pack(),
        109,
        &["no Python project in this directory", "tool.flavor.build.dependencies[0]", "/app/../prat"],
    );
}

#[test]
fn wheels_keep_to_the_manylinux_standard() {
    let app = "def main():\n    import helper\n    print(helper.version)\n";
    let text = |standard: &str| {
        format!(
            "[project]\nname = \"my-app\"\nversion = \"1.0\"\ndependencies = [\"helper\"]\n[tool.flavor]\n\
             entry_point = \"my_app:main\"\n{standard}\n[tool.uv]\nfind-links = [\"wheels\"]\nno-index = true\n"
        )
    };
    let Some(project) = PythonProject::new(&[("my_app.py", app)]) else { return };
    common::write_wheel(&project.path("wheels"), "helper", "1.0", "py3-none-manylinux_2_17_x86_64", &[]);
    common::write_wheel(&project.path("wheels"), "helper", "2.0", "py3-none-manylinux_2_31_x86_64", &[]);
    for (standard, version) in [("", "2.0\n"), ("2_28", "1.0\n"), ("2_31", "2.0\n")] {
        let lines = match standard {
            "" => String::new(),
            standard => format!("[tool.flavor.build]\nmanylinux = {standard:?}"),
        };
        fs::write(project.path("pyproject.toml"), text(&lines)).unwrap();
        project.pack(&[]).exits(0);
        assert_eq!(project.start().finish().exits(0).stays_quiet().stdout(), version, "{standard}");
    }
}
