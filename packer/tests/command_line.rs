//! The command line as somebody meets it who does not know it: help, the manual, and what is said of input that makes no sense.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs;

use common::{App, Finish as _, Finished};

/// What `packer WORDS --help` prints.
fn help(words: &[String]) -> String {
    common::packer().args(words).arg("--help").env("COLUMNS", "100").finish().exits(0).stays_quiet().stdout()
}

/// Every command and subcommand, by its words; packer itself has none.
fn commands(above: &[String]) -> Vec<Vec<String>> {
    let text = help(above);
    let list = text.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // What does not begin in the third column goes on with the line before.
    let names = list.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    let mut all = vec![above.to_vec()];
    for name in names {
        all.extend(commands(&[above, &[name.to_owned()]].concat()));
    }
    all
}

/// The long options that a help text describes.
fn options(help: &str) -> Vec<String> {
    let described = help.lines().filter_map(|line| {
        let line = line.trim_start();
        let line = line
            .strip_prefix('-')
            .filter(|rest| !rest.starts_with('-'))
            .map_or(line, |short| short.get(3..).unwrap_or(""));
        let name = line.strip_prefix("--")?;
        Some(format!("--{}", name.split(|c: char| !(c.is_ascii_lowercase() || c == '-')).next()?))
    });
    described.collect()
}

#[test]
fn every_command_and_option_is_in_the_manual_and_every_help_has_an_example() {
    let manual = include_str!("../../docs/cli.md");
    let sections: Vec<(&str, &str)> = manual.split("\n## ").filter_map(|section| section.split_once('\n')).collect();
    let section = |title: &str| {
        let found = sections.iter().find(|(titles, _)| titles.split(", ").any(|one| one == title));
        found.unwrap_or_else(|| panic!("docs/cli.md has no section {title}")).1
    };
    let of_all = section("Options of every command");
    let all = commands(&[]);
    assert!(all.len() > 35, "{all:?}");
    for words in all {
        let text = help(&words);
        assert!(text.contains("Example"), "packer {} --help has no example", words.join(" "));
        let Some(first) = words.first() else { continue };
        let own = section(first);
        if let [_, second] = &words[..] {
            assert!(
                own.contains(&format!("| `{second}")),
                "docs/cli.md does not say what packer {} does",
                words.join(" ")
            );
        }
        for option in options(&text) {
            let is_there = |text: &str| {
                let goes_on = |rest: &str| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '-');
                text.match_indices(&option).any(|(at, _)| !goes_on(&text[at + option.len()..]))
            };
            assert!(
                is_there(own) || is_there(of_all),
                "docs/cli.md says nothing of packer {} {option}",
                words.join(" ")
            );
        }
    }
}

/// One error, which names the next step, and nothing else.
#[track_caller]
fn is_refused(finished: Finished, code: i32, words: &[&str]) {
    let finished = finished.exits(code).prints_nothing().says("error: ").says("\n  try: ");
    words.iter().fold(finished, |finished, word| finished.says(word));
}

#[test]
fn input_of_the_wrong_kind_is_told_from_what_was_meant() {
    let app = App::new(
        &[("app/run", "exit 0\n")],
        "[execution]\ncommand = \"/bin/sh {slot:0}/run\"\n[[slots]]\nid = \"app\"\nsource = \"app\"\n",
    );
    let here = &app.scratch;
    fs::write(here.join("text"), "text\n").unwrap();
    let packer = |words: &str| {
        let mut packer = common::packer();
        packer.args(words.split(' ')).current_dir(here).env("PSPF_CACHE_DIR", app.cache());
        packer.env("XDG_CONFIG_HOME", here.join("config")).env("XDG_DATA_HOME", here.join("data")).finish()
    };
    packer("keygen --out-dir keys").exits(0);
    for (words, code, told) in [
        ("pack app.psp", 109, &["this is a program or a package, not a manifest", "packer inspect FILE"][..]),
        ("pack nowhere", 109, &["there is no manifest here", "nowhere"]),
        (
            "pack project --private-key keys/flavor-public.key",
            109,
            &["not an Ed25519 private key", "flavor-private.key"],
        ),
        ("pack project --private-key app.psp", 109, &["not an Ed25519 private key", "packer keygen"]),
        (
            "pack project --private-key keys/flavor-private.key --public-key keys/flavor-private.key",
            109,
            &["not an Ed25519 public key", "flavor-public.key"],
        ),
        ("trust add project --any-app", 105, &["neither a key nor a file", "packer inspect FILE"]),
        ("trust add keys/flavor-private.key --any-app", 109, &["a private key", "flavor-public.key"]),
        ("init text", 106, &["this is not a folder", "text"]),
        ("launchers add project", 106, &["this is a directory: name a file"]),
        ("link app.psp text", 106, &["the links need a directory", "a file"]),
        ("link text bin", 102, &["not a PSPF package"]),
        ("link nowhere bin", 106, &["nowhere", "spelling"]),
        ("extract --unsafe app.psp 9 out", 105, &["expected: 0", "packer inspect FILE"]),
        ("run --entry other app.psp", 105, &["it has app", "packer inspect FILE"]),
        ("extract app.psp 0 /sys/out", 106, &["in:       /sys\n"]),
    ] {
        is_refused(packer(words), code, told);
    }
    // What clap refuses names the option and what it takes.
    for (words, told) in [
        ("pack --level high", "a level is a number from 1 to 9"),
        ("pack --jobs 0", "a number of threads, 1 or more"),
        ("run --max-slot-size 5X app.psp", "like 500000, 64K or 2G"),
        ("workenv gc --older-than soon", "like 12h or 7d"),
        ("pack --compression lz4", "possible values: none, gzip"),
        ("verfy app.psp", "a similar subcommand exists: 'verify'"),
    ] {
        packer(words).exits(105).prints_nothing().says("error: ").says(told);
    }
}
