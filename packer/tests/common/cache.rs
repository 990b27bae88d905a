//! Everything that is in a cache, so that two can be compared, and what does not belong there.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use pspf_core::Digest;

use super::scratch::walk;

/// Every entry below a cache: kind, mode and content. Two caches at one path that hold the same have the same contents,
/// whenever they were made.
///
/// In seals, the time of each file has to be the file's own, and is left out then; so is the boot.
pub fn contents(cache: &Path) -> BTreeMap<PathBuf, String> {
    let described = |(path, metadata): (PathBuf, fs::Metadata)| {
        let content = if metadata.is_symlink() {
            format!("-> {}", fs::read_link(&path).unwrap_or_default().display())
        } else if path.file_name().is_some_and(|name| name == ".seal") {
            seal(&path)
        } else if metadata.is_file() {
            format!("{} {}", metadata.len(), Digest::of(&fs::read(&path).unwrap_or_default()))
        } else {
            String::new()
        };
        let relative = path.strip_prefix(cache).expect("below the cache").to_path_buf();
        (relative, format!("{:o} {content}", metadata.mode()))
    };
    walk(cache).into_iter().map(described).collect()
}

/// What work that was broken off has left in a cache.
pub fn leftovers(cache: &Path) -> Vec<PathBuf> {
    let entries = ["v1/slots", "v1/envs"].into_iter().flat_map(|kind| fs::read_dir(cache.join(kind)));
    let names = entries.flatten().flatten().map(|entry| entry.path());
    let unfinished = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.as_bytes().starts_with(b".tmp.") || name.as_bytes().starts_with(b".trash."))
    };
    names.filter(unfinished).collect()
}

/// The first difference between what was expected of a cache and what is there.
pub fn difference(expected: &BTreeMap<PathBuf, String>, found: &BTreeMap<PathBuf, String>) -> Option<String> {
    let paths = expected.keys().chain(found.keys());
    paths.into_iter().find(|path| expected.get(*path) != found.get(*path)).map(|path| {
        let shown = |entries: &BTreeMap<PathBuf, String>| entries.get(path).cloned().unwrap_or("nothing".to_owned());
        format!("{}: expected {}, found {}", path.display(), shown(expected), shown(found))
    })
}

/// Changes a byte of a file that has its size, time and mode afterwards.
pub fn edit_without_a_trace(file: &Path) {
    let before = fs::metadata(file).expect("a file");
    let mut content = fs::read(file).expect("a file");
    *content.last_mut().expect("a byte") ^= 1;
    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).expect("its mode");
    fs::write(file, content).expect("a changed file");
    let changed = fs::File::options().write(true).open(file).expect("a changed file");
    changed.set_modified(before.modified().expect("its time")).expect("its time");
    fs::set_permissions(file, before.permissions()).expect("its mode");
}

/// Makes every slot and workenv one that was sealed before the machine was started.
pub fn boot_again(cache: &Path) {
    for (path, _) in walk(cache).into_iter().filter(|(path, _)| path.file_name().is_some_and(|name| name == ".seal")) {
        let text = fs::read_to_string(&path).expect("a seal");
        let boot = text.split([' ', '\n']).nth(5).expect("a boot");
        let other: String = boot.chars().map(|digit| if digit == '-' { '-' } else { '0' }).collect();
        fs::write(&path, text.replacen(boot, &other, 1)).expect("a seal");
    }
}

/// A seal's text without its boot, and without the times that are those of the files (docs/architecture.md, "The cache on
/// disk").
fn seal(path: &Path) -> String {
    let text = String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    let Some((header, rows)) = text.split_at_checked(256) else { return format!("no header: {text:?}") };
    // A slot's rows are about what is in its `content`, a workenv's about itself.
    let directory = path.parent().expect("a directory");
    let sealed = [directory.join("content"), directory.to_path_buf()].into_iter().find(|d| d.is_dir());
    let sealed = sealed.expect("the directory that it is in");
    let mut seen: Vec<String> = header.split_whitespace().take(5).map(str::to_owned).collect();
    for row in rows.split_terminator('\0') {
        let fields: Vec<&str> = row.splitn(5, ' ').collect();
        let [kind, mode, size, time, name] = fields[..] else { return format!("no row: {row:?}") };
        let own =
            fs::metadata(sealed.join(name)).map(|m| m.mtime() * 1_000_000_000 + m.mtime_nsec()).unwrap_or_default();
        let time = if time == own.to_string() { "its own time" } else { time };
        seen.push(format!("{kind} {mode} {size} {time} {name}"));
    }
    seen.join("; ")
}
