//! One zstd frame (RFC 8878), by `ruzstd`.
//!
//! `ruzstd` decodes blocks. What it leaves to its callers is done here: the window's limit, the checksum, the
//! declared size, reserved bits, and that there is one frame and nothing else.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::io::{Error as IoError, ErrorKind as IoErrorKind, Read};

use super::Stage;
use super::decoded::{Decoded, Decoder, Input};
use crate::error::{Error, ErrorKind, Part, Result};
use crate::limits::CLAIMED_WINDOW;

/// Undoes zstd: exactly one frame without a dictionary, its checksum and size compared where it has them, nothing
/// after it. In packages with claims, which grant a window of [`CLAIMED_WINDOW`], it has a checksum. `window` is how far back it may look, in bytes.
pub(super) fn open<'a>(inner: Box<dyn Stage + 'a>, part: Part, window: u64) -> Box<dyn Stage + 'a> {
    let mut frame = FrameDecoder::new();
    frame.set_max_window_size(window);
    Box::new(Decoded::new(inner, part, Zstd { frame, window, state: State::Header, size: None, given: 0 }))
}

struct Zstd {
    frame: FrameDecoder,
    /// The largest window that is accepted.
    window: u64,
    state: State,
    /// What the header says will come out.
    size: Option<u64>,
    /// What came out.
    given: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    Blocks,
}

impl Decoder for Zstd {
    fn decode(&mut self, input: &mut Input<'_>, out: &mut Vec<u8>) -> Result<bool> {
        if self.state == State::Header {
            self.header(input)?;
            self.state = State::Blocks;
        }
        if !self.frame.is_finished() && self.frame.can_collect() == 0 {
            read(input, |reader| self.frame.decode_blocks(reader, BlockDecodingStrategy::UptoBlocks(1)))?;
        }
        out.resize(self.frame.can_collect().min(OUTPUT), 0);
        // Reading from its buffer fails only when the reader does, and there is none.
        let given = self.frame.read(out).unwrap_or(0);
        out.truncate(given);
        self.given += given as u64;
        if !self.frame.is_finished() || self.frame.can_collect() > 0 {
            return Ok(false);
        }
        let expected = self.frame.get_checksum_from_data();
        if expected.is_some() && expected != self.frame.get_calculated_checksum() {
            return Err(input.malformed("the checksum of the zstd frame", "another one"));
        }
        if self.size.is_some_and(|size| size != self.given) {
            return Err(input.malformed("as many bytes as the zstd frame says", "another number"));
        }
        Ok(true)
    }
}

impl Zstd {
    /// Reads the frame's header (RFC 8878 section 3.1.1.1).
    fn header(&mut self, input: &mut Input<'_>) -> Result<()> {
        let mut header = [0; HEADER];
        input.take(&mut header[..5], "a zstd frame")?;
        if header[..4] != MAGIC {
            return Err(input.malformed("a zstd frame", "other bytes"));
        }
        let flags = header[4];
        if flags & RESERVED != 0 {
            return Err(input.malformed("a zstd frame without the reserved flag", "one with"));
        }
        let single = flags & SINGLE_SEGMENT != 0;
        let dictionary = 5 + usize::from(!single);
        let size = dictionary + [0, 1, 2, 4][usize::from(flags & 3)];
        let end = size + [usize::from(single), 2, 4, 8][usize::from(flags >> 6)];
        input.take(&mut header[5..end], "a zstd frame")?;
        if header[dictionary..size].iter().any(|byte| *byte != 0) {
            return Err(ErrorKind::Unsupported { what: "zstd with a dictionary".into() }.into());
        }
        let number = header[size..end].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        // Two bytes count from where one ends.
        self.size = (end > size).then_some(if end - size == 2 { number + 256 } else { number });
        let window = match self.size {
            Some(size) if single => size,
            _ => {
                let (exponent, mantissa) = (header[5] >> 3, header[5] & 7);
                (8 + u64::from(mantissa)) << (7 + exponent)
            }
        };
        if window > self.window {
            return Err(Error::too_large("the window of a zstd frame", self.window, window));
        }
        // What no encoder writes, `ruzstd` and libzstd may read as different contents: the checksum is of one. FlavorPack's
        // Python builder leaves it out; nothing in its packages says either which content is meant.
        if flags & CHECKSUM == 0 && self.window <= CLAIMED_WINDOW {
            return Err(input.malformed("a zstd frame with a checksum", "one without"));
        }
        self.frame.reset(&header[..end]).map_err(|_| input.malformed("a zstd frame", "another header"))
    }
}

/// Calls the decoder with a reader of its kind. Where that failed, its error is the one that counts.
fn read<T, E>(input: &mut Input<'_>, call: impl FnOnce(&mut Reader<'_, '_>) -> Result<T, E>) -> Result<T> {
    let mut reader = Reader { input, failed: None, ended: false };
    let outcome = call(&mut reader);
    let Reader { failed, ended, .. } = reader;
    outcome.map_err(|_| match failed {
        Some(error) => error,
        None if ended => input.malformed("more zstd data", "the end"),
        None => input.malformed("zstd data", "bytes that are not"),
    })
}

/// An input as `ruzstd` wants it.
struct Reader<'i, 'a> {
    input: &'i mut Input<'a>,
    failed: Option<Error>,
    ended: bool,
}

impl Read for Reader<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, IoError> {
        let ready = match self.input.fill() {
            Ok(ready) => ready,
            Err(error) => {
                self.failed = Some(error);
                return Err(IoErrorKind::Other.into());
            }
        };
        let size = ready.len().min(buf.len());
        buf[..size].copy_from_slice(&ready[..size]);
        self.ended = ready.is_empty();
        self.input.consume(size);
        Ok(size)
    }
}

/// How much is given out at a time.
const OUTPUT: usize = 128 << 10;

/// The longest header: magic, flags, window, dictionary, size.
const HEADER: usize = 4 + 1 + 1 + 4 + 8;
const MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
const SINGLE_SEGMENT: u8 = 1 << 5;
const RESERVED: u8 = 1 << 3;
const CHECKSUM: u8 = 1 << 2;
