//! Runs `selfcheck`, a binary over the same runtime as the launcher, and looks at it from outside.
//!
//! This file must not mention the `freestanding` crate: its panic handler would meet the standard library's.

#![cfg(feature = "selfcheck")]

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Output};

#[test]
fn arguments_and_environment_arrive_untouched() {
    let output = selfcheck(&["show", "a", "", "b c", "--exit", "\u{e9}\n"]);
    let path = env!("CARGO_BIN_EXE_selfcheck");
    assert_eq!(
        text(&output.stdout),
        format!("me\nshow\na\n\nb c\n--exit\n\u{e9}\n\nEMPTY=\nKEY=a value\n{path}\nnot secure\n")
    );
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn the_result_of_main_is_the_exit_code() {
    for code in [0, 1, 42, 255] {
        assert_eq!(selfcheck(&["exit", &code.to_string()]).status.code(), Some(code));
    }
}

#[test]
fn a_panic_says_where_and_what_in_one_line_and_exits_with_101() {
    let output = selfcheck(&["panic"]);
    let message = text(&output.stderr);
    assert!(message.starts_with("pspf: internal error at src/bin/selfcheck.rs:"), "{message}");
    assert!(message.ends_with(": as the caller wished\n"), "{message}");
    assert_eq!(message.lines().count(), 1);
    assert_eq!(output.status.code(), Some(101));
}

#[test]
fn a_panic_inside_the_core_library_says_where_too() {
    let output = selfcheck(&["index"]);
    let message = text(&output.stderr);
    assert!(message.starts_with("pspf: internal error at src/bin/selfcheck.rs:"), "{message}");
    assert_eq!(output.status.code(), Some(101));
}

#[test]
fn running_out_of_memory_is_told_and_neither_an_internal_error_nor_a_crash() {
    let output = selfcheck(&["exhaust"]);
    assert_eq!(text(&output.stderr), "pspf: out of memory\n");
    assert_eq!((output.status.code(), output.status.signal()), (Some(106), None));
}

#[test]
fn memory_does_not_grow_with_the_number_of_files() {
    let [few, many] = ["1000", "100000"].map(|files| {
        let output = selfcheck(&["churn", files]);
        assert_eq!(output.status.code(), Some(0));
        let figures = text(&output.stdout).to_owned();
        ["VmHWM:", "Anonymous:"].map(|name| {
            let figure = figures.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells it");
            figure.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
        })
    });
    let [(few_peak, few), (many_peak, many)] = [few, many].map(|[peak, held]| (peak, held));
    // What is held is counted page by page. The peak is counted in batches for each processor, some hundred KiB apart for the
    // same memory.
    assert!(many <= few + 64, "{few} KiB held after a thousand files, {many} KiB after a hundred thousand");
    assert!(many_peak <= few_peak + 512, "peak {few_peak} KiB after a thousand files, {many_peak} KiB after many");
    assert!(many_peak < 4096, "{many_peak} KiB");
}

/// The output of `selfcheck args...`, started under another name and with an environment of two variables.
fn selfcheck(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_selfcheck"))
        .arg0("me")
        .args(args)
        .env_clear()
        .envs([("EMPTY", ""), ("KEY", "a value")])
        .output()
        .expect("selfcheck starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}
