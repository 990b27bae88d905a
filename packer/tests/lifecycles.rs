//! When a slot is on disk, as an app sees it.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::forge::Forged;
use common::{App, Finish as _, Finished, PythonProject};
use pspf_core::sign::SecretKey;

/// An app that does what its arguments say, in its workenv, and fails where that fails.
const RUN: &str = "#!/bin/sh\ncd \"$FLAVOR_WORKENV\" || exit 1\neval \"$*\"\n";

/// A manifest of that app and these further lines.
fn manifest(more: &str) -> String {
    format!(
        "[execution]\ncommand = \"{{workenv}}/app/bin/run\"\n[[slots]]\nid = \"app\"\nsource = \"app\"\n\
         {more}"
    )
}

/// A slot of this lifecycle from the directory of its name.
fn slot(id: &str, lifecycle: &str) -> String {
    format!("[[slots]]\nid = \"{id}\"\nsource = \"{id}\"\nlifecycle = \"{lifecycle}\"\n")
}

/// What the app prints of this script.
#[track_caller]
fn told(app: &App, script: &str) -> String {
    app.start().arg(script).finish().exits(0).stays_quiet().stdout()
}

/// What an app asks its package for, in a script.
const ASK: &str = "FLAVOR_LAUNCHER_CLI=1 \"$PSPF_PACKAGE\" slot";

fn lazy() -> App {
    let files = [("app/bin/run", RUN), ("models/deep/weights", "heavy"), ("models/words", "light")];
    App::new(&files, &manifest(&slot("models", "lazy")))
}

/// Where the store has the slot whose content has this file.
fn in_store(app: &App, file: &str) -> Option<PathBuf> {
    let slots = common::slots(&app.cache()).into_iter().map(|name| app.cache().join("v1/slots").join(name));
    slots.into_iter().find(|slot| slot.join("content").join(file).exists())
}

#[test]
fn a_lazy_slot_is_not_on_disk_until_the_app_asks_for_it() {
    let app = lazy();
    for _ in 0..2 {
        told(&app, "test -L models && test ! -e models");
        assert_eq!(in_store(&app, "words"), None);
    }
    let workenv = common::env_of(&app.cache());
    let asked = told(&app, &format!("{ASK} models; cat models/deep/weights"));
    assert_eq!(asked, format!("{}/models\nheavy", workenv.display()));
    let stored = fs::metadata(in_store(&app, "words").unwrap()).unwrap().ino();
    assert_eq!(told(&app, "cat models/words"), "light", "it is there for the next start, too");
    told(&app, &format!("{ASK} models"));
    assert_eq!(fs::metadata(in_store(&app, "words").unwrap()).unwrap().ino(), stored, "it was not extracted again");
    assert_eq!(common::env_of(&app.cache()), workenv);
}

#[test]
fn a_start_does_not_look_at_a_lazy_slot_and_who_asks_gets_it_whole() {
    let app = lazy();
    app.cli(&["slot", "models"]).exits(0).stays_quiet();
    let words = in_store(&app, "words").unwrap().join("content/words");
    fs::remove_file(&words).unwrap();
    told(&app, "test ! -e models/words");
    assert_eq!(told(&app, &format!("{ASK} models > /dev/null; cat models/words")), "light");
}

#[test]
fn a_slot_is_asked_for_by_id_or_by_number_whatever_its_lifecycle() {
    let app = lazy();
    let first = app.cli(&["slot", "1"]).exits(0).stays_quiet().stdout();
    let workenv = common::env_of(&app.cache());
    assert_eq!(first, format!("{}/models\n", workenv.display()));
    assert_eq!(fs::read_to_string(workenv.join("models/words")).unwrap(), "light");
    assert_eq!(app.cli(&["slot", "app"]).exits(0).stdout(), format!("{}/app\n", workenv.display()));
    for unknown in ["model", "3", "-1", ""] {
        app.cli(&["slot", unknown]).exits(105).prints_nothing().says("no slot with the id or number").says("\n  try: ");
    }
    app.cli(&["slot"]).exits(105).says("slot");
    app.cli(&["help"]).exits(0).prints("slot SLOT");
}

#[test]
fn of_many_that_ask_at_once_one_extracts() {
    let app = lazy();
    let asking: Vec<_> = (0..16)
        .map(|_| {
            let mut ask = app.start();
            ask.args(["slot", "models"]).env("FLAVOR_LAUNCHER_CLI", "1");
            ask.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let answers: Vec<_> =
        asking.into_iter().map(|asking| Finished::new("slot models", asking.wait_with_output().unwrap())).collect();
    let path = format!("{}/models\n", common::env_of(&app.cache()).display());
    for answer in answers {
        assert_eq!(answer.exits(0).stays_quiet().stdout(), path);
    }
    assert_eq!(common::slots(&app.cache()).len(), 2);
    assert_eq!(common::leftovers(&app.cache()), Vec::<PathBuf>::new());
}

#[test]
fn an_app_whose_package_was_replaced_is_told_to_restart() {
    let (app, other) =
        (lazy(), App::new(&[("app/bin/run", RUN), ("models/words", "other")], &manifest(&slot("models", "lazy"))));
    let script = format!("mv '{}' \"$PSPF_PACKAGE\"; {ASK} models", other.package().display());
    let refused = app.start().arg(script).finish().exits(109).prints_nothing();
    refused.says("not the package that started this app").says("restart the app");
    assert_eq!(in_store(&app, "words"), None, "nothing of the new one is there");
    assert_eq!(told(&app, &format!("{ASK} models > /dev/null; cat models/words")), "other");
}

#[test]
fn the_app_knows_its_package_however_it_was_started() {
    let app = lazy();
    let path = format!("{}\n", app.package().display());
    assert_eq!(told(&app, "echo \"$PSPF_PACKAGE\""), path);
    let mut relative = app.start_of(Path::new("./app.psp"));
    relative.current_dir(&app.scratch).env("PSPF_PACKAGE", "/elsewhere").arg("echo \"$PSPF_PACKAGE\"");
    assert_eq!(relative.finish().exits(0).stdout(), path);
    let mut run = common::packer();
    run.args(["run", "app.psp", "echo \"$PSPF_PACKAGE\""]).current_dir(&app.scratch);
    assert_eq!(run.env("PSPF_CACHE_DIR", app.cache()).finish().exits(0).stdout(), path);
}

#[test]
fn cleaning_up_takes_a_lazy_slot_for_one_that_its_workenv_uses() {
    let app = lazy();
    let clean = |command: &[&str]| {
        let mut clean = common::packer();
        clean.arg("workenv").args(command).env("PSPF_CACHE_DIR", app.cache()).finish().exits(0)
    };
    app.cli(&["slot", "models"]).exits(0);
    clean(&["gc"]).prints("removed 0 workenvs and 0 slots");
    assert!(in_store(&app, "words").is_some());
    clean(&["gc", "--older-than", "0"]);
    assert_eq!(in_store(&app, "words"), None);
    app.cli(&["slot", "models"]).exits(0);
    assert!(in_store(&app, "words").is_some());
}

#[test]
fn a_lazy_slot_that_merges_with_something_is_there_from_the_first_start_on() {
    let more = slot("models", "lazy")
        + "[[setup_commands]]\ntype = \"write_file\"\npath = \"models/more\"\ncontent = \"more\"\n";
    let files = [("app/bin/run", RUN), ("models/words", "light")];
    let app = App::new(&files, &manifest(&more));
    assert_eq!(told(&app, "cat models/*"), "morelight");
    app.cli(&["slot", "models"]).exits(0).prints("/models\n");
}

#[test]
fn a_startup_slot_is_fresh_at_every_start() {
    let file = "[[slots]]\nid = \"port\"\nsource = \"port\"\ntarget = \"etc/port\"\nlifecycle = \"startup\"\n";
    let files = [("app/bin/run", RUN), ("state/deep/count", "0"), ("port", "80")];
    let app = App::new(&files, &manifest(&(slot("state", "startup") + file)));
    let script = "cat state/deep/count etc/port; ls state; echo 1 > state/deep/count; echo 1 > state/more; echo 1 > etc/port; touch kept";
    let first = told(&app, script);
    assert_eq!(first, "080deep\n");
    let workenv = common::env_of(&app.cache());
    assert_eq!(told(&app, script), first);
    app.cli(&["slot", "state"]).exits(0).stays_quiet();
    assert_eq!(told(&app, "rm -r state etc/port; echo"), "\n", "who asks where it is changes nothing in it");
    assert_eq!(told(&app, script), first);
    assert_eq!(common::env_of(&app.cache()), workenv);
    assert!(workenv.join("kept").exists(), "nothing else was made anew");
    assert_eq!(common::leftovers(&app.cache()), Vec::<PathBuf>::new());
}

#[test]
fn asking_for_a_startup_slot_leaves_it_as_the_app_has_it() {
    let app = App::new(&[("app/bin/run", RUN), ("state/count", "0")], &manifest(&slot("state", "startup")));
    assert_eq!(told(&app, &format!("echo 1 > state/count; {ASK} state > /dev/null; cat state/count")), "1\n");
}

#[test]
fn many_starts_at_once_find_a_startup_slot_whole() {
    let app = App::new(&[("app/bin/run", RUN), ("state/count", "0")], &manifest(&slot("state", "startup")));
    told(&app, "true");
    let starting: Vec<_> = (0..16)
        .map(|_| {
            app.start().arg("true").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for start in starting {
        Finished::new("a start", start.wait_with_output().unwrap()).exits(0).stays_quiet();
    }
    assert_eq!(fs::read_to_string(common::env_of(&app.cache()).join("state/count")).unwrap(), "0");
    assert_eq!(common::leftovers(&app.cache()), Vec::<PathBuf>::new());
}

#[test]
fn an_init_slot_is_there_for_setup_commands_and_gone_when_the_app_runs() {
    let setup = "[[setup_commands]]\ntype = \"chmod\"\npath = \"tools/run\"\nmode = \"0755\"\n\
                 [[setup_commands]]\ntype = \"write_file\"\npath = \"tools/words\"\ncontent = \"of {package_name}\"\n\
                 [[setup_commands]]\ntype = \"execute\"\ncommand = \"{workenv}/tools/run\"\n";
    let files = [("app/bin/run", RUN), ("tools/run", "#!/bin/sh\ncat tools/words > made\n")];
    let app = App::new(&files, &manifest(&(slot("tools", "init") + setup)));
    assert_eq!(
        told(&app, "cat made; ls -d tools 2>&1 || true"),
        "of appls: cannot access 'tools': No such file or directory\n"
    );
    let workenv = common::env_of(&app.cache());
    let seal = fs::metadata(workenv.join(".seal")).unwrap().ino();
    assert_eq!(told(&app, "cat made; test ! -e tools"), "of app");
    assert_eq!(fs::metadata(workenv.join(".seal")).unwrap().ino(), seal, "the second start finds the workenv whole");
}

#[test]
fn an_init_slot_goes_without_setup_commands_too_unless_another_slot_is_in_it() {
    let files = [("app/bin/run", RUN), ("tools/a", "a"), ("more/b", "b")];
    let app = App::new(&files, &manifest(&slot("tools", "init")));
    told(&app, "test ! -e tools");
    told(&app, "test ! -e tools");
    let inside = "[[slots]]\nid = \"more\"\nsource = \"more\"\ntarget = \"tools/more\"\n";
    let app = App::new(&files, &manifest(&(slot("tools", "init") + inside)));
    assert_eq!(told(&app, "cat tools/a tools/more/b"), "ab");
}

#[test]
fn packing_tells_which_slots_stay_because_something_else_is_in_their_place() {
    let said = |more: &str| {
        let files = [("app/bin/run", RUN), ("tools/a", "a"), ("more/b", "b")];
        let app = App::new(&files, &manifest(more));
        let mut pack = common::pack(&app.scratch.join("project"), &app.scratch.join("again.psp"));
        pack.env("PSPF_CACHE_DIR", app.scratch.join("build")).finish().exits(0).stderr()
    };
    let inside = "[[slots]]\nid = \"more\"\nsource = \"more\"\ntarget = \"tools/more\"\n";
    let written = "[[setup_commands]]\ntype = \"write_file\"\npath = \"tools/words\"\ncontent = \"\"\n";
    let told = "note: slot tools shares its place with something else, so it stays as it was first extracted";
    for (lifecycle, beside, stays) in [
        ("init", inside, true),
        ("startup", inside, true),
        ("startup", written, true),
        ("init", written, false),
        ("init", "", false),
        ("startup", "", false),
        ("runtime", inside, false),
    ] {
        let said = said(&(slot("tools", lifecycle) + beside));
        assert_eq!(said.matches(told).count(), usize::from(stays), "{lifecycle} {beside}: {said}");
    }
}

#[test]
fn a_dev_slot_is_there_when_the_caller_develops_and_only_then() {
    let app = App::new(&[("app/bin/run", RUN), ("probes/a", "a")], &manifest(&slot("probes", "dev")));
    let developing = |script: &str| app.start().env("PSPF_DEV", "1").arg(script).finish();
    assert_eq!(told(&app, "ls; echo $PSPF_DEV"), "app\n\n");
    assert_eq!(in_store(&app, "a"), None);
    assert_eq!(developing("cat probes/a").exits(0).stays_quiet().stdout(), "a");
    assert_eq!(told(&app, "ls"), "app\n", "the one does not see the other");
    let asked = developing(&format!("{ASK} probes; pwd")).exits(0).stays_quiet().stdout();
    let (path, workenv) = asked.trim_end().split_once('\n').unwrap();
    assert_eq!(path, format!("{workenv}/probes"));
    told(&app, &format!("{ASK} app"));
    app.start()
        .arg(format!("PSPF_DEV=1 {ASK} probes"))
        .finish()
        .exits(109)
        .says("probes is a slot for")
        .says("PSPF_DEV=1");
    app.start().env("PSPF_DEV", "0").arg("test ! -e probes").finish().exits(0);
}

#[test]
fn a_platform_slot_is_left_out_on_another_platform() {
    let app = App::new(&[("app/bin/run", RUN), ("native/a", "a")], &manifest(&slot("native", "platform")));
    assert_eq!(told(&app, "cat native/a"), "a");
    let mut forged = Forged::of(&app.package());
    let (any, mac) =
        ("\"lifecycle\":10,\"priority\":128,\"platform\":0", "\"lifecycle\":10,\"priority\":128,\"platform\":2");
    let json = forged.json();
    assert!(json.contains(any), "{json}");
    forged.set_json(&json.replace(any, mac));
    forged.put(forged.descriptor(1) + 59, &[2]);
    forged.sign(&SecretKey::from_seed_text("the tests of packer"));
    forged.mend();
    let (raw, other) = (app.scratch.join("raw"), app.scratch.join("other.psp"));
    fs::write(&raw, &forged.bytes).unwrap();
    common::copy_package(&raw, &other);
    fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(app.start_of(&other).arg("ls").finish().exits(0).stays_quiet().stdout(), "app\n");
}

const PYTHON: &str = r#"
import concurrent.futures as futures
import os
import shutil
import sys

def main():
    link = os.path.join(sys.prefix, "models")
    assert not os.path.exists(link), "it is there before it is asked for"
    import pspf
    os.environ["HOME"] = "/nowhere"
    with futures.ThreadPoolExecutor(8) as threads:
        paths = set(threads.map(pspf.slot, ["models"] * 8))
    with futures.ProcessPoolExecutor(2) as processes:
        paths.update(processes.map(pspf.slot, ["models"] * 2))
    (path,) = paths
    assert str(path) == link, path
    print((path / "words").read_text(), path == pspf.slot(3))
    for name in ["nothing", "models\0"]:
        try:
            pspf.slot(name)
        except (pspf.SlotError, ValueError) as error:
            print(type(error).__name__, "no slot with the id or number nothing" in str(error))
    os.environ["PSPF_PACKAGE"] = shutil.move(os.environ["PSPF_PACKAGE"], os.environ["PSPF_PACKAGE"] + ".moved")
    print(pspf.slot("models") == path, pspf.slot("python-runtime").name)
    os.environ["PSPF_PACKAGE"] = "/nowhere/app.psp"
    try:
        pspf.slot("python-environment")
    except pspf.SlotError as error:
        print(error)
"#;

#[test]
fn a_python_app_asks_for_its_slots_by_the_module_pspf() {
    let manifest = "[project]\nname = \"app\"\nversion = \"1\"\n[project.scripts]\napp = \"app:main\"\n\
                    [[tool.flavor.slots]]\nid = \"models\"\nsource = \"models\"\nlifecycle = \"lazy\"\n";
    let files = [("pyproject.toml", manifest), ("app.py", PYTHON), ("models/words", "light")];
    let Some(project) = PythonProject::new(&files) else { return };
    project.pack(&[]).exits(0);
    let output = project.start().env("PSPF_CACHE_DIR", project.scratch.join("cache")).finish().exits(0).stays_quiet();
    let expected = "light True\nSlotError True\nValueError False\nTrue python-runtime\n\
                    cannot ask the package for slot 'python-environment': [Errno 2] No such file or directory: '/nowhere/app.psp'\n";
    assert_eq!(output.stdout(), expected);
}
