//! One process of an app with something to be done when it has ended: temporary slots go, and shutdown slots have their turn.
//!
//! Such a process has a workenv to itself: of several at once, each takes one that no other has.

use core::convert::Infallible;

use pspf_core::metadata::{Lifecycle, Metadata};
use pspf_core::number::decimal;
use pspf_core::text::concat;
use pspf_core::{Source, Verified};

use crate::cache::Cache;
use crate::error::{End, Error, ErrorKind, Result};
use crate::exec::{self, Command};
use crate::lifecycle::{self, alone};
use crate::parent::Parent;
use crate::store::Lock;
use crate::workenv::Workenv;

/// The workenv is nobody else's while this lives, and signals wait for the app.
pub struct Session {
    parent: Parent,
    _lock: Lock,
}

/// Chooses a workenv for this process, if the package has slots that come and go with one.
pub fn choose(metadata: &Metadata, workenv: &mut Workenv<'_>, cache: &Cache) -> Result<Option<Lock>> {
    if !comes_and_goes(metadata) {
        return Ok(None);
    }
    for number in 0..AT_ONCE {
        workenv.choose(number, cache);
        // A dead one's is free: its lock died with it.
        if let Some(lock) = Lock::try_exclusive(&cache.envs, &concat(&[workenv.name(), "-run"]))? {
            return Ok(Some(lock));
        }
    }
    Err(Error::refused(cache.path(), "has as many running processes of this app as it can", "end some of them"))
}

impl Session {
    /// From now on no signal ends this process before it has done what is to be done in the end.
    pub fn begin(lock: Lock) -> Self {
        Self { parent: Parent::begin(), _lock: lock }
    }

    /// Runs the app to its end, does what is to be done then, and ends as it did.
    pub fn run<S: Source>(
        self,
        verified: &Verified<'_, S>,
        cache: &Cache,
        workenv: &Workenv<'_>,
        command: &Command,
    ) -> Result<Infallible> {
        let ended = self.parent.run(command, None);
        self.tell(command, self.give_back(verified.metadata(), cache, workenv));
        let end = ended?;
        self.tell(command, self.shut_down(verified, cache, workenv, command, end));
        self.parent.end(end)
    }

    /// Removes what was there for this process only.
    pub fn give_back(&self, metadata: &Metadata, cache: &Cache, workenv: &Workenv<'_>) -> Result<()> {
        lifecycle::remove(metadata, Lifecycle::Temporary, cache, workenv)
    }

    fn shut_down<S: Source>(
        &self,
        verified: &Verified<'_, S>,
        cache: &Cache,
        workenv: &Workenv<'_>,
        app: &Command,
        end: End,
    ) -> Result<()> {
        let metadata = verified.metadata();
        let slots = alone(metadata, Lifecycle::Shutdown, true);
        lifecycle::extract(verified, cache, workenv, &slots)?;
        for line in &metadata.workenv.shutdown {
            self.tell(app, self.one(line, workenv, app, end));
        }
        lifecycle::remove(metadata, Lifecycle::Shutdown, cache, workenv)
    }

    fn one(&self, line: &str, workenv: &Workenv<'_>, app: &Command, end: End) -> Result<()> {
        let mut command = workenv.command(line)?;
        command.env = app.env.clone();
        let (name, number) = match end {
            End::Exit(code) => (&b"PSPF_EXIT_CODE"[..], code),
            End::Signal(signal) => (&b"PSPF_EXIT_SIGNAL"[..], signal),
        };
        command.env.set(name, decimal(number.unsigned_abs().into()).as_bytes());
        exec::add_origin(&mut command);
        match self.parent.run(&command, Some(workenv.path()))? {
            End::Exit(0) => Ok(()),
            end => Err(ErrorKind::Shutdown { command: line.into(), end }.into()),
        }
    }

    /// What goes wrong behind the app's end changes nothing about how it ended.
    fn tell(&self, app: &Command, done: Result<()>) {
        let Err(error) = done else { return };
        let typed = app.env.get(b"PSPF_ARGV0").unwrap_or_default();
        crate::tell(typed, &error);
    }
}

/// Makes the workenv the one at this path, if it is one that processes of this package have.
pub fn find(metadata: &Metadata, workenv: &mut Workenv<'_>, cache: &Cache, path: &[u8]) -> bool {
    for number in 0..if comes_and_goes(metadata) { AT_ONCE } else { 0 } {
        workenv.choose(number, cache);
        if workenv.path() == path {
            return true;
        }
    }
    workenv.path() == path
}

fn comes_and_goes(metadata: &Metadata) -> bool {
    let slots = |lifecycle| !alone(metadata, lifecycle, true).is_empty();
    slots(Lifecycle::Temporary) || slots(Lifecycle::Shutdown) || !metadata.workenv.shutdown.is_empty()
}

/// How many processes of one app may run at the same time.
const AT_ONCE: u64 = 1000;
