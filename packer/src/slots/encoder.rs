//! Bytes become a stored slot: counted, perhaps compressed, hashed, written.
//!
//! A compressor is a [`Write`] over the [`Output`]; another one is one more arm in [`Codec::start`].

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::{Compress, Compression, FlushCompress, Status};
use pspf_core::Digest;
use pspf_core::claims::Chunks;
use pspf_core::digest::Hasher;
use pspf_core::format::Operations;
use rayon::prelude::*;

use super::codec::Codec;
use crate::error::{Error, Result};

/// Writes one slot to a new file.
pub(super) struct Encoder {
    compressor: Box<dyn Compressor>,
    path: PathBuf,
    original_size: u64,
}

/// What became of it.
pub(super) struct Finished {
    pub(super) size: u64,
    pub(super) original_size: u64,
    pub(super) digest: Digest,
    pub(super) chunks: Option<Chunks>,
}

impl Encoder {
    /// Creates the file at `path`; what is written is compressed. Archives are the caller's part.
    pub(super) fn create(codec: Codec, path: &Path) -> Result<Self> {
        let failed = |error: io::Error| Error::io("cannot create", path, &error);
        let output = Output::create(path).map_err(failed)?;
        let compressor = codec.start(output).map_err(failed)?;
        Ok(Self { compressor, path: path.to_path_buf(), original_size: 0 })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.original_size += bytes.len() as u64;
        self.compressor.write_all(bytes).map_err(|error| Error::io("cannot write", &self.path, &error))
    }

    pub(super) fn finish(self) -> Result<Finished> {
        let failed = |error: io::Error| Error::io("cannot write", &self.path, &error);
        let (mut output, chunks) = self.compressor.finish().map_err(failed)?;
        output.file.flush().map_err(failed)?;
        let (size, digest) = (output.size, output.hasher.finish());
        Ok(Finished { size, original_size: self.original_size, digest, chunks })
    }
}

/// A chunk table that takes no more room than the one that so many bytes will get.
pub(super) fn least_chunks(operations: Operations, original_size: u64) -> Option<Chunks> {
    // Deflate never makes less than a byte of 1032.
    const LEAST: u32 = CHUNK as u32 / 1032;
    let whole = original_size.saturating_sub(1) / CHUNK as u64;
    let stored = (0..whole).map(|_| LEAST).chain([1]);
    let is_chunked = matches!(operations, Operations::GZIP | Operations::TAR_GZIP);
    is_chunked.then(|| Chunks { original: CHUNK as u64, stored: stored.collect() })
}

/// A compression over the output.
pub(super) trait Compressor: Write {
    /// Ends the stream, and gives the output back; with the chunk table where there is one.
    fn finish(self: Box<Self>) -> io::Result<(Output, Option<Chunks>)>;
}

/// The stored bytes: a file, their number and their digest.
pub(super) struct Output {
    file: BufWriter<File>,
    size: u64,
    hasher: Hasher,
}

impl Output {
    fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 20, File::create_new(path)?);
        Ok(Self { file, size: 0, hasher: Hasher::new() })
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Compressor for Output {
    fn finish(self: Box<Self>) -> io::Result<(Output, Option<Chunks>)> {
        Ok((*self, None))
    }
}

/// One gzip member of chunks of [`CHUNK`], as many at a time as there are cores. Chunk borders do not depend on the
/// number of threads (docs/format.md section 5, "Chunks").
pub(super) struct Gzip {
    output: Output,
    level: Compression,
    /// What is compressed at a time. Made once and used again: memory is the same however long the slot is.
    batch: Vec<Chunk>,
    /// How many of the batch have been filled; the next one is being filled.
    full: usize,
    stored: Vec<u32>,
    crc: crc32fast::Hasher,
    original_size: u64,
}

impl Gzip {
    /// `level` from 0 to 9.
    pub(super) fn new(mut output: Output, level: u32) -> io::Result<Self> {
        output.write_all(&GZIP_HEADER)?;
        Ok(Self {
            output,
            level: Compression::new(level),
            batch: vec![Chunk::default()],
            full: 0,
            stored: Vec::new(),
            crc: crc32fast::Hasher::new(),
            original_size: 0,
        })
    }

    /// Compresses and writes the first chunks of the batch, this many; the last of them ends the stream when `last`
    /// says so. The batch is empty then.
    fn compress(&mut self, count: usize, last: bool) -> io::Result<()> {
        let level = self.level;
        let chunks = &mut self.batch[..count];
        chunks
            .par_iter_mut()
            .enumerate()
            .try_for_each(|(i, chunk)| chunk.compress(level, last && i + 1 == count))
            .ok_or_else(|| io::Error::other("deflate gave up; this is a bug in packer"))?;
        for chunk in chunks {
            self.stored.push(chunk.stored.len() as u32);
            self.crc.combine(&chunk.crc);
            self.original_size += chunk.original.len() as u64;
            self.output.write_all(&chunk.stored)?;
            chunk.original.clear();
        }
        self.full = 0;
        Ok(())
    }
}

impl Write for Gzip {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.batch[self.full].original.len() == CHUNK {
            self.full += 1;
            if self.full == 2 * rayon::current_num_threads() {
                self.compress(self.full, false)?;
            } else if self.full == self.batch.len() {
                self.batch.push(Chunk::default());
            }
        }
        let chunk = &mut self.batch[self.full].original;
        let count = bytes.len().min(CHUNK - chunk.len());
        chunk.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Compressor for Gzip {
    fn finish(mut self: Box<Self>) -> io::Result<(Output, Option<Chunks>)> {
        self.compress(self.full + 1, true)?;
        let Self { mut output, crc, original_size, stored, .. } = *self;
        output.write_all(&crc.finalize().to_le_bytes())?;
        output.write_all(&(original_size as u32).to_le_bytes())?;
        Ok((output, Some(Chunks { original: CHUNK as u64, stored })))
    }
}

/// A chunk before and after it is compressed: alone, with no history before it, and a full flush or the stream's end
/// behind it.
#[derive(Default)]
struct Chunk {
    /// At most [`CHUNK`] bytes.
    original: Vec<u8>,
    stored: Vec<u8>,
    crc: crc32fast::Hasher,
}

impl Chunk {
    /// `None` when deflate does not go on.
    fn compress(&mut self, level: Compression, last: bool) -> Option<()> {
        let Self { original, stored, crc } = self;
        *crc = crc32fast::Hasher::new();
        crc.update(original);
        // A new one for each: after a reset, zlib-rs writes other bytes than at first.
        let mut deflate = Compress::new(level, false);
        // Room for all of it, so that one call does it: what is written depends on how often there was none.
        stored.clear();
        stored.reserve(original.len() + original.len() / 4 + 1024);
        let flush = if last { FlushCompress::Finish } else { FlushCompress::Full };
        let status = deflate.compress_vec(original, stored, flush).ok()?;
        let all = deflate.total_in() as usize == original.len() && stored.len() < stored.capacity();
        (all && (status == Status::StreamEnd) == last).then_some(())
    }
}

/// Chunks of 1 MiB cost 0.2 % in size and let readers inflate on all cores.
const CHUNK: usize = 1 << 20;
/// Deflate, no flags, no time, operating system unknown.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
