//! ELF files without what only debuggers and linkers read: sections of debugging information and the symbol table.
//! What a loader reads stays as it was, byte by byte; a file of which that cannot be done is packed as it is.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use object::{Endianness, FileKind, elf};

use crate::progress::Progress;

/// What becomes of debugging information and symbol tables of ELF files that are packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Symbols {
    /// They are packed with the rest.
    #[default]
    Keep,
    /// They stay out.
    Strip,
}

/// What was stripped of a slot.
#[derive(Debug, Default)]
pub(super) struct Tally {
    files: Cell<u64>,
    saved: Cell<u64>,
    /// Files that were left as they are, and why.
    left: RefCell<Vec<(PathBuf, String)>>,
}

impl Tally {
    /// The content of the file at `path` without symbols; `None` when it is packed as it is. One file at a time is
    /// held in memory.
    pub(super) fn strip(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        if !is_elf(path)? {
            return Ok(None);
        }
        let data = std::fs::read(path)?;
        match stripped(&data) {
            Ok(Some(smaller)) => {
                self.files.set(self.files.get() + 1);
                self.saved.set(self.saved.get() + (data.len() - smaller.len()) as u64);
                Ok(Some(smaller))
            }
            Ok(None) => Ok(None),
            Err(reason) => {
                self.left.borrow_mut().push((path.to_path_buf(), reason));
                Ok(None)
            }
        }
    }

    /// Tells what was done.
    pub(super) fn tell(&self, slot: &str, progress: &dyn Progress) {
        let (files, saved) = (self.files.get(), self.saved.get());
        let plural = if files == 1 { "" } else { "s" };
        progress.note(&match files {
            0 => format!("slot {slot}: no ELF file has anything to strip"),
            _ => format!("slot {slot}: {files} ELF file{plural} stripped, {} KiB less", saved.div_ceil(1024)),
        });
        for (path, reason) in self.left.borrow().iter() {
            progress.note(&format!("slot {slot}: {} is packed unstripped: {reason}", path.display()));
        }
    }
}

fn is_elf(path: &Path) -> io::Result<bool> {
    let mut magic = Vec::new();
    File::open(path)?.take(4).read_to_end(&mut magic)?;
    Ok(magic == *b"\x7fELF")
}

/// The file without symbols; `None` when it has none or is nothing that a loader loads (an object file needs its symbols).
fn stripped(data: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let readable = |error: object::read::Error| format!("it cannot be read ({error})");
    match FileKind::parse(data).map_err(readable)? {
        FileKind::Elf64 => without_symbols::<elf::FileHeader64<Endianness>>(data, &WIDE),
        FileKind::Elf32 => without_symbols::<elf::FileHeader32<Endianness>>(data, &NARROW),
        _ => return Ok(None),
    }
    .map_err(readable)?
}

/// Where a file's header and a section's header say where something is, and in how many bytes.
struct Offsets {
    /// `e_shoff`
    sections: usize,
    /// `sh_offset`
    section: usize,
    width: usize,
}

const WIDE: Offsets = Offsets { sections: 40, section: 24, width: 8 };
const NARROW: Offsets = Offsets { sections: 32, section: 16, width: 4 };

/// Everything that a loader maps stays where it is. Behind it come the sections that are kept, and a new table of sections
/// in which those that are not have empty entries: the numbers of the others are used by symbols that are loaded.
fn without_symbols<H: FileHeader<Endian = Endianness>>(
    data: &[u8],
    offsets: &Offsets,
) -> object::read::Result<Result<Option<Vec<u8>>, String>> {
    let header = H::parse(data)?;
    let endian = header.endian()?;
    if !matches!(header.e_type(endian), elf::ET_DYN | elf::ET_EXEC) {
        return Ok(Ok(None));
    }
    let sections = header.sections(endian, data)?;
    let names = usize::from(header.e_shstrndx(endian).0);
    let is_dropped = |(number, section): (usize, &H::SectionHeader)| {
        let name = sections.section_name(endian, section).unwrap_or_default();
        let debugging = [&b".debug_"[..], b".zdebug_", b".gnu_debuglink", b".gnu_debugaltlink", b".gdb_index"];
        let is_debugging = debugging.iter().any(|prefix| name.starts_with(prefix));
        let is_symbols = [&b".symtab"[..], b".strtab"].contains(&name);
        let is_loaded = section.sh_flags(endian).contains(elf::SHF_ALLOC);
        !is_loaded && number != names && (is_debugging || is_symbols)
    };
    // A table whose length does not fit the header has it elsewhere; there are no such programs.
    let is_short = usize::from(header.e_shnum(endian)) == sections.len();
    if !is_short || !sections.iter().enumerate().any(is_dropped) {
        return Ok(Ok(None));
    }
    let entry_size = usize::from(header.e_shentsize(endian));
    let table_at: u64 = header.e_shoff(endian).into();
    let table_size = entry_size * sections.len();
    let table = usize::try_from(table_at).ok().and_then(|start| data.get(start..)?.get(..table_size));
    let mut loaded = size_of::<H>() as u64;
    for segment in header.program_headers(endian, data)? {
        let (start, size): (u64, u64) = (segment.p_offset(endian).into(), segment.p_filesz(endian).into());
        loaded = loaded.max(start.saturating_add(size));
    }
    let programs: u64 = header.e_phoff(endian).into();
    let programs = programs + u64::from(header.e_phnum(endian)) * u64::from(header.e_phentsize(endian));
    let loaded = usize::try_from(loaded.max(programs)).ok().and_then(|end| data.get(..end));
    let (Some(table), Some(loaded)) = (table, loaded) else { return Ok(Ok(None)) };
    let mut end = (loaded.len() as u64).max(table_at + table_size as u64);
    for section in sections.iter() {
        let start: u64 = section.sh_offset(endian).into();
        end = end.max(start.saturating_add(section.data(endian, data)?.len() as u64));
    }
    if end < data.len() as u64 {
        // An archive that the program unpacks, perhaps, and looks for at the end of its own file.
        return Ok(Err("it has something behind its end".to_owned()));
    }

    let mut smaller = loaded.to_vec();
    let mut new_table = table.to_vec();
    for (number, section) in sections.iter().enumerate() {
        let entry = &mut new_table[number * entry_size..][..entry_size];
        let start: u64 = section.sh_offset(endian).into();
        let content = section.data(endian, data)?;
        if is_dropped((number, section)) {
            entry.fill(0);
        } else if start + content.len() as u64 > loaded.len() as u64 {
            let align: u64 = section.sh_addralign(endian).into();
            pad(&mut smaller, align);
            put(endian, &mut entry[offsets.section..][..offsets.width], smaller.len() as u64);
            smaller.extend_from_slice(content);
        }
    }
    pad(&mut smaller, 8);
    let table_at = smaller.len() as u64;
    smaller.extend_from_slice(&new_table);
    put(endian, &mut smaller[offsets.sections..][..offsets.width], table_at);
    Ok(Ok((smaller.len() < data.len()).then_some(smaller)))
}

/// Zeros up to a multiple of `align`; of none when that is 0.
fn pad(bytes: &mut Vec<u8>, align: u64) {
    let align = usize::try_from(align).unwrap_or(1).clamp(1, 1 << 16);
    bytes.resize(bytes.len().next_multiple_of(align), 0);
}

/// Writes a number in the file's order of bytes; one that does not fit the field is cut off, and there is none, as files become
/// smaller.
fn put(endian: Endianness, field: &mut [u8], number: u64) {
    let width = field.len();
    match endian {
        Endianness::Little => field.copy_from_slice(&number.to_le_bytes()[..width]),
        Endianness::Big => field.copy_from_slice(&number.to_be_bytes()[8 - width..]),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_stripped_program_is_smaller_and_still_runs() {
        // This test's own binary has symbols and line tables.
        let own = std::env::current_exe().unwrap();
        let tally = Tally::default();
        let smaller = tally.strip(&own).unwrap().expect("symbols to strip");
        assert!(smaller.len() as u64 * 2 < std::fs::metadata(&own).unwrap().len());
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("program");
        std::fs::write(directory.path().join("beside"), &smaller).unwrap();
        // Copied by another process: what this one has open for writing cannot be executed.
        let copied = Command::new("cp").arg(directory.path().join("beside")).arg(&program).status().unwrap();
        assert!(copied.success());
        assert!(Command::new("chmod").arg("+x").arg(&program).status().unwrap().success());
        let listed = Command::new(&program).arg("--list").output().unwrap();
        let name = "a_stripped_program_is_smaller_and_still_runs";
        assert!(String::from_utf8_lossy(&listed.stdout).contains(name), "{listed:?}");
        assert!(stripped(&smaller).unwrap().is_none(), "there is nothing left to strip");
    }

    #[test]
    fn a_program_that_carries_something_behind_its_end_is_left_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        program.extend_from_slice(b"an archive");
        std::fs::write(file.path(), program).unwrap();
        let tally = Tally::default();
        assert_eq!(tally.strip(file.path()).unwrap(), None);
        assert!(tally.left.borrow()[0].1.contains("behind its end"));
    }

    #[test]
    fn what_is_no_program_is_left_alone() {
        for data in [&b"#!/bin/sh\n"[..], b"\x7fELF", b""] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), data).unwrap();
            assert_eq!(Tally::default().strip(file.path()).unwrap(), None, "{data:?}");
        }
    }
}
