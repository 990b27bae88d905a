//! What stops a start, in words that name the next step, with the exit codes of docs/format.md section 4.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use pspf_core::error::{printable, quoted};
use pspf_core::number;
use pspf_core::text::concat;
use rustix::io::Errno;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Why an app was not started. One word in size; [`kind`](Self::kind) has the details.
#[derive(Debug)]
pub struct Error(Box<ErrorKind>);

/// The details of an [`Error`].
#[derive(Debug)]
#[non_exhaustive]
pub enum ErrorKind {
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
    /// The app's program, or one of a setup command, could not be started.
    Execution {
        /// Its path.
        program: String,
        /// Why not.
        errno: Errno,
    },
    /// A setup command did not do its work.
    #[cfg(feature = "all")]
    Setup {
        /// Its words.
        command: String,
        /// How it ended.
        end: End,
    },
    /// A command that runs behind the app's end did not do its work.
    #[cfg(feature = "all")]
    Shutdown {
        /// Its words.
        command: String,
        /// How it ended.
        end: End,
    },
    /// The package asks for something that makes no sense.
    Manifest {
        /// What, naming the field.
        what: String,
    },
    /// A command of the launcher's that makes no sense.
    Arguments {
        /// Why not.
        what: String,
    },
    /// Starting would not be safe.
    Refused {
        /// Why.
        what: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// The operator's policy does not let packages with this key run.
    #[cfg(feature = "all")]
    Untrusted {
        /// Why.
        what: String,
        /// What to do about it.
        hint: &'static str,
    },
}

/// How a program ended.
#[cfg(feature = "all")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this exit code.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

impl Error {
    /// The details.
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }

    /// The operating system's error, when it is one.
    pub fn errno(&self) -> Option<Errno> {
        match self.kind() {
            ErrorKind::Io { errno, .. } | ErrorKind::Execution { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// The exit code of a launcher that ends with this error.
    pub fn exit_code(&self) -> i32 {
        match self.kind() {
            ErrorKind::Open(error) | ErrorKind::Verify(error) | ErrorKind::Slot { error, .. }
                if matches!(error.kind(), pspf_core::ErrorKind::Source { .. }) =>
            {
                106
            }
            ErrorKind::Open(_) => 102,
            ErrorKind::Verify(_) => 107,
            #[cfg(feature = "all")]
            ErrorKind::Untrusted { .. } => 107,
            ErrorKind::Slot { error, .. } if matches!(error.kind(), pspf_core::ErrorKind::Malformed { .. }) => 107,
            ErrorKind::Slot { .. } => 103,
            ErrorKind::Io { .. } => 106,
            #[cfg(feature = "all")]
            ErrorKind::Setup { .. } | ErrorKind::Shutdown { .. } => 103,
            ErrorKind::Execution { .. } => 104,
            ErrorKind::Arguments { .. } => 105,
            ErrorKind::Manifest { .. } | ErrorKind::Refused { .. } => 109,
        }
    }

    /// An error of the operating system, with the path that it is about.
    #[cold]
    #[inline(never)]
    pub fn io(doing: &'static str, path: &[u8], errno: Errno) -> Self {
        ErrorKind::Io { doing, path: shown(path), errno }.into()
    }

    /// A slot that could not be read.
    #[cold]
    #[inline(never)]
    pub fn slot(id: &str, error: pspf_core::Error) -> Self {
        ErrorKind::Slot { id: id.into(), error }.into()
    }

    /// A package that makes no sense; what it says, in quotes, behind `what`.
    #[cold]
    #[inline(never)]
    pub fn manifest(what: &'static str, text: &str) -> Self {
        ErrorKind::Manifest { what: concat(&[what, ": ", &quoted(text)]) }.into()
    }

    /// A command line that makes no sense, and the word of it that does not.
    #[cold]
    #[inline(never)]
    pub fn arguments(what: &'static str, word: &[u8]) -> Self {
        ErrorKind::Arguments { what: concat(&[what, &shown(word)]) }.into()
    }

    /// A start that would not be safe, for a reason that follows this path.
    #[cold]
    #[inline(never)]
    pub fn refused(path: &[u8], reason: &'static str, hint: &'static str) -> Self {
        ErrorKind::Refused { what: concat(&[&shown(path), " ", reason]), hint }.into()
    }
}

impl From<ErrorKind> for Error {
    #[cold]
    #[inline(never)]
    fn from(kind: ErrorKind) -> Self {
        Self(Box::new(kind))
    }
}

impl Error {
    /// Appends what [`Display`](fmt::Display) shows.
    pub fn describe(&self, text: &mut String) {
        let advice = match self.kind() {
            ErrorKind::Open(error) => {
                text.push_str("cannot open the package: ");
                error.describe(text);
                "get the file again, it is not whole"
            }
            ErrorKind::Verify(error) if matches!(error.kind(), pspf_core::ErrorKind::Unsupported { .. }) => {
                text.push_str("this launcher cannot verify the package: ");
                error.describe(text);
                "packer run FILE, or ask its maker for one with another launcher"
            }
            ErrorKind::Verify(error) => {
                text.push_str("the package was changed after it was signed: ");
                error.describe(text);
                "get the file again from its maker"
            }
            ErrorKind::Slot { id, error } => {
                text.push_str("cannot extract slot ");
                text.push_str(&quoted(id));
                text.push_str(": ");
                error.describe(text);
                "get the file again"
            }
            ErrorKind::Io { doing, path, errno } => {
                text.push_str(doing);
                describe(path, *errno, text);
                match *errno {
                    Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::ACCESS | Errno::PERM => {
                        "make room or give access, or set PSPF_CACHE_DIR to another directory"
                    }
                    _ => return,
                }
            }
            ErrorKind::Execution { program, errno } => {
                text.push_str("cannot start");
                describe(program, *errno, text);
                match *errno {
                    Errno::ACCESS => {
                        "set PSPF_CACHE_DIR to a directory where programs may run: this one's file system may be noexec"
                    }
                    Errno::NOENT => "this system lacks the program's loader (glibc), or the package is broken",
                    _ => return,
                }
            }
            #[cfg(feature = "all")]
            ErrorKind::Shutdown { command, end } => {
                text.push_str("the app has ended; shutdown ");
                describe_end(command, *end, text);
                "look at what it said above; the app itself ended as it did"
            }
            #[cfg(feature = "all")]
            ErrorKind::Setup { command, end } => {
                text.push_str("setup ");
                describe_end(command, *end, text);
                "mend what it said above and start again; if it said nothing, ask the package's maker"
            }
            ErrorKind::Manifest { what } => {
                text.push_str(what);
                "ask the package's maker to mend its manifest"
            }
            ErrorKind::Arguments { what } => {
                text.push_str(what);
                "FLAVOR_LAUNCHER_CLI=1 FILE help, or info"
            }
            ErrorKind::Refused { what, hint } => {
                text.push_str(what);
                hint
            }
            #[cfg(feature = "all")]
            ErrorKind::Untrusted { what, hint } => {
                text.push_str(what);
                hint
            }
        };
        text.push_str("\n  try: ");
        text.push_str(advice);
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

/// A path for people, without what would steer their terminal.
#[cold]
#[inline(never)]
pub fn shown(path: &[u8]) -> String {
    match core::str::from_utf8(path) {
        Ok(path) => printable(path),
        Err(_) => {
            let mut ascii = String::new();
            for byte in path {
                ascii.push(char::from(byte & 0x7f));
            }
            printable(&ascii)
        }
    }
}

#[cfg(feature = "all")]
fn describe_end(command: &str, end: End, text: &mut String) {
    let (how, number) = match end {
        End::Exit(code) => (" ended with exit code ", code),
        End::Signal(signal) => (" was killed by signal ", signal),
    };
    text.push_str("command ");
    text.push_str(&printable(command));
    text.push_str(how);
    number::push(text, number.unsigned_abs().into(), 10);
}

/// What it is about, and the operating system's error: in words, for those that people meet.
fn describe(path: &str, errno: Errno, text: &mut String) {
    text.push(' ');
    text.push_str(path);
    text.push_str(": ");
    text.push_str(match errno {
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
        Errno::INVAL => "not what the system takes (a NUL character?)",
        Errno::TOOBIG => "too many arguments or variables",
        _ => {
            text.push_str("os error ");
            return number::push(text, errno.raw_os_error().unsigned_abs().into(), 10);
        }
    });
}
