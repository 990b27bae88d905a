//! Claims, version 1: what the signed JSON says about the bytes outside it (docs/format.md section 5).

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::digest::{Digest, Hex, read_hex};
use crate::error::{Error, ErrorKind, Result};
use crate::fields::Fields;
use crate::format::index::{HINTS, Hint};
use crate::format::{Descriptor, Operations, slot};
use crate::json::Value;
use crate::layout::Rules;
use crate::limits;
use crate::sign::{KeyId, KeyOrigin};

/// The key under `extensions` in the metadata.
pub const KEY: &str = "x-pspf-claims";

/// Everything that version 1 claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Which application this is, across versions ("dev.example/myapp"); trust and rollback protection go by it.
    pub app_id: Option<String>,
    /// A counter that grows with every release; 0 when the application has none.
    pub release: u64,
    /// The key that signs.
    pub key_id: KeyId,
    /// How that key came to be.
    pub key_origin: KeyOrigin,
    /// How the parts are laid out.
    pub layout: Rules,
    /// The launcher's size in bytes.
    pub launcher_size: u64,
    /// SHA-256 of the launcher.
    pub launcher_digest: Digest,
    /// One for each slot, in order.
    pub slots: Vec<SlotClaim>,
    /// The index's hints that are not zero, with as many bytes as the field has, in file order.
    pub hints: Vec<(Hint, Vec<u8>)>,
    /// The keys that signed earlier releases, each vouching for the next.
    pub lineage: Vec<Succession>,
    /// Commands that the package offers, and what they start.
    pub entry_points: Vec<(String, String)>,
}

/// What is claimed of one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotClaim {
    /// Its id in the JSON.
    pub id: String,
    /// How many bytes are stored.
    pub size: u64,
    /// How many bytes they are once all operations but `tar` are undone: a hard cap.
    pub original_size: u64,
    /// SHA-256 of the stored bytes.
    pub digest: Digest,
    /// How the bytes were made.
    pub operations: Operations,
    /// As [`Descriptor::purpose`].
    pub purpose: u8,
    /// As [`Descriptor::lifecycle`].
    pub lifecycle: u8,
    /// As [`Descriptor::priority`].
    pub priority: u8,
    /// As [`Descriptor::platform`].
    pub platform: u8,
    /// As [`Descriptor::permissions`].
    pub permissions: u16,
    /// The digest of the extracted tree ([`tree`](crate::tree)); absent for slots that are not extracted.
    pub tree: Option<Digest>,
    /// How many files, links and empty directories the tree has.
    pub files: u64,
    /// Where the chunks of a gzip slot end.
    pub chunks: Option<Chunks>,
}

/// The chunk table of a gzip slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunks {
    /// How many bytes each chunk gives; the last one gives the rest.
    pub original: u64,
    /// How many stored bytes each chunk takes.
    pub stored: Vec<u32>,
}

/// One key vouching for its successor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Succession {
    /// The older public key.
    pub from_public_key: [u8; 32],
    /// The newer public key.
    pub to_public_key: [u8; 32],
    /// The application that this is about.
    pub app_id: String,
    /// The older key's signature.
    pub signature_by_from: [u8; 64],
}

/// What a package's metadata carry under [`KEY`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing: another builder made it.
    Nothing,
    /// Claims of a version that this reader does not know; the package is read as one without.
    Unknown(u64),
    /// Claims of version 1.
    V1(Box<Claims>),
}

impl Found {
    pub(crate) fn read(extensions: Option<Fields<'_>>) -> Result<Self> {
        let Some(claims) = extensions.map(|fields| fields.opt_object(KEY)).transpose()?.flatten() else {
            return Ok(Self::Nothing);
        };
        match claims.u64("v")? {
            1 => Claims::read(&claims).map(|claims| Self::V1(Box::new(claims))),
            other => Ok(Self::Unknown(other)),
        }
    }

    /// The claims of version 1, when there are some.
    pub fn v1(&self) -> Option<&Claims> {
        match self {
            Self::V1(claims) => Some(claims),
            Self::Nothing | Self::Unknown(_) => None,
        }
    }
}

impl Claims {
    fn read(fields: &Fields<'_>) -> Result<Self> {
        fields.only(&[
            "v",
            "app_id",
            "release",
            "key_id",
            "key_origin",
            "layout",
            "launcher",
            "slots",
            "index",
            "lineage",
            "entry_points",
        ])?;
        let layout = fields.object("layout")?;
        layout.only(&["meta_gap", "table_align", "slot_align"])?;
        let launcher = fields.object("launcher")?;
        launcher.only(&["size", "sha256"])?;
        let slots = fields.objects("slots")?;
        if slots.len() as u64 > u64::from(limits::SLOTS) {
            let found = slots.len() as u64;
            return Err(ErrorKind::TooLarge { what: "claimed slots", allowed: limits::SLOTS.into(), found }.into());
        }
        Ok(Self {
            app_id: fields.opt_str("app_id")?.map(String::from),
            release: fields.opt_u64("release")?.unwrap_or(0),
            key_id: KeyId(hex(fields, "key_id")?),
            key_origin: key_origin(fields)?,
            layout: Rules {
                meta_gap: layout.u64("meta_gap")?,
                table_align: layout.u64("table_align")?,
                slot_align: layout.u64("slot_align")?,
            },
            launcher_size: launcher.u64("size")?,
            launcher_digest: launcher.digest("sha256")?,
            slots: slots.iter().map(SlotClaim::read).collect::<Result<_>>()?,
            hints: fields.opt_object("index")?.map_or(Ok(Vec::new()), |index| read_hints(&index))?,
            lineage: fields.objects("lineage")?.iter().map(Succession::read).collect::<Result<_>>()?,
            entry_points: fields.string_map("entry_points")?,
        })
    }

    /// The JSON of the claims.
    pub fn to_value(&self) -> Value<'static> {
        let text = |text: &str| Value::String(Cow::Owned(text.into()));
        let mut members = Vec::from([("v", Value::Unsigned(1))]);
        if let Some(app_id) = &self.app_id {
            members.push(("app_id", text(app_id)));
        }
        if self.release != 0 {
            members.push(("release", self.release.into()));
        }
        members.extend([
            ("key_id", self.key_id.to_string().into()),
            ("key_origin", self.key_origin.name().into()),
            (
                "layout",
                Value::object([
                    ("meta_gap", self.layout.meta_gap.into()),
                    ("table_align", self.layout.table_align.into()),
                    ("slot_align", self.layout.slot_align.into()),
                ]),
            ),
            (
                "launcher",
                Value::object([
                    ("size", self.launcher_size.into()),
                    ("sha256", self.launcher_digest.to_string().into()),
                ]),
            ),
            ("slots", Value::Array(self.slots.iter().map(SlotClaim::to_value).collect())),
            ("index", Value::object(self.hints.iter().map(|(hint, bytes)| (hint.name, hint_text(bytes).into())))),
            ("lineage", Value::Array(self.lineage.iter().map(Succession::to_value).collect())),
        ]);
        let entry_points = self.entry_points.iter().map(|(name, target)| (Cow::Owned(name.clone()), text(target)));
        members.push(("entry_points", Value::Object(entry_points.collect())));
        Value::object(members)
    }
}

impl SlotClaim {
    fn read(fields: &Fields<'_>) -> Result<Self> {
        fields.only(&[
            "id",
            "size",
            "original_size",
            "sha256",
            "operations",
            "purpose",
            "lifecycle",
            "priority",
            "platform",
            "permissions",
            "tree",
            "files",
            "chunks",
        ])?;
        let operations = fields.str("operations")?;
        let raw = operations.strip_prefix("0x").filter(|digits| !digits.starts_with('+'));
        let raw = raw.and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or_else(|| {
            Error::json(fields.path_of("operations"), "a number like \"0x1001\"", format!("{operations:?}"))
        })?;
        Ok(Self {
            id: fields.str("id")?.into(),
            size: fields.u64("size")?,
            original_size: fields.u64("original_size")?,
            digest: fields.digest("sha256")?,
            operations: Operations::from_raw(raw),
            purpose: fields.small("purpose", "a byte")?,
            lifecycle: fields.small("lifecycle", "a byte")?,
            priority: fields.small("priority", "a byte")?,
            platform: fields.small("platform", "a byte")?,
            permissions: fields.small("permissions", "mode bits")?,
            tree: fields.get("tree").map(|_| fields.digest("tree")).transpose()?,
            files: fields.opt_u64("files")?.unwrap_or(0),
            chunks: fields.opt_object("chunks")?.map(|chunks| Chunks::read(&chunks)).transpose()?,
        })
    }

    fn to_value(&self) -> Value<'static> {
        let mut members = Vec::from([
            ("id", self.id.clone().into()),
            ("size", self.size.into()),
            ("original_size", self.original_size.into()),
            ("sha256", self.digest.to_string().into()),
            ("operations", format!("{:#x}", self.operations.raw()).into()),
            ("purpose", u64::from(self.purpose).into()),
            ("lifecycle", u64::from(self.lifecycle).into()),
            ("priority", u64::from(self.priority).into()),
            ("platform", u64::from(self.platform).into()),
            ("permissions", u64::from(self.permissions).into()),
        ]);
        if let Some(tree) = self.tree {
            members.extend([("tree", tree.to_string().into()), ("files", self.files.into())]);
        }
        if let Some(chunks) = &self.chunks {
            let stored = Value::array(chunks.stored.iter().map(|stored| u64::from(*stored)));
            members.push(("chunks", Value::object([("original", chunks.original.into()), ("stored", stored)])));
        }
        Value::object(members)
    }

    /// The descriptor that this claim leads to, for the slot with this index whose bytes begin at `offset`.
    pub fn descriptor(&self, index: u32, offset: u64) -> Descriptor {
        Descriptor {
            id: slot::id_of(index),
            name_hash: slot::name_hash(&self.id),
            offset,
            size: self.size,
            original_size: self.original_size,
            operations: self.operations,
            checksum: self.digest.hint(),
            purpose: self.purpose,
            lifecycle: self.lifecycle,
            priority: self.priority,
            platform: self.platform,
            reserved: [0; 2],
            permissions: self.permissions,
        }
    }
}

impl Chunks {
    fn read(fields: &Fields<'_>) -> Result<Self> {
        fields.only(&["original", "stored"])?;
        let original = fields.u64("original")?;
        if original > limits::CHUNK {
            return Err(ErrorKind::TooLarge {
                what: "original size of a chunk",
                allowed: limits::CHUNK,
                found: original,
            }
            .into());
        }
        // DEFLATE never needs more than five bytes for each 16 KiB that it cannot compress; twice that is generous.
        let most = original + original / 1024 + 64;
        let stored = |value: &Value<'_>| {
            let size = value.as_u64().filter(|size| *size <= most).and_then(|size| u32::try_from(size).ok());
            size.ok_or_else(|| Error::json(fields.path_of("stored"), "sizes of compressed chunks", "another value"))
        };
        Ok(Self { original, stored: fields.array("stored")?.iter().map(stored).collect::<Result<_>>()? })
    }
}

impl Succession {
    fn read(fields: &Fields<'_>) -> Result<Self> {
        fields.only(&["from_public_key", "to_public_key", "app_id", "signature_by_from"])?;
        Ok(Self {
            from_public_key: hex(fields, "from_public_key")?,
            to_public_key: hex(fields, "to_public_key")?,
            app_id: fields.str("app_id")?.into(),
            signature_by_from: hex(fields, "signature_by_from")?,
        })
    }

    fn to_value(&self) -> Value<'static> {
        Value::object([
            ("from_public_key", Hex(&self.from_public_key).to_string().into()),
            ("to_public_key", Hex(&self.to_public_key).to_string().into()),
            ("app_id", self.app_id.clone().into()),
            ("signature_by_from", Hex(&self.signature_by_from).to_string().into()),
        ])
    }
}

fn key_origin(fields: &Fields<'_>) -> Result<KeyOrigin> {
    let name = fields.str("key_origin")?;
    KeyOrigin::from_name(name)
        .ok_or_else(|| Error::json(fields.path_of("key_origin"), "given, auto or seed", format!("{name:?}")))
}

fn hex<const N: usize>(fields: &Fields<'_>, key: &str) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let text = fields.str(key)?;
    match read_hex(text, &mut bytes) {
        Some(()) => Ok(bytes),
        None => Err(Error::json(fields.path_of(key), format!("{} hexadecimal digits", 2 * N), format!("{text:?}"))),
    }
}

/// A hint's value as text: a number in hexadecimal, or all bytes of a longer field in file order.
pub fn hint_text(bytes: &[u8]) -> String {
    if bytes.len() > 8 {
        return format!("0x{}", Hex(bytes));
    }
    format!("{:#x}", bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
}

fn read_hints(fields: &Fields<'_>) -> Result<Vec<(Hint, Vec<u8>)>> {
    let read = |(name, value): &(Cow<'_, str>, Value<'_>)| {
        let hint = HINTS.iter().find(|hint| hint.name == name);
        let hint = hint.ok_or_else(|| Error::json(fields.path_of(name), "an index field", "another name"))?;
        let text = value.as_str().unwrap_or_default();
        let bytes = hint_bytes(text, hint.size).filter(|bytes| hint_text(bytes) == text);
        let bytes = bytes.ok_or_else(|| {
            Error::json(
                fields.path_of(name),
                format!("a hexadecimal number of {} bytes", hint.size),
                format!("{text:?}"),
            )
        })?;
        Ok((*hint, bytes))
    };
    fields.members().iter().map(read).collect()
}

fn hint_bytes(text: &str, size: usize) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x")?;
    let mut bytes = alloc::vec![0; size];
    if size > 8 {
        read_hex(digits, &mut bytes)?;
        return Some(bytes);
    }
    let number = u64::from_str_radix(digits, 16).ok()?.to_le_bytes();
    bytes.copy_from_slice(&number[..size]);
    number[size..].iter().all(|byte| *byte == 0).then_some(bytes)
}
