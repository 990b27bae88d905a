//! Starting a package through the installed tool: every byte is checked before anything in it runs.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use crate::error::{Error, Result};
use crate::package_file::{PackageFile, of_launcher};
use crate::places;

/// Replaces this process by the app. Comes back only with the reason why not.
pub fn run(file: &PackageFile, args: Vec<OsString>) -> Error {
    match prepare(file, args) {
        Ok(command) => of_launcher(&launcher::exec::replace_process(&command)).file(file.path()),
        Err(error) => error,
    }
}

fn prepare(file: &PackageFile, args: Vec<OsString>) -> Result<launcher::exec::Command> {
    let verified = file.verify_whole()?;
    let env = places::environment();
    let typed = file.path().as_os_str().as_bytes().to_vec();
    let args = args.into_iter().map(OsString::into_vec).collect();
    launcher::prepare(&verified, typed, args, env).map_err(|error| of_launcher(&error).file(file.path()))
}
