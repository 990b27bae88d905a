//! The compressions that packer writes, and how hard each can be told to compress.
//!
//! | operation | levels | default | memory to write | is |
//! |---|---|---|---|---|
//! | gzip | 1 to 9 | 6 | 2 MiB for each chunk at work | one member in chunks (docs/format.md section 5.5), the one that all cores write |
//! | bzip2 | 1 to 9 | 9 | 8 MiB | one stream, its blocks 100 kB times the level |
//! | xz | 1 to 9 | 6 | 96 MiB | one stream of one LZMA2 block, with CRC-64 |
//! | zstd | 1 to 19 | 9 | 92 MiB at level 19 | one frame, with XXH64 |
//!
//! One thread writes the last three, so the same input gives the same bytes on every machine. None asks its reader
//! for more than 8 MiB of history ([`CLAIMED_WINDOW`]), which is all that a launcher grants.

use std::io;
use std::ops::RangeInclusive;

use bzip2::write::BzEncoder;
use lzma_rust2::{XzOptions, XzWriter};
use pspf_core::claims::Chunks;
use pspf_core::format::{Operation, Operations};
use pspf_core::limits::CLAIMED_WINDOW;

use super::encoder::{Compressor, Gzip, Output};
use crate::error::{Error, Kind};

/// How a slot is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Codec {
    compression: Option<Operation>,
    /// How hard; 0 where there is no compression.
    pub(super) level: u32,
}

/// The compressions that packer writes, for errors.
pub(super) const COMPRESSIONS: &str =
    if cfg!(feature = "zstd") { "gzip, bzip2, xz or zstd" } else { "gzip, bzip2 or xz (this build has no zstd)" };

impl Codec {
    /// What writes this chain, as hard compressed as `level` says or by the compression's default. When packer cannot:
    /// the manifest's key that is wrong, and the error.
    pub(super) fn of(operations: Operations, level: Option<u64>) -> Result<Self, (&'static str, Error)> {
        let steps = operations.steps().unwrap_or_default();
        let compressions: Vec<Operation> = steps.into_iter().filter(|step| *step != Operation::Tar).collect();
        let compression = match compressions[..] {
            [] if operations == Operations::RAW || operations == Operations::TAR => None,
            [Operation::Zstd] if cfg!(not(feature = "zstd")) => return Err(("operations", not_written(operations))),
            [compression] => Some(compression),
            _ => return Err(("operations", not_written(operations))),
        };
        let Some(compression) = compression else {
            return match level {
                None => Ok(Self { compression: None, level: 0 }),
                Some(level) => Err(("level", not_compressed(operations, level))),
            };
        };
        let (levels, default) = levels(compression);
        let level = level.unwrap_or(default);
        if !levels.contains(&level) {
            let name = operations.name();
            let new = Error::new(Kind::Configuration, format!("{name} has no such level"))
                .expected(format!("{} to {}", levels.start(), levels.end()))
                .found(level.to_string())
                .hint(format!("choose one of these, or leave it out for {default}"));
            return Err(("level", new));
        }
        Ok(Self { compression: Some(compression), level: level as u32 })
    }

    /// Starts to compress into `output`.
    pub(super) fn start(self, output: Output) -> io::Result<Box<dyn Compressor>> {
        let Self { compression, level } = self;
        Ok(match compression {
            Some(Operation::Gzip) => Box::new(Gzip::new(output, level)?),
            Some(Operation::Bzip2) => Box::new(BzEncoder::new(output, bzip2::Compression::new(level))),
            Some(Operation::Xz) => Box::new(XzWriter::new(output, xz_options(level))?),
            #[cfg(feature = "zstd")]
            Some(Operation::Zstd) => {
                let mut encoder = zstd::Encoder::new(output, level as i32)?;
                encoder.include_checksum(true)?;
                Box::new(encoder)
            }
            #[cfg(not(feature = "zstd"))]
            Some(Operation::Zstd) => return Err(io::ErrorKind::Unsupported.into()),
            None | Some(Operation::Tar) => Box::new(output),
        })
    }
}

/// The levels of a compression, and its default: the one beyond which time grows much faster than size shrinks.
fn levels(compression: Operation) -> (RangeInclusive<u64>, u64) {
    match compression {
        Operation::Bzip2 => (1..=9, 9),
        // Beyond 19, windows are larger than a launcher takes.
        Operation::Zstd => (1..=19, 9),
        _ => (1..=9, 6),
    }
}

fn not_written(operations: Operations) -> Error {
    Error::new(Kind::Configuration, "packer does not write slots of this kind")
        .expected(format!("raw, tar, {COMPRESSIONS}, or tar with one compression"))
        .found(format!("{:?}", operations.name()))
        .hint("choose one of these, or give a source that is encoded already")
}

fn not_compressed(operations: Operations, level: u64) -> Error {
    Error::new(Kind::Configuration, "a slot that is not compressed has no level")
        .expected(format!("operations with {COMPRESSIONS}"))
        .found(format!("level {level} for {:?}", operations.name()))
        .hint("leave the level out, or choose a compression")
}

/// As the presets of the `xz` command, but for the dictionary, which its presets 7 to 9 enlarge beyond what a launcher
/// takes. These look for longer matches in its place.
fn xz_options(level: u32) -> XzOptions {
    let mut options = XzOptions::with_preset(level);
    let lzma = &mut options.lzma_options;
    lzma.dict_size = lzma.dict_size.min(CLAIMED_WINDOW as u32);
    lzma.nice_len = match level {
        7 => 96,
        8 => 160,
        9 => 273,
        _ => lzma.nice_len,
    };
    options
}

impl Compressor for BzEncoder<Output> {
    fn finish(self: Box<Self>) -> io::Result<(Output, Option<Chunks>)> {
        Ok(((*self).finish()?, None))
    }
}

impl Compressor for XzWriter<Output> {
    fn finish(self: Box<Self>) -> io::Result<(Output, Option<Chunks>)> {
        Ok(((*self).finish()?, None))
    }
}

#[cfg(feature = "zstd")]
impl Compressor for zstd::Encoder<'static, Output> {
    fn finish(self: Box<Self>) -> io::Result<(Output, Option<Chunks>)> {
        Ok(((*self).finish()?, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, level: Option<u64>) -> Result<Codec, (&'static str, Error)> {
        Codec::of(Operations::from_name(name).expect("a chain"), level)
    }

    #[test]
    fn one_compression_is_written_with_or_without_an_archive() {
        for (name, compression) in [("gzip", Operation::Gzip), ("bzip2", Operation::Bzip2), ("xz", Operation::Xz)] {
            let alone = named(name, None).expect("a codec");
            assert_eq!(alone.compression, Some(compression));
            assert_eq!(named(&format!("tar,{name}"), None).expect("a codec"), alone);
        }
        assert_eq!(named("tar.zst", None).is_ok(), cfg!(feature = "zstd"));
        for name in ["raw", "tar"] {
            assert_eq!(named(name, None).expect("a codec").compression, None);
        }
    }

    #[test]
    fn several_compressions_and_chains_that_make_no_sense_are_not_written() {
        for operations in ["gz.gz", "tar.gz.xz", "bz2.xz", "0x0110", "0x02"] {
            let (key, error) = named(operations, None).expect_err("a refusal");
            assert_eq!(key, "operations");
            assert!(error.to_string().contains("gzip, bzip2"), "{error}");
        }
    }

    #[test]
    fn a_level_that_does_not_exist_is_refused_with_those_that_do() {
        for (name, levels) in [("gzip", 1..=9), ("bzip2", 1..=9), ("xz", 1..=9), ("zstd", 1..=19)] {
            for level in [0, levels.end() + 1, u64::MAX] {
                let Err((key, error)) = named(name, Some(level)) else { panic!("{name}, level {level}") };
                let known = cfg!(feature = "zstd") || name != "zstd";
                assert_eq!(key, if known { "level" } else { "operations" });
                assert!(!known || error.to_string().contains(&format!("1 to {}", levels.end())), "{error}");
            }
        }
        let (key, error) = named("tar", Some(3)).expect_err("a refusal");
        assert_eq!(key, "level");
        assert!(error.to_string().contains("not compressed"), "{error}");
    }
}
