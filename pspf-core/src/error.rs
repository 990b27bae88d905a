//! Why a package was refused, grouped by who can mend it.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use crate::digest::{Digest, hex};
use crate::sign::KeyId;
use crate::{number, text};

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
    /// The environment: the bytes could not be read. Trying again may help.
    Source {
        /// Where in the file, in bytes.
        at: u64,
        /// How many bytes were wanted.
        len: u64,
        /// The operating system's error number, where it gave one.
        errno: Option<i32>,
    },
    /// The environment: a package that is being built could not be written.
    #[cfg(any(feature = "build", feature = "std"))]
    Sink {
        /// How many bytes were to be written.
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
    #[cold]
    #[inline(never)]
    pub fn malformed(part: Part, at: u64, expected: impl Into<Value>, found: impl Into<Value>) -> Self {
        Self::differs(part, at, expected.into(), found.into())
    }

    /// Builds [`ErrorKind::Malformed`] for a place in the JSON document.
    #[cold]
    #[inline(never)]
    pub fn json(path: impl Into<String>, expected: impl Into<Value>, found: impl Into<Value>) -> Self {
        Self::differs(Part::Metadata(path.into()), 0, expected.into(), found.into())
    }

    #[cold]
    #[inline(never)]
    fn differs(part: Part, at: u64, expected: Value, found: Value) -> Self {
        ErrorKind::Malformed { part, at, expected, found }.into()
    }

    /// Builds [`ErrorKind::TooLarge`].
    #[cold]
    #[inline(never)]
    pub fn too_large(what: &'static str, allowed: u64, found: u64) -> Self {
        ErrorKind::TooLarge { what, allowed, found }.into()
    }

    /// Builds [`ErrorKind::Unsupported`] for something that a feature of this crate would read.
    #[cold]
    #[inline(never)]
    pub(crate) fn left_out(what: &str) -> Self {
        ErrorKind::Unsupported { what: text::concat(&[what, " (pspf-launcher-all does)"]) }.into()
    }

    /// Builds [`ErrorKind::Parameter`].
    #[cold]
    pub fn parameter(what: impl Into<Cow<'static, str>>) -> Self {
        ErrorKind::Parameter { what: what.into() }.into()
    }
}

/// A text of unknown origin for an error, in single quotes.
#[cold]
#[inline(never)]
pub fn quoted(text: &str) -> String {
    text::concat(&["'", &printable(text), "'"])
}

/// A text of unknown origin without the characters that would steer a terminal or reverse what is around it.
#[cold]
#[inline(never)]
pub fn printable(text: &str) -> String {
    let steers = |character: char| matches!(character, '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let replace = |character| if steers(character) { char::REPLACEMENT_CHARACTER } else { character };
    let mut printable = String::new();
    for character in text.chars() {
        printable.push(replace(character));
    }
    printable
}

impl From<ErrorKind> for Error {
    #[cold]
    #[inline(never)]
    fn from(kind: ErrorKind) -> Self {
        Self(Box::new(kind))
    }
}

impl Error {
    /// Appends what [`Display`](fmt::Display) shows. The texts of errors are put together by hand, because `core::fmt`
    /// would be 5 KB of the launcher.
    pub fn describe(&self, text: &mut String) {
        match self.kind() {
            ErrorKind::Source { at, len, errno } => {
                text.push_str("cannot read ");
                number::push(text, *len, 10);
                text.push_str(" bytes at byte ");
                number::push(text, *at, 10);
                describe_errno(*errno, text);
            }
            #[cfg(any(feature = "build", feature = "std"))]
            ErrorKind::Sink { len, errno } => {
                text.push_str("cannot write ");
                number::push(text, *len, 10);
                text.push_str(" bytes");
                describe_errno(*errno, text);
            }
            ErrorKind::NotAPackage { size } => {
                text.push_str("not a PSPF package: none of its ");
                number::push(text, *size, 10);
                text.push_str(" bytes is a PSPF/2025 index at the end");
            }
            ErrorKind::Malformed { part, at, expected, found } => {
                part.describe(text);
                if *at != 0 {
                    text.push_str(", at byte ");
                    number::push(text, *at, 10);
                }
                text.push_str(": expected ");
                text.push_str(&expected.shown());
                text.push_str(", found ");
                text.push_str(&found.shown());
            }
            ErrorKind::Untrusted { key, reason } => {
                text.push_str(reason.shown());
                if let Some(key) = key {
                    text.push_str(" (key ");
                    text.push_str(&hex(&key.0));
                    text.push(')');
                }
            }
            ErrorKind::TooLarge { what, allowed, found } => {
                text.push_str(what);
                text.push_str(": at most ");
                number::push(text, *allowed, 10);
                text.push_str(" allowed, found ");
                number::push(text, *found, 10);
            }
            ErrorKind::Unsupported { what } => {
                text.push_str("this build does not read ");
                text.push_str(what);
            }
            ErrorKind::Parameter { what } => text.push_str(what),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.describe(&mut text);
        f.write_str(&text)
    }
}

impl core::error::Error for Error {}

fn describe_errno(errno: Option<i32>, text: &mut String) {
    if let Some(errno) = errno {
        text.push_str(" (os error ");
        number::push(text, errno.unsigned_abs().into(), 10);
        text.push(')');
    }
}

impl Part {
    fn describe(&self, text: &mut String) {
        let (kind, name) = match self {
            Self::File => ("file", ""),
            Self::Launcher => ("launcher", ""),
            Self::Trailer => ("trailer", ""),
            Self::Index(field) => ("index field ", *field),
            Self::Container => ("metadata container", ""),
            Self::Metadata(path) if path.is_empty() => ("metadata", ""),
            Self::Metadata(path) => ("metadata field ", path.as_str()),
            Self::Descriptor(slot, field) => {
                text.push_str("descriptor of slot ");
                number::push(text, (*slot).into(), 10);
                (", field ", *field)
            }
            Self::Slot(slot) => {
                text.push_str("slot ");
                return number::push(text, (*slot).into(), 10);
            }
            Self::Entry(path) => {
                text.push_str("archive entry ");
                return text.push_str(&quoted(path));
            }
            Self::Gap => ("gap between parts", ""),
        };
        text.push_str(kind);
        text.push_str(name);
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.describe(&mut text);
        f.write_str(&text)
    }
}

impl Distrust {
    fn shown(self) -> &'static str {
        match self {
            Self::Unsigned => "the package is not signed",
            Self::WeakKey => "the package's key is not one that proves anything",
            Self::BadSignature => "the signature does not match: the metadata was changed after signing",
            Self::OtherKey => "the signed claims name another key than the one that signed",
        }
    }
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

impl Value {
    fn shown(&self) -> Cow<'_, str> {
        match self {
            Self::Number(number) => number::decimal(*number).into(),
            Self::Hex(number) => number::hexadecimal(*number).into(),
            Self::Digest(digest) => digest.text().into(),
            Self::Text(text) => text.as_ref().into(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
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
