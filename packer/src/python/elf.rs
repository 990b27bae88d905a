//! What an ELF file needs, and changing where it looks for that.

use std::collections::HashSet;
use std::path::Path;

use object::read::elf::{Dyn, FileHeader, SectionHeader};
use object::{Endianness, FileKind, elf};
use object_rewrite::Rewriter;

use super::tree;
use crate::error::{Error, Kind, Result};

/// The parts of an ELF file that decide whether it can travel.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Elf {
    /// Class and machine; a library only fits a file with the same.
    pub(super) machine: (bool, u16),
    /// The libraries it needs, by soname.
    pub(crate) needed: Vec<String>,
    /// `DT_RPATH`, which comes before `LD_LIBRARY_PATH`.
    pub(super) rpath: Option<String>,
    /// `DT_RUNPATH`, which comes after it.
    pub(super) runpath: Option<String>,
    /// The highest `GLIBC_x.y` that one of its symbols needs.
    pub(super) glibc: Option<(u32, u32)>,
    /// True when it needs symbols that glibc keeps for itself: it is a part of glibc and useless without its twin.
    pub(super) private: bool,
    /// Sections that only a debugger reads.
    debugging: Vec<Vec<u8>>,
}

impl Elf {
    /// Reads the file at `path`; `None` when it is not an ELF file that a loader would load.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        let data = tree::read(path)?;
        Ok(Self::parse(&data))
    }

    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let parsed = match FileKind::parse(data).ok()? {
            FileKind::Elf64 => parse::<elf::FileHeader64<Endianness>>(data, true),
            FileKind::Elf32 => parse::<elf::FileHeader32<Endianness>>(data, false),
            _ => return None,
        };
        parsed.ok()?
    }

    pub(super) fn has_debugging(&self) -> bool {
        !self.debugging.is_empty()
    }
}

fn parse<H: FileHeader<Endian = Endianness>>(data: &[u8], wide: bool) -> object::read::Result<Option<Elf>> {
    let header = H::parse(data)?;
    let endian = header.endian()?;
    if !matches!(header.e_type(endian), elf::ET_DYN | elf::ET_EXEC) {
        return Ok(None);
    }
    let sections = header.sections(endian, data)?;
    let mut found = Elf { machine: (wide, header.e_machine(endian).0), ..Elf::default() };
    if let Some((entries, link)) = sections.dynamic(endian, data)? {
        let strings = sections.strings(endian, data, link)?;
        let text = |entry: &H::Dyn| {
            entry.string(endian, strings).ok().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        for entry in entries {
            match entry.tag(endian) {
                elf::DT_NULL => break,
                elf::DT_NEEDED => found.needed.extend(text(entry)),
                elf::DT_RPATH => found.rpath = text(entry),
                elf::DT_RUNPATH => found.runpath = text(entry),
                _ => {}
            }
        }
    }
    if let Some((mut needs, link)) = sections.gnu_verneed(endian, data)? {
        let strings = sections.strings(endian, data, link)?;
        while let Some((_, mut versions)) = needs.next()? {
            while let Some(version) = versions.next()? {
                let name = String::from_utf8_lossy(version.name(endian, strings)?);
                found.private |= name == "GLIBC_PRIVATE";
                found.glibc = found.glibc.max(glibc_version(&name));
            }
        }
    }
    for section in sections.iter() {
        let name = sections.section_name(endian, section)?;
        let allocated = section.sh_flags(endian).contains(elf::SHF_ALLOC);
        // The symbol table stays: it is small, and profilers read it.
        let debugging = [".debug_", ".zdebug_", ".gnu_debuglink", ".gnu_debugaltlink"];
        if !allocated && debugging.iter().any(|prefix| name.starts_with(prefix.as_bytes())) {
            found.debugging.push(name.to_vec());
        }
    }
    Ok(Some(found))
}

/// "GLIBC_2.34" -> (2, 34).
fn glibc_version(name: &str) -> Option<(u32, u32)> {
    let mut parts = name.strip_prefix("GLIBC_")?.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

/// Takes the debugging sections out of `data`, and makes `run_path` the only place where it looks for libraries
/// before the system's (`None`: no place at all).
pub(super) fn rewrite(data: &[u8], elf: &Elf, run_path: Option<&str>) -> Result<Vec<u8>, String> {
    let mut rewriter = Rewriter::read(data).map_err(|error| error.to_string())?;
    if elf.has_debugging() {
        rewriter.delete_sections(&elf.debugging.iter().cloned().collect::<HashSet<_>>());
    }
    let (rpath, runpath) = (elf.rpath.as_deref(), elf.runpath.as_deref());
    if rpath != run_path || runpath.is_some() {
        rewriter.elf_delete_runpath().map_err(|error| error.to_string())?;
        if let Some(run_path) = run_path {
            rewriter.elf_set_runpath(run_path.as_bytes().to_vec()).map_err(|error| error.to_string())?;
            // The old tag, because the caller's LD_LIBRARY_PATH must not replace what the package carries.
            rewriter.elf_use_rpath().map_err(|error| error.to_string())?;
        }
    }
    let mut rewritten = Vec::with_capacity(data.len());
    rewriter.write(&mut rewritten).map_err(|error| error.to_string())?;
    Ok(rewritten)
}

/// The highest glibc version that any ELF file below `root` needs.
pub(super) fn glibc_floor(root: &Path) -> Result<Option<(u32, u32)>> {
    let mut floor = None;
    each(root, &mut |_, elf| floor = floor.max(elf.glibc))?;
    Ok(floor)
}

/// Calls `visit` with every ELF file below `root` that a loader would load.
pub(super) fn each(root: &Path, visit: &mut dyn FnMut(&Path, Elf)) -> Result<()> {
    tree::walk(root, &mut |relative, metadata| {
        if metadata.is_file()
            && looks_loadable(relative, metadata)
            && let Some(elf) = Elf::read(&root.join(relative))?
        {
            visit(relative, elf);
        }
        Ok(tree::Keep::Yes)
    })
}

/// A cheap first look, so that not every Python file has to be opened.
fn looks_loadable(path: &Path, metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.contains(".so") || metadata.permissions().mode() & 0o111 != 0
}

/// For a file that has to be rewritten and cannot.
pub(super) fn cannot_rewrite(path: &Path, reason: String) -> Error {
    Error::new(Kind::Dependency, "a part of the interpreter cannot be made independent of this machine")
        .file(path)
        .found(reason)
        .hint("name another interpreter with --python; one from python-build-standalone needs no such change")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbered_glibc_versions_count() {
        assert_eq!(glibc_version("GLIBC_2.34"), Some((2, 34)));
        assert_eq!(glibc_version("GLIBC_2.2.5"), Some((2, 2)));
        assert_eq!(glibc_version("GLIBC_PRIVATE"), None);
        assert_eq!(glibc_version("GLIBCXX_3.4"), None);
    }

    #[test]
    fn what_is_no_elf_file_is_none() {
        assert_eq!(Elf::parse(b"#!/bin/sh\n"), None);
        assert_eq!(Elf::parse(b"\x7fELF\x02\x01\x01"), None);
    }

    fn runs(data: &[u8], argument: &str) -> bool {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("program");
        std::fs::write(&program, data).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        std::process::Command::new(&program).arg(argument).output().unwrap().status.success()
    }

    #[test]
    fn a_program_without_its_debugging_sections_is_smaller_and_still_runs() {
        // Rust needs a C compiler to link with, so there is one.
        let directory = tempfile::tempdir().unwrap();
        let (source, program) = (directory.path().join("program.c"), directory.path().join("program"));
        std::fs::write(&source, "int main(void) { return 0; }\n").unwrap();
        let mut compiler = std::process::Command::new("cc");
        assert!(compiler.arg("-g").arg("-o").arg(&program).arg(&source).status().unwrap().success());
        let data = std::fs::read(&program).unwrap();
        let before = Elf::parse(&data).unwrap();
        let stripped = rewrite(&data, &before, None).unwrap();
        let after = Elf::parse(&stripped).unwrap();
        assert!(before.has_debugging() && !after.has_debugging() && stripped.len() < data.len());
        assert_eq!((after.needed, after.glibc), (before.needed, before.glibc));
        assert!(runs(&stripped, "--list"));
    }

    #[test]
    fn a_run_path_can_be_set_and_removed_and_the_program_still_runs() {
        let data = std::fs::read("/bin/sh").unwrap();
        let before = Elf::parse(&data).unwrap();
        let set = rewrite(&data, &before, Some("$ORIGIN/../lib")).unwrap();
        let after = Elf::parse(&set).unwrap();
        assert_eq!((after.rpath.as_deref(), after.runpath.as_deref()), (Some("$ORIGIN/../lib"), None));
        assert!(runs(&set, "-n"));
        let unset = rewrite(&set, &after, None).unwrap();
        assert_eq!(Elf::parse(&unset).unwrap().rpath, None);
        assert!(runs(&unset, "-n"));
    }
}
