//! The writing half: claims and slots become a signed package.
//!
//! Slots come already encoded, with their digests: the JSON that names them lies before them in the file. Nothing
//! is written before every offset is known, so the result goes to any [`Sink`] front to back.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::claims::{self, Chunks, Claims, SlotClaim, Succession};
use crate::codec::{Stage, Stored};
use crate::container;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Part, Result};
use crate::format::index::{HINTS, Hint};
use crate::format::{Index, Operations, trailer};
use crate::json::{self, Value};
use crate::layout::{Layout, Rules};
use crate::limits;
use crate::metadata::{FORMAT, Lifecycle, Metadata};
use crate::placement::Placement;
use crate::sign::{KeyId, KeyOrigin, SecretKey};
use crate::source::{Sink, Source};
use crate::tree::{self, TreeHasher};
use crate::verify::{check_documents_agree, digest_of};

/// Collects what goes into a package.
#[derive(Debug)]
pub struct Builder {
    document: Vec<(alloc::borrow::Cow<'static, str>, Value<'static>)>,
    launcher_size: u64,
    launcher_digest: Digest,
    app_id: Option<String>,
    release: u64,
    rules: Rules,
    slots: Vec<Slot>,
    build_timestamp: u64,
    lineage: Vec<Succession>,
    entry_points: Vec<(String, String)>,
}

/// One slot, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its id: unique in the package.
    pub id: String,
    /// What it was made from, as a reader should see it.
    pub source: String,
    /// Where its content goes in the workenv.
    pub target: String,
    /// What it is for, in any word; `payload`, `runtime` and `tool` have numbers of their own in the descriptor.
    pub purpose: String,
    /// When it is there.
    pub lifecycle: Lifecycle,
    /// Where it is wanted: 0 anywhere, 1 Linux, 2 macOS, 3 Windows.
    pub platform: u8,
    /// Mode bits; they decide for raw slots.
    pub permissions: u16,
    /// How its bytes were made.
    pub operations: Operations,
    /// The encoded bytes' facts.
    pub encoded: Encoded,
}

/// What was learnt while encoding a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// How many bytes are stored.
    pub size: u64,
    /// How many they are once all operations but `tar` are undone.
    pub original_size: u64,
    /// SHA-256 of the stored bytes.
    pub digest: Digest,
    /// The digest of the tree that extraction writes.
    pub tree: Option<Digest>,
    /// How many files, links and empty directories that tree has.
    pub files: u64,
    /// The chunk table of a gzip slot.
    pub chunks: Option<Chunks>,
}

/// A signed head: everything but the launcher's and the slots' bytes.
#[derive(Debug)]
pub struct Head {
    layout: Layout,
    json: String,
    container: Vec<u8>,
    table: Vec<u8>,
    index: Box<Index>,
}

impl Builder {
    /// Starts with a document that has at least `package.name`, `package.version` and `execution.command`.
    /// `format`, `slots`, `verification`, `launcher` and the claims are added; all else stays as it is.
    pub fn new(document: Value<'static>, launcher: &dyn Source) -> Result<Self> {
        let Value::Object(document) = document else {
            return Err(Error::json("", "an object", document.kind()));
        };
        let launcher_size = launcher.len();
        Ok(Self {
            document,
            launcher_size,
            launcher_digest: digest_of(launcher, Part::Launcher, 0, launcher_size, &mut |_| {})?,
            app_id: None,
            release: 0,
            rules: Rules::default(),
            slots: Vec::new(),
            build_timestamp: 0,
            lineage: Vec::new(),
            entry_points: Vec::new(),
        })
    }

    /// Names the application across versions, and the counter of this release.
    #[must_use]
    pub fn app_id(mut self, app_id: Option<String>, release: u64) -> Self {
        (self.app_id, self.release) = (app_id, release);
        self
    }

    /// Adds the next slot.
    #[must_use]
    pub fn slot(mut self, slot: Slot) -> Self {
        self.slots.push(slot);
        self
    }

    /// Lays the parts out otherwise than packed to multiples of 8.
    #[must_use]
    pub fn layout(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// Seconds since 1970.
    #[must_use]
    pub fn build_timestamp(mut self, seconds: u64) -> Self {
        self.build_timestamp = seconds;
        self
    }

    /// The keys of earlier releases, each vouching for the next.
    #[must_use]
    pub fn lineage(mut self, lineage: Vec<Succession>) -> Self {
        self.lineage = lineage;
        self
    }

    /// The commands that the package offers: name to command line.
    #[must_use]
    pub fn entry_points(mut self, entry_points: Vec<(String, String)>) -> Self {
        self.entry_points = entry_points;
        self
    }

    /// Solves the layout, writes the document with its claims, and signs it.
    ///
    /// Fails when the document lacks what it needs or grows over [`limits::METADATA_WRITTEN`].
    pub fn sign(self, key: &SecretKey, origin: KeyOrigin) -> Result<Head> {
        if self.slots.len() as u64 > u64::from(limits::SLOTS) {
            let found = self.slots.len() as u64;
            return Err(ErrorKind::TooLarge { what: "slots", allowed: limits::SLOTS.into(), found }.into());
        }
        let public_key = key.public_key();
        let claims = self.claims(KeyId::of(&public_key), origin);
        // The tree is gone before what is read back becomes another one.
        let json = self.document(&claims).to_text();
        // What we write, we read: this catches a document that no launcher could start. From its text, because a key that
        // is there twice shows only there.
        let metadata = Metadata::read(&json::parse(json.as_bytes())?)?;
        check_documents_agree(&metadata, &claims)?;
        if json.len() as u64 > limits::METADATA_WRITTEN {
            return Err(ErrorKind::TooLarge {
                what: "metadata in bytes of JSON (fewer slots, or slots that are not compressed, need less)",
                allowed: limits::METADATA_WRITTEN,
                found: json.len() as u64,
            }
            .into());
        }
        let container = container::encode(json.as_bytes());
        let sizes = claims.slots.iter().map(|slot| slot.size);
        let layout = Layout::new(&claims.layout, claims.launcher_size, container.len() as u64, sizes)
            .map_err(Error::parameter)?;
        let table: Vec<u8> = (0..)
            .zip(claims.slots.iter().zip(&layout.slots))
            .flat_map(|(i, (claim, (offset, _)))| claim.descriptor(i, *offset).to_block())
            .collect();
        let signature = key.sign(json.as_bytes());
        let index = Box::new(claims.index(&layout, &container, public_key, signature, metadata.policy));
        Ok(Head { layout, json, container, table, index })
    }

    fn claims(&self, key_id: KeyId, key_origin: KeyOrigin) -> Claims {
        let hints = [
            ("build_timestamp", self.build_timestamp),
            ("capabilities", CAPABILITIES),
            ("compatibility", u64::from(crate::format::FORMAT_VERSION)),
            ("protocol_version", 1),
        ];
        let hint = |(name, value): &(&str, u64)| -> Option<(Hint, Vec<u8>)> {
            let hint = HINTS.iter().find(|hint| hint.name == *name)?;
            (*value != 0).then(|| (*hint, value.to_le_bytes()[..hint.size.min(8)].to_vec()))
        };
        Claims {
            app_id: self.app_id.clone(),
            release: self.release,
            key_id,
            key_origin,
            layout: self.rules,
            launcher_size: self.launcher_size,
            launcher_digest: self.launcher_digest,
            slots: self.slots.iter().map(Slot::claim).collect(),
            hints: hints.iter().filter_map(hint).collect(),
            lineage: self.lineage.clone(),
            entry_points: self.entry_points.clone(),
        }
    }

    fn document(&self, claims: &Claims) -> Value<'static> {
        let checksum = |digest: &Digest| Value::from(alloc::format!("sha256:{digest}"));
        let mut members =
            Vec::from([("format".into(), Value::from(FORMAT)), ("format_version".into(), Value::from("1.0.0"))]);
        let ours = ["format", "format_version", "slots", "verification", "launcher"];
        members.extend(self.document.iter().filter(|(key, _)| !ours.contains(&key.as_ref())).cloned());
        let slots = self.slots.iter().enumerate().map(|(i, slot)| slot.entry(i as u64)).collect();
        members.push(("slots".into(), Value::Array(slots)));
        members.push((
            "verification".into(),
            Value::object([
                ("integrity_seal", Value::object([("required", true.into()), ("algorithm", "ed25519".into())])),
                ("signed", true.into()),
                ("require_verification", true.into()),
            ]),
        ));
        members.push((
            "launcher".into(),
            Value::object([
                ("tool", "pspf-launcher".into()),
                ("tool_version", env!("CARGO_PKG_VERSION").into()),
                ("size", self.launcher_size.into()),
                ("checksum", checksum(&self.launcher_digest)),
                ("capabilities", Value::array(["mmap", "signed"])),
            ]),
        ));
        let at = members.iter().position(|(key, _)| key == "extensions").unwrap_or_else(|| {
            members.push(("extensions".into(), Value::Object(Vec::new())));
            members.len() - 1
        });
        if let Value::Object(extensions) = &mut members[at].1 {
            extensions.retain(|(key, _)| key != claims::KEY);
            extensions.push((claims::KEY.into(), claims.to_value()));
        }
        Value::Object(members)
    }
}

impl Slot {
    /// A raw slot with these bytes, there from the first start on.
    pub fn raw(id: &str, target: &str, content: &dyn Source) -> Result<Self> {
        let permissions = 0o644;
        let digest = digest_of(content, Part::Slot(0), 0, content.len(), &mut |_| {})?;
        let encoded = Encoded::raw(target, digest, content.len(), &Placement::Shared(target.into()), permissions);
        Ok(Self {
            id: id.into(),
            source: target.into(),
            target: target.into(),
            purpose: "payload".into(),
            lifecycle: Lifecycle::Runtime,
            platform: 0,
            permissions,
            operations: Operations::RAW,
            encoded,
        })
    }

    fn claim(&self) -> SlotClaim {
        SlotClaim {
            id: self.id.clone(),
            size: self.encoded.size,
            original_size: self.encoded.original_size,
            digest: self.encoded.digest,
            operations: self.operations,
            purpose: purpose_code(&self.purpose),
            lifecycle: self.lifecycle as u8,
            priority: 128,
            platform: self.platform,
            permissions: self.permissions,
            tree: self.encoded.tree,
            files: self.encoded.files,
            chunks: self.encoded.chunks.clone(),
        }
    }

    fn entry(&self, index: u64) -> Value<'static> {
        Value::object([
            ("slot", index.into()),
            ("id", self.id.clone().into()),
            ("source", self.source.clone().into()),
            ("target", self.target.clone().into()),
            ("size", self.encoded.size.into()),
            ("checksum", alloc::format!("sha256:{}", self.encoded.digest).into()),
            ("operations", self.operations.name().into()),
            ("purpose", self.purpose.clone().into()),
            ("lifecycle", self.lifecycle.name().into()),
            ("permissions", alloc::format!("{:04o}", self.permissions).into()),
        ])
    }
}

impl Encoded {
    /// The facts of a raw slot: its tree is one file, named like its target's last component.
    pub fn raw(target: &str, digest: Digest, size: u64, placement: &Placement, permissions: u16) -> Self {
        let name = crate::placement::relative(target).rsplit('/').next().unwrap_or_default().to_string();
        // A descriptor without mode bits stands for 0600 (docs/format.md section 3).
        let permissions = if permissions == 0 { 0o600 } else { permissions };
        let mut tree = TreeHasher::streaming();
        // One entry is never out of order.
        let _ = tree.add(tree::Kind::File, placement.mode(permissions), &name, digest);
        let (tree, files) = tree.finish();
        Self { size, original_size: size, digest, tree: Some(tree), files, chunks: None }
    }
}

/// The number of a purpose in the descriptor: a hint (docs/format.md section 3.1).
fn purpose_code(word: &str) -> u8 {
    match word {
        "runtime" => 1,
        "tool" => 2,
        _ => 0,
    }
}

impl Head {
    /// Where everything lies.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The signed document.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Writes the package. `launcher` and `slots` are the bytes whose digests were given before.
    pub fn write(&self, launcher: &dyn Source, slots: &[&dyn Source], sink: &mut dyn Sink) -> Result<()> {
        if slots.len() != self.layout.slots.len() {
            return Err(Error::parameter("as many slots have to be written as were signed"));
        }
        let mut writer = Writer { sink, at: 0 };
        writer.copy(launcher, self.layout.launcher_size)?;
        writer.zeros_to(self.layout.metadata_offset)?;
        writer.bytes(&self.container)?;
        writer.zeros_to(self.layout.table_offset)?;
        writer.bytes(&self.table)?;
        for (source, (offset, size)) in slots.iter().zip(&self.layout.slots) {
            writer.zeros_to(*offset)?;
            writer.copy(*source, *size)?;
        }
        writer.zeros_to(self.layout.trailer_offset)?;
        writer.bytes(&trailer::START_MAGIC)?;
        writer.bytes(self.index.block())?;
        writer.bytes(&trailer::END_MAGIC)
    }
}

struct Writer<'a> {
    sink: &'a mut dyn Sink,
    at: u64,
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.sink.write_all(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn zeros_to(&mut self, offset: u64) -> Result<()> {
        const ZEROS: [u8; 512] = [0; 512];
        while self.at < offset {
            let size = (offset - self.at).min(ZEROS.len() as u64) as usize;
            self.bytes(&ZEROS[..size])?;
        }
        Ok(())
    }

    fn copy(&mut self, source: &dyn Source, size: u64) -> Result<()> {
        if source.len() != size {
            return Err(Error::parameter("a launcher or slot changed its size after it was signed"));
        }
        let mut stored = Stored::new(source, Part::File, 0, size);
        loop {
            let block = stored.fill()?;
            if block.is_empty() {
                return Ok(());
            }
            let taken = block.len();
            self.sink.write_all(block)?;
            self.at += taken as u64;
            stored.consume(taken);
        }
    }
}

/// Index hint `capabilities`: memory-mappable, signed.
const CAPABILITIES: u64 = 0x81;
