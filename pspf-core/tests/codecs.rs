//! The decoders against the tools whose files they read, and against files that no tool would write.

mod skipped;

use std::env;
use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::thread;

use pspf_core::claims::Chunks;
use pspf_core::codec::{self, Stage};
use pspf_core::format::{Operation, Operations};
use pspf_core::limits::{CLAIMED_WINDOW, WINDOW};
use pspf_core::{Digest, ErrorKind, Part, Result, Source};
use skipped::skip;

// Agreement

#[test]
fn gzip_agrees_with_python() {
    for level in [0, 1, 6, 9] {
        let program = format!("gzip.compress(data, {level})");
        agree(Operation::Gzip, &format!("python gzip, level {level}"), |data| python(&program, data));
    }
}

#[test]
fn bzip2_agrees_with_python() {
    for level in [1, 5, 9] {
        let program = format!("bz2.compress(data, {level})");
        agree(Operation::Bzip2, &format!("python bz2, level {level}"), |data| python(&program, data));
    }
}

#[test]
fn xz_agrees_with_python() {
    for arguments in [
        "preset=0",
        "preset=6, check=lzma.CHECK_SHA256",
        "preset=1, check=lzma.CHECK_CRC32",
        "preset=1, check=lzma.CHECK_NONE",
        "filters=[dict(id=lzma.FILTER_LZMA2, preset=1, dict_size=4096, lc=0, lp=4, pb=4)]",
        "filters=[dict(id=lzma.FILTER_LZMA2, preset=1, dict_size=3 << 19, lc=4, lp=0, pb=0)]",
    ] {
        let program = format!("lzma.compress(data, lzma.FORMAT_XZ, {arguments})");
        agree(Operation::Xz, &format!("python lzma, {arguments}"), |data| python(&program, data));
    }
}

#[test]
fn zstd_agrees_with_its_library() {
    for (level, sized) in [(3, false), (3, true), (-5, true), (1, true), (9, true), (19, true)] {
        let what = format!("zstd library, level {level}, size {sized}");
        agree(Operation::Zstd, &what, |data| Some(zstd_frame(data, level, true, sized)));
    }
}

/// Its decoder and the library may read blocks that no encoder writes as different contents.
#[test]
fn a_zstd_frame_without_a_checksum_is_refused_in_packages_with_claims() {
    for data in [&b""[..], b"data"] {
        undo(Operation::Zstd, &zstd_frame(data, 3, true, true), CLAIMED_WINDOW).unwrap();
        let without = zstd_frame(data, 3, false, true);
        let error = undo(Operation::Zstd, &without, CLAIMED_WINDOW).unwrap_err();
        assert!(error.to_string().contains("a zstd frame with a checksum"), "{error}");
        assert_eq!(undo(Operation::Zstd, &without, WINDOW).unwrap(), data, "FlavorPack's Python builder writes such");
    }
}

#[test]
fn all_agree_with_the_commands() {
    for (operation, command) in [
        (Operation::Bzip2, "bzip2 -1"),
        (Operation::Bzip2, "bzip2 -9"),
        (Operation::Xz, "xz -0 -T1"),
        (Operation::Xz, "xz -3 -T4"),
        (Operation::Xz, "xz -1 -T1 --check=sha256 --block-size=65536"),
        (Operation::Xz, "xz -1 -T2 --check=crc32 --block-size=100001"),
        (Operation::Zstd, "zstd -3 -T1"),
        (Operation::Zstd, "zstd -3 -T4"),
        (Operation::Zstd, "zstd -19 --ultra"),
        (Operation::Zstd, "zstd --fast=10"),
        (Operation::Gzip, "gzip -1"),
        (Operation::Gzip, "gzip -9"),
    ] {
        agree(operation, command, |data| by_command(command, data));
    }
}

#[test]
fn what_repeats_from_the_far_end_of_the_window_comes_back() {
    let mut random = Random(8);
    let noise: Vec<u8> = (0..100_000).map(|_| random.next() as u8).collect();
    for distance in [(4 << 20) - 1, 4 << 20, (4 << 20) + 1, (8 << 20) - 300_000, (8 << 20) - 1, 8 << 20] {
        let mut data = noise.clone();
        data.resize(distance, 0);
        data.extend_from_slice(&noise);
        for (operation, command) in [
            (Operation::Xz, "xz -1 -T1 --lzma2=preset=1,dict=8MiB"),
            (Operation::Xz, "xz -6 -T1"),
            (Operation::Zstd, "zstd -3 -T1 --long=23"),
            (Operation::Bzip2, "bzip2 -9"),
            (Operation::Gzip, "gzip -6"),
        ] {
            let Some(stored) = by_command(command, &data) else { continue };
            let undone = undo(operation, &stored, CLAIMED_WINDOW).unwrap_or_else(|error| panic!("{command}: {error}"));
            assert!(undone == data, "{command}: {distance} bytes back");
        }
    }
}

#[test]
fn chains_are_undone_from_the_last_step_to_the_first() {
    let data = mixed(300_000);
    let bzip2 = |data: &[u8]| python("bz2.compress(data)", data);
    let xz = |data: &[u8]| python("lzma.compress(data)", data);
    let gzip = |data: &[u8]| python("gzip.compress(data)", data);
    let zstd = |data: &[u8]| Some(zstd_frame(data, 3, true, false));
    type Step<'a> = &'a dyn Fn(&[u8]) -> Option<Vec<u8>>;
    for (chain, steps) in [
        ("tar.gz", &[&gzip as Step<'_>][..]),
        ("tar.bz2", &[&bzip2]),
        ("tar.xz", &[&xz]),
        ("tar.zst", &[&zstd]),
        ("gz.gz", &[&gzip, &gzip]),
        ("gz.gz.gz.gz.gz.gz.gz.gz", &[&gzip as Step<'_>; 8]),
        ("zst.xz.bz2.gz", &[&zstd, &xz, &bzip2, &gzip]),
        ("gz.bz2.xz.zst", &[&gzip, &bzip2, &xz, &zstd]),
    ] {
        let Some(stored) = steps.iter().try_fold(data.clone(), |data, step| step(&data)) else { continue };
        let operations = Operations::from_name(chain).unwrap();
        let open = codec::open(&stored, Part::File, (0, stored.len() as u64), operations, None, CLAIMED_WINDOW);
        let (undone, digest) = drain(&mut *open.unwrap()).unwrap();
        assert!(undone == data, "{chain}");
        assert_eq!(digest, Digest::of(&stored), "{chain}: the digest is that of the stored bytes");
    }
}

#[test]
fn it_does_not_matter_in_which_pieces_the_input_comes() {
    let data = mixed(200_000);
    for (operation, stored) in samples(&data) {
        for piece in [1, 2, 3, 7, 8, 9, 4096] {
            let stage = Pieces { bytes: &stored, piece };
            let mut stage = codec::undo(operation, Box::new(stage), Part::File, CLAIMED_WINDOW).unwrap();
            assert!(drain(&mut *stage).unwrap().0 == data, "{operation:?} in pieces of {piece}");
        }
    }
}

#[test]
fn it_does_not_matter_in_which_pieces_the_output_is_used() {
    let data = mixed(200_000);
    for (operation, stored) in samples(&data) {
        let mut stage = open(operation, &stored, CLAIMED_WINDOW);
        let mut undone = Vec::new();
        for used in (0..1000).cycle() {
            let ready = stage.fill().unwrap();
            if ready.is_empty() {
                break;
            }
            let used = used.min(ready.len());
            undone.extend_from_slice(&ready[..used]);
            stage.consume(used);
        }
        assert!(undone == data, "{operation:?}");
        stage.finish().unwrap();
    }
}

// Refusals

#[test]
fn every_truncation_is_refused() {
    for (operation, stored) in samples(b"A small text, a small text, and a longer one: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.")
    {
        for size in 0..stored.len() {
            let error = undo(operation, &stored[..size], CLAIMED_WINDOW).map(drop).expect_err("cut short");
            assert!(matches!(error.kind(), ErrorKind::Malformed { .. }), "{operation:?}, {size} bytes: {error}");
        }
    }
}

#[test]
fn no_flipped_bit_changes_what_comes_out() {
    for data in [&b"A small text, a small text, and a longer one: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa."[..], b"", b"1"] {
        for (operation, stored) in samples(data) {
            let mut same = 0;
            for bit in 0..stored.len() * 8 {
                let mut changed = stored.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                if let Ok(undone) = undo(operation, &changed, WINDOW) {
                    assert_eq!(undone, data, "{operation:?}, bit {bit}");
                    same += 1;
                }
            }
            // Those in gzip's header that say nothing about the data, and some sizes of windows.
            assert!(same <= 80, "{operation:?}: {same} bits of {} do not matter", stored.len() * 8);
        }
    }
}

#[test]
fn no_change_makes_a_decoder_panic_or_give_something_else() {
    let mut random = Random(1);
    for data in [mixed(3000), text(20_000), runs()] {
        for (operation, stored) in samples(&data) {
            for _ in 0..rounds(300) {
                let mut changed = stored.clone();
                for _ in 0..=random.below(3) {
                    let at = random.below(changed.len());
                    match random.below(4) {
                        0 => changed[at] = random.next() as u8,
                        1 => changed[at] ^= 1 << random.below(8),
                        2 => _ = changed.remove(at),
                        _ => changed.insert(at, random.next() as u8),
                    }
                }
                if let Ok(undone) = undo(operation, &changed, WINDOW) {
                    assert!(undone == data, "{operation:?}: other data came out");
                }
            }
        }
    }
}

/// Without a checksum anything may come out, but something has to happen.
#[test]
fn no_change_of_data_without_checksums_makes_a_decoder_panic() {
    let mut random = Random(2);
    for data in [mixed(3000), text(20_000), runs()] {
        let Some(xz) = python("lzma.compress(data, check=lzma.CHECK_NONE)", &data) else { return };
        for _ in 0..rounds(500) {
            let mut changed = xz.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(changed.len());
                changed[at] = random.next() as u8;
            }
            _ = limited(Operation::Xz, &changed, 64 << 20);
        }
    }
}

#[test]
fn arbitrary_bytes_do_not_make_a_decoder_panic() {
    let mut random = Random(3);
    let starts: [(Operation, &[u8]); 5] = [
        (Operation::Gzip, b"\x1f\x8b\x08\0\0\0\0\0\0\0"),
        (Operation::Bzip2, b"BZh91AY&SY"),
        (Operation::Xz, b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46"),
        // An LZMA2 block without sizes and check.
        (Operation::Xz, b"\xfd7zXZ\0\0\0\xff\x12\xd9\x41\x02\0\x21\x01\x0c\0\0\0\x8f\x98\x41\x9c"),
        (Operation::Zstd, b"\x28\xb5\x2f\xfd\0\x58"),
    ];
    for (operation, start) in starts {
        for round in 0..rounds(2000) {
            let mut bytes = start[..start.len() * (round % 2)].to_vec();
            bytes.extend((0..random.below(300)).map(|_| random.next() as u8));
            _ = limited(operation, &bytes, 64 << 20);
        }
    }
}

#[test]
fn bytes_behind_the_end_are_refused() {
    for (operation, stored) in samples(b"data") {
        for more in [&b"\0"[..], b"\0\0\0\0", b"x", b"more of it, and longer than a word"] {
            let bytes = [&stored, more].concat();
            let error = undo(operation, &bytes, CLAIMED_WINDOW).expect_err("trailing bytes");
            assert!(matches!(error.kind(), ErrorKind::Malformed { .. }), "{operation:?}: {error}");
        }
    }
}

#[test]
fn a_second_member_stream_or_frame_is_refused() {
    for (operation, stored) in samples(b"data") {
        let twice = [&stored[..], &stored].concat();
        let error = undo(operation, &twice, CLAIMED_WINDOW).expect_err("two of them");
        assert!(matches!(error.kind(), ErrorKind::Malformed { .. }), "{operation:?}: {error}");
    }
    // zstd: a frame to skip, before or behind.
    let (frame, skipped) = (zstd_frame(b"data", 3, true, true), b"\x50\x2a\x4d\x18\x01\0\0\0x");
    undo(Operation::Zstd, &[&skipped[..], &frame].concat(), WINDOW).unwrap_err();
    undo(Operation::Zstd, &[&frame, &skipped[..]].concat(), WINDOW).unwrap_err();
}

#[test]
fn large_windows_are_refused_before_anything_is_allocated() {
    let sample = zstd_frame(b"x", 3, true, true);
    let checksum = &sample[sample.len() - 4..];
    // The window of a zstd frame: 2^(10 + n) bytes.
    for (log, claimed, foreign) in
        [(23, true, true), (24, false, true), (27, false, true), (28, false, false), (41, false, false)]
    {
        // One block of one raw byte, and its checksum.
        let frame = [&[0x28, 0xb5, 0x2f, 0xfd, 4, (log - 10) << 3, 9, 0, 0, b'x'], checksum].concat();
        check_window(Operation::Zstd, &frame, CLAIMED_WINDOW, claimed);
        check_window(Operation::Zstd, &frame, WINDOW, foreign);
    }
    // One segment: the window is the size, which would be 2^60.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0xe4, 0, 0, 0, 0, 0, 0, 0, 0x10, 9, 0, 0, b'x'];
    check_window(Operation::Zstd, &frame, WINDOW, false);

    let Some(xz) = python("lzma.compress(data)", b"x") else { return };
    assert_eq!(xz[12..16], [2, 0, 0x21, 1], "a block with LZMA2 alone and no sizes");
    for (dictionary, claimed, foreign) in
        [(22, true, true), (23, false, true), (30, false, true), (31, false, false), (40, false, false)]
    {
        let mut xz = xz.clone();
        xz[16] = dictionary;
        let crc = crc32(&xz[12..20]).to_le_bytes();
        xz[20..24].copy_from_slice(&crc);
        check_window(Operation::Xz, &xz, CLAIMED_WINDOW, claimed);
        check_window(Operation::Xz, &xz, WINDOW, foreign);
    }
}

fn check_window(operation: Operation, stored: &[u8], window: u64, accepted: bool) {
    match undo(operation, stored, window) {
        Ok(undone) => assert!(accepted && undone == b"x", "{operation:?} {stored:02x?}"),
        Err(error) => {
            assert!(!accepted, "{operation:?}: {error}");
            let ErrorKind::TooLarge { allowed, found, .. } = error.kind() else { panic!("{operation:?}: {error}") };
            assert!(*allowed == window && *found > window);
        }
    }
}

#[test]
fn bombs_give_out_as_much_as_is_asked_for() {
    let size = 200 << 20;
    let program = format!("bz2.compress(bytes({size}))");
    let bzip2 = python(&program, b"").map(|stored| (Operation::Bzip2, stored));
    let xz = python(&format!("lzma.compress(bytes({size}), preset=0)"), b"").map(|stored| (Operation::Xz, stored));
    let zstd = Some((Operation::Zstd, zstd_frame(&vec![0; size], 3, true, true)));
    for (operation, stored) in [bzip2, xz, zstd].into_iter().flatten() {
        let mut stage = open(operation, &stored, CLAIMED_WINDOW);
        // A piece is never large, whatever is in it.
        let mut largest = 0;
        let mut total = 0;
        while total < 32 << 20 {
            let ready = stage.fill().unwrap();
            assert!(ready.iter().all(|byte| *byte == 0));
            let size = ready.len();
            (largest, total) = (largest.max(size), total + size);
            stage.consume(size);
        }
        assert!(largest <= 256 << 10, "{operation:?}: {largest} bytes at once");
        let error = stage.finish().expect_err("not at the end");
        assert!(matches!(error.kind(), ErrorKind::Malformed { .. }), "{operation:?}: {error}");
    }
}

#[test]
fn errors_of_the_source_come_out_as_they_are_and_stay() {
    let mut random = Random(7);
    let data: Vec<u8> = (0..200_000).map(|_| random.next() as u8).collect();
    for (operation, stored) in samples(&data) {
        // Not in the first block that is read, which is when most decoders are opened.
        let source = Fails { bytes: &stored, from: 128 << 10 };
        let source: &dyn Source = &source;
        let size = stored.len() as u64;
        let steps = Operations::from_steps(&[operation]).unwrap();
        let mut stage = codec::open(source, Part::File, (0, size), steps, None, WINDOW).unwrap();
        for _ in 0..2 {
            let error = drain(&mut *stage).map(drop).expect_err("the source fails");
            let place = ErrorKind::Source { at: 128 << 10, len: 32 << 10, errno: Some(5) };
            assert_eq!(*error.kind(), place, "{operation:?}");
        }
    }
}

/// RFC 1952: every flag, every field of the header, what may stand behind it, and what may be wrong with it.
#[test]
fn gzip_members_are_read_as_gzip_and_python_read_them_or_refused() {
    let data = b"some data, and some data";
    let deflated = deflated(data);
    let mut members = Vec::new();
    let mut add = |what: String, member: Vec<u8>| members.push((what, member));
    let good = member(&header(0, &[]), &deflated, data);
    add("plain".into(), good.clone());
    for flags in 0..=255 {
        add(
            format!("flags {flags:#04x}"),
            member(&header(flags, &fields(flags, b"\x02\0xy", b"name")), &deflated, data),
        );
    }
    for (at, name) in ["ID1", "ID2", "CM", "FLG", "MTIME", "MTIME", "MTIME", "MTIME", "XFL", "OS"].iter().enumerate() {
        for value in [0, 1, 2, 7, 8, 9, 0x1e, 0x1f, 0x20, 0x8b, 0xff] {
            let mut changed = good.clone();
            changed[at] = value;
            add(format!("{name} of {value:#04x} at byte {at}"), changed);
        }
    }
    let longest = [&[0xff; 2][..], &[b'x'; 65_535]].concat();
    for (what, extra) in [
        ("no bytes", &b"\0\0"[..]),
        ("a byte, which is no subfield", b"\x01\0x"),
        ("an empty subfield", b"\x04\0AB\0\0"),
        ("a subfield that is cut off", b"\x04\0AB\x09\0"),
        ("as many bytes as there can be", &longest),
        ("more bytes than follow", b"\xff\xffx"),
    ] {
        add(format!("an extra field of {what}"), member(&header(4, extra), &deflated, data));
    }
    for (flag, what) in [(8, "name"), (16, "comment")] {
        for text in [&b"\0"[..], b"a/../b\0", b"\xe9\n\0", &[&[b'n'; 5000][..], b"\0"].concat()] {
            add(format!("{what} {text:.20?}"), member(&header(flag, text), &deflated, data));
        }
        add(format!("{what} without an end"), header(flag, b"name"));
    }
    for flags in [2, 2 | 4, 2 | 8, 2 | 4 | 8 | 16] {
        let right = header(flags, &fields(flags & !2, b"\x02\0xy", b"name"));
        let crc = crc32(&right) as u16;
        for (what, crc) in [("right", crc), ("wrong", !crc), ("absent", 0)] {
            let head = [&right[..], &crc.to_le_bytes()].concat();
            add(format!("flags {flags}, CRC-16 {what}"), member(&head, &deflated, data));
        }
    }
    for (what, more) in [
        ("a zero", vec![0]),
        ("512 zeros", vec![0; 512]),
        ("a byte", vec![b'x']),
        ("a newline", vec![b'\n']),
        ("another member", good.clone()),
        ("an empty member", member(&header(0, &[]), &[3, 0], b"")),
        ("zeros and another member", [&[0; 8][..], &good].concat()),
        ("the first bytes of another", good[..12].to_vec()),
    ] {
        add(format!("{what} behind it"), [&good[..], &more].concat());
        add(format!("{what} before it"), [&more[..], &good].concat());
        add(format!("{what} before its trailer"), [&good[..good.len() - 8], &more, &good[good.len() - 8..]].concat());
    }
    for bit in 0..64 {
        let mut changed = good.clone();
        let at = good.len() - 8 + bit / 8;
        changed[at] ^= 1 << (bit % 8);
        add(format!("bit {bit} of CRC-32 and ISIZE"), changed);
    }
    for size in 0..good.len() {
        add(format!("the first {size} bytes"), good[..size].to_vec());
    }
    let accepted = compare_gzip(&members);
    // All flags but the reserved ones and that of a checksum, which is wrong there.
    assert!(accepted.iter().filter(|what| what.starts_with("flags 0x")).count() == 16, "{accepted:?}");
    assert!(accepted.len() > 16 + 6 * 11, "{accepted:?}");
}

/// RFC 1951: codes, lengths and distances that encoders do not write.
#[test]
fn odd_deflate_is_read_as_gzip_and_python_read_it_or_refused() {
    let accepted = compare_gzip(&odd_deflate());
    for what in
        ["one literal", "the longest match in the other spelling", "a distance of 32768", "one distance of one bit"]
    {
        assert!(accepted.iter().any(|name| name == what), "{what}: {accepted:?}");
    }
}

/// What flate2's own tests read. `cargo xtask vectors` fetches them.
#[test]
fn other_peoples_gzip_is_read_as_gzip_and_python_read_it_or_refused() {
    let Some(vectors) = env::var_os("PSPF_TEST_VECTORS") else { return };
    let mut members = Vec::new();
    for file in fs::read_dir(std::path::Path::new(&vectors).join("gzip")).unwrap() {
        let path = file.unwrap().path();
        members.push((path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()));
    }
    members.sort();
    let accepted = compare_gzip(&members);
    let mut text = "## gzip\n\n| file | outcome |\n|---|---|\n".to_owned();
    for (name, member) in &members {
        let outcome = match undo(Operation::Gzip, member, WINDOW) {
            Ok(_) => "as gzip and Python read it".to_owned(),
            Err(error) => format!("refused: {error}"),
        };
        text += &format!("| {name} | {outcome} |\n");
    }
    println!("{text}");
    assert!(!accepted.is_empty());
    if let Some(results) = env::var_os("PSPF_TEST_RESULTS") {
        fs::write(std::path::Path::new(&results).join("6-gzip.md"), text).unwrap();
    }
}

#[test]
fn what_the_formats_allow_and_we_do_not_read_is_named() {
    let unsupported = |operation, stored: &[u8]| match undo(operation, stored, WINDOW).unwrap_err().kind() {
        ErrorKind::Unsupported { what } => what.clone(),
        other => panic!("{other:?}"),
    };
    // The randomised flag is behind the block's CRC.
    let old = b"BZh11AY&SY\0\0\0\0\x80";
    assert_eq!(unsupported(Operation::Bzip2, old), "randomised bzip2 blocks (bzip2 0.9.0 and older)");
    let dictionary = [0x28, 0xb5, 0x2f, 0xfd, 1, 0x58, 7, 1, 0, 0];
    assert_eq!(unsupported(Operation::Zstd, &dictionary), "zstd with a dictionary");
    let program = "lzma.compress(data, filters=[dict(id=lzma.FILTER_X86), dict(id=lzma.FILTER_LZMA2)])";
    if let Some(filtered) = python(program, b"x") {
        assert_eq!(unsupported(Operation::Xz, &filtered), "xz with other filters than LZMA2");
    }
}

#[test]
fn xz_sizes_that_are_declared_have_to_be_right() {
    // Several threads declare the sizes in the header of each block.
    let Some(stored) = filter("xz", &["-0", "-T2", "--block-size=4096", "-c"], &text(10_000)) else { return };
    assert_eq!(stored[13], 0xc0, "both sizes are there");
    undo(Operation::Xz, &stored, WINDOW).unwrap();
    let end = 12 + (usize::from(stored[12]) + 1) * 4;
    // Two sizes of two bytes each.
    for at in [14, 16] {
        let mut changed = stored.clone();
        changed[at] ^= 1;
        let crc = crc32(&changed[12..end - 4]).to_le_bytes();
        changed[end - 4..end].copy_from_slice(&crc);
        let error = undo(Operation::Xz, &changed, WINDOW).unwrap_err().to_string();
        assert_eq!(error, "file: expected the sizes that the xz block header says, found other sizes");
    }
}

// Helpers

/// Checks that what `compress` makes of every input gives that input; skips when its program is not here.
fn agree(operation: Operation, what: &str, compress: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    for (name, data) in &*CORPUS {
        let Some(stored) = compress(data) else { return };
        match undo(operation, &stored, WINDOW) {
            Ok(undone) => assert!(undone == *data, "{what}: {name} came out different"),
            Err(error) => panic!("{what}: {name}: {error}"),
        }
    }
}

static CORPUS: LazyLock<Vec<(&str, Vec<u8>)>> = LazyLock::new(|| {
    let mut random = Random(4);
    let mut program = fs::read(env::current_exe().unwrap()).unwrap();
    assert!(program.starts_with(b"\x7fELF"));
    program.truncate(1_500_000);
    vec![
        ("nothing", Vec::new()),
        ("one byte", vec![7]),
        ("four equal bytes", vec![7; 4]),
        ("every byte", (0..=255).collect()),
        ("random bytes", (0..300_000).map(|_| random.next() as u8).collect()),
        ("text", text(700_000)),
        ("runs", runs()),
        ("zeros", vec![0; 3_000_000]),
        ("periods", (0..900_000_u32).map(|i| (i % 251) as u8).collect()),
        ("a program", program),
        // More than the largest block of bzip2 and zstd, and than the smaller dictionaries of xz.
        ("2 MiB of everything", mixed(2 << 20)),
    ]
});

/// One small file of `data` in each format, with checksums.
fn samples(data: &[u8]) -> Vec<(Operation, Vec<u8>)> {
    let mut samples =
        vec![(Operation::Zstd, zstd_frame(data, 3, true, true)), (Operation::Zstd, zstd_frame(data, 19, true, false))];
    for (operation, program) in [
        (Operation::Gzip, "gzip.compress(data)"),
        (Operation::Bzip2, "bz2.compress(data)"),
        (Operation::Xz, "lzma.compress(data)"),
        (Operation::Xz, "lzma.compress(data, preset=0, check=lzma.CHECK_CRC32)"),
    ] {
        samples.extend(python(program, data).map(|stored| (operation, stored)));
    }
    samples
}

fn zstd_frame(data: &[u8], level: i32, checksum: bool, sized: bool) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), level).unwrap();
    encoder.include_checksum(checksum).unwrap();
    encoder.window_log(20).unwrap();
    if sized {
        encoder.set_pledged_src_size(Some(data.len() as u64)).unwrap();
    }
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// What a Python expression over `data` gives.
fn python(expression: &str, data: &[u8]) -> Option<Vec<u8>> {
    let program =
        format!("import bz2, gzip, lzma, sys\ndata = sys.stdin.buffer.read()\nsys.stdout.buffer.write({expression})");
    filter("python3", &["-c", &program], data)
}

/// What a command, written as one would type it, makes of `data`.
fn by_command(command: &str, data: &[u8]) -> Option<Vec<u8>> {
    let mut words = command.split(' ');
    let name = words.next().unwrap();
    filter(name, &words.chain(["-c"]).collect::<Vec<_>>(), data)
}

/// The names of the members that are accepted. Fails when gzip or Python refuses one of them or gives something else, and
/// when the inflater for chunks gives something else for one that it accepts.
fn compare_gzip(members: &[(String, Vec<u8>)]) -> Vec<String> {
    let Some(answers) = python_gunzip(members) else { return Vec::new() };
    let mut accepted = Vec::new();
    let mut problems = Vec::new();
    for ((what, member), theirs) in members.iter().zip(answers) {
        let theirs = theirs.as_deref();
        let plain = member.starts_with(b"\x1f\x8b\x08\0") && member.len() > 18;
        let chunked = plain.then(|| in_one_chunk(member).ok()).flatten();
        if chunked.is_some() && chunked.as_deref() != theirs {
            problems.push(format!("{what}: as a chunk {chunked:.99?}, {theirs:.99?} by Python"));
        }
        let Ok(ours) = undo(Operation::Gzip, member, WINDOW) else { continue };
        accepted.push(what.clone());
        if theirs != Some(&ours) {
            problems.push(format!("{what}: {ours:.99?} here, {theirs:.99?} by Python"));
        }
        let gzip = by_gzip(member);
        if gzip.as_ref() != Some(&ours) {
            problems.push(format!("{what}: {ours:.99?} here, {gzip:.99?} by gzip"));
        }
    }
    assert!(problems.is_empty(), "{} of {}:\n{}", problems.len(), members.len(), problems.join("\n"));
    accepted
}

/// What a member gives whose chunk table has one chunk, of the size that the member says.
fn in_one_chunk(member: &[u8]) -> Result<Vec<u8>> {
    let size = u32::from_le_bytes(member[member.len() - 4..].try_into().unwrap()).into();
    let chunks = Chunks { original: size, stored: vec![member.len() as u32 - 18] };
    let all = (0, member.len() as u64);
    let mut stage = codec::open(&member, Part::File, all, Operations::GZIP, Some((&chunks, size)), WINDOW)?;
    Ok(drain(&mut *stage)?.0)
}

/// What Python's gzip gives for each member; `None` for those that it refuses.
fn python_gunzip(members: &[(String, Vec<u8>)]) -> Option<Vec<Option<Vec<u8>>>> {
    const PROGRAM: &str = r#"
import gzip, sys
for line in sys.stdin:
    try:
        print(gzip.decompress(bytes.fromhex(line)).hex() + ".")
    except Exception:
        print("refused")
"#;
    let hex = |bytes: &Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let lines: String = members.iter().map(|(_, member)| hex(member) + "\n").collect();
    let answers = filter("python3", &["-c", PROGRAM], lines.as_bytes())?;
    let answers: Vec<_> = String::from_utf8(answers).unwrap().lines().map(unhex).collect();
    assert_eq!(answers.len(), members.len());
    Some(answers)
}

fn unhex(line: &str) -> Option<Vec<u8>> {
    let digits = line.strip_suffix('.')?;
    Some((0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect())
}

/// What `gzip -dc` gives; `None` when it refuses or warns.
fn by_gzip(member: &[u8]) -> Option<Vec<u8>> {
    let gzip =
        Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let Ok(mut gzip) = gzip else {
        skip("gzip");
        return undo(Operation::Gzip, member, WINDOW).ok();
    };
    let mut stdin = gzip.stdin.take().unwrap();
    thread::scope(|scope| {
        // One that refuses early closes its end.
        scope.spawn(move || _ = stdin.write_all(member));
        let output = gzip.wait_with_output().unwrap();
        output.status.success().then_some(output.stdout)
    })
}

fn deflated(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn header(flags: u8, fields: &[u8]) -> Vec<u8> {
    [&[0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 0xff], fields].concat()
}

/// The fields that these flags announce; the checksum of the header is not the right one.
fn fields(flags: u8, extra: &[u8], text: &[u8]) -> Vec<u8> {
    let mut fields = Vec::new();
    if flags & 4 != 0 {
        fields.extend(extra);
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            fields.extend(text);
            fields.push(0);
        }
    }
    if flags & 2 != 0 {
        fields.extend([0xab, 0xcd]);
    }
    fields
}

fn member(header: &[u8], deflated: &[u8], data: &[u8]) -> Vec<u8> {
    [header, deflated, &crc32(data).to_le_bytes(), &(data.len() as u32).to_le_bytes()].concat()
}

/// Members around DEFLATE that is put together bit by bit, with the checksum of what it should be.
fn odd_deflate() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut add = |what: &str, bits: Bits, data: &[u8]| {
        all.push((what.to_owned(), member(&header(0, &[]), &bits.bytes, data)));
    };
    let (a, b, end) = (97, 98, 256);
    for (what, literals, distances, symbols, data) in [
        ("one literal", &[(a, 1), (end, 1)][..], &[][..], &[a, end][..], &b"a"[..]),
        ("three symbols", &[(a, 1), (b, 2), (end, 2)], &[], &[b, a, end], b"ba"),
        ("an end alone of one bit", &[(end, 1)], &[], &[end], b""),
        ("an end alone of two bits", &[(end, 2)], &[], &[end], b""),
        ("an end alone of fifteen bits", &[(end, 15)], &[], &[end], b""),
        ("too few codes", &[(a, 2), (end, 2)], &[], &[a, end], b"a"),
        ("too many codes", &[(a, 1), (b, 1), (end, 1)], &[], &[a, end], b"a"),
        ("no end", &[(a, 1), (b, 1)], &[], &[a], b"a"),
        ("nothing", &[], &[], &[], b""),
        ("one distance of one bit", &[(a, 1), (257, 2), (end, 2)], &[(0, 1)], &[a, 257, 1000, end], b"aaaa"),
        ("one distance of two bits", &[(a, 1), (257, 2), (end, 2)], &[(0, 2)], &[a, 257, 1000, end], b"aaaa"),
        ("one distance that is not used", &[(a, 1), (end, 1)], &[(5, 7)], &[a, end], b"a"),
        ("too few distances", &[(a, 1), (257, 2), (end, 2)], &[(0, 2), (1, 2)], &[a, 257, 1000, end], b"aaaa"),
        ("too many distances", &[(a, 1), (end, 1)], &[(0, 1), (1, 1), (2, 1)], &[a, end], b"a"),
        ("no distance for a match", &[(a, 1), (257, 2), (end, 2)], &[], &[a, 257, end], b"aaaa"),
        ("a match before the start", &[(a, 1), (257, 2), (end, 2)], &[(0, 1), (1, 1)], &[257, 1001, end], b"aaa"),
        ("symbol 286", &[(a, 1), (286, 2), (end, 2)], &[], &[a, 286, end], b"a"),
        ("symbol 287 that is not used", &[(a, 1), (287, 2), (end, 2)], &[], &[a, end], b"a"),
        ("distance 30", &[(a, 1), (257, 2), (end, 2)], &[(30, 1), (0, 1)], &[a, 257, 1030, end], b"aaaa"),
        ("distance 31 that is not used", &[(a, 1), (end, 1)], &[(31, 1), (0, 1)], &[a, end], b"a"),
        ("codes of fifteen bits", &LONG, &[], &[a, 14, end], b"a\x0e"),
    ] {
        let mut bits = Bits::default();
        bits.dynamic(true, literals, distances, symbols);
        add(what, bits, data);
    }

    let data: Vec<u8> = (0..32_768_u32).map(|at| ((at * at) >> 7) as u8).collect();
    let far = [&data[..], &data[..258]].concat();
    for (what, length, distance, data) in [
        // Length 258 has a symbol of its own, and one with 31 added to 227.
        ("the longest match", (285, 0, 0), (29, 13, 8191), &far),
        ("the longest match in the other spelling", (284, 5, 31), (29, 13, 8191), &far),
        ("a distance of 32768", (285, 0, 0), (29, 13, 8191), &far),
        ("a distance beyond the window", (285, 0, 0), (30, 13, 0), &far),
        ("the symbol 286 of the fixed code", (286, 0, 0), (29, 13, 8191), &far),
    ] {
        let mut bits = Bits::default();
        bits.stored(false, &data[..32_767], None);
        bits.stored(false, &data[32_767..32_768], None);
        bits.put(1 | 1 << 1, 3);
        bits.fixed(length.0);
        bits.put(length.2, length.1);
        bits.code(distance.0, 5);
        bits.put(distance.2, distance.1);
        bits.fixed(256);
        add(what, bits, data);
    }
    for (what, distance) in [("a distance before the start", 1), ("a distance to the start", 0)] {
        let mut bits = Bits::default();
        bits.stored(false, b"x", None);
        bits.put(1 | 1 << 1, 3);
        bits.fixed(257);
        bits.code(distance, 5);
        bits.fixed(256);
        add(what, bits, b"xxxx");
    }
    for (what, complement) in [("a stored block", None), ("a stored block with another complement", Some(0_u16))] {
        let mut bits = Bits::default();
        bits.stored(true, b"data", complement);
        add(what, bits, b"data");
    }
    let mut bits = Bits::default();
    for _ in 0..1000 {
        bits.stored(false, b"", None);
    }
    bits.stored(true, b"data", None);
    add("a thousand empty blocks", bits, b"data");
    let mut bits = Bits::default();
    bits.put(1, 1);
    // The bits up to the next byte mean nothing.
    bits.put(0b11100, 5);
    bits.put(0, 2);
    bits.bytes.extend([0, 0, 0xff, 0xff]);
    add("a stored block behind padding that is not zero", bits, b"");
    let mut bits = Bits::default();
    bits.put(1 | 3 << 1, 3);
    bits.put(0, 13);
    add("a block of the fourth type", bits, b"");
    let mut bits = Bits::default();
    bits.put(1 | 1 << 1, 3);
    bits.fixed(97);
    add("no end of a fixed block", bits, b"a");
    for (what, repeats) in [
        ("a repeat of nothing", &[(16, 0)][..]),
        ("a repeat beyond the last length", &[(1, 0), (18, 127), (18, 127), (18, 127)]),
        ("a repeat from literals into distances", &[(0, 0), (18, 127), (18, 106), (1, 0), (18, 0)]),
    ] {
        let mut bits = Bits::default();
        bits.lengths(true, 257, 1);
        for (symbol, extra) in repeats {
            bits.length(*symbol, *extra);
        }
        add(what, bits, b"");
    }
    all
}

/// A literal of each length from 1 to 15, and the end.
const LONG: [(usize, u8); 16] = {
    let mut codes = [(256, 15); 16];
    let mut at = 0;
    while at < 15 {
        codes[at] = (if at == 0 { 97 } else { at }, at as u8 + 1);
        at += 1;
    }
    codes
};

/// A stream of DEFLATE, lowest bit first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn put(&mut self, value: usize, count: u32) {
        for at in 0..count {
            if self.used == 0 {
                self.bytes.push(0);
            }
            *self.bytes.last_mut().unwrap() |= ((value >> at & 1) as u8) << self.used;
            self.used = (self.used + 1) % 8;
        }
    }

    /// A code, highest bit first.
    fn code(&mut self, code: usize, count: u32) {
        for at in (0..count).rev() {
            self.put(code >> at & 1, 1);
        }
    }

    fn stored(&mut self, last: bool, data: &[u8], complement: Option<u16>) {
        self.put(last.into(), 3);
        self.used = 0;
        let size = data.len() as u16;
        self.bytes.extend(size.to_le_bytes());
        self.bytes.extend(complement.unwrap_or(!size).to_le_bytes());
        self.bytes.extend(data);
    }

    /// A symbol of the fixed code (RFC 1951 section 3.2.6).
    fn fixed(&mut self, symbol: usize) {
        match symbol {
            0..144 => self.code(0x30 + symbol, 8),
            144..256 => self.code(0x190 + symbol - 144, 9),
            256..280 => self.code(symbol - 256, 7),
            _ => self.code(0xc0 + symbol - 280, 8),
        }
    }

    /// The start of a block with codes of its own, whose lengths follow: each is written in four or five bits.
    fn lengths(&mut self, last: bool, literals: usize, distances: usize) {
        self.put(usize::from(last) | 2 << 1, 3);
        self.put(literals - 257, 5);
        self.put(distances - 1, 5);
        self.put(19 - 4, 4);
        for symbol in [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15] {
            self.put(if symbol < 13 { 4 } else { 5 }, 3);
        }
    }

    fn length(&mut self, symbol: usize, extra: usize) {
        if symbol < 13 {
            self.code(symbol, 4)
        } else {
            self.code(26 + symbol - 13, 5)
        }
        self.put(extra, [0, 2, 3, 7][symbol.saturating_sub(15)]);
    }

    /// A block with codes of these lengths. Symbols from 1000 on are distances; none has extra bits.
    fn dynamic(&mut self, last: bool, literals: &[(usize, u8)], distances: &[(usize, u8)], symbols: &[usize]) {
        let all = |codes: &[(usize, u8)], least: usize| {
            let count = codes.iter().map(|(symbol, _)| symbol + 1).max().unwrap_or(0).max(least);
            let mut lengths = vec![0; count];
            codes.iter().for_each(|(symbol, length)| lengths[*symbol] = *length);
            lengths
        };
        let (literals, distances) = (all(literals, 257), all(distances, 1));
        self.lengths(last, literals.len(), distances.len());
        for length in literals.iter().chain(&distances) {
            self.length(usize::from(*length), 0);
        }
        for symbol in symbols {
            let (lengths, symbol) = if *symbol < 1000 { (&literals, *symbol) } else { (&distances, *symbol - 1000) };
            let (code, length) = canonical(lengths, symbol);
            self.code(code, length);
        }
    }
}

/// The code of a symbol (RFC 1951 section 3.2.2).
fn canonical(lengths: &[u8], symbol: usize) -> (usize, u32) {
    let mut code = 0;
    for length in 1..=lengths[symbol] {
        code <<= 1;
        for (other, _) in lengths.iter().enumerate().filter(|(_, of)| **of == length) {
            if length == lengths[symbol] && other == symbol {
                return (code, length.into());
            }
            code += 1;
        }
    }
    (0, 0)
}

/// What a program makes of `data`; `None` where there is no such program, which is told.
fn filter(command: &str, arguments: &[&str], data: &[u8]) -> Option<Vec<u8>> {
    let piped = Command::new(command).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut process) = piped else {
        skip(command);
        return None;
    };
    let (mut to, mut from) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
    let mut out = Vec::new();
    thread::scope(|scope| {
        // A command that fails closes its end; its exit code says more.
        scope.spawn(move || _ = to.write_all(data));
        from.read_to_end(&mut out).unwrap();
    });
    assert!(process.wait().unwrap().success(), "{command} {arguments:?}");
    Some(out)
}

fn open<'a>(operation: Operation, stored: &'a dyn Source, window: u64) -> Box<dyn Stage + 'a> {
    let operations = Operations::from_steps(&[operation]).unwrap();
    codec::open(stored, Part::File, (0, stored.len()), operations, None, window).unwrap()
}

fn undo(operation: Operation, stored: &[u8], window: u64) -> Result<Vec<u8>> {
    Ok(drain(&mut *open(operation, &stored, window))?.0)
}

fn drain(stage: &mut dyn Stage) -> Result<(Vec<u8>, Digest)> {
    let mut bytes = Vec::new();
    loop {
        let ready = stage.fill()?;
        if ready.is_empty() {
            return Ok((bytes, stage.finish()?));
        }
        bytes.extend_from_slice(ready);
        let size = ready.len();
        stage.consume(size);
    }
}

/// How many bytes come out, `limit` at most.
fn limited(operation: Operation, stored: &[u8], limit: usize) -> Result<usize> {
    let mut stage = open(operation, &stored, WINDOW);
    let mut total = 0;
    loop {
        let size = stage.fill()?.len();
        if size == 0 || total > limit {
            return stage.finish().map(|_| total);
        }
        total += size;
        stage.consume(size);
    }
}

/// How often a test with random input goes round; `CODEC_ROUNDS=100` makes it a hundred times as often.
fn rounds(count: usize) -> usize {
    let factor = env::var("CODEC_ROUNDS").ok().and_then(|factor| factor.parse().ok());
    count * factor.unwrap_or(1)
}

/// Gives its bytes in small pieces.
struct Pieces<'a> {
    bytes: &'a [u8],
    piece: usize,
}

impl Stage for Pieces<'_> {
    fn fill(&mut self) -> Result<&[u8]> {
        Ok(&self.bytes[..self.piece.min(self.bytes.len())])
    }

    fn consume(&mut self, count: usize) {
        self.bytes = &self.bytes[count..];
    }

    fn finish(&mut self) -> Result<Digest> {
        assert!(self.bytes.is_empty());
        Ok(Digest::of(b""))
    }
}

/// A source that cannot be read from some place on.
struct Fails<'a> {
    bytes: &'a [u8],
    from: u64,
}

impl Source for Fails<'_> {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        if offset >= self.from {
            return Err(ErrorKind::Source { at: offset, len: buf.len() as u64, errno: Some(5) }.into());
        }
        self.bytes.read_at(offset, buf)
    }
}

/// Numbers that look random and are the same every time (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 24
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// Words of different frequency.
fn text(size: usize) -> Vec<u8> {
    let mut random = Random(5);
    let words: Vec<String> = (0..2000)
        .map(|_| {
            (0..2 + random.below(8))
                .map(|_| char::from(b'a' + (random.below(26) * random.below(26) / 26) as u8))
                .collect()
        })
        .collect();
    let mut text = Vec::new();
    while text.len() < size {
        let word = random.below(words.len());
        text.extend_from_slice(words[random.below(word + 1)].as_bytes());
        text.push(if random.below(12) == 0 { b'\n' } else { b' ' });
    }
    text.truncate(size);
    text
}

/// Runs of every length around those that matter to some format.
fn runs() -> Vec<u8> {
    let mut runs = Vec::new();
    for (i, length) in (1..12).chain(250..270).chain([900, 4095, 65_535, 131_073]).enumerate() {
        runs.resize(runs.len() + length, i as u8);
        runs.extend(0..(i % 5) as u8);
    }
    runs
}

/// Text, code, zeros, random bytes and repetitions from near and far.
fn mixed(size: usize) -> Vec<u8> {
    let mut random = Random(6);
    let text = text(200_000);
    let code = fs::read(env::current_exe().unwrap()).unwrap();
    let mut mixed: Vec<u8> = Vec::new();
    while mixed.len() < size {
        let longest = 1 + random.below(60_000);
        let length = 1 + random.below(longest);
        match random.below(8) {
            0 => mixed.extend((0..length.min(3000)).map(|_| random.next() as u8)),
            1 => mixed.resize(mixed.len() + length, random.next() as u8),
            2 | 3 => {
                let at = random.below(text.len() - 60_000);
                mixed.extend_from_slice(&text[at..at + length]);
            }
            4..=6 => {
                let at = random.below(code.len() - 60_000);
                mixed.extend_from_slice(&code[at..at + length]);
            }
            _ if mixed.len() < length => {}
            _ => {
                let at = random.below(mixed.len() - length + 1);
                mixed.extend_from_within(at..at + length);
            }
        }
    }
    mixed.truncate(size);
    mixed
}

/// As xz has it, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 == 0 { 0 } else { 0xedb8_8320 })
    })
}
