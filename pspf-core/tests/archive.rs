//! The strict archive reader against what the `tar` crate writes, and against archives that it would refuse to write.

mod common;

use common::{bytes, header, tar};
use pspf_core::archive::{self, BLOCK, Entry, Kind, Reader};
use pspf_core::codec::{Stage, Stored};
use pspf_core::placement::Placement;
use pspf_core::tree::TreeHasher;
use pspf_core::{Digest, ErrorKind, Part, Result};
use tar::EntryType;

#[test]
fn entries_come_out_as_the_tar_crate_wrote_them() {
    let content = bytes(1000);
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_data(&mut header(EntryType::Directory, 0), "bin/", &[][..]).unwrap();
    builder.append_data(&mut header(EntryType::Regular, 1000), "bin/tool", content.as_slice()).unwrap();
    builder.append_link(&mut header(EntryType::Symlink, 0), "bin/link", "../bin/tool").unwrap();
    builder.append_link(&mut header(EntryType::Link, 0), "bin/same", "bin/tool").unwrap();
    builder.append_data(&mut header(EntryType::Regular, 0), "empty", &[][..]).unwrap();
    let read = entries(&builder.into_inner().unwrap()).unwrap();
    let expected = [
        ("bin", Kind::Directory, Vec::new()),
        ("bin/tool", Kind::File { size: 1000 }, content),
        ("bin/link", Kind::Symlink { target: "../bin/tool".into() }, Vec::new()),
        ("bin/same", Kind::Hardlink { target: "bin/tool".into() }, Vec::new()),
        ("empty", Kind::File { size: 0 }, Vec::new()),
    ];
    let expected = expected.map(|(path, kind, content)| (Entry { path: path.into(), mode: 0o644, kind }, content));
    assert_eq!(read, expected);
}

#[test]
fn what_is_not_read_of_a_file_is_skipped() {
    let archive = tar(&[("a", &bytes(2000)), ("b", b"2")]);
    let mut stage = Stored::new(&archive, Part::Slot(0), 0, archive.len() as u64);
    let mut reader = Reader::new(&mut stage);
    assert_eq!(reader.next_entry().unwrap().unwrap().path, "a");
    assert!(!reader.fill().unwrap().is_empty());
    reader.consume(7);
    assert_eq!(reader.next_entry().unwrap().unwrap().path, "b");
    assert_eq!(reader.fill().unwrap(), b"2");
    assert_eq!(reader.next_entry().unwrap(), None);
    assert_eq!(reader.next_entry().unwrap(), None);
}

#[test]
fn long_names_and_long_link_targets_are_whole_in_either_extension() {
    let long = format!("{}/{}", "d".repeat(200), "n\u{e9}".repeat(60));
    // GNU: the tar crate writes `L` and `K` by itself.
    let mut gnu = tar::Builder::new(Vec::new());
    gnu.append_data(&mut header(EntryType::Regular, 1), &long, &b"1"[..]).unwrap();
    gnu.append_link(&mut header(EntryType::Symlink, 0), format!("{long}-link"), &long).unwrap();
    // PAX: records before an entry with a name that was cut off within a character.
    let mut pax = tar::Builder::new(Vec::new());
    let records = [("path", long.as_bytes()), ("mtime", b"1.5"), ("SCHILY.xattr.user.x", b"\0\xff")];
    pax.append_pax_extensions(records).unwrap();
    let mut cut = header(EntryType::Regular, 1);
    cut.as_old_mut().name[..3].copy_from_slice(b"d/\xc3");
    cut.set_cksum();
    pax.append(&cut, &b"1"[..]).unwrap();
    let read = entries(&gnu.into_inner().unwrap()).unwrap();
    assert_eq!(read[0].0.path, long);
    let depth = Kind::Symlink { target: long.clone() };
    assert_eq!((read[1].0.path.as_str(), &read[1].0.kind), (format!("{long}-link").as_str(), &depth));
    assert_eq!(entries(&pax.into_inner().unwrap()).unwrap()[0].0.path, long);
}

#[test]
fn a_prefix_is_put_in_front_of_a_name() {
    let mut ustar = tar::Header::new_ustar();
    ustar.set_size(0);
    ustar.set_mode(0o600);
    ustar.set_entry_type(EntryType::Regular);
    let path = format!("{}/{}", "p".repeat(120), "n".repeat(90));
    ustar.set_path(&path).unwrap();
    ustar.set_cksum();
    assert_eq!(entries(&archive(&[(&ustar, b"")])).unwrap()[0].0.path, path);
    // Some readers ask for the version, too, and some for neither.
    for magic in [b"ustar\x00 0", b"ustar  \0", &[0; 8]] {
        ustar.as_mut_bytes()[257..265].copy_from_slice(magic);
        ustar.set_cksum();
        assert!(entries(&archive(&[(&ustar, b"")])).is_err(), "{magic:?}");
    }
}

#[test]
fn extended_headers_that_some_readers_take_for_files_are_refused() {
    for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
        for magic in [b"ustar\x00 0", b"ustar 00", &[0; 8]] {
            let mut extension = named("extension", kind, 5);
            extension.as_mut_bytes()[257..265].copy_from_slice(magic);
            extension.set_cksum();
            let file = named("file", EntryType::Regular, 0);
            assert!(entries(&archive(&[(&extension, b"long\0"), (&file, b"")])).is_err(), "{kind:?}, {magic:?}");
        }
    }
}

#[test]
fn sizes_may_be_given_by_pax_or_in_base_256() {
    let mut pax = tar::Builder::new(Vec::new());
    pax.append_pax_extensions([("size", &b"3"[..])]).unwrap();
    // A header that says nothing of the size, as for files of 8 GiB and more.
    pax.append(&named("file", EntryType::Regular, 0), &b""[..]).unwrap();
    let mut archive = pax.into_inner().unwrap();
    let end = archive.len() - 2 * BLOCK;
    archive.splice(end..end, b"abc".iter().copied().chain([0; BLOCK - 3]));
    assert_eq!(entries(&archive).unwrap()[0].1, b"abc");

    let mut binary = named("file", EntryType::Regular, 0);
    binary.as_old_mut().size = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3];
    binary.set_cksum();
    assert_eq!(entries(&self::archive(&[(&binary, b"abc")])).unwrap()[0].1, b"abc");
}

#[test]
fn of_all_types_only_files_directories_links_and_extensions_pass() {
    for kind in 0..=255_u8 {
        let mut header = named("name", EntryType::Regular, 0);
        header.as_old_mut().linkflag = [kind];
        if matches!(kind, b'1' | b'2') {
            header.set_link_name("other").unwrap();
        }
        header.set_cksum();
        let read = match kind {
            // An extension needs something to say, and an entry behind it.
            b'x' => extended(b'x', &record("comment", b"")),
            b'L' | b'K' => extended(kind, b"long\0"),
            _ => entries(&archive(&[(&header, b"")])),
        };
        let passes = matches!(kind, 0 | b'0' | b'1' | b'2' | b'5' | b'x' | b'L' | b'K');
        assert_eq!(read.is_ok(), passes, "type {kind}: {read:?}");
    }
}

#[test]
fn paths_that_are_not_plain_are_refused() {
    for path in [
        "..",
        "../x",
        "a/../b",
        "a/..",
        "/x",
        "//x",
        "a//b",
        "a/./b",
        "a\\b",
        "",
        "/",
        &"x".repeat(256),
        &format!("{}x", "x/".repeat(2100)),
    ] {
        assert!(entries(&with_path(path)).is_err(), "{path:?}");
    }
    for (path, read) in [("./a", "a"), ("././a", "a"), ("a.b/..c/...", "a.b/..c/..."), ("\u{e9}", "\u{e9}")] {
        assert_eq!(entries(&with_path(path)).unwrap()[0].0.path, read);
    }
}

#[test]
fn the_root_itself_is_passed_over() {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, kind) in [("./", EntryType::Directory), ("./a", EntryType::Regular)] {
        let mut entry = header(kind, 0);
        entry.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        entry.set_cksum();
        builder.append(&entry, &b""[..]).unwrap();
    }
    let read = entries(&builder.into_inner().unwrap()).unwrap();
    assert_eq!(read.iter().map(|(entry, _)| entry.path.as_str()).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn a_file_whose_name_says_directory_is_refused() {
    assert!(entries(&archive(&[(&named("a/", EntryType::Regular, 0), b"")])).is_err());
    assert!(entries(&archive(&[(&named("a/", EntryType::Directory, 0), b"")])).is_ok());
}

#[test]
fn a_path_that_comes_twice_is_refused_whatever_it_is() {
    for (first, second) in [("a", "a"), ("a", "./a"), ("a", "a/")] {
        for kind in [EntryType::Regular, EntryType::Directory] {
            if second.ends_with('/') && kind == EntryType::Regular {
                continue;
            }
            let first = named(first, EntryType::Regular, 0);
            let second = named(second, kind, 0);
            assert!(entries(&archive(&[(&first, b""), (&second, b"")])).is_err());
        }
    }
}

#[test]
fn links_out_of_the_archive_are_refused() {
    for (path, target, passes) in [
        ("link", "x", true),
        ("a/link", "../x", true),
        ("a/b/link", "../../x/../y", true),
        ("a/link", "b/../../x", true),
        ("link", "..", false),
        ("link", "../x", false),
        ("a/link", "../../x", false),
        ("a/link", "../../a/x", false),
        ("link", "x/../../y", false),
        ("link", "/etc/passwd", false),
        ("link", "", false),
        ("link", "a\\b", false),
    ] {
        let mut symlink = named(path, EntryType::Symlink, 0);
        symlink.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        symlink.set_cksum();
        let read = entries(&archive(&[(&symlink, b"")]));
        assert_eq!(read.is_ok(), passes, "{path} -> {target}: {read:?}");
    }
}

/// The reader gives the entries as they come; what lies inside of what shows when the tree is hashed, or written.
#[test]
fn entries_inside_of_a_file_or_a_link_are_refused() {
    use EntryType::{Directory, Link, Regular, Symlink};
    let tree = |entries: &[(&str, EntryType)]| {
        let headers: Vec<tar::Header> = entries
            .iter()
            .map(|(path, kind)| {
                let mut header = named(path, *kind, 0);
                if matches!(kind, Symlink | Link) {
                    header.set_link_name("file").unwrap();
                    header.set_cksum();
                }
                header
            })
            .collect();
        let headers: Vec<(&tar::Header, &[u8])> = headers.iter().map(|header| (header, &b""[..])).collect();
        tree_of(&archive(&headers))
    };
    for leaf in [Regular, Symlink, Link] {
        tree(&[("file", Regular), ("a", leaf), ("a-b", Regular), ("ab", Regular)]).unwrap();
        for inner in ["a/b", "a/b/c/d"] {
            tree(&[("file", Regular), ("a", leaf), (inner, Regular)]).unwrap_err();
            tree(&[("file", Regular), (inner, Regular), ("a", leaf)]).unwrap_err();
            tree(&[("file", Regular), (inner, Directory), ("a", leaf)]).unwrap_err();
        }
    }
    tree(&[("a", Directory), ("a/b", Regular), ("a/c", Directory), ("a/c/d", Regular)]).unwrap();
    tree(&[("a/c/d", Regular), ("a/c", Directory), ("a/b", Regular), ("a", Directory)]).unwrap();
}

#[test]
fn links_through_links_are_refused_and_links_to_links_are_not() {
    let tree = |links: &[(&str, &str)]| {
        let headers: Vec<tar::Header> = links
            .iter()
            .map(|(path, target)| {
                let mut header = named(path, EntryType::Symlink, 0);
                header.set_link_name(target).unwrap();
                header.set_cksum();
                header
            })
            .collect();
        let headers: Vec<(&tar::Header, &[u8])> = headers.iter().map(|header| (header, &b""[..])).collect();
        tree_of(&archive(&headers))
    };
    tree(&[("a", "x"), ("b", "a")]).unwrap();
    tree(&[("b", "d/../a"), ("a", "x")]).unwrap();
    tree(&[("a", "x"), ("b", "a/y")]).unwrap_err();
    tree(&[("b", "a/y"), ("a", "x")]).unwrap_err();
    tree(&[("a/b", "x"), ("c", "a/b/..")]).unwrap_err();
    tree(&[("a/b", "x"), ("a/c", "./b/../y")]).unwrap_err();
    tree(&[("a/b", "x"), ("a/c/d", "../b/y")]).unwrap_err();
}

#[test]
fn hard_links_lead_to_files_that_came_before() {
    let file = named("file", EntryType::Regular, 1);
    let mut link = named("link", EntryType::Link, 0);
    link.set_link_name("file").unwrap();
    link.set_cksum();
    let directory = named("file", EntryType::Directory, 0);
    tree_of(&archive(&[(&file, b"x"), (&link, b"")])).unwrap();
    tree_of(&archive(&[(&link, b""), (&file, b"x")])).unwrap_err();
    tree_of(&archive(&[(&link, b"")])).unwrap_err();
    tree_of(&archive(&[(&directory, b""), (&link, b"")])).unwrap_err();
    // The tree is that of two equal files.
    let second = named("link", EntryType::Regular, 1);
    assert_eq!(tree_of(&archive(&[(&file, b"x"), (&link, b"")])), tree_of(&archive(&[(&file, b"x"), (&second, b"x")])));
}

#[test]
fn extensions_and_headers_that_two_readers_could_take_differently_are_refused() {
    // Two sizes: one reader skips what another takes for a header.
    let mut desync = tar::Builder::new(Vec::new());
    desync.append_pax_extensions([("size", &b"512"[..])]).unwrap();
    desync.append(&named("file", EntryType::Regular, 3), &b"abc"[..]).unwrap();
    assert!(entries(&desync.into_inner().unwrap()).is_err());
    for (what, records) in [
        ("no end", b"11 path=abc".to_vec()),
        ("an end too early", b"12 path=abcd\n".to_vec()),
        ("an end too late", b"14 path=abcd\n".to_vec()),
        ("a length with a zero in front", b"012 path=ab\n".to_vec()),
        ("a length with a sign", b"+12 path=ab\n".to_vec()),
        ("a length of no bytes", b"0 path=ab\n".to_vec()),
        ("a length beyond 64 bits", b"99999999999999999999 a=b\n".to_vec()),
        ("no value", b"11 nothing\n".to_vec()),
        ("zeros behind the records", [record("path", b"a"), vec![0; 3]].concat()),
        ("two paths", [record("path", b"a"), record("path", b"b")].concat()),
        ("a negative size", record("size", b"-1")),
        ("an empty size", record("size", b"")),
        ("a size beyond 63 bits", record("size", b"9223372036854775808")),
        ("NUL in a path", record("path", b"a\0b")),
        ("NUL in a key", record("comm\0ent", b"a")),
        ("a record in a value, for readers that go by lines", record("comment", b"a\n11 path=ab")),
        ("a path that is not UTF-8", record("path", b"\xff\xff")),
        ("a sparse file", record("GNU.sparse.name", b"something")),
        ("a volume", record("GNU.volume.label", b"something")),
        ("a time that is none", record("mtime", b"never")),
        ("an owner that is none", record("uid", b"-1")),
    ] {
        assert!(extended(b'x', &records).is_err(), "{what}");
    }
    assert_eq!(extended(b'x', &record("path", b"ab")).unwrap()[0].0.path, "ab");
    // The same extension twice, and one that nothing follows.
    let long = named("././@LongLink", EntryType::GNULongName, 5);
    let file = named("file", EntryType::Regular, 0);
    assert!(entries(&archive(&[(&long, b"name\0"), (&file, b"")])).is_ok());
    assert!(entries(&archive(&[(&long, b"name\0"), (&long, b"name\0"), (&file, b"")])).is_err());
    assert!(entries(&archive(&[(&long, b"name\0")])).is_err());
    let records = record("path", b"name");
    let pax = named("extension", EntryType::XHeader, records.len() as u64);
    let none = named("extension", EntryType::XHeader, 0);
    assert!(entries(&archive(&[(&pax, &records), (&file, b"")])).is_ok());
    assert!(entries(&archive(&[(&pax, &records), (&none, b""), (&file, b"")])).is_err());
    assert!(entries(&archive(&[(&long, b"na\0me"), (&file, b"")])).is_err());
}

#[test]
fn content_where_none_belongs_is_refused() {
    for kind in [EntryType::Directory, EntryType::Symlink, EntryType::Link] {
        let mut entry = named("name", kind, 3);
        entry.set_link_name("other").unwrap();
        entry.set_cksum();
        assert!(entries(&archive(&[(&entry, b"abc")])).is_err(), "{kind:?}");
    }
}

#[test]
fn numbers_that_are_none_are_refused() {
    let mut negative = named("file", EntryType::Regular, 0);
    negative.as_old_mut().size = [0xff; 12];
    let mut huge = named("file", EntryType::Regular, 0);
    huge.as_old_mut().size = [0x80, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0];
    let mut words = named("file", EntryType::Regular, 0);
    words.as_old_mut().size = *b"0000000009\0\0";
    let mut mode = named("file", EntryType::Regular, 0);
    mode.as_old_mut().mode = *b"rwxr-xr-";
    let mut no_mode = named("file", EntryType::Regular, 0);
    no_mode.as_old_mut().mode = [0; 8];
    let mut no_size = named("file", EntryType::Regular, 0);
    no_size.as_old_mut().size = [b' '; 12];
    for mut header in [negative, huge, words, mode, no_mode, no_size] {
        header.set_cksum();
        assert!(entries(&archive(&[(&header, b"")])).is_err());
    }
    // Of these only what they are is looked at: Python takes a header with another owner or time for the archive's end.
    for (at, width) in [(108, 8), (116, 8), (136, 12), (329, 8), (337, 8)] {
        for (value, passes) in [
            (&b"\0"[..], true),
            (b"17", true),
            (b"\x80\0\0\0\0\0\0\x07", true),
            (b"root", false),
            (b"8", false),
            (b"\xff", false),
        ] {
            let mut header = named("file", EntryType::Regular, 0);
            let field = &mut header.as_mut_bytes()[at..at + width];
            field.fill(0);
            field[..value.len()].copy_from_slice(value);
            header.set_cksum();
            assert_eq!(entries(&archive(&[(&header, b"")])).is_ok(), passes, "{value:?} at byte {at}");
        }
    }
    let mut checksum = named("file", EntryType::Regular, 0);
    checksum.as_old_mut().uid = *b"0000001\0";
    assert!(entries(&archive(&[(&checksum, b"")])).is_err(), "a header that changed after its checksum");
}

#[test]
fn an_archive_without_its_end_is_refused_at_every_length() {
    let archive = tar(&[("a", &bytes(700)), ("b", b"2")]);
    for size in 0..archive.len() {
        let read = entries(&archive[..size]);
        assert!(read.is_err(), "{size} bytes of {}", archive.len());
    }
}

#[test]
fn behind_the_end_there_are_only_zeros() {
    let archive = tar(&[("a", b"1")]);
    assert!(entries(&[&archive[..], &[0; 10 * BLOCK]].concat()).is_ok());
    assert!(entries(&[&archive[..], b"x"].concat()).is_err());
    assert!(entries(&[&archive[..], &[0; 5 * BLOCK], &archive[..]].concat()).is_err());
    // One block of zeros is not an end.
    assert!(entries(&archive[..archive.len() - BLOCK]).is_err());
}

#[test]
fn an_extension_larger_than_any_name_is_not_even_read() {
    let long = named("././@LongLink", EntryType::GNULongName, 1 << 40);
    let error = entries(&archive(&[(&long, b"")])).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooLarge { .. }), "{error}");
}

#[test]
fn an_archive_of_more_than_a_million_entries_is_refused() {
    let mut stage = Directories { number: 0, header: *named("0000000", EntryType::Directory, 0).as_bytes(), used: 0 };
    let mut reader = Reader::new(&mut stage);
    for _ in 0..1_000_000 {
        reader.next_entry().unwrap().unwrap();
    }
    let error = reader.next_entry().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooLarge { allowed: 1_000_000, found: 1_000_001, .. }), "{error}");
}

/// An archive of directories without end, each called by its number.
struct Directories {
    number: u32,
    header: [u8; BLOCK],
    used: usize,
}

impl Stage for Directories {
    fn fill(&mut self) -> Result<&[u8]> {
        if self.used == BLOCK {
            self.number += 1;
            self.used = 0;
            // The checksum grows with the digits of the name: summing up the whole block would take most of the time.
            let digits = |header: &[u8]| header[..7].iter().map(|digit| u32::from(*digit)).sum::<u32>();
            let sum = u32::from_str_radix(str::from_utf8(&self.header[148..155]).unwrap(), 8).unwrap();
            let rest = sum - digits(&self.header);
            self.header[..7].copy_from_slice(format!("{:07}", self.number).as_bytes());
            let sum = rest + digits(&self.header);
            self.header[148..155].copy_from_slice(format!("{sum:07o}").as_bytes());
        }
        Ok(&self.header[self.used..])
    }

    fn consume(&mut self, count: usize) {
        self.used += count;
    }

    fn finish(&mut self) -> Result<Digest> {
        unreachable!("the archive has no end")
    }
}

/// Everything in an archive.
fn entries(archive: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>> {
    let mut stage = Stored::new(&archive, Part::Slot(0), 0, archive.len() as u64);
    let mut reader = Reader::new(&mut stage);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut content = Vec::new();
        loop {
            let block = reader.fill()?;
            if block.is_empty() {
                break;
            }
            content.extend_from_slice(block);
            let size = block.len();
            reader.consume(size);
        }
        entries.push((entry, content));
    }
    Ok(entries)
}

/// The digest of the tree that an archive leads to, and its number of records.
fn tree_of(archive: &[u8]) -> Result<(Digest, u64)> {
    let mut stage = Stored::new(&archive, Part::Slot(0), 0, archive.len() as u64);
    let mut hasher = TreeHasher::collecting();
    archive::hash_tree(&mut stage, &Placement::Shared("slot".into()), &mut hasher)?;
    Ok(hasher.finish())
}

/// An archive of these headers and contents, right or not, and its end.
fn archive(entries: &[(&tar::Header, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (header, content) in entries {
        archive.extend_from_slice(header.as_bytes());
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

/// A header with a name that nobody checked.
fn named(name: &str, kind: EntryType, size: u64) -> tar::Header {
    let mut header = header(kind, size);
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    header
}

/// A file behind an extended header with this content.
fn extended(kind: u8, content: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>> {
    let extension = named("extension", EntryType::new(kind), content.len() as u64);
    entries(&archive(&[(&extension, content), (&named("file", EntryType::Regular, 0), b"")]))
}

/// A PAX record.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    // Its length counts the digits of the length, too.
    let rest = key.len() + value.len() + 3;
    let length = (rest..).find(|length| rest + length.to_string().len() == *length).unwrap();
    [length.to_string().as_bytes(), b" ", key.as_bytes(), b"=", value, b"\n"].concat()
}

/// A file whose path is this one, by an extension where it is too long for the header.
fn with_path(path: &str) -> Vec<u8> {
    if path.len() <= 100 {
        return archive(&[(&named(path, EntryType::Regular, 0), b"")]);
    }
    let long = named("././@LongLink", EntryType::GNULongName, path.len() as u64 + 1);
    let name = [path.as_bytes(), b"\0"].concat();
    archive(&[(&long, &name), (&named("cut", EntryType::Regular, 0), b"")])
}
