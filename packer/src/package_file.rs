//! Opening package files, with errors that name the file.

use std::fs::File;
use std::path::{Path, PathBuf};

use pspf_core::error::Distrust;
use pspf_core::{ErrorKind, Package, Verified, limits};

use crate::error::{Error, Kind, Result};

/// An opened package file.
#[derive(Debug)]
pub struct PackageFile {
    path: PathBuf,
    package: Package<File>,
    slot_limit: u64,
}

impl PackageFile {
    /// Opens the file and finds its parts; nothing is verified yet.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |error| Error::io("cannot open the package", path, &error);
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(Error::new(Kind::Io, "a directory is not a package")
                .file(path)
                .hint("name the .psp file in it"));
        }
        let package = Package::open(file).map_err(|error| match error.kind() {
            ErrorKind::NotAPackage { .. } => {
                Error::new(Kind::Format, "this file is not a PSPF package, or it lost its end")
                    .file(path)
                    .expected("a PSPF/2025 index in the last 8200 bytes")
                    .hint("check that it is the right file, and that all of it was copied")
            }
            ErrorKind::Source { .. } => of_core(&error, Kind::Io, "the package cannot be read", path),
            _ => of_core(&error, Kind::Format, "the package contradicts itself", path),
        })?;
        Ok(Self { path: path.to_path_buf(), package, slot_limit: limits::UNCLAIMED_SLOT })
    }

    /// Sets what a slot may inflate to, in bytes, in a package without claims; 8 GiB unless this is called.
    pub fn with_slot_limit(self, bytes: u64) -> Self {
        Self { slot_limit: bytes, ..self }
    }

    /// The file's path, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The package.
    pub fn package(&self) -> &Package<File> {
        &self.package
    }

    /// Verifies the head.
    pub fn verify(&self) -> Result<Verified<'_, File>> {
        let verified = self.package.verify().map_err(|error| not_intact(&error, &self.path))?;
        Ok(verified.with_slot_limit(self.slot_limit))
    }

    /// Verifies every byte that the signature answers for, before anything in the package is used.
    pub fn verify_whole(&self) -> Result<Verified<'_, File>> {
        let verified = self.verify()?;
        verified.check_launcher().map_err(|error| not_intact(&error, &self.path))?;
        for index in 0..verified.metadata().slots.len() as u32 {
            verified.check_slot(index, &mut |_| {}).map_err(|error| not_intact(&error, &self.path))?;
        }
        Ok(verified)
    }
}

/// The error for a package whose bytes are not the signed ones.
pub fn not_intact(error: &pspf_core::Error, path: &Path) -> Error {
    match error.kind() {
        ErrorKind::Source { .. } => of_core(error, Kind::Io, "the package cannot be read", path),
        ErrorKind::Untrusted { reason: Distrust::Unsigned, .. } => {
            of_core(error, Kind::Integrity, "nobody signed this package", path)
        }
        _ => of_core(error, Kind::Integrity, "the package is not what was signed", path),
    }
}

/// The launcher's errors as they look here.
pub fn of_launcher(error: &launcher::Error) -> Error {
    let kind = match error.exit_code() {
        102 => Kind::Format,
        103 => Kind::Extraction,
        104 => Kind::Execution,
        105 => Kind::Arguments,
        106 => Kind::Io,
        107 => Kind::Integrity,
        _ => Kind::Configuration,
    };
    let text = error.to_string();
    let (what, hint) = text.split_once("\n  try: ").unwrap_or((&text, ""));
    let new = Error::new(kind, what);
    if hint.is_empty() || kind == Kind::Arguments {
        new.hint("packer inspect FILE shows what the package asks for")
    } else {
        new.hint(hint)
    }
}

fn of_core(error: &pspf_core::Error, kind: Kind, what: &str, path: &Path) -> Error {
    let new = Error::new(kind, what).file(path);
    let new = match error.kind() {
        ErrorKind::Malformed { part, at, expected, found } => {
            let place = if *at == 0 { part.to_string() } else { format!("{part}, at byte {at}") };
            new.field(place).expected(expected.to_string()).found(found.to_string())
        }
        _ => new.found(error.to_string()),
    };
    new.hint("get the file again from where it came, or ask who made it")
}
