//! Setup commands that run programs (docs/format.md section 4.4), once, in a new workenv.

use alloc::vec::Vec;

use pspf_core::metadata::SetupCommand;
use rustix::fs::FileType;

use crate::environment::Environment;
use crate::error::{End, ErrorKind, Result, shown};
use crate::exec::{self, Command};
use crate::sys::{self, Dir};
use crate::text;
use crate::workenv::Workenv;

/// Runs a command of type execute, or one of type enumerate_and_execute for each file in turn, in the order of their
/// names. `env` is the app's environment.
///
/// The program gets no input, and what it prints goes to standard error: both of the standard streams are the app's.
pub fn run(command: &SetupCommand, workenv: &Workenv<'_>, env: &Environment) -> Result<()> {
    match command {
        SetupCommand::Execute { command } => one(workenv.command(command)?, workenv, env),
        SetupCommand::EnumerateAndExecute { path, pattern, command } => {
            let directory = workenv.absolute(&text::fill(path, &workenv.placeholders()));
            let pattern = text::fill(pattern, &workenv.placeholders());
            for name in &files(&Dir::open_path(&directory)?, &pattern)? {
                let mut command = workenv.command(command)?;
                command.args.push(sys::join(&directory, name));
                one(command, workenv, env)?;
            }
            Ok(())
        }
        SetupCommand::WriteFile { .. } | SetupCommand::Chmod { .. } => Ok(()),
    }
}

/// The names of the files that match, sorted.
fn files(dir: &Dir, pattern: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut files: Vec<Vec<u8>> = Vec::new();
    for name in dir.names(b"")? {
        if text::matches(pattern, &name) && dir.stat_target(&name)?.kind == FileType::RegularFile {
            let at = files.partition_point(|file| *file < name);
            files.insert(at, name);
        }
    }
    Ok(files)
}

fn one(mut command: Command, workenv: &Workenv<'_>, env: &Environment) -> Result<()> {
    command.env = env.clone();
    exec::add_origin(&mut command);
    match exec::run(&command, workenv.path())? {
        End::Exit(0) => Ok(()),
        end => {
            let mut line = Vec::new();
            for arg in &command.args {
                line.extend_from_slice(arg);
                line.push(b' ');
            }
            Err(ErrorKind::Setup { command: shown(line.trim_ascii_end()), end }.into())
        }
    }
}
