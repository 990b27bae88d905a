//! Attacks on packages and on what they extract: each is defined once, for packages of every maker. What they have in
//! common with each other is that every one of them got through the launchers of the reference at some time.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use pspf_core::Digest;
use pspf_core::format::Operations;
use pspf_core::sign::SecretKey;

use super::forge::{CHECKSUM, Forged, LAUNCHER_SIZE, METADATA_OFFSET, METADATA_SIZE, RESERVED, SIGNATURE, SIZE, ZEROS};
use super::process::{Finish as _, Finished};
use super::scratch::walk;
use super::victim::{GOOD, KEY, Maker, Outcome, Stored, Victim, Way, with_peak, with_time};

/// An attack. Its number is that of the published list.
#[derive(Debug)]
pub struct Attack {
    pub number: &'static str,
    pub what: &'static str,
    pub how: How,
    pub must: Must,
}

/// What is attacked.
#[derive(Debug)]
pub enum How {
    /// The file: another one is made of it. `says` is in the output of whoever fell for it; when it is empty, any start is
    /// a fall. `because` is in the reason that `packer run` gives: what is refused for another one proves nothing.
    /// `validation` is what the variables that are said to weaken checks are set to.
    File { make: fn(&Victim) -> PathBuf, says: &'static str, because: &'static str, validation: Option<&'static str> },
    /// What is around the file: caches, locks, variables, other versions.
    Around(fn(&Victim, Way) -> Outcome),
}

/// What has to become of a package of packer's, however it is started, and what `packer verify` has to say of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Must {
    /// Refused by everything.
    BeRefused,
    /// Refused by every start. The file is what its maker signed, and `packer verify` says no more than that.
    BeRefusedAtStart,
    /// Started, and running as signed.
    RunAsSigned,
    /// One of the two before: it is odd, and there is one right way to read it.
    NotMislead,
    /// Refused by `packer run` and `packer verify`, and by a package that starts itself under a policy. Without one it starts;
    /// and it brings the launcher that judges it.
    BeRefusedWhereKeysCount,
    /// Nothing: docs/trust.md says that it is not promised.
    NotPromised,
}

/// All of them, in the order of their numbers.
pub const ATTACKS: &[Attack] = &[
    file(
        "2",
        "slot bytes replaced, the table's checksum recomputed",
        slot_replaced,
        "app evil",
        "field checksum",
        Must::BeRefused,
    ),
    file(
        "3",
        "document rewritten, signed with a stranger's key",
        resigned,
        "evil",
        "another key signed this package",
        Must::BeRefusedWhereKeysCount,
    ),
    file(
        "4",
        "the identity point as key, and the signature that fits any document",
        identity_point,
        "evil",
        "not one that proves anything",
        Must::BeRefused,
    ),
    file("6", "bytes in the gap behind the launcher", gap_filled, "", "package_size", Must::BeRefused),
    file("6", "a byte of the launcher", launcher_changed, "", "launcher", Must::BeRefused),
    file("6", "reserved bytes of the index", index_reserve_used, "", "field reserved", Must::BeRefused),
    file("6", "reserved bytes of a descriptor", descriptor_reserve_used, "", "field reserved", Must::BeRefused),
    validation("8", "a changed document and `FLAVOR_VALIDATION=none`", "none"),
    validation("8", "a changed document and `FLAVOR_VALIDATION=relaxed`", "relaxed"),
    validation("8", "a changed document and `FLAVOR_VALIDATION=minimal`", "minimal"),
    file("11", "setuid and setgid in an archive", setuid, "regular file 6755", "", Must::RunAsSigned),
    file("12", "a FIFO in an archive", fifo, "", "a FIFO", Must::BeRefusedAtStart),
    file("12", "a character device in an archive", character_device, "", "a character device", Must::BeRefusedAtStart),
    file("12", "a block device in an archive", block_device, "", "a block device", Must::BeRefusedAtStart),
    file("13", "a file twice in an archive", twice, "", "every path once", Must::BeRefusedAtStart),
    file(
        "14",
        "PAX says another size than a header that has one",
        pax_against_a_size,
        SMUGGLED,
        "one size",
        Must::BeRefusedAtStart,
    ),
    file("14", "PAX says another size than a header with zero", pax_against_zero, SMUGGLED, "", Must::NotMislead),
    file("15", "2 MB that inflate to 2 GiB", bomb, "", "as large as the claims say", Must::BeRefusedAtStart),
    file(
        "16",
        "a key twice in the document, the evil one first",
        key_twice_evil_first,
        "",
        "every key once",
        Must::BeRefused,
    ),
    file(
        "16",
        "a key twice in the document, the evil one last",
        key_twice_evil_last,
        "",
        "every key once",
        Must::BeRefused,
    ),
    file("17", "a second document behind the first", second_document, "", "the end of the document", Must::BeRefused),
    file("18", "a document with 100,000 levels", deep_document, "", "depth of the JSON", Must::BeRefused),
    file("20", "`metadata_size` 2^62", huge_metadata, "", "metadata in stored bytes", Must::BeRefused),
    file("20", "size of a slot 2^63", huge_slot, "", "descriptor of slot 0", Must::BeRefused),
    around("21", "the program edited in the cache", program_edited, Must::RunAsSigned),
    around("21", "the same, with the size and time that it had", program_edited_without_a_trace, Must::NotPromised),
    around("21", "a file that the program reads edited in the cache", data_edited, Must::NotPromised),
    around("22", "the program truncated in the cache", program_truncated, Must::RunAsSigned),
    around("23", "a cache directory that a stranger has prepared", prepared_by_a_stranger, Must::BeRefusedAtStart),
    around("23", "a stranger's package with the same name and Adler-32 ran before", same_adler, Must::RunAsSigned),
    around("24", "another package with the same name ran before", same_name, Must::RunAsSigned),
    around("25", "an upgrade killed half way, then the old version", killed_upgrade, Must::RunAsSigned),
    around("26", "an upgrade under the same name", upgrade, Must::RunAsSigned),
    around("28", "16 starts at once of two versions with one name, five times", at_once, Must::RunAsSigned),
    around("29", "a lock file that names a living process", stale_lock, Must::RunAsSigned),
    around("31", "`PYTHONPATH` and `PYTHONHOME` of the caller", python_variables, Must::RunAsSigned),
];

/// What might make a launcher check less.
const VALIDATION: [&str; 3] = ["FLAVOR_VALIDATION", "PSPF_VALIDATION", "PSPF_VERIFY"];
const EVIL_COMMAND: &str = "/bin/echo evil";
const COMMAND: &str = "{workenv}/bin/app";
const SMUGGLED: &str = "archive/smuggled";
/// Somebody else.
const STRANGER: u32 = 54_321;
/// Address space in MiB. The machine has to survive a bomb, and our launcher to refuse it in much less.
const MEMORY: u64 = 8 << 10;
const MEMORY_OF_OUR_LAUNCHER: u64 = 64;

impl Attack {
    /// What comes of a start of a package that was attacked like this.
    pub fn start(&self, victim: &Victim, way: Way) -> Outcome {
        match &self.how {
            How::Around(attack) => attack(victim, way),
            How::File { make, says, because, validation } => {
                let attacked = make(victim);
                if way != Way::Itself {
                    make_known(victim, way);
                }
                let mut start = victim.start(way, &attacked, &victim.directory());
                start.envs(weakened(*validation));
                let (finished, peak) = with_peak(&mut in_little_memory(victim, way, &start));
                match Outcome::of(&finished, says) {
                    Outcome::Ran(what) if peak >= 1 << 10 => {
                        Outcome::Ran(format!("{what}, {:.1} GiB of memory", peak as f64 / 1024.0))
                    }
                    Outcome::Refused(code) if matches!(victim.maker, Maker::Packer(_)) && way == Way::PackerRun => {
                        finished.says(because);
                        Outcome::Refused(code)
                    }
                    Outcome::Refused(code) if self.must == Must::BeRefusedWhereKeysCount && way == Way::UnderPolicy => {
                        finished.says("is known with key");
                        Outcome::Refused(code)
                    }
                    outcome => outcome,
                }
            }
        }
    }

    /// What its maker's own `verify` says of an attacked file: its code, 0 for no objection. `None`: no file was changed.
    pub fn verify(&self, victim: &Victim) -> Option<Finished> {
        let How::File { make, validation, .. } = &self.how else { return None };
        make_known(victim, Way::PackerRun);
        Some(victim.verify(&make(victim)).envs(weakened(*validation)).finish())
    }
}

/// The user runs the good package, so that its key is known.
fn make_known(victim: &Victim, way: Way) {
    if matches!(victim.maker, Maker::Packer(_)) {
        let cache = victim.directory();
        victim.start(way, &victim.good(), &cache).finish().exits(0).prints(GOOD);
    }
}

fn weakened(value: Option<&'static str>) -> impl Iterator<Item = (&'static str, &'static str)> {
    VALIDATION.into_iter().filter_map(move |name| Some((name, value?)))
}

/// The same command where memory is limited.
fn in_little_memory(victim: &Victim, way: Way, start: &Command) -> Command {
    let limit = match (&victim.maker, way) {
        (Maker::Packer(_), Way::Itself | Way::UnderPolicy) => MEMORY_OF_OUR_LAUNCHER,
        _ => MEMORY,
    };
    let mut limited = Command::new("/bin/sh");
    limited.args(["-c", "ulimit -v \"$1\"; shift; exec \"$@\"", "sh", &(limit << 10).to_string()]);
    limited.arg(start.get_program()).args(start.get_args()).env_clear();
    limited.envs(start.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited
}

const fn file(
    number: &'static str,
    what: &'static str,
    make: fn(&Victim) -> PathBuf,
    says: &'static str,
    because: &'static str,
    must: Must,
) -> Attack {
    Attack { number, what, how: How::File { make, says, because, validation: None }, must }
}

const fn validation(number: &'static str, what: &'static str, value: &'static str) -> Attack {
    let because = "the signature does not match";
    let how = How::File { make: document_changed, says: "evil", because, validation: Some(value) };
    Attack { number, what, how, must: Must::BeRefused }
}

const fn around(number: &'static str, what: &'static str, attack: fn(&Victim, Way) -> Outcome, must: Must) -> Attack {
    Attack { number, what, how: How::Around(attack), must }
}

// ---- the file ----

fn slot_replaced(victim: &Victim) -> PathBuf {
    let mut forged = Forged::of(&victim.good());
    replace_program(&mut forged);
    victim.put(&forged.bytes)
}

/// The descriptor's checksum is not signed, so it can be made to fit.
fn replace_program(forged: &mut Forged) {
    let (slot, descriptor) = (forged.slot(0), forged.descriptor(0));
    let evil = replaced(&forged.bytes[slot.clone()], b"good", b"evil");
    forged.put(slot.start, &evil);
    forged.put(descriptor + CHECKSUM, &Digest::of(&evil).hint().to_le_bytes());
}

fn resigned(victim: &Victim) -> PathBuf {
    let mut forged = with_evil_command(victim);
    forged.sign(&SecretKey::from_seed_text("a stranger"));
    forged.mend();
    victim.put(&forged.bytes)
}

/// With the identity point as the key, R the identity and S = 0 solve the equation for every message.
fn identity_point(victim: &Victim) -> PathBuf {
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut forged = with_evil_command(victim);
    forged.set_key(&identity);
    let signature = forged.index() + SIGNATURE;
    forged.put(signature, &[&identity[..], &[0; 32]].concat());
    forged.mend();
    victim.put(&forged.bytes)
}

/// Where there is no gap, there is one afterwards.
fn gap_filled(victim: &Victim) -> PathBuf {
    let mut forged = Forged::of(&victim.good());
    let (launcher, metadata) = (forged.number(LAUNCHER_SIZE), forged.number(METADATA_OFFSET));
    if metadata > launcher {
        forged.put(launcher, b"anything");
    } else {
        forged.insert(launcher, b"anything");
    }
    victim.put(&forged.bytes)
}

/// In the padding of the ELF header, which means nothing to the kernel: the program starts as before.
fn launcher_changed(victim: &Victim) -> PathBuf {
    const PADDING: usize = 10;
    let mut forged = Forged::of(&victim.good());
    forged.put(PADDING, b"x");
    victim.put(&forged.bytes)
}

fn index_reserve_used(victim: &Victim) -> PathBuf {
    let mut forged = Forged::of(&victim.good());
    forged.put(forged.index() + RESERVED.start + 100, b"anything");
    forged.mend();
    victim.put(&forged.bytes)
}

fn descriptor_reserve_used(victim: &Victim) -> PathBuf {
    let mut forged = Forged::of(&victim.good());
    forged.put(forged.descriptor(0) + ZEROS, b"xy");
    victim.put(&forged.bytes)
}

/// Nobody has signed it: only the digests that everybody can compute fit.
fn document_changed(victim: &Victim) -> PathBuf {
    victim.put(&with_evil_command(victim).bytes)
}

fn key_twice_evil_first(victim: &Victim) -> PathBuf {
    let evil = format!("\"command\":\"{EVIL_COMMAND}\",\"command\"");
    signed_document(victim, |json| json.replacen("\"command\"", &evil, 1))
}

fn key_twice_evil_last(victim: &Victim) -> PathBuf {
    let command = format!("{COMMAND}\"");
    let evil = format!("{command},\"command\":\"{EVIL_COMMAND}\"");
    signed_document(victim, |json| json.replacen(&command, &evil, 1))
}

fn second_document(victim: &Victim) -> PathBuf {
    signed_document(victim, |json| format!("{json}{}", json.replace(COMMAND, EVIL_COMMAND)))
}

fn deep_document(victim: &Victim) -> PathBuf {
    let deep = format!("{{\"deep\":{}{},", "[".repeat(100_000), "]".repeat(100_000));
    signed_document(victim, |json| json.replacen('{', &deep, 1))
}

fn huge_metadata(victim: &Victim) -> PathBuf {
    let mut forged = Forged::of(&victim.good());
    forged.set_number(METADATA_SIZE, 1 << 62);
    forged.mend();
    victim.put(&forged.bytes)
}

fn huge_slot(victim: &Victim) -> PathBuf {
    let mut forged = Forged::of(&victim.good());
    forged.put(forged.descriptor(0) + SIZE, &(1_u64 << 63).to_le_bytes());
    victim.put(&forged.bytes)
}

/// The application with another command, and everything fitting but the signature.
fn with_evil_command(victim: &Victim) -> Forged {
    let mut forged = Forged::of(&victim.good());
    let json = forged.json();
    assert!(json.contains(COMMAND), "{json}");
    forged.set_json(&json.replace(COMMAND, EVIL_COMMAND));
    forged
}

/// What its maker might sign.
fn signed_document(victim: &Victim, change: impl Fn(&str) -> String) -> PathBuf {
    let mut forged = Forged::of(&victim.good());
    let json = forged.json();
    let changed = change(&json);
    assert_ne!(changed, json);
    forged.set_json(&changed);
    let signature = SecretKey::from_seed_text(KEY).sign(changed.as_bytes());
    forged.put(forged.index() + SIGNATURE, &signature);
    forged.mend();
    victim.put(&forged.bytes)
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).expect("what is replaced");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

// ---- archives, signed by their maker ----

fn setuid(victim: &Victim) -> PathBuf {
    with_archive(victim, &[entry("archive/file", b'0', 0o6755, b"content\n")])
}

fn fifo(victim: &Victim) -> PathBuf {
    with_archive(victim, &[entry("archive/fifo", b'6', 0o644, b"")])
}

fn character_device(victim: &Victim) -> PathBuf {
    with_archive(victim, &[entry("archive/device", b'3', 0o644, b"")])
}

fn block_device(victim: &Victim) -> PathBuf {
    with_archive(victim, &[entry("archive/device", b'4', 0o644, b"")])
}

fn twice(victim: &Victim) -> PathBuf {
    let entries = [entry("archive/file", b'0', 0o644, b"first\n"), entry("archive/file", b'0', 0o644, b"last\n")];
    with_archive(victim, &entries)
}

/// Who takes the header's size finds another file in what PAX says is content.
fn pax_against_a_size(victim: &Victim) -> PathBuf {
    pax_desync(victim, 512)
}

fn pax_against_zero(victim: &Victim) -> PathBuf {
    pax_desync(victim, 0)
}

fn pax_desync(victim: &Victim, size_in_header: usize) -> PathBuf {
    let hidden = [vec![b'.'; size_in_header], entry(SMUGGLED, b'0', 0o644, b"evil\n")].concat();
    let record = format!("size={}\n", hidden.len());
    // A record begins with its own length, these digits and the blank among it.
    let record = format!("{} {record}", record.len() + 3);
    let visible = header("archive/file", b'0', 0o644, size_in_header);
    with_archive(victim, &[entry("pax", b'x', 0o644, record.as_bytes()), visible, hidden])
}

/// `entries`, in a directory `archive` and with a proper end, as one more slot.
fn with_archive(victim: &Victim, entries: &[Vec<u8>]) -> PathBuf {
    let archive = [&entry("archive", b'5', 0o755, b"")[..], &entries.concat(), &[0; 1024]].concat();
    victim.pack("one", &[Stored::archive(&archive)])
}

/// An entry of a tar archive: header, content and padding.
fn entry(name: &str, kind: u8, mode: u32, content: &[u8]) -> Vec<u8> {
    let mut entry = header(name, kind, mode, content.len());
    entry.extend(content);
    entry.resize(entry.len().next_multiple_of(512), 0);
    entry
}

fn header(name: &str, kind: u8, mode: u32, size: usize) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).expect("a path");
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_entry_type(tar::EntryType::new(kind));
    for set in [tar::Header::set_device_major, tar::Header::set_device_minor] {
        set(&mut header, 0).expect("a number");
    }
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// A file of zeros that takes a thousandth. Ours signs another size than it has: it could do no harm with the right one.
fn bomb(victim: &Victim) -> PathBuf {
    let (id, target, operations) = ("bomb", "share/zeros", Operations::GZIP);
    victim.pack("one", &[Stored { id, target, operations, bytes: zipped_zeros(), original_size: Some(8 << 20) }])
}

fn zipped_zeros() -> &'static [u8] {
    const GIBIBYTES: usize = 2;
    static ZIPPED: OnceLock<Vec<u8>> = OnceLock::new();
    ZIPPED.get_or_init(|| {
        let zeros = vec![0; 1 << 20];
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
        for _ in 0..GIBIBYTES << 10 {
            gzip.write_all(&zeros).expect("zeros");
        }
        gzip.finish().expect("zeros")
    })
}

// ---- around the file ----

fn program_edited(victim: &Victim, way: Way) -> Outcome {
    after_a_change_in_the_cache(victim, way, b"app good", |path, bytes| {
        fs::write(path, replaced(bytes, b"good", b"evil")).expect("an edited file");
    })
}

fn program_edited_without_a_trace(victim: &Victim, way: Way) -> Outcome {
    after_a_change_in_the_cache(victim, way, b"app good", edit_without_a_trace)
}

fn edit_without_a_trace(path: &Path, bytes: &[u8]) {
    let before = fs::metadata(path).expect("a file").modified().expect("its time");
    fs::write(path, replaced(bytes, b"good", b"evil")).expect("an edited file");
    fs::File::options().write(true).open(path).expect("a file").set_modified(before).expect("its time");
}

/// A file in an archive, where there is a Python project to pack.
fn data_edited(victim: &Victim, way: Way) -> Outcome {
    let (package, mark, good) = match &victim.maker {
        Maker::Packer(_) => match super::hello() {
            Some(hello) => (hello, "hello-cli.", "Hello from hello-cli."),
            None => return Outcome::Nothing,
        },
        Maker::Reference(..) => (victim.good(), "word one", GOOD),
    };
    let cache = victim.directory();
    victim.start(way, &package, &cache).finish().exits(0).prints(good);
    let only = format!("{}\n", good.lines().last().expect("a line"));
    change_files(&cache, only.as_bytes(), |path, bytes| {
        fs::write(path, replaced(bytes, mark.as_bytes(), b"evil")).expect("an edited file");
    });
    let next = victim.start(way, &package, &cache).finish();
    match Outcome::of(&next, "evil") {
        Outcome::Ran(_) if next.stdout().contains(good) => Outcome::AsSigned,
        other => other,
    }
}

fn program_truncated(victim: &Victim, way: Way) -> Outcome {
    after_a_change_in_the_cache(victim, way, b"app good", |path, bytes| {
        let greeting = bytes.windows(5).position(|window| window == b"good\n").expect("what it says first");
        fs::write(path, &bytes[..greeting + 5]).expect("a shorter file");
    })
}

/// Starts a package whose extracted files that have `mark` in them were changed after its first start.
fn after_a_change_in_the_cache(victim: &Victim, way: Way, mark: &[u8], change: impl Fn(&Path, &[u8])) -> Outcome {
    let (package, cache) = (victim.good(), victim.directory());
    victim.start(way, &package, &cache).finish().exits(0).prints(GOOD);
    change_files(&cache, mark, change);
    Outcome::of(&victim.start(way, &package, &cache).finish(), "evil")
}

/// Changes the content of the files below `root` that have `mark` in them, and nothing of their modes.
fn change_files(root: &Path, mark: &[u8], change: impl Fn(&Path, &[u8])) {
    let mut changed = 0;
    for (path, metadata) in walk(root).into_iter().filter(|(_, metadata)| metadata.is_file()) {
        let bytes = fs::read(&path).expect("a file");
        if bytes.windows(mark.len()).any(|window| window == mark) {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("its mode");
            change(&path, &bytes);
            fs::set_permissions(&path, metadata.permissions()).expect("its mode");
            changed += 1;
        }
    }
    assert!(changed > 0, "nothing to change in {}", root.display());
}

/// In a directory for everybody, as /tmp is. Needs root, who alone can give files to somebody else.
fn prepared_by_a_stranger(victim: &Victim, way: Way) -> Outcome {
    if super::require_root().is_none() {
        return Outcome::Nothing;
    }
    let (package, shared) = (victim.good(), victim.directory());
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).expect("its mode");
    victim.start(way, &package, &shared).finish().exits(0).prints(GOOD);
    change_files(&shared, b"app good", edit_without_a_trace);
    for (path, _) in walk(&shared).into_iter().filter(|(path, _)| *path != shared) {
        std::os::unix::fs::lchown(path, Some(STRANGER), Some(STRANGER)).expect("its owner");
    }
    Outcome::of(&victim.start(way, &package, &shared).finish(), "evil")
}

/// The checksum of an index, in 32 bits, is for everybody to choose.
fn same_adler(victim: &Victim, way: Way) -> Outcome {
    let (package, cache) = (victim.good(), victim.directory());
    let mut forged = Forged::of(&package);
    forged.set_json(&forged.json().replace(COMMAND, &format!("/bin/sh {COMMAND}")));
    replace_program(&mut forged);
    forged.sign(&SecretKey::from_seed_text("a stranger"));
    forged.bend_checksum_to(Forged::of(&package).checksum());
    victim.start(way, &victim.put(&forged.bytes), &cache).finish();
    Outcome::of(&victim.start(way, &package, &cache).finish(), "app evil")
}

fn same_name(victim: &Victim, way: Way) -> Outcome {
    let (one, other, cache) = (victim.good(), victim.pack("other", &[]), victim.directory());
    assert_eq!(one.file_name(), other.file_name());
    for _ in 0..2 {
        victim.start(way, &other, &cache).finish();
        let outcome = Outcome::of(&victim.start(way, &one, &cache).finish(), "word other");
        if outcome != Outcome::AsSigned {
            return outcome;
        }
    }
    Outcome::AsSigned
}

/// Both versions have their word in many places. The upgrade is killed after each of some even parts of the time that it takes.
fn killed_upgrade(victim: &Victim, way: Way) -> Outcome {
    const PARTS: usize = 60;
    let times = if matches!(victim.maker, Maker::Packer(_)) { 6 } else { 20 };
    let names: Vec<String> = (0..PARTS).map(|part| format!("part{part:03}")).collect();
    let targets: Vec<String> = names.iter().map(|name| format!("{name}/word")).collect();
    let version = |word: &str| {
        let content = format!("part {word}\n");
        let slots: Vec<_> =
            names.iter().zip(&targets).map(|(id, target)| Stored::file(id, target, content.as_bytes())).collect();
        victim.pack(word, &slots)
    };
    let (old, new) = (version("one"), version("two"));
    let installed = victim.directory().join("app.psp");
    let start = |version: &Path, cache: &Path| {
        let _ = fs::remove_file(&installed);
        fs::hard_link(version, &installed).expect("an installed version");
        victim.start(way, &installed, cache)
    };
    let cache = victim.directory();
    start(&old, &cache).finish().exits(0);
    let (_, whole) = with_time(&mut start(&new, &cache));
    for time in 0..times {
        let cache = victim.directory();
        start(&old, &cache).finish().exits(0);
        kill_after(&mut start(&new, &cache), whole * time / times);
        let next = start(&old, &cache).finish();
        if next.stdout() != format!("{GOOD}part one\n") {
            let words: BTreeSet<String> = next.stdout().lines().map(str::to_owned).collect();
            let mixed =
                words.iter().any(|line| line.ends_with("two")) && words.iter().any(|line| line.ends_with("one"));
            return match Outcome::of(&next, if mixed { "two" } else { "\0" }) {
                Outcome::Ran(_) if mixed => Outcome::Ran("runs files of both".to_owned()),
                Outcome::AsSigned => Outcome::Ran("runs with files missing".to_owned()),
                other => other,
            };
        }
    }
    Outcome::AsSigned
}

/// Kills everything that the command started.
fn kill_after(command: &mut Command, delay: Duration) {
    use std::os::unix::process::CommandExt as _;
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn();
    let mut child = spawned.expect("a process");
    std::thread::sleep(delay);
    let group = rustix::process::Pid::from_child(&child);
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    child.wait().expect("its end");
}

fn upgrade(victim: &Victim, way: Way) -> Outcome {
    let (old, new, cache) = (victim.good(), victim.pack("two", &[]), victim.directory());
    let installed = victim.directory().join("app.psp");
    fs::hard_link(&old, &installed).expect("an installed version");
    victim.start(way, &installed, &cache).finish().exits(0).prints(GOOD);
    fs::remove_file(&installed).expect("a file less");
    fs::hard_link(&new, &installed).expect("an installed version");
    let starts = [(); 2].map(|()| victim.start(way, &installed, &cache).finish());
    let as_signed = |start: &Finished| start.code() == Some(0) && start.stdout() == "app good\nword two\n";
    match starts.iter().find(|start| !as_signed(start)) {
        None => Outcome::AsSigned,
        Some(start) => Outcome::of(start, "word one"),
    }
}

fn at_once(victim: &Victim, way: Way) -> Outcome {
    const ROUNDS: usize = 5;
    const STARTS: usize = 16;
    let versions = [(victim.good(), "one"), (victim.pack("two", &[]), "two")];
    let mut wrong = 0;
    for _ in 0..ROUNDS {
        let cache = victim.directory();
        let children: Vec<_> = (0..STARTS)
            .map(|number| {
                let (package, word) = &versions[number % 2];
                let mut start = victim.start(way, package, &cache);
                (
                    start.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a start"),
                    word,
                )
            })
            .collect();
        for (child, word) in children {
            let output = child.wait_with_output().expect("its end");
            let right = format!("app good\nword {word}\n");
            wrong += usize::from(!output.status.success() || output.stdout != right.as_bytes());
        }
    }
    match wrong {
        0 => Outcome::AsSigned,
        _ => Outcome::Ran(format!("{wrong} of {} wrong", ROUNDS * STARTS)),
    }
}

/// Whoever killed a start leaves its locks, and the number of a process is given to another one soon.
fn stale_lock(victim: &Victim, way: Way) -> Outcome {
    let (package, cache) = (victim.good(), victim.directory());
    let living = std::process::id().to_string();
    match &victim.maker {
        Maker::Packer(_) => {
            victim.start(way, &package, &cache).finish().exits(0);
            for (path, metadata) in walk(&cache).into_iter().rev() {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if name.starts_with(".lock") {
                    fs::write(&path, &living).expect("a lock file");
                } else if metadata.is_dir() && name.len() >= 32 {
                    super::scratch::remove(&path);
                }
            }
        }
        Maker::Reference(..) => {
            let extract = victim.reference_instance(&package, &cache).join("extract");
            fs::create_dir_all(&extract).expect("a directory");
            fs::write(extract.join("lock"), &living).expect("a lock file");
        }
    }
    let (finished, took) = with_time(&mut victim.start(way, &package, &cache));
    match Outcome::of(&finished, "evil") {
        Outcome::Refused(code) => Outcome::Ran(format!("refuses ({code}) after {} s", took.as_secs())),
        other => other,
    }
}

/// A Python project where there is an interpreter to pack; the reference gets the variables that its own packager of Python
/// projects removes.
fn python_variables(victim: &Victim, way: Way) -> Outcome {
    let directory = victim.directory();
    let evil = "print('evil')\n";
    fs::write(directory.join("sitecustomize.py"), evil).expect("a module");
    let (package, good) = match &victim.maker {
        Maker::Packer(_) => match super::hello() {
            Some(hello) => (hello, "hello"),
            None => return Outcome::Nothing,
        },
        Maker::Reference(..) => (victim.good(), GOOD),
    };
    let mut start = victim.start(way, &package, &victim.directory());
    let finished = start.env("PYTHONPATH", &directory).env("PYTHONHOME", "/nowhere").finish();
    let stdout = finished.stdout();
    if finished.code() == Some(0) && stdout.contains(good) && !stdout.contains("evil") && !stdout.contains("astray") {
        return Outcome::AsSigned;
    }
    match Outcome::of(&finished, "evil") {
        Outcome::AsSigned => Outcome::Ran("passed on to the app".to_owned()),
        other => other,
    }
}
