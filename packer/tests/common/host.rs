//! Hosts that lack something: system calls, or everything but the package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::is_root;
use super::package::copy_package;

/// A busybox that needs no loader and no library. `None`: skipped.
pub fn busybox() -> Option<PathBuf> {
    let places = ["/bin/busybox", "/usr/bin/busybox", "/usr/local/bin/busybox"].map(PathBuf::from);
    // A dynamic one names its loader.
    let is_static = |path: &&PathBuf| {
        fs::read(path).is_ok_and(|bytes| !bytes.windows(8).any(|window| window == b"/ld-linu" || window == b"/ld-musl"))
    };
    super::require(places.iter().find(is_static).cloned().ok_or_else(|| "there is no static busybox".into()))
}

/// Runs `program` of a directory that it takes for the root of everything.
pub fn in_root(root: &Path, program: &str) -> Command {
    let mut command = if is_root() {
        Command::new("/usr/sbin/chroot")
    } else {
        let mut unshare = Command::new("/usr/bin/unshare");
        unshare.args(["--map-root-user", "--root"]);
        unshare
    };
    command.arg(root).arg(program).current_dir("/");
    command
}

/// Puts glibc, its loader and nothing else into a root directory.
pub fn copy_c_library(root: &Path) {
    let library = ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/usr/lib"]
        .into_iter()
        .find(|directory| Path::new(directory).join("libc.so.6").exists())
        .expect("glibc");
    let family = ["c", "m", "dl", "pthread", "rt", "util", "resolv", "nss_files", "nss_dns"];
    fs::create_dir_all(root.join(&library[1..])).unwrap();
    for entry in fs::read_dir(library).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if family.iter().any(|member| name.starts_with(&format!("lib{member}.so."))) {
            fs::copy(entry.path(), root.join(&library[1..]).join(name)).unwrap();
        }
    }
    fs::create_dir_all(root.join("lib64")).unwrap();
    let loader = "lib64/ld-linux-x86-64.so.2";
    copy_package(&Path::new("/").join(loader), &root.join(loader));
}

/// Makes every system call that is newer than Linux 3.10 fail with this error for the process and its children: an old
/// kernel answers ENOSYS, a container's filter that does not know them EPERM.
#[cfg(target_os = "linux")]
pub fn without_system_calls(command: &mut Command, errno: i32) -> &mut Command {
    use std::collections::BTreeMap;
    use std::os::unix::process::CommandExt as _;

    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

    let newer = [
        libc::SYS_finit_module,
        libc::SYS_sched_setattr,
        libc::SYS_renameat2,
        libc::SYS_seccomp,
        libc::SYS_getrandom,
        libc::SYS_memfd_create,
        libc::SYS_execveat,
        libc::SYS_membarrier,
        libc::SYS_mlock2,
        libc::SYS_copy_file_range,
        libc::SYS_preadv2,
        libc::SYS_pwritev2,
        libc::SYS_statx,
        libc::SYS_pidfd_send_signal,
        libc::SYS_io_uring_setup,
        libc::SYS_pidfd_open,
        libc::SYS_clone3,
        libc::SYS_close_range,
        libc::SYS_openat2,
        libc::SYS_pidfd_getfd,
        libc::SYS_faccessat2,
        libc::SYS_epoll_pwait2,
        libc::SYS_mount_setattr,
        libc::SYS_landlock_create_ruleset,
        libc::SYS_fchmodat2,
    ];
    let rules: BTreeMap<i64, Vec<_>> = newer.into_iter().map(|number| (number, Vec::new())).collect();
    let refuse = SeccompAction::Errno(errno.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into().expect("an architecture that has filters");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).expect("a filter");
    let program: BpfProgram = filter.try_into().expect("a program");
    let install = move || match seccompiler::apply_filter(&program) {
        Ok(()) => Ok(()),
        Err(_) => Err(std::io::Error::last_os_error()),
    };
    // SAFETY: the child makes two system calls and touches no lock and no memory that another thread may hold.
    unsafe { command.pre_exec(install) }
}
