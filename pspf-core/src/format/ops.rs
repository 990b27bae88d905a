//! Operation chains: how a slot's bytes were made (docs/format.md section 3).
//!
//! One byte per operation, the first applied in the lowest byte; 00 ends the chain. `tar.gz` is 0x1001.

use alloc::string::String;
use alloc::vec::Vec;

use crate::error::{Error, ErrorKind, Result};
use crate::{number, text};

/// One step of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Several files become one stream.
    Tar,
    /// DEFLATE in a gzip container (RFC 1952).
    Gzip,
    /// bzip2.
    Bzip2,
    /// LZMA2 in an xz container.
    Xz,
    /// Zstandard (RFC 8878).
    Zstd,
}

/// A chain as the descriptor stores it: any 64 bits. [`steps`](Self::steps) says whether they make sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Operations(u64);

impl Operations {
    /// Nothing was done: the bytes are the file.
    pub const RAW: Self = Self(0);
    /// An archive, not compressed.
    pub const TAR: Self = Self(0x01);
    /// One file, compressed.
    pub const GZIP: Self = Self(0x10);
    /// A compressed archive.
    pub const TAR_GZIP: Self = Self(0x1001);

    /// Takes the number of a descriptor.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The number for the descriptor.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The chain of these steps, first applied first; eight at most.
    pub fn from_steps(steps: &[Operation]) -> Option<Self> {
        (steps.len() <= 8).then(|| Self(steps.iter().rev().fold(0, |chain, step| chain << 8 | u64::from(step.code()))))
    }

    /// The steps, first applied first. An unknown step, a step after the end, or a `tar` that is not the first
    /// step is [`Error`].
    pub fn steps(self) -> Result<Vec<Operation>> {
        let mut steps = Vec::new();
        let mut rest = self.0;
        while rest != 0 {
            match Operation::from_code(rest as u8) {
                Some(step) if steps.is_empty() || step != Operation::Tar => steps.push(step),
                _ => return Err(self.unsupported()),
            }
            rest >>= 8;
        }
        Ok(steps)
    }

    #[cold]
    fn unsupported(self) -> Error {
        ErrorKind::Unsupported { what: text::concat(&["the operation chain ", &number::hexadecimal(self.0)]) }.into()
    }

    /// True when the slot is an archive of several files.
    pub fn is_archive(self) -> bool {
        self.0 & 0xff == u64::from(Operation::Tar.code())
    }

    /// Reads the one spelling that we write.
    #[cfg(not(feature = "foreign"))]
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, raw)| Self(*raw))
    }

    /// Reads every spelling that FlavorPack's builders, launchers and specification use.
    #[cfg(feature = "foreign")]
    pub fn from_name(name: &str) -> Option<Self> {
        if let Some(raw) = name.strip_prefix("0x") {
            return number::parse(raw, 16).map(Self);
        }
        let name = name.to_ascii_lowercase();
        let name = match name.as_str() {
            "" | "none" | "raw" => return Some(Self::RAW),
            "tgz" => "tar.gz",
            "tbz2" => "tar.bz2",
            "txz" => "tar.xz",
            "tzst" => "tar.zst",
            other => other,
        };
        let mut steps = Vec::new();
        for step in name.as_bytes().split(|byte| b".,|+".contains(byte)) {
            steps.push(Operation::from_name(step.trim_ascii())?);
        }
        let chain = Self::from_steps(&steps)?;
        chain.steps().is_ok().then_some(chain)
    }

    /// The one spelling that we write, as in `tar.gz`; a number for chains that make no sense.
    pub fn name(self) -> String {
        if let Some((name, _)) = NAMES.iter().find(|(_, raw)| *raw == self.0) {
            return (*name).into();
        }
        #[cfg(feature = "foreign")]
        if let Ok(steps) = self.steps() {
            return steps.iter().map(|step| step.name()).collect::<Vec<_>>().join(".");
        }
        number::hexadecimal(self.0)
    }
}

/// The chains that builders write.
const NAMES: [(&str, u64); 10] = [
    ("raw", 0),
    ("tar", 0x01),
    ("gzip", 0x10),
    ("bz2", 0x13),
    ("xz", 0x16),
    ("zst", 0x1b),
    ("tar.gz", 0x1001),
    ("tar.bz2", 0x1301),
    ("tar.xz", 0x1601),
    ("tar.zst", 0x1b01),
];

impl Operation {
    fn code(self) -> u8 {
        match self {
            Self::Tar => 0x01,
            Self::Gzip => 0x10,
            Self::Bzip2 => 0x13,
            Self::Xz => 0x16,
            Self::Zstd => 0x1b,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Tar, Self::Gzip, Self::Bzip2, Self::Xz, Self::Zstd].into_iter().find(|step| step.code() == code)
    }

    #[cfg(feature = "foreign")]
    fn from_name(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"tar" => Self::Tar,
            b"gz" | b"gzip" => Self::Gzip,
            b"bz2" | b"bzip2" => Self::Bzip2,
            b"xz" => Self::Xz,
            b"zst" | b"zstd" => Self::Zstd,
            _ => return None,
        })
    }

    /// The short name, as in file extensions.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::Gzip => "gz",
            Self::Bzip2 => "bz2",
            Self::Xz => "xz",
            Self::Zstd => "zst",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_read_and_one_is_written() {
        for (raw, written, spellings) in [
            (0, "raw", &["", "none", "raw"][..]),
            (0x01, "tar", &["tar"]),
            (0x10, "gzip", &["gzip", "gz"]),
            (0x1001, "tar.gz", &["tar.gz", "tgz", "tar,gzip", "tar|gzip", "TAR.GZ", "0x1001"]),
            (0x1301, "tar.bz2", &["tar.bz2", "tar|bzip2", "tbz2"]),
            (0x1601, "tar.xz", &["tar.xz", "tar|xz"]),
            (0x1b01, "tar.zst", &["tar.zst", "tar|zstd"]),
        ] {
            for spelling in spellings {
                assert_eq!(Operations::from_name(spelling).map(Operations::raw), Some(raw), "{spelling}");
            }
            assert_eq!(Operations::from_raw(raw).name(), written);
        }
        assert_eq!(Operations::from_name("rar"), None);
        assert_eq!(Operations::from_name("gzip.tar"), None);
    }

    #[test]
    fn chains_that_make_no_sense_are_unsupported() {
        for raw in [0x02, 0x10_0001, 0x0110, 0x0101, u64::MAX] {
            assert!(Operations::from_raw(raw).steps().is_err(), "{raw:#x}");
        }
    }
}
