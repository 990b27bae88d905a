//! How large anything may be. A number from a file is compared with these before a byte is allocated for it
//! (docs/format.md section 5, "Limits").

/// Metadata that this crate writes: what FlavorPack's Rust launcher still reads, in bytes of JSON.
pub const METADATA_WRITTEN: u64 = 1 << 20;
/// Metadata that this crate reads, in bytes, both as stored and as JSON.
pub const METADATA_READ: u64 = 4 << 20;
/// How deep JSON may nest.
pub const JSON_DEPTH: usize = 64;
/// Slots in a package.
pub const SLOTS: u32 = 4096;
/// Entries in one archive slot.
pub const ENTRIES: u64 = 1_000_000;
/// A path inside an archive, in bytes.
pub const PATH: usize = 4096;
/// One component of such a path, in bytes.
pub const COMPONENT: usize = 255;
/// What a slot without claims may inflate to, in bytes, unless the caller says otherwise.
pub const UNCLAIMED_SLOT: u64 = 8 << 30;
/// The original size of one gzip chunk, in bytes: readers hold a chunk or two in memory.
pub const CHUNK: u64 = 8 << 20;
/// How far back xz (its dictionary) and zstd (its window) may look in packages with claims, in bytes. It is what they
/// take in memory, so this is also the most that our builders use.
pub const CLAIMED_WINDOW: u64 = 8 << 20;
/// The same in packages without claims: what zstd itself reads unless told otherwise, and `xz -9` twice over.
pub const WINDOW: u64 = 128 << 20;
