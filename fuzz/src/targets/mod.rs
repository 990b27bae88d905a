//! What is fuzzed: one function for each target, which panics where a promise is broken.
//!
//! Each gives whether its input was accepted, so that an engine can say how much of what it tried got far.
#![allow(unreachable_pub, reason = "a test of pspf-core compiles it as a module of its own")]

pub mod archives;
mod chunking;
mod codecs;
#[path = "../../../pspf-core/tests/common/mod.rs"]
pub mod common;
mod cursor;
mod documents;
mod drained;
pub mod forge;
mod packages;

/// One target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: that of its program, of its seeds' directory and of its findings' directory.
    pub name: &'static str,
    /// Tries one input, and gives whether it was accepted. Panics where a promise is broken.
    pub run: fn(&[u8]) -> bool,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    // Any file, as it is and with its trailer made right.
    Target { name: "open", run: packages::open },
    // A package that was changed and signed again: what is accepted is what was signed, to the last byte.
    Target { name: "whole_file", run: packages::whole_file },
    // Anything that can be built can be opened, verified and read, and gives what was built.
    Target { name: "round_trip", run: packages::round_trip },
    // The signed document and its claims.
    Target { name: "metadata", run: documents::metadata },
    // What our JSON reader accepts, serde_json accepts with the same meaning.
    Target { name: "json_differential", run: documents::json_differential },
    // Archives: plain paths, links that stay inside, every path once, trees that can be written.
    Target { name: "tar", run: archives::tar },
    // What our tar reader accepts, the crate `tar` reads the same.
    Target { name: "tar_differential", run: archives::tar_differential },
    // One gzip member, against zlib; as a stream and as a container.
    Target { name: "gzip", run: codecs::gzip },
    // A gzip member with a chunk table, against the stream.
    Target { name: "chunked", run: codecs::chunked },
    // DEFLATE over whole buffers, against zlib.
    Target { name: "inflate", run: codecs::inflate },
    // One bzip2 stream, against libbz2.
    Target { name: "bzip2", run: codecs::bzip2 },
    // One xz stream, against lzma-rust2's own reader.
    Target { name: "xz", run: codecs::xz },
    // One zstd frame, against libzstd.
    Target { name: "zstd", run: codecs::zstd },
    // The same answer, however few bytes a source or a stage gives at a time.
    Target { name: "chunking_independence", run: chunking::chunking_independence },
];

/// Runs the target of this name.
///
/// # Panics
///
/// When there is none, and when a promise is broken.
pub fn run(name: &str, input: &[u8]) -> bool {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.unwrap_or_else(|| panic!("there is no target {name:?}")).run)(input)
}
