//! A package with something in every field, and everything that can be done to one or two of them: changed as they are,
//! changed with all that can be computed without the key made right again, and signed by somebody else.
#![allow(dead_code, unreachable_pub, reason = "every test that compiles it uses its own part")]

pub mod described;

use std::collections::BTreeMap;
use std::ops::Range;

use pspf_core::build::Builder;
use pspf_core::claims::Succession;
use pspf_core::json::Value as Document;
use pspf_core::metadata::Lifecycle;
use pspf_core::sign::{KeyOrigin, SecretKey};
use pspf_core::{Digest, Source};
use serde_json::Value;

use super::common::{DESCRIPTOR, LAUNCHER, Stocked, bytes, gzip, index_at, json_of, mend_checksum, raw, table_at};
use super::common::{key, tar, tar_gzip};
use described::{CLAIMS, Parts, Signed};

/// Every field of the index: name, offset and size in bytes (docs/format.md section 2).
pub const INDEX_FIELDS: &[(&str, usize, usize)] = &[
    ("format_version", 0, 4),
    ("index_checksum", 4, 4),
    ("package_size", 8, 8),
    ("launcher_size", 16, 8),
    ("metadata_offset", 24, 8),
    ("metadata_size", 32, 8),
    ("slot_table_offset", 40, 8),
    ("slot_table_size", 48, 8),
    ("slot_count", 56, 4),
    ("flags", 60, 4),
    ("public_key", 64, 32),
    ("metadata_checksum", 96, 32),
    ("signature", 128, 64),
    ("behind the signature", 192, 448),
    ("access_mode", 640, 1),
    ("cache_strategy", 641, 1),
    ("reserved at 642", 642, 2),
    ("page_size", 644, 4),
    ("max_memory", 648, 8),
    ("min_memory", 656, 8),
    ("cpu_features", 664, 8),
    ("gpu_requirements", 672, 8),
    ("numa_hints", 680, 8),
    ("stream_chunk_size", 688, 4),
    ("padding at 692", 692, 12),
    ("build_timestamp", 704, 8),
    ("build_machine", 712, 32),
    ("source_hash", 744, 32),
    ("dependency_hash", 776, 32),
    ("license_id", 808, 16),
    ("provenance_uri", 824, 8),
    ("capabilities", 832, 8),
    ("requirements", 840, 8),
    ("extensions", 848, 8),
    ("compatibility", 856, 4),
    ("protocol_version", 860, 4),
    ("future_crypto", 864, 512),
    ("attestation_key_fp", 1376, 64),
    ("attestation_sbom_digest", 1440, 64),
    ("attestation_policy_hash", 1504, 64),
    ("reserved at 1568", 1568, 6624),
];

/// Every field of a descriptor (docs/format.md section 3.1).
pub const DESCRIPTOR_FIELDS: &[(&str, usize, usize)] = &[
    ("id", 0, 8),
    ("name_hash", 8, 8),
    ("offset", 16, 8),
    ("size", 24, 8),
    ("original_size", 32, 8),
    ("operations", 40, 8),
    ("checksum", 48, 8),
    ("purpose", 56, 1),
    ("lifecycle", 57, 1),
    ("priority", 58, 1),
    ("platform", 59, 1),
    ("reserved at 60", 60, 1),
    ("reserved at 61", 61, 1),
    ("permissions", 62, 2),
];

/// The slots of the package whose descriptors are changed: raw, an archive in chunks, one file in chunks.
pub const SLOTS: Range<usize> = 0..3;

/// What is made right again behind a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mended {
    /// Nothing.
    Nothing,
    /// What everybody can compute: the Adler-32, the digest of the metadata, the descriptors' checksums, and, when the
    /// document changed, every size, offset and digest that follows from it.
    Sums,
    /// That, and the signature, by a key of the attacker's.
    Signature,
}

impl Mended {
    pub const ALL: [Self; 3] = [Self::Nothing, Self::Sums, Self::Signature];
}

/// One place that can hold something else.
#[derive(Debug, Clone)]
pub struct Field {
    pub name: String,
    pub values: Vec<Change>,
}

impl Field {
    /// True for numbers of the index and of descriptors that say where things are and how large.
    pub fn is_extent(&self) -> bool {
        let number = self.name.rsplit(' ').next();
        let is_binary = self.name.starts_with("index ") || self.name.starts_with("descriptor ");
        is_binary && number.is_some_and(|name| EXTENTS.contains(&name))
    }
}

const EXTENTS: &[&str] = &[
    "package_size",
    "launcher_size",
    "metadata_offset",
    "metadata_size",
    "slot_table_offset",
    "slot_table_size",
    "slot_count",
    "offset",
    "size",
    "original_size",
];

/// Something else in one place.
#[derive(Debug, Clone)]
pub enum Change {
    /// These bytes of the index.
    Index(usize, Vec<u8>),
    /// These bytes of the table.
    Table(usize, Vec<u8>),
    /// This text in the document in place of the value at this JSON pointer; `None` takes the member or element away.
    Document(String, Option<String>),
}

/// The package that is changed.
pub struct Subject {
    /// As it was built.
    pub file: Vec<u8>,
    /// As somebody else would sign it.
    pub others: Vec<u8>,
    launcher: Vec<u8>,
    slots: Vec<Vec<u8>>,
    document: Value,
    others_document: Value,
}

impl Subject {
    /// Builds it.
    pub fn new() -> Self {
        let slots = stock();
        let file = build(&slots, &key());
        let others = build(&slots, &other_key());
        let document = |file| serde_json::from_str(&json_of(file)).expect("JSON");
        Self {
            document: document(&file),
            others_document: document(&others),
            file,
            others,
            launcher: LAUNCHER.to_vec(),
            slots: slots.into_iter().map(|(_, stored)| stored).collect(),
        }
    }

    /// Every field of index and table, and every value of the document, with what is put there.
    pub fn fields(&self) -> Vec<Field> {
        let index = index_at(&self.file);
        let table = table_at(&self.file);
        let len = self.file.len() as u64;
        let mut fields = Vec::new();
        for (name, at, size) in INDEX_FIELDS {
            let values = other_bytes(&self.file[index + at..][..*size], len, &other_key().public_key());
            let values = values.into_iter().map(|value| Change::Index(*at, value)).collect();
            fields.push(Field { name: format!("index {name}"), values });
        }
        for slot in SLOTS {
            for (name, at, size) in DESCRIPTOR_FIELDS {
                let at = slot * DESCRIPTOR + at;
                let values = other_bytes(&self.file[table + at..][..*size], len, &[]);
                let values = values.into_iter().map(|value| Change::Table(at, value)).collect();
                fields.push(Field { name: format!("descriptor {slot} {name}"), values });
            }
        }
        let mut nodes = Vec::new();
        add_nodes(&self.document, String::new(), &mut nodes);
        for (pointer, value) in nodes {
            let texts = other_texts(value, len);
            let values = texts.into_iter().map(|text| Change::Document(pointer.clone(), text)).collect();
            fields.push(Field { name: format!("document {pointer}"), values });
        }
        fields
    }

    /// The package with these changes, and what is asked for made right behind them. Of two values of the document, one
    /// inside of the other, the outer one counts.
    pub fn changed(&self, changes: &[&Change], mended: Mended) -> Vec<u8> {
        let mut texts: BTreeMap<&str, Option<&str>> = BTreeMap::new();
        for change in changes {
            if let Change::Document(pointer, text) = change {
                texts.insert(pointer, text.as_deref());
            }
        }
        let mut file = match mended {
            _ if texts.is_empty() => if mended == Mended::Signature { &self.others } else { &self.file }.clone(),
            Mended::Nothing => self.with_text(&text_with(&self.document, &texts)),
            Mended::Sums => self.with_document(&self.document, &texts, &self.file),
            Mended::Signature => self.with_document(&self.others_document, &texts, &self.others),
        };
        let (index, table) = (index_at(&file), table_at(&file));
        for change in changes {
            let (at, bytes) = match change {
                Change::Index(at, bytes) => (index + at, bytes),
                Change::Table(at, bytes) => (table + at, bytes),
                Change::Document(..) => continue,
            };
            file[at..at + bytes.len()].copy_from_slice(bytes);
        }
        if mended > Mended::Nothing {
            mend(&mut file, (index, table), changes);
        }
        file
    }

    /// The document replaced where it stands, and nothing else.
    fn with_text(&self, text: &str) -> Vec<u8> {
        let index = described::Index::of(&self.file);
        let (start, end) = (index.metadata_offset(), index.metadata_offset() + index.metadata_size());
        let container = described::container(text.as_bytes());
        [&self.file[..start as usize], &container, &self.file[end as usize..]].concat()
    }

    /// The file that the changed document describes. What it says of a slot's or the launcher's size is made true where
    /// that is possible, and the digests with it. The signature is the attacker's where `signed` is, else the old one.
    fn with_document(&self, document: &Value, changes: &BTreeMap<&str, Option<&str>>, signed: &[u8]) -> Vec<u8> {
        let mut parts = Parts { launcher: self.launcher.clone(), slots: self.slots.clone() };
        let mut texts: BTreeMap<String, Option<String>> =
            changes.iter().map(|(at, text)| ((*at).to_owned(), text.map(str::to_owned))).collect();
        let claims = format!("/extensions/{CLAIMS}");
        let stored = parts.slots.iter_mut().enumerate().map(|(i, slot)| {
            let digests = [(format!("{claims}/slots/{i}/sha256"), ""), (format!("/slots/{i}/checksum"), "sha256:")];
            (format!("{claims}/slots/{i}/size"), slot, digests)
        });
        let digests = [(format!("{claims}/launcher/sha256"), ""), ("/launcher/checksum".to_owned(), "sha256:")];
        let launcher = (format!("{claims}/launcher/size"), &mut parts.launcher, digests);
        for (size, part, digests) in stored.chain([launcher]) {
            let size = changes.get(size.as_str()).copied().flatten().and_then(|size| size.parse().ok());
            let Some(size) = size.filter(|size| *size <= LARGEST) else { continue };
            part.resize(size, b'x');
            for (digest, prefix) in digests {
                texts.entry(digest).or_insert_with(|| Some(format!("\"{prefix}{}\"", Digest::of(part))));
            }
        }
        let texts = texts.iter().map(|(at, text)| (at.as_str(), text.as_deref())).collect();
        let text = text_with(document, &texts);
        let old = described::Index::of(signed);
        let is_others = signed == self.others;
        let signature = if is_others { other_key().sign(text.as_bytes()) } else { old.signature() };
        let signed = Signed { text: text.as_bytes(), public_key: old.public_key(), signature };
        described::file(&signed, &parts)
            .or_else(|| {
                let base = if is_others { &self.others_document } else { &self.document };
                described::file_by_rules_of(&base.to_string(), &signed, &parts)
            })
            .expect("the document that was not changed describes a file")
    }
}

/// The key of whoever signs the package anew.
pub fn other_key() -> SecretKey {
    SecretKey::from_seed_text("somebody else")
}

fn stock() -> Vec<Stocked> {
    let archive = tar(&[("bin/sample", b"#!/bin/sh\n"), ("share/text", &[b'x'; 700])]);
    let (mut attestation, stored) = raw("sbom", b"{\"provenance\":{},\"sbom\":{}}");
    attestation.lifecycle = Lifecycle::Attestation;
    vec![
        raw("conf", b"a = 1\n"),
        tar_gzip("app", &archive, 1000),
        gzip("data", &bytes(300), 200),
        (attestation, stored),
        raw("empty", b""),
    ]
}

fn build(slots: &[Stocked], key: &SecretKey) -> Vec<u8> {
    let (older, app_id) = (SecretKey::from_seed_text("older"), "dev.example/sample");
    let message = [&b"PSPF/2025 lineage v1\0"[..], &older.public_key(), &key.public_key(), app_id.as_bytes()].concat();
    let link = Succession {
        from_public_key: older.public_key(),
        to_public_key: key.public_key(),
        app_id: app_id.into(),
        signature_by_from: older.sign(&message),
    };
    let mut builder = Builder::new(document(), &LAUNCHER)
        .expect("a document")
        .app_id(Some(app_id.into()), 7)
        .build_timestamp(1_735_714_496)
        .lineage(vec![link])
        .entry_points(vec![("sample".into(), "{workenv}/bin/sample".into())]);
    for (slot, _) in slots {
        builder = builder.slot(slot.clone());
    }
    let head = builder.sign(key, KeyOrigin::Given).expect("a package");
    let sources: Vec<&dyn Source> = slots.iter().map(|(_, stored)| stored as &dyn Source).collect();
    let mut file = Vec::new();
    head.write(&LAUNCHER, &sources, &mut file).expect("memory takes everything");
    file
}

/// A document with everything that docs/format.md section 4.3 lists.
fn document() -> Document<'static> {
    let object = |member: &'static str, value: Document<'static>| Document::object([(member, value)]);
    let write = [
        ("type", "write_file".into()),
        ("path", "{workenv}/etc/sample.conf".into()),
        ("content", "root={workenv}".into()),
        ("mode", "0644".into()),
    ];
    let chmod = [("type", "chmod".into()), ("path", "{workenv}/etc".into()), ("mode", "0700".into())];
    let directory = [("path", "{workenv}/var/log".into()), ("mode", "0700".into())];
    let link = [("path", "{workenv}/sample".into()), ("target", "{workenv}/app/bin/sample".into())];
    let env = [
        ("unset", Document::array(["PYTHON*"])),
        ("pass", Document::array(["PYTHONUTF8"])),
        ("map", object("OLD", "NEW".into())),
        ("set", object("A", "b".into())),
    ];
    let workenv = [
        ("directories", Document::Array(vec![Document::object(directory)])),
        ("env", object("TMPDIR", "{workenv}/tmp".into())),
    ];
    Document::object([
        ("package", Document::object([("name", "sample".into()), ("version", "1.0.0".into())])),
        (
            "execution",
            Document::object([("command", "{workenv}/bin/sample".into()), ("env", object("LANG", "C".into()))]),
        ),
        ("setup_commands", Document::Array(vec![Document::object(write), Document::object(chmod)])),
        ("runtime", object("env", Document::object(env))),
        ("workenv", Document::object(workenv)),
        ("policy", Document::object([("refuse_root", true.into()), ("min_release", 3_u64.into())])),
        ("build", object("tool", "packer".into())),
        ("extensions", object("x-pspf-workenv", object("links", Document::Array(vec![Document::object(link)])))),
    ])
}

/// What is put in place of a field's bytes: the edges at which arithmetic turns, as far as they fit, and its neighbours.
fn other_bytes(old: &[u8], len: u64, key: &[u8]) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    if old.len() <= 8 {
        let mut number = [0; 8];
        number[..old.len()].copy_from_slice(old);
        let number = u64::from_le_bytes(number);
        let edges = [0, 1, len - 1, len, len + 1, 1 << 31, 1 << 32, 1 << 63, u64::MAX];
        for other in
            edges.into_iter().chain([number.wrapping_sub(1), number.wrapping_add(1), number ^ 0x10, number << 8])
        {
            values.push(other.to_le_bytes()[..old.len()].to_vec());
        }
    } else {
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut value = old.to_vec();
            change(&mut value);
            value
        };
        let last = old.len() - 1;
        values.extend([
            vec![0; old.len()],
            vec![0xff; old.len()],
            vec![b'0'; old.len()],
            with(&|value| value[0] ^= 1),
            with(&|value| value[last] ^= 1),
            with(&|value| value[last] ^= 0x80),
            with(&|value| value[last / 2] = value[last / 2].wrapping_add(1)),
            with(&|value| value.reverse()),
            with(&|value| value.rotate_left(1)),
            with(&|value| value.make_ascii_uppercase()),
            with(&|value| value[..8].copy_from_slice(&len.to_le_bytes())),
        ]);
        if key.len() == old.len() {
            values.push(key.to_vec());
        }
    }
    values.retain(|value| value != old);
    values.sort();
    values.dedup();
    values
}

/// Every value of a document, objects and arrays as well, by its JSON pointer.
fn add_nodes<'v>(value: &'v Value, pointer: String, nodes: &mut Vec<(String, &'v Value)>) {
    match value {
        Value::Array(elements) => {
            for (i, element) in elements.iter().enumerate() {
                add_nodes(element, format!("{pointer}/{i}"), nodes);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                add_nodes(member, format!("{pointer}/{}", escaped(name)), nodes);
            }
        }
        _ => {}
    }
    // Without its root there is no document.
    if !pointer.is_empty() {
        nodes.push((pointer, value));
    }
}

/// A member's name in a JSON pointer (RFC 6901 section 3).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What is put in place of a value of the document: numbers at the edges, neighbours, other types, nothing, much.
fn other_texts(old: &Value, len: u64) -> Vec<Option<String>> {
    let mut texts: Vec<String> = ["null", "true", "[]", "{}", "0", "\"\"", "-1", "1.5"].map(str::to_owned).to_vec();
    match old {
        Value::Number(number) => {
            let number = number.as_u64().expect("no others were written");
            let edges = [1, len - 1, len, len + 1, 1 << 31, 1 << 32, 1 << 63, u64::MAX];
            let edges = edges.into_iter().chain([number.wrapping_sub(1), number + 1, number * 2]);
            texts.extend(edges.map(|edge| edge.to_string()));
            texts.extend([format!("\"{number}\""), format!("{number}.0"), "18446744073709551616".to_owned()]);
        }
        Value::String(text) => {
            let first = text.chars().next().unwrap_or('x');
            let variants = [
                format!("{text}x"),
                text.to_uppercase(),
                text.strip_prefix(first).unwrap_or_default().to_owned(),
                text.replacen(first, "\u{e9}", 1),
                text.replace('0', "1"),
                format!("{text}\0"),
                format!("../{text}"),
                format!("/{text}"),
                "x".repeat(5000),
            ];
            texts.extend(variants.map(|text| Value::from(text).to_string()));
            texts.extend(["1".to_owned(), u64::MAX.to_string(), format!("[{old}]")]);
        }
        Value::Array(elements) => {
            let joined = |elements: &[Value]| Value::from(elements.to_vec()).to_string();
            texts.push(joined(&[&elements[..], elements].concat()));
            texts.push(joined(&elements[1.min(elements.len())..]));
            let mut turned = elements.clone();
            turned.reverse();
            texts.push(joined(&turned));
            texts.push(format!("[{}]", vec!["0"; 5000].join(",")));
        }
        Value::Object(_) => {
            let old = old.to_string();
            let members = old[1..old.len() - 1].trim_end_matches(',');
            let comma = if members.is_empty() { "" } else { "," };
            texts.push(format!("{{\"unknown\":1{comma}{members}}}"));
            texts.push(format!("[{old}]"));
        }
        Value::Bool(_) | Value::Null => texts.push("false".to_owned()),
    }
    let old = old.to_string();
    texts.retain(|text| *text != old);
    texts.sort();
    texts.dedup();
    texts.into_iter().map(Some).chain([None]).collect()
}

/// The compact text of a document, with other texts at these pointers.
fn text_with(value: &Value, texts: &BTreeMap<&str, Option<&str>>) -> String {
    let mut text = String::new();
    write_with(value, "", texts, &mut text);
    text
}

fn write_with(value: &Value, pointer: &str, texts: &BTreeMap<&str, Option<&str>>, text: &mut String) {
    if let Some(other) = texts.get(pointer) {
        text.push_str(other.unwrap_or_default());
        return;
    }
    let is_there = |pointer: &str| texts.get(pointer) != Some(&None);
    match value {
        Value::Array(elements) => {
            let elements = elements.iter().enumerate().map(|(i, element)| (format!("{pointer}/{i}"), element));
            let elements: Vec<_> = elements.filter(|(pointer, _)| is_there(pointer)).collect();
            text.push('[');
            for (i, (pointer, element)) in elements.iter().enumerate() {
                text.push_str(if i == 0 { "" } else { "," });
                write_with(element, pointer, texts, text);
            }
            text.push(']');
        }
        Value::Object(members) => {
            let members = members.iter().map(|(name, member)| (format!("{pointer}/{}", escaped(name)), name, member));
            let members: Vec<_> = members.filter(|(pointer, ..)| is_there(pointer)).collect();
            text.push('{');
            for (i, (pointer, name, member)) in members.iter().enumerate() {
                text.push_str(if i == 0 { "" } else { "," });
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write_with(member, pointer, texts, text);
            }
            text.push('}');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

/// Makes right what everybody can compute, where it was not the very thing that was changed.
fn mend(file: &mut [u8], (index, table): (usize, usize), changes: &[&Change]) {
    let touches = |range: Range<usize>, of_index: bool| {
        changes.iter().any(|change| match change {
            Change::Index(at, bytes) => of_index && *at < range.end && range.start < at + bytes.len(),
            Change::Table(at, bytes) => !of_index && *at < range.end && range.start < at + bytes.len(),
            Change::Document(..) => false,
        })
    };
    let number = |file: &[u8], at: usize| u64::from_le_bytes(file[at..at + 8].try_into().expect("8 bytes"));
    let part = |file: &[u8], offset: u64, size: u64| {
        let (start, end) = (usize::try_from(offset).ok()?, usize::try_from(offset.checked_add(size)?).ok()?);
        file.get(start..end).map(Digest::of)
    };
    let slots = (number(file, index + 48) as usize / DESCRIPTOR).min(index.saturating_sub(table) / DESCRIPTOR);
    for slot in 0..slots {
        let at = slot * DESCRIPTOR;
        let (offset, size) = (number(file, table + at + 16), number(file, table + at + 24));
        if let Some(digest) = part(file, offset, size).filter(|_| !touches(at + 48..at + 56, false)) {
            file[table + at + 48..][..8].copy_from_slice(&digest.hint().to_le_bytes());
        }
    }
    let (offset, size) = (number(file, index + 24), number(file, index + 32));
    if let Some(digest) = part(file, offset, size).filter(|_| !touches(96..128, true)) {
        file[index + 96..][..32].copy_from_slice(&digest.0);
    }
    if !touches(4..8, true) {
        mend_checksum(file);
    }
}

/// The largest size in bytes that a part is given because the document says so.
const LARGEST: usize = 1 << 16;
