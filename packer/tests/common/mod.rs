//! What the tests of the finished tool share: scratch directories, packages made once, and plain words about
//! finished processes. Everything here drives the real `packer` and real packages.
#![allow(dead_code, unused_imports, unreachable_pub, reason = "every test binary compiles it and uses its own part")]

mod app;
pub mod attacks;
mod cache;
pub mod forge;
mod host;
pub mod machine;
mod mounts;
mod package;
mod process;
mod processes;
mod python;
mod reference;
mod report;
mod scratch;
mod signed;
mod upgrade;
mod versions;
pub mod victim;

pub use app::App;
pub use cache::{boot_again, contents, difference, edit_without_a_trace, leftovers};
pub use host::{busybox, copy_c_library, in_root, without_system_calls};
pub use mounts::{Mount, on_a_tmpfs};
pub use package::{
    copy_package, copy_tree, env_of, envs, heavy, hello, numbers, pack, packer, probe, program_for, slots, source_of,
    write_files,
};
pub use process::{Finish, Finished};
pub use processes::{Processes, require_processes};
pub use python::{PythonProject, uv, write_wheel};
pub use reference::{Builder, Launcher, Reference, at_home};
pub use report::{is_full, record};
pub use scratch::{Scratch, remove, snapshot, walk};
pub use signed::{Signed, User, key_id, succession};
pub use upgrade::{Kind, Place, output, pack_versions, package, start};
pub use versions::{Versions, Waiting};

use std::io::Write as _;
use std::path::PathBuf;

/// What a test cannot do without. `None` means: return, it is told that the test was skipped and why.
/// Where nothing may be skipped (`cargo xtask test --install`, CI) the test fails instead.
pub fn require<T>(found: Result<T, String>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(reason) => {
            let thread = std::thread::current();
            let test = thread.name().unwrap_or("a test");
            assert!(std::env::var_os("PSPF_TEST_NO_SKIP").is_none(), "nothing may be skipped here, but {reason}");
            // Written past the test harness, which would keep it to itself.
            let _ = writeln!(std::io::stderr(), "skipped: {test}: {reason}");
            if let Some(list) = std::env::var_os("PSPF_TEST_SKIPPED") {
                let list = std::fs::OpenOptions::new().append(true).create(true).open(list);
                let _ = list.and_then(|mut list| writeln!(list, "{test}: {reason}"));
            }
            None
        }
    }
}

/// The command `flavor` of the reference implementation, as `cargo xtask test --install` provides it.
pub fn flavor() -> Option<PathBuf> {
    require(match std::env::var_os("PSPF_TEST_FLAVOR") {
        Some(path) => Ok(PathBuf::from(path)),
        None => Err("PSPF_TEST_FLAVOR does not name the reference's `flavor`; cargo xtask test --install does".into()),
    })
}

/// An interpreter that can be packed. `cargo xtask test` knows whether there is one.
pub fn require_python() -> Option<()> {
    require(match std::env::var("PSPF_TEST_NO_PYTHON") {
        Ok(reason) => Err(reason),
        Err(_) => Ok(()),
    })
}

/// True once the test may act as any user: own files, change the user of a child, chroot.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Succeeds as root.
pub fn require_root() -> Option<()> {
    require(is_root().then_some(()).ok_or_else(|| "only root can start a program as somebody else".into()))
}

/// Succeeds where system calls of other processes can be made to fail.
pub fn require_strace() -> Option<()> {
    let mut trial = std::process::Command::new("strace");
    trial.args(["-f", "-qq", "-b", "execve", "-o", "/dev/null", "-e", "inject=openat:error=EIO:when=1000", "true"]);
    let works = match trial.stdin(std::process::Stdio::null()).output() {
        Err(error) => Err(format!("strace does not start ({error}); cargo xtask test --install gets it")),
        Ok(output) if !output.status.success() => {
            Err(format!("strace may trace nothing here: {}", String::from_utf8_lossy(&output.stderr).trim()))
        }
        Ok(_) => Ok(()),
    };
    require(works)
}
