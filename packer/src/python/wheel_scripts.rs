//! Programs that wheels bring as files (`NAME.data/scripts`), which installers put into `bin/` beside the scripts that they
//! write for entry points.

use std::fs::{self, Metadata};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{entry, site, tree};
use crate::error::{Error, Result};

/// Leaves in the `bin/` of a site directory what is to be in that of the workenv, and takes everything else out: programs and
/// scripts for other interpreters, and those for Python where `python` is the name of the one that is packed. They are started
/// by it then. What is called like one of `made`, which packer writes itself, or like an interpreter, goes in any case.
///
/// The scripts of a dependency's entry points are for Python: only the project's own are commands of the app.
pub(super) fn keep(site: &Path, made: &[&str], python: Option<&str>) -> Result<()> {
    let bin = site.join("bin");
    // A package may be called so.
    if !bin.is_dir() || bin.join("__init__.py").is_file() {
        return Ok(());
    }
    for path in site::entries(&bin)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let metadata = fs::symlink_metadata(&path).map_err(|error| Error::io("cannot look at", &path, &error))?;
        let is_taken = made.contains(&&*name) || name.starts_with("python");
        if is_taken || !is_program(&metadata) {
            tree::remove(&path)?;
            continue;
        }
        let content = tree::read(&path)?;
        match (body(&content), python) {
            (None, _) => {}
            (Some(_), None) => tree::remove(&path)?,
            (Some(body), Some(python)) => tree::write(&path, [entry::header(python).as_bytes(), body].concat())?,
        }
    }
    // Without anything in it, it would be packed as an empty directory.
    if site::entries(&bin)?.is_empty() { tree::remove(&bin) } else { Ok(()) }
}

fn is_program(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.permissions().mode() & 0o100 != 0
}

/// What follows the lines by which a script for Python is started; `None` for anything else.
fn body(script: &[u8]) -> Option<&[u8]> {
    let (first, rest) = line(script.strip_prefix(b"#!")?);
    if first.windows(6).any(|word| word == b"python") {
        return Some(rest);
    }
    // Installers write three lines where the path of the interpreter is long or has a blank in it.
    let (second, rest) = line(rest);
    let (third, rest) = line(rest);
    (second.starts_with(b"'''exec'") && third.starts_with(b"' '''")).then_some(rest)
}

fn line(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| end + 1);
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_for_python_are_told_from_others() {
        for script in ["#!python\nx", "#!/usr/bin/env python3\nx", "#!/bin/sh\n'''exec' '/a b/py' \"$0\"\n' '''\nx"] {
            assert_eq!(body(script.as_bytes()), Some(&b"x"[..]), "{script}");
        }
        for script in ["#!/bin/sh\necho python\n", "\x7fELFpython", "", "#!", "python", "#!/usr/bin/perl\n'''exec'"] {
            assert_eq!(body(script.as_bytes()), None, "{script}");
        }
        assert_eq!(body(b"#!python"), Some(&b""[..]));
    }
}
