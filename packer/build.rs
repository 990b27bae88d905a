//! Builds the Linux launchers (`launcher/freestanding`) and leaves them where `launchers.rs` embeds them.
//!
//! The launcher is a workspace of its own, for the reasons in its README, so this is a cargo inside
//! cargo: its own target directory, an explicit target, and none of the outer build's settings.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

/// What the launcher is built for. A build of packer against another C library embeds the same one: it uses none.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The launchers: their file names, and the features that each is built with.
const LAUNCHERS: [(&str, &str); 2] = [("pspf-launcher", ""), ("pspf-launcher-all", "all")];

/// Everything that goes into a launcher, from the workspace's root.
const SOURCES: [&str; 14] = [
    "Cargo.toml",
    "inflate/Cargo.toml",
    "inflate/src",
    "pspf-core/Cargo.toml",
    "pspf-core/src",
    "launcher/Cargo.toml",
    "launcher/src",
    "launcher/freestanding/Cargo.toml",
    "launcher/freestanding/Cargo.lock",
    "launcher/freestanding/build.rs",
    "launcher/freestanding/link.ld",
    "launcher/freestanding/rustc.sh",
    "launcher/freestanding/.cargo/config.toml",
    "launcher/freestanding/src",
];

fn main() {
    let out = PathBuf::from(required("OUT_DIR"));
    println!("cargo:rerun-if-changed=build.rs");
    if required("CARGO_CFG_TARGET_OS") != "linux" || required("CARGO_CFG_TARGET_ARCH") != "x86_64" {
        // Empty files: packer then asks for --launcher-bin.
        for (name, _) in LAUNCHERS {
            write(&out.join(name), &[]);
        }
        return;
    }

    let package = PathBuf::from(required("CARGO_MANIFEST_DIR"));
    let root = package.parent().unwrap_or_else(|| fail("packer is not inside a workspace"));
    for source in SOURCES {
        println!("cargo:rerun-if-changed={}", root.join(source).display());
    }
    for variable in ["CARGO_HOME", "CARGO_NET_OFFLINE"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let target = out.join("launcher");
    // Downloads and unpacks the dependencies, so that `rustc_flags` sees where their sources are.
    run(&mut cargo("fetch", root));
    for (name, features) in LAUNCHERS {
        run(cargo("build", root)
            .args(["--release", "--bin", "pspf-launcher", "--features", features, "--target-dir"])
            .arg(&target)
            .env("CARGO_ENCODED_RUSTFLAGS", rustc_flags(root).join(OsStr::new("\x1f"))));
        let built = target.join(TARGET).join("release/pspf-launcher");
        let bytes = fs::read(&built).unwrap_or_else(|e| fail(&format!("cannot read {}: {e}", built.display())));
        write(&out.join(name), &bytes);
    }
}

/// `cargo <command>` on the launcher, for its target, by the outer build's cargo and rustc.
fn cargo(command: &str, root: &Path) -> Command {
    let mut cargo = Command::new(required("CARGO"));
    for (name, _) in env::vars_os() {
        if !is_kept(&name) {
            cargo.env_remove(name);
        }
    }
    // The directory decides which .cargo/config.toml count: the launcher's, not that of whoever called.
    cargo.current_dir(root.join("launcher/freestanding")).args([command, "--locked", "--target", TARGET]);
    cargo
}

/// Whether the inner build should see this variable.
///
/// The outer build's flags, wrappers (clippy is one), profile and target are not the launcher's. What is kept of
/// cargo's own variables says where things are and how to reach the network.
fn is_kept(name: &OsStr) -> bool {
    const KEPT: [&str; 6] =
        ["CARGO_HOME", "CARGO_HTTP_", "CARGO_MAKEFLAGS", "CARGO_NET_", "CARGO_REGISTR", "CARGO_TERM_"];
    let Some(name) = name.to_str() else { return true };
    if name.starts_with("CARGO") {
        return KEPT.iter().any(|kept| name.starts_with(kept));
    }
    // RUSTC and the RUSTUP_ variables say which compiler; RUSTFLAGS, RUSTC_WRAPPER and the like change what it does.
    name == "RUSTC" || !(name.starts_with("RUSTC_") || name.starts_with("RUSTDOC") || name == "RUSTFLAGS")
}

/// Flags that a manifest cannot give. Profile and link arguments are in the launcher's own Cargo.toml and build.rs.
///
/// The compiler records source paths for panic messages. They are cut to what does not depend on the machine:
/// `launcher/src/store.rs`, `rustix-1.1.6/src/..`.
fn rustc_flags(root: &Path) -> Vec<OsString> {
    let mut flags: Vec<OsString> = vec![
        "-Crelocation-model=static".into(),
        // SHA-256 for processors without instructions for it: rolled up, a third slower, and 9 KB smaller.
        "--cfg".into(),
        "sha2_backend_soft=\"compact\"".into(),
        // Sequences of instructions that occur often become functions, large matches comparisons, and what stays short in
        // line is measured more narrowly: 2,200 bytes.
        "-Cllvm-args=-enable-machine-outliner=always".into(),
        "-Cllvm-args=-min-jump-table-entries=200".into(),
        "-Cllvm-args=-x86-cmov-converter=false".into(),
        "-Cllvm-args=-inline-threshold=4".into(),
        "-Cllvm-args=-phi-node-folding-threshold=1".into(),
    ];
    let mut remap = |from: &Path, to: &str| {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(from);
        flag.push("=");
        flag.push(to);
        flags.push(flag);
    };
    // The last one that matches counts.
    let home = cargo_home();
    remap(&home, "cargo");
    for directory in ["registry/src", "git/checkouts"] {
        let Ok(entries) = fs::read_dir(home.join(directory)) else { continue };
        let mut sources: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        sources.sort();
        for source in sources {
            remap(&source, "");
        }
    }
    remap(root, "");
    flags
}

/// Where cargo keeps what it downloads.
fn cargo_home() -> PathBuf {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| Some(env::home_dir()?.join(".cargo"))).unwrap_or_else(|| fail("there is no home directory"))
}

/// Runs a command to its end. Its output is shown only when it fails.
fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| fail(&format!("cannot start {command:?}: {e}")));
    if !output.status.success() {
        let messages = String::from_utf8_lossy(&output.stderr);
        fail(&format!(
            "the launcher does not build ({}).\n\n{messages}\nTo see it alone: cd launcher/freestanding && cargo \
             build --release\nIf the target is missing: rustup target add {TARGET}",
            output.status
        ));
    }
}

/// Leaves a file of the same contents alone, so that nothing is compiled again without need.
fn write(path: &Path, bytes: &[u8]) {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return;
    }
    fs::write(path, bytes).unwrap_or_else(|e| fail(&format!("cannot write {}: {e}", path.display())));
}

/// A variable that cargo sets for every build script.
fn required(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| fail(&format!("{name} is not set: is this run by cargo?")))
}

fn fail(message: &str) -> ! {
    eprintln!("packer's build script: {message}");
    process::exit(1)
}
