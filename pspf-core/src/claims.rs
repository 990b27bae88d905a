//! Claims, version 1: what the signed JSON says about the bytes outside it (docs/format.md section 5).

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::digest::{Digest, Hex, hex, read_hex};
use crate::error::Value as Shown;
use crate::fields::Fields;
use crate::format::index::{Facts, HINTS, Hint};
use crate::format::{Descriptor, Index, Operations, slot};
use crate::json::Value;
use crate::layout::{Layout, Rules};
use crate::limits;
use crate::metadata::{Lifecycle, slots};
use crate::sign::{KeyId, KeyOrigin};
use crate::{number, text};

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
    /// The keys that signed earlier releases, each vouching for the next. Only read with the feature `foreign`: the small
    /// launcher trusts nobody by it.
    pub lineage: Vec<Succession>,
    /// Commands that the package offers: name to command line, in the form of `execution.command`. Names are any text.
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
    pub(crate) fn read(extensions: &Fields<'_, '_>) -> Self {
        let Some(claims) = extensions.opt_object(KEY) else { return Self::Nothing };
        match claims.u64("v") {
            1 => Self::V1(Box::new(Claims::read(&claims))),
            other => Self::Unknown(other),
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
    fn read(fields: &Fields<'_, '_>) -> Self {
        fields.only("v app_id release key_id key_origin layout launcher slots index lineage entry_points");
        let layout = fields.object("layout");
        layout.only("meta_gap table_align slot_align");
        let launcher = fields.object("launcher");
        launcher.only("size sha256");
        let key_origin = fields.str("key_origin");
        let mut key_id = KeyId([0; 16]);
        fields.hex("key_id", &mut key_id.0);
        Self {
            app_id: fields.opt_str("app_id").map(String::from),
            release: fields.opt_u64("release").unwrap_or_default(),
            key_id,
            key_origin: KeyOrigin::from_name(key_origin).unwrap_or_else(|| {
                fields.unknown("key_origin", "given, auto or seed", key_origin);
                KeyOrigin::Seed
            }),
            layout: Rules {
                meta_gap: layout.u64("meta_gap"),
                table_align: layout.u64("table_align"),
                slot_align: layout.u64("slot_align"),
            },
            launcher_size: launcher.u64("size"),
            launcher_digest: launcher.digest("sha256"),
            slots: slots(fields, SlotClaim::read),
            hints: fields.opt_object("index").map_or(Vec::new(), |index| read_hints(&index)),
            #[cfg(not(feature = "foreign"))]
            lineage: Vec::new(),
            #[cfg(feature = "foreign")]
            lineage: fields.list("lineage", Succession::read),
            entry_points: fields.string_map("entry_points"),
        }
    }

    /// The index that the claims lead to: the writer writes it, the verifier compares with it.
    pub(crate) fn index(
        &self,
        layout: &Layout,
        container: &[u8],
        public_key: [u8; 32],
        signature: [u8; 64],
        policy: Option<Digest>,
    ) -> Index {
        let attestation = self.slots.iter().find(|slot| slot.lifecycle == Lifecycle::Attestation as u8);
        let mut facts = Facts::of(layout, container, public_key, signature);
        (facts.sbom, facts.policy) = (attestation.map(|slot| slot.digest), policy);
        Index::new(&facts, self.hints.iter().map(|(hint, bytes)| (*hint, bytes.as_slice())))
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
    fn read(fields: &Fields<'_, '_>) -> Self {
        fields.only(
            "id size original_size sha256 operations purpose lifecycle priority platform permissions tree files chunks",
        );
        let operations = fields.str("operations");
        let raw = operations.strip_prefix("0x").and_then(|digits| number::parse(digits, 16));
        if raw.is_none() {
            fields.unknown("operations", "a number like '0x1001'", operations);
        }
        let chunks = fields.opt_object("chunks");
        Self {
            id: fields.string("id"),
            size: fields.u64("size"),
            original_size: fields.u64("original_size"),
            digest: fields.digest("sha256"),
            operations: Operations::from_raw(raw.unwrap_or_default()),
            purpose: fields.u8("purpose"),
            lifecycle: fields.u8("lifecycle"),
            priority: fields.u8("priority"),
            platform: fields.u8("platform"),
            permissions: fields.u16("permissions"),
            tree: fields.get("tree").map(|_| fields.digest("tree")),
            files: fields.opt_u64("files").unwrap_or_default(),
            chunks: chunks.map(|chunks| Chunks::read(&chunks)),
        }
    }

    fn to_value(&self) -> Value<'static> {
        let mut members = Vec::from([
            ("id", self.id.clone().into()),
            ("size", self.size.into()),
            ("original_size", self.original_size.into()),
            ("sha256", self.digest.to_string().into()),
            ("operations", number::hexadecimal(self.operations.raw()).into()),
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
    fn read(fields: &Fields<'_, '_>) -> Self {
        fields.only("original stored");
        let original = fields.u64("original");
        if original > limits::CHUNK {
            fields.note("original", Shown::Number(limits::CHUNK), Shown::Number(original));
        }
        // DEFLATE never needs more than five bytes for each 16 KiB that it cannot compress; twice that is generous.
        let most = original.min(limits::CHUNK) * 1025 / 1024 + 64;
        let mut stored = Vec::new();
        for size in fields.array("stored") {
            match size.as_u64() {
                Some(size) if size <= most => stored.push(size as u32),
                _ => fields.differs("stored", "sizes of compressed chunks", "another value"),
            }
        }
        Self { original, stored }
    }
}

impl Succession {
    #[cfg(feature = "foreign")]
    fn read(fields: &Fields<'_, '_>) -> Self {
        fields.only("from_public_key to_public_key app_id signature_by_from");
        let mut succession = Self {
            from_public_key: [0; 32],
            to_public_key: [0; 32],
            app_id: fields.string("app_id"),
            signature_by_from: [0; 64],
        };
        fields.hex("from_public_key", &mut succession.from_public_key);
        fields.hex("to_public_key", &mut succession.to_public_key);
        fields.hex("signature_by_from", &mut succession.signature_by_from);
        succession
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

/// A hint's value as text: a number in hexadecimal, or all bytes of a longer field in file order.
pub fn hint_text(bytes: &[u8]) -> String {
    if bytes.len() > 8 {
        return text::concat(&["0x", &hex(bytes)]);
    }
    number::hexadecimal(bytes.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
}

fn read_hints(fields: &Fields<'_, '_>) -> Vec<(Hint, Vec<u8>)> {
    let mut hints = Vec::new();
    for (name, value) in fields.members() {
        let Some(hint) = HINTS.iter().find(|hint| hint.name == name) else {
            fields.differs(name, "an index field", "another name");
            continue;
        };
        let text = value.as_str().unwrap_or_default();
        match hint_bytes(text, hint.size) {
            Some(bytes) => hints.push((*hint, bytes)),
            None => fields.unknown(name, "a hexadecimal number of the field's size", text),
        }
    }
    hints
}

/// Undoes [`hint_text`], and takes nothing else.
fn hint_bytes(text: &str, size: usize) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x")?;
    let mut bytes = alloc::vec![0; size];
    if size > 8 {
        read_hex(digits, &mut bytes)?;
        return Some(bytes);
    }
    let number = number::parse(digits, 16).filter(|number| number::hexadecimal(*number) == text)?.to_le_bytes();
    bytes.copy_from_slice(&number[..size]);
    number[size..].iter().all(|byte| *byte == 0).then_some(bytes)
}
