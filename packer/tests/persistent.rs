//! Slots that belong to the user: extracted once into the app's data directory, and never touched again.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::{App, Finish as _, Finished, PythonProject, forge::Forged, packer};
use pspf_core::sign::SecretKey;

/// An app that does what its arguments say, in its workenv, and fails where that fails.
const RUN: &str = "#!/bin/sh\ncd \"$FLAVOR_WORKENV\" || exit 1\neval \"$*\"\n";

/// An app of that kind with settings of this content, and these further lines in its manifest.
fn with_settings(settings: &str, more: &str) -> App {
    let files = [("app/bin/run", RUN), ("settings/app.conf", settings), ("settings/deep/more.conf", "more")];
    let manifest = "[execution]\ncommand = \"{workenv}/app/bin/run\"\n[[slots]]\nid = \"app\"\nsource = \"app\"\n\
                    [[slots]]\nid = \"settings\"\nsource = \"settings\"\nlifecycle = \"persistent\"\n";
    App::new(&files, &format!("{manifest}{more}"))
}

/// What the app prints of this script when its user's home is this.
#[track_caller]
fn told(app: &App, home: &Path, script: &str) -> String {
    app.start().env("HOME", home).arg(script).finish().exits(0).stays_quiet().stdout()
}

fn data(home: &Path) -> PathBuf {
    home.join(".local/share/pspf/app")
}

#[test]
fn settings_are_extracted_into_the_data_directory_and_the_workenv_leads_there() {
    let app = with_settings("port=80\n", "");
    let home = app.scratch.dir("home");
    assert_eq!(told(&app, &home, "cat settings/app.conf settings/deep/more.conf"), "port=80\nmore");
    assert_eq!(fs::read_link(common::env_of(&app.cache()).join("settings")).unwrap(), data(&home).join("settings"));
    assert_eq!(fs::read_to_string(data(&home).join("settings/app.conf")).unwrap(), "port=80\n");
    let beside: Vec<_> =
        fs::read_dir(home.join(".local/share/pspf")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside, ["app"], "nothing else is left there");
}

#[test]
fn what_the_user_and_the_app_change_survives_starts_upgrades_and_cleaning_up() {
    let (app, next) = (with_settings("port=80\n", ""), with_settings("port=8080\nnew=1\n", ""));
    let home = app.scratch.dir("home");
    told(&app, &home, "echo port=81 > settings/app.conf; touch settings/own; rm -r settings/deep");
    let expected = "app.conf\nown\nport=81\n";
    let look = "ls settings; cat settings/app.conf";
    assert_eq!(told(&app, &home, look), expected);
    assert_eq!(told(&next, &home, look), expected, "another version, another cache");
    let mut gc = packer();
    gc.args(["workenv", "gc", "--older-than", "0"]).env("PSPF_CACHE_DIR", app.cache()).env("HOME", &home);
    gc.finish().exits(0).prints("removed 1 workenv");
    assert_eq!(told(&app, &home, look), expected);
    fs::remove_dir_all(data(&home).join("settings")).unwrap();
    assert_eq!(told(&next, &home, "cat settings/app.conf"), "port=8080\nnew=1\n", "gone altogether, they come back");
}

#[test]
fn the_data_directory_is_where_the_user_has_it() {
    let app = with_settings("port=80\n", "");
    let there = |variables: &[(&str, &Path)], expected: &Path| {
        let mut start = app.start();
        let start = start.envs(variables.iter().copied()).arg("readlink settings; cat settings/app.conf");
        let output = start.finish().exits(0).stays_quiet().stdout();
        assert_eq!(output, format!("{}\nport=80\n", expected.join("settings").display()));
    };
    let (home, xdg, own, state) =
        (app.scratch.dir("home"), app.scratch.dir("xdg"), app.scratch.join("own/data"), app.scratch.dir("state"));
    there(&[("HOME", &home)], &data(&home));
    there(&[("HOME", &home), ("XDG_DATA_HOME", &xdg)], &xdg.join("pspf/app"));
    there(&[("STATE_DIRECTORY", &state), ("XDG_DATA_HOME", &xdg)], &state.join("app"));
    there(&[("PSPF_DATA_DIR", &own), ("STATE_DIRECTORY", &state)], &own.join("app"));
    there(&[], &app.cache().join("v1/data/app"));
    there(&[("HOME", Path::new("/nowhere"))], &app.cache().join("v1/data/app"));
    let relative = app.start().env("PSPF_DATA_DIR", "here").finish().exits(109).prints_nothing();
    relative.says("PSPF_DATA_DIR").says("path that begins with /");
}

#[test]
fn cleaning_up_leaves_the_data_of_users_without_a_home() {
    let app = with_settings("port=80\n", "");
    app.start().arg("echo port=81 > settings/app.conf").finish().exits(0);
    let clean = |args: &[&str]| packer().args(args).env("PSPF_CACHE_DIR", app.cache()).finish().exits(0);
    clean(&["workenv", "gc", "--older-than", "0"]);
    clean(&["clean"]);
    assert_eq!(app.start().arg("cat settings/app.conf").finish().exits(0).stdout(), "port=81\n");
}

#[test]
fn applications_are_told_apart_by_their_app_id() {
    let scratch = common::Scratch::new();
    let home = scratch.dir("home");
    for (app_id, directory) in
        [("dev.example.notes", Some("dev.example.notes")), ("dev.example/notes", None), ("..", None)]
    {
        let project = scratch.dir(&format!("project-{}", app_id.replace('/', "-")));
        let manifest = format!(
            "[package]\nname = \"app\"\nversion = \"1\"\napp_id = \"{app_id}\"\n[execution]\ncommand = \"/bin/readlink {{workenv}}/settings\"\n\
             [[slots]]\nid = \"settings\"\nsource = \"settings\"\nlifecycle = \"config\"\n"
        );
        common::write_files(&project, &[("app.toml", &manifest), ("settings/a", "a")]);
        let package = project.join("app.psp");
        common::pack(&project.join("app.toml"), &package).finish().exits(0);
        let mut start = std::process::Command::new(&package);
        start.env_clear().env("HOME", &home).env("PSPF_CACHE_DIR", scratch.join("cache"));
        let link = PathBuf::from(start.finish().exits(0).stays_quiet().stdout().trim_end());
        assert_eq!(link.parent().and_then(Path::parent), Some(&*home.join(".local/share/pspf")));
        if let Some(directory) = directory {
            assert_eq!(link.parent().unwrap().file_name().unwrap(), directory);
        }
    }
    assert_eq!(fs::read_dir(home.join(".local/share/pspf")).unwrap().count(), 3);
}

#[test]
fn one_file_may_be_replaced_by_a_rename_and_is_the_users_then() {
    let more =
        "[[slots]]\nid = \"conf\"\nsource = \"settings/app.conf\"\ntarget = \"etc/app.conf\"\nlifecycle = \"config\"\n";
    let (app, next) = (with_settings("port=80\n", more), with_settings("port=8080\n", more));
    let home = app.scratch.dir("home");
    assert_eq!(told(&app, &home, "cat etc/app.conf"), "port=80\n");
    told(&app, &home, "echo port=81 > etc/new; mv etc/new etc/app.conf");
    assert_eq!(told(&app, &home, "cat etc/app.conf; test -L etc/app.conf"), "port=81\n");
    assert_eq!(fs::read_to_string(data(&home).join("etc/app.conf")).unwrap(), "port=81\n");
    assert_eq!(told(&next, &home, "cat etc/app.conf"), "port=81\n");
}

#[test]
fn of_many_first_starts_each_finds_the_settings_whole() {
    let app = with_settings("port=80\n", "");
    let home = app.scratch.dir("home");
    let start = |_| {
        let mut start = app.start();
        start.env("HOME", &home).arg("cat settings/app.conf settings/deep/more.conf");
        start.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for starting in (0..12).map(start).collect::<Vec<_>>() {
        let finished = Finished::new("a first start", starting.wait_with_output().unwrap());
        assert_eq!(finished.exits(0).stays_quiet().stdout(), "port=80\nmore");
    }
    assert_eq!(common::leftovers(&home), Vec::<PathBuf>::new());
}

#[test]
fn a_changed_package_leaves_nothing_in_the_data_directory() {
    let app = with_settings("port=80\n", "");
    let home = app.scratch.dir("home");
    let mut forged = Forged::of(&app.package());
    let slot = forged.slot(1);
    forged.put(slot.start + slot.len() / 2, &[forged.bytes[slot.start + slot.len() / 2] ^ 1]);
    let changed = app.scratch.join("changed.psp");
    common::copy_package(&app.package(), &changed);
    fs::write(&changed, &forged.bytes).unwrap();
    app.start_of(&changed).env("HOME", &home).arg("true").finish().exits(107).says("settings");
    assert_eq!(common::walk(&data(&home)).into_iter().filter(|(_, found)| found.is_file()).count(), 0);
    assert_eq!(common::leftovers(&home), Vec::<PathBuf>::new());
    assert_eq!(told(&app, &home, "cat settings/app.conf"), "port=80\n");
}

#[test]
fn a_target_outside_of_the_data_directory_is_refused_and_nothing_is_written() {
    let app = with_settings("port=80\n", "");
    let home = app.scratch.dir("home");
    for target in ["../escaped", "a/../../../escaped", "/escaped", "settings/./x", "settings//x"] {
        let mut forged = Forged::of(&app.package());
        let json = forged.json();
        let written = "\"target\":\"settings\"";
        assert!(json.contains(written), "{json}");
        forged.set_json(&json.replace(written, &format!("\"target\":\"{target}\"")));
        forged.sign(&SecretKey::from_seed_text("the tests of packer"));
        forged.mend();
        let changed = app.scratch.join("changed.psp");
        common::copy_package(&app.package(), &changed);
        fs::write(&changed, &forged.bytes).unwrap();
        let refused = app.start_of(&changed).env("HOME", &home).arg("true").finish();
        refused.exits_with_one_of(&[107, 109]).prints_nothing().says("below {workenv}");
        assert_eq!(common::walk(&home).into_iter().filter(|(_, found)| found.is_file()).count(), 0, "{target}");
        assert!(!Path::new("/escaped").exists());
    }
}

#[test]
fn settings_that_share_their_place_with_something_else_stay_in_the_workenv() {
    let more = "[[setup_commands]]\ntype = \"write_file\"\npath = \"settings/made\"\ncontent = \"made\"\n";
    let app = with_settings("port=80\n", more);
    let home = app.scratch.dir("home");
    assert_eq!(told(&app, &home, "cat settings/app.conf settings/made; test ! -L settings"), "port=80\nmade");
    assert!(!data(&home).join("settings").exists());
}

#[test]
fn setup_commands_find_the_settings() {
    let more =
        "[[setup_commands]]\ntype = \"execute\"\ncommand = \"/bin/cp {workenv}/settings/app.conf {workenv}/made\"\n";
    let app = with_settings("port=80\n", more);
    let home = app.scratch.dir("home");
    told(&app, &home, "echo port=81 > settings/app.conf");
    assert_eq!(told(&app, &home, "cat made settings/app.conf"), "port=80\nport=81\n");
}

#[test]
fn a_python_app_finds_its_settings_by_path_and_by_the_module_pspf() {
    let manifest = "[project]\nname = \"app\"\nversion = \"1\"\n[project.scripts]\napp = \"app:main\"\n\
                    [[tool.flavor.slots]]\nid = \"config\"\nsource = \"config/\"\npurpose = \"configuration\"\nlifecycle = \"persistent\"\n\
                    [[tool.flavor.slots]]\nid = \"models\"\nsource = \"config/\"\nlifecycle = \"lazy\"\n";
    let app = "import os, pspf, sys\ndef main():\n    path = pspf.slot('config')\n    \
               assert str(path) == os.path.join(os.environ['FLAVOR_WORKENV'], 'config')\n    \
               with open(path / 'app.ini', 'a+') as file:\n        file.seek(0)\n        print(len(file.readlines()))\n        file.write('more\\n')\n";
    let Some(project) =
        PythonProject::new(&[("pyproject.toml", manifest), ("app.py", app), ("config/app.ini", "[app]\n")])
    else {
        return;
    };
    project.pack(&[]).exits(0);
    for lines in ["1\n", "2\n", "3\n"] {
        assert_eq!(project.start().finish().exits(0).stays_quiet().stdout(), lines);
    }
    let home = project.scratch.join("home");
    assert_eq!(fs::read_to_string(data(&home).join("config/app.ini")).unwrap(), "[app]\nmore\nmore\nmore\n");
}
