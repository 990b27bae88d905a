//! What is on disk, and nothing of what is done with it: one file per structure (docs/format.md sections 1 to 3).

mod bytes;
pub mod index;
pub mod ops;
pub mod slot;
pub mod trailer;

pub use index::Index;
pub use ops::{Operation, Operations};
pub use slot::Descriptor;

/// The value of the index field `format_version`.
pub const FORMAT_VERSION: u32 = 0x2025_0001;
