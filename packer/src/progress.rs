//! Watching and stopping long work: every flow takes a [`Progress`], the CLI draws a bar with it, the GUI a
//! job row, and tests count.

use crate::error::{Error, Result};

/// Where long work tells how far it is, and learns that it should stop.
pub trait Progress: Sync {
    /// A new stage begins ("installing dependencies"); `total` is in the unit of [`advance`](Self::advance),
    /// when it is known beforehand.
    fn stage(&self, name: &str, total: Option<u64>) {
        let _ = (name, total);
    }

    /// `done` more units (bytes, files) of the current stage are finished.
    fn advance(&self, done: u64) {
        let _ = done;
    }

    /// Something worth telling that is not an error; one line without a full stop.
    fn note(&self, line: &str) {
        let _ = line;
    }

    /// What is going on inside, for those who look for a mistake: programs that are run, and what they print. It is only
    /// asked for where somebody wants it.
    fn debug(&self, text: &dyn Fn() -> String) {
        let _ = text;
    }

    /// More of that, down to single files. It is only asked for where somebody wants it.
    fn trace(&self, text: &dyn Fn() -> String) {
        let _ = text;
    }

    /// True once the work should stop.
    fn is_cancelled(&self) -> bool {
        false
    }

    /// [`Error::cancelled`] once the work should stop; called between steps.
    fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }
}

/// Watches nothing and never stops.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}
