//! A directory becomes a slot: a sorted tar of regular files, compressed in chunks on all cores.
//!
//! The bytes depend on the content alone: owners, times and umask leave no trace, and chunk borders do not depend on
//! the number of threads (docs/format.md section 5, "Chunks").

use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use flate2::{Compress, Compression, FlushCompress, Status};
use pspf_core::archive::{BLOCK, DIRECTORY_MODE, SYMLINK_MODE};
use pspf_core::build::Encoded;
use pspf_core::claims::Chunks;
use pspf_core::digest::Hasher;
use pspf_core::placement::Placement;
use pspf_core::tree::{Kind as EntryKind, TreeHasher};
use pspf_core::{Digest, limits};
use rayon::prelude::*;
use tar::{EntryType, Header};

use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// Writes the tree below `root` as a `tar.gz` slot to the new file `to`.
pub fn encode_tree(
    root: &Path,
    placement: &Placement,
    level: u32,
    to: &Path,
    progress: &dyn Progress,
) -> Result<Encoded> {
    let entries = list(root)?;
    let mut encoder = Encoder::create(to, level)?;
    let mut tree = TreeHasher::streaming();
    for entry in &entries {
        progress.check()?;
        let (kind, mode, digest) = match &entry.kind {
            Found::File { size, executable } => {
                let mode = if *executable { 0o755 } else { 0o644 };
                let digest = write_file(&mut encoder, entry, *size, mode, progress)?;
                (EntryKind::File, placement.mode(mode), digest)
            }
            Found::Symlink { target } => {
                write_header(&mut encoder, &entry.name, EntryType::Symlink, 0o777, 0, Some(target))?;
                (EntryKind::Symlink, SYMLINK_MODE, Digest::of(target.as_bytes()))
            }
            Found::EmptyDirectory => {
                write_header(&mut encoder, &format!("{}/", entry.name), EntryType::Directory, 0o755, 0, None)?;
                (EntryKind::Directory, DIRECTORY_MODE, Digest([0; 32]))
            }
        };
        // The list is sorted and names only empty directories, so nothing is ever out of order.
        let _ = tree.add(kind, mode, &entry.name, digest);
    }
    // The end of the archive: two blocks of zeros.
    encoder.write(&[0; 2 * BLOCK])?;
    let (tree, files) = tree.finish();
    let (size, original_size, digest, chunks) = encoder.finish()?;
    Ok(Encoded { size, original_size, digest, tree: Some(tree), files, chunks: Some(chunks) })
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

/// Everything below `root`, sorted by the bytes of the names.
fn list(root: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    visit(root, "", &mut entries)?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    if entries.len() as u64 > limits::ENTRIES {
        return Err(Error::new(Kind::Build, "too many files for one slot")
            .file(root)
            .expected(format!("at most {}", limits::ENTRIES))
            .found(entries.len().to_string())
            .hint("exclude what the app does not need"));
    }
    Ok(entries)
}

/// Adds what is in `directory`; says whether there was anything.
fn visit(directory: &Path, prefix: &str, entries: &mut Vec<Entry>) -> Result<bool> {
    let failed = |error: io::Error| Error::io("cannot read", directory, &error);
    let mut any = false;
    for item in fs::read_dir(directory).map_err(failed)? {
        let item = item.map_err(failed)?;
        any = true;
        let path = item.path();
        let file_name = item.file_name();
        let name =
            std::str::from_utf8(file_name.as_bytes()).ok().filter(|name| !name.contains('\\')).ok_or_else(|| {
                Error::new(Kind::Build, "a file name that other systems cannot have")
                    .file(&path)
                    .expected("UTF-8 without backslashes")
                    .hint("rename or exclude the file")
            })?;
        let name = format!("{prefix}{name}");
        let metadata = fs::symlink_metadata(&path).map_err(|error| Error::io("cannot look at", &path, &error))?;
        let kind = if metadata.is_dir() {
            if visit(&path, &format!("{name}/"), entries)? {
                continue;
            }
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
        entries.push(Entry { path, name, kind });
    }
    Ok(any)
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

fn write_file(encoder: &mut Encoder, entry: &Entry, size: u64, mode: u16, progress: &dyn Progress) -> Result<Digest> {
    let failed = |error: io::Error| Error::io("cannot read", &entry.path, &error);
    write_header(encoder, &entry.name, EntryType::Regular, mode, size, None)?;
    let mut file = File::open(&entry.path).map_err(failed)?;
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
    encoder.pad(size)?;
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
    encoder.pad(size)
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

/// Compresses what is written to it in chunks of [`CHUNK`], as many at a time as there are cores.
struct Encoder {
    out: BufWriter<File>,
    path: PathBuf,
    level: Compression,
    current: Vec<u8>,
    batch: Vec<Vec<u8>>,
    stored: Vec<u32>,
    size: u64,
    original_size: u64,
    hasher: Hasher,
    crc: crc32fast::Hasher,
}

impl Encoder {
    fn create(path: &Path, level: u32) -> Result<Self> {
        let file = File::create_new(path).map_err(|error| Error::io("cannot create", path, &error))?;
        let mut encoder = Self {
            out: BufWriter::with_capacity(1 << 20, file),
            path: path.to_path_buf(),
            level: Compression::new(level),
            current: Vec::with_capacity(CHUNK),
            batch: Vec::new(),
            stored: Vec::new(),
            size: 0,
            original_size: 0,
            hasher: Hasher::new(),
            crc: crc32fast::Hasher::new(),
        };
        encoder.emit(&GZIP_HEADER)?;
        Ok(encoder)
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            if self.current.len() == CHUNK {
                let full = std::mem::replace(&mut self.current, Vec::with_capacity(CHUNK));
                self.batch.push(full);
                if self.batch.len() >= 2 * rayon::current_num_threads() {
                    self.compress(false)?;
                }
            }
            let count = bytes.len().min(CHUNK - self.current.len());
            self.current.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Zeros up to the next block, after content of this size.
    fn pad(&mut self, size: u64) -> Result<()> {
        let padding = size.next_multiple_of(BLOCK as u64) - size;
        self.write(&[0; BLOCK][..padding as usize])
    }

    /// Compresses and writes the batch; its last chunk ends the stream when `last` says so.
    fn compress(&mut self, last: bool) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        let count = batch.len();
        let level = self.level;
        self.original_size += batch.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        let compressed: Result<Vec<(Vec<u8>, crc32fast::Hasher)>> = batch
            .into_par_iter()
            .enumerate()
            .map(|(i, chunk)| {
                let mut crc = crc32fast::Hasher::new();
                crc.update(&chunk);
                let compressed = compress_chunk(&chunk, level, last && i + 1 == count);
                compressed.map(|compressed| (compressed, crc)).ok_or_else(|| {
                    Error::new(Kind::Build, "the compressor failed").hint("this is a bug in packer; please report it")
                })
            })
            .collect();
        for (chunk, crc) in compressed? {
            self.stored.push(chunk.len() as u32);
            self.crc.combine(&crc);
            self.emit(&chunk)?;
        }
        Ok(())
    }

    fn emit(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        self.out.write_all(bytes).map_err(|error| Error::io("cannot write", &self.path, &error))
    }

    fn finish(mut self) -> Result<(u64, u64, Digest, Chunks)> {
        let last = std::mem::take(&mut self.current);
        self.batch.push(last);
        self.compress(true)?;
        let crc = std::mem::take(&mut self.crc);
        let trailer = [crc.finalize().to_le_bytes(), (self.original_size as u32).to_le_bytes()].concat();
        self.emit(&trailer)?;
        self.out.flush().map_err(|error| Error::io("cannot write", &self.path, &error))?;
        let chunks = Chunks { original: CHUNK as u64, stored: self.stored };
        Ok((self.size, self.original_size, self.hasher.finish(), chunks))
    }
}

/// One chunk, alone: no history before it, and a full flush or the stream's end behind it.
fn compress_chunk(chunk: &[u8], level: Compression, last: bool) -> Option<Vec<u8>> {
    let mut compress = Compress::new(level, false);
    let mut out = Vec::with_capacity(chunk.len() / 2 + 1024);
    let flush = if last { FlushCompress::Finish } else { FlushCompress::Full };
    loop {
        let input = &chunk[compress.total_in() as usize..];
        let before = out.len();
        let status = compress.compress_vec(input, &mut out, flush).ok()?;
        let consumed = compress.total_in() as usize == chunk.len();
        match status {
            Status::StreamEnd => return Some(out),
            // A flush is complete once the compressor leaves room in the output.
            Status::Ok | Status::BufError if !last && consumed && out.len() < out.capacity() => return Some(out),
            Status::Ok | Status::BufError => {
                if out.len() == before && out.len() < out.capacity() {
                    return None;
                }
                out.reserve(64 << 10);
            }
        }
    }
}

/// Chunks of 1 MiB cost 0.2 % in size and let readers inflate on all cores.
const CHUNK: usize = 1 << 20;
/// Deflate, no flags, no time, operating system unknown.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// 1980-01-01, the earliest time that zip files can hold: some tools choke on earlier ones. It does not follow
/// SOURCE_DATE_EPOCH, so that a new release shares the slots that did not change.
const MTIME: u64 = 315_532_800;
