//! The examples of docs/cli.md do what they say, and the commands of README.md and of the examples work.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Finish as _, Scratch};

/// A line that was typed, and what it printed.
#[derive(Debug)]
struct Example {
    line: usize,
    command: String,
    output: Vec<String>,
}

#[test]
fn the_examples_of_the_documentation_give_what_they_show() {
    let Some(()) = common::require_python() else { return };
    let _heavy = common::heavy();
    let scratch = with_examples();
    let examples = examples(include_str!("../../docs/cli.md"));
    let commands: Vec<&str> =
        examples.iter().filter_map(|example| example.command.strip_prefix("packer ")?.split(' ').next()).collect();
    for command in commands_of_packer() {
        assert!(commands.contains(&command.as_str()), "docs/cli.md has no example of packer {command}");
    }
    let wrong: Vec<String> = examples.iter().filter_map(|example| wrong(example, "docs/cli.md", &scratch)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_commands_of_the_readmes_work() {
    let Some(()) = common::require_python() else { return };
    let _heavy = common::heavy();
    let scratch = with_examples();
    let code = "def main():\n    print('it runs')\n";
    common::write_files(&scratch.join("here"), &[("myapp/__init__.py", ""), ("myapp/cli.py", code)]);
    let mut finished = None;
    for (readme, text) in [
        ("README.md", include_str!("../../README.md")),
        ("examples/README.md", include_str!("../../examples/README.md")),
    ] {
        let commands = commands(text, &scratch);
        assert!(commands.len() >= 2, "{readme} has {commands:?}");
        for command in commands {
            finished = Some(shell(&command, &scratch).finish().exits(0));
        }
        if readme == "README.md" {
            finished.take().expect("a command").prints("it runs\n");
        }
    }
    for (readme, text) in [
        ("examples/hello-cli/README.md", include_str!("../../examples/hello-cli/README.md")),
        ("examples/any-binary/README.md", include_str!("../../examples/any-binary/README.md")),
        ("examples/shell-script/README.md", include_str!("../../examples/shell-script/README.md")),
    ] {
        let wrong: Vec<String> = examples(text).iter().filter_map(|example| wrong(example, readme, &scratch)).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    }
}

/// The commands in blocks of shell that need no source of this repository; blocks of TOML become `pyproject.toml`.
fn commands(text: &str, scratch: &Scratch) -> Vec<String> {
    let (mut commands, mut language) = (Vec::new(), "");
    let mut manifest = String::new();
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(name) => language = name,
            None if language == "toml" => manifest += &format!("{line}\n"),
            None if language == "sh" => {
                let packer = line.strip_prefix("cargo run --release --bin packer -- ");
                commands.extend(packer.map(|arguments| format!("packer {arguments}")));
                commands.extend((!line.starts_with("cargo ")).then(|| line.to_owned()));
            }
            None => {}
        }
    }
    if !manifest.is_empty() {
        fs::write(scratch.join("here/pyproject.toml"), manifest).unwrap();
    }
    commands
}

/// What is wrong with an example, if anything is.
fn wrong(example: &Example, file: &str, scratch: &Scratch) -> Option<String> {
    let finished = shell(&example.command, scratch).finish();
    let is_error = example.output.first().is_some_and(|line| line.starts_with("error:"));
    let found = if is_error { finished.stderr() } else { finished.stdout() };
    let found: Vec<String> = found.lines().map(even).collect();
    let expected: Vec<String> = example.output.iter().map(|line| even(line)).collect();
    let is_right = (finished.code() == Some(0)) != is_error && matches(&expected, &found);
    let shown = example.output.join("\n");
    (!is_right).then(|| format!("{file}, line {} shows\n{shown}\nbut: {finished}", example.line))
}

/// A copy of the examples in `here`, and a new home.
fn with_examples() -> Scratch {
    let scratch = Scratch::new();
    common::copy_tree(&common::source_of("hello-cli").join(".."), &scratch.join("here/examples"));
    share_build_cache(&scratch);
    scratch
}

/// A command as it is typed in `here`.
fn shell(command: &str, scratch: &Scratch) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).current_dir(scratch.join("here"));
    shell.env("HOME", scratch.join("home")).env("PATH", path_with_packer(scratch)).env("COLUMNS", "200");
    for name in ["PSPF_CACHE_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "PSPF_LOG", "PSPF_SEED"] {
        shell.env_remove(name);
    }
    shell
}

/// The commands that `packer help` lists.
fn commands_of_packer() -> Vec<String> {
    let help = common::packer().arg("help").finish().exits(0).stdout();
    let lines =
        help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1).take_while(|line| !line.is_empty());
    // What does not begin in the third column goes on with the line before.
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// What was typed and printed in the blocks that show a terminal.
fn examples(text: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        match line.strip_prefix("$ ") {
            _ if line.starts_with("```") => inside = line == "```console",
            Some(command) if inside => {
                examples.push(Example { line: number + 1, command: command.to_owned(), output: Vec::new() });
            }
            // The shell asks for more of a command.
            None if inside && line.starts_with("> ") => {
                let example = examples.last_mut().expect("a command first");
                example.command.push('\n');
                example.command.push_str(&line[2..]);
            }
            None if inside => examples.last_mut().expect("a command first").output.push(line.to_owned()),
            _ => {}
        }
    }
    assert!(!examples.is_empty());
    examples
}

/// A line in which what differs from machine to machine is even: numbers, units, digests and the width of columns.
fn even(line: &str) -> String {
    let words = line.split_whitespace().map(|word| {
        let bare = word.trim_matches(['(', ')', ',', ':', ';']);
        let digits = bare.strip_suffix("...").unwrap_or(bare);
        let is_digest = digits.len() >= 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_number = digits.starts_with(|c: char| c.is_ascii_digit())
            && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        match bare {
            "B" | "KiB" | "MiB" | "GiB" => word.replace(bare, "bytes"),
            _ if is_digest && digits != bare => word.replace(bare, "#"),
            _ if is_digest || is_number => word.replace(bare, "#"),
            _ => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ").replace("python3.11", "python3.#")
}

/// Whether the lines are the expected ones; `...` stands for any lines, and within a line for any text.
fn matches(expected: &[String], found: &[String]) -> bool {
    match (expected.split_first(), found.split_first()) {
        (None, None) => true,
        // Nothing shown is nothing promised of a command that writes files.
        (None, Some(_)) => false,
        (Some((first, rest)), _) if first == "..." => (0..=found.len()).any(|skipped| matches(rest, &found[skipped..])),
        (Some((first, rest)), Some((line, more))) => matches_line(first, line) && matches(rest, more),
        (Some(_), None) => false,
    }
}

fn matches_line(expected: &str, found: &str) -> bool {
    let Some((start, rest)) = expected.split_once("...") else { return expected == found };
    let Some(left) = found.strip_prefix(start) else { return false };
    (0..=left.len()).filter(|at| left.is_char_boundary(*at)).any(|at| matches_line(rest, &left[at..]))
}

/// `packer` as one types it, and what packing needs, which is looked for at home as well.
fn path_with_packer(scratch: &Scratch) -> std::ffi::OsString {
    let bin = scratch.dir("bin");
    let packer = bin.join("packer");
    if !packer.exists() {
        symlink(env!("CARGO_BIN_EXE_packer"), &packer).unwrap();
    }
    let python = std::env::var_os("PSPF_TEST_PYTHON").map(PathBuf::from);
    let python =
        python.map(|python| if python.is_dir() { python.join("bin") } else { python.parent().unwrap().into() });
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = [bin].into_iter().chain(python).chain(std::env::split_paths(&path));
    std::env::join_paths(all).unwrap()
}

/// The new home builds on what was built before: everything in the build cache goes by its content.
fn share_build_cache(scratch: &Scratch) {
    let own = scratch.dir("home/.cache/pspf");
    for directory in [scratch.join("home/.cache"), own.clone()] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let home = std::env::home_dir().unwrap_or_default();
    let cache = std::env::var_os("PSPF_CACHE_DIR").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| home.join(".cache/pspf")).join("build");
    fs::create_dir_all(&cache).unwrap();
    symlink(&cache, own.join("build")).unwrap();
    for (name, below) in [("PYENV_ROOT", ".pyenv"), ("UV_CACHE_DIR", ".cache/uv")] {
        let there = home.join(below);
        if there.is_dir() && std::env::var_os(name).is_none() {
            link(&there, &scratch.join("home").join(below));
        }
    }
}

fn link(to: &Path, at: &Path) {
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    symlink(to, at).unwrap();
}

#[test]
fn an_example_is_compared_but_for_numbers_and_dots() {
    let lines = |text: &str| text.lines().map(even).collect::<Vec<_>>();
    let matches = |expected: &str, found: &str| matches(&lines(expected), &lines(found));
    assert!(matches("a  1.5 KiB\n...\nz", "a 20 MiB\nb\nc\nz"));
    assert!(matches("key 0123456789abcdef ...", "key fedcba9876543210 (of mine)"));
    assert!(!matches("a", "a\nb") && !matches("a\nb", "a") && !matches("a ... c", "a b d"));
}
