//! What stops a start, in words that name the next step, with the exit codes of docs/format.md section 4.

use alloc::string::String;
use core::fmt;

use pspf_core::ErrorKind;
use rustix::io::Errno;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Why an app was not started.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// There is no package in the file, or not one that can be read.
    Open(pspf_core::Error),
    /// The package is not what it was when it was signed.
    Verify(pspf_core::Error),
    /// A slot could not be read.
    Slot {
        /// Its id.
        id: String,
        /// Why not.
        error: pspf_core::Error,
    },
    /// The operating system refused.
    Io {
        /// What was being done, as in "cannot create".
        doing: &'static str,
        /// With what.
        path: String,
        /// Why not.
        errno: Errno,
    },
    /// The app's program could not be started.
    Execution {
        /// Its path.
        program: String,
        /// Why not.
        errno: Errno,
    },
    /// The package asks for something that makes no sense.
    Manifest {
        /// What, naming the field.
        what: String,
    },
    /// Starting would not be safe.
    Refused {
        /// Why.
        what: String,
        /// What to do about it.
        hint: &'static str,
    },
}

impl Error {
    /// The exit code of a launcher that ends with this error.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Open(error) | Self::Verify(error) | Self::Slot { error, .. }
                if matches!(error.kind(), ErrorKind::Source { .. }) =>
            {
                106
            }
            Self::Open(_) => 102,
            Self::Verify(_) => 107,
            Self::Slot { error, .. } if matches!(error.kind(), ErrorKind::Malformed { .. }) => 107,
            Self::Slot { .. } => 103,
            Self::Io { .. } => 106,
            Self::Execution { .. } => 104,
            Self::Manifest { .. } | Self::Refused { .. } => 109,
        }
    }

    /// An error of the operating system, with the path that it is about.
    pub fn io(doing: &'static str, path: &[u8], errno: Errno) -> Self {
        Self::Io { doing, path: String::from_utf8_lossy(path).into_owned(), errno }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => {
                write!(f, "cannot open the package: {error}\n  try: get the file again, it is not whole")
            }
            Self::Verify(error) => {
                write!(
                    f,
                    "the package was changed after it was signed: {error}\n  try: get the file again from its maker"
                )
            }
            Self::Slot { id, error } => write!(f, "cannot extract slot {id:?}: {error}\n  try: get the file again"),
            Self::Io { doing, path, errno } => {
                write!(f, "{doing} {path}: {}", describe(*errno))?;
                match *errno {
                    Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::ACCESS | Errno::PERM => {
                        f.write_str("\n  try: make room or give access, or set PSPF_CACHE_DIR to another directory")
                    }
                    _ => Ok(()),
                }
            }
            Self::Execution { program, errno } => {
                write!(f, "cannot start {program}: {}", describe(*errno))?;
                match *errno {
                    Errno::ACCESS => f.write_str(
                        "\n  try: set PSPF_CACHE_DIR to a directory whose file system allows programs to run (noexec)",
                    ),
                    Errno::NOENT => {
                        f.write_str("\n  try: this system lacks the program's loader (glibc), or the package is broken")
                    }
                    _ => Ok(()),
                }
            }
            Self::Manifest { what } => write!(f, "{what}\n  try: ask the package's maker to mend its manifest"),
            Self::Refused { what, hint } => write!(f, "{what}\n  try: {hint}"),
        }
    }
}

impl core::error::Error for Error {}

/// The operating system's error in words, for those that people meet.
fn describe(errno: Errno) -> String {
    let words = match errno {
        Errno::NOENT => "no such file or directory",
        Errno::ACCESS => "permission denied",
        Errno::PERM => "operation not permitted",
        Errno::NOSPC => "no space left on the device",
        Errno::DQUOT => "disk quota exceeded",
        Errno::ROFS => "read-only file system",
        Errno::IO => "input/output error",
        Errno::MFILE | Errno::NFILE => "too many open files",
        Errno::NOMEM => "out of memory",
        Errno::NOTDIR => "not a directory",
        Errno::LOOP => "a symbolic link where there must be none",
        Errno::EXIST => "it is there already",
        Errno::NOEXEC => "not a program for this machine",
        Errno::NAMETOOLONG => "the name is too long",
        Errno::TOOBIG => "too many arguments or variables",
        _ => return alloc::format!("os error {}", errno.raw_os_error()),
    };
    words.into()
}
