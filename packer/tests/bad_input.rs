//! Input that cannot be packed or read: one short error that names file and field and the next step, the exit code of
//! docs/format.md section 4, and nothing half-written.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Finish as _, Finished, Mount, Scratch};

const MANIFEST: &str = r#"[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "app"
version = "1.0.0"
requires-python = ">=3.9"
dependencies = []

[tool.flavor]
entry_point = "app:main"
"#;

/// A project with something wrong, and the places where packing it may not leave anything.
struct Attempt {
    scratch: Scratch,
}

impl Attempt {
    /// The manifest above with one line replaced.
    fn with(line: &str, instead: &str) -> Self {
        assert!(MANIFEST.contains(line), "{line:?}");
        Self::new(&MANIFEST.replace(line, instead))
    }

    fn new(manifest: &str) -> Self {
        let scratch = Scratch::new();
        let files = [("project/pyproject.toml", manifest), ("project/app/__init__.py", "def main():\n    pass\n")];
        common::write_files(&scratch, &files);
        scratch.dir("out");
        scratch.dir("tmp");
        Self { scratch }
    }

    fn manifest(&self) -> PathBuf {
        self.scratch.join("project/pyproject.toml")
    }

    fn command(&self) -> Command {
        let mut pack = common::pack(&self.manifest(), &self.scratch.join("out"));
        pack.arg("--quiet").env("TMPDIR", self.scratch.join("tmp"));
        pack
    }

    /// Packing fails with this code and these words, and leaves nothing.
    #[track_caller]
    fn is_refused(&self, code: i32, words: &[&str]) {
        let _heavy = common::heavy();
        is_refused(self.command().finish(), code, words);
        self.left_nothing();
    }

    #[track_caller]
    fn left_nothing(&self) {
        for place in ["out", "tmp"] {
            let left: Vec<_> = common::snapshot(&self.scratch.join(place)).into_keys().collect();
            assert_eq!(left, [PathBuf::new()], "something was left in {place}");
        }
        let project: Vec<_> = common::snapshot(&self.scratch.join("project")).into_keys().collect();
        assert_eq!(project.len(), 4, "something was left in the project: {project:?}");
    }
}

/// One error: `error: ` and what happened, then indented where, what was expected, and what to try.
#[track_caller]
fn is_refused(finished: Finished, code: i32, words: &[&str]) {
    let finished = words.iter().fold(finished.exits(code).prints_nothing(), |finished, word| finished.says(word));
    let stderr = finished.stderr();
    let mut lines = stderr.lines();
    assert!(
        lines.next().is_some_and(|line| line.starts_with("error: ")),
        "\"error: \" was expected first in {finished}"
    );
    assert!(lines.all(|line| line.starts_with("  ")), "details were expected to be indented in {finished}");
    assert!(stderr.contains("\n  try: "), "a next step was expected in {finished}");
    assert!(stderr.lines().count() <= 40, "something short was expected of {finished}");
}

#[test]
fn a_manifest_that_is_not_there_is_named() {
    let attempt = Attempt::new(MANIFEST);
    fs::rename(attempt.manifest(), attempt.scratch.join("elsewhere.toml")).unwrap();
    is_refused(attempt.command().finish(), 109, &["project/pyproject.toml"]);
}

#[test]
fn a_directory_without_a_manifest_says_what_was_looked_for() {
    let scratch = Scratch::new();
    let pack = common::pack(&scratch.dir("empty"), &scratch.dir("out")).arg("--quiet").finish();
    is_refused(pack, 109, &["empty", "pyproject.toml"]);
}

#[test]
fn a_manifest_that_is_not_toml_is_named_with_the_line() {
    Attempt::with("[tool.flavor]", "[tool.flavor").is_refused(109, &["pyproject.toml", "line 11"]);
}

#[test]
fn a_manifest_that_is_not_text_is_named() {
    let attempt = Attempt::new(MANIFEST);
    fs::write(attempt.manifest(), b"\xff\xfe\x00").unwrap();
    attempt.is_refused(109, &["pyproject.toml"]);
}

#[test]
fn an_unknown_key_is_named_and_the_nearest_one_is_suggested() {
    let attempt = Attempt::with("[tool.flavor]", "[tool.flavor]\nentrypoint = \"app:main\"");
    attempt.is_refused(109, &["pyproject.toml", "line 12", "tool.flavor.entrypoint", "entry_point"]);
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_both_types() {
    let attempt = Attempt::with("entry_point = \"app:main\"", "entry_point = 7");
    attempt.is_refused(109, &["pyproject.toml", "tool.flavor.entry_point", "string", "integer"]);
}

#[test]
fn a_project_without_a_name_is_told_which_field_to_add() {
    Attempt::with("name = \"app\"\n", "").is_refused(109, &["pyproject.toml", "project.name"]);
}

#[test]
fn a_project_without_an_entry_point_is_told_which_field_to_add() {
    let attempt = Attempt::with("entry_point = \"app:main\"\n", "");
    attempt.is_refused(109, &["pyproject.toml", "tool.flavor.entry_point", "add entry_point = \"app:main\" under"]);
}

#[test]
fn an_entry_point_that_is_no_python_name_is_refused() {
    let attempt = Attempt::with("app:main", "my app");
    attempt.is_refused(109, &["pyproject.toml", "line 12", "tool.flavor.entry_point", "my app"]);
}

#[test]
fn an_entry_point_in_a_module_that_does_not_exist_is_refused() {
    let Some(()) = common::require_python() else { return };
    let attempt = Attempt::with("app:main", "application:main");
    attempt.is_refused(109, &["pyproject.toml", "tool.flavor.entry_point", "application"]);
}

#[test]
fn an_entry_point_that_its_module_does_not_define_is_refused() {
    let Some(()) = common::require_python() else { return };
    let attempt = Attempt::with("app:main", "app:mian");
    attempt.is_refused(109, &["pyproject.toml", "tool.flavor.entry_point", "mian"]);
}

#[test]
fn a_dependency_that_does_not_resolve_is_named() {
    let Some(()) = common::require_python() else { return };
    let attempt = Attempt::with("dependencies = []", "dependencies = [\"click>=99999\"]");
    attempt.is_refused(110, &["pyproject.toml", "project.dependencies", "click"]);
}

#[test]
fn an_interpreter_version_that_nobody_has_is_named() {
    let attempt = Attempt::with("[tool.flavor]", "[tool.flavor]\npython_version = \"3.99\"");
    // Without PSPF_TEST_PYTHON: an interpreter that is given wins over the search.
    let mut pack = common::packer();
    pack.arg("pack").arg("--manifest").arg(attempt.manifest()).arg("--output").arg(attempt.scratch.join("out"));
    pack.args(["--quiet", "--key-seed", "any"]).env("TMPDIR", attempt.scratch.join("tmp"));
    is_refused(pack.finish(), 110, &["pyproject.toml", "tool.flavor.python_version", "3.99"]);
    attempt.left_nothing();
}

#[test]
fn an_interpreter_that_is_not_there_or_is_none_is_named() {
    for python in ["/nowhere/python3", "/bin/true"] {
        let attempt = Attempt::new(MANIFEST);
        let mut pack = common::packer();
        pack.arg("pack").arg("--manifest").arg(attempt.manifest()).arg("--output").arg(attempt.scratch.join("out"));
        pack.args(["--quiet", "--key-seed", "any", "--python", python]).env("TMPDIR", attempt.scratch.join("tmp"));
        is_refused(pack.finish(), 110, &[python]);
        attempt.left_nothing();
    }
}

#[test]
fn a_project_that_its_backend_cannot_build_shows_what_the_backend_said() {
    let Some(()) = common::require_python() else { return };
    let attempt =
        Attempt::with("requires-python = \">=3.9\"", "requires-python = \">=3.9\"\nreadme = \"no-such-file.md\"");
    attempt.is_refused(108, &["pyproject.toml", "no-such-file.md"]);
}

#[test]
fn an_option_that_does_not_exist_is_an_argument_error() {
    let finished = common::packer().args(["pack", "--manifets", "x"]).finish().exits(105).prints_nothing();
    finished.says("--manifets").says("--manifest");
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let attempt = Attempt::new(MANIFEST);
    fs::write(attempt.scratch.join("file"), "in the way").unwrap();
    let mut pack = common::pack(&attempt.manifest(), &attempt.scratch.join("file/app.psp"));
    let _heavy = common::heavy();
    is_refused(pack.arg("--quiet").env("TMPDIR", attempt.scratch.join("tmp")).finish(), 106, &["file"]);
    attempt.left_nothing();
    assert_eq!(fs::read_to_string(attempt.scratch.join("file")).unwrap(), "in the way");
}

#[test]
fn an_output_on_a_read_only_file_system_is_named() {
    let Some(()) = common::require_python() else { return };
    let attempt = Attempt::new(MANIFEST);
    let _heavy = common::heavy();
    let out = attempt.scratch.join("out");
    let Some(finished) = common::on_a_tmpfs(Mount::ReadOnly, &out, &attempt.command()) else { return };
    is_refused(finished, 106, &[out.to_str().unwrap(), "Read-only file system"]);
    attempt.left_nothing();
}

#[test]
fn a_full_disk_at_the_output_leaves_no_half_package() {
    let Some(()) = common::require_python() else { return };
    let attempt = Attempt::new(MANIFEST);
    let _heavy = common::heavy();
    let out = attempt.scratch.join("out");
    let Some(finished) = common::on_a_tmpfs(Mount::Small(1024), &out, &attempt.command()) else { return };
    is_refused(finished, 106, &[out.to_str().unwrap(), "No space left on device"]);
    attempt.left_nothing();
}

#[test]
fn a_full_disk_at_the_temporary_files_says_how_to_move_them() {
    let Some(()) = common::require_python() else { return };
    let attempt = Attempt::new(MANIFEST);
    let _heavy = common::heavy();
    let tmp = attempt.scratch.join("tmp");
    let Some(finished) = common::on_a_tmpfs(Mount::Small(16), &tmp, &attempt.command()) else { return };
    is_refused(finished, 106, &["No space left on device", "TMPDIR"]);
    attempt.left_nothing();
}

#[test]
fn a_failed_pack_keeps_the_package_that_was_there() {
    let Some(()) = common::require_python() else { return };
    let attempt = Attempt::with("dependencies = []", "dependencies = [\"click>=99999\"]");
    let old = attempt.scratch.join("out/app-1.0.0.psp");
    fs::write(&old, "the last good one").unwrap();
    let _heavy = common::heavy();
    is_refused(attempt.command().finish(), 110, &[]);
    assert_eq!(fs::read_to_string(&old).unwrap(), "the last good one");
}

/// What every reading command is given. All of them have to end the same way.
fn every_reader(file: &Path, to: &Path) -> [Command; 6] {
    let command = |args: &[&str], to: Option<&Path>| {
        let mut command = common::packer();
        command.arg(args[0]).arg(file).args(&args[1..]).args(to).env("PSPF_CACHE_DIR", to_cache(file));
        command
    };
    [
        command(&["verify"], None),
        command(&["verify", "--json"], None),
        command(&["inspect"], None),
        command(&["extract", "0"], Some(to)),
        command(&["extract-all"], Some(to)),
        command(&["run"], None),
    ]
}

/// A cache beside the file.
fn to_cache(file: &Path) -> PathBuf {
    file.with_file_name("cache")
}

#[track_caller]
fn all_refuse(file: &Path, code: i32, words: &[&str]) {
    let to = file.with_file_name("extracted");
    for mut command in every_reader(file, &to) {
        let json = command.get_args().any(|arg| arg == "--json");
        let finished = command.finish();
        if json {
            // A report for programs may say it on standard output as well.
            finished.exits(code);
        } else {
            is_refused(finished, code, words);
        }
        assert!(!to.exists(), "something was extracted from {}", file.display());
        assert!(common::envs(&to_cache(file)).is_empty(), "something was prepared from {}", file.display());
    }
}

#[test]
fn files_that_are_no_packages_are_told_apart_from_broken_ones() {
    let scratch = Scratch::new();
    let text = "just some words\n".repeat(10_000);
    for (name, content) in [("empty.psp", ""), ("short.psp", "x"), ("text.psp", &*text)] {
        fs::write(scratch.join(name), content).unwrap();
        all_refuse(&scratch.join(name), 102, &[name]);
    }
    common::copy_package(Path::new("/bin/sh"), &scratch.join("program.psp"));
    all_refuse(&scratch.join("program.psp"), 102, &["program.psp"]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let scratch = Scratch::new();
    all_refuse(&scratch.join("nowhere.psp"), 106, &["nowhere.psp"]);
}

#[test]
fn a_directory_in_place_of_a_package_is_named() {
    let scratch = Scratch::new();
    all_refuse(&scratch.dir("folder.psp"), 106, &["folder.psp"]);
}

#[test]
fn truncated_packages_are_refused_by_every_command() {
    let Some(hello) = common::hello() else { return };
    let scratch = Scratch::new();
    let truncated = scratch.join("truncated.psp");
    let whole = fs::read(&hello).unwrap();
    for length in [4, 8_199, 8_200, 100_000, whole.len() / 2, whole.len() - 8_200, whole.len() - 1] {
        fs::write(&truncated, &whole[..length]).unwrap();
        all_refuse(&truncated, 102, &["truncated.psp"]);
    }
}

#[test]
fn a_slot_that_does_not_exist_is_named_with_those_that_do() {
    let Some(hello) = common::hello() else { return };
    let scratch = Scratch::new();
    for slot in ["4", "aplication-code"] {
        let mut extract = common::packer();
        extract.arg("extract").arg(&hello).arg(slot).arg(scratch.join("extracted"));
        is_refused(extract.finish(), 105, &[slot, "application-code"]);
        assert!(!scratch.join("extracted").exists());
    }
}
