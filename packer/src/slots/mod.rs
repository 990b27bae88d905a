//! What is to be packed becomes the stored bytes of slots.
//!
//! | source | operations | becomes |
//! |---|---|---|
//! | a directory | `tar`, alone or with one compression | a sorted archive, the same on every machine |
//! | a file | `raw` | itself, used in place |
//! | a file | one compression | compressed: gzip in chunks on all cores, the others by one thread |
//! | a file that is encoded already | any that can be read | itself, used in place, after all of it was decoded and checked |
//!
//! Memory does not grow with the size of what is packed.

mod adopt;
mod cache;
mod codec;
mod encoder;
mod strip;
mod tar;

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use pspf_core::Digest;
use pspf_core::build::Encoded;
use pspf_core::digest::Hasher;
use pspf_core::format::{Operation, Operations};
use pspf_core::placement::Placement;

use self::codec::Codec;
use self::encoder::{Encoder, Finished};
use self::strip::Tally;
use self::tar::{Filter, Links};
use crate::error::{Error, Kind, Result};
use crate::plan::{PlannedSlot, Source};
use crate::progress::Progress;

pub use self::strip::Symbols;

/// How slots are encoded, and where to.
#[derive(Clone, Copy)]
pub struct Encoding<'a> {
    /// An empty directory of the caller's, which it deletes when the package is written.
    pub stage: &'a Path,
    /// Where encoded trees are kept for the next time.
    pub cache: &'a Path,
    /// Files that packer itself writes, should they be inside of what is packed.
    pub own: &'a [PathBuf],
    /// What becomes of debugging information in ELF files.
    pub symbols: Symbols,
    /// Which launcher will read them.
    pub reader: Reader<'a>,
    /// Who watches.
    pub progress: &'a dyn Progress,
}

/// Whose launcher reads the slots.
#[derive(Debug, Clone, Copy)]
pub enum Reader<'a> {
    /// Ours: archives have links, and are unpacked where the slot's target says.
    Packer,
    /// FlavorPack's: archives have no links, and all of them are unpacked into the workenv's root.
    FlavorPack {
        /// What the names in each slot's archive begin with, by the slot's number: empty, or with a `/` at the end.
        prefixes: &'a [String],
    },
}

impl<'a> Reader<'a> {
    fn prefix(self, index: usize) -> &'a str {
        match self {
            Self::Packer => "",
            Self::FlavorPack { prefixes } => prefixes.get(index).map_or("", String::as_str),
        }
    }

    fn links(self) -> Links {
        match self {
            Self::Packer => Links::Packed,
            Self::FlavorPack { .. } => Links::Refused,
        }
    }
}

/// What slots get that the manifest gives no compression or no level of their own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Defaults {
    /// How they are compressed; what packer chooses when absent.
    pub compression: Option<Compression>,
    /// How hard; the compression's default when absent.
    pub level: Option<u64>,
}

/// A compression, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Stored as it is.
    None,
    /// One of those that packer writes.
    With(Operation),
}

impl Compression {
    /// The names on the command line.
    pub const NAMES: [&'static str; 5] = ["none", "gzip", "bzip2", "xz", "zstd"];

    /// The compression of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "none" => Self::None,
            "gzip" => Self::With(Operation::Gzip),
            "bzip2" => Self::With(Operation::Bzip2),
            "xz" => Self::With(Operation::Xz),
            "zstd" => Self::With(Operation::Zstd),
            _ => return None,
        })
    }

    /// What slots get without being asked.
    pub const GZIP: Self = Self::With(Operation::Gzip);

    /// How an archive is stored with it.
    pub fn of_archive(self) -> Operations {
        match self {
            Self::None => Operations::TAR,
            Self::With(step) => Operations::from_steps(&[Operation::Tar, step]).unwrap_or(Operations::TAR_GZIP),
        }
    }

    /// How a single file is stored with it.
    pub fn of_file(self) -> Operations {
        match self {
            Self::None => Operations::RAW,
            Self::With(step) => Operations::from_steps(&[step]).unwrap_or(Operations::GZIP),
        }
    }
}

impl Defaults {
    /// Gives them to a slot. `chosen` says that the manifest names the slot's operations, which then stay. A file that no
    /// compression makes smaller stays as it is, too.
    pub fn apply(self, slot: &mut PlannedSlot, chosen: bool) -> Result<()> {
        if matches!(slot.source, Source::Encoded { .. }) {
            return Ok(());
        }
        let is_archive = slot.operations.is_archive();
        if let Some(compression) = self.compression.filter(|_| !chosen && slot.operations != Operations::RAW) {
            slot.operations = if is_archive { compression.of_archive() } else { compression.of_file() };
        }
        let is_compressed = ![Operations::RAW, Operations::TAR].contains(&slot.operations);
        if is_compressed {
            slot.level = slot.level.or(self.level);
        }
        check(slot.operations, slot.level)
            .map_err(|(key, error)| error.field(format!("--{} for slot {}", option(key), slot.id)))
    }
}

/// The option that sets what the manifest's key does.
fn option(key: &str) -> &str {
    if key == "operations" { "compression" } else { key }
}

/// How many files and bytes a slot is made from.
pub fn measure(slot: &PlannedSlot, own: &[PathBuf]) -> Result<(u64, u64)> {
    match &slot.source {
        Source::Tree { path, exclude, .. } => {
            let exclude = patterns(exclude).map_err(|(pattern, error)| bad_pattern(&pattern, &error))?;
            tar::measure(path, Filter { exclude: &exclude, own, links: Links::Packed, prefix: "", strip: None })
        }
        Source::File { path } | Source::Encoded { path } => {
            let size = size_of(path).map_err(|error| Error::io("cannot look at", path, &error))?;
            Ok((1, size))
        }
    }
}

impl Encoding<'_> {
    /// Encodes the slot with this number, which goes to `placement`; gives the facts, and the file that holds the bytes.
    pub fn encode(&self, index: usize, slot: &PlannedSlot, placement: &Placement) -> Result<(Encoded, PathBuf)> {
        let (id, operations, progress) = (&slot.id, slot.operations, self.progress);
        let prefix = self.reader.prefix(index);
        let tally = (self.symbols == Symbols::Strip).then(Tally::default);
        let strip = tally.as_ref();
        let told = |facts| {
            if let Some(tally) = strip {
                tally.tell(id, progress);
            }
            Ok(facts)
        };
        match &slot.source {
            Source::Tree { path, key, exclude } => {
                let codec = codec(slot)?;
                let (level, symbols) = (codec.level, self.symbols);
                // What is in a place of its own inside the archive is another archive.
                let key = key.as_deref().filter(|_| prefix.is_empty());
                let key = key.map(|key| cache::Key { tree: key, placement, operations, level, symbols });
                if let Some(found) = key.as_ref().and_then(|key| key.recall(self.cache)) {
                    if symbols == Symbols::Strip {
                        progress.note(&format!("slot {id}: stripped before, and taken from the cache"));
                    }
                    return Ok(found);
                }
                progress.stage(&format!("compressing {id}"), None);
                let stored = self.file_for(index);
                let exclude = patterns(exclude).map_err(|(pattern, error)| bad_pattern(&pattern, &error))?;
                let links = self.reader.links();
                let filter = Filter { exclude: &exclude, own: self.own, links, prefix, strip };
                let mut encoder = Encoder::create(codec, &stored)?;
                let (tree, files) = tar::write_tree(path, filter, placement, &mut encoder, progress)?;
                let Finished { size, original_size, digest, chunks } = encoder.finish()?;
                let encoded = Encoded { size, original_size, digest, tree: Some(tree), files, chunks };
                told(match key {
                    Some(key) => key.remember(self.cache, encoded, stored),
                    None => (encoded, stored),
                })
            }
            Source::File { path } => {
                let stripped = strip.map(|tally| tally.strip(path)).transpose();
                let stripped = stripped.map_err(|error| Error::io("cannot read", path, &error))?.flatten();
                let path = match stripped {
                    Some(content) => {
                        let beside = self.stage.join(format!("stripped-{index}"));
                        fs::write(&beside, content).map_err(|error| Error::io("cannot write", &beside, &error))?;
                        beside
                    }
                    None => path.clone(),
                };
                told(self.file(index, slot, placement, path)?)
            }
            Source::Encoded { path } => {
                progress.stage(&format!("checking {id}"), None);
                Ok((adopt::adopt(path, slot, placement, progress)?, path.clone()))
            }
        }
    }

    fn file(
        &self,
        index: usize,
        slot: &PlannedSlot,
        placement: &Placement,
        path: PathBuf,
    ) -> Result<(Encoded, PathBuf)> {
        let progress = self.progress;
        if slot.operations == Operations::RAW {
            let (digest, size) = copy(&path, progress, |_| Ok(()))?;
            return Ok((Encoded::raw(&slot.target, digest, size, placement, slot.permissions), path));
        }
        let codec = codec(slot)?;
        progress.stage(&format!("compressing {}", slot.id), None);
        let stored = self.file_for(index);
        let mut encoder = Encoder::create(codec, &stored)?;
        let (content, original_size) = copy(&path, progress, |bytes| encoder.write(bytes))?;
        let Finished { size, digest, chunks, .. } = encoder.finish()?;
        let file = Encoded::raw(&slot.target, content, original_size, placement, slot.permissions);
        Ok((Encoded { size, digest, chunks, ..file }, stored))
    }

    fn file_for(&self, index: usize) -> PathBuf {
        self.stage.join(format!("slot-{index}"))
    }
}

/// Facts that take no more room in the metadata than those that [`Encoding::encode`] will find: whether all slots fit can
/// be asked before any of them is encoded. A file that cannot be looked at has no length here; encoding tells why.
pub fn least(slot: &PlannedSlot) -> Encoded {
    let length = match &slot.source {
        Source::Tree { .. } => 0,
        Source::File { path } | Source::Encoded { path } => size_of(path).unwrap_or(0),
    };
    let (size, original_size) = match &slot.source {
        Source::File { .. } if slot.operations != Operations::RAW => (0, length),
        Source::Encoded { .. } => (length, 0),
        _ => (length, length),
    };
    let chunks = match slot.source {
        Source::Encoded { .. } => None,
        _ => encoder::least_chunks(slot.operations, original_size),
    };
    Encoded { size, original_size, digest: Digest([0; 32]), tree: Some(Digest([0; 32])), files: 0, chunks }
}

/// Whether packer writes slots of this kind, this hard compressed; else the manifest's key that is wrong, and the error.
pub fn check(operations: Operations, level: Option<u64>) -> Result<(), (&'static str, Error)> {
    Codec::of(operations, level).map(drop)
}

/// The compressions that packer writes, for errors.
pub const COMPRESSIONS: &str = codec::COMPRESSIONS;

/// True when the file begins like one to which the last of these operations was applied.
pub fn looks_encoded(path: &Path, operations: Operations) -> io::Result<bool> {
    adopt::looks_encoded(path, operations)
}

/// True when compressing the file is worth it: samples from all over it lose a tenth of their size.
pub fn shrinks(path: &Path) -> io::Result<bool> {
    const SAMPLE: u64 = 16 << 10;
    const SAMPLES: u64 = 16;
    const WORTH_A_LOOK: u64 = 4 << 10;
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    if length < WORTH_A_LOOK {
        return Ok(false);
    }
    // Programs often begin with tables that do not shrink, and end with code that does.
    let mut sample = Vec::new();
    let step = length.div_ceil(SAMPLES).max(SAMPLE);
    for offset in (0..length).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
        file.seek(SeekFrom::Start(offset))?;
        (&mut file).take(SAMPLE).read_to_end(&mut sample)?;
    }
    let mut compressed = flate2::write::DeflateEncoder::new(io::sink(), flate2::Compression::fast());
    io::Write::write_all(&mut compressed, &sample)?;
    compressed.try_finish()?;
    Ok(compressed.total_out() < sample.len() as u64 * 9 / 10)
}

fn codec(slot: &PlannedSlot) -> Result<Codec> {
    Codec::of(slot.operations, slot.level).map_err(|(key, error)| error.field(format!("slots.{}.{key}", slot.id)))
}

/// Patterns as in a `.gitignore`, of what is not packed; the first bad one and what is bad about it.
pub(crate) fn patterns(exclude: &[String]) -> Result<Gitignore, (String, ignore::Error)> {
    if exclude.is_empty() {
        return Ok(Gitignore::empty());
    }
    let mut builder = GitignoreBuilder::new("");
    for pattern in exclude {
        builder.add_line(None, pattern).map_err(|error| (pattern.clone(), error))?;
    }
    builder.build().map_err(|error| (exclude.join(", "), error))
}

fn bad_pattern(pattern: &str, error: &ignore::Error) -> Error {
    Error::new(Kind::Configuration, "this is not a pattern for files")
        .field("exclude")
        .expected("a pattern as in a .gitignore")
        .found(format!("{pattern:?}: {error}"))
        .hint("mend or remove it")
}

/// Reads a file to its end. Gives its digest and its size.
fn copy(path: &Path, progress: &dyn Progress, mut to: impl FnMut(&[u8]) -> Result<()>) -> Result<(Digest, u64)> {
    let failed = |error: io::Error| Error::io("cannot read", path, &error);
    let mut file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut buffer = vec![0; usize::try_from(length).map_or(BUFFER, |length| length.clamp(1, BUFFER))];
    let mut hasher = Hasher::new();
    let mut size = 0;
    loop {
        progress.check()?;
        let read = match file.read(&mut buffer) {
            Ok(0) => return Ok((hasher.finish(), size)),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        hasher.update(&buffer[..read]);
        size += read as u64;
        to(&buffer[..read])?;
        progress.advance(read as u64);
    }
}

/// The digest of a file.
pub(crate) fn digest_of(path: &Path) -> io::Result<Digest> {
    digest(File::open(path)?)
}

/// The digest of a file in a slot of such symbols.
pub(crate) fn digest_as_packed(path: &Path, symbols: Symbols) -> io::Result<Digest> {
    let stripped = match symbols {
        Symbols::Keep => None,
        Symbols::Strip => Tally::default().strip(path)?,
    };
    stripped.map_or_else(|| digest_of(path), |content| Ok(Digest::of(&content)))
}

/// The digest of all that comes.
pub(crate) fn digest(mut source: impl io::Read) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// How many bytes a file has.
fn size_of(path: &Path) -> io::Result<u64> {
    Ok(fs::metadata(path)?.len())
}

const BUFFER: usize = 256 << 10;
