//! The one file that a signed document describes, by docs/format.md section 5 alone: nothing here asks the code that
//! the sweeps try, but for SHA-256, the numbers of slots and the index's Adler-32.

use std::io::Read as _;

use pspf_core::Digest;
use serde_json::{Map, Value};

/// The key under `extensions`.
pub const CLAIMS: &str = "x-pspf-claims";

/// What no document can say, because it is not in the head.
pub struct Parts {
    pub launcher: Vec<u8>,
    pub slots: Vec<Vec<u8>>,
}

/// A document and who signed it.
pub struct Signed<'a> {
    pub text: &'a [u8],
    pub public_key: [u8; 32],
    pub signature: [u8; 64],
}

/// The index of a file, read by its offsets.
pub struct Index<'a>(&'a [u8]);

impl<'a> Index<'a> {
    /// The last 8196 bytes but four.
    pub fn of(file: &'a [u8]) -> Self {
        Self(&file[file.len() - 8196..][..8192])
    }

    pub fn metadata_offset(&self) -> u64 {
        self.number(24)
    }

    pub fn metadata_size(&self) -> u64 {
        self.number(32)
    }

    pub fn launcher_size(&self) -> u64 {
        self.number(16)
    }

    pub fn public_key(&self) -> [u8; 32] {
        self.0[64..96].try_into().expect("32 bytes")
    }

    pub fn signature(&self) -> [u8; 64] {
        self.0[128..192].try_into().expect("64 bytes")
    }

    fn number(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().expect("8 bytes"))
    }
}

/// The file that the document describes; `None` when it describes none, or one of more than 1 MiB.
pub fn file(signed: &Signed<'_>, parts: &Parts) -> Option<Vec<u8>> {
    assemble(&Claims::of(signed.text)?, signed, parts)
}

/// The same by the claims of another document, for documents that describe no file.
pub fn file_by_rules_of(text: &str, signed: &Signed<'_>, parts: &Parts) -> Option<Vec<u8>> {
    assemble(&Claims::of(text.as_bytes())?, signed, parts)
}

/// The document in `file`, when the container around it is the canonical one.
pub fn text_of(file: &[u8]) -> Option<Vec<u8>> {
    let index = Index::of(file);
    let stored = file.get(index.metadata_offset() as usize..)?.get(..index.metadata_size() as usize)?;
    any_text_of(file).filter(|text| container(text) == stored)
}

/// The document in `file`, in whatever gzip.
pub fn any_text_of(file: &[u8]) -> Option<Vec<u8>> {
    let index = Index::of(file);
    let stored = file.get(index.metadata_offset() as usize..)?.get(..index.metadata_size() as usize)?;
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(stored).read_to_end(&mut text).ok()?;
    Some(text)
}

/// The file that the document in `file` describes, of the launcher and the slots that `file` has: they count only when
/// their digests are the signed ones.
pub fn by(file: &[u8]) -> Option<Vec<u8>> {
    let index = Index::of(file);
    let text = text_of(file)?;
    let claims = Claims::of(&text)?;
    let launcher = file.get(..usize::try_from(claims.launcher_size).ok()?)?.to_vec();
    if Digest::of(&launcher).to_string() != claims.launcher_digest {
        return None;
    }
    let layout = Layout::of(&claims, container(&text).len() as u64)?;
    let mut slots = Vec::new();
    for (slot, offset) in claims.slots.iter().zip(&layout.slots) {
        let stored = file.get(*offset as usize..)?.get(..slot.size as usize)?;
        if Digest::of(stored).to_string() != slot.digest {
            return None;
        }
        slots.push(stored.to_vec());
    }
    let signed = Signed { text: &text, public_key: index.public_key(), signature: index.signature() };
    if claims.key_id != Digest::of(&signed.public_key).to_string()[..32] {
        return None;
    }
    assemble(&claims, &signed, &Parts { launcher, slots })
}

/// What the slots of `file` hold, its gzip undone by another inflater; `None` when that is not what was signed.
pub fn contents(file: &[u8]) -> Option<Vec<Vec<u8>>> {
    let text = text_of(file)?;
    let claims = Claims::of(&text)?;
    let layout = Layout::of(&claims, container(&text).len() as u64)?;
    let mut contents = Vec::new();
    for (slot, offset) in claims.slots.iter().zip(&layout.slots) {
        let stored = file.get(*offset as usize..)?.get(..slot.size as usize)?;
        let content = match slot.operations {
            0 | 1 => stored.to_vec(),
            0x10 | 0x1001 => {
                let mut content = Vec::new();
                flate2::read::GzDecoder::new(stored).read_to_end(&mut content).ok()?;
                content
            }
            _ => return None,
        };
        if content.len() as u64 != slot.original_size {
            return None;
        }
        contents.push(content);
    }
    Some(contents)
}

/// What `file` is without claims: every digest that its document has fits, and the signature is not looked at.
pub fn keeps_its_digests(file: &[u8]) -> bool {
    let index = Index::of(file);
    let text = any_text_of(file).expect("gzip");
    let document: Value = serde_json::from_slice(&text).expect("JSON");
    let claims = &document["extensions"][CLAIMS];
    let fits = |signed: &Value, bytes: &[u8]| {
        signed.as_str().is_none_or(|signed| signed == format!("sha256:{}", Digest::of(bytes)) || !is_digest(signed))
    };
    let table = index.number(40) as usize;
    let slots = document["slots"].as_array().map_or(&[][..], Vec::as_slice);
    let slots_fit = slots.iter().enumerate().all(|(i, slot)| {
        let number = |at| u64::from_le_bytes(file[table + 64 * i + at..][..8].try_into().expect("8 bytes")) as usize;
        fits(&slot["checksum"], &file[number(16)..][..number(24)])
    });
    let launcher = &document["launcher"];
    // A launcher without a size that can be read is one without a digest.
    let launcher_fits =
        !launcher["size"].is_u64() || fits(&launcher["checksum"], &file[..index.launcher_size() as usize]);
    let has_claims = claims.is_object() && claims["v"].as_u64() == Some(1);
    !has_claims && slots.len() as u64 == index.number(48) / 64 && slots_fit && launcher_fits
}

fn is_digest(text: &str) -> bool {
    let digits = text.trim_start_matches("sha256:");
    digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit() && !digit.is_ascii_uppercase())
}

/// The canonical container (section 5.4).
pub fn container(text: &[u8]) -> Vec<u8> {
    let mut container = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let blocks: Vec<&[u8]> = if text.is_empty() { vec![text] } else { text.chunks(65_535).collect() };
    for (i, block) in blocks.iter().enumerate() {
        let size = block.len() as u16;
        container.push((i + 1 == blocks.len()).into());
        container.extend(size.to_le_bytes());
        container.extend((!size).to_le_bytes());
        container.extend(*block);
    }
    let mut crc = flate2::Crc::new();
    crc.update(text);
    container.extend(crc.sum().to_le_bytes());
    container.extend((text.len() as u32).to_le_bytes());
    container
}

/// The claims as section 5 lists them; a document with any other key or type in them has none.
struct Claims {
    key_id: String,
    meta_gap: u64,
    table_align: u64,
    slot_align: u64,
    launcher_size: u64,
    launcher_digest: String,
    slots: Vec<Slot>,
    /// Offset in the index, and bytes.
    hints: Vec<(usize, Vec<u8>)>,
    policy: Option<String>,
}

struct Slot {
    id: String,
    size: u64,
    original_size: u64,
    digest: String,
    operations: u64,
    /// Purpose, lifecycle, priority, platform.
    plpp: [u8; 4],
    permissions: u16,
}

impl Claims {
    fn of(text: &[u8]) -> Option<Self> {
        let document: Value = serde_json::from_slice(text).ok()?;
        let claims = document["extensions"][CLAIMS].as_object()?;
        let keys = "v app_id release key_id key_origin layout launcher slots index lineage entry_points";
        let v = only(claims, keys)?.get("v")?.as_u64()?;
        let app_id = absent_or(claims.get("app_id"), Value::is_string);
        let release = absent_or(claims.get("release"), Value::is_u64);
        let origin = ["given", "auto", "seed"].contains(&claims.get("key_origin")?.as_str()?);
        let layout = only(claims.get("layout")?.as_object()?, "meta_gap table_align slot_align")?;
        let launcher = only(claims.get("launcher")?.as_object()?, "size sha256")?;
        let list = |name: &str| match claims.get(name) {
            None | Some(Value::Null) => Some(&[][..]),
            Some(list) => list.as_array().map(Vec::as_slice),
        };
        let slots: Vec<Slot> = list("slots")?.iter().map(Slot::of).collect::<Option<_>>()?;
        let empty = Map::new();
        let hints = match claims.get("index") {
            None | Some(Value::Null) => &empty,
            Some(hints) => hints.as_object()?,
        };
        let hints = hints.iter().map(|(name, value)| hint(name, value.as_str()?)).collect::<Option<_>>()?;
        let links = list("lineage")?.iter().all(|link| {
            let hex = |name, size| link[name].as_str().is_some_and(|text| text.len() == size && is_hex(text));
            link.as_object()
                .is_some_and(|link| only(link, "from_public_key to_public_key app_id signature_by_from").is_some())
                && link["app_id"].is_string()
                && hex("from_public_key", 64)
                && hex("to_public_key", 64)
                && hex("signature_by_from", 128)
        });
        let entry_points = absent_or(claims.get("entry_points"), |points| {
            points.as_object().is_some_and(|points| points.values().all(Value::is_string))
        });
        let policy = Some(&document["policy"]).filter(|policy| !policy.is_null()).map(Value::to_string);
        let disputed = |text: &String| text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']);
        (v == 1 && app_id && release && origin && links && entry_points && agrees(&document, &slots)).then_some(())?;
        Some(Self {
            key_id: claims.get("key_id")?.as_str()?.to_owned(),
            meta_gap: layout.get("meta_gap")?.as_u64()?,
            table_align: layout.get("table_align")?.as_u64()?,
            slot_align: layout.get("slot_align")?.as_u64()?,
            launcher_size: launcher.get("size")?.as_u64()?,
            launcher_digest: launcher.get("sha256")?.as_str()?.to_owned(),
            slots,
            hints,
            policy: policy.filter(|text| !disputed(text)).map(|text| Digest::of(text.as_bytes()).to_string()),
        })
    }
}

impl Slot {
    fn of(claim: &Value) -> Option<Self> {
        let claim = claim.as_object()?;
        let keys = "id size original_size sha256 operations purpose lifecycle priority platform permissions tree \
                    files chunks";
        only(claim, keys)?;
        let number = |name: &str| claim.get(name)?.as_u64();
        let byte = |name: &str| u8::try_from(number(name)?).ok();
        let operations = claim.get("operations")?.as_str()?.strip_prefix("0x").filter(|digits| is_hex(digits))?;
        let chunks = absent_or(claim.get("chunks"), |chunks| {
            chunks.as_object().is_some_and(|chunks| only(chunks, "original stored").is_some())
        });
        let tree = absent_or(claim.get("tree"), |tree| tree.as_str().is_some_and(is_digest));
        let files = absent_or(claim.get("files"), Value::is_u64);
        (chunks && tree && files).then_some(())?;
        Some(Self {
            id: claim.get("id")?.as_str()?.to_owned(),
            size: number("size")?,
            original_size: number("original_size")?,
            digest: claim.get("sha256")?.as_str()?.to_owned(),
            operations: u64::from_str_radix(operations, 16).ok()?,
            plpp: [byte("purpose")?, byte("lifecycle")?, byte("priority")?, byte("platform")?],
            permissions: u16::try_from(number("permissions")?).ok()?,
        })
    }
}

/// True when the document's own `slots` say the same as the claims.
fn agrees(document: &Value, claims: &[Slot]) -> bool {
    const LIFECYCLES: [&[&str]; 12] = [
        &["init"],
        &["startup"],
        &["runtime", "cached"],
        &["shutdown"],
        &["cache"],
        &["temporary", "temp", "volatile"],
        &["lazy"],
        &["eager"],
        &["dev"],
        &["config", "persistent"],
        &["platform"],
        &["attestation"],
    ];
    let slots = document["slots"].as_array().map_or(&[][..], Vec::as_slice);
    let ids: std::collections::BTreeSet<&str> = claims.iter().map(|claim| claim.id.as_str()).collect();
    let operations = |name: &str| match name.to_lowercase().as_str() {
        "" | "raw" | "none" => Some(0),
        "tar" => Some(1),
        "gzip" | "gz" => Some(0x10),
        "tar.gz" | "tgz" => Some(0x1001),
        _ => None,
    };
    slots.len() == claims.len()
        && ids.len() == claims.len()
        && slots.iter().zip(claims).all(|(slot, claim)| {
            let word = |name: &str, default| slot[name].as_str().or(slot[name].is_null().then_some(default));
            let checksum = slot["checksum"].as_str().unwrap_or_default();
            let lifecycle = LIFECYCLES.get(usize::from(claim.plpp[1])).copied().unwrap_or_default();
            slot["id"] == claim.id.as_str()
                && is_digest(checksum)
                && checksum.trim_start_matches("sha256:") == claim.digest
                && word("operations", "raw").and_then(operations) == Some(claim.operations)
                && word("lifecycle", "runtime").is_some_and(|word| lifecycle.contains(&word))
        })
}

/// Where everything lies (section 5.1).
struct Layout {
    metadata: u64,
    table: u64,
    slots: Vec<u64>,
    trailer: u64,
}

impl Layout {
    fn of(claims: &Claims, container: u64) -> Option<Self> {
        let align = |at: u128, to: u64| at.div_ceil(u128::from(to)) * u128::from(to);
        let powers = claims.table_align.is_power_of_two() && claims.slot_align.is_power_of_two();
        (powers && claims.table_align >= 8).then_some(())?;
        let metadata = u128::from(claims.launcher_size) + u128::from(claims.meta_gap);
        let table = align(metadata + u128::from(container), claims.table_align);
        let mut end = table + 64 * claims.slots.len() as u128;
        let mut slots = Vec::new();
        for slot in &claims.slots {
            let offset = align(end, claims.slot_align);
            slots.push(u64::try_from(offset).ok()?);
            end = offset + u128::from(slot.size);
        }
        (end <= LARGEST).then_some(())?;
        Some(Self { metadata: metadata as u64, table: table as u64, slots, trailer: end as u64 })
    }
}

fn assemble(claims: &Claims, signed: &Signed<'_>, parts: &Parts) -> Option<Vec<u8>> {
    let container = container(signed.text);
    let layout = Layout::of(claims, container.len() as u64)?;
    let mut file = parts.launcher.clone();
    file.resize(layout.metadata as usize, 0);
    file.extend(&container);
    file.resize(layout.table as usize, 0);
    for (i, (slot, offset)) in (0..).zip(claims.slots.iter().zip(&layout.slots)) {
        let hint = |digest: &str| u64::from_str_radix(digest.get(..16)?, 16).ok().map(u64::swap_bytes);
        let numbers = [
            pspf_core::format::slot::id_of(i),
            hint(&Digest::of(slot.id.as_bytes()).to_string())?,
            *offset,
            slot.size,
            slot.original_size,
            slot.operations,
            hint(&slot.digest)?,
        ];
        file.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        file.extend(slot.plpp);
        file.extend([0, 0]);
        file.extend(slot.permissions.to_le_bytes());
    }
    for (i, offset) in layout.slots.iter().enumerate() {
        file.resize(*offset as usize, 0);
        file.extend(parts.slots.get(i).map_or(&[][..], Vec::as_slice));
    }
    file.resize(layout.trailer as usize, 0);
    let index = index(claims, &layout, &container, signed);
    file.extend([0xf0, 0x9f, 0x93, 0xa6]);
    file.extend(index);
    file.extend([0xf0, 0x9f, 0xaa, 0x84]);
    Some(file)
}

/// Section 5.2.
fn index(claims: &Claims, layout: &Layout, container: &[u8], signed: &Signed<'_>) -> Vec<u8> {
    let mut block = vec![0; 8192];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    let slots = claims.slots.len() as u64;
    put(0, &0x2025_0001_u32.to_le_bytes());
    put(8, &(layout.trailer + 8200).to_le_bytes());
    put(16, &claims.launcher_size.to_le_bytes());
    put(24, &layout.metadata.to_le_bytes());
    put(32, &(container.len() as u64).to_le_bytes());
    put(40, &layout.table.to_le_bytes());
    put(48, &(64 * slots).to_le_bytes());
    put(56, &(slots as u32).to_le_bytes());
    put(64, &signed.public_key);
    put(96, &Digest::of(container).0);
    put(128, &signed.signature);
    put(1376, Digest::of(&signed.public_key).to_string().as_bytes());
    if let Some(attestation) = claims.slots.iter().find(|slot| slot.plpp[1] == 11) {
        put(1440, attestation.digest.as_bytes());
    }
    if let Some(policy) = &claims.policy {
        put(1504, policy.as_bytes());
    }
    for (at, bytes) in &claims.hints {
        put(*at, bytes);
    }
    // RFC 1950 section 8.2.
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in &block {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    block[4..8].copy_from_slice(&(b << 16 | a).to_le_bytes());
    block
}

/// A hint's offset and bytes, when it is one and spelled the one way that there is.
fn hint(name: &str, text: &str) -> Option<(usize, Vec<u8>)> {
    let is_hint = |at: usize| at == 60 || (640..1376).contains(&at);
    let (_, at, size) = super::INDEX_FIELDS.iter().find(|(field, at, _)| *field == name && is_hint(*at))?;
    let digits = text.strip_prefix("0x").filter(|digits| is_hex(digits) && !name.contains(' '))?;
    if *size > 8 {
        let bytes: Option<Vec<u8>> =
            (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(digits.get(i..i + 2)?, 16).ok()).collect();
        return Some((*at, bytes.filter(|bytes| bytes.len() == *size)?));
    }
    let number = u64::from_str_radix(digits, 16).ok().filter(|number| format!("{number:#x}") == text)?;
    let (bytes, rest) = (number.to_le_bytes()[..*size].to_vec(), *size < 8 && number >> (8 * size) != 0);
    (!rest).then_some((*at, bytes))
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// The object, when it has no other keys than these.
fn only<'o>(object: &'o Map<String, Value>, keys: &str) -> Option<&'o Map<String, Value>> {
    object.keys().all(|key| keys.split_whitespace().any(|known| known == key)).then_some(object)
}

fn absent_or(value: Option<&Value>, fits: impl Fn(&Value) -> bool) -> bool {
    value.is_none_or(|value| value.is_null() || fits(value))
}

/// The largest file that is made, in bytes.
const LARGEST: u128 = 1 << 20;
