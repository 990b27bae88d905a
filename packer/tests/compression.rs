//! Every compression that packer writes: the reference tools decode its slots to what went in, our own readers start
//! the package, and the same input gives the same bytes.

mod common;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use common::{Finish as _, Finished, Scratch};

/// Each compression, the words that name it alone and on an archive, and the command that undoes it.
const COMPRESSIONS: [(&str, [&str; 5], &str); 4] = [
    ("gzip", ["gz", "tar.gz", "tgz", "tar,gzip", "TAR|GZ"], "gzip"),
    ("bzip2", ["bz2", "tar.bz2", "tbz2", "tar,bzip2", "0x1301"], "bzip2"),
    ("xz", ["xz", "tar.xz", "txz", "tar,xz", "tar+xz"], "xz"),
    ("zstd", ["zst", "tar.zst", "tzst", "tar,zstd", "tar|zst"], "zstd"),
];

/// Files worth compressing, and a manifest beside them.
struct Project(Scratch);

impl Project {
    fn new() -> Self {
        let project = Self(Scratch::new());
        let tree = project.dir("project/tree/nested/deeper");
        fs::write(tree.join("empty"), "").unwrap();
        fs::write(tree.join("one"), "1").unwrap();
        let tree = project.path("tree");
        fs::write(tree.join("zeros"), vec![0; 3_000_000]).unwrap();
        fs::write(tree.join("noise"), noise(200_000)).unwrap();
        fs::write(tree.join("words"), words(600_000)).unwrap();
        let program = fs::read(std::env::current_exe().unwrap()).unwrap();
        fs::write(tree.join("program"), &program[..program.len().min(700_000)]).unwrap();
        fs::set_permissions(tree.join("program"), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("nested/deeper/one", tree.join("link")).unwrap();
        fs::create_dir(tree.join("nothing")).unwrap();
        // More than a chunk of gzip, a block of bzip2 or of zstd.
        fs::write(project.path("file"), words(1_200_000)).unwrap();
        project
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.0.dir(name)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join("project").join(name)
    }

    fn package(&self) -> PathBuf {
        self.0.join("app.psp")
    }

    /// Packs slots of these names and lines.
    fn pack(&self, slots: &[(&str, String)]) -> Finished {
        let mut text = String::from("[package]\nname = \"app\"\nversion = \"1.0\"\n\n[execution]\n");
        text += "command = [\"/bin/sh\", \"-c\", \"cd \\\"{workenv}\\\" && find -L . -type f ! -name .seal | sort | xargs sha256sum\"]\n";
        for (id, lines) in slots {
            text += &format!("[[slots]]\nid = \"{id}\"\n{lines}\n");
        }
        fs::write(self.path("app.toml"), text).unwrap();
        let mut pack = common::pack(&self.path("app.toml"), &self.package());
        pack.env("PSPF_CACHE_DIR", self.0.join("cache")).env("SOURCE_DATE_EPOCH", "1735689600").finish()
    }

    /// The slots' operations, as the package names them, and their stored bytes.
    fn stored(&self) -> Vec<(String, Vec<u8>)> {
        let package = fs::read(self.package()).unwrap();
        let report = common::packer().arg("inspect").arg(self.package()).arg("--json").finish().exits(0).json();
        let slots = report["slots"].as_array().expect("slots");
        let number = |slot: &serde_json::Value, key: &str| slot[key].as_u64().expect("a number") as usize;
        slots
            .iter()
            .filter(|slot| slot["lifecycle"] != "attestation")
            .map(|slot| {
                let (at, size) = (number(slot, "offset"), number(slot, "size"));
                (slot["operations"].as_str().expect("a chain").to_owned(), package[at..at + size].to_vec())
            })
            .collect()
    }

    /// What the packed program prints: the digest of every file in its workenv.
    #[track_caller]
    fn run(&self) -> String {
        let mut start = Command::new(self.package());
        start.env_clear().env("HOME", self.dir("home")).env("PATH", "/usr/bin:/bin");
        start.finish().exits(0).stays_quiet().stdout()
    }
}

fn tree(lines: &str) -> String {
    format!("source = \"tree\"\n{lines}")
}

fn file(lines: &str) -> String {
    format!("source = \"file\"\n{lines}")
}

/// What a command makes of its standard input; `None`, said by name, where there is no such command.
fn filter(program: &str, arguments: &[&str], data: &[u8]) -> Option<Vec<u8>> {
    let spawned = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut process = common::require(spawned.map_err(|error| format!("{program} does not start: {error}")))?;
    let (mut to, mut from) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
    let mut out = Vec::new();
    thread::scope(|scope| {
        // A command that fails closes its end; its exit code says more.
        scope.spawn(move || _ = to.write_all(data));
        from.read_to_end(&mut out).unwrap();
    });
    assert!(process.wait().unwrap().success(), "{program} {arguments:?} refuses what packer wrote");
    Some(out)
}

/// Everything below a directory: paths, modes, link targets and contents.
fn listing(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if metadata.is_dir() {
                found.push(format!("{name}/"));
                open.push(path);
            } else if metadata.is_symlink() {
                found.push(format!("{name} -> {}", fs::read_link(&path).unwrap().display()));
            } else {
                let executable = metadata.permissions().mode() & 0o100 != 0;
                let digest = pspf_core::Digest::of(&fs::read(&path).unwrap());
                found.push(format!("{name} {executable} {digest}"));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn reference_tools_decode_every_slot_to_what_was_packed() {
    let project = Project::new();
    for (name, spellings, program) in COMPRESSIONS {
        let one = |operations: &str| file(&format!("operations = \"{operations}\""));
        let many = |operations: &str| tree(&format!("operations = \"{operations}\""));
        let slots =
            [("one", one(name)), ("again", one(spellings[0])), ("many", many(spellings[1])), ("plain", many("tar"))];
        project.pack(&slots).exits(0);
        let stored = project.stored();
        let Some(decoded) = filter(program, &["-dc"], &stored[0].1) else { continue };
        assert!(decoded == fs::read(project.path("file")).unwrap(), "{name}");
        assert!(stored[0].1 == stored[1].1, "{name} and {} are the same", spellings[0]);
        let archive = filter(program, &["-dc"], &stored[2].1).expect("it was there before");
        assert!(archive == stored[3].1, "{name}: the archive is the one that is stored without compression");
        let unpacked = project.dir(&format!("unpacked-{name}"));
        filter("tar", &["-x", "-p", "-C", unpacked.to_str().unwrap()], &archive);
        assert_eq!(listing(&unpacked), listing(&project.path("tree")), "{name}");
    }
}

#[test]
fn packages_of_every_compression_start_with_the_launcher_that_packer_chose() {
    let project = Project::new();
    let plain = [("many", tree("operations = \"tar\"")), ("one", file("operations = \"raw\""))];
    project.pack(&plain).exits(0);
    let expected = project.run();
    assert!(expected.contains("./many/nested/deeper/one") && expected.contains("./one"), "{expected}");
    for (name, spellings, _) in COMPRESSIONS {
        let slots = [
            ("many", tree(&format!("operations = \"{}\"", spellings[1]))),
            ("one", file(&format!("operations = \"{name}\""))),
        ];
        project.pack(&slots).exits(0);
        common::packer().arg("verify").arg(project.package()).finish().exits(0).prints("sealed");
        assert_eq!(project.run(), expected, "{name}");
    }
}

#[test]
fn all_of_them_in_one_package_come_out_the_same() {
    let project = Project::new();
    let mut slots = Vec::new();
    for (name, spellings, _) in COMPRESSIONS {
        slots.push((name, tree(&format!("operations = \"{}\"", spellings[1]))));
    }
    project.pack(&slots).exits(0);
    let (printed, packed) = (project.run(), listing(&project.path("tree")));
    let out = project.dir("out").join("all");
    common::packer().arg("extract-all").arg(project.package()).arg(&out).finish().exits(0);
    for (name, _, _) in COMPRESSIONS {
        assert_eq!(listing(&out.join(name)), packed, "{name}");
        assert!(printed.contains(&format!("./{name}/nested/deeper/one")), "{printed}");
    }
}

#[test]
fn every_spelling_of_a_chain_gives_the_same_slot() {
    let project = Project::new();
    for (name, spellings, _) in COMPRESSIONS {
        // Of a directory also without "tar": it is an archive in any case.
        let ids = ["a", "b", "c", "d", "e"];
        let slots: Vec<_> = ids
            .iter()
            .zip(spellings[1..].iter().chain([&spellings[0]]))
            .map(|(id, spelling)| (*id, format!("source = \"tree/nested\"\noperations = \"{spelling}\"")))
            .collect();
        project.pack(&slots).exits(0);
        let stored = project.stored();
        assert_eq!(stored[0].0, spellings[1], "{name}: the spelling that is written");
        assert!(stored.iter().all(|slot| *slot == stored[0]), "{name}");
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let project = Project::new();
    let slots: Vec<_> = COMPRESSIONS
        .iter()
        .map(|(name, spellings, _)| (*name, tree(&format!("operations = \"{}\"", spellings[1]))))
        .collect();
    project.pack(&slots).exits(0);
    let first = fs::read(project.package()).unwrap();
    project.pack(&slots).exits(0);
    assert!(first == fs::read(project.package()).unwrap());
}

#[test]
fn every_level_is_read_by_the_reference_tools_and_by_us() {
    let project = Project::new();
    fs::write(project.path("file"), words(600_000)).unwrap();
    for (name, _, program) in COMPRESSIONS {
        let levels = if name == "zstd" { 1..=19 } else { 1..=9 };
        let ids: Vec<String> = levels.clone().map(|level| format!("level-{level}")).collect();
        let slots: Vec<_> = ids
            .iter()
            .zip(levels)
            .map(|(id, level)| (id.as_str(), file(&format!("operations = \"{name}\"\nlevel = {level}"))))
            .collect();
        project.pack(&slots).exits(0);
        common::packer().arg("verify").arg(project.package()).finish().exits(0);
        let out = project.dir("out").join(name);
        common::packer().arg("extract-all").arg(project.package()).arg(&out).finish().exits(0);
        let content = fs::read(project.path("file")).unwrap();
        let stored = project.stored();
        for (id, (_, stored)) in ids.iter().zip(&stored) {
            assert!(fs::read(out.join(id)).unwrap() == content, "{name}, {id}");
            if let Some(decoded) = filter(program, &["-dc"], stored) {
                assert!(decoded == content, "{name}, {id}");
            }
        }
        let (first, last) = (stored[0].1.len(), stored[stored.len() - 1].1.len());
        assert!(last < first, "{name}: {last} bytes at the highest level, {first} at the lowest");
    }
}

#[test]
fn empty_and_tiny_slots_are_compressed_like_any_other() {
    let project = Project::new();
    fs::write(project.path("none"), "").unwrap();
    fs::write(project.path("one"), "1").unwrap();
    for (name, spellings, program) in COMPRESSIONS {
        let slots = [
            ("none", format!("source = \"none\"\noperations = \"{name}\"")),
            ("one", format!("source = \"one\"\noperations = \"{name}\"")),
            ("tree", format!("source = \"tree/nothing\"\noperations = \"{}\"", spellings[1])),
        ];
        project.pack(&slots).exits(0);
        common::packer().arg("verify").arg(project.package()).finish().exits(0);
        assert_eq!(project.run().lines().count(), 2, "{name}");
        for ((_, stored), content) in project.stored().iter().zip([&b""[..], b"1", &[0; 1024]]) {
            let Some(decoded) = filter(program, &["-dc"], stored) else { continue };
            assert!(decoded == content, "{name}");
        }
    }
}

#[test]
fn no_slot_asks_its_reader_for_more_than_8_mib_of_history() {
    // The highest levels ask for the largest windows; here is something to find at the far end of 8 MiB, and beyond.
    let project = Project::new();
    let noise = noise(60_000);
    let content = [&noise[..], &vec![0; (8 << 20) - 100_000], &noise, &vec![1; 100_000], &noise].concat();
    fs::write(project.path("file"), content).unwrap();
    project
        .pack(&[("zstd", file("operations = \"zstd\"\nlevel = 19")), ("xz", file("operations = \"xz\"\nlevel = 9"))])
        .exits(0);
    // Verification with claims, which packer's packages have, grants 8 MiB.
    common::packer().arg("verify").arg(project.package()).finish().exits(0);
    common::packer().arg("extract-all").arg(project.package()).arg(project.dir("out").join("x")).finish().exits(0);
    assert_eq!(project.run().lines().count(), 2);
}

#[test]
fn what_cannot_be_written_is_refused_with_what_can() {
    let project = Project::new();
    let refused = |lines: String, words: &[&str]| {
        let finished = project.pack(&[("x", lines)]).exits(109).prints_nothing().says("app.toml, line ");
        words.iter().fold(finished.says("\n  try: "), |finished, word| finished.says(word));
        assert!(!project.package().exists());
    };
    let all = "raw, tar, gzip, bzip2, xz or zstd, or tar with one compression";
    for chain in ["tar.gz.xz", "tar.zst.bz2"] {
        refused(tree(&format!("operations = \"{chain}\"")), &["line 10, slots[0].operations", all, chain]);
    }
    refused(file("operations = \"gz.gz\""), &["slots[0].operations", all, "gz.gz"]);
    for (chain, level, range) in
        [("gzip", "0", "1 to 9"), ("bz2", "10", "1 to 9"), ("xz", "10", "1 to 9"), ("zst", "20", "1 to 19")]
    {
        let lines = file(&format!("operations = \"{chain}\"\nlevel = {level}"));
        refused(lines, &["line 11, slots[0].level", chain, range, &format!("found:    {level}")]);
    }
    refused(tree("level = 99999999999999999999"), &["slots[0].level", "a whole number"]);
    refused(tree("level = \"9\""), &["slots[0].level", "a whole number"]);
    refused(tree("operations = \"tar\"\nlevel = 3"), &["slots[0].level", "not compressed", "gzip, bzip2, xz or zstd"]);
    let archive = filter("tar", &["-cz", "-C", project.path("tree").to_str().unwrap(), "words"], b"").unwrap();
    fs::write(project.path("x.tgz"), archive).unwrap();
    let lines = "source = \"x.tgz\"\noperations = \"tgz\"\nlevel = 3".to_owned();
    refused(lines, &["slots[0].level", "encoded already"]);
}

/// Words of different frequency, the same every time.
fn words(size: usize) -> Vec<u8> {
    let mut random = noise(size).into_iter();
    let mut words = Vec::with_capacity(size + 16);
    while words.len() < size {
        let (a, b) = (random.next().unwrap_or(0), random.next().unwrap_or(0));
        let digest = pspf_core::Digest::of(&[a & b, a % 7]).to_string();
        words.extend_from_slice(&digest.as_bytes()[..1 + usize::from(b % 11)]);
        words.push(if a % 13 == 0 { b'\n' } else { b' ' });
    }
    words.truncate(size);
    words
}

/// Bytes that do not compress, the same every time.
fn noise(size: usize) -> Vec<u8> {
    (0_u64..).flat_map(|i| pspf_core::Digest::of(&i.to_le_bytes()).0).take(size).collect()
}
