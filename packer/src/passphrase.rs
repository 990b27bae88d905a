//! The passphrase of a signing key: from the environment, from a file or descriptor, or from whoever sits at the terminal.

use std::env;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read as _, Write as _};

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

/// A line from the terminal, which does not show it. Ctrl-C is read as a key, so that the terminal is set back then, too.
fn line(mut terminal: &File, question: &str) -> Result<Zeroizing<String>> {
    let failed = |error| Error::io("cannot ask for the passphrase", "/dev/tty", &error);
    let before = termios::tcgetattr(terminal).map_err(|error| failed(error.into()))?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    termios::tcsetattr(terminal, OptionalActions::Flush, &silent).map_err(|error| failed(error.into()))?;
    // Asked only now: what is typed from here on stays unseen.
    let typed = terminal.write_all(question.as_bytes()).and_then(|()| keys(terminal));
    // A terminal that cannot be set back is one that is gone.
    let _ = termios::tcsetattr(terminal, OptionalActions::Now, &before);
    let _ = terminal.write_all(b"\n");
    let Some(typed) = typed.map_err(failed)? else {
        return Err(Error::cancelled());
    };
    let text = std::str::from_utf8(&typed).map_err(|_| {
        Error::new(Kind::Configuration, "the passphrase is not text")
            .expected("UTF-8")
            .hint(format!("put it into a file and name that in {FILE_VARIABLE}"))
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// What is typed until the line ends; `None` after Ctrl-C.
fn keys(terminal: &File) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut typed = Zeroizing::new(Vec::new());
    for key in BufReader::with_capacity(1, terminal).bytes() {
        match key? {
            b'\r' | b'\n' | CTRL_D => break,
            CTRL_C => return Ok(None),
            CTRL_U => typed.clear(),
            BACKSPACE | DELETE => {
                // A character of UTF-8 goes as a whole.
                while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            key => typed.push(key),
        }
    }
    Ok(Some(typed))
}

const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const CTRL_U: u8 = 0x15;
const DELETE: u8 = 0x7f;
