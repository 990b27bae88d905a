//! The index: 8192 bytes, little-endian, no padding of the compiler's (docs/format.md section 2).

use super::bytes;
use crate::digest::Digest;
use crate::layout::Layout;

/// The size of the index in bytes.
pub const SIZE: usize = 8192;

/// The index block, its fields read in place.
///
/// ```text
///  0        4          8              16             24                32             40
///  +--------+----------+--------------+--------------+-----------------+--------------+--------------+
///  | format | Adler-32 | package_size | launcher_size| metadata_offset | metadata_size| table_offset |
///  +--------+----------+--------------+--------------+-----------------+--------------+--------------+
///  48           56       60     64           96                  128                      640
///  +------------+--------+-------+------------+-------------------+------------------------+---- ...
///  | table_size | slots  | flags | public key | metadata SHA-256  | signature 64 B, zeros  | hints, attestation
///  +------------+--------+-------+------------+-------------------+------------------------+---- ...
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Index {
    block: [u8; SIZE],
}

/// Everything that the layout of a package decides about its index. Fields that are only hints are not here;
/// claims name them (docs/format.md section 5, "Index").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The file's size in bytes.
    pub package_size: u64,
    /// The launcher's size in bytes.
    pub launcher_size: u64,
    /// Where the metadata container begins.
    pub metadata_offset: u64,
    /// The size of the metadata container in bytes.
    pub metadata_size: u64,
    /// Where the slot table begins.
    pub table_offset: u64,
    /// How many slots there are.
    pub slot_count: u32,
    /// SHA-256 of the metadata container.
    pub metadata_digest: Digest,
    /// The Ed25519 public key.
    pub public_key: [u8; 32],
    /// The Ed25519 signature over the JSON.
    pub signature: [u8; 64],
    /// SHA-256 of the attestation slot's stored bytes, when there is one.
    pub sbom: Option<Digest>,
    /// SHA-256 of the policy's canonical text, when the metadata have one.
    pub policy: Option<Digest>,
}

impl Facts {
    /// What follows from where the parts lie and from who signed; without attestation and policy.
    pub fn of(layout: &Layout, container: &[u8], public_key: [u8; 32], signature: [u8; 64]) -> Self {
        Self {
            package_size: layout.package_size,
            launcher_size: layout.launcher_size,
            metadata_offset: layout.metadata_offset,
            metadata_size: layout.metadata_size,
            table_offset: layout.table_offset,
            slot_count: layout.slots.len() as u32,
            metadata_digest: Digest::of(container),
            public_key,
            signature,
            sbom: None,
            policy: None,
        }
    }
}

/// A field that nothing recomputes: a hint, zero unless the signed claims name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hint {
    /// Its name, as the claims spell it.
    pub name: &'static str,
    /// Where it lies in the index.
    pub offset: usize,
    /// Its size in bytes; up to 8 it is a number, above that a string of bytes.
    pub size: usize,
}

/// Every hint of the index.
pub const HINTS: &[Hint] = &[
    hint("flags", 60, 4),
    hint("access_mode", 640, 1),
    hint("cache_strategy", 641, 1),
    hint("page_size", 644, 4),
    hint("max_memory", 648, 8),
    hint("min_memory", 656, 8),
    hint("cpu_features", 664, 8),
    hint("gpu_requirements", 672, 8),
    hint("numa_hints", 680, 8),
    hint("stream_chunk_size", 688, 4),
    hint("build_timestamp", 704, 8),
    hint("build_machine", 712, 32),
    hint("source_hash", 744, 32),
    hint("dependency_hash", 776, 32),
    hint("license_id", 808, 16),
    hint("provenance_uri", 824, 8),
    hint("capabilities", 832, 8),
    hint("requirements", 840, 8),
    hint("extensions", 848, 8),
    hint("compatibility", 856, 4),
    hint("protocol_version", 860, 4),
    hint("future_crypto", 864, 512),
];

impl Index {
    /// Takes a block as it was read.
    pub fn from_block(block: [u8; SIZE]) -> Self {
        Self { block }
    }

    /// The index that `facts` and `hints` lead to, its checksum set. Each hint's value has the hint's size.
    pub fn new<'a>(facts: &Facts, hints: impl IntoIterator<Item = (Hint, &'a [u8])>) -> Self {
        let mut block = [0; SIZE];
        bytes::put_u32(&mut block, 0, super::FORMAT_VERSION);
        bytes::put_u64(&mut block, 8, facts.package_size);
        bytes::put_u64(&mut block, 16, facts.launcher_size);
        bytes::put_u64(&mut block, 24, facts.metadata_offset);
        bytes::put_u64(&mut block, 32, facts.metadata_size);
        bytes::put_u64(&mut block, 40, facts.table_offset);
        bytes::put_u64(&mut block, 48, u64::from(facts.slot_count) * super::slot::SIZE as u64);
        bytes::put_u32(&mut block, 56, facts.slot_count);
        bytes::put(&mut block, 64, &facts.public_key);
        bytes::put(&mut block, 96, &facts.metadata_digest.0);
        bytes::put(&mut block, 128, &facts.signature);
        bytes::put(&mut block, 1376, &Digest::of(&facts.public_key).to_hex());
        if let Some(digest) = facts.sbom {
            bytes::put(&mut block, 1440, &digest.to_hex());
        }
        if let Some(digest) = facts.policy {
            bytes::put(&mut block, 1504, &digest.to_hex());
        }
        for (hint, value) in hints {
            let size = hint.size.min(value.len());
            bytes::put(&mut block, hint.offset, &value[..size]);
        }
        let checksum = Self { block }.computed_checksum();
        bytes::put_u32(&mut block, 4, checksum);
        Self { block }
    }

    /// The raw 8192 bytes.
    pub fn block(&self) -> &[u8; SIZE] {
        &self.block
    }

    /// Always [`FORMAT_VERSION`](super::FORMAT_VERSION) in packages of this format.
    pub fn format_version(&self) -> u32 {
        bytes::u32(&self.block, 0)
    }

    /// Adler-32 of the index with this field zero. It finds damage, not malice.
    pub fn checksum(&self) -> u32 {
        bytes::u32(&self.block, 4)
    }

    /// What [`checksum`](Self::checksum) should be.
    pub fn computed_checksum(&self) -> u32 {
        // Adler-32 without a remainder at each step: the sums over 8192 bytes are far below 2^64.
        let mut sums = (1_u64, 0_u64);
        for (at, byte) in self.block.iter().enumerate() {
            let byte = if (4..8).contains(&at) { 0 } else { u64::from(*byte) };
            sums.0 += byte;
            sums.1 += sums.0;
        }
        (((sums.1 % ADLER) << 16) | (sums.0 % ADLER)) as u32
    }

    /// The file's size in bytes.
    pub fn package_size(&self) -> u64 {
        bytes::u64(&self.block, 8)
    }

    /// The launcher's size in bytes.
    pub fn launcher_size(&self) -> u64 {
        bytes::u64(&self.block, 16)
    }

    /// Where the metadata container begins, in bytes from the start of the file.
    pub fn metadata_offset(&self) -> u64 {
        bytes::u64(&self.block, 24)
    }

    /// The size of the metadata container in bytes, as stored.
    pub fn metadata_size(&self) -> u64 {
        bytes::u64(&self.block, 32)
    }

    /// Where the slot table begins, in bytes from the start of the file.
    pub fn table_offset(&self) -> u64 {
        bytes::u64(&self.block, 40)
    }

    /// The size of the slot table in bytes: 64 for each slot.
    pub fn table_size(&self) -> u64 {
        bytes::u64(&self.block, 48)
    }

    /// How many slots there are.
    pub fn slot_count(&self) -> u32 {
        bytes::u32(&self.block, 56)
    }

    /// The Ed25519 public key; zeros when the package is not signed.
    pub fn public_key(&self) -> [u8; 32] {
        bytes::array(&self.block, 64)
    }

    /// SHA-256 of the metadata container.
    pub fn metadata_digest(&self) -> Digest {
        Digest(bytes::array(&self.block, 96))
    }

    /// The Ed25519 signature over the uncompressed JSON; zeros when the package is not signed.
    pub fn signature(&self) -> [u8; 64] {
        bytes::array(&self.block, 128)
    }

    /// The hexadecimal SHA-256 of the public key, or zeros.
    pub fn key_fingerprint(&self) -> [u8; 64] {
        bytes::array(&self.block, 1376)
    }

    /// The hexadecimal SHA-256 of the attestation slot, or zeros.
    pub fn sbom_digest(&self) -> [u8; 64] {
        bytes::array(&self.block, 1440)
    }

    /// The hexadecimal SHA-256 of the policy's canonical text, or zeros.
    pub fn policy_digest(&self) -> [u8; 64] {
        bytes::array(&self.block, 1504)
    }

    /// The bytes of a hint.
    pub fn hint(&self, hint: &Hint) -> &[u8] {
        &self.block[hint.offset..hint.offset + hint.size]
    }

    /// Seconds since 1970 when the package was built; 0 when it does not say.
    pub fn build_timestamp(&self) -> u64 {
        bytes::u64(&self.block, 704)
    }
}

impl core::fmt::Debug for Index {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Index")
            .field("package_size", &self.package_size())
            .field("slot_count", &self.slot_count())
            .finish_non_exhaustive()
    }
}

/// The name of the field that the byte at `offset` belongs to.
pub fn field_at(offset: usize) -> &'static str {
    const NAMED: &[(usize, &str)] = &[
        (0, "format_version"),
        (4, "index_checksum"),
        (8, "package_size"),
        (16, "launcher_size"),
        (24, "metadata_offset"),
        (32, "metadata_size"),
        (40, "slot_table_offset"),
        (48, "slot_table_size"),
        (56, "slot_count"),
        (64, "public_key"),
        (96, "metadata_checksum"),
        (128, "integrity_signature"),
        (1376, "attestation_key_fp"),
        (1440, "attestation_sbom_digest"),
        (1504, "attestation_policy_hash"),
        (1568, "reserved"),
    ];
    if let Some(hint) = HINTS.iter().find(|hint| (hint.offset..hint.offset + hint.size).contains(&offset)) {
        return hint.name;
    }
    match offset {
        642..644 | 692..704 => "reserved",
        _ => NAMED.iter().rev().find(|(start, _)| *start <= offset).map_or("reserved", |(_, name)| name),
    }
}

/// The largest prime below 2^16.
const ADLER: u64 = 65_521;

const fn hint(name: &'static str, offset: usize, size: usize) -> Hint {
    Hint { name, offset, size }
}
