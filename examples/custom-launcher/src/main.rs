//! A launcher of one's own: it starts what one vendor's key signed, and nothing else.
//!
//! A package begins with its launcher, and everything else lies behind it in the same file. So a launcher opens its own file,
//! has it verified, and starts what is in it; what it demands in between is its own business. Packer's take any key, since
//! the user's machine knows whose packages it trusts; this one comes from a vendor who delivers to such machines that know
//! nothing.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::process::ExitCode;

use launcher::environment::{Environment, PACKAGE};
use pspf_core::Package;

/// The id of the only key that is accepted, as `packer inspect` shows it.
const VENDOR: &str = include_str!("vendor.key");

fn main() -> ExitCode {
    let Err(error) = start();
    eprintln!("custom-launcher: {error}");
    // "Not what was signed", as with packer's own.
    ExitCode::from(107)
}

/// Becomes the app. Comes back only with the reason why not.
fn start() -> Result<Infallible, Box<dyn std::error::Error>> {
    let own = std::env::current_exe()?;
    let package = Package::open(File::open(&own)?)?;
    // The signature, and all that it answers for at the head of the file; slots are checked while they are extracted.
    let verified = package.verify()?;
    verified.check_launcher()?;
    let key = verified.key_id().to_string();
    if key != VENDOR.trim_end() {
        return Err(format!("signed by the key {key}, which is not the vendor's").into());
    }
    let mut args = std::env::args_os().map(OsString::into_vec);
    let typed = args.next().unwrap_or_default();
    let variables = std::env::vars_os().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
    let mut env = Environment::new(variables.collect());
    env.set(PACKAGE, own.as_os_str().as_bytes());
    Ok(launcher::become_app(&verified, typed, args.collect(), env)?)
}
