//! Archives of every shape, and what GNU tar and Python's tarfile make of those that our reader accepts: the same members,
//! with the same paths, kinds, modes, sizes, targets and contents. What they might take for different things is refused.
//!
//! Also without the feature `foreign`. `cargo xtask vectors` adds other people's archives, and `PSPF_TEST_FULL=1` more of
//! those that are changed at random.

mod skipped;

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pspf_core::archive::{BLOCK, Kind, Reader};
use pspf_core::codec::Stored;
use pspf_core::{Digest, Part, Result};
use serde_json::Value;
use skipped::skip;

#[test]
fn archives_of_every_shape_are_refused_or_read_as_gnu_tar_and_python_read_them() {
    let compared = compare("shapes", shapes());
    assert!(compared.accepted.len() >= if cfg!(feature = "foreign") { 40 } else { 15 }, "{:?}", compared.accepted);
    assert!(compared.refused.len() >= 300, "{}", compared.refused.len());
}

#[test]
fn archives_with_fields_changed_at_random_are_refused_or_read_as_gnu_tar_and_python_read_them() {
    let wanted = if env::var_os("PSPF_TEST_FULL").is_some() { 2000 } else { 250 };
    let mut random = Random(1);
    let mut accepted = Vec::new();
    let mut tried = 0;
    while accepted.len() < wanted {
        tried += 1;
        let archive = changed_at_random(&mut random);
        if ours(&archive).is_ok() {
            accepted.push((format!("number {tried}"), archive));
        }
    }
    let compared = compare("random", accepted);
    println!("{} of {tried} archives accepted, and read the same elsewhere", compared.accepted.len());
}

/// A directory for each collection, which `cargo xtask vectors` fills.
#[test]
fn other_peoples_archives_are_refused_or_read_as_gnu_tar_and_python_read_them() {
    let Some(vectors) = env::var_os("PSPF_TEST_VECTORS") else { return };
    let mut rows = String::new();
    let mut collections = 0;
    for collection in sorted(&Path::new(&vectors).join("tar")) {
        collections += 1;
        let name = collection.file_name().unwrap().to_string_lossy().into_owned();
        let archives = sorted(&collection)
            .into_iter()
            .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()));
        let compared = compare(&name, archives.collect());
        let all = compared.accepted.len() + compared.refused.len();
        let _ = writeln!(rows, "\n### {name}: {all} archives, {} read the same\n", compared.accepted.len());
        let _ = writeln!(rows, "| archive | outcome |\n|---|---|");
        for (archive, members) in &compared.accepted {
            let _ = writeln!(rows, "| {archive} | members: {members}, as GNU tar and Python read them |");
        }
        for (archive, reason) in &compared.refused {
            let _ = writeln!(rows, "| {archive} | refused: {} |", reason.replace('|', "\\|"));
        }
    }
    assert!(collections > 0, "there are no archives in {}", vectors.display());
    print!("{rows}");
    if let Some(results) = env::var_os("PSPF_TEST_RESULTS") {
        let features = if cfg!(feature = "foreign") { ("4-tar-foreign.md", "with") } else { ("5-tar.md", "without") };
        let text = format!("## Archives, read {} the feature `foreign`\n{rows}", features.1);
        fs::write(Path::new(&results).join(features.0), text).unwrap();
    }
}

/// A member of an archive, as far as readers have to agree.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    path: String,
    /// `-`, `d`, `l` or `h`, as `ls` has them.
    kind: char,
    mode: u16,
    size: u64,
    target: String,
    content: Option<Digest>,
}

#[derive(Default)]
struct Compared {
    /// With the number of their members.
    accepted: BTreeMap<String, usize>,
    /// With the reason.
    refused: BTreeMap<String, String>,
}

/// Fails when an archive is accepted and read differently elsewhere.
fn compare(collection: &str, archives: Vec<(String, Vec<u8>)>) -> Compared {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tar-{collection}-{}", std::process::id()));
    fs::create_dir_all(&place).unwrap();
    let mut compared = Compared::default();
    let mut accepted = Vec::new();
    for (name, archive) in archives {
        match ours(&archive) {
            Ok(members) => {
                let path = place.join(format!("{}.tar", accepted.len()));
                fs::write(&path, &archive).unwrap();
                compared.accepted.insert(name.clone(), members.len());
                accepted.push((name, path, members));
            }
            Err(error) => _ = compared.refused.insert(name, error.to_string()),
        }
    }
    let paths: Vec<&Path> = accepted.iter().map(|(_, path, _)| path.as_path()).collect();
    let mut problems = Vec::new();
    if let Some(answers) = by_python(&paths) {
        for ((name, _, ours), theirs) in accepted.iter().zip(&answers) {
            problems.extend(difference(ours, theirs).map(|what| format!("{name}, Python: {what}")));
        }
    }
    for (name, path, ours) in &accepted {
        let Some(theirs) = by_tar(path) else { break };
        problems.extend(difference(ours, &theirs).map(|what| format!("{name}, GNU tar: {what}")));
    }
    fs::remove_dir_all(&place).unwrap();
    let some = problems[..problems.len().min(20)].join("\n");
    assert!(problems.is_empty(), "{} differences in {collection}:\n{some}", problems.len());
    compared
}

fn difference(ours: &[Member], theirs: &Result<Vec<Member>, String>) -> Option<String> {
    match theirs {
        Ok(theirs) if ours == theirs => None,
        Ok(theirs) => {
            let at = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
            Some(format!("member {at}: {:?} here, {:?} there", ours.get(at), theirs.get(at)))
        }
        Err(error) => Some(format!("accepted here, refused there: {error}")),
    }
}

fn ours(archive: &[u8]) -> Result<Vec<Member>> {
    let mut stage = Stored::new(&archive, Part::Slot(0), 0, archive.len() as u64);
    let mut reader = Reader::new(&mut stage);
    let mut members = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut content = Vec::new();
        loop {
            let ready = reader.fill()?;
            if ready.is_empty() {
                break;
            }
            content.extend_from_slice(ready);
            let count = ready.len();
            reader.consume(count);
        }
        let (kind, size, target) = match entry.kind {
            Kind::File { size } => ('-', size, String::new()),
            Kind::Directory => ('d', 0, String::new()),
            Kind::Symlink { target } => ('l', 0, target),
            #[cfg(feature = "foreign")]
            Kind::Hardlink { target } => ('h', 0, target),
        };
        assert_eq!(content.len() as u64, size);
        let content = (kind == '-').then(|| Digest::of(&content));
        members.push(Member { path: entry.path, kind, mode: entry.mode, size, target, content });
    }
    Ok(members)
}

/// The members as Python's tarfile has them, for each archive.
fn by_python(archives: &[&Path]) -> Option<Vec<Result<Vec<Member>, String>>> {
    const PROGRAM: &str = r#"
import hashlib, json, sys, tarfile
KINDS = {tarfile.REGTYPE: "-", tarfile.AREGTYPE: "-", tarfile.DIRTYPE: "d", tarfile.SYMTYPE: "l", tarfile.LNKTYPE: "h"}
for path in sys.stdin.read().splitlines():
    try:
        members = []
        with tarfile.open(path, "r:", encoding="utf-8") as archive:
            for member in archive:
                kind = KINDS.get(member.type, "?")
                content = hashlib.sha256(archive.extractfile(member).read()).hexdigest() if kind == "-" else None
                names = [name.encode("utf-8", "replace").decode() for name in (member.name, member.linkname)]
                members.append([names[0], kind, member.mode & 0o7777, member.size, names[1], content])
        print(json.dumps(members))
    except Exception as error:
        print(json.dumps(f"{type(error).__name__}: {error}"))
"#;
    let mut python = Command::new("python3");
    python.args(["-c", PROGRAM]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut python) = python.spawn() else {
        skip("python3");
        return None;
    };
    let mut stdin = python.stdin.take().unwrap();
    for archive in archives {
        writeln!(stdin, "{}", archive.display()).unwrap();
    }
    drop(stdin);
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers = answers.lines().map(|line| match serde_json::from_str(line).unwrap() {
        Value::String(error) => Err(error),
        members => Ok(members.as_array().unwrap().iter().filter_map(python_member).collect()),
    });
    let answers: Vec<_> = answers.collect();
    assert_eq!(answers.len(), archives.len());
    Some(answers)
}

fn python_member(member: &Value) -> Option<Member> {
    let text = |at: usize| member[at].as_str().unwrap_or_default();
    let kind = text(1).chars().next().unwrap();
    let content = member[5].as_str().map(|digits| Digest::from_hex(digits).unwrap());
    let size = member[3].as_u64().unwrap_or(u64::MAX);
    let mode = member[2].as_u64().unwrap() as u16;
    normal(text(0), kind, mode, size, text(4), content)
}

/// The members as GNU tar lists them, and the digests of what it gives out as their contents.
fn by_tar(archive: &Path) -> Option<Result<Vec<Member>, String>> {
    let tar = |arguments: &[&str]| {
        let mut tar = Command::new("tar");
        // What it would put on the disk goes where the archive is, which is removed.
        tar.args(arguments).arg("--file").arg(archive).current_dir(archive.parent().unwrap());
        tar.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default()).env("LC_ALL", "C").env("TZ", "UTC");
        tar.stdin(Stdio::null()).output().ok()
    };
    let Some(listed) = tar(&["--list", "--verbose", "--numeric-owner", "--quoting-style=c"]) else {
        skip("tar");
        return None;
    };
    let contents = tar(&["--extract", "--to-stdout"])?;
    for output in [&listed, &contents] {
        if !output.status.success() {
            return Some(Err(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
    }
    let mut contents = &contents.stdout[..];
    let mut members = Vec::new();
    for line in String::from_utf8_lossy(&listed.stdout).lines() {
        let (facts, mut names) = line.split_at(line.find('"').unwrap_or_else(|| panic!("{line}")));
        let facts: Vec<&str> = facts.split_whitespace().collect();
        let size: u64 = facts[2].parse().unwrap();
        let kind = facts[0].chars().next().unwrap();
        let path = unquoted(&mut names);
        let is_link = names.strip_prefix(" -> ").or_else(|| names.strip_prefix(" link to "));
        let target = is_link.map_or_else(String::new, |mut target| unquoted(&mut target));
        let content = (kind == '-').then(|| {
            let Some((content, rest)) = contents.split_at_checked(size as usize) else { return Digest([0; 32]) };
            contents = rest;
            Digest::of(content)
        });
        members.extend(normal(&path, kind, mode_of(facts[0]), size, &target, content));
    }
    if !contents.is_empty() {
        return Some(Err(format!("{} bytes of content too many", contents.len())));
    }
    Some(Ok(members))
}

/// As our reader has it: without a leading `./` and a trailing `/`, and without the root itself.
fn normal(path: &str, kind: char, mode: u16, size: u64, target: &str, content: Option<Digest>) -> Option<Member> {
    fn plain(path: &str) -> &str {
        let mut path = path;
        while let Some(rest) = path.strip_prefix("./") {
            path = rest;
        }
        path.strip_suffix('/').unwrap_or(path)
    }
    if kind == 'd' && matches!(path, "." | "./") {
        return None;
    }
    let target = match kind {
        'h' => plain(target),
        'l' => target,
        _ => "",
    };
    Some(Member { path: plain(path).to_owned(), kind, mode, size, target: target.to_owned(), content })
}

/// `rwsr-xr-t` behind the type, as a number.
fn mode_of(text: &str) -> u16 {
    let mut mode = 0;
    for (at, letter) in text.chars().skip(1).enumerate() {
        let (bit, special) = (0o400 >> at, 0o4000 >> (at / 3));
        mode |= match letter {
            '-' => 0,
            's' | 't' => bit | special,
            'S' | 'T' => special,
            _ => bit,
        };
    }
    mode
}

/// The text between quotation marks at the start, its escapes undone; `text` is what follows then.
fn unquoted(text: &mut &str) -> String {
    let bytes = text.as_bytes();
    let mut name = Vec::new();
    let mut at = 1;
    while bytes[at] != b'"' {
        if bytes[at] != b'\\' {
            name.push(bytes[at]);
            at += 1;
            continue;
        }
        at += 2;
        name.push(match bytes[at - 1] {
            b'a' => 7,
            b'b' => 8,
            b't' => b'\t',
            b'n' => b'\n',
            b'v' => 11,
            b'f' => 12,
            b'r' => b'\r',
            b'0'..=b'7' => {
                at += 2;
                u8::from_str_radix(&text[at - 3..at], 8).unwrap()
            }
            other => other,
        });
    }
    *text = &text[at + 1..];
    String::from_utf8_lossy(&name).into_owned()
}

// Archives

/// Every shape that some reader was once deceived by, and ordinary ones beside them.
fn shapes() -> Vec<(String, Vec<u8>)> {
    let mut shapes: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |name: String, archive: Vec<u8>| shapes.push((name, archive));
    let file = |name: &str| [&Header::new(name, b'0').size(3).block()[..], &padded(b"abc")].concat();

    for kind in 0..=255 {
        add(format!("type {kind}"), ended(&[&Header::new("name", kind).link("other").block()]));
        add(
            format!("type {kind}, with content"),
            ended(&[&Header::new("name", kind).size(3).block(), &padded(b"abc")]),
        );
        let next = [&Header::new("name", kind).block()[..], &file("next")].concat();
        add(format!("type {kind}, before a file"), ended(&[&next]));
    }
    for (what, magic) in [("POSIX", POSIX), ("GNU", GNU), ("no", &[0; 8]), ("another", b"ustar\0  ")] {
        add(format!("{what} magic"), ended(&[&Header::new("a", b'0').magic(magic).block(), &file("b")]));
        add(format!("{what} magic, a prefix"), ended(&[&Header::new("a", b'0').magic(magic).prefix("p").block()]));
        add(format!("{what} magic, a long name"), ended(&[&long(b'L', "long", magic), &file("b")]));
    }

    // Names
    for name in [
        ".",
        "./",
        "..",
        "../a",
        "/a",
        "//a",
        "a//b",
        "a/../b",
        "a/./b",
        "a/.",
        "a/..",
        "./a",
        "././a",
        ".//a",
        "",
        " ",
        "a b",
        " a ",
        "a\nb",
        "a\tb",
        "\"a\"",
        "a\\b",
        "C:a",
        "CON",
        "a:b",
        "a.",
        "a ",
        "*",
        "a/",
        "\u{e9}",
        "e\u{301}",
        "\u{1f4e6}",
        "-",
        "--file",
        "\u{7f}",
        "\u{1}",
        "PaxHeader/a",
        "././@LongLink",
        "GNUSparseFile.0/a",
    ] {
        add(format!("file {name:?}"), ended(&[&file(name)]));
        add(format!("directory {name:?}"), ended(&[&Header::new(name, b'5').block()]));
        add(format!("link to {name:?}"), ended(&[&Header::new("link", b'2').link(name).block()]));
        add(format!("GNU name {name:?}"), ended(&[&long(b'L', name, GNU), &file("cut")]));
        add(format!("PAX path {name:?}"), ended(&[&pax(&record("path", name.as_bytes())), &file("cut")]));
    }
    for size in [99, 100, 101, 155, 156, 255, 256, 257, 4095, 4096, 4097] {
        let name = "n/".repeat(size)[..size - 1].to_owned() + "n";
        add(format!("GNU name of {size} bytes"), ended(&[&long(b'L', &name, GNU), &file("cut")]));
        add(format!("PAX path of {size} bytes"), ended(&[&pax(&record("path", name.as_bytes())), &file("cut")]));
        if size <= 100 {
            add(format!("name of {size} bytes"), ended(&[&file(&name)]));
        }
    }
    add(
        "a prefix of 155 bytes".into(),
        ended(&[&Header::new(&"n".repeat(100), b'0').prefix(&"p".repeat(155)).block()]),
    );
    add("not UTF-8".into(), ended(&[&Header::new("", b'0').bytes(0, b"\xff\xfe").block()]));
    add("NUL in a name, and more".into(), ended(&[&Header::new("", b'0').bytes(0, b"a\0b").block()]));
    for (first, second) in [("a", "a"), ("a", "./a"), ("a", "A"), ("\u{e9}", "e\u{301}"), ("stra\u{df}e", "strasse")] {
        add(format!("{first:?} and {second:?}"), ended(&[&file(first), &file(second)]));
        let directory = Header::new(second, b'5').block();
        add(format!("{first:?} and a directory {second:?}"), ended(&[&file(first), &directory]));
    }

    // Numbers
    for (field, at, width) in [
        ("mode", 100, 8),
        ("uid", 108, 8),
        ("gid", 116, 8),
        ("size", 124, 12),
        ("mtime", 136, 12),
        ("devmajor", 329, 8),
    ] {
        let mut values: Vec<Vec<u8>> = [
            &b""[..],
            b" ",
            b"0",
            b"3",
            b"3 ",
            b" 3",
            b"  3\0",
            b"3\0garbage",
            b"3 4",
            b"8",
            b"9",
            b"-1",
            b"+3",
            b"0x3",
        ]
        .map(<[u8]>::to_vec)
        .to_vec();
        values.push(vec![b'0'; width]);
        values.push(vec![b'7'; width]);
        values.push([&vec![b'0'; width - 1][..], b"3"].concat());
        values.push([&vec![b'0'; width - 2][..], b"3 "].concat());
        for binary in [&[0x80, 3][..], &[0x80, 0xff], &[0xff, 0xff], &[0xff, 0xfe], &[0x81, 0], &[0xc0, 0]] {
            let mut value = vec![if binary[0] == 0xff { 0xff } else { 0 }; width];
            (value[0], value[width - 1]) = (binary[0], binary[1]);
            values.push(value);
        }
        for value in values {
            let shown = String::from_utf8_lossy(&value).into_owned();
            let mut padded_value = value.clone();
            padded_value.resize(width, 0);
            padded_value.truncate(width);
            let changed = Header::new("a", b'0').size(3).bytes(at, &padded_value);
            add(format!("{field} {shown:?}"), ended(&[&changed.block(), &padded(b"abc"), &file("b")]));
            let first = ended(&[&file("0"), &changed.block(), &padded(b"abc"), &file("b")]);
            add(format!("{field} {shown:?}, behind another"), first);
        }
    }
    for mode in [0, 0o644, 0o777, 0o4755, 0o2755, 0o1777, 0o7777, 0o100_644, 0o170_000] {
        for kind in [b'0', b'5', b'2'] {
            let header = Header::new("a", kind).link("other").bytes(100, format!("{mode:07o}\0").as_bytes());
            add(format!("mode {mode:o} of type {kind}"), ended(&[&header.block()]));
        }
    }

    // Extensions
    for (what, records) in [
        ("a size", record("size", b"3")),
        ("another size", record("size", b"512")),
        ("no size", record("size", b"0")),
        ("a negative size", record("size", b"-3")),
        ("a size with a sign", record("size", b"+3")),
        ("a size with a space", record("size", b" 3")),
        ("a size in hexadecimal", record("size", b"0x3")),
        ("a size with a point", record("size", b"3.0")),
        ("an empty size", record("size", b"")),
        ("an empty path", record("path", b"")),
        ("an empty target", record("linkpath", b"")),
        ("two paths", [record("path", b"a"), record("path", b"b")].concat()),
        ("NUL in a path", record("path", b"a\0b")),
        ("a line break in a path", record("path", b"a\nb")),
        ("times", [record("mtime", b"1.5"), record("atime", b"2"), record("ctime", b"3")].concat()),
        ("a bad time", record("mtime", b"never")),
        ("an owner", [record("uid", b"7"), record("uname", b"seven")].concat()),
        ("a bad owner", record("uid", b"seven")),
        ("a comment", record("comment", b"=\n=")),
        ("an empty key", record("", b"value")),
        ("NUL in a key", record("comm\0ent", b"value")),
        ("NUL in a name", record("uname", b"a\0b")),
        ("NUL in a comment", record("comment", b"a\0b")),
        ("a path in bytes", [record("hdrcharset", b"BINARY"), record("path", b"\xc3\xa9")].concat()),
        ("a charset", [record("hdrcharset", b"BINARY"), record("path", b"\xff")].concat()),
        ("a plain charset", [record("hdrcharset", b"ISO-IR 10646 2000 UTF-8"), record("path", b"a")].concat()),
        ("a sparse file", [record("GNU.sparse.size", b"9"), record("GNU.sparse.numblocks", b"0")].concat()),
        ("a sparse file of PAX 1.0", [record("GNU.sparse.major", b"1"), record("GNU.sparse.minor", b"0")].concat()),
        ("another sparse name", record("GNU.sparse.name", b"hidden")),
        ("a real size of star's", record("SCHILY.realsize", b"9")),
        ("a type of star's", record("SCHILY.filetype", b"sparse")),
        ("an extended attribute", record("SCHILY.xattr.user.a", b"\0\xff=\n")),
        ("a volume", record("GNU.volume.label", b"a")),
        ("an archive within", record("GNU.volume.filename", b"a")),
        ("a dump", record("GNU.dumpdir", b"Ya\0\0")),
        ("a negative time", record("mtime", b"-1.5")),
        ("a time of a point", record("mtime", b".")),
        ("a time that ends in a point", record("mtime", b"1.")),
        ("a time beyond 63 bits", record("mtime", b"9223372036854775808")),
        ("an owner beyond 32 bits", record("gid", b"4294967296")),
        ("the largest owner", record("gid", b"4294967295")),
        ("no records", Vec::new()),
        ("zeros", vec![0; 20]),
        ("records and a zero", [record("path", b"a"), vec![0]].concat()),
        ("no line break", b"10 path=ab".to_vec()),
        ("a length too long", b"99 path=ab\n".to_vec()),
        ("a length too short", b"5 path=ab\n".to_vec()),
        ("a length of zero", b"0 path=ab\n".to_vec()),
        ("a length with a zero in front", b"011 path=ab\n".to_vec()),
        ("a length with a space in front", b" 11 path=ab\n".to_vec()),
        ("a tab for the space", b"11\tpath=ab\n".to_vec()),
        ("no equals sign", b"11 pathxab\n".to_vec()),
    ] {
        add(format!("PAX, {what}"), ended(&[&pax(&records), &file("a"), &file("b")]));
        let sized = ended(&[&pax(&records), &Header::new("a", b'0').block(), &padded(b"abc"), &file("b")]);
        add(format!("PAX, {what}, and no size in the header"), sized);
        add(format!("PAX, {what}, for a link"), ended(&[&pax(&records), &Header::new("a", b'2').link("b").block()]));
        add(format!("PAX for all, {what}"), ended(&[&extended(b'g', &records, POSIX), &file("a")]));
        add(format!("PAX of Solaris, {what}"), ended(&[&extended(b'X', &records, POSIX), &file("a")]));
    }
    let path = record("path", b"long");
    add("PAX before the end".into(), ended(&[&file("a"), &pax(&path)]));
    add("PAX twice".into(), ended(&[&pax(&path), &pax(&path), &file("a")]));
    add("PAX twice, once with nothing".into(), ended(&[&pax(&path), &pax(b""), &file("a")]));
    add("PAX twice, about different things".into(), ended(&[&pax(&path), &pax(&record("size", b"3")), &file("a")]));
    add("PAX and GNU".into(), ended(&[&pax(&path), &long(b'L', "gnu", GNU), &file("a")]));
    add("GNU and PAX".into(), ended(&[&long(b'L', "gnu", GNU), &pax(&path), &file("a")]));
    add("GNU twice".into(), ended(&[&long(b'L', "one", GNU), &long(b'L', "two", GNU), &file("a")]));
    add("GNU name and target".into(), {
        let link = Header::new("cut", b'2').link("cut").magic(GNU).block();
        ended(&[&long(b'L', "name", GNU), &long(b'K', "target", GNU), &link])
    });
    add("GNU target for a file".into(), ended(&[&long(b'K', "target", GNU), &file("a")]));
    add("GNU name without NUL".into(), ended(&[&extended(b'L', b"name", GNU), &file("a")]));
    add("GNU name with two NULs".into(), ended(&[&extended(b'L', b"name\0\0", GNU), &file("a")]));
    add("GNU name of nothing".into(), ended(&[&extended(b'L', b"", GNU), &file("a")]));
    add("GNU name of NUL".into(), ended(&[&extended(b'L', b"\0", GNU), &file("a")]));
    // The header's size says 0, the record's leads over a whole hidden archive.
    let hidden = ended(&[&file("hidden")]);
    let phantom = pax(&record("size", hidden.len().to_string().as_bytes()));
    add("a hidden entry".into(), ended(&[&phantom, &Header::new("a", b'0').block(), &hidden, &file("b")]));
    let shown = Header::new("a", b'0').size(hidden.len() as u64).block();
    add("a phantom entry".into(), ended(&[&pax(&record("size", b"0")), &shown, &hidden, &file("b")]));
    add("an archive as content".into(), ended(&[&shown, &hidden, &file("b")]));
    let directory = Header::new("d", b'5').size(hidden.len() as u64).block();
    add("a directory with content".into(), ended(&[&directory, &hidden, &file("b")]));

    // Links
    add("a hard link".into(), ended(&[&file("a"), &Header::new("b", b'1').link("a").block()]));
    add("a hard link to ./".into(), ended(&[&file("a"), &Header::new("b", b'1').link("./a").block()]));
    let sized = Header::new("b", b'1').link("a").size(3).block();
    add("a hard link with a size".into(), ended(&[&file("a"), &sized, &file("c")]));
    add("a hard link with content".into(), ended(&[&file("a"), &sized, &padded(b"abc"), &file("c")]));
    add("a link with a size".into(), ended(&[&Header::new("b", b'2').link("a").size(3).block(), &file("c")]));

    // Ends
    let one = file("a");
    add("no end".into(), one.clone());
    add("half an end".into(), [&one[..], &[0; BLOCK]].concat());
    add("a cut end".into(), [&one[..], &[0; 2 * BLOCK - 1]].concat());
    add("a long end".into(), [&one[..], &[0; 20 * BLOCK]].concat());
    add("a crooked end".into(), [&one[..], &[0; 2 * BLOCK + 7]].concat());
    add("an entry behind one block of zeros".into(), [&one[..], &[0; BLOCK], &ended(&[&file("b")])].concat());
    add("an archive behind the end".into(), [&ended(&[&one])[..], &ended(&[&file("b")])].concat());
    add("a byte behind the end".into(), [&ended(&[&one])[..], b"x"].concat());
    add("nothing but an end".into(), vec![0; 2 * BLOCK]);
    add("nothing".into(), Vec::new());
    add("cut content".into(), Header::new("a", b'0').size(3).block().to_vec());
    for (what, sum) in [("unsigned", 0), ("signed", 1), ("wrong", 2)] {
        let mut header = Header::new("\u{e9}\u{e9}", b'0').0;
        let bytes =
            header.iter().enumerate().map(|(at, byte)| (if (148..156).contains(&at) { b' ' } else { *byte }, at));
        let total: i64 =
            bytes.map(|(byte, _)| if sum == 1 { i64::from(byte.cast_signed()) } else { byte.into() }).sum();
        let total = total + i64::from(sum == 2);
        header[148..156].copy_from_slice(format!("{total:06o}\0 ").as_bytes());
        add(format!("a checksum that is {what}"), ended(&[&header]));
    }
    shapes
}

/// Two or three entries, some of whose fields hold something odd, with checksums that fit.
fn changed_at_random(random: &mut Random) -> Vec<u8> {
    let mut archive = Vec::new();
    for number in 0..1 + random.below(3) {
        let name = ["a", "b", "c", "d"][number + usize::from(random.below(4) == 0)].to_owned();
        let kind = random.one_of(&[b'0', b'0', b'0', 0, b'1', b'2', b'5', b'7', b'L', b'K', b'x', b'S', b'g']);
        let size = random.below(4) as u64 * 300;
        let mut header =
            Header::new(&name, kind).magic(random.one_of(&[POSIX, POSIX, GNU, GNU, &[0; 8], b"ustar\0\0\0"]));
        if kind == b'0' || kind == 0 {
            header = header.size(size);
        }
        let mut content = vec![b'x'; if matches!(kind, b'0' | 0) { size as usize } else { 0 }];
        if matches!(kind, b'1' | b'2') {
            header = header.link(random.one_of(&["a", "b", "./a", "x/y", "a/"]));
        }
        if matches!(kind, b'L' | b'K') {
            content = random.one_of(&[&b"long\0"[..], b"long", b"x/long\0", b"./l\0", b"long/\0"]).to_vec();
            header = header.size(content.len() as u64);
        }
        if matches!(kind, b'x' | b'g') {
            for _ in 0..random.below(3) {
                let key = random.one_of(&["path", "linkpath", "size", "mtime", "uid", "comment", "gname", "atime"]);
                let value = random.one_of(&[
                    &b"p"[..],
                    b"p/q",
                    b"0",
                    b"300",
                    b"600",
                    b"1.5",
                    b"",
                    b"\xc3\xa9",
                    b"./z",
                    b"12 a=b\n",
                ]);
                content.extend(record(key, value));
            }
            header = header.size(content.len() as u64);
        }
        for _ in 0..random.below(3) {
            let (at, width) = random.one_of(&[
                (0, 100),
                (100, 8),
                (108, 8),
                (116, 8),
                (124, 12),
                (136, 12),
                (157, 100),
                (257, 8),
                (265, 32),
                (297, 32),
                (329, 8),
                (337, 8),
                (345, 155),
                (500, 12),
            ]);
            let value = random.one_of(&[
                &b""[..],
                b"0",
                b" ",
                b"7",
                b"0000644\0",
                b"644 ",
                b"  644",
                b"0000300",
                b"300\0\0\0\0x",
                b"\x80\0\0\0\0\0\0\x07",
                b"9",
                b"a",
                b"a/b",
                b"name\0x",
                b"user",
                b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                b"00000000300",
                b"000000000300",
                b"\0\0\0\0\0\0\0\0\0\0\0\x01",
                b"\x80\0\0\0\0\0\0\0\0\0\x01\x2c",
            ]);
            let value = &value[..value.len().min(width)];
            let start = if random.below(4) == 0 { width - value.len() } else { 0 };
            header = header.bytes(at + start, value);
        }
        archive.extend(header.block());
        archive.extend(padded(&content));
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

/// A header of which every byte can be set.
#[derive(Clone)]
struct Header([u8; BLOCK]);

impl Header {
    fn new(name: &str, kind: u8) -> Self {
        let mut block = [0; BLOCK];
        block[100..108].copy_from_slice(b"0000644\0");
        block[108..116].copy_from_slice(b"0000000\0");
        block[116..124].copy_from_slice(b"0000000\0");
        block[124..136].copy_from_slice(b"00000000000\0");
        block[136..148].copy_from_slice(b"02263733600\0");
        block[156] = kind;
        block[329..337].copy_from_slice(b"0000000\0");
        block[337..345].copy_from_slice(b"0000000\0");
        Self(block).bytes(0, name.as_bytes()).magic(POSIX)
    }

    fn bytes(mut self, at: usize, bytes: &[u8]) -> Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    fn size(self, size: u64) -> Self {
        self.bytes(124, format!("{size:011o}\0").as_bytes())
    }

    fn link(self, target: &str) -> Self {
        self.bytes(157, target.as_bytes())
    }

    fn magic(self, magic: &[u8]) -> Self {
        self.bytes(257, magic)
    }

    fn prefix(self, prefix: &str) -> Self {
        self.bytes(345, prefix.as_bytes())
    }

    /// With its checksum.
    fn block(&self) -> [u8; BLOCK] {
        let mut block = self.0;
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

fn padded(content: &[u8]) -> Vec<u8> {
    let mut content = content.to_vec();
    content.resize(content.len().next_multiple_of(BLOCK), 0);
    content
}

fn ended(entries: &[&[u8]]) -> Vec<u8> {
    let mut archive = entries.concat();
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

fn extended(kind: u8, content: &[u8], magic: &[u8]) -> Vec<u8> {
    let header = Header::new("extension", kind).size(content.len() as u64).magic(magic);
    [&header.block()[..], &padded(content)].concat()
}

fn pax(records: &[u8]) -> Vec<u8> {
    extended(b'x', records, POSIX)
}

fn long(kind: u8, name: &str, magic: &[u8]) -> Vec<u8> {
    extended(kind, &[name.as_bytes(), b"\0"].concat(), magic)
}

/// A PAX record, whose length counts its own digits.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest..).find(|length| rest + length.to_string().len() == *length).unwrap();
    [length.to_string().as_bytes(), b" ", key.as_bytes(), b"=", value, b"\n"].concat()
}

/// Numbers that look random and are the same every time (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 24) % end as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

fn sorted(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

const POSIX: &[u8] = b"ustar\x0000";
const GNU: &[u8] = b"ustar  \0";
