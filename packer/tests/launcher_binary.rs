//! The embedded launcher alone, run as a program. `launcher/freestanding/tests` looks at the runtime under it.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output};

/// Not the format (FORMAT.md, section 4).
const EXIT_FORMAT: i32 = 102;

#[test]
fn without_a_package_it_says_so_and_what_to_try() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(launcher(&directory)).args(["a", "b c"]).output().unwrap();
    refused(&output);
}

#[test]
fn it_starts_with_an_empty_environment_and_an_empty_name() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(launcher(&directory)).arg0("").env_clear().output().unwrap();
    refused(&output);
}

#[test]
fn it_starts_with_more_arguments_than_a_page_holds() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(launcher(&directory)).args((0..20_000).map(|i| i.to_string())).output().unwrap();
    refused(&output);
}

/// A polite refusal: the code for it, what is wrong and what to try, no panic.
fn refused(output: &Output) {
    let message = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(EXIT_FORMAT), "{message}");
    assert_eq!(message.lines().count(), 2, "{message}");
    assert!(message.contains("not a PSPF package") && message.contains("\n  try: "), "{message}");
    assert!(!message.contains("internal error"), "{message}");
    assert!(output.stdout.is_empty());
}

/// The launcher as a file that can be run.
fn launcher(directory: &tempfile::TempDir) -> PathBuf {
    let path = directory.path().join("pspf-launcher");
    fs::write(&path, packer::launchers::built_in().expect("there is one for this platform")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}
