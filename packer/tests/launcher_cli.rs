//! The commands of the launcher itself: `FLAVOR_LAUNCHER_CLI=1 ./app.psp COMMAND`, of both launchers.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{App, Finish as _, Scratch};

/// Both launchers.
fn launchers() -> impl Iterator<Item = &'static [u8]> {
    let of = |needs_all| packer::launchers::built_in_for(needs_all).expect("one for this platform");
    [of(false), of(true)].into_iter()
}

/// An app of two slots, an archive and a file, in front of each launcher.
fn apps() -> impl Iterator<Item = App> {
    launchers().map(|launcher| {
        let scratch = Scratch::new();
        let path = scratch.join("launcher");
        fs::write(&path, launcher).unwrap();
        let files = [
            ("tree/bin/run", "#!/bin/sh\necho started \"$@\"\nenv\nexit 7\n"),
            ("tree/share/text", "text\n"),
            ("notes.txt", "a file\n"),
        ];
        App::with(&files, MANIFEST, &["--launcher-bin".as_ref(), path.as_os_str()])
    })
}

const MANIFEST: &str = r#"
[execution]
command = "{workenv}/tree/bin/run own"
[[slots]]
id = "tree"
source = "tree"
[[slots]]
id = "notes"
source = "notes.txt"
target = "doc/notes.txt"
lifecycle = "cache"
"#;

#[test]
fn what_it_is_asked_it_answers_without_starting_the_app() {
    for app in apps() {
        let size = fs::metadata(app.package()).unwrap().len();
        let version = app.cli(&["version"]).exits(0).stays_quiet();
        assert_eq!(version.stdout(), format!("pspf-launcher {} (PSPF/2025)\n", env!("CARGO_PKG_VERSION")));
        let info = app.cli(&["info"]).exits(0).stays_quiet().prints("app 1.0\n").prints("  grade   sealed\n");
        let info = info.prints("  slot 0  tree, ").prints(" bytes, runtime -> tree\n").prints("(seed)\n");
        let info = info.prints("  slot 1  notes").prints(", 7 bytes, cache -> doc/notes.txt\n");
        let key = common::packer().arg("inspect").arg(app.package()).arg("--json").finish().json()["key_id"].clone();
        info.prints(&format!("  key     {} ", key.as_str().unwrap()));
        let verify = app.cli(&["verify"]).exits(0).stays_quiet().prints("ok        signature, metadata and layout\n");
        let verify = verify.prints("ok        launcher\nok        slot 0 tree\nok        slot 1 notes");
        assert!(verify.stdout().ends_with("\nintact: the signature answers for every byte\n"), "{verify}");
        for words in [&[][..], &["help"], &["--help"], &["help", "verify"]] {
            app.cli(words).exits(0).stays_quiet().prints("extract SLOT DIR");
        }
        assert!(!app.cache().exists(), "looking extracts nothing");
        assert_eq!(fs::metadata(app.package()).unwrap().len(), size);
    }
}

#[test]
fn metadata_are_the_signed_bytes() {
    for app in apps() {
        let package = fs::read(app.package()).unwrap();
        let signed = pspf_core::Package::open(&*package).unwrap().json().unwrap();
        assert_eq!(app.cli(&["metadata"]).exits(0).stays_quiet().stdout_bytes(), signed);
    }
}

#[test]
fn run_starts_the_app_which_knows_nothing_of_the_command() {
    for app in apps() {
        for (args, expected) in [(&["run"][..], "started own\n"), (&["run", "run", "a b"], "started own run a b\n")] {
            let started = app.cli(args).exits(7).stays_quiet();
            assert!(started.stdout().starts_with(expected), "{started}");
            assert!(!started.stdout().contains("FLAVOR_LAUNCHER_CLI"), "{started}");
        }
    }
}

#[test]
fn the_values_of_flavorpacks_launchers_mean_yes_and_others_start_the_app() {
    for app in apps() {
        let ask = |value| app.start().arg("version").env("FLAVOR_LAUNCHER_CLI", value).finish().stays_quiet();
        for yes in ["1", "true", "TRUE", "Yes", "on"] {
            ask(yes).exits(0).prints("pspf-launcher");
        }
        for no in ["", "0", "false", "no", "11", "help"] {
            let started = ask(no).exits(7).prints("started own version\n");
            assert!(!started.stdout().contains("FLAVOR_LAUNCHER_CLI"), "{started}");
        }
    }
}

/// A copy of the package with one byte changed.
fn changed(app: &App, at: usize) -> PathBuf {
    let mut bytes = fs::read(app.package()).unwrap();
    bytes[at] ^= 1;
    let path = app.scratch.join("changed.psp");
    write_program(&app.scratch, &path, &bytes);
    path
}

/// Written beside and copied by another process, or the kernel may find the file busy.
fn write_program(scratch: &Scratch, path: &Path, bytes: &[u8]) {
    fs::write(scratch.join("bytes"), bytes).unwrap();
    common::copy_package(&scratch.join("bytes"), path);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn verify_says_which_part_does_not_hold_and_goes_on_to_the_others() {
    for app in apps() {
        let report = common::packer().arg("inspect").arg(app.package()).arg("--json").finish().json();
        let slot = |i: usize| report["slots"][i]["offset"].as_u64().unwrap() as usize;
        let verify = |at| app.start_of(&changed(&app, at)).arg("verify").env("FLAVOR_LAUNCHER_CLI", "1").finish();
        let damaged = verify(slot(0) + 20).exits(107).says("slot 0").says("\n  try: ");
        let damaged = damaged.prints("FAILED    slot 0 tree\nok        slot 1 notes");
        assert!(damaged.stdout().ends_with("\nNOT intact\n"), "{damaged}");
        verify(slot(1)).exits(107).says("slot 1").prints("ok        slot 0 tree\nFAILED    slot 1 notes");
        // The ELF header's padding: no instruction and no address.
        verify(12).exits(107).says("launcher: expected").prints("FAILED    launcher\nok        slot 0");
        let signature = fs::metadata(app.package()).unwrap().len() as usize - 8_200 + 4 + 1_568;
        verify(signature).exits(102).says("index_checksum").prints_nothing();
    }
}

#[test]
fn extract_writes_archives_below_the_directory_and_files_into_it() {
    for app in apps() {
        let to = app.scratch.join("some/where");
        let extract = |slot: &str| app.cli(&["extract", slot, to.to_str().unwrap()]);
        extract("0").exits(0).stays_quiet().prints(&format!("extracted slot tree to {}\n", to.display()));
        extract("1").exits(0).stays_quiet();
        assert_eq!(fs::read_to_string(to.join("share/text")).unwrap(), "text\n");
        assert_eq!(fs::read_to_string(to.join("notes.txt")).unwrap(), "a file\n");
        assert!(fs::metadata(to.join("bin/run")).unwrap().permissions().mode() & 0o100 != 0);
        let mut names: Vec<_> = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["bin", "notes.txt", "share"], "nothing else is left there");
        assert!(!app.cache().exists());

        let mut here = app.start();
        here.args(["extract", "1", "."]).env("FLAVOR_LAUNCHER_CLI", "1").current_dir(app.scratch.dir("here"));
        here.finish().exits(0);
        assert_eq!(fs::read_to_string(app.scratch.join("here/notes.txt")).unwrap(), "a file\n");
    }
}

#[test]
fn extract_never_replaces_anything() {
    for app in apps() {
        let to = app.scratch.dir("to");
        fs::write(to.join("share"), "mine").unwrap();
        fs::write(to.join("notes.txt"), "mine").unwrap();
        for slot in ["0", "1"] {
            let refused = app.cli(&["extract", slot, to.to_str().unwrap()]).exits(106).prints_nothing();
            refused.says("cannot extract").says("it is there already");
        }
        let snapshot: Vec<_> = common::snapshot(&to).into_keys().filter(|path| path.is_relative()).collect();
        assert_eq!(snapshot, ["", "notes.txt", "share"].map(PathBuf::from));
        assert_eq!(fs::read_to_string(to.join("share")).unwrap(), "mine");
        app.cli(&["extract", "0", to.join("notes.txt").to_str().unwrap()]).exits(106).says("not a directory");
    }
}

#[test]
fn a_slot_that_is_damaged_is_not_extracted() {
    for app in apps() {
        let report = common::packer().arg("inspect").arg(app.package()).arg("--json").finish().json();
        let copy = changed(&app, report["slots"][1]["offset"].as_u64().unwrap() as usize);
        let to = app.scratch.join("to");
        let mut extract = app.start_of(&copy);
        extract.args(["extract", "1"]).arg(&to).env("FLAVOR_LAUNCHER_CLI", "1");
        extract.finish().exits(107).prints_nothing().says("cannot extract slot");
        assert!(fs::read_dir(&to).unwrap().next().is_none());
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_the_way_to_the_commands() {
    for app in apps() {
        for words in [
            &["start"][..],
            &[""],
            &["info", "more"],
            &["verify", "x"],
            &["extract"],
            &["extract", "0"],
            &["extract", "0", "a", "b"],
            &["extract", "3", "to"],
            &["extract", "-1", "to"],
            &["extract", "tree", "to"],
            &["extract", "18446744073709551616", "to"],
        ] {
            app.cli(words).exits(105).prints_nothing().says("\n  try: FLAVOR_LAUNCHER_CLI=1 FILE help");
        }
    }
}

#[test]
fn names_of_a_package_do_not_steer_the_terminal() {
    use pspf_core::build::{Builder, Slot};
    use pspf_core::json::Value;
    use pspf_core::sign::{KeyOrigin, SecretKey};

    // packer itself takes no such names.
    let name = "app\u{1b}]0;gotcha\u{7}\u{9b}2J\u{202e}\n";
    let content: &[u8] = b"content";
    for launcher in launchers() {
        let document = Value::object([
            ("package", Value::object([("name", name.into()), ("version", name.into())])),
            ("execution", Value::object([("command", name.into())])),
        ]);
        let builder = Builder::new(document, &launcher).unwrap();
        let builder = builder.slot(Slot::raw(name, &format!("{{workenv}}/{name}"), &content).unwrap());
        let head = builder.sign(&SecretKey::from_seed_text("doc"), KeyOrigin::Seed).unwrap();
        let scratch = Scratch::new();
        let package = scratch.join("app.psp");
        let mut bytes = Vec::new();
        head.write(&launcher, &[&content], &mut bytes).unwrap();
        write_program(&scratch, &package, &bytes);
        for (words, code) in
            [(&["info"][..], 0), (&["verify"], 0), (&["extract", "0", "to"], 0), (&["extract", "0", "to"], 106)]
        {
            let mut ask = Command::new(&package);
            let said = ask.args(words).env("FLAVOR_LAUNCHER_CLI", "1").current_dir(&*scratch).finish().exits(code);
            let said = said.stdout() + &said.stderr();
            assert!(said.contains("app\u{fffd}]0;gotcha\u{fffd}\u{fffd}2J\u{fffd}\u{fffd}"), "{said:?}");
            assert!(!said.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'), "{said:?}");
        }
        let mut ask = Command::new(&package);
        ask.arg("\u{1b}[2J").env("FLAVOR_LAUNCHER_CLI", "1").finish().exits(105).says(": \u{fffd}[2J\n");
    }
}

#[test]
fn a_launcher_without_a_package_says_what_it_is() {
    for launcher in launchers() {
        let scratch = Scratch::new();
        let program = scratch.join("launcher");
        write_program(&scratch, &program, launcher);
        let ask = |word| Command::new(&program).arg(word).env("FLAVOR_LAUNCHER_CLI", "1").finish();
        ask("version").exits(0).stays_quiet().prints("pspf-launcher ");
        ask("help").exits(0).stays_quiet().prints("verify");
        for word in ["info", "verify", "metadata", "run"] {
            ask(word).exits(102).prints_nothing().says("not a PSPF package").says("\n  try: ");
        }
    }
}

#[test]
fn an_answer_that_cannot_be_written_is_told() {
    for app in apps() {
        let mut full = app.start();
        full.arg("info").env("FLAVOR_LAUNCHER_CLI", "1");
        let device = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = full.stdout(device).output().unwrap();
        assert_eq!(output.status.code(), Some(106));
        assert!(String::from_utf8_lossy(&output.stderr).contains("standard output: no space left"), "{output:?}");
    }
}
