//! `cargo xtask size`: what the launcher weighs, as it goes into every package.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};

use crate::project::{self, LAUNCHER_TARGET};

/// A package carries this many bytes before its own content at the most. The goal is 128 KiB.
const LIMIT: usize = 128 * 1024;

pub(crate) fn run(args: &[String]) -> Result<()> {
    ensure!(args.is_empty(), "size takes no arguments");
    let built = build()?;
    let bytes = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    println!("{:>8}  whole file ({} % of the limit)", bytes.len(), bytes.len() * 100 / LIMIT);
    for segment in segments(&bytes).context("the launcher is no 64-bit ELF file")? {
        println!("{:>8}  {}", segment.size, segment.what);
    }
    ensure!(bytes.len() <= LIMIT, "the launcher has {} bytes; {LIMIT} are allowed", bytes.len());
    Ok(())
}

/// Builds the launcher in release; its path.
pub(crate) fn build() -> Result<std::path::PathBuf> {
    let args = ["build", "--locked", "--release", "--bin", "pspf-launcher", "--target", LAUNCHER_TARGET];
    project::run(&mut project::cargo_freestanding(&args))?;
    Ok(project::target().join("freestanding").join(LAUNCHER_TARGET).join("release/pspf-launcher"))
}

/// A loaded segment of an ELF file.
pub(crate) struct Segment {
    pub(crate) what: &'static str,
    /// Where it begins in the file, in bytes.
    pub(crate) offset: u64,
    /// How much of the file it takes, in bytes.
    pub(crate) size: u64,
}

/// The loaded segments of a 64-bit little-endian ELF file, by what may be done with them.
pub(crate) fn segments(elf: &[u8]) -> Result<Vec<Segment>> {
    const LOAD: u64 = 1;
    ensure!(elf.starts_with(b"\x7fELF\x02\x01"), "no ELF header");
    let (table, entry, count) = (number(elf, 32, 8)?, number(elf, 54, 2)?, number(elf, 56, 2)?);
    let mut segments = Vec::new();
    for place in 0..count {
        let at = table as usize + (place * entry) as usize;
        if number(elf, at, 4)? != LOAD {
            continue;
        }
        let what = match number(elf, at + 4, 4)? & 0b111 {
            0b101 => "text: executed",
            0b100 => "read-only data",
            0b110 => "data: written at run time",
            flags => bail!("a segment with the flags {flags:03b}: code must not be writable"),
        };
        segments.push(Segment { what, offset: number(elf, at + 8, 8)?, size: number(elf, at + 32, 8)? });
    }
    Ok(segments)
}

/// An unsigned number of `width` bytes.
fn number(bytes: &[u8], at: usize, width: usize) -> Result<u64> {
    let field = bytes.get(at..at + width).context("a table lies outside of the file")?;
    Ok(field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}
