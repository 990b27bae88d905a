//! The decoders, each against the library that most people read its format with.

use std::io::Write as _;

use flate2::Crc;
use flate2::bufread::{DeflateDecoder, GzDecoder};
use pspf_core::claims::Chunks;
use pspf_core::codec::{self, Chunked, Stage, Stored};
use pspf_core::format::Operation;
use pspf_core::limits::{CLAIMED_WINDOW, WINDOW};
use pspf_core::{ErrorKind, Part, Source, container};
use pspf_inflate::{End, INPUT_SLACK, Inflater, OUTPUT_SLACK};

use super::cursor::Cursor;
use super::drained::{CAP, Drained, read_up_to_cap};

pub(super) fn gzip(input: &[u8]) -> bool {
    let accepted = gzip_as_it_is(input);
    match with_gzip_trailer(input) {
        Some(mended) => gzip_as_it_is(&mended) | accepted,
        None => accepted,
    }
}

fn gzip_as_it_is(member: &[u8]) -> bool {
    let ours = undo(Operation::Gzip, &member, WINDOW);
    let mut zlib = GzDecoder::new(member);
    let (content, ended) = read_up_to_cap(&mut zlib);
    let zlib_accepts = ended && zlib.into_inner().is_empty();
    match &ours {
        Drained::All(ours) => {
            assert!(zlib_accepts, "zlib refuses a member that we accept");
            assert!(!zlib_accepts || *ours == content, "zlib reads another content");
        }
        Drained::TooMuch => {}
        Drained::Refused(error) => assert!(!zlib_accepts || content.len() > CAP, "zlib accepts: {error}"),
    }
    // The container of the metadata is a member, too.
    match (container::decode(member), &ours) {
        (Ok(decoded), Drained::All(content)) => assert_eq!(decoded.json, *content),
        (Ok(decoded), Drained::TooMuch) => assert!(decoded.json.len() > CAP),
        (Ok(_), Drained::Refused(error)) => panic!("as a container it is accepted: {error}"),
        (Err(error), Drained::All(_)) => panic!("as a container it is refused: {error}"),
        (Err(_), _) => {}
    }
    ours.is_all()
}

/// A member without flags whose CRC-32 and size are those of its content.
fn with_gzip_trailer(member: &[u8]) -> Option<Vec<u8>> {
    let (header, rest) = member.split_first_chunk::<10>()?;
    if header[..4] != [0x1f, 0x8b, 8, 0] {
        return None;
    }
    let mut zlib = DeflateDecoder::new(rest);
    let (content, ended) = read_up_to_cap(&mut zlib);
    if !ended || content.len() > CAP {
        return None;
    }
    let left = zlib.into_inner().len();
    let mut crc = Crc::new();
    crc.update(&content);
    let mut mended = member[..member.len() - left].to_vec();
    mended.extend(crc.sum().to_le_bytes());
    mended.extend((content.len() as u32).to_le_bytes());
    Some(mended)
}

/// The input is a chunk table (original size of a chunk, of all, number of chunks, their stored sizes), then the member.
pub(super) fn chunked(input: &[u8]) -> bool {
    let mut input = Cursor(input);
    let original = u64::from(input.u16());
    let size = u64::from(input.u16()) | u64::from(input.u8()) << 16;
    let count = input.u8() & 0x3f;
    let mut chunks = Chunks { original, stored: (0..count).map(|_| u32::from(input.u16())).collect() };
    let member = input.0;
    let accepted = chunked_as_it_is(member, &chunks, size);
    let Some(mended) = with_gzip_trailer(member) else { return accepted };
    // And with a last chunk that goes up to the trailer.
    if let Some((last, others)) = chunks.stored.split_last_mut() {
        let before: u32 = others.iter().sum();
        *last = (mended.len() as u32 - 18).saturating_sub(before);
    }
    chunked_as_it_is(&mended, &chunks, size) | accepted
}

fn chunked_as_it_is(member: &[u8], chunks: &Chunks, size: u64) -> bool {
    let stage = Chunked::new(&member, Part::Slot(0), (0, member.len() as u64), chunks, size);
    match Drained::of(stage.map(boxed)) {
        Drained::All(content) => {
            assert_eq!(content.len() as u64, size, "another size than the claims say");
            assert_eq!(undo(Operation::Gzip, &member, WINDOW), Drained::All(content), "as a stream it is another one");
            true
        }
        Drained::TooMuch => {
            assert!(size > CAP as u64);
            false
        }
        Drained::Refused(_) => false,
    }
}

pub(super) fn inflate(input: &[u8]) -> bool {
    let mut zlib = DeflateDecoder::new(input);
    let (content, ended) = read_up_to_cap(&mut zlib);
    let zlib_accepts = ended && zlib.into_inner().is_empty();
    if content.len() > CAP {
        return false;
    }
    let ours = inflate_to(input, content.len(), End::Final);
    assert_eq!(ours.is_some(), zlib_accepts, "{} bytes: only one of us and zlib accepts", content.len());
    if let Some(ours) = &ours {
        assert_eq!(*ours, content, "zlib reads another content");
        assert_eq!(inflate_to(input, content.len() + 1, End::Final), None, "one byte more");
        if let Some(less) = content.len().checked_sub(1) {
            assert_eq!(inflate_to(input, less, End::Final), None, "one byte less");
        }
    }

    // What ends with a flush is a whole stream once a final block follows.
    let finished = [input, &[1, 0, 0, 0xff, 0xff]].concat();
    let mut zlib = DeflateDecoder::new(&finished[..]);
    let (content, ended) = read_up_to_cap(&mut zlib);
    if content.len() <= CAP
        && let Some(flushed) = inflate_to(input, content.len(), End::Flush)
    {
        assert!(ended && zlib.into_inner().is_empty(), "zlib refuses a flushed stream that we accept");
        assert_eq!(flushed, content, "zlib reads another content");
        return true;
    }
    ours.is_some()
}

fn inflate_to(deflated: &[u8], size: usize, end: End) -> Option<Vec<u8>> {
    let mut input = deflated.to_vec();
    input.resize(deflated.len() + INPUT_SLACK, 0xff);
    let mut output = vec![0xaa; size + OUTPUT_SLACK];
    Inflater::new().inflate((&input, deflated.len()), (&mut output, size), end).ok()?;
    output.truncate(size);
    Some(output)
}

pub(super) fn bzip2(input: &[u8]) -> bool {
    agrees(Operation::Bzip2, input, |input| {
        let mut libbz2 = ::bzip2::bufread::BzDecoder::new(input);
        let (content, ended) = read_up_to_cap(&mut libbz2);
        (ended && libbz2.into_inner().is_empty()).then_some(content)
    })
}

pub(super) fn xz(input: &[u8]) -> bool {
    let reference = |input: &[u8]| {
        let mut reader = lzma_rust2::XzReader::new(input, false);
        let (content, ended) = read_up_to_cap(&mut reader);
        (ended && reader.into_inner().is_empty()).then_some(content)
    };
    let mended = with_xz_checksums(input);
    agrees(Operation::Xz, input, reference) | agrees(Operation::Xz, &mended, reference)
}

/// With the checksums of the stream's and the first block's header made right.
fn with_xz_checksums(stream: &[u8]) -> Vec<u8> {
    let mut mended = stream.to_vec();
    let mut mend = |start: usize, end: usize| {
        if let Some(bytes) = stream.get(start..end)
            && let Some(field) = mended.get_mut(end..end + 4)
        {
            field.copy_from_slice(&pspf_inflate::Crc32::of(bytes).to_le_bytes());
        }
    };
    mend(6, 8);
    if let Some(words) = stream.get(12) {
        mend(12, 12 + usize::from(*words) * 4);
    }
    mended
}

pub(super) fn zstd(input: &[u8]) -> bool {
    // ruzstd takes some blocks that no encoder writes, such as four streams of literals of uneven lengths, which libzstd
    // refuses or reads otherwise. In packages with claims every frame has a checksum, which leaves one reading.
    let ours = undo(Operation::Zstd, &input, CLAIMED_WINDOW);
    if let Drained::All(content) = &ours {
        assert!(undo(Operation::Zstd, &input, WINDOW) == ours, "another answer with a larger window");
        if let Ok(mut libzstd) = ::zstd::stream::read::Decoder::with_buffer(input).map(|decoder| decoder.single_frame())
        {
            let (theirs, ended) = read_up_to_cap(&mut libzstd);
            assert!(!ended || theirs == *content, "libzstd reads another content");
        }
    } else {
        _ = undo(Operation::Zstd, &input, WINDOW);
    }

    // What libzstd writes comes back.
    let mut parameters = Cursor(input);
    let level = i32::from(parameters.u8() % 20);
    let mut encoder = ::zstd::Encoder::new(Vec::new(), level).expect("a level of zstd's");
    let written = encoder.include_checksum(true).and_then(|()| encoder.write_all(parameters.0));
    let frame = written.and_then(|()| encoder.finish());
    let frame = frame.expect("memory takes everything");
    let back = undo_in_both_windows(Operation::Zstd, &frame.as_slice());
    assert!(
        parameters.0.len() > CAP || back == Drained::All(parameters.0.to_vec()),
        "level {level} does not come back"
    );
    ours.is_all()
}

/// Whatever we accept, the reference accepts, and reads the same. It may accept more.
fn agrees(operation: Operation, input: &[u8], reference: impl Fn(&[u8]) -> Option<Vec<u8>>) -> bool {
    let ours = undo_in_both_windows(operation, &input);
    if let Drained::All(content) = &ours {
        let theirs = reference(input);
        assert!(theirs.is_some(), "the reference refuses what we accept");
        assert!(theirs.as_ref() == Some(content), "the reference reads another content");
    }
    ours.is_all()
}

/// A smaller window refuses more, and changes nothing else.
fn undo_in_both_windows(operation: Operation, input: &dyn Source) -> Drained {
    let ours = undo(operation, input, WINDOW);
    let claimed = undo(operation, input, CLAIMED_WINDOW);
    let too_large = matches!(&claimed, Drained::Refused(error) if matches!(error.kind(), ErrorKind::TooLarge { .. }));
    assert!(too_large || claimed == ours, "another answer with a smaller window");
    ours
}

fn undo(operation: Operation, input: &dyn Source, window: u64) -> Drained {
    let stored = Stored::new(input, Part::Slot(0), 0, input.len());
    Drained::of(codec::undo(operation, Box::new(stored), Part::Slot(0), window))
}

fn boxed<'a>(stage: Chunked<'a>) -> Box<dyn Stage + 'a> {
    Box::new(stage)
}
