use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::error::Kind;
use crate::manifest::{Input, open};
use crate::progress::Silent;

/// A project in a directory that vanishes.
struct Project(tempfile::TempDir);

impl Project {
    fn new(files: &[&str]) -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        for file in files {
            project.write(file, file.as_bytes());
        }
        project
    }

    fn write(&self, file: &str, content: &[u8]) {
        let path = self.0.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let mode = if file.contains("bin/") { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn plan(&self, lines: &str) -> Result<Plan> {
        self.plan_of("app.toml", &format!("[package]\nname = \"app\"\nversion = \"1\"\n{lines}"))
    }

    fn plan_of(&self, name: &str, text: &str) -> Result<Plan> {
        self.write(name, text.as_bytes());
        let Input::Generic(manifest) = open(&self.0.path().join(name))? else { panic!("Python") };
        plan(&manifest, Platform::from_name("linux_amd64").unwrap(), &Silent)
    }

    #[track_caller]
    fn refusal(&self, lines: &str) -> String {
        let error = self.plan(lines).expect_err("a refusal");
        assert_eq!(error.kind(), Kind::Configuration, "{error}");
        let text = error.to_string();
        assert!(text.contains("\n  try:") && text.contains(", line "), "{text}");
        text
    }
}

const SHELL: &str = "[execution]\ncommand = \"/bin/sh\"\n";

fn slot(lines: &str) -> String {
    format!("{SHELL}[[slots]]\nid = \"a\"\n{lines}\n")
}

fn chosen(plan: &Plan) -> (String, &str, String) {
    let slot = &plan.slots[0];
    let source = match &slot.source {
        Source::Tree { .. } => "tree",
        Source::File { .. } => "file",
        Source::Encoded { .. } => "encoded",
    };
    (slot.operations.name(), source, slot.target.clone())
}

#[test]
fn a_source_decides_how_it_is_stored_unless_that_is_said() {
    let project = Project::new(&["dir/file", "small"]);
    let noise: Vec<u8> = (0_u64..6000).flat_map(|i| pspf_core::Digest::of(&i.to_le_bytes()).0).collect();
    project.write("noise", &noise);
    project.write("text", "line\n".repeat(5000).as_bytes());
    project.write("noise and text", &[&noise[..], &noise, "line\n".repeat(50_000).as_bytes()].concat());
    project.write("x.gz", b"\x1f\x8b\x08 and so on");
    for (lines, expected) in [
        ("source = \"dir\"", ("tar.gz", "tree", "a")),
        ("source = \"dir\"\noperations = \"tar\"", ("tar", "tree", "a")),
        ("source = \"dir\"\ntarget = \".\"", ("tar.gz", "tree", "{workenv}")),
        ("source = \"dir\"\ntarget = \"x/\"", ("tar.gz", "tree", "x")),
        ("source = \"./small\"", ("raw", "file", "a")),
        ("source = \"small\"\noperations = \"gzip\"", ("gzip", "file", "a")),
        ("source = \"small\"\noperations = \"bzip2\"\nlevel = 1", ("bz2", "file", "a")),
        ("source = \"dir\"\noperations = \"txz\"", ("tar.xz", "tree", "a")),
        ("source = \"dir\"\noperations = \"gzip\"", ("tar.gz", "tree", "a")),
        ("source = \"dir\"\ncompression = \"zstd\"", ("tar.zst", "tree", "a")),
        ("source = \"dir\"\ncompression = \"raw\"", ("tar", "tree", "a")),
        ("source = \"text\"\ncompression = \"xz\"\nlevel = 2", ("xz", "file", "a")),
        ("source = \"di*/f*\"", ("tar.gz", "tree", "a")),
        ("source = \"dir/*\"\ncompression = \"tbz2\"", ("tar.bz2", "tree", "a")),
        ("source = \"noise\"", ("raw", "file", "a")),
        ("source = \"text\"", ("gzip", "file", "a")),
        ("source = \"noise and text\"", ("gzip", "file", "a")),
        ("source = \"text\"\noperations = \"none\"", ("raw", "file", "a")),
        ("source = \"text\"\ntarget = \"share/\"", ("gzip", "file", "share/text")),
        ("source = \"text\"\ntarget = \"{workenv}\"", ("gzip", "file", "text")),
        ("source = \"x.gz\"", ("raw", "file", "a")),
        ("source = \"x.gz\"\noperations = \"gzip\"", ("gzip", "encoded", "a")),
        ("source = \"x.gz\"\noperations = \"gzip\"\nencoded = false", ("gzip", "file", "a")),
        ("source = \"x.gz\"\noperations = \"gzip\"\ntarget = \"lib/\"", ("gzip", "encoded", "lib/x")),
        ("source = \"x.gz\"\noperations = \"tgz\"", ("tar.gz", "encoded", "a")),
        ("source = \"text\"\noperations = \"gzip\"\nencoded = true", ("gzip", "encoded", "a")),
        ("source = \"text\"\noperations = \"xz\"\nencoded = true", ("xz", "encoded", "a")),
        ("source = \"text\"\noperations = \"xz\"", ("xz", "file", "a")),
        ("source = \"noise\"\nlevel = 9", ("raw", "file", "a")),
    ] {
        let plan = project.plan(&slot(lines)).unwrap_or_else(|error| panic!("{lines}: {error}"));
        let (operations, source, target) = chosen(&plan);
        assert_eq!((operations.as_str(), source, target.as_str()), expected, "{lines}");
    }
}

#[test]
fn archives_in_json_go_where_flavorpacks_launchers_unpack_them() {
    let project = Project::new(&["a.tgz", "file"]);
    let plan = |extra: &str| {
        let text = format!(
            r#"{{"package": {{"name": "a", "version": "1"}}, "execution": {{"command": "/bin/sh"}},
                "slots": [{{"id": "a", "source": "a.tgz", "target": "wheels", "operations": "tgz"{extra}}},
                          {{"id": "b", "source": "file", "target": "x", "operations": "raw"}}]}}"#
        );
        project.plan_of("app.json", &text).unwrap()
    };
    let targets = |plan: Plan| -> Vec<String> { plan.slots.into_iter().map(|slot| slot.target).collect() };
    assert_eq!(targets(plan("")), ["{workenv}", "x"]);
    assert_eq!(targets(plan(", \"encoded\": true")), ["wheels", "x"]);
}

#[test]
fn permissions_come_from_the_file_unless_they_are_said() {
    let project = Project::new(&["bin/run", "data"]);
    for (lines, mode) in [
        ("source = \"bin/run\"", 0o755),
        ("source = \"data\"", 0o644),
        ("source = \"bin\"", 0o755),
        ("source = \"data\"\npermissions = \"0600\"", 0o600),
    ] {
        assert_eq!(project.plan(&slot(lines)).unwrap().slots[0].permissions, mode, "{lines}");
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let project = Project::new(&["dir/file", "file"]);
    for (lines, words) in [
        ("source = \"dirr\"", "did you mean \"dir\"?"),
        ("source = \"nowhere/at/all\"", "slots[0].source"),
        ("source = \"dir/*.csv\"", "matches nothing"),
        ("source = \"dir/{a\"", "not a pattern for files"),
        ("source = \"dir\"\ncompression = \"xz\"\noperations = \"tar.xz\"", "the same thing twice"),
        ("source = \"dir\"\nencoded = true", "never encoded already"),
        ("source = \"dir\"\noperations = \"tar.gz.gz\"", "does not write"),
        ("source = \"dir\"\nlevel = 0", "tar.gz has no such level"),
        ("source = \"file\"\nlevel = 10", "1 to 9"),
        ("source = \"file\"\noperations = \"raw\"\nlevel = 1", "is not compressed has no level"),
        ("source = \"file\"\noperations = \"tar\"\nencoded = false", "does not become an archive"),
        ("source = \"file\"\nencoded = true", "how the source is encoded"),
        ("source = \"file\"\nexclude = [\"x\"]", "left out of a file"),
        ("source = \"file\"\n[[slots]]\nid = \"b\"\nsource = \"file\"\ntarget = \"a\"", "cannot be there as well"),
        ("source = \"file\"\n[[slots]]\nid = \"b\"\nsource = \"dir\"\ntarget = \"a/b\"", "cannot be there as well"),
        (
            "source = \"file\"\n[[setup_commands]]\ntype = \"write_file\"\npath = \"a/b\"\ncontent = \"\"",
            "slot a is the file a, and a/b",
        ),
    ] {
        let refusal = project.refusal(&slot(lines));
        assert!(refusal.contains(words), "{lines}: {refusal}");
    }
    let pipe = project.0.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(project.refusal(&slot("source = \"pipe\"")).contains("neither a file nor a directory"));
}

#[test]
fn a_program_that_cannot_be_there_is_refused() {
    let project = Project::new(&["dir/bin/run", "dir/readme", "bin/tool"]);
    let plan = |command: &str, more: &str| {
        let slots = "[[slots]]\nid = \"dir\"\nsource = \"dir\"\n[[slots]]\nid = \"tool\"\nsource = \"bin/tool\"\ntarget = \"bin/\"\n";
        project.plan(&format!("[execution]\ncommand = \"{command}\"\n{slots}{more}"))
    };
    let write = "[[setup_commands]]\ntype = \"write_file\"\npath = \"made\"\ncontent = \"\"\nmode = \"0755\"\n";
    let chmod = "[[setup_commands]]\ntype = \"chmod\"\npath = \"dir/readme\"\nmode = \"0755\"\n";
    let execute = "[[setup_commands]]\ntype = \"execute\"\ncommand = \"{workenv}/bin/tool\"\n";
    for (command, more) in [
        ("{workenv}/dir/bin/run", ""),
        ("dir/bin/run", ""),
        ("tool", ""),
        ("/nowhere/on/this/machine", ""),
        ("{slot:0}/bin/run", ""),
        ("{slot:1}", ""),
        (
            "{workenv}/dir/bin/{version}",
            "[[setup_commands]]\ntype = \"write_file\"\npath = \"dir/bin/1\"\ncontent = \"\"\n",
        ),
        ("{workenv}/made", write),
        ("{workenv}/dir/readme", chmod),
        ("{workenv}/what/the/setup/makes", execute),
    ] {
        plan(command, more).unwrap_or_else(|error| panic!("{command}: {error}"));
    }
    for (command, words) in [
        ("{workenv}/dir/bin/runn", "in no slot"),
        ("{workenv}/dir/bin", "in no slot"),
        ("{slot:0}/bin/runn", "in no slot"),
        ("{workenv}/dir/bin/{package_name}", "{workenv}/dir/bin/app"),
        ("python3 -m app", "not searched for on PATH: write {workenv}/.../python3"),
        ("{workenv}/dir/readme", "not executable"),
    ] {
        let refusal = plan(command, "").expect_err(command).to_string();
        assert!(refusal.contains(words) && refusal.contains("line 5, execution.command"), "{command}: {refusal}");
    }
    let refusal = plan("tool", &execute.replace("bin/tool", "bin/other")).unwrap_err().to_string();
    assert!(refusal.contains("setup_commands[0].command"), "{refusal}");
}

#[test]
fn slots_for_other_platforms_stay_out_and_the_others_keep_their_meaning() {
    let project = Project::new(&["one", "two"]);
    let slots = "[[slots]]\nid = \"one\"\nsource = \"one\"\nplatform = \"linux_arm64\"\n\
                 [[slots]]\nid = \"two\"\nsource = \"two\"\nplatform = \"linux\"\n";
    let plan = project.plan(&format!("[execution]\ncommand = \"/bin/cat {{slot:1}}\"\n{slots}")).unwrap();
    assert_eq!(plan.slots.len(), 1);
    assert_eq!((plan.slots[0].id.as_str(), plan.slots[0].platform), ("two", 1));
    assert!(plan.document.to_text().contains("/bin/cat {slot:0}"));
    let refusal = project.refusal(&format!("[execution]\ncommand = \"/bin/cat {{slot:0}}\"\n{slots}"));
    assert!(refusal.contains("{slot:0} is used") && refusal.contains("slots[0].platform"), "{refusal}");
}

#[test]
fn a_plan_places_slots_as_the_launcher_will() {
    let project = Project::new(&["dir/file", "file"]);
    let lines = "[[slots]]\nid = \"dir\"\nsource = \"dir\"\n[[slots]]\nid = \"root\"\nsource = \"dir\"\ntarget = \".\"\n\
                 [[slots]]\nid = \"conf\"\nsource = \"file\"\nlifecycle = \"config\"\n";
    let placements = project.plan(&format!("{SHELL}{lines}")).unwrap().placements().unwrap();
    let text: Vec<String> = placements.iter().map(|placement| format!("{placement:?}")).collect();
    assert_eq!(text, ["Shared(\"dir\")", "Private(\"\")", "Private(\"conf\")"]);
}

#[test]
fn a_manifest_is_found_in_its_directory_and_told_from_a_python_project() {
    let project = Project::new(&[]);
    project.write("app.json", br#"{"package": {"name": "a", "version": "1"}, "execution": {"command": "/bin/sh"}}"#);
    assert!(matches!(open(project.0.path()), Ok(Input::Generic(manifest)) if manifest.is_json()));
    project.write("app.toml", b"[package]\nname = \"b\"\nversion = \"1\"\n[execution]\ncommand = \"/bin/sh\"\n");
    assert!(matches!(open(project.0.path()), Ok(Input::Generic(manifest)) if manifest.name == "b"));
    let python = b"[project]\nname = \"c\"\nversion = \"1\"\n[tool.flavor]\nentry_point = \"c\"\n";
    project.write("other.toml", python);
    assert!(matches!(open(&project.0.path().join("other.toml")), Ok(Input::Python(_))));
    project.write("pyproject.toml", python);
    assert!(matches!(open(project.0.path()), Ok(Input::Python(_))));
}
