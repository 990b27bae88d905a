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
    current: Vec<u8>,
    batch: Vec<Vec<u8>>,
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
            current: Vec::new(),
            batch: Vec::new(),
            stored: Vec::new(),
            crc: crc32fast::Hasher::new(),
            original_size: 0,
        })
    }

    /// Compresses and writes the batch; its last chunk ends the stream when `last` says so.
    fn compress(&mut self, last: bool) -> io::Result<()> {
        let batch = std::mem::take(&mut self.batch);
        let count = batch.len();
        let level = self.level;
        self.original_size += batch.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        let compressed: Option<Vec<(Vec<u8>, crc32fast::Hasher)>> = batch
            .into_par_iter()
            .enumerate()
            .map(|(i, chunk)| {
                let mut crc = crc32fast::Hasher::new();
                crc.update(&chunk);
                Some((compress_chunk(&chunk, level, last && i + 1 == count)?, crc))
            })
            .collect();
        let compressed = compressed.ok_or_else(|| io::Error::other("deflate gave up; this is a bug in packer"))?;
        for (chunk, crc) in compressed {
            self.stored.push(chunk.len() as u32);
            self.crc.combine(&crc);
            self.output.write_all(&chunk)?;
        }
        Ok(())
    }
}

impl Write for Gzip {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.current.len() == CHUNK {
            let full = std::mem::replace(&mut self.current, Vec::with_capacity(CHUNK));
            self.batch.push(full);
            if self.batch.len() >= 2 * rayon::current_num_threads() {
                self.compress(false)?;
            }
        }
        let count = bytes.len().min(CHUNK - self.current.len());
        self.current.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Compressor for Gzip {
    fn finish(mut self: Box<Self>) -> io::Result<(Output, Option<Chunks>)> {
        let last = std::mem::take(&mut self.current);
        self.batch.push(last);
        self.compress(true)?;
        let Self { mut output, crc, original_size, stored, .. } = *self;
        output.write_all(&crc.finalize().to_le_bytes())?;
        output.write_all(&(original_size as u32).to_le_bytes())?;
        Ok((output, Some(Chunks { original: CHUNK as u64, stored })))
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
