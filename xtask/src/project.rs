//! Where things are, and how to start programs there.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// What the launcher is built for.
pub(crate) const LAUNCHER_TARGET: &str = "x86_64-unknown-linux-gnu";

/// The workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_path_buf()
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        // Relative to where cargo was called; xtask runs there too.
        Some(target) => std::path::absolute(&target).unwrap_or(target.into()),
        None => root().join("target"),
    }
}

/// Where programs are put that only the tests use.
pub(crate) fn peers() -> PathBuf {
    target().join("peers")
}

/// The workspace of the freestanding launcher.
pub(crate) fn freestanding() -> PathBuf {
    root().join("launcher/freestanding")
}

/// The workspace of the example that links no standard library.
pub(crate) fn freestanding_example() -> PathBuf {
    root().join("pspf-core/examples/freestanding")
}

/// Cargo, in the workspace.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(args).current_dir(root());
    // Set for xtask by the cargo that runs it; a cargo below must not take them for its own.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Cargo, in the launcher's own workspace; its output stays apart from ours.
pub(crate) fn cargo_freestanding(args: &[&str]) -> Command {
    let mut cargo = cargo(args);
    cargo.current_dir(freestanding()).env("CARGO_TARGET_DIR", target().join("freestanding"));
    cargo
}

/// Cargo, in that example's workspace; its output stays apart from ours.
pub(crate) fn cargo_example(args: &[&str]) -> Command {
    let mut cargo = cargo(args);
    cargo.current_dir(freestanding_example()).env("CARGO_TARGET_DIR", target().join("freestanding-example"));
    cargo
}

/// Runs a command in view of the user; an error unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", words(command));
    let status = command.status().with_context(|| format!("{} does not start", program(command)))?;
    ensure!(status.success(), "{} ended with {status}", program(command));
    Ok(())
}

/// What a command prints when it succeeds; None when it does not, or does not exist.
pub(crate) fn output(program: impl AsRef<OsStr>, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The command as one would type it, its variables first.
fn words(command: &Command) -> String {
    let mut words: Vec<String> = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!("{}={:?}", name.to_string_lossy(), value.to_string_lossy()));
        }
    }
    words.push(program(command));
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    words.join(" ")
}

fn program(command: &Command) -> String {
    let program = Path::new(command.get_program());
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
}
