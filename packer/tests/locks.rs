//! Extras, and versions that a lock beside the manifest pins.

mod common;

use std::fs;
use std::process::Command;

use common::{Finish as _, Finished, PythonProject};
use serde_json::json;

/// Prints the versions of what is installed.
const APP: &str = r#"
import importlib, json

def main():
    found = {}
    for name in ["helper", "spare", "deep"]:
        try:
            found[name] = importlib.import_module(name).version
        except ImportError:
            pass
    print(json.dumps(found))
"#;

/// A project that depends on helper, and on spare, which needs deep, for its extra. An index of wheels is beside it.
fn project(helper: &str, backend: &str) -> Option<PythonProject> {
    let project = PythonProject::new(&[("pyproject.toml", &manifest(helper, backend)), ("my_app.py", APP)])?;
    for (name, version, requires) in
        [("helper", "1.0", &[][..]), ("helper", "1.5", &[]), ("spare", "3.0", &["deep"]), ("deep", "1.0", &[])]
    {
        common::write_wheel(&project.path("wheels"), name, version, "py3-none-any", requires);
    }
    Some(project)
}

fn manifest(helper: &str, more: &str) -> String {
    format!(
        "[project]\nname = \"my-app\"\nversion = \"1.0\"\nrequires-python = \">=3.9\"\n\
         dependencies = [\"{helper}\"]\n[project.optional-dependencies]\nmore = [\"spare\"]\nall = [\"my-app[more]\"]\n\
         [tool.flavor]\nentry_point = \"my_app:main\"\n\
         [tool.uv]\nfind-links = [\"wheels\"]\nno-index = true\n{more}\n"
    )
}

#[track_caller]
fn is_refused(finished: Finished, code: i32, words: &[&str]) {
    let finished = finished.exits(code).prints_nothing().says("error: ").says("\n  try: ");
    words.iter().fold(finished, |finished, word| finished.says(word));
}

#[test]
fn extras_are_installed_when_they_are_asked_for() {
    let Some(project) = project("helper", "") else { return };
    project.pack(&[]).exits(0);
    assert_eq!(project.report(&[]), json!({"helper": "1.5"}));
    project.pack(&["--extra", "all"]).exits(0);
    assert_eq!(project.report(&[]), json!({"helper": "1.5", "spare": "3.0", "deep": "1.0"}));
    is_refused(project.pack(&["--extra", "moar"]), 105, &["one of all, more", "did you mean \"more\"?"]);
}

#[test]
fn versions_come_from_the_lock_of_uv_as_long_as_it_fits() {
    let (Some(uv), Some(project)) = (common::uv(), project("helper<1.5", "")) else { return };
    let lock = |words: &[&str]| {
        let mut lock = Command::new(&uv);
        lock.args(words).args(["--no-python-downloads", "--quiet"]).current_dir(project.directory()).finish().exits(0);
    };
    is_refused(project.pack(&["--frozen"]), 109, &["there is no lock to keep to", "uv lock"]);
    lock(&["lock"]);
    project.pack(&["--frozen", "--extra", "more"]).exits(0);
    assert_eq!(project.report(&[]), json!({"helper": "1.0", "spare": "3.0", "deep": "1.0"}));

    // A version that came out since does not change what is packed.
    common::write_wheel(&project.path("wheels"), "helper", "1.4", "py3-none-any", &[]);
    project.pack(&[]).exits(0);
    assert_eq!(project.report(&[]), json!({"helper": "1.0"}));

    fs::write(project.path("pyproject.toml"), manifest("helper>=1.4", "")).unwrap();
    is_refused(project.pack(&["--frozen"]), 110, &["uv.lock does not fit the manifest any more", "uv lock"]);
    project.pack(&[]).exits(0).says("note: uv.lock does not fit the manifest any more");
    assert_eq!(project.report(&[]), json!({"helper": "1.5"}));
}

#[test]
fn versions_come_from_a_standard_lock_as_long_as_it_fits() {
    let (Some(uv), Some(project)) = (common::uv(), project("helper<1.5", "")) else { return };
    let mut compile = Command::new(&uv);
    compile.args([
        "pip",
        "compile",
        "pyproject.toml",
        "--output-file",
        "pylock.toml",
        "--quiet",
        "--no-python-downloads",
    ]);
    compile.current_dir(project.directory()).finish().exits(0);
    common::write_wheel(&project.path("wheels"), "helper", "1.4", "py3-none-any", &[]);
    project.pack(&["--frozen"]).exits(0);
    assert_eq!(project.report(&[]), json!({"helper": "1.0"}));
    is_refused(
        project.pack(&["--frozen", "--extra", "more"]),
        110,
        &["pylock.toml does not fit the manifest any more", "it has no spare"],
    );

    fs::write(project.path("pyproject.toml"), manifest("helper>=1.4", "")).unwrap();
    let words = ["it has helper 1.0, the manifest asks for helper>=1.4"];
    is_refused(project.pack(&["--frozen"]), 110, &words);
    project.pack(&[]).exits(0).says(words[0]);
    assert_eq!(project.report(&[]), json!({"helper": "1.5"}));
}
