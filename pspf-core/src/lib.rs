//! The PSPF/2025 package format: one native executable that carries an application, signed.
//!
//! A package is a launcher, a signed JSON document, a table of slots, the slots' bytes and an index at the
//! very end (`docs/format.md`). This crate knows the format and nothing else: no files, no processes, no
//! clock. It reads through a [`Source`], so that the same code serves a slice, a file and a memory map, and
//! it needs no standard library, so that a launcher without libc can embed it.
//!
//! ```text
//!  0           launcher_size    8-byte aligned                               size - 8200        size
//!  +-----------+----------------+------------+--------+--------+-- ... --+-----------------------+
//!  | launcher  | gzip: JSON     | slot table | slot 0 | slot 1 |         | magic | index | magic |
//!  +-----------+----------------+------------+--------+--------+-- ... --+-----------------------+
//!                    |                 |          |                              |
//!                    +-- claims: digest and size of everything else <------------+ key, signature of the JSON,
//!                                                                                  where the parts begin
//! ```
//!
//! # Reading
//!
//! 1. [`Package::open`] finds the index and checks that everything it names lies inside the file.
//! 2. [`Package::verify`] checks the signature and everything it answers for, and gives a [`Verified`]:
//!    the head is *sealed*. Looking at an unverified package is possible, extracting one is not.
//! 3. [`Verified::metadata`] is the signed document, with one entry for each slot.
//! 4. [`Verified::slot`] undoes a slot's operations within the size that the signature promises, and gives
//!    a [`Proof`] at its end. [`archive::Reader`] takes the entries out of a slot that is an archive.
//!
//! ```
//! use pspf_core::{Package, Result};
//!
//! /// The name and the content of every slot.
//! fn contents(file: &[u8]) -> Result<Vec<(String, Vec<u8>)>> {
//!     let package = Package::open(file)?;
//!     let verified = package.verify()?;
//!     verified.check_launcher()?;
//!     let mut contents = Vec::new();
//!     for (index, slot) in (0..).zip(&verified.metadata().slots) {
//!         let mut reader = verified.slot(index)?;
//!         let mut content = Vec::new();
//!         loop {
//!             let ready = reader.fill()?;
//!             if ready.is_empty() {
//!                 break;
//!             }
//!             content.extend_from_slice(ready);
//!             let count = ready.len();
//!             reader.consume(count);
//!         }
//!         // Until here the bytes were only what they claim to be; now they are the signed ones.
//!         reader.finish()?;
//!         contents.push((slot.id.to_string(), content));
//!     }
//!     Ok(contents)
//! }
//!
//! assert!(contents(b"no package").is_err());
//! ```
//!
//! [`verify::report`] makes all checks and lists them. `examples/freestanding` does the same as above in a program
//! without the standard library and without libc.
//!
//! # Building
//!
//! With the feature `build`. Slots come already encoded; packer has the encoders.
//!
#![cfg_attr(feature = "build", doc = "```")]
#![cfg_attr(not(feature = "build"), doc = "```text")]
//! use pspf_core::{Package, build::{Builder, Slot}, json::Value, sign::{KeyOrigin, SecretKey}};
//!
//! # fn main() -> Result<(), pspf_core::Error> {
//! // Build one: a launcher, one raw slot, a key.
//! let key = SecretKey::from_seed_text("doc");
//! let document = Value::object([
//!     ("package", Value::object([("name", "greet".into()), ("version", "1.0.0".into())])),
//!     ("execution", Value::object([("command", "{workenv}/hello.txt".into())])),
//! ]);
//! let launcher: &[u8] = b"\x7fELF...";
//! let hello: &[u8] = b"hello";
//! let head = Builder::new(document, &launcher)?
//!     .slot(Slot::raw("hello", "hello.txt", &hello)?)
//!     .sign(&key, KeyOrigin::Given)?;
//! let mut file = Vec::new();
//! head.write(&launcher, &[&hello], &mut file)?;
//!
//! // Read it back.
//! let package = Package::open(file.as_slice())?;
//! let verified = package.verify()?;
//! let mut slot = verified.slot(0)?;
//! assert_eq!(slot.fill()?, b"hello");
//! slot.consume(5);
//! let _proof = slot.finish()?;
//!
//! // One changed byte anywhere is refused.
//! let mut changed = file.clone();
//! changed[3] ^= 1;
//! let package = Package::open(changed.as_slice())?;
//! assert!(package.verify()?.check_launcher().is_err());
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `std` | yes | [`Source`] for `std::fs::File`, [`Sink`](source::Sink) for any `std::io::Write` |
//! | `foreign` | yes | packages of other builders: metadata in any gzip member, gzip slots without a chunk table |
//! | `build` | no | the module `build`, the writing half; readers leave it out |
//! | `bzip2` | no | slots compressed with bzip2 |
//! | `xz` | no | slots compressed with xz |
//! | `zstd` | no | slots compressed with zstd |
//! | `all-codecs` | no | these three |
//!
//! A codec that is left out is refused by its name ([`ErrorKind::Unsupported`]). Without any feature the crate needs an
//! allocator and nothing else. Rust 1.95 or newer.
//!
//! # Guarantees
//!
//! - No `unsafe` in this crate, and no panic reachable from input: not from a file, and not from a [`Source`] that fails,
//!   reads short or lies.
//! - Nothing is allocated on the word of an unchecked number, and nothing comes out beyond a cap that is known before:
//!   [`limits`] has them all.
//! - A [`Verified`] exists only for a package whose signature holds. With claims ([`Grade::Sealed`]) the signature then
//!   answers for every byte of the head, nothing was inflated before it held, and launcher and slots have to match
//!   signed digests as they are read. Without ([`Grade::SlotsOnly`]) it answers for the document, and for what the
//!   document has digests of.
//! - It does not mean that the key is anybody's: who may sign is the caller's to decide, by [`Verified::key_id`].
//! - A [`Proof`] exists only for the very bytes that were read, so that a file that changes after it was checked gives none.
//!
//! `tests/` tries each of them: every changed byte, every truncation, every field at its edges, sources that lie, and
//! arbitrary input.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod archive;
#[cfg(feature = "build")]
pub mod build;
pub mod claims;
pub mod codec;
pub mod container;
pub mod digest;
pub mod error;
mod fields;
pub mod format;
pub mod json;
pub mod layout;
pub mod limits;
pub mod metadata;
pub mod names;
pub mod number;
pub mod package;
pub mod placement;
pub mod sign;
pub mod slot;
pub mod source;
pub mod text;
pub mod tree;
pub mod verify;

pub use digest::Digest;
pub use error::{Error, ErrorKind, Part, Result};
pub use package::Package;
pub use slot::{Proof, SlotReader};
pub use source::Source;
pub use verify::{Grade, Verified};
