use super::*;
use crate::manifest::EntryPoint;
use crate::python::interpreter::{Foreign, Origin};

fn interpreter() -> Interpreter {
    Interpreter {
        executable: "/opt/python/bin/python3.11".into(),
        prefix: "/opt/python".into(),
        version: "3.11.7".into(),
        minor: "3.11".into(),
        name: "python3.11".into(),
        platform: "linux-x86_64".into(),
        certificates: Some(("/usr/lib/ssl/cert.pem".into(), "/usr/lib/ssl/certs".into())),
        origin: Origin::Given,
        foreign: None,
        numbers: [3, 11, 7],
        tcl: None,
    }
}

fn for_windows() -> Interpreter {
    let platform = crate::platform::Platform::from_name("windows_amd64").unwrap();
    let foreign = Some(Foreign { platform, program: "/opt/python/python.exe".into(), compiles: true });
    Interpreter { foreign, ..interpreter() }
}

fn script(name: &str, entry_point: &str) -> Script {
    let entry_point = EntryPoint::parse(entry_point).unwrap();
    Script { name: name.into(), entry_point, field: String::new(), line: 1 }
}

#[test]
fn a_workenv_is_a_virtual_environment_with_only_the_scripts_in_bin() {
    let main = script("app", "app:main");
    let workenv = lay_out(&interpreter(), &main, &[main.clone(), script("admin", "app.admin:main")], &[]);
    assert_eq!(workenv.command, ["{workenv}/python/python3.11", "{workenv}/bin/app"]);
    assert_eq!(workenv.links["{workenv}/python/python3.11"], "{workenv}/python-runtime/bin/python3.11");
    let files: Vec<_> = workenv.files.iter().map(|file| (file.path.as_str(), file.mode)).collect();
    assert_eq!(
        files,
        [
            ("{workenv}/bin/admin", 0o755),
            ("{workenv}/bin/app", 0o755),
            ("{workenv}/lib/python3.11/site-packages/_pspf_certificates.py", 0o644),
            ("{workenv}/lib/python3.11/site-packages/pspf.pth", 0o644),
            ("{workenv}/pyvenv.cfg", 0o644),
        ]
    );
    assert_eq!(
        workenv.directories,
        [
            "{workenv}/bin",
            "{workenv}/lib",
            "{workenv}/lib/python3.11",
            "{workenv}/lib/python3.11/site-packages",
            "{workenv}/python"
        ]
    );
}

#[test]
fn a_command_beside_a_different_script_of_its_name_leaves_that_alone() {
    let workenv = lay_out(&interpreter(), &script("app", "app:create"), &[script("app", "app:cli")], &[]);
    assert_eq!(workenv.command[1], "{workenv}/command/app");
    assert!(workenv.files.iter().any(|file| file.path == "{workenv}/bin/app" && file.content.contains("cli()")));
}

#[test]
fn data_of_the_application_hides_the_same_of_a_dependency() {
    let data = [(APPLICATION, vec!["share/x".into()]), (ENVIRONMENT, vec!["share/x".into(), "share/d/y".into()])];
    let workenv = lay_out(&interpreter(), &script("app", "app:main"), &[], &data);
    assert_eq!(workenv.links["{workenv}/share/x"], "{workenv}/application-code/share/x");
    assert_eq!(workenv.links["{workenv}/share/d/y"], "{workenv}/python-environment/share/d/y");
    assert!(workenv.directories.contains(&"{workenv}/share/d".to_owned()));
}

#[test]
fn on_windows_there_are_no_links_and_the_interpreter_is_told_which_script_to_run() {
    let main = script("app", "app:main");
    let data = [(APPLICATION, vec![PathBuf::from("share/x")])];
    let workenv = lay_out(&for_windows(), &main, &[main.clone(), script("admin", "app.admin:main")], &data);
    assert_eq!(workenv.command, ["{workenv}/python-runtime/python.exe", "{workenv}/bin/app.py"]);
    assert!(workenv.links.is_empty(), "{:?}", workenv.links);
    let files: Vec<_> = workenv.files.iter().map(|file| file.path.as_str()).collect();
    let pth = "{workenv}/python-runtime/Lib/site-packages/pspf.pth";
    assert_eq!(files, ["{workenv}/bin/admin.py", "{workenv}/bin/app.py", pth]);
    assert!(workenv.files[0].content.contains("from app.admin import main"), "{}", workenv.files[0].content);
    for slot in [APPLICATION, ENVIRONMENT] {
        assert!(workenv.files[2].content.contains(slot), "{}", workenv.files[2].content);
    }
}
