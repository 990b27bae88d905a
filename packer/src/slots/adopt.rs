//! Files that are encoded already: taken as they are, once all of them was decoded and found to be what they should.
//!
//! Their facts (size, tree digest) come from the same readers as on the user's machine, so that whatever those would
//! refuse is refused here.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use pspf_core::archive;
use pspf_core::build::Encoded;
use pspf_core::codec::{self, Stage};
use pspf_core::digest::Hasher;
use pspf_core::format::{Operation, Operations};
use pspf_core::placement::Placement;
use pspf_core::tree::TreeHasher;
use pspf_core::{Digest, ErrorKind, Part, limits};

use crate::error::{Error, Kind, Result};
use crate::plan::PlannedSlot;
use crate::progress::Progress;

/// Decodes the whole file as the slot's operations say, and gives its facts.
pub(super) fn adopt(
    path: &Path,
    slot: &PlannedSlot,
    placement: &Placement,
    progress: &dyn Progress,
) -> Result<Encoded> {
    let file = File::open(path).map_err(|error| Error::io("cannot read", path, &error))?;
    let size = file.metadata().map_err(|error| Error::io("cannot look at", path, &error))?.len();
    let failed = |error: pspf_core::Error| match error.kind() {
        _ if progress.is_cancelled() => Error::cancelled(),
        ErrorKind::Source { errno: Some(errno), .. } => {
            Error::io("cannot read", path, &io::Error::from_raw_os_error(*errno))
        }
        _ => not_encoded(path, slot, &error),
    };
    let open = || {
        let range = (0, size);
        let stage = codec::open(&file, Part::File, range, slot.operations, None, limits::CLAIMED_WINDOW)?;
        Ok(Watched { stage, count: 0, progress })
    };
    if !slot.operations.is_archive() {
        let mut stage = open().map_err(failed)?;
        let mut content = Hasher::new();
        loop {
            let ready = stage.fill().map_err(failed)?;
            if ready.is_empty() {
                break;
            }
            content.update(ready);
            let count = ready.len();
            stage.consume(count);
        }
        let digest = stage.finish().map_err(failed)?;
        let file = Encoded::raw(&slot.target, content.finish(), stage.count, placement, slot.permissions);
        return Ok(Encoded { size, digest, ..file });
    }
    // Most archives of others are in no order, which only shows on the way.
    for mut hasher in [TreeHasher::streaming(), TreeHasher::collecting()] {
        let mut stage = open().map_err(failed)?;
        if archive::hash_tree(&mut stage, placement, &mut hasher).map_err(failed)?.is_some() {
            continue;
        }
        let digest = stage.finish().map_err(failed)?;
        let (tree, files) = hasher.finish();
        return Ok(Encoded { size, original_size: stage.count, digest, tree: Some(tree), files, chunks: None });
    }
    Err(Error::new(Kind::Build, "the archive's entries cannot be put in order").file(path).hint("make it again"))
}

/// True when the file begins like one to which the last of these operations was applied.
pub(super) fn looks_encoded(path: &Path, operations: Operations) -> io::Result<bool> {
    let last = operations.steps().unwrap_or_default().pop();
    let (at, magic): (u64, &[u8]) = match last {
        None => return Ok(false),
        Some(Operation::Tar) => (257, b"ustar"),
        Some(Operation::Gzip) => (0, b"\x1f\x8b\x08"),
        Some(Operation::Bzip2) => (0, b"BZh"),
        Some(Operation::Xz) => (0, b"\xfd7zXZ\0"),
        Some(Operation::Zstd) => (0, b"\x28\xb5\x2f\xfd"),
    };
    let mut start = Vec::new();
    File::open(path)?.take(at + magic.len() as u64).read_to_end(&mut start)?;
    Ok(start.get(at as usize..) == Some(magic))
}

/// Counts what comes out, and stops when told to.
struct Watched<'a> {
    stage: Box<dyn Stage + 'a>,
    count: u64,
    progress: &'a dyn Progress,
}

impl Stage for Watched<'_> {
    fn fill(&mut self) -> pspf_core::Result<&[u8]> {
        if self.progress.is_cancelled() {
            return Err(pspf_core::Error::parameter("stopped"));
        }
        self.stage.fill()
    }

    fn consume(&mut self, count: usize) {
        self.count += count as u64;
        self.progress.advance(count as u64);
        self.stage.consume(count);
    }

    fn finish(&mut self) -> pspf_core::Result<Digest> {
        self.stage.finish()
    }
}

fn not_encoded(path: &Path, slot: &PlannedSlot, error: &pspf_core::Error) -> Error {
    let name = slot.operations.name();
    let new =
        Error::new(Kind::Build, format!("slot {}: the file is not a {name} that can be packed", slot.id)).file(path);
    let new = match error.kind() {
        ErrorKind::Malformed { part, at, expected, found } => {
            let place = match (part, at) {
                (Part::File, 0) => String::new(),
                (Part::File, at) => format!("byte {at}: "),
                (part, _) => format!("{part}: "),
            };
            new.expected(expected.to_string()).found(format!("{place}{found}"))
        }
        ErrorKind::Unsupported { what } => {
            return new.found(what.clone()).hint("this build of packer does not read it; take another compression");
        }
        _ => new.found(error.to_string()),
    };
    new.hint(if slot.operations.is_archive() {
        "name the directory itself as the source and packer makes the archive, or make the archive again without it"
    } else {
        "make the file again, or write encoded = false to pack it as it is, once more compressed"
    })
}
