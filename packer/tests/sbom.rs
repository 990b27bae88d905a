//! What packages say they are made of: the SBOM in their attestation slot.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use common::{App, Builder, Finish as _, Finished, Launcher, PythonProject, Reference, Scratch, User};
use pspf_core::Digest;
use serde_json::{Value, json};

fn inspect(package: &Path, option: &str) -> Finished {
    common::packer().arg("inspect").arg(package).arg(option).finish()
}

#[track_caller]
fn sbom(package: &Path) -> Value {
    inspect(package, "--sbom").exits(0).stays_quiet().json()
}

#[track_caller]
fn component<'a>(sbom: &'a Value, name: &str) -> &'a Value {
    let mut components = sbom["components"].as_array().expect("components").iter();
    components.find(|component| component["name"] == name).unwrap_or_else(|| panic!("no {name} in {sbom:#}"))
}

fn property<'a>(component: &'a Value, name: &str) -> Option<&'a str> {
    let mut properties = component["properties"].as_array()?.iter();
    properties.find(|property| property["name"] == name)?["value"].as_str()
}

#[track_caller]
fn sha256(component: &Value) -> String {
    assert_eq!(component["hashes"][0]["alg"], "SHA-256", "{component:#}");
    component["hashes"][0]["content"].as_str().expect("a digest").to_owned()
}

fn digest_of(file: &Path) -> String {
    Digest::of(&fs::read(file).unwrap()).to_string()
}

/// What `reference` is said to need.
fn needs(sbom: &Value, reference: &Value) -> Value {
    let mut all = sbom["dependencies"].as_array().expect("dependencies").iter();
    all.find(|one| one["ref"] == *reference).unwrap_or_else(|| panic!("no {reference} in {sbom:#}"))["dependsOn"]
        .clone()
}

/// A project that depends on my-helper, which needs my-depth; wheels of both are beside it.
fn project(more: &str) -> Option<PythonProject> {
    let manifest = format!(
        "[project]\nname = \"My_App\"\nversion = \"1.0\"\nrequires-python = \">=3.9\"\n\
         dependencies = [\"my-helper\"]\nlicense = \"MIT\"\n\
         [build-system]\nrequires = [\"setuptools>=77\"]\nbuild-backend = \"setuptools.build_meta\"\n\
         [tool.setuptools]\npy-modules = [\"my_app\"]\n\
         [tool.flavor]\nentry_point = \"my_app:main\"\n{more}\n"
    );
    let project =
        PythonProject::new(&[("pyproject.toml", &manifest), ("my_app.py", "def main():\n    import my_depth\n")])?;
    common::write_wheel(&project.path("wheels"), "my_helper", "1.5", "py3-none-any", &["my-depth"]);
    common::write_wheel(&project.path("wheels"), "my_depth", "1.0", "py3-none-any", &[]);
    Some(project)
}

const WHEELS: &str = "[tool.uv]\nfind-links = [\"wheels\"]\n";

#[track_caller]
fn says_where_helper_is_from(project: &PythonProject) {
    let sbom = sbom(&project.package());
    let helper = component(&sbom, "my-helper");
    assert_eq!((&helper["version"], &helper["purl"]), (&json!("1.5"), &json!("pkg:pypi/my-helper@1.5")));
    assert_eq!(sha256(helper), digest_of(&project.path("wheels/my_helper-1.5-py3-none-any.whl")));
    assert_eq!(property(helper, "pspf:wheel"), Some("my_helper-1.5-py3-none-any.whl"));
    assert_eq!(sha256(component(&sbom, "my-depth")), digest_of(&project.path("wheels/my_depth-1.0-py3-none-any.whl")));
    assert_eq!(needs(&sbom, &helper["bom-ref"]), json!(["pkg:pypi/my-depth@1.0"]));
}

#[test]
fn the_hash_of_a_dependency_is_that_of_the_wheel_that_was_installed() {
    let Some(project) = project(WHEELS) else { return };
    project.pack(&[]).exits(0);
    says_where_helper_is_from(&project);
    let sbom = sbom(&project.package());
    let application = &sbom["metadata"]["component"];
    assert_eq!((&application["name"], &application["version"]), (&json!("My_App"), &json!("1.0")));
    assert_eq!(application["purl"], "pkg:pypi/my-app@1.0");
    assert_eq!(application["licenses"], json!([{"expression": "MIT"}]));
    assert_eq!(sha256(application).len(), 64);
    let python = &component(&sbom, "CPython")["bom-ref"];
    assert_eq!(needs(&sbom, &application["bom-ref"]), json!([python, "pkg:pypi/my-helper@1.5"]));
    project.start().finish().exits(0);
}

#[test]
fn versions_of_a_lock_have_the_hashes_of_the_lock() {
    let Some(project) = project(WHEELS) else { return };
    let entry = |name: &str, version: &str| {
        let file = format!("{name}-{version}-py3-none-any.whl");
        let sha256 = digest_of(&project.path(&format!("wheels/{file}")));
        format!(
            "[[packages]]\nname = \"{}\"\nversion = \"{version}\"\n\
             wheels = [{{path = \"wheels/{file}\", hashes = {{sha256 = \"{sha256}\"}}}}]\n",
            name.replace('_', "-")
        )
    };
    let packages = entry("my_depth", "1.0") + &entry("my_helper", "1.5");
    let lock = format!("lock-version = \"1.0\"\ncreated-by = \"hand\"\n{packages}");
    fs::write(project.path("pylock.toml"), lock).unwrap();
    project.pack(&["--frozen"]).exits(0);
    says_where_helper_is_from(&project);
    fs::remove_file(project.path("pylock.toml")).unwrap();
    let Some(uv) = common::uv() else { return };
    Command::new(uv).args(["lock", "--quiet"]).current_dir(project.directory()).finish().exits(0);
    project.pack(&["--frozen"]).exits(0);
    says_where_helper_is_from(&project);
}

#[test]
fn what_was_built_while_packing_is_told_by_its_sources() {
    // There is no wheel of it on PyPI.
    let manifest = "[project]\nname = \"my-app\"\nversion = \"1.0\"\ndependencies = [\"docopt==0.6.2\", \"near\"]\n\
                    [tool.flavor]\nentry_point = \"my_app:main\"\n[tool.uv.sources]\nnear = {path = \"near\"}\n";
    let near = "[project]\nname = \"near\"\nversion = \"2\"\n";
    let files = [("pyproject.toml", manifest), ("my_app.py", ""), ("near/pyproject.toml", near), ("near/near.py", "")];
    let Some(project) = PythonProject::new(&files) else { return };
    fs::write(project.path("my_app.py"), "def main():\n    import docopt, near\n").unwrap();
    project.pack(&[]).exits(0);
    let sbom = sbom(&project.package());
    let docopt = component(&sbom, "docopt");
    assert_eq!(docopt["hashes"], Value::Null, "its wheel was published nowhere");
    assert_eq!(property(docopt, "pspf:built-from"), Some("docopt-0.6.2.tar.gz"));
    let published = "49b3a825280bd66b3aa83585ef59c4a8c82f2c8a522dbe754a8bc8d08c85c491";
    assert_eq!(property(docopt, "pspf:built-from:sha256"), Some(published));
    let near = component(&sbom, "near");
    assert_eq!((&near["purl"], &near["hashes"]), (&Value::Null, &Value::Null), "no index has it");
    let files = inspect_files(&project.package());
    let record = files.iter().find(|file| file["path"] == "near-2.dist-info/RECORD").unwrap();
    assert_eq!(property(near, "pspf:record:sha256"), record["sha256"].as_str());
}

/// The files of all slots.
#[track_caller]
fn inspect_files(package: &Path) -> Vec<Value> {
    let report = common::packer().args(["inspect", "--files", "--json"]).arg(package).finish().exits(0).json();
    let slots = report["slots"].as_array().unwrap().iter();
    slots.flat_map(|slot| slot["entries"].as_array().unwrap().clone()).collect()
}

#[test]
fn the_interpreter_is_listed_with_the_files_that_it_was_made_of() {
    let Some(hello) = common::hello() else { return };
    let sbom = sbom(&hello);
    let python = component(&sbom, "CPython");
    assert_eq!(python["licenses"], json!([{"expression": "PSF-2.0"}]));
    let version = python["version"].as_str().unwrap();
    assert_eq!(python["cpe"], format!("cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*"));
    assert_eq!(property(python, "pspf:slot"), Some("python-runtime"));
    let inspected = common::packer().args(["inspect", "--json"]).arg(&hello).finish().exits(0).json();
    let runtime = inspected["slots"].as_array().unwrap().iter().find(|slot| slot["id"] == "python-runtime").unwrap();
    assert_eq!(runtime["sha256"], sha256(python));
    let files = inspect_files(&hello);
    let listed = python["components"].as_array().unwrap();
    assert!(listed.iter().any(|file| file["name"].as_str().unwrap().starts_with("bin/python3")), "{python:#}");
    for file in listed {
        let packed = files.iter().find(|packed| packed["path"] == file["name"]).unwrap();
        assert_eq!(packed["sha256"], sha256(file));
    }
    let click = component(&sbom, "click");
    assert_eq!(click["licenses"], json!([{"expression": "BSD-3-Clause"}]));
    assert_eq!(sha256(component(&sbom, "pip")).len(), 64);
}

#[test]
fn stripped_files_have_the_digests_that_they_have_in_the_package() {
    let Some(project) = project(WHEELS) else { return };
    project.pack(&["--strip"]).exits(0);
    let sbom = sbom(&project.package());
    let files = inspect_files(&project.package());
    for file in component(&sbom, "CPython")["components"].as_array().unwrap() {
        let packed = files.iter().find(|packed| packed["path"] == file["name"]).unwrap();
        assert_eq!(packed["sha256"], sha256(file), "{file}");
    }
}

#[test]
fn the_same_project_has_the_same_sbom_wherever_and_by_whomever_it_is_packed() {
    let (Some(one), Some(two)) = (project(WHEELS), project(WHEELS)) else { return };
    fs::set_permissions(two.path("my_app.py"), fs::Permissions::from_mode(0o600)).unwrap();
    for project in [&one, &two] {
        let _heavy = common::heavy();
        project.packing().env("SOURCE_DATE_EPOCH", "1700000000").finish().exits(0);
    }
    assert_eq!(fs::read(one.package()).unwrap(), fs::read(two.package()).unwrap());
    let text = inspect(&one.package(), "--sbom").stdout();
    assert_eq!(sbom(&one.package())["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let home = std::env::home_dir().unwrap();
    for trace in [one.scratch.to_str().unwrap(), home.to_str().unwrap(), host.trim(), "/tmp"] {
        assert!(!text.contains(trace), "{trace}: {text}");
    }
}

#[test]
fn other_packages_list_their_slots_in_few_bytes() {
    let app = App::new(&[("say", "#!/bin/sh\n")], MANIFEST);
    let sbom = sbom(&app.package());
    assert_eq!(sbom["metadata"]["component"]["name"], "app");
    let report = inspect(&app.package(), "--json").exits(0).json();
    assert_eq!(report["sbom"], json!({"format": "CycloneDX", "version": "1.6", "components": 2}));
    let slots = report["slots"].as_array().unwrap();
    let [say, attestation] = &slots[..] else { panic!("{report:#}") };
    assert_eq!(sha256(component(&sbom, "say")), say["sha256"].as_str().unwrap());
    assert_eq!((&attestation["id"], &attestation["lifecycle"]), (&json!("_attestation"), &json!("attestation")));
    assert!(attestation["size"].as_u64().unwrap() < 1024, "{attestation}");
    inspect(&app.package(), "--quiet").exits(0).prints("SBOM      CycloneDX 1.6, 2 components");
}

const MANIFEST: &str = "[execution]\ncommand = \"/bin/sh {slot:0}\"\n[[slots]]\nid = \"say\"\nsource = \"say\"\n";

#[test]
fn an_attestation_that_the_manifest_brings_is_the_one_that_is_shown() {
    let own = r#"{"sbom": {"bomFormat": "CycloneDX", "specVersion": "1.5", "components": []}}"#;
    let slot = "[[slots]]\nid = \"own\"\nsource = \"own.json\"\nlifecycle = \"attestation\"\n";
    let app = App::new(&[("say", "#!/bin/sh\n"), ("own.json", own)], &format!("{MANIFEST}{slot}"));
    assert_eq!(sbom(&app.package())["specVersion"], "1.5");
    assert_eq!(inspect(&app.package(), "--json").json()["slots"].as_array().unwrap().len(), 2);
}

#[test]
fn a_start_makes_no_system_call_for_it_and_never_extracts_it() {
    let Some(()) = common::require_strace() else { return };
    let app = App::new(&[("say", "#!/bin/sh\n"), ("other", "0123456789")], &format!("{MANIFEST}{OTHER}"));
    let report = inspect(&app.package(), "--json").json();
    let number = |value: &Value| value.as_u64().unwrap();
    let (slots, index) = (number(&report["slots"][0]["offset"]), number(&report["size"]) - 8200);
    app.start().finish().exits(0);
    let cache = common::walk(&app.cache());
    assert!(cache.iter().all(|(path, _)| !path.to_string_lossy().contains("attestation")), "{cache:?}");
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-e", "trace=pread64,execve", "-o"]).arg(app.scratch.join("log")).arg(app.package());
    strace.env_clear().env("PSPF_CACHE_DIR", app.cache()).finish().exits(0);
    let log = fs::read_to_string(app.scratch.join("log")).unwrap();
    // The package is the first file that it opens; behind the second execve, everything is the app's business.
    let calls = log.lines().skip(1).take_while(|line| line.starts_with("pread64"));
    let offsets: Vec<u64> = calls
        .filter(|line| line.starts_with("pread64(3,"))
        .filter_map(|line| line.rsplit_once(')')?.0.rsplit(", ").next()?.parse().ok())
        .collect();
    assert!(offsets.contains(&index), "{log}");
    assert!(offsets.iter().all(|offset| *offset < slots || *offset == index), "slots and gaps are not read: {log}");
}

const OTHER: &str = "[[slots]]\nid = \"two\"\nsource = \"other\"\n[[slots]]\nid = \"three\"\nsource = \"other\"\n";

#[test]
fn packages_satisfy_a_policy_that_demands_an_sbom() {
    let app = App::new(&[("say", "echo said\n")], MANIFEST);
    let user = User::new();
    user.demands(r#"{"version": 1, "attestation": {"require_sbom": true}}"#);
    user.packer(&["run"]).arg(app.package()).finish().exits(0).prints("said");
    user.packer(&["policy", "check"]).arg(app.package()).finish().exits(0);
}

#[test]
fn the_sbom_of_another_builder_is_shown_and_its_absence_told() {
    let Some(reference) = Reference::find() else { return };
    let scratch = Scratch::new();
    fs::write(scratch.join("say"), "#!/bin/sh\n").unwrap();
    let manifest = json!({
        "format": "PSPF/2025", "package": {"name": "odd", "version": "1"}, "execution": {"command": "/bin/true"},
        "slots": [{"slot": 0, "id": "say", "source": "say", "target": "say", "operations": "raw", "purpose": "data",
                   "lifecycle": "runtime"}],
    });
    let launcher = reference.launcher(Launcher::Rust);
    let python = reference.build(Builder::Python, &manifest, &scratch, &launcher);
    assert_eq!(sbom(&python)["metadata"]["tools"][0]["name"], "flavorpack");
    let rust = reference.build(Builder::Rust, &manifest, &scratch, &launcher);
    inspect(&rust, "--sbom").exits(105).prints_nothing().says("this package has no SBOM").says("\n  try: ");
    assert_eq!(inspect(&rust, "--json").exits(0).json()["sbom"], Value::Null);
    // A byte of it, and nobody believes it any more.
    let numbers: Value = inspect(&python, "--json").json();
    let attestation = numbers["slots"].as_array().unwrap().last().unwrap();
    let mut bytes = fs::read(&python).unwrap();
    bytes[attestation["offset"].as_u64().unwrap() as usize + 20] ^= 1;
    fs::write(&python, bytes).unwrap();
    inspect(&python, "--sbom").exits(107).prints_nothing();
    inspect(&python, "--json").exits(0);
}

#[test]
fn sboms_are_valid_cyclonedx() {
    let (Some(hello), Some(uv)) = (common::hello(), common::uv()) else { return };
    let app = App::new(&[("say", "#!/bin/sh\n")], MANIFEST);
    let mut validate = Command::new(uv);
    validate.args(["run", "--quiet", "--no-project", "--isolated", "--with", VALIDATOR, "python", "-c", VALIDATE]);
    for (number, package) in [hello, app.package()].iter().enumerate() {
        let file = app.scratch.join(format!("{number}.json"));
        fs::write(&file, sbom(package).to_string()).unwrap();
        validate.arg(file);
    }
    validate.finish().exits(0).prints("2 valid");
}

const VALIDATOR: &str = "cyclonedx-python-lib[json-validation]==11.*";
/// Against the schema of CycloneDX 1.6, and without a reference that leads nowhere.
const VALIDATE: &str = r#"
import json, sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
for path in sys.argv[1:]:
    text = open(path).read()
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert error is None, f"{path}: {error}"
    sbom = json.loads(text)
    parts = [sbom["metadata"]["component"], *sbom["components"]]
    references = [part["bom-ref"] for part in parts if "bom-ref" in part]
    assert len(references) == len(set(references)), references
    for one in sbom.get("dependencies", []):
        assert {one["ref"], *one["dependsOn"]} <= set(references), one
print(len(sys.argv) - 1, "valid")
"#;
