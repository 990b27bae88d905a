//! DEFLATE (RFC 1951) and CRC-32 (RFC 1952) over whole buffers.
//!
//! Both are here, in a crate of their own, because unpacking a package spends most of its time in them: the launcher
//! compiles everything for size, and single crates for speed. The inflater knows its whole input and the size of its
//! output, as it does for a chunk of a slot (docs/format.md section 5). That makes it a third of the size of one for
//! streams, in the launcher 8 KB less, and half again as fast.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod crc32;
mod inflate;
mod table;

pub use crc32::{Crc32, crc32};
pub use inflate::{End, INPUT_SLACK, Inflater, Malformed, OUTPUT_SLACK};
