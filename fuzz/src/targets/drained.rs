//! A stage read to its end.

use std::io::Read;

use pspf_core::codec::Stage;
use pspf_core::{Error, Result};

/// What comes out of a stage.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Drained {
    /// All of it, and its end was as it should be.
    All(Vec<u8>),
    /// More than [`CAP`].
    TooMuch,
    /// An error, at once or after some bytes.
    Refused(Error),
}

/// More than so many bytes are not read: enough for several windows, blocks and chunks.
pub(super) const CAP: usize = 1 << 20;

impl Drained {
    pub(super) fn of(stage: Result<Box<dyn Stage + '_>>) -> Self {
        stage.and_then(|mut stage| Self::try_of(&mut *stage)).unwrap_or_else(Self::Refused)
    }

    pub(super) fn is_all(&self) -> bool {
        matches!(self, Self::All(_))
    }

    fn try_of(stage: &mut dyn Stage) -> Result<Self> {
        let mut content = Vec::new();
        loop {
            let ready = stage.fill()?;
            if ready.is_empty() {
                break;
            }
            content.extend_from_slice(ready);
            let count = ready.len();
            stage.consume(count);
            if content.len() > CAP {
                return Ok(Self::TooMuch);
            }
        }
        stage.finish()?;
        Ok(Self::All(content))
    }
}

/// What another decoder gives, up to one byte more than [`CAP`], and whether it ended without an error.
pub(super) fn read_up_to_cap(reader: impl Read) -> (Vec<u8>, bool) {
    let mut reader = reader.take(CAP as u64 + 1);
    let mut content = Vec::new();
    let ended = reader.read_to_end(&mut content).is_ok();
    (content, ended)
}
