//! The passphrase of a signing key: from the environment, from a file or descriptor, or from whoever sits at the terminal.

use std::env;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};

use pkcs8::der::zeroize::Zeroizing;
use rustix::termios::{self, LocalModes, OptionalActions};

use crate::error::{Error, Kind, Result};

/// The variable that holds a passphrase.
pub const VARIABLE: &str = "PSPF_KEY_PASSPHRASE";
/// The variable that names a file whose first line is a passphrase; `/dev/fd/3` for a descriptor.
pub const FILE_VARIABLE: &str = "PSPF_KEY_PASSPHRASE_FILE";

/// A passphrase, overwritten in memory when it is dropped.
pub struct Passphrase(Zeroizing<String>);

/// How often a person types it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Once: a key that exists tells whether it is right.
    Once,
    /// Twice, and the same: nobody could read a key with a slip of the finger in its passphrase.
    Twice,
}

impl Passphrase {
    /// [`VARIABLE`], else the first line of the file that [`FILE_VARIABLE`] names, else what is typed at the terminal. An empty
    /// one is refused, as is to have none of the three.
    pub fn find(asked: Asked) -> Result<Self> {
        let text = if let Ok(text) = env::var(VARIABLE) {
            Zeroizing::new(text)
        } else if let Some(path) = env::var_os(FILE_VARIABLE) {
            let failed = |error| Error::io("cannot read the passphrase", &path, &error).field(FILE_VARIABLE);
            let text = Zeroizing::new(fs::read_to_string(&path).map_err(failed)?);
            Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())
        } else {
            typed(asked)?
        };
        if text.is_empty() {
            return Err(Error::new(Kind::Configuration, "the passphrase is empty")
                .hint(format!("put one into {VARIABLE}, or into a file and name that in {FILE_VARIABLE}")));
        }
        Ok(Self(text))
    }

    /// Takes a text for a passphrase.
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

fn typed(asked: Asked) -> Result<Zeroizing<String>> {
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|_| {
        Error::new(Kind::Configuration, "the signing key needs a passphrase, and there is no terminal to ask at")
            .hint(format!("put it into {VARIABLE}, or into a file and name that in {FILE_VARIABLE}"))
    })?;
    let first = line(&terminal, "passphrase of the signing key: ")?;
    if asked == Asked::Twice && line(&terminal, "the same again: ")? != first {
        return Err(Error::new(Kind::Configuration, "the two passphrases differ, so no key was made").hint("try again"));
    }
    Ok(first)
}

/// A line from the terminal, which does not show it.
fn line(mut terminal: &File, question: &str) -> Result<Zeroizing<String>> {
    let failed = |error| Error::io("cannot ask for the passphrase", "/dev/tty", &error);
    terminal.write_all(question.as_bytes()).map_err(failed)?;
    let before = termios::tcgetattr(terminal).map_err(|error| failed(error.into()))?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    termios::tcsetattr(terminal, OptionalActions::Flush, &silent).map_err(|error| failed(error.into()))?;
    let mut text = Zeroizing::new(String::new());
    let read = BufReader::new(terminal).read_line(&mut text);
    // A terminal that cannot be set back is one that is gone.
    let _ = termios::tcsetattr(terminal, OptionalActions::Now, &before);
    let _ = terminal.write_all(b"\n");
    read.map_err(failed)?;
    let end = text.trim_end_matches(['\n', '\r']).len();
    text.truncate(end);
    Ok(text)
}
