//! One error for everything that can go wrong while packing or looking at a package.
//!
//! Every error says what happened, where (file, field, line), what was expected and what was found,
//! and what to do next. Its [`Kind`] decides the exit code (docs/format.md section 4).

use std::fmt;
use std::path::{Path, PathBuf};

/// What went wrong, where, and what to do about it.
///
/// ```
/// use packer::{Error, Kind};
/// let error = Error::new(Kind::Configuration, "the entry point is not a name that Python can import")
///     .file("pyproject.toml").field("tool.flavor.entry_point").line(12)
///     .expected("\"module:function\"").found("\"my app\"")
///     .hint("write it as entry_point = \"myapp.cli:main\"");
/// assert_eq!(error.exit_code(), 109);
/// assert_eq!(error.to_string(), "the entry point is not a name that Python can import\n  \
///     in:       pyproject.toml, line 12, tool.flavor.entry_point\n  \
///     expected: \"module:function\"\n  \
///     found:    \"my app\"\n  \
///     try:      write it as entry_point = \"myapp.cli:main\"");
/// ```
#[derive(Debug)]
pub struct Error(Box<Details>);

#[derive(Debug)]
struct Details {
    kind: Kind,
    what: String,
    file: Option<PathBuf>,
    line: Option<usize>,
    field: Option<String>,
    expected: Option<String>,
    found: Option<String>,
    output: Option<String>,
    hint: Option<String>,
}

/// Shorthand for results of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whose fault an error is; the number is the process's exit code (docs/format.md section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The file is not a package, or it contradicts the format.
    Format = 102,
    /// A slot could not be written out.
    Extraction = 103,
    /// A program could not be started.
    Execution = 104,
    /// The command line does not make sense.
    Arguments = 105,
    /// The operating system refused to read or write.
    Io = 106,
    /// Signature, digest or key do not hold.
    Integrity = 107,
    /// The project could not be built.
    Build = 108,
    /// The manifest is missing, malformed or contradicts itself.
    Configuration = 109,
    /// An interpreter or a dependency could not be had.
    Dependency = 110,
    /// The user stopped it (128 + SIGINT).
    Cancelled = 130,
}

impl Error {
    /// An error of `kind`; `what` is one sentence without a full stop.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind,
            what: what.into(),
            file: None,
            line: None,
            field: None,
            expected: None,
            found: None,
            output: None,
            hint: None,
        }))
    }

    /// The user pressed Ctrl-C, or the caller's [`Progress`](crate::progress::Progress) said to stop.
    pub fn cancelled() -> Self {
        Self::new(Kind::Cancelled, "stopped; nothing was written")
    }

    /// An operating-system error while doing `what` ("cannot read the manifest") with `path`.
    pub fn io(what: impl Into<String>, path: impl AsRef<Path>, error: &std::io::Error) -> Self {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => "check the spelling of the path",
            std::io::ErrorKind::PermissionDenied => "check who owns it and its mode, or choose another place",
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                "make room, or choose another place (TMPDIR moves the temporary files)"
            }
            std::io::ErrorKind::ReadOnlyFilesystem => "choose another place",
            std::io::ErrorKind::IsADirectory => "this is a directory: name a file",
            std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotADirectory => {
                "something else is in its place: move it away, or choose another place"
            }
            _ => "try again; if it stays so, look at the disk and its file system",
        };
        // The names of temporary files say nothing to anybody.
        let found = error.to_string();
        let found = found.split(" at path \"").next().unwrap_or_default();
        Self::new(Kind::Io, what).file(path).found(found).hint(hint)
    }

    /// The file it is about.
    #[must_use]
    pub fn file(mut self, file: impl AsRef<Path>) -> Self {
        self.0.file = Some(file.as_ref().to_path_buf());
        self
    }

    /// The line in that file, counted from 1.
    #[must_use]
    pub fn line(mut self, line: usize) -> Self {
        self.0.line = Some(line);
        self
    }

    /// The field in that file, in dotted form.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// What would have been right.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.0.expected = Some(expected.into());
        self
    }

    /// What was there instead.
    #[must_use]
    pub fn found(mut self, found: impl Into<String>) -> Self {
        self.0.found = Some(found.into());
        self
    }

    /// The tail of what a failed program printed.
    #[must_use]
    pub fn output(mut self, output: impl Into<String>) -> Self {
        let output = output.into();
        self.0.output = (!output.trim().is_empty()).then_some(output);
        self
    }

    /// The next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// What was found, if that was said.
    pub(crate) fn what_was_found(&self) -> Option<&str> {
        self.0.found.as_deref()
    }

    /// Whose fault it is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The exit code of a process that ends with this error.
    pub fn exit_code(&self) -> u8 {
        self.0.kind as u8
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let details = &*self.0;
        f.write_str(&details.what)?;
        let place: Vec<String> = [
            details.file.as_ref().map(|file| file.display().to_string()),
            details.line.map(|line| format!("line {line}")),
            details.field.clone(),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !place.is_empty() {
            write!(f, "\n  in:       {}", place.join(", "))?;
        }
        for (label, text) in [("expected:", &details.expected), ("found:   ", &details.found)] {
            if let Some(text) = text {
                write!(f, "\n  {label} {text}")?;
            }
        }
        if let Some(output) = &details.output {
            f.write_str("\n  output:")?;
            for line in output.trim_end().lines() {
                write!(f, "\n    {line}")?;
            }
        }
        if let Some(hint) = &details.hint {
            write!(f, "\n  try:      {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
