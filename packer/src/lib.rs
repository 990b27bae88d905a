//! Turns an application into one signed native executable: the library behind the `packer` command.
//!
//! ```text
//! folder ── guess ──> manifest ─┬─> python (builds three trees) ─┬─> plan ──> slots ──> pack (sign, write, verify, rename)
//!                               └─> generic (files as they are) ─┘     └─> preview: what packing would do
//!
//! launchers ──> pack; foreign: what FlavorPack's ask for
//! sbom: what a package is made of ──> pack, inspect
//! package_file ──> inspect, contents, diff, extract, link, run: what is done with a finished package
//! trust ──> run, verify: whose packages may run here
//! workenvs: what packages have extracted on this machine, and how it goes away; clean: what packer keeps
//! doctor: what this machine has for all of it
//! ```

pub mod clean;
pub mod contents;
pub mod diff;
pub mod doctor;
pub mod error;
pub mod extract;
mod foreign;
pub mod generic;
pub mod guess;
pub mod inspect;
pub mod keys;
pub mod launchers;
pub mod link;
pub mod manifest;
mod output;
pub mod pack;
pub mod package_file;
pub mod passphrase;
pub mod places;
pub mod plan;
pub mod platform;
pub mod preview;
pub mod progress;
pub mod python;
pub mod run;
pub mod sbom;
pub mod schema;
pub mod slots;
mod sources;
pub mod trust;
pub mod workenvs;

pub use error::{Error, Kind, Result};
