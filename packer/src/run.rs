//! Starting a package through the installed tool: every byte is checked, and whose package it is, before anything in it
//! runs.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use pspf_core::Verified;

use crate::error::{Error, Kind, Result};
use crate::package_file::{PackageFile, of_launcher};
use crate::places;
use crate::progress::Progress;
use crate::trust::policy::{Action, Violation};
use crate::trust::{Decision, Standing, Subject, Trust};

/// Becomes the app, or its parent where something is to be done when it has ended. Comes back only with the reason why not.
/// `entry` names the entry point to start; without it `PSPF_ENTRY` and the file's name decide, as when the package starts itself.
/// `progress` is told what is odd about a package that runs all the same.
pub fn run(file: &PackageFile, entry: Option<&str>, args: Vec<OsString>, progress: &dyn Progress) -> Error {
    match become_app(file, entry, args, progress) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

/// Whether a package whose bytes are all right may run here: what becomes of its key, and the rules of the policy that it
/// breaks. Nothing is written.
pub fn judge(
    file: &PackageFile,
    verified: &Verified<'_, std::fs::File>,
    trust: &Trust,
) -> Result<(Decision, Vec<Violation>)> {
    let subject = subject(file, verified);
    Ok((trust.decide(&subject), trust.policy().check(verified)?))
}

/// The error for a package that breaks a rule and is refused for it.
pub fn forbidden(file: &PackageFile, violations: &[Violation]) -> Option<Error> {
    let violation = violations.iter().find(|violation| violation.action == Action::Refuse)?;
    let new = Error::new(Kind::Configuration, "the policy does not let this package run here").file(file.path());
    Some(new.field(violation.rule).found(violation.reason.clone()).hint("packer policy show says who demands it"))
}

fn become_app(
    file: &PackageFile,
    entry: Option<&str>,
    args: Vec<OsString>,
    progress: &dyn Progress,
) -> Result<Infallible> {
    let verified = file.verify_whole()?;
    admit(file, &verified, progress)?;
    let mut env = places::environment();
    let package = std::path::absolute(file.path()).unwrap_or_else(|_| file.path().to_path_buf());
    env.set(launcher::environment::PACKAGE, package.as_os_str().as_bytes());
    if let Some(entry) = entry {
        env.set(launcher::entry::VARIABLE, entry.as_bytes());
    }
    let typed = file.path().as_os_str().as_bytes().to_vec();
    let args = args.into_iter().map(OsString::into_vec).collect();
    launcher::become_app(&verified, typed, args, env).map_err(|error| of_launcher(&error).file(file.path()))
}

/// Refuses a package that may not run, and records what is learnt from one that may.
fn admit(file: &PackageFile, verified: &Verified<'_, std::fs::File>, progress: &dyn Progress) -> Result<()> {
    let trust = Trust::of_this_machine()?;
    let (decision, violations) = judge(file, verified, &trust)?;
    let refusal = decision.refusal(file.path());
    let forbidden = forbidden(file, &violations);
    if refusal.is_some() || forbidden.is_none() {
        trust.record(&subject(file, verified), &decision);
    }
    if let Some(error) = refusal.or(forbidden) {
        return Err(error);
    }
    for violation in violations.iter().filter(|violation| violation.action == Action::Warn) {
        progress.note(&violation.reason);
    }
    let is_new = matches!(decision.decision, Standing::FirstUse | Standing::NotFollowed);
    if decision.action == Action::Warn {
        let accept = decision.accept.map_or(String::new(), |accept| format!(" (to accept it: {accept})"));
        progress.note(&format!("{}{accept}", decision.reason));
    } else if decision.decision == Standing::Successor || (is_new && io::stderr().is_terminal()) {
        // Somebody who sits there can compare the key; elsewhere standard error is the app's.
        progress.note(&decision.reason);
    }
    Ok(())
}

fn subject(file: &PackageFile, verified: &Verified<'_, std::fs::File>) -> Subject {
    Subject::new(file.path(), verified.metadata(), file.package().index().public_key())
}
