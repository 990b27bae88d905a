//! Why a package was refused, grouped by who can mend it.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use crate::digest::Digest;
use crate::sign::KeyId;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Why a package could not be read, was refused, or could not be built. One word in size; [`kind`](Self::kind) has
/// the details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<ErrorKind>);

/// The details of an [`Error`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The environment: the bytes could not be read or written. Trying again may help.
    Source {
        /// Where in the file, in bytes.
        at: u64,
        /// How many bytes were wanted.
        len: u64,
        /// The operating system's error number, where it gave one.
        errno: Option<i32>,
    },
    /// Another file: there is no package here.
    NotAPackage {
        /// The file's size in bytes.
        size: u64,
    },
    /// The file contradicts itself or the format.
    Malformed {
        /// Which part.
        part: Part,
        /// Where in that part's own bytes, counted from the start of the file where the part is a range of it.
        at: u64,
        /// What the format or the signed claims say.
        expected: Value,
        /// What is there.
        found: Value,
    },
    /// The file is consistent, but no acceptable key vouches for it.
    Untrusted {
        /// The key that it names, where it names one.
        key: Option<KeyId>,
        /// What is wrong with the key or the signature.
        reason: Distrust,
    },
    /// Well-formed, but more than [`limits`](crate::limits) allow.
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit.
        allowed: u64,
        /// What the file asks for.
        found: u64,
    },
    /// Well-formed, but in need of something that this build leaves out.
    Unsupported {
        /// What is missing, as in "zstd".
        what: String,
    },
    /// The caller's fault: an argument that no package could have.
    Parameter {
        /// What is wrong with it.
        what: Cow<'static, str>,
    },
}

/// A part of a package, for errors.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// The whole file.
    File,
    /// The launcher at its start.
    Launcher,
    /// The 8200 bytes at its end.
    Trailer,
    /// A field of the index.
    Index(&'static str),
    /// The gzip container around the JSON.
    Container,
    /// A place in the JSON, as a path of keys.
    Metadata(String),
    /// A field of a slot's descriptor.
    Descriptor(u32, &'static str),
    /// The stored bytes of a slot.
    Slot(u32),
    /// An entry of the archive in a slot.
    Entry(String),
    /// Bytes between the parts, which have to be zero.
    Gap,
}

/// What is wrong with a key or a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Distrust {
    /// There is no signature.
    Unsigned,
    /// The public key is one for which signatures can be made without a private key, or not a key at all.
    WeakKey,
    /// The signature was not made by this key over this metadata.
    BadSignature,
    /// The signed claims name another key.
    OtherKey,
}

/// An expected or a found value, for errors.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// A number, shown in decimal.
    Number(u64),
    /// A number, shown in hexadecimal.
    Hex(u64),
    /// A digest.
    Digest(Digest),
    /// Words.
    Text(Cow<'static, str>),
}

impl Error {
    /// The details.
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }

    /// Builds [`ErrorKind::Malformed`].
    pub fn malformed(part: Part, at: u64, expected: impl Into<Value>, found: impl Into<Value>) -> Self {
        ErrorKind::Malformed { part, at, expected: expected.into(), found: found.into() }.into()
    }

    /// Builds [`ErrorKind::Malformed`] for a place in the JSON document.
    pub fn json(path: impl Into<String>, expected: impl Into<Value>, found: impl Into<Value>) -> Self {
        Self::malformed(Part::Metadata(path.into()), 0, expected, found)
    }

    /// Builds [`ErrorKind::Parameter`].
    pub fn parameter(what: impl Into<Cow<'static, str>>) -> Self {
        ErrorKind::Parameter { what: what.into() }.into()
    }
}

impl From<ErrorKind> for Error {
    #[cold]
    fn from(kind: ErrorKind) -> Self {
        Self(Box::new(kind))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            ErrorKind::Source { at, len, errno } => {
                write!(f, "cannot read {len} bytes at byte {at}")?;
                errno.map_or(Ok(()), |errno| write!(f, " (os error {errno})"))
            }
            ErrorKind::NotAPackage { size } => {
                write!(f, "not a PSPF package: none of its {size} bytes is a PSPF/2025 index at the end")
            }
            ErrorKind::Malformed { part, at, expected, found } => {
                write!(f, "{part}")?;
                if *at != 0 {
                    write!(f, ", at byte {at}")?;
                }
                write!(f, ": expected {expected}, found {found}")
            }
            ErrorKind::Untrusted { key, reason } => {
                write!(f, "{reason}")?;
                key.map_or(Ok(()), |key| write!(f, " (key {key})"))
            }
            ErrorKind::TooLarge { what, allowed, found } => {
                write!(f, "{what}: at most {allowed} allowed, found {found}")
            }
            ErrorKind::Unsupported { what } => write!(f, "this build does not read {what}"),
            ErrorKind::Parameter { what } => f.write_str(what),
        }
    }
}

impl core::error::Error for Error {}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("file"),
            Self::Launcher => f.write_str("launcher"),
            Self::Trailer => f.write_str("trailer"),
            Self::Index(field) => write!(f, "index field {field}"),
            Self::Container => f.write_str("metadata container"),
            Self::Metadata(path) if path.is_empty() => f.write_str("metadata"),
            Self::Metadata(path) => write!(f, "metadata field {path}"),
            Self::Descriptor(slot, field) => write!(f, "descriptor of slot {slot}, field {field}"),
            Self::Slot(slot) => write!(f, "slot {slot}"),
            Self::Entry(path) => write!(f, "archive entry {path:?}"),
            Self::Gap => f.write_str("gap between parts"),
        }
    }
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsigned => "the package is not signed",
            Self::WeakKey => "the package's key is not one that proves anything",
            Self::BadSignature => "the signature does not match: the metadata was changed after signing",
            Self::OtherKey => "the signed claims name another key than the one that signed",
        })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Hex(number) => write!(f, "{number:#x}"),
            Self::Digest(digest) => write!(f, "{digest}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<Digest> for Value {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}
