//! What the numbers depend on: processor, kernel, distribution, file systems.

use std::fs;
use std::path::Path;

/// The processor, how many of it, and whether it has instructions for SHA-256.
pub(crate) fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |name| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let model = value("model name").unwrap_or_else(|| "unknown processor".into());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let sha = value("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "sha_ni"));
    let plural = if cores == 1 { "" } else { "s" };
    format!("{model}, {cores} core{plural}, {} SHA-256 instructions", if sha { "with" } else { "without" })
}

/// The kernel's version, without what a distributor has added to it.
pub(crate) fn kernel() -> String {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    format!("Linux {}", release.split('-').next().unwrap_or_default())
}

/// The distribution's name.
pub(crate) fn distribution() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "unknown distribution".into(), |name| name.trim_matches('"').to_owned())
}

/// How many processes wanted a processor in the last minute, on average.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// The type of the file system that a directory is on: "ext4", "tmpfs".
pub(crate) fn file_system(directory: &Path) -> String {
    let directory = fs::canonicalize(directory).unwrap_or_else(|_| directory.into());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    file_system_in(&mounts, &directory).unwrap_or_else(|| "unknown file system".into())
}

/// The type of the mount that is nearest above; of two on one place the later one is what one sees.
fn file_system_in(mounts: &str, directory: &Path) -> Option<String> {
    let mount = |line: &str| -> Option<(usize, String)> {
        let point = Path::new(line.split(' ').nth(4)?).to_owned();
        let kind = line.split(" - ").nth(1)?.split(' ').next()?.to_owned();
        directory.starts_with(&point).then(|| (point.components().count(), kind))
    };
    mounts.lines().filter_map(mount).max_by_key(|(depth, _)| *depth).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_says_the_file_system() {
        const MOUNTS: &str = "22 1 254:0 / / rw - ext4 /dev/vda rw\n\
            25 22 0:21 / /dev rw - devtmpfs none rw\n\
            26 25 0:22 / /dev/shm rw,nosuid shared:4 - tmpfs tmpfs rw\n";
        let of = |path: &str| file_system_in(MOUNTS, Path::new(path)).unwrap();
        assert_eq!(
            [of("/home/me"), of("/dev/null"), of("/dev/shm/x"), of("/dev/shmem")],
            ["ext4", "devtmpfs", "tmpfs", "devtmpfs"]
        );
    }
}
