//! Packages for tests: built as they should be, and put together from parts that no builder would put together.
#![allow(dead_code, unreachable_pub, reason = "every test file compiles it and uses its own part")]

use flate2::{Compress, Compression, Crc, FlushCompress};
use pspf_core::archive;
use pspf_core::build::{Builder, Encoded, Slot};
use pspf_core::claims::Chunks;
use pspf_core::codec::{Stage, Stored};
use pspf_core::container;
use pspf_core::format::index::{Facts, HINTS};
use pspf_core::format::{Index, Operations, slot, trailer};
use pspf_core::json::Value;
use pspf_core::layout::{Layout, Rules};
use pspf_core::metadata::Lifecycle;
use pspf_core::placement::Placement;
use pspf_core::sign::{KeyOrigin, SecretKey};
use pspf_core::tree::TreeHasher;
use pspf_core::{Digest, Package, Part, Result, Source};

/// What stands where a launcher would.
pub const LAUNCHER: &[u8] = b"\x7fELF: a launcher of a few bytes";

/// A slot and its stored bytes.
pub type Stocked = (Slot, Vec<u8>);

/// The key of every package here.
pub fn key() -> SecretKey {
    SecretKey::from_seed_text("abc")
}

/// The document of every package here, without what the builder adds.
pub fn document() -> Value<'static> {
    Value::object([
        ("package", Value::object([("name", "sample".into()), ("version", "1.0.0".into())])),
        ("execution", Value::object([("command", "{workenv}/bin/sample".into())])),
    ])
}

/// A package of these slots.
pub fn package(slots: &[Stocked]) -> Vec<u8> {
    package_with(slots, Rules::default())
}

/// A package of these slots, laid out by these rules.
pub fn package_with(slots: &[Stocked], rules: Rules) -> Vec<u8> {
    try_package(slots, rules).unwrap()
}

/// As [`package_with`], for slots that a reader and hence the builder may refuse.
pub fn try_package(slots: &[Stocked], rules: Rules) -> Result<Vec<u8>> {
    let mut builder = Builder::new(document(), &LAUNCHER)?.layout(rules);
    for (slot, _) in slots {
        builder = builder.slot(slot.clone());
    }
    let head = builder.sign(&key(), KeyOrigin::Seed)?;
    let sources: Vec<&dyn Source> = slots.iter().map(|(_, stored)| stored as &dyn Source).collect();
    let mut file = Vec::new();
    head.write(&LAUNCHER, &sources, &mut file)?;
    Ok(file)
}

/// A small package with a slot of each kind: raw, a chunked archive, nothing.
pub fn sample() -> Vec<u8> {
    let archive = tar(&[("bin/sample", b"#!/bin/sh\n"), ("share/text", &[b'x'; 700])]);
    package(&[raw("conf", b"a = 1\n"), tar_gzip("app", &archive, 1000), raw("empty", b"")])
}

/// One raw slot.
pub fn raw(id: &str, content: &[u8]) -> Stocked {
    (Slot::raw(id, id, &content).unwrap(), content.to_vec())
}

/// One file in chunks of gzip.
pub fn gzip(id: &str, content: &[u8], chunk: usize) -> Stocked {
    let (stored, chunks) = gzip_chunks(content, chunk);
    let whole = Encoded::raw(id, Digest::of(content), content.len() as u64, &shared(id), 0o644);
    let encoded = Encoded {
        size: stored.len() as u64,
        original_size: content.len() as u64,
        digest: Digest::of(&stored),
        chunks: Some(chunks),
        ..whole
    };
    (slot(id, Operations::GZIP, encoded), stored)
}

/// One file in a gzip member without a chunk table, as other builders make it; what it holds is not looked at.
pub fn stored_gzip(id: &str, member: &[u8]) -> Stocked {
    let encoded = Encoded::raw(id, Digest::of(member), member.len() as u64, &shared(id), 0o644);
    (slot(id, Operations::GZIP, encoded), member.to_vec())
}

/// An archive as it is.
pub fn tar_raw(id: &str, archive: &[u8]) -> Stocked {
    let (tree, files) = tree_of(id, archive);
    let encoded = Encoded {
        size: archive.len() as u64,
        original_size: archive.len() as u64,
        digest: Digest::of(archive),
        tree: Some(tree),
        files,
        chunks: None,
    };
    (slot(id, Operations::TAR, encoded), archive.to_vec())
}

/// An archive in chunks of gzip.
pub fn tar_gzip(id: &str, archive: &[u8], chunk: usize) -> Stocked {
    let (stored, chunks) = gzip_chunks(archive, chunk);
    let (tree, files) = tree_of(id, archive);
    let encoded = Encoded {
        size: stored.len() as u64,
        original_size: archive.len() as u64,
        digest: Digest::of(&stored),
        tree: Some(tree),
        files,
        chunks: Some(chunks),
    };
    (slot(id, Operations::TAR_GZIP, encoded), stored)
}

/// One gzip member whose chunks are compressed alone: each ends in a full flush, the last one ends the member
/// (docs/format.md section 5, "Chunks").
pub fn gzip_chunks(content: &[u8], chunk: usize) -> (Vec<u8>, Chunks) {
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let mut stored = Vec::new();
    let count = content.len().div_ceil(chunk).max(1);
    for i in 0..count {
        let part = &content[(i * chunk).min(content.len())..content.len().min((i + 1) * chunk)];
        let mut deflated = Vec::with_capacity(2 * part.len() + 1024);
        let flush = if i + 1 == count { FlushCompress::Finish } else { FlushCompress::Full };
        Compress::new(Compression::default(), false).compress_vec(part, &mut deflated, flush).unwrap();
        stored.push(deflated.len() as u32);
        member.extend(deflated);
    }
    let mut crc = Crc::new();
    crc.update(content);
    member.extend(crc.sum().to_le_bytes());
    member.extend((content.len() as u32).to_le_bytes());
    (member, Chunks { original: chunk as u64, stored })
}

/// An archive of regular files.
pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for &(path, content) in files {
        let mut header = header(tar::EntryType::Regular, content.len() as u64);
        builder.append_data(&mut header, path, content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// The header of an entry without a name.
pub fn header(kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

/// Bytes that compress a little, the same every time.
pub fn bytes(size: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if state >> 30 == 0 { b'-' } else { (state >> 24) as u8 & 0x3f }
    };
    (0..size).map(|_| next()).collect()
}

/// Everything that a careful reader does with a package: every check, and every slot read to its end.
pub fn read_everything(file: &[u8]) -> Result<()> {
    read_source(file).map(drop)
}

/// As [`read_everything`], from any source; gives the slots' contents.
pub fn read_source<S: Source>(source: S) -> Result<Vec<Vec<u8>>> {
    let package = Package::open(source)?;
    let verified = package.verify()?;
    verified.check_launcher()?;
    let mut contents = Vec::new();
    for index in 0..package.table().len() as u32 {
        verified.check_slot(index, &mut |_| {})?;
        let mut slot = verified.slot(index)?;
        contents.push(drain(&mut slot)?);
        slot.finish()?;
    }
    Ok(contents)
}

/// What is left in a stage. Its end is the caller's to check.
pub fn drain(stage: &mut dyn Stage) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let ready = stage.fill()?;
        if ready.is_empty() {
            return Ok(content);
        }
        content.extend_from_slice(ready);
        let size = ready.len();
        stage.consume(size);
    }
}

/// The signed text of a package.
pub fn json_of(file: &[u8]) -> String {
    String::from_utf8(Package::open(file).unwrap().json().unwrap()).unwrap()
}

/// The package with another document, signed by a key that has no objections, its offsets where they then belong.
pub fn with_json(file: &[u8], json: &str) -> Vec<u8> {
    with_container(file, json, &container::encode(json.as_bytes()))
}

/// The package as a builder without claims would have made it.
pub fn without_claims(file: &[u8]) -> Vec<u8> {
    with_json(file, &json_without_claims(file))
}

/// The signed text of a package, its claims under a key that nobody reads.
pub fn json_without_claims(file: &[u8]) -> String {
    json_of(file).replace("\"x-pspf-claims\":", "\"x-other-claims\":")
}

/// As [`with_json`], with that document in a container of the caller's.
pub fn with_container(file: &[u8], json: &str, container: &[u8]) -> Vec<u8> {
    let package = Package::open(file).unwrap();
    let old = package.index();
    let sizes = package.table().iter().map(|descriptor| descriptor.size);
    let layout = Layout::new(&Rules::default(), old.launcher_size(), container.len() as u64, sizes).unwrap();
    let mut made = file[..old.launcher_size() as usize].to_vec();
    made.extend_from_slice(container);
    made.resize(layout.table_offset as usize, 0);
    for (descriptor, (offset, _)) in package.table().iter().zip(&layout.slots) {
        let mut descriptor = *descriptor;
        descriptor.offset = *offset;
        made.extend_from_slice(&descriptor.to_block());
    }
    for (descriptor, (offset, size)) in package.table().iter().zip(&layout.slots) {
        made.resize(*offset as usize, 0);
        made.extend_from_slice(&file[descriptor.offset as usize..][..*size as usize]);
    }
    let facts = Facts::of(&layout, container, key().public_key(), key().sign(json.as_bytes()));
    let index = Index::new(&facts, HINTS.iter().map(|hint| (*hint, old.hint(hint))));
    made.extend_from_slice(&trailer::START_MAGIC);
    made.extend_from_slice(index.block());
    made.extend_from_slice(&trailer::END_MAGIC);
    made
}

/// Where the index begins.
pub fn index_at(file: &[u8]) -> usize {
    file.len() - trailer::SIZE + trailer::START_MAGIC.len()
}

/// Where the slot table begins.
pub fn table_at(file: &[u8]) -> usize {
    let at = index_at(file) + 40;
    u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize
}

/// Makes the Adler-32 of the index right again.
pub fn mend_checksum(file: &mut [u8]) {
    let at = index_at(file);
    let block: [u8; 8192] = file[at..at + 8192].try_into().unwrap();
    file[at + 4..at + 8].copy_from_slice(&Index::from_block(block).computed_checksum().to_le_bytes());
}

/// The size of a descriptor in bytes.
pub const DESCRIPTOR: usize = slot::SIZE;

fn slot(id: &str, operations: Operations, encoded: Encoded) -> Slot {
    Slot {
        id: id.into(),
        source: id.into(),
        target: id.into(),
        purpose: "payload".into(),
        lifecycle: Lifecycle::Runtime,
        platform: 0,
        permissions: 0o755,
        operations,
        encoded,
    }
}

fn tree_of(id: &str, archive: &[u8]) -> (Digest, u64) {
    let mut hasher = TreeHasher::collecting();
    let mut stage = Stored::new(&archive, Part::Slot(0), 0, archive.len() as u64);
    archive::hash_tree(&mut stage, &shared(id), &mut hasher).unwrap();
    hasher.finish()
}

fn shared(id: &str) -> Placement {
    Placement::Shared(id.into())
}
