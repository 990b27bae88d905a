//! Which of a package's commands a start is for (docs/format.md section 4.11).

use alloc::string::String;

#[cfg(feature = "all")]
use pspf_core::error::printable;
use pspf_core::metadata::Metadata;

use crate::environment::Environment;
use crate::error::{Error, Result};
#[cfg(feature = "all")]
use crate::error::{ErrorKind, shown};

/// The variable by which the caller chooses an entry point.
pub const VARIABLE: &[u8] = b"PSPF_ENTRY";

/// The command line to start: that of the entry point which [`VARIABLE`] names, else of the one that is called like the file that the
/// user typed, else the package's own command. Only what was signed is ever started: names are compared, and nothing more.
///
/// Fails with [`ErrorKind::Arguments`] when the variable names none.
#[cfg(feature = "all")]
pub fn command<'m>(metadata: &'m Metadata, env: &Environment, typed: &[u8]) -> Result<&'m str> {
    if let Some(wanted) = env.get(VARIABLE) {
        return find(metadata, wanted).ok_or_else(|| unknown(metadata, wanted));
    }
    let file = typed.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let mut found = find(metadata, file);
    for extension in [&b".psp.exe"[..], b".psp", b".exe"] {
        found = found.or_else(|| find(metadata, file.strip_suffix(extension)?));
    }
    Ok(found.unwrap_or(&metadata.command))
}

/// The package's own command, the only one that this launcher starts: packer puts it in front of packages with one entry point. A
/// name that the package does not have is refused all the same.
#[cfg(not(feature = "all"))]
pub fn command<'m>(metadata: &'m Metadata, env: &Environment, _typed: &[u8]) -> Result<&'m str> {
    if let Some(wanted) = env.get(VARIABLE)
        && !all(metadata).iter().any(|(name, _)| name.as_bytes() == wanted)
    {
        return Err(Error::arguments("the package has no entry point ", wanted));
    }
    Ok(&metadata.command)
}

/// The entry points: name and command line. Packages without claims have none.
pub fn all(metadata: &Metadata) -> &[(String, String)] {
    metadata.claims.v1().map_or(&[], |claims| &claims.entry_points)
}

#[cfg(feature = "all")]
fn find<'m>(metadata: &'m Metadata, wanted: &[u8]) -> Option<&'m str> {
    all(metadata).iter().find(|(name, _)| name.as_bytes() == wanted).map(|(_, line)| line.as_str())
}

#[cfg(feature = "all")]
fn unknown(metadata: &Metadata, wanted: &[u8]) -> Error {
    let mut what = String::from("the package has no entry point ");
    what.push_str(&shown(wanted));
    for (i, (name, _)) in all(metadata).iter().enumerate() {
        what.push_str(if i == 0 { "; it has " } else { ", " });
        what.push_str(&printable(name));
    }
    ErrorKind::Arguments { what }.into()
}
