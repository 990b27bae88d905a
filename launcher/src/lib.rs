//! What happens on the user's machine: open, verify, extract what is missing, prepare the workenv, start the app.
//!
//! ```text
//!  own file ──> Package ──> Verified ──> Store (slots, once per machine) ──> Workenv ──> exec
//!  [`start`]    pspf-core   pspf-core    [`store`]                          [`workenv`]  [`exec`]
//! ```
//!
//! The same code is two things: the freestanding binary at the start of every package (no standard library, no
//! libc), and a library that packer uses for its own `run`, `verify` and `extract`. It is quiet when all is well.
//! No environment variable lowers what is verified.

#![no_std]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

use alloc::vec::Vec;
use core::convert::Infallible;
use core::mem::ManuallyDrop;

use pspf_core::{Package, Source, Verified};

pub mod cache;
pub mod cli;
#[cfg(feature = "all")]
pub mod data;
pub mod entry;
pub mod environment;
pub mod error;
pub mod exec;
pub mod extract;
#[cfg(feature = "all")]
pub mod lifecycle;
#[cfg(feature = "all")]
pub mod lineage;
#[cfg(feature = "all")]
pub mod parent;
pub mod place;
#[cfg(feature = "all")]
pub mod policy;
#[cfg(not(feature = "std"))]
mod raw;
pub mod seal;
#[cfg(feature = "all")]
pub mod session;
#[cfg(feature = "all")]
pub mod setup;
pub mod store;
pub mod sys;
pub mod text;
#[cfg(feature = "all")]
pub mod trust;
pub mod workenv;

pub use error::{Error, ErrorKind, Result};

use environment::Environment;
use exec::Command;
use workenv::Workenv;

/// What the kernel hands to a new process.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// The command line, the name that was typed first.
    pub args: Vec<Vec<u8>>,
    /// The environment as `NAME=value`.
    pub env: Vec<Vec<u8>>,
    /// AT_EXECFN: the path that was executed.
    pub execfn: Option<Vec<u8>>,
    /// AT_SECURE: the file has more rights than the caller (setuid, capabilities).
    pub secure: bool,
}

/// The launcher's whole life: it returns only when the app could not be started or a command of [`cli::Command`] was answered,
/// with the exit code.
pub fn start(start: Start) -> i32 {
    let typed = start.args.first().cloned().unwrap_or_default();
    let Err(error) = launch(start) else { return 0 };
    tell(&typed, &error);
    error.exit_code()
}

/// Writes an error to standard error, with the name by which the user called the package in front.
pub(crate) fn tell(typed: &[u8], error: &Error) {
    let mut text = error::shown(typed);
    text.push_str(": ");
    error.describe(&mut text);
    text.push('\n');
    sys::print_error(&text);
}

fn launch(start: Start) -> Result<()> {
    if start.secure {
        return Err(ErrorKind::Refused {
            what: "this package runs with more rights than its caller (setuid, setgid or file capabilities)".into(),
            hint: "remove them: chmod u-s,g-s FILE; setcap -r FILE",
        }
        .into());
    }
    let mut args = start.args;
    let typed = if args.is_empty() { Vec::new() } else { args.remove(0) };
    #[cfg_attr(not(feature = "all"), expect(unused_mut, reason = "the small launcher adds nothing"))]
    let mut env = Environment::new(start.env);
    #[cfg(feature = "all")]
    env.set(environment::PACKAGE, &sys::own_path(start.execfn.as_deref()));
    let command = cli::Command::take(&env, &mut args)?;
    if let Some(text) = command.text() {
        return sys::print(text.as_bytes());
    }
    let file = sys::File::open_own(start.execfn.as_deref())?;
    // Never dropped: the process ends with this function, and freeing all their parts takes code.
    let package = ManuallyDrop::new(Package::open(file).map_err(ErrorKind::Open)?);
    let verified = package.verify();
    if !command.needs_workenv() {
        return cli::answer(command, &args, verified);
    }
    let verified = ManuallyDrop::new(verified.map_err(ErrorKind::Verify)?);
    verified.check_launcher().map_err(ErrorKind::Verify)?;
    #[cfg(feature = "all")]
    policy::admit(&verified, &env, &typed)?;
    #[cfg(not(feature = "all"))]
    place::refuse_policy(&env)?;
    #[cfg(feature = "all")]
    if command == cli::Command::Slot {
        return lifecycle::print_slot(&verified, &args, typed, env);
    }
    match become_app(&verified, typed, args, env)? {}
}

/// Makes sure that everything the app needs is on disk, and becomes the app, or its parent where something is to be done when it has
/// ended. It comes back only with the reason why not. `typed` is the name by which the user called the package, `args` are what
/// followed it, `env` is the caller's environment, with the package's own path as [`environment::PACKAGE`] where the app is to know it.
pub fn become_app<S: Source>(
    verified: &Verified<'_, S>,
    typed: Vec<u8>,
    mut args: Vec<Vec<u8>>,
    env: Environment,
) -> Result<Infallible> {
    let cache = cache::Cache::open(&env)?;
    let mut workenv = Workenv::new(verified, &cache);
    #[cfg(feature = "all")]
    workenv.develop(&cache, &env);
    #[cfg(feature = "all")]
    let alone = session::choose(verified.metadata(), &mut workenv, &cache)?;
    #[cfg(feature = "all")]
    {
        workenv.data = data::prepare(verified, &cache, &env)?;
    }
    let mut command = prepare_workenv(verified, &cache, &mut workenv, &typed, env)?;
    #[cfg(feature = "all")]
    let session = alone.map(session::Session::begin);
    #[cfg(feature = "all")]
    if let Err(error) = lifecycle::refresh(verified, &cache, &workenv) {
        if let Some(session) = &session {
            let _ = session.give_back(verified.metadata(), &cache, &workenv);
        }
        return Err(error);
    }
    command.args.append(&mut args);
    exec::add_origin(&mut command);
    #[cfg(feature = "all")]
    if let Some(directory) = &verified.metadata().working_directory {
        command.directory = Some(workenv.absolute(&text::fill(directory, &workenv.placeholders())));
    }
    // The lock says that the workenv is in use; the app inherits it.
    workenv.keep_lock();
    #[cfg(feature = "all")]
    if let Some(session) = session {
        return session.run(verified, &cache, &workenv, &command);
    }
    Err(exec::replace_process(&command))
}

/// Makes sure that the workenv is whole, and says what to execute but for the caller's arguments.
fn prepare_workenv<S: Source>(
    verified: &Verified<'_, S>,
    cache: &cache::Cache,
    workenv: &mut Workenv<'_>,
    typed: &[u8],
    env: Environment,
) -> Result<Command> {
    workenv.raise_check(&env);
    let mut command = workenv.command(entry::command(verified.metadata(), &env, typed)?)?;
    command.env = environment::of_app(verified.metadata(), env, workenv, cache, typed);
    workenv.prepare(verified, cache, &command)?;
    #[cfg(feature = "all")]
    workenv.lead_to_data(cache)?;
    Ok(command)
}
