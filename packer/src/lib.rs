//! Turns an application into one signed native executable: the library behind the `packer` command.

pub mod error;
pub mod manifest;
pub mod progress;
pub mod python;

pub use error::{Error, Kind, Result};
