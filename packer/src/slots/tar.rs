//! A directory as a tar archive: sorted, of regular files, links and empty directories.
//!
//! The bytes depend on the content alone: owners, times and umask leave no trace.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ignore::gitignore::Gitignore;
use pspf_core::archive::{BLOCK, DIRECTORY_MODE, SYMLINK_MODE};
use pspf_core::digest::Hasher;
use pspf_core::placement::Placement;
use pspf_core::tree::{Kind as EntryKind, TreeHasher};
use pspf_core::{Digest, limits};
use tar::{EntryType, Header};

use super::encoder::Encoder;
use super::strip::Tally;
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// What of a directory is packed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filter<'a> {
    /// Patterns of what is not.
    pub(super) exclude: &'a Gitignore,
    /// Files that packer itself writes.
    pub(super) own: &'a [PathBuf],
    /// What becomes of symbolic links.
    pub(super) links: Links,
    /// What every name in the archive begins with.
    pub(super) prefix: &'a str,
    /// Counts what is stripped of ELF files; `None` packs them as they are.
    pub(super) strip: Option<&'a Tally>,
}

/// What becomes of symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// They are packed.
    Packed,
    /// There may be none.
    Refused,
}

/// Writes everything below `root` as an archive. Gives the digest of the tree that extraction writes, and the number
/// of its entries.
pub(super) fn write_tree(
    root: &Path,
    filter: Filter<'_>,
    placement: &Placement,
    encoder: &mut Encoder,
    progress: &dyn Progress,
) -> Result<(Digest, u64)> {
    // Whatever cannot be packed is told before the work.
    let mut count = 0;
    walk(root, filter, &mut |_| {
        count += 1;
        progress.check()
    })?;
    if count > limits::ENTRIES {
        return Err(Error::new(Kind::Build, "too many files for one slot")
            .file(root)
            .expected(format!("at most {}", limits::ENTRIES))
            .found(count.to_string())
            .hint("exclude what the app does not need, or put some of the directories into a slot of their own"));
    }
    let mut tree = TreeHasher::streaming();
    walk(root, filter, &mut |entry| {
        progress.check()?;
        progress.trace(&|| entry.name.clone());
        let (kind, mode, digest) = match &entry.kind {
            Found::File { size, executable } => {
                let mode = if *executable { 0o755 } else { 0o644 };
                let digest = write_file(encoder, &entry, *size, mode, filter.strip, progress)?;
                (EntryKind::File, placement.mode(mode), digest)
            }
            Found::Symlink { .. } if filter.links == Links::Refused => {
                return Err(Error::new(Kind::Build, "FlavorPack's launchers unpack no symbolic links")
                    .file(&entry.path)
                    .hint("replace it by what it leads to, exclude it, or leave --launcher out"));
            }
            Found::Symlink { target } => {
                write_header(encoder, &entry.name, EntryType::Symlink, 0o777, 0, Some(target))?;
                (EntryKind::Symlink, SYMLINK_MODE, Digest::of(target.as_bytes()))
            }
            Found::EmptyDirectory => {
                write_header(encoder, &format!("{}/", entry.name), EntryType::Directory, 0o755, 0, None)?;
                (EntryKind::Directory, DIRECTORY_MODE, Digest([0; 32]))
            }
        };
        // The walk is sorted and names only empty directories, so nothing is ever out of order.
        let _ = tree.add(kind, mode, &entry.name, digest);
        Ok(())
    })?;
    // The end of the archive: two blocks of zeros.
    encoder.write(&[0; 2 * BLOCK])?;
    Ok(tree.finish())
}

/// How many entries the archive would have, and how many bytes their content.
pub(super) fn measure(root: &Path, filter: Filter<'_>) -> Result<(u64, u64)> {
    let (mut entries, mut bytes) = (0, 0);
    walk(root, filter, &mut |entry| {
        entries += 1;
        if let Found::File { size, .. } = entry.kind {
            bytes += size;
        }
        Ok(())
    })?;
    Ok((entries, bytes))
}

/// Something to put into the archive.
struct Entry {
    path: PathBuf,
    /// The path below the root, with slashes.
    name: String,
    kind: Found,
}

enum Found {
    File { size: u64, executable: bool },
    Symlink { target: String },
    EmptyDirectory,
}

/// Gives `each` everything below `root`, sorted by the bytes of the names. Memory grows with the largest directory, not
/// with the tree.
fn walk(root: &Path, filter: Filter<'_>, each: &mut dyn FnMut(Entry) -> Result<()>) -> Result<()> {
    visit(root, "", filter, &mut |entry| each(Entry { name: format!("{}{}", filter.prefix, entry.name), ..entry }))
}

/// Everything in `directory`, whose own name below the root is `prefix` with a slash at its end.
fn visit(directory: &Path, prefix: &str, filter: Filter<'_>, each: &mut dyn FnMut(Entry) -> Result<()>) -> Result<()> {
    let mut names = Vec::new();
    for item in items(directory, prefix, filter)? {
        let (file_name, is_directory) = item?;
        let path = directory.join(&file_name);
        let name = file_name.into_string().ok().filter(|name| !name.contains('\\'));
        let mut name = name.ok_or_else(|| {
            Error::new(Kind::Build, "a file name that other systems cannot have")
                .file(&path)
                .expected("UTF-8 without backslashes")
                .hint("rename or exclude the file")
        })?;
        // What is in a directory is sorted by its name with a slash, an empty one by its name alone.
        if is_directory && items(&path, &format!("{prefix}{name}/"), filter)?.next().transpose()?.is_some() {
            name.push('/');
        }
        names.push(name);
    }
    names.sort_unstable();
    for name in names {
        let (path, name) = (directory.join(&name), format!("{prefix}{name}"));
        if name.ends_with('/') {
            visit(&path, &name, filter, each)?;
            continue;
        }
        let metadata = fs::symlink_metadata(&path).map_err(|error| Error::io("cannot look at", &path, &error))?;
        let kind = if metadata.is_dir() {
            Found::EmptyDirectory
        } else if metadata.is_symlink() {
            let target = fs::read_link(&path).map_err(|error| Error::io("cannot read the link", &path, &error))?;
            Found::Symlink { target: checked_target(&path, &name, &target)? }
        } else if metadata.is_file() {
            Found::File { size: metadata.len(), executable: metadata.permissions().mode() & 0o100 != 0 }
        } else {
            return Err(Error::new(Kind::Build, "neither a file, a directory nor a link; it cannot be packed")
                .file(&path)
                .hint("remove or exclude it"));
        };
        each(Entry { path, name, kind })?;
    }
    Ok(())
}

/// What in a directory is packed: names, and whether each is a directory.
fn items<'a>(
    directory: &'a Path,
    prefix: &'a str,
    filter: Filter<'a>,
) -> Result<impl Iterator<Item = Result<(OsString, bool)>> + 'a> {
    let failed = move |error: io::Error| Error::io("cannot read", directory, &error);
    let listed = fs::read_dir(directory).map_err(failed)?;
    let items = listed.map(move |item| {
        let item = item.map_err(failed)?;
        let (file_name, is_directory) = (item.file_name(), item.file_type().map_err(failed)?.is_dir());
        let excluded = filter.exclude.matched(Path::new(prefix).join(&file_name), is_directory).is_ignore();
        let is_own = |own: &PathBuf| own.file_name() == Some(&file_name) && is_same(own, &item.path());
        Ok((!excluded && !filter.own.iter().any(is_own)).then_some((file_name, is_directory)))
    });
    Ok(items.filter_map(Result::transpose))
}

fn is_same(a: &Path, b: &Path) -> bool {
    matches!((fs::canonicalize(a), fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
}

/// A link may not lead out of the slot: on the user's machine there is something else.
fn checked_target(path: &Path, name: &str, target: &Path) -> Result<String> {
    let mut depth = name.matches('/').count();
    let inside = target.is_relative()
        && target.components().all(|component| match component {
            std::path::Component::ParentDir if depth == 0 => false,
            std::path::Component::ParentDir => {
                depth -= 1;
                true
            }
            std::path::Component::Normal(_) => {
                depth += 1;
                true
            }
            _ => true,
        });
    target.to_str().filter(|_| inside).map(str::to_owned).ok_or_else(|| {
        Error::new(Kind::Build, "a symbolic link that leads out of its slot")
            .file(path)
            .found(target.display().to_string())
            .hint("replace it by what it leads to, or exclude it")
    })
}

fn write_file(
    encoder: &mut Encoder,
    entry: &Entry,
    size: u64,
    mode: u16,
    strip: Option<&Tally>,
    progress: &dyn Progress,
) -> Result<Digest> {
    let failed = |error: io::Error| Error::io("cannot read", &entry.path, &error);
    let stripped = strip.map(|tally| tally.strip(&entry.path)).transpose().map_err(failed)?.flatten();
    let (mut file, size): (Box<dyn io::Read>, u64) = match stripped {
        Some(content) => {
            let size = content.len() as u64;
            (Box::new(io::Cursor::new(content)), size)
        }
        None => (Box::new(File::open(&entry.path).map_err(failed)?), size),
    };
    write_header(encoder, &entry.name, EntryType::Regular, mode, size, None)?;
    let mut buffer = vec![0; 256 << 10];
    let mut hasher = Hasher::new();
    let mut left = size;
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read as u64 > left || (read == 0 && left > 0) {
            return Err(Error::new(Kind::Build, "the file changed while it was packed")
                .file(&entry.path)
                .expected(format!("{size} bytes"))
                .hint("pack again when nothing writes to it"));
        }
        if read == 0 {
            break;
        }
        left -= read as u64;
        hasher.update(&buffer[..read]);
        encoder.write(&buffer[..read])?;
        progress.advance(read as u64);
        progress.check()?;
    }
    pad(encoder, size)?;
    Ok(hasher.finish())
}

fn write_header(
    encoder: &mut Encoder,
    name: &str,
    kind: EntryType,
    mode: u16,
    size: u64,
    target: Option<&str>,
) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode.into());
    header.set_size(size);
    header.set_mtime(MTIME);
    header.set_uid(0);
    header.set_gid(0);
    // What does not fit the header comes before it, in an entry of its own that GNU tar invented and all readers know.
    if header.set_path(name).is_err() {
        write_long(encoder, EntryType::GNULongName, name)?;
        truncated(name, |start| header.set_path(start));
    }
    if let Some(target) = target
        && header.set_link_name(target).is_err()
    {
        write_long(encoder, EntryType::GNULongLink, target)?;
        truncated(target, |start| header.set_link_name(start));
    }
    header.set_cksum();
    encoder.write(header.as_bytes())
}

fn write_long(encoder: &mut Encoder, kind: EntryType, text: &str) -> Result<()> {
    let size = text.len() as u64 + 1;
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    // The name by which all readers know such an entry; it fits.
    let _ = header.set_path("././@LongLink");
    header.set_cksum();
    encoder.write(header.as_bytes())?;
    encoder.write(text.as_bytes())?;
    encoder.write(&[0])?;
    pad(encoder, size)
}

/// Zeros up to the next block, after content of this size.
fn pad(encoder: &mut Encoder, size: u64) -> Result<()> {
    let padding = size.next_multiple_of(BLOCK as u64) - size;
    encoder.write(&[0; BLOCK][..padding as usize])
}

/// Gives `set` as much of the text as a header holds.
fn truncated(text: &str, set: impl FnOnce(&str) -> io::Result<()>) {
    let mut end = 100.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    // What is in front of a long name is looked at by no reader that knows long names.
    let _ = set(text[..end].trim_end_matches('/'));
}

/// 1980-01-01, the earliest time that zip files can hold: some tools choke on earlier ones. It does not follow
/// SOURCE_DATE_EPOCH, so that a new release shares the slots that did not change.
const MTIME: u64 = 315_532_800;
