//! The gzip container around the JSON (docs/format.md section 5, "Metadata container").
//!
//! Packages with claims use a canonical one: fixed header, stored blocks of 65,535 bytes, nothing free. It is
//! rebuilt from the JSON and compared, so nothing is inflated before the signature holds, and no byte of it can
//! change. Other packages are read as they come: one gzip member, any header.

use alloc::vec::Vec;

use pspf_inflate::crc32;

use crate::error::{Error, Result};

/// The container of a package with claims.
pub fn encode(json: &[u8]) -> Vec<u8> {
    let mut container = Vec::with_capacity(json.len() + 32);
    container.extend_from_slice(&HEADER);
    let blocks = json.len().div_ceil(BLOCK).max(1);
    for i in 0..blocks {
        let block = &json[i * BLOCK..json.len().min((i + 1) * BLOCK)];
        container.extend_from_slice(&block_header(block.len(), i + 1 == blocks));
        container.extend_from_slice(block);
    }
    container.extend_from_slice(&trailer(json));
    container
}

/// How many bytes [`encode`] gives for a JSON text of this size.
pub fn encoded_size(json: u64) -> u64 {
    json + json.div_ceil(BLOCK as u64).max(1) * 5 + 18
}

/// The JSON of a canonical container; `None` when it is any other container. Nothing is inflated.
pub fn decode_canonical(container: &[u8]) -> Option<Vec<u8>> {
    let (rest, crc_and_size) = container.strip_prefix(&HEADER)?.split_last_chunk::<8>()?;
    let mut rest = rest;
    let mut json = Vec::with_capacity(rest.len());
    while let Some((header, after)) = rest.split_first_chunk::<5>() {
        let len = after.len().min(BLOCK);
        if *header != block_header(len, len == after.len()) {
            return None;
        }
        let (block, after) = after.split_at(len);
        json.extend_from_slice(block);
        rest = after;
    }
    // A last block that is full is followed by none; only an empty document has an empty one.
    let is_whole = rest.is_empty() && encoded_size(json.len() as u64) == container.len() as u64;
    (is_whole && *crc_and_size == trailer(&json)).then_some(json)
}

fn block_header(len: usize, is_last: bool) -> [u8; 5] {
    let ([a, b], [c, d]) = ((len as u16).to_le_bytes(), (!len as u16).to_le_bytes());
    [is_last.into(), a, b, c, d]
}

fn trailer(json: &[u8]) -> [u8; 8] {
    let ([a, b, c, d], [e, f, g, h]) = (crc32(json).to_le_bytes(), (json.len() as u32).to_le_bytes());
    [a, b, c, d, e, f, g, h]
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
    #[cfg(not(feature = "foreign"))]
    return Err(Error::left_out("metadata of another builder"));
    #[cfg(feature = "foreign")]
    inflate(container).map(|json| Decoded { json, canonical: false })
}

#[cfg(feature = "foreign")]
fn inflate(container: &[u8]) -> Result<Vec<u8>> {
    use crate::codec::{Gzip, Stage, Stored};
    use crate::error::Part;
    use crate::limits;

    let stored = Stored::new(&container, Part::Container, 0, container.len() as u64);
    let mut stage = Gzip::new(alloc::boxed::Box::new(stored), Part::Container);
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
    Ok(json)
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
