//! The inflater against zlib's own format: whatever flate2 writes is read, and what either refuses the other refuses.

use std::io::{Read as _, Write as _};

use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;
use pspf_inflate::{End, INPUT_SLACK, Inflater, Malformed, OUTPUT_SLACK};

fn inflate(deflated: &[u8], size: usize, end: End) -> Result<Vec<u8>, Malformed> {
    let mut input = deflated.to_vec();
    // What follows the input has no meaning: bits of ones would end a block of a fixed code only after many bytes.
    input.resize(deflated.len() + INPUT_SLACK, 0xff);
    let mut output = vec![0xaa; size + OUTPUT_SLACK];
    Inflater::new().inflate((&input, deflated.len()), (&mut output, size), end)?;
    output.truncate(size);
    Ok(output)
}

fn deflate(bytes: &[u8], level: u32, end: End) -> Vec<u8> {
    let mut compress = Compress::new(Compression::new(level), false);
    let mut deflated = Vec::with_capacity(bytes.len() * 2 + 1024);
    let flush = if end == End::Final { FlushCompress::Finish } else { FlushCompress::Full };
    compress.compress_vec(bytes, &mut deflated, flush).unwrap();
    assert_eq!(compress.total_in(), bytes.len() as u64);
    deflated
}

/// Texts, runs, patterns of every period, noise, and this program itself.
fn corpora() -> Vec<Vec<u8>> {
    let mut state = 0x2545_f491_u32;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let mut corpora = vec![vec![], b"a".to_vec(), vec![0; 1 << 20], include_bytes!("agrees_with_zlib.rs").to_vec()];
    corpora.push((0..300_000).map(|_| noise() as u8).collect());
    corpora.push((0..300_000).map(|_| (noise() % 7) as u8).collect());
    for period in 2..40 {
        corpora.push((0..5000 + period).map(|i| (i % period * 31) as u8).collect());
    }
    // Matches from as far back as they go.
    let far: Vec<u8> = (0..32_768).map(|_| noise() as u8).collect();
    corpora.push([&far[..], &far[..], &far[..1000]].concat());
    corpora.push(std::fs::read(std::env::current_exe().unwrap()).unwrap());
    corpora
}

#[test]
fn what_zlib_deflates_at_every_level_is_inflated() {
    for bytes in corpora() {
        for level in 0..=9 {
            for end in [End::Final, End::Flush] {
                let deflated = deflate(&bytes, level, end);
                let inflated = inflate(&deflated, bytes.len(), end);
                assert!(inflated.as_deref() == Ok(&bytes), "{} bytes, level {level}, {end:?}", bytes.len());
            }
        }
    }
}

#[test]
fn another_size_or_another_end_is_refused() {
    let bytes = b"a text that is long enough to be a text, a text, a text".as_slice();
    for end in [End::Final, End::Flush] {
        let deflated = deflate(bytes, 6, end);
        assert!(inflate(&deflated, bytes.len(), end).is_ok());
        let other = if end == End::Final { End::Flush } else { End::Final };
        assert_eq!(inflate(&deflated, bytes.len(), other), Err(Malformed));
        assert_eq!(inflate(&deflated, bytes.len() - 1, end), Err(Malformed));
        assert_eq!(inflate(&deflated, bytes.len() + 1, end), Err(Malformed));
        for count in 0..deflated.len() {
            assert_eq!(inflate(&deflated[..count], bytes.len(), end), Err(Malformed), "{count} bytes of it");
        }
        let more = [&deflated[..], &[0]].concat();
        assert_eq!(inflate(&more, bytes.len(), end), Err(Malformed));
    }
}

#[test]
fn blocks_that_no_deflater_writes_are_refused() {
    for (what, deflated) in [
        ("a block of the reserved kind", &[0b111, 0][..]),
        ("a stored block whose size and its complement differ", &[1, 1, 0, 0, 0, b'a']),
        ("a distance before the start", &[0x03 | 0x80, 0x02, 0x00]),
        ("more lengths than there are symbols", &[0b1111_1101, 0xff, 0xff, 0xff, 0xff]),
    ] {
        for size in [0, 1, 3, 4] {
            assert_eq!(inflate(deflated, size, End::Final), Err(Malformed), "{what}, {size}");
        }
    }
}

/// Whether zlib takes all of it as one stream of this size.
fn zlib(deflated: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut reader = flate2::bufread::DeflateDecoder::new(deflated);
    let mut inflated = Vec::new();
    reader.read_to_end(&mut inflated).ok()?;
    (inflated.len() == size && reader.into_inner().is_empty()).then_some(inflated)
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_taken_or_refused_as_zlib_does(deflated in proptest::collection::vec(any::<u8>(), 0..200), size in 0..600_usize) {
        prop_assert_eq!(inflate(&deflated, size, End::Final).ok(), zlib(&deflated, size));
    }

    #[test]
    fn changed_streams_are_taken_or_refused_as_zlib_does(
        seed in any::<u32>(),
        size in 1..3000_usize,
        level in 0..10_u32,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let bytes: Vec<u8> = (0..size as u32).map(|i| (i.wrapping_mul(seed) >> 13) as u8 % 11).collect();
        let mut deflated = deflate(&bytes, level, End::Final);
        for (place, change) in changes {
            let place = place.index(deflated.len());
            deflated[place] ^= change;
        }
        prop_assert_eq!(inflate(&deflated, size, End::Final).ok(), zlib(&deflated, size));
    }
}

#[test]
fn pieces_that_were_flushed_make_one_stream() {
    let bytes = corpora().pop().unwrap();
    let mut whole = Vec::new();
    let chunks: Vec<&[u8]> = bytes.chunks(100_000).collect();
    for (i, chunk) in chunks.iter().enumerate() {
        let end = if i + 1 == chunks.len() { End::Final } else { End::Flush };
        let deflated = deflate(chunk, 6, end);
        assert!(inflate(&deflated, chunk.len(), end).as_deref() == Ok(chunk));
        whole.write_all(&deflated).unwrap();
    }
    assert!(zlib(&whole, bytes.len()).as_deref() == Some(&bytes));
}
