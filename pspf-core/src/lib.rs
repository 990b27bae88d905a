//! The PSPF/2025 package format: one native executable that carries an application, signed.
//!
//! A package is a launcher, a signed JSON document, a table of slots, the slots' bytes and an index at the
//! very end (`docs/format.md`). This crate knows the format and nothing else: no files, no processes, no
//! clock. It reads through a [`Source`], so that the same code serves a slice, a file and a memory map, and
//! it needs no standard library, so that a launcher of 100 KB can embed it.
//!
//! # Reading
//!
//! 1. [`Package::open`] finds the index and checks that everything it names lies inside the file.
//! 2. [`Package::verify`] checks the signature and everything it answers for, and gives a [`Verified`]:
//!    the head is *sealed*. Looking at an unverified package is possible, extracting one is not.
//! 3. [`Verified::slot`] undoes a slot's operations within the size that the signature promises, and gives
//!    a [`Proof`] at its end.
//!
#![cfg_attr(feature = "build", doc = "```")]
#![cfg_attr(not(feature = "build"), doc = "```ignore")]
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
//! | `build` | no | [`build`], the writing half; readers leave it out |
//! | `bzip2` | no | slots compressed with bzip2 |
//! | `xz` | no | slots compressed with xz |
//! | `zstd` | no | slots compressed with zstd |
//! | `all-codecs` | no | these three |
//!
//! # Guarantees
//!
//! No `unsafe`. No panic is reachable from input. Nothing is allocated on the word of an unchecked number.
//! Nothing is inflated before the signature holds, in packages that carry claims.

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
