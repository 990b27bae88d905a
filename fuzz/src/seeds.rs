//! The seeds: small inputs that every engine starts from, the same every time.

use std::io::Write;

use flate2::{Compression, GzBuilder};
use pspf_core::metadata::Metadata;

use crate::targets::common;
use crate::targets::forge::{self, Flag, Part};

/// One seed.
#[derive(Debug)]
pub struct Seed {
    /// The target that it is for.
    pub target: &'static str,
    /// Its file's name.
    pub name: &'static str,
    /// The input.
    pub bytes: Vec<u8>,
}

/// All seeds of all targets.
pub fn all() -> Vec<Seed> {
    let mut seeds = Seeds(Vec::new());
    packages(&mut seeds);
    documents(&mut seeds);
    archives(&mut seeds);
    codecs(&mut seeds);
    seeds.0
}

struct Seeds(Vec<Seed>);

impl Seeds {
    fn add(&mut self, target: &'static str, name: &'static str, bytes: impl Into<Vec<u8>>) {
        self.0.push(Seed { target, name, bytes: bytes.into() });
    }
}

fn packages(seeds: &mut Seeds) {
    seeds.add("open", "sealed", common::sample());
    seeds.add("open", "without-claims", common::without_claims(&common::sample()));
    seeds.add("open", "no-slots", common::package(&[]));
    seeds.add("open", "trailer-alone", vec![0; 8200]);

    let json = forge::sample_json();
    let change =
        |part: u8, how: u8, at: u16, value: u64| [&[part, how][..], &at.to_le_bytes(), &value.to_le_bytes()].concat();
    seeds.add("whole_file", "sample", [0, 0]);
    seeds.add("whole_file", "json", [&[0, 0], json.as_bytes()].concat());
    seeds.add("whole_file", "without-claims", {
        [&[Flag::DEFLATED, 0], json.replace("x-pspf-claims", "x-other-claims").as_bytes()].concat()
    });
    seeds.add("whole_file", "wide", {
        let json = json.replace("\"meta_gap\":0", "\"meta_gap\":9").replace("\"slot_align\":8", "\"slot_align\":4096");
        [&[0, 0], json.as_bytes()].concat()
    });
    seeds.add("whole_file", "other-slot", {
        [&[0, 2], &change(Part::SLOTS, 0, 1, 7)[..], &change(Part::LAUNCHER, 1, 9, 255)].concat()
    });
    seeds.add(
        "whole_file",
        "other-index",
        [&[Flag::IGNORE_CLAIMS, 1], &change(Part::INDEX, 25, 40, 4096)[..]].concat(),
    );
    seeds.add("whole_file", "other-table", [&[0, 1], &change(Part::TABLE, 25, 32, 1 << 40)[..]].concat());
    seeds.add("whole_file", "nothing-mended", {
        let flags = Flag::OLD_DIGESTS | Flag::OLD_CONTAINER_DIGEST | Flag::OLD_SIGNATURE | Flag::OLD_CHECKSUM;
        [&[flags, 2], &change(Part::CONTAINER, 1, 99, 1)[..], &change(Part::FILE, 2, 9000, 0)].concat()
    });

    let small = b"\x02\x01\x00\x03\x07releasetimestamp\x08launcher\x04name\x01\x03app\x01\x01a\x01b\x051.0.0\x04/bin";
    seeds.add("round_trip", "no-slots", *small);
    let slot = |kind: u8, chunk: u16, content: &[u8]| {
        let size = (content.len() as u16).to_le_bytes();
        [&[kind][..], &chunk.to_le_bytes(), b"\x04slot", &size, content].concat()
    };
    let text = common::bytes(900);
    let all = [&small[..], &slot(0, 0, b"raw"), &slot(1, 99, &text), &slot(2, 0, &text), &slot(3, 500, &text)].concat();
    seeds.add("round_trip", "every-kind", all);
}

fn documents(seeds: &mut Seeds) {
    let json = forge::sample_json();
    seeds.add("metadata", "sealed", json);
    seeds.add("metadata", "without-claims", json.replace("x-pspf-claims", "x-other-claims"));
    let setup = r#"{"format":"PSPF/2025","package":{"name":"n","version":"1"},"execution":{"command":"{workenv}/a",
"env":{"A":"b"},"primary_slot":0},"slots":[{"slot":0,"id":"a","target":"{workenv}/a","lifecycle":"init",
"operations":"tar.gz","checksum":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
"permissions":"0755","size":3}],"runtime":{"env":{"unset":["*"],"pass":["PATH"],"map":{"A":"B"},"set":{"C":"d"}}},
"workenv":{"directories":[{"path":"tmp","mode":"0700"}]},"setup_commands":[{"type":"write_file","path":"{workenv}/f",
"content":"{slot:0}"},{"type":"chmod","path":"{workenv}/f","mode":"0755"},{"type":"execute","command":"{workenv}/a"}]}"#;
    assert!(Metadata::read(&pspf_core::json::parse(setup.as_bytes()).expect("JSON")).is_ok(), "it seeds nothing else");
    seeds.add("metadata", "setup", setup);

    seeds.add("json_differential", "document", json);
    seeds.add("json_differential", "values", r#"[1,-2,0,-0,1.5e3,-0.25E-7,true,false,null,{"a":{},"b":[]}, "x"]"#);
    seeds.add("json_differential", "numbers", "[18446744073709551615,-9223372036854775808,1e99,0.1,1E+2,0e0]");
    seeds.add("json_differential", "strings", r#"{"\u0041\ud83d\ude00\/\b\f\n\r\t\\\"":"é😀","":"\u0000"}"#);
    seeds.add("json_differential", "deep", "[".repeat(60) + &"]".repeat(60));
}

fn archives(seeds: &mut Seeds) {
    let files = common::tar(&[("bin/sample", b"#!/bin/sh\n"), ("share/text", &[b'x'; 700])]);
    let long = format!("{}/{}", "d".repeat(100), "f".repeat(150));
    let gnu_long = common::tar(&[(&long, b"long")]);
    let mut links = tar::Builder::new(Vec::new());
    let mut append = |kind: tar::EntryType, path: &str, target: &str| {
        let mut header = common::header(kind, 0);
        let appended = match target {
            "" => links.append_data(&mut header, path, &[][..]),
            target => links.append_link(&mut header, path, target),
        };
        appended.expect("memory takes everything");
    };
    append(tar::EntryType::Directory, "./", "");
    append(tar::EntryType::Directory, "./lib/", "");
    append(tar::EntryType::Regular, "./lib/a.so.1", "");
    append(tar::EntryType::Symlink, "./lib/a.so", "a.so.1");
    append(tar::EntryType::Symlink, "./up", "lib/../lib/a.so");
    append(tar::EntryType::Link, "./hard", "lib/a.so.1");
    let links = links.into_inner().expect("memory takes everything");
    let mut pax = tar::Builder::new(Vec::new());
    let extensions = [("path", &b"caf\xc3\xa9"[..]), ("size", b"3"), ("mtime", b"1.5"), ("SCHILY.xattr.a", b"b")];
    pax.append_pax_extensions(extensions).expect("memory takes everything");
    let mut header = common::header(tar::EntryType::Regular, 3);
    pax.append_data(&mut header, "short", &b"pax"[..]).expect("memory takes everything");
    let pax = pax.into_inner().expect("memory takes everything");
    let mut ustar = tar::Header::new_ustar();
    ustar.set_path(&long[..190]).expect("it fits prefix and name");
    ustar.set_size(1);
    ustar.set_mode(0o755);
    ustar.set_cksum();
    let ustar = [ustar.as_bytes(), &[b'u'; 512][..1], &[0; 511 + 1024]].concat();
    for target in ["tar", "tar_differential"] {
        seeds.add(target, "files", files.clone());
        seeds.add(target, "gnu-long-name", gnu_long.clone());
        seeds.add(target, "links", links.clone());
        seeds.add(target, "pax", pax.clone());
        seeds.add(target, "ustar-prefix", ustar.clone());
        seeds.add(target, "nothing", [0; 1024]);
    }
    for (name, archive) in [("tar-links", links), ("tar-pax", pax)] {
        seeds.add("chunking_independence", name, [&[1, 6, 3, 0], &archive[..]].concat());
    }
    seeds.add("chunking_independence", "package", [0, 200, 1, 0, 0, 0]);
}

fn codecs(seeds: &mut Seeds) {
    let text = b"one small text, a text that is small, small, small".repeat(3);
    let noise = common::bytes(1500);
    let member = |builder: GzBuilder, level: u32, content: &[u8]| {
        let mut encoder = builder.write(Vec::new(), Compression::new(level));
        encoder.write_all(content).and_then(|()| encoder.finish()).expect("memory takes everything")
    };
    let plain = member(GzBuilder::new(), 9, &text);
    let named = GzBuilder::new().filename("name").comment("comment").extra(*b"ab\x02\x00xx").mtime(1);
    seeds.add("gzip", "nothing", member(GzBuilder::new(), 6, b""));
    seeds.add("gzip", "stored", member(GzBuilder::new(), 0, &text));
    seeds.add("gzip", "noise", member(GzBuilder::new(), 6, &noise));
    seeds.add("gzip", "named", member(named, 6, &text));
    seeds.add("gzip", "canonical", pspf_core::container::encode(b"{}"));
    seeds.add("gzip", "two-members", [&plain[..], &plain[..]].concat());
    seeds.add("gzip", "text", plain.clone());

    for (name, content, level) in [
        ("text", &text[..], 9),
        ("noise", &noise, 6),
        ("stored", &noise[..99], 0),
        ("fast", &noise, 1),
        ("short", b"a", 9),
    ] {
        let deflated = member(GzBuilder::new(), level, content);
        seeds.add("inflate", name, &deflated[10..deflated.len() - 8]);
    }
    let (flushed, chunks) = common::gzip_chunks(&text, 40);
    seeds.add("inflate", "flushed", &flushed[10..10 + chunks.stored[0] as usize]);
    for (name, content, chunk) in [("text", &text[..], 40), ("noise", &noise[..], 600), ("one", &noise[..50], 50)] {
        let (member, chunks) = common::gzip_chunks(content, chunk);
        let mut input = Vec::new();
        input.extend((chunk as u16).to_le_bytes());
        input.extend(&(content.len() as u32).to_le_bytes()[..3]);
        input.push(chunks.stored.len() as u8);
        chunks.stored.iter().for_each(|stored| input.extend((*stored as u16).to_le_bytes()));
        seeds.add("chunked", name, [input, member].concat());
    }

    let bz = |content: &[u8]| {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(content).and_then(|()| encoder.finish()).expect("memory takes everything")
    };
    let xz = |content: &[u8], check: lzma_rust2::CheckType| {
        let mut options = lzma_rust2::XzOptions::with_preset(1);
        options.lzma_options.dict_size = 1 << 16;
        options.set_check_sum_type(check);
        let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).expect("a small dictionary");
        writer.write_all(content).and_then(|()| writer.finish()).expect("memory takes everything")
    };
    let zstd = |content: &[u8], level: i32| {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level).expect("a level");
        encoder.include_checksum(level == 3).expect("a parameter of every version");
        encoder.write_all(content).and_then(|()| encoder.finish()).expect("memory takes everything")
    };
    seeds.add("bzip2", "nothing", bz(b""));
    seeds.add("bzip2", "text", bz(&text));
    seeds.add("bzip2", "noise", bz(&noise));
    seeds.add("bzip2", "runs", bz(&[&[7; 2000][..], &noise[..20], &[9; 300]].concat()));
    seeds.add("xz", "nothing", xz(b"", lzma_rust2::CheckType::Crc64));
    seeds.add("xz", "text", xz(&text, lzma_rust2::CheckType::None));
    seeds.add("xz", "noise", xz(&noise, lzma_rust2::CheckType::Crc32));
    seeds.add("xz", "sha256", xz(&text, lzma_rust2::CheckType::Sha256));
    seeds.add("zstd", "nothing", zstd(b"", 3));
    seeds.add("zstd", "text", zstd(&text, 1));
    seeds.add("zstd", "noise", zstd(&noise, 19));
    seeds.add("zstd", "checksum", zstd(&noise, 3));
    seeds.add("zstd", "runs", zstd(&[&[7; 2000][..], &noise[..20], &[9; 300]].concat(), 1));
    let small = [
        ("gzip", 2, plain),
        ("bzip2", 3, bz(&text)),
        ("xz", 4, xz(&text, lzma_rust2::CheckType::Crc32)),
        ("zstd", 5, zstd(&text, 3)),
    ];
    for (name, what, stream) in small {
        seeds.add("chunking_independence", name, [&[what, 4, 7, 0], &stream[..]].concat());
    }
}
