//! The gzip container around the JSON (docs/format.md section 5, "Metadata container").
//!
//! Packages with claims use a canonical one: fixed header, stored blocks of 65,535 bytes, nothing free. It is
//! rebuilt from the JSON and compared, so nothing is inflated before the signature holds, and no byte of it can
//! change. Other packages are read as they come: one gzip member, any header.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::codec::{Gzip, Stage, Stored};
use crate::crc32::Crc32;
use crate::error::{Error, Part, Result};
use crate::limits;

/// The container of a package with claims.
pub fn encode(json: &[u8]) -> Vec<u8> {
    let mut container = Vec::with_capacity(json.len() + 32);
    container.extend_from_slice(&HEADER);
    let blocks = json.len().div_ceil(BLOCK).max(1);
    for i in 0..blocks {
        let block = &json[i * BLOCK..json.len().min((i + 1) * BLOCK)];
        let len = block.len() as u16;
        container.push(u8::from(i + 1 == blocks));
        container.extend_from_slice(&len.to_le_bytes());
        container.extend_from_slice(&(!len).to_le_bytes());
        container.extend_from_slice(block);
    }
    container.extend_from_slice(&Crc32::of(json).to_le_bytes());
    container.extend_from_slice(&(json.len() as u32).to_le_bytes());
    container
}

/// How many bytes [`encode`] gives for a JSON text of this size.
pub fn encoded_size(json: u64) -> u64 {
    json + json.div_ceil(BLOCK as u64).max(1) * 5 + 18
}

/// The JSON of a canonical container; `None` when it is any other container. Nothing is inflated.
pub fn decode_canonical(container: &[u8]) -> Option<Vec<u8>> {
    let mut rest = container.strip_prefix(&HEADER)?;
    let mut json = Vec::with_capacity(rest.len());
    loop {
        let (block_header, after) = rest.split_first_chunk::<5>()?;
        let [last, a, b, ..] = *block_header;
        let (block, after) = after.split_at_checked(usize::from(u16::from_le_bytes([a, b])))?;
        json.extend_from_slice(block);
        rest = after;
        if last == 1 {
            break;
        }
    }
    (encode(&json) == container).then_some(json)
}

/// What [`decode`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The document.
    pub json: Vec<u8>,
    /// Whether the container is the only one that [`encode`] makes of it.
    pub canonical: bool,
}

/// The JSON of any container: one gzip member that ends with the container.
pub fn decode(container: &[u8]) -> Result<Decoded> {
    if let Some(json) = decode_canonical(container) {
        return Ok(Decoded { json, canonical: true });
    }
    let stored = Stored::new(&container, Part::Container, 0, container.len() as u64);
    let mut stage = Gzip::new(Box::new(stored), Part::Container);
    let mut json = Vec::new();
    loop {
        let block = stage.fill()?;
        if block.is_empty() {
            break;
        }
        let found = (json.len() + block.len()) as u64;
        if found > limits::METADATA_READ {
            return Err(Error::too_large("metadata in bytes of JSON", limits::METADATA_READ, found));
        }
        json.extend_from_slice(block);
        let taken = block.len();
        stage.consume(taken);
    }
    stage.finish()?;
    Ok(Decoded { json, canonical: false })
}

/// Deflate, no flags, no time, no extra flags, operating system unknown.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// The most that a stored block holds.
const BLOCK: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn what_is_encoded_is_decoded_without_inflating() {
        for size in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
            let json = vec![b'x'; size];
            let container = encode(&json);
            assert_eq!(container.len() as u64, encoded_size(size as u64));
            assert_eq!(decode_canonical(&container).as_deref(), Some(&json[..]));
            assert_eq!(decode(&container).unwrap(), Decoded { json, canonical: true });
        }
    }

    #[test]
    fn any_changed_byte_makes_a_container_not_canonical() {
        let container = encode(b"{\"a\":1}");
        for i in 0..container.len() {
            let mut changed = container.clone();
            changed[i] ^= 0x20;
            let json = decode_canonical(&changed);
            assert!(json.is_none(), "byte {i}");
        }
    }

    #[test]
    fn a_container_with_a_second_member_or_trailing_bytes_is_refused() {
        let mut container = encode(b"{}");
        container[3] = 0;
        let twice = [container.clone(), container.clone()].concat();
        assert!(decode(&twice).is_err());
        container.push(0);
        assert!(decode(&container).is_err());
    }
}
