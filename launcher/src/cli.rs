//! The launcher's own commands: `FLAVOR_LAUNCHER_CLI=1 ./app.psp COMMAND` (docs/format.md section 4.9).
//!
//! They look at the package and never start what is in it, `run` apart. Answers go to standard output.

use alloc::vec::Vec;

use pspf_core::digest::hex;
use pspf_core::error::printable;
use pspf_core::number::{self, decimal};
use pspf_core::text::{concat, pieces};
use pspf_core::verify::Grade;
use pspf_core::{Source, Verified};
use rustix::io::Errno;

use crate::cache::{Making, open_or_make};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::store;
use crate::sys::{self, Dir};

/// What the launcher is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// The list of commands.
    Help,
    /// Which launcher this is.
    Version,
    /// Name, version, key and slots.
    Info,
    /// A check of every byte.
    Verify,
    /// The signed JSON.
    Metadata,
    /// The files of a slot: its number and a directory follow.
    Extract,
    /// A slot on disk, wherever its package has it: its id or number follows.
    #[cfg(feature = "all")]
    Slot,
    /// The app, as without any command.
    Run,
}

impl Command {
    /// The command at the front of `args`, which is taken off; [`Run`](Self::Run) when the caller asks for none.
    ///
    /// Fails with [`ErrorKind::Arguments`] when there is no such command, or not with as many arguments.
    pub fn take(env: &Environment, args: &mut Vec<Vec<u8>>) -> Result<Self> {
        let value = env.get(VARIABLE).unwrap_or_default();
        if !pieces(YES, b' ').any(|yes| yes.as_bytes().eq_ignore_ascii_case(value)) {
            return Ok(Self::Run);
        }
        if args.is_empty() {
            return Ok(Self::Help);
        }
        let name = args.remove(0);
        for (known, command, count) in COMMANDS {
            if known.as_bytes() == name && (args.len() == count || count == ANY) {
                return Ok(command);
            }
        }
        Err(Error::arguments("the launcher has no such command, or it takes other arguments: ", &name))
    }

    /// True when what the package holds has to be on disk for it.
    pub fn needs_workenv(self) -> bool {
        #[cfg(feature = "all")]
        if self == Self::Slot {
            return true;
        }
        self == Self::Run
    }

    /// The answer, when it does not depend on the package.
    pub fn text(self) -> Option<&'static str> {
        match self {
            Self::Help => Some(HELP),
            Self::Version => Some(VERSION),
            _ => None,
        }
    }
}

/// Answers a command about a package whose head was looked at.
pub fn answer<S: Source>(
    command: Command,
    args: &[Vec<u8>],
    verified: pspf_core::Result<Verified<'_, S>>,
) -> Result<()> {
    if command == Command::Verify {
        return check(verified);
    }
    let verified = &verified.map_err(ErrorKind::Verify)?;
    match (command, args) {
        (Command::Extract, [slot, directory]) => extract(verified, slot, directory),
        (Command::Metadata, _) => sys::print(verified.json()),
        _ => info(verified),
    }
}

/// One line for each check, told as it is made, and a verdict.
fn check<S: Source>(verified: pspf_core::Result<Verified<'_, S>>) -> Result<()> {
    let mut failure = None;
    let mut told = |name: &str, outcome: pspf_core::Result<bool>| {
        let verdict = match &outcome {
            Ok(true) => "ok        ",
            Ok(false) => "unsigned  ",
            Err(_) => "FAILED    ",
        };
        if let Err(error) = outcome {
            failure.get_or_insert(error);
        }
        line(&[verdict, name])
    };
    let mut verdict = "intact as far as its signature goes";
    match verified {
        Ok(verified) => {
            told(HEAD, Ok(true))?;
            let digest = verified.metadata().launcher.and_then(|(_, digest)| digest);
            let is_signed = verified.grade() == Grade::Sealed || digest.is_some();
            told("launcher", verified.check_launcher().map(|()| is_signed))?;
            for (index, slot) in (0..).zip(&verified.metadata().slots) {
                let name = concat(&["slot ", &decimal(index.into()), " ", &slot.id]);
                told(&name, verified.check_slot(index, &mut |_| {}))?;
            }
            if verified.grade() == Grade::Sealed {
                verdict = "intact: the signature answers for every byte";
            }
        }
        Err(error) => told(HEAD, Err(error))?,
    }
    match failure {
        None => line(&[verdict]),
        Some(error) => {
            line(&["NOT intact"])?;
            Err(ErrorKind::Verify(error).into())
        }
    }
}

fn info<S: Source>(verified: &Verified<'_, S>) -> Result<()> {
    let metadata = verified.metadata();
    line(&[&metadata.name, " ", &metadata.version])?;
    let grade = match verified.grade() {
        Grade::Sealed => "sealed",
        _ => "slots-only",
    };
    line(&["  grade   ", grade])?;
    let origin = verified.claims().map_or("unknown", |claims| claims.key_origin.name());
    line(&["  key     ", &hex(&verified.key_id().0), " (", origin, ")"])?;
    #[cfg(feature = "all")]
    for (name, command) in crate::entry::all(metadata) {
        line(&["  entry   ", name, "  ", command])?;
    }
    for (index, (slot, stored)) in (0..).zip(metadata.slots.iter().zip(verified.package().table())) {
        let (index, size) = (decimal(index), decimal(stored.size));
        let lifecycle = slot.lifecycle.name();
        line(&["  slot ", &index, "  ", &slot.id, ", ", &size, " bytes, ", lifecycle, " -> ", &slot.target])?;
    }
    Ok(())
}

/// Writes a slot's files into a directory in which nothing has their names yet.
fn extract<S: Source>(verified: &Verified<'_, S>, number: &[u8], directory: &[u8]) -> Result<()> {
    let index = core::str::from_utf8(number).ok().and_then(|digits| number::parse(digits, 10)).unwrap_or(u64::MAX);
    let placements = verified.placements();
    let slots = placements.iter().zip(&verified.metadata().slots);
    let Some((index, (placement, slot))) = (0..).zip(slots).find(|(i, _)| u64::from(*i) == index) else {
        return Err(Error::arguments("the package has no slot with the number ", number));
    };
    let name = match store::file_name(&slot.target) {
        "" => store::CONTENT,
        name => name,
    };
    let directory = if directory.starts_with(b"/") { directory.to_vec() } else { sys::join(b".", directory) };
    let to = open_or_make(&directory, 0o755, Making::Anywhere)?;
    // Whole or not at all: what is moved to where it belongs has been compared with what was signed.
    let (temporary, from) = store::temporary_dir(&to, "slot")?;
    let written = store::write(verified, index, placement, &from, name, None).and_then(|()| move_all(&from, &to));
    let removed = to.remove(&temporary);
    written.and(removed)?;
    line(&["extracted slot ", &slot.id, " to ", &crate::error::shown(&directory)])
}

fn move_all(from: &Dir, to: &Dir) -> Result<()> {
    let names = from.names(b"")?;
    for name in &names {
        match to.stat(name) {
            Err(error) if error.errno() == Some(Errno::NOENT) => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(to.failed("cannot extract", name, Errno::EXIST)),
        }
    }
    for name in &names {
        to.told("cannot extract", name, from.rename_to(name, to, name))?;
    }
    Ok(())
}

/// Prints one line, whatever characters a package has in its names.
#[inline(never)]
fn line(parts: &[&str]) -> Result<()> {
    let mut text = printable(&concat(parts));
    text.push('\n');
    sys::print(text.as_bytes())
}

/// The variable that asks for a command instead of the app.
pub const VARIABLE: &[u8] = b"FLAVOR_LAUNCHER_CLI";
/// Its values that mean yes, in any case: those of FlavorPack's two launchers.
const YES: &str = "1 true yes on";
/// Each command with the number of its arguments.
const COMMANDS: [(&str, Command, usize); 8 + cfg!(feature = "all") as usize] = [
    ("info", Command::Info, 0),
    ("verify", Command::Verify, 0),
    ("metadata", Command::Metadata, 0),
    ("extract", Command::Extract, 2),
    #[cfg(feature = "all")]
    ("slot", Command::Slot, 1),
    ("run", Command::Run, ANY),
    ("version", Command::Version, 0),
    ("help", Command::Help, ANY),
    ("--help", Command::Help, ANY),
];
#[cfg(feature = "all")]
macro_rules! help_of_slot {
    () => {
        "  slot SLOT         say where a slot is, and see that it is there\n"
    };
}
#[cfg(not(feature = "all"))]
macro_rules! help_of_slot {
    () => {
        ""
    };
}
const ANY: usize = usize::MAX;
const HEAD: &str = "signature, metadata and layout";
const VERSION: &str = concat!("pspf-launcher ", env!("CARGO_PKG_VERSION"), " (PSPF/2025)\n");
const HELP: &str = concat!(
    "\
FLAVOR_LAUNCHER_CLI=1 makes this package take a command:
  info              name, key and slots
  verify            check every byte
  metadata          the signed JSON
  extract SLOT DIR  write a slot's files
",
    help_of_slot!(),
    "  run ARGS          start the app
  version           of the launcher
  help
"
);
