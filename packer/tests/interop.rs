//! Packages of the reference's three builders, under our commands; and ours under its commands and launchers.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{App, Builder, Finish as _, Finished, Launcher, Reference, Scratch, at_home};
use serde_json::{Value, json};

/// What stands where a launcher would: `packer` never starts it.
const LAUNCHER: &str = "\x7fELF, as far as anybody looks";

/// Says how it was started and what it finds, and ends with 7.
const APP: &str = r#"#!/bin/sh
cd "$FLAVOR_WORKENV" || exit 1
echo "arguments: $# ($*)"
echo "variables: $MODE, ${REMOVED-removed}, ${OLD-renamed} $NEW, $SET, ${BELOW#"$FLAVOR_WORKENV"}, $FLAVOR_COMMAND_NAME"
cat lib/one.txt lib/two.txt etc/raw.txt etc/gzip.txt etc/written etc/steps
for path in etc/raw.txt etc/written var/log var/run; do [ ! -e $path ] || stat -c '%a %n' $path; done
exit 7
"#;
const STEP: &str = "#!/bin/sh\necho \"step: $# ${1##*/} ${2##*/}\" >> \"$FLAVOR_WORKENV/etc/steps\"\n";

/// Sources in every encoding, and the packages made of them.
struct Workshop {
    reference: Reference,
    scratch: Scratch,
}

/// A slot: id, source without its encoding, operations as docs/format.md section 3.2 writes them, target.
type Kind = (&'static str, &'static str, &'static str, &'static str);

/// What every builder makes.
const KINDS: [Kind; 5] = [
    ("app", "app", "tar.gz", "app"),
    ("library", "library", "tar", "library"),
    ("plain", "raw.txt", "raw", "etc/raw.txt"),
    ("zipped", "raw.txt", "gzip", "etc/gzip.txt"),
    ("empty", "empty", "raw", "etc/empty"),
];
/// What only the Python builder makes.
const PYTHON_KINDS: [Kind; 4] = [
    ("b", "library", "tar.bz2", "b"),
    ("x", "library", "tar.xz", "x"),
    ("z", "library", "tar.zst", "z"),
    ("bzipped", "raw.txt", "bz2", "etc/bzip2.txt"),
];

impl Workshop {
    fn open() -> Option<Self> {
        let workshop = Self { reference: Reference::find()?, scratch: Scratch::new() };
        common::write_files(
            &workshop.scratch,
            &[
                ("app/bin/app", APP),
                ("app/bin/step", STEP),
                ("library/lib/one.txt", "one\n"),
                ("library/lib/two.txt", "two\n"),
                ("raw.txt", "a raw file\n"),
                ("empty", ""),
                ("launcher", LAUNCHER),
            ],
        );
        for program in ["app/bin/app", "app/bin/step"] {
            fs::set_permissions(workshop.path(program), fs::Permissions::from_mode(0o755)).unwrap();
        }
        for tree in ["app", "library"] {
            let mut archive = tar::Builder::new(Vec::new());
            archive.append_dir_all(".", workshop.path(tree)).unwrap();
            let archive = archive.into_inner().unwrap();
            fs::write(workshop.path(&format!("{tree}.tar.gz")), gzip(&archive)).unwrap();
            fs::write(workshop.path(&format!("{tree}.tar")), archive).unwrap();
        }
        fs::write(workshop.path("raw.txt.gzip"), gzip(b"a raw file\n")).unwrap();
        Some(workshop)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    fn slot(&self, builder: Builder, (id, source, operations, target): Kind) -> Value {
        // The Python builder applies the operations itself, the others take what is encoded.
        let encoded = match operations {
            "raw" => source.to_owned(),
            _ if builder == Builder::Python => source.to_owned(),
            operations => format!("{source}.{operations}"),
        };
        let spelled = match (builder, operations) {
            (Builder::Rust, "tar.gz") => "tgz",
            (Builder::Python, "tar.xz") => "TAR|XZ",
            (Builder::Python, "tar.zst") => "tar|zstd",
            (Builder::Python, "bz2") => "bzip2",
            (_, other) => other,
        };
        let purpose = if builder == Builder::Python { "data" } else { "payload" };
        json!({
            "slot": 0, "id": id, "source": encoded, "target": target, "operations": spelled,
            "purpose": purpose, "lifecycle": "runtime", "permissions": "0640",
        })
    }

    fn manifest(&self, builder: Builder, kinds: &[Kind]) -> Value {
        let mut slots: Vec<Value> = kinds.iter().map(|kind| self.slot(builder, *kind)).collect();
        for (number, slot) in slots.iter_mut().enumerate() {
            slot["slot"] = number.into();
        }
        json!({
            "format": "PSPF/2025",
            "package": {"name": "odd", "version": "1.2.3"},
            "execution": {"command": "{workenv}/bin/app own", "env": {"MODE": "{package_name}-{version}"}},
            "slots": slots,
        })
    }

    fn build(&self, builder: Builder, manifest: &Value) -> PathBuf {
        self.reference.build(builder, manifest, &self.scratch, &self.path("launcher"))
    }

    /// A package with every kind of slot that the builder makes.
    fn everything(&self, builder: Builder) -> (PathBuf, Vec<Kind>) {
        let mut kinds = KINDS.to_vec();
        if builder == Builder::Python {
            kinds.extend(PYTHON_KINDS);
        }
        (self.build(builder, &self.manifest(builder, &kinds)), kinds)
    }

    fn run(&self, package: &Path, args: &[&str]) -> Finished {
        let mut run = common::packer();
        run.env_clear().env("PATH", "/usr/bin:/bin").env("PSPF_CACHE_DIR", self.path("cache"));
        run.envs([("REMOVED", "still there"), ("OLD", "value")]).arg("run").arg(package).arg("--").args(args).finish()
    }
}

fn packer(command: &str, package: &Path, rest: &[&str]) -> Finished {
    common::packer().arg(command).arg(package).args(rest).finish()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// The numbers of a package, by the offsets of docs/format.md sections 2 and 3.1.
struct Numbers {
    launcher_size: u64,
    metadata_offset: u64,
    table_offset: u64,
    slots: Vec<Descriptor>,
    bytes: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
struct Descriptor {
    offset: u64,
    size: u64,
    operations: u64,
}

impl Numbers {
    fn of(package: &Path) -> Self {
        let bytes = fs::read(package).unwrap();
        let at = |offset: usize| u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap());
        let index = bytes.len() - 8196;
        let table = at(index + 40);
        let slots = (0..at(index + 48) / 64).map(|number| {
            let place = (table + number * 64) as usize;
            Descriptor { offset: at(place + 16), size: at(place + 24), operations: at(place + 40) }
        });
        let slots = slots.collect();
        Self { launcher_size: at(index + 16), metadata_offset: at(index + 24), table_offset: table, slots, bytes }
    }

    fn index(&self, field: std::ops::Range<usize>) -> &[u8] {
        &self.bytes[self.bytes.len() - 8196..][field]
    }

    /// The JSON, as it was signed.
    fn document(&self) -> Value {
        serde_json::from_reader(flate2::read::GzDecoder::new(&self.bytes[self.metadata_offset as usize..])).unwrap()
    }
}

#[test]
fn verify_says_how_far_the_signature_goes() {
    let Some(workshop) = Workshop::open() else { return };
    for builder in Builder::ALL {
        let (package, kinds) = workshop.everything(builder);
        let verdict = packer("verify", &package, &[]).exits(0).prints(": intact as far as its signature goes\n");
        let verdict = verdict.prints("\n  grade    slots-only\n").prints("\n  not covered  hints in the index, ");
        let report = packer("verify", &package, &["--json"]).exits(0).json();
        assert_eq!((&report["valid"], &report["grade"]), (&json!(true), &json!("slots-only")), "{verdict}");
        assert_eq!((&report["name"], &report["version"]), (&json!("odd"), &json!("1.2.3")), "{verdict}");
        let not_covered: Vec<&str> = report["not_covered"].as_array().unwrap().iter().flat_map(Value::as_str).collect();
        assert!(not_covered.contains(&"bytes between the parts"), "{builder:?}: {not_covered:?}");
        assert_eq!(not_covered.contains(&"the launcher"), builder == Builder::Go, "{builder:?}: {not_covered:?}");
        let unsigned_slots = not_covered.contains(&"slots without a signed SHA-256");
        assert_eq!(unsigned_slots, builder == Builder::Python, "its attestation slot: {builder:?}: {not_covered:?}");
        let checks: Vec<&str> =
            report["checks"].as_array().unwrap().iter().flat_map(|check| check["name"].as_str()).collect();
        for (number, (id, ..)) in kinds.iter().enumerate() {
            assert!(checks.contains(&&*format!("slot {number} ({id})")), "{builder:?}: {checks:?}");
        }
    }
}

#[test]
fn all_builders_and_packer_derive_the_same_key_from_a_text() {
    let Some(workshop) = Workshop::open() else { return };
    let keys = Builder::ALL.map(|builder| {
        let package = workshop.build(builder, &workshop.manifest(builder, &KINDS));
        packer("verify", &package, &["--json"]).exits(0).json()["key_id"].clone()
    });
    common::write_files(
        &workshop.scratch,
        &[(
            "project/app.toml",
            "[package]\nname = \"app\"\nversion = \"1\"\n\
        [execution]\ncommand = \"/bin/true\"\n",
        )],
    );
    let ours = workshop.path("ours.psp");
    let mut pack = common::packer();
    pack.arg("pack").arg("--manifest").arg(workshop.path("project")).arg("--output").arg(&ours);
    pack.args(["--key-seed", "interop"]).env("PSPF_CACHE_DIR", workshop.path("build")).finish().exits(0);
    let ours = packer("verify", &ours, &["--json"]).exits(0).json();
    assert_eq!(keys, [&ours["key_id"], &ours["key_id"], &ours["key_id"]].map(Clone::clone));
}

#[test]
fn inspect_shows_their_slots() {
    let Some(workshop) = Workshop::open() else { return };
    for builder in Builder::ALL {
        let (package, kinds) = workshop.everything(builder);
        let text = packer("inspect", &package, &[]).exits(0).stdout();
        let report = packer("inspect", &package, &["--json"]).exits(0).json();
        assert_eq!((&report["verified"], &report["grade"]), (&json!(true), &json!("slots-only")), "{text}");
        assert_eq!(report["command"], "{workenv}/bin/app own");
        for (number, (id, _, operations, target)) in kinds.iter().enumerate() {
            let slot = &report["slots"][number];
            assert_eq!((&slot["id"], &slot["operations"]), (&json!(id), &json!(operations)), "{text}");
            assert!(slot["target"].as_str().unwrap().ends_with(target), "{text}");
            assert_eq!(slot["original_size"], Value::Null, "nobody vouches for it");
            assert!(text.contains(id) && text.contains(target), "{text}");
        }
    }
}

#[test]
fn extraction_gives_back_what_went_in() {
    let Some(workshop) = Workshop::open() else { return };
    for builder in Builder::ALL {
        let (package, kinds) = workshop.everything(builder);
        let all = workshop.path(&format!("{builder:?}-all"));
        packer("extract-all", &package, &[all.to_str().unwrap()]).exits(0).stays_quiet();
        for (number, (id, source, operations, _)) in kinds.iter().enumerate() {
            let one = workshop.path(&format!("{builder:?}-{number}"));
            packer("extract", &package, &[&number.to_string(), one.to_str().unwrap()]).exits(0).stays_quiet();
            let source = workshop.path(source);
            for extracted in [&one, &all.join(id)] {
                if operations.starts_with("tar") {
                    assert_same_tree(&source, extracted);
                } else {
                    assert_eq!(fs::read(extracted).unwrap(), fs::read(&source).unwrap(), "{builder:?}: {id}");
                }
            }
        }
        let count = fs::read_dir(&all).unwrap().count();
        let attestation = usize::from(builder == Builder::Python);
        assert_eq!(count, kinds.len() + attestation, "{builder:?}");
    }
}

#[track_caller]
fn assert_same_tree(expected: &Path, found: &Path) {
    Command::new("diff").arg("-r").arg(expected).arg(found).finish().exits(0).prints_nothing();
    let programs = |root: &Path| {
        let mut find = Command::new("find");
        let list = find.arg(".").args(["-type", "f", "-perm", "-100"]).current_dir(root).finish().exits(0).stdout();
        let mut list: Vec<String> = list.lines().map(String::from).collect();
        list.sort();
        list
    };
    assert_eq!(programs(expected), programs(found));
}

/// As [`Workshop::manifest`], with everything that a start goes by.
fn with_setup(workshop: &Workshop, builder: Builder) -> Value {
    let mut manifest = workshop.manifest(builder, &KINDS);
    manifest["setup_commands"] = json!([
        {"type": "write_file", "path": "{workenv}/etc/written", "content": "written for {package_name}\n"},
        {"type": "chmod", "path": "{workenv}/etc/written", "mode": "0600"},
        {"type": "execute", "command": "{workenv}/bin/step executed"},
        {"type": "enumerate_and_execute", "command": "{workenv}/bin/step found",
         "enumerate": {"path": "{workenv}/lib", "pattern": "*.txt"}},
    ]);
    manifest["runtime"] = json!({"env": {"unset": ["REMOVED"], "map": {"OLD": "NEW"}, "set": {"SET": "set"}}});
    manifest["workenv"] = json!({
        "directories": [{"path": "var/log", "mode": "0700"}, {"path": "var/run", "mode": "0755"}],
        "env": {"BELOW": "{workenv}/var"},
    });
    manifest
}

const SAID: &str = "\
arguments: 4 (own --flag two words )
variables: odd-1.2.3, removed, renamed value, set, /var, NAME.psp
one
two
a raw file
a raw file
written for odd
step: 1 executed 
step: 2 found one.txt
step: 2 found two.txt
640 etc/raw.txt
600 etc/written
700 var/log
755 var/run
";

#[test]
fn run_starts_the_app_as_its_package_says() {
    let Some(workshop) = Workshop::open() else { return };
    for builder in Builder::ALL {
        let package = workshop.build(builder, &with_setup(&workshop, builder));
        let mut said = SAID.replace("NAME", &format!("{builder:?}"));
        if builder == Builder::Go {
            // It leaves the section `workenv` out of what it writes.
            said = said.replace("/var,", ",").replace("700 var/log\n755 var/run\n", "");
            assert!(Numbers::of(&package).document()["workenv"].is_null());
        }
        for start in ["first", "second"] {
            let app = workshop.run(&package, &["--flag", "two words", ""]).exits(7).stays_quiet();
            assert_eq!(app.stdout(), said, "{builder:?}, {start} start");
        }
    }
}

#[test]
fn a_change_in_a_slot_or_in_the_document_is_refused_by_every_command() {
    let Some(workshop) = Workshop::open() else { return };
    for builder in Builder::ALL {
        let (package, _) = workshop.everything(builder);
        let numbers = Numbers::of(&package);
        let slots = numbers.slots.iter().filter(|slot| slot.size > 0).map(|slot| (slot.offset, slot.size));
        let metadata_size = u64::from_le_bytes(numbers.index(32..40).try_into().unwrap());
        let metadata = [(numbers.metadata_offset, metadata_size)];
        for (offset, size) in metadata.into_iter().chain(slots) {
            for position in [offset, offset + size / 2, offset + size - 1] {
                let mut changed = numbers.bytes.clone();
                changed[position as usize] ^= 1;
                let file = workshop.path("changed.psp");
                fs::write(&file, changed).unwrap();
                let refusal = packer("verify", &file, &[]).exits(107).prints_nothing();
                let report = packer("verify", &file, &["--json"]).exits(107).json();
                assert_eq!(report["valid"], false, "{builder:?}, byte {position}: {refusal}");
                workshop.run(&file, &[]).exits(107).prints_nothing();
                let refused = packer("extract-all", &file, &[workshop.path("never").to_str().unwrap()]);
                refused.exits_with_one_of(&[103, 107]);
                assert!(!workshop.path("never").exists());
            }
        }
        assert!(common::envs(&workshop.path("cache")).is_empty(), "nothing was prepared");
    }
}

#[test]
fn slots_of_every_lifecycle_are_extracted_but_attestations() {
    let Some(workshop) = Workshop::open() else { return };
    const WORDS: [&str; 11] =
        ["init", "startup", "runtime", "shutdown", "cache", "temporary", "lazy", "eager", "dev", "config", "platform"];
    const ALIASES: [&str; 4] = ["cached", "temp", "volatile", "persistent"];
    for builder in Builder::ALL {
        let mut manifest = workshop.manifest(builder, &KINDS[..1]);
        // Its own JSON schema knows no aliases.
        let aliases = if builder == Builder::Python { &ALIASES[..0] } else { &ALIASES };
        let words: Vec<&str> = WORDS.iter().chain(aliases).copied().collect();
        for word in &words {
            let mut slot = workshop.slot(builder, KINDS[2]);
            slot["id"] = (*word).into();
            slot["target"] = format!("life/{word}").into();
            slot["lifecycle"] = (*word).into();
            slot["slot"] = manifest["slots"].as_array().unwrap().len().into();
            manifest["slots"].as_array_mut().unwrap().push(slot);
        }
        manifest["execution"]["command"] = "/bin/ls {workenv}/life {workenv}".into();
        let package = workshop.build(builder, &manifest);
        packer("verify", &package, &[]).exits(0);
        let listed = workshop.run(&package, &[]).exits(0).stdout();
        for word in words {
            assert!(listed.lines().any(|line| line == word), "{builder:?}: no {word} in {listed}");
        }
        assert!(!listed.contains("attestation"), "{builder:?}: {listed}");
    }
}

#[test]
fn the_parts_lie_where_the_documentation_of_the_format_says() {
    let Some(workshop) = Workshop::open() else { return };
    for builder in Builder::ALL {
        let numbers = Numbers::of(&workshop.everything(builder).0);
        let gap = numbers.metadata_offset - numbers.launcher_size;
        assert_eq!(gap, if builder == Builder::Rust { 8192 } else { 0 }, "{builder:?}");
        assert_eq!(numbers.table_offset % 8, 0, "{builder:?}");
        let alignment = if builder == Builder::Python { 4096 } else { 8 };
        assert!(numbers.slots.iter().all(|slot| slot.offset % alignment == 0), "{builder:?}: {:?}", numbers.slots);
        let empty = numbers.slots.iter().find(|slot| slot.size == 0).unwrap();
        assert_eq!(empty.offset == 0, builder == Builder::Go, "{builder:?}: {empty:?}");
    }
    let mut packed = workshop.manifest(Builder::Python, &KINDS);
    packed["page_aligned"] = false.into();
    let packed = workshop.build(Builder::Python, &packed);
    assert!(Numbers::of(&packed).slots.iter().any(|slot| slot.offset % 4096 != 0));
    packer("verify", &packed, &[]).exits(0);
}

#[test]
fn the_oddities_of_each_builder_are_the_documented_ones() {
    let Some(workshop) = Workshop::open() else { return };
    let numbers = Builder::ALL.map(|builder| Numbers::of(&workshop.everything(builder).0));
    let [rust, go, python] = numbers.each_ref().map(Numbers::document);
    let twice = |document: &Value| document["launcher"]["checksum"].as_str().unwrap().starts_with("sha256:sha256:");
    assert!(twice(&python) && !twice(&rust) && go["launcher"].is_null());
    assert_eq!((&go["format_version"], &go["verification"]["signed"]), (&json!(""), &json!(false)));
    let attestation = python["slots"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&attestation["lifecycle"], attestation["checksum"].as_str().unwrap().len()),
        (&json!("attestation"), 16)
    );
    let digest = numbers[2].index(1440..1504);
    assert!(digest.iter().all(u8::is_ascii_hexdigit), "of the attestation slot");
    for numbers in &numbers[..2] {
        assert_eq!(numbers.index(1440..1504), [0; 64]);
        assert!(numbers.document()["slots"].as_array().unwrap().iter().all(|slot| slot["lifecycle"] != "attestation"));
    }
}

#[test]
fn the_launcher_is_checked_where_its_digest_is_signed() {
    let Some(workshop) = Workshop::open() else { return };
    for builder in Builder::ALL {
        let (package, _) = workshop.everything(builder);
        let mut bytes = fs::read(&package).unwrap();
        bytes[10] ^= 1;
        fs::write(&package, bytes).unwrap();
        let verdict = packer("verify", &package, &[]);
        if builder == Builder::Go {
            verdict.exits(0).prints("the launcher")
        } else {
            verdict.exits(107).says("launcher")
        };
    }
}

#[test]
fn a_policy_is_shown_to_nobody_and_refuses_nothing() {
    let Some(workshop) = Workshop::open() else { return };
    for builder in Builder::ALL {
        let mut manifest = workshop.manifest(builder, &KINDS);
        manifest["policy"] = json!({"refuse_root": false, "note": "é < 1"});
        manifest["execution"]["command"] = "/bin/echo started".into();
        let package = workshop.build(builder, &manifest);
        packer("verify", &package, &[]).exits(0);
        workshop.run(&package, &[]).exits(0).prints("started");
    }
}

#[test]
fn the_descriptor_decides_where_a_builder_did_not_know_the_spelling() {
    let Some(workshop) = Workshop::open() else { return };
    const SPELLINGS: [(&str, u64, u64); 12] = [
        // What was written, and what the Rust and the Go builder make of it.
        ("tgz", 0x1001, 0x1001),
        ("tar.gz", 0, 0x1001),
        ("tar,gzip", 0x1001, 0),
        ("tar|gzip", 0, 0),
        ("TGZ", 0, 0),
        ("tar.bz2", 0, 0),
        ("tar,xz", 0x01, 0),
        ("zstd", 0, 0),
        ("gzip", 0x10, 0x10),
        ("gz", 0, 0),
        ("none", 0, 0),
        ("", 0, 0),
    ];
    for (builder, nth) in [(Builder::Rust, 0), (Builder::Go, 1)] {
        for (spelling, rust, go) in SPELLINGS {
            let expected = [rust, go][nth];
            let mut manifest = workshop.manifest(builder, &KINDS[..1]);
            let mut slot = workshop.slot(builder, KINDS[0]);
            for (key, value) in
                [("id", "odd"), ("target", "odd"), ("source", "library.tar.gz"), ("operations", spelling)]
            {
                slot[key] = value.into();
            }
            slot["slot"] = 1.into();
            manifest["slots"].as_array_mut().unwrap().push(slot);
            manifest["execution"]["command"] = "/bin/ls {workenv} {workenv}/odd".into();
            let package = workshop.build(builder, &manifest);
            assert_eq!(Numbers::of(&package).slots[1].operations, expected, "{builder:?}, {spelling:?}");
            packer("verify", &package, &[]).exits(0);
            if expected == 0 {
                // The file as it is stored, as under the reference's launchers.
                let out = workshop.path("stored");
                packer("extract", &package, &["odd", out.to_str().unwrap(), "--force"]).exits(0);
                assert_eq!(fs::read(out).unwrap(), fs::read(workshop.path("library.tar.gz")).unwrap());
                workshop.run(&package, &[]).exits(0).prints("/odd\n");
            }
        }
    }
}

#[test]
fn two_archives_with_the_same_file_are_refused_before_anything_runs() {
    let Some(workshop) = Workshop::open() else { return };
    let twice = [KINDS[0], ("again", "app", "tar", "again")];
    for builder in Builder::ALL {
        let package = workshop.build(builder, &workshop.manifest(builder, &twice));
        packer("verify", &package, &[]).exits(0);
        workshop.run(&package, &[]).exits(106).prints_nothing().says(": it is there already");
        assert!(common::envs(&workshop.path("cache")).is_empty(), "{builder:?}");
    }
}

#[test]
fn slots_that_share_bytes_or_reach_into_the_table_are_refused() {
    let Some(workshop) = Workshop::open() else { return };
    for builder in Builder::ALL {
        let (package, _) = workshop.everything(builder);
        let numbers = Numbers::of(&package);
        let second = numbers.table_offset as usize + 64 + 16;
        let inside = numbers.slots[0].offset + 8;
        for (place, code) in [(inside, 107), (numbers.table_offset, 102), (0, 102)] {
            let mut bytes = numbers.bytes.clone();
            bytes[second..second + 8].copy_from_slice(&place.to_le_bytes());
            let changed = workshop.path("changed.psp");
            fs::write(&changed, bytes).unwrap();
            packer("verify", &changed, &[]).exits(code).says("slot 1");
            workshop.run(&changed, &[]).exits(code).prints_nothing();
        }
    }
}

#[test]
fn their_packages_start_themselves_with_our_larger_launcher_and_not_with_the_small_one() {
    let Some(workshop) = Workshop::open() else { return };
    let small = our_launcher(&workshop, "small", "");
    let all = our_launcher(&workshop, "all", "[[setup_commands]]\ntype = \"execute\"\ncommand = \"/bin/true\"\n");
    for builder in Builder::ALL {
        let manifest = workshop.manifest(builder, &KINDS);
        let start = |launcher: &Path, cache: &str| {
            let package = workshop.reference.build(builder, &manifest, &workshop.scratch, launcher);
            let mut start = Command::new(package);
            start
                .env_clear()
                .env("PATH", "/usr/bin:/bin")
                .env("PSPF_CACHE_DIR", workshop.path(cache))
                .arg("a b")
                .finish()
        };
        let app = start(&all, "all-cache").exits(7).prints("arguments: 2 (own a b)\nvariables: odd-1.2.3, ");
        assert!(app.stdout().contains("one\ntwo\na raw file\na raw file\n"), "{builder:?}: {app}");
        let refusal = start(&small, "small-cache").exits(107).prints_nothing();
        refusal.says("this launcher cannot verify the package").says("pspf-launcher-all").says("try: packer run");
    }
}

/// The launcher that packer puts in front of a package with these lines in its manifest.
fn our_launcher(workshop: &Workshop, name: &str, lines: &str) -> PathBuf {
    let app = App::new(&[], &format!("[execution]\ncommand = \"/bin/true\"\n{lines}"));
    let numbers = Numbers::of(&app.package());
    let launcher = workshop.path(name);
    fs::write(&launcher, &numbers.bytes[..numbers.launcher_size as usize]).unwrap();
    launcher
}

#[test]
fn a_slot_inflates_to_as_much_as_one_allows() {
    let Some(workshop) = Workshop::open() else { return };
    let (package, _) = workshop.everything(Builder::Rust);
    let out = workshop.path("out");
    let out = out.to_str().unwrap();
    packer("extract", &package, &["zipped", out, "--max-slot-size", "10"]).exits(103).says("what a slot inflates to");
    packer("extract-all", &package, &[out, "--max-slot-size", "10"]).exits(103).says("what a slot inflates to");
    packer("extract", &package, &["zipped", out, "--max-slot-size", "11"]).exits(0);
    for refused in ["", "K", "-1", "1T", "18446744073709551615K"] {
        packer("extract", &package, &["zipped", out, &format!("--max-slot-size={refused}")]).exits(105);
    }
    let run = |limit: &str| {
        let mut run = common::packer();
        run.env_clear().env("PSPF_CACHE_DIR", workshop.path("cache")).args(["run", "--max-slot-size", limit]);
        run.arg(&package).finish()
    };
    run("1k").exits(103).prints_nothing();
    run("1M").exits(7);
}

#[test]
fn the_reference_reads_what_packer_writes() {
    let Some(reference) = Reference::find() else { return };
    for operations in ["raw", "tar.gz"] {
        let app = ours(operations, None);
        let home = app.scratch.dir("home");
        let flavor = |args: &[&str]| reference.flavor(&home).args(args).finish();
        let package = app.package();
        let package = package.to_str().unwrap();
        flavor(&["verify", package]).exits(0);
        flavor(&["inspect", package]).exits(0).prints("greeting");
        let to = app.scratch.join("extracted");
        flavor(&["extract-all", package, to.to_str().unwrap()]).exits(0);
        let found = Command::new("find").arg(&to).args(["-type", "f"]).finish().exits(0).stdout();
        assert!(found.contains("greeting"), "{operations}: {found}");
    }
}

#[test]
fn our_packages_start_under_the_reference_s_launchers() {
    let Some(reference) = Reference::find() else { return };
    for launcher in [Launcher::Rust, Launcher::Go] {
        for operations in ["raw", "tar.gz"] {
            let app = ours(operations, Some(&reference.launcher(launcher)));
            packer("verify", &app.package(), &[]).exits(0).prints("every byte");
            let start = at_home(&app.package(), &app.scratch.dir("home")).args(["two words", ""]).finish();
            let start = start.exits(7);
            assert_eq!(start.stdout(), "hello from app: two words--\n", "{launcher:?}, {operations}: {start}");
        }
    }
}

/// A package of ours that a launcher which unpacks every archive into the root starts as well.
fn ours(operations: &str, launcher: Option<&Path>) -> App {
    let greeting = "#!/bin/sh\necho \"hello from $NAME: $1-$2-$3\"\nexit 7\n";
    let (source, target) = if operations == "raw" { ("bin/greeting", "bin/greeting") } else { ("tree", "{workenv}") };
    let manifest = format!(
        "[execution]\ncommand = \"{{workenv}}/bin/greeting\"\nenv = {{ NAME = \"app\" }}\n[[slots]]\nid = \"greeting\"\n\
         source = \"{source}\"\ntarget = \"{target}\"\noperations = \"{operations}\"\npermissions = \"0755\"\n"
    );
    let options: Vec<&std::ffi::OsStr> =
        launcher.into_iter().flat_map(|path| ["--launcher-bin".as_ref(), path.as_os_str()]).collect();
    App::with(&[("bin/greeting", greeting), ("tree/bin/greeting", greeting)], &manifest, &options)
}
