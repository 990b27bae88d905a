//! The format library in a program without the standard library and without libc: `examples/freestanding`.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::{env, fs};

use common::{gzip, key, package, raw, tar, tar_gzip};
use pspf_core::sign::KeyId;

#[test]
fn it_lists_the_slots_of_a_package_with_their_sizes() {
    let archive = tar(&[("bin/sample", b"#!/bin/sh\n"), ("share/text", &[b'x'; 700])]);
    let slots = [raw("conf", b"a = 1\n"), tar_gzip("app", &archive, 1000), gzip("text", &[b'y'; 5000], 999)];
    let output = list("good", &package(&slots));
    let stored = slots.map(|(_, stored)| stored.len());
    assert_eq!(
        text(&output.stdout),
        format!(
            "sample: key {}\nconf 6 6 raw\napp {} {} tar.gz\ntext {} 5000 gzip\n",
            KeyId::of(&key().public_key()),
            stored[1],
            archive.len(),
            stored[2]
        )
    );
    assert_eq!((text(&output.stderr), output.status.code()), ("", Some(0)));
}

#[test]
fn it_refuses_a_changed_package_and_says_what_changed() {
    let good = package(&[raw("conf", b"a = 1\n")]);
    let launcher = good.windows(4).position(|bytes| bytes == b"\x7fELF").unwrap();
    let slot = good.windows(6).position(|bytes| bytes == b"a = 1\n").unwrap();
    for (at, what) in [(launcher, "list-slots: launcher: expected "), (slot, "list-slots: slot 0: expected ")] {
        let mut changed = good.clone();
        changed[at] ^= 1;
        let output = list(&format!("changed-{at}"), &changed);
        assert_eq!((text(&output.stdout), output.status.code()), ("", Some(1)));
        assert!(text(&output.stderr).starts_with(what), "{}", text(&output.stderr));
    }
    let output = list("no-package", b"no package");
    assert!(text(&output.stderr).starts_with("list-slots: not a PSPF package"), "{}", text(&output.stderr));
}

#[test]
fn it_needs_neither_a_loader_nor_a_shared_library() {
    const DYNAMIC: u32 = 2;
    const INTERPRETER: u32 = 3;
    let elf = fs::read(program()).unwrap();
    assert!(elf.starts_with(b"\x7fELF\x02\x01"), "a 64-bit little-endian ELF file");
    let number =
        |at: usize, size: usize| elf[at..at + size].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    // The program headers: e_phoff, e_phentsize, e_phnum.
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    let kinds: Vec<u32> = (0..count).map(|i| number(table + i * size, 4) as u32).collect();
    assert!(!kinds.is_empty());
    assert!(!kinds.contains(&INTERPRETER) && !kinds.contains(&DYNAMIC), "{kinds:?}");
}

/// Runs the program on a package.
fn list(name: &str, file: &[u8]) -> Output {
    let path = directory().join(name).with_extension("psp");
    fs::write(&path, file).unwrap();
    Command::new(program()).arg(path).output().unwrap()
}

/// The program, built once.
fn program() -> &'static Path {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
        for (name, _) in env::vars_os() {
            // What is meant for the build of this test. What stays says where things are and how to get there.
            let name = name.to_string_lossy();
            let kept = ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_TERM_"];
            let meant = name.starts_with("CARGO") || name.starts_with("RUSTC_") || name == "RUSTFLAGS";
            if meant && !kept.iter().any(|kept| name.starts_with(kept)) {
                cargo.env_remove(&*name);
            }
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/freestanding");
        cargo.current_dir(source).args(["build", "--locked", "--release", "--target", TARGET, "--target-dir"]);
        let output = cargo.arg(directory()).output().unwrap();
        assert!(output.status.success(), "the example does not build:\n{}", text(&output.stderr));
        directory().join(TARGET).join("release/list-slots")
    })
}

fn directory() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("freestanding");
    fs::create_dir_all(&directory).unwrap();
    directory
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}
