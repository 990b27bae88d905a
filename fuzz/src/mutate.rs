//! How the stable engine changes inputs. Everything follows from one number, so that a run can be repeated.

/// A generator of numbers: xorshift64*.
#[derive(Debug, Clone)]
pub struct Numbers(u64);

impl Numbers {
    /// Starts from `seed`.
    pub fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`, or zero when that is zero.
    pub fn below(&mut self, end: usize) -> usize {
        (self.any() >> 16) as usize % end.max(1)
    }
}

/// Changes `input` in one to eight places; parts of `other` may come in.
pub fn mutate(input: &mut Vec<u8>, other: &[u8], numbers: &mut Numbers) {
    for _ in 0..1 + numbers.below(4) * numbers.below(3) {
        let at = numbers.below(input.len() + 1);
        let rest = input.len() - at;
        match numbers.below(11) {
            0 | 1 if rest > 0 => input[at] ^= 1 << numbers.below(8),
            2 if rest > 0 => input[at] = numbers.any() as u8,
            3 => write_number(&mut input[at..], numbers),
            4 => drop(input.drain(at..at + numbers.below(rest.min(32) + 1))),
            5 => {
                let range = at..at + numbers.below(rest.min(64) + 1);
                let copy = input[range].to_vec();
                let to = numbers.below(input.len() + 1);
                drop(input.splice(to..to, copy));
            }
            6 => {
                let from = numbers.below(other.len());
                let copy = other[from..from + numbers.below((other.len() - from).min(600) + 1)].to_vec();
                let replaced = if numbers.below(2) == 0 { 0 } else { copy.len().min(rest) };
                drop(input.splice(at..at + replaced, copy));
            }
            7 => {
                let bytes: Vec<u8> = (0..1 + numbers.below(8)).map(|_| numbers.any() as u8).collect();
                drop(input.splice(at..at, bytes));
            }
            8 => change_digits(input, at, numbers),
            9 => {
                let word = WORDS[numbers.below(WORDS.len())];
                let replaced = if numbers.below(2) == 0 { 0 } else { word.len().min(rest) };
                drop(input.splice(at..at + replaced, word.iter().copied()));
            }
            10 if numbers.below(8) == 0 => input.truncate(at),
            _ => {}
        }
    }
    input.truncate(LARGEST);
}

/// A number at the edges of arithmetic, in one of the widths and either order.
fn write_number(place: &mut [u8], numbers: &mut Numbers) {
    let edge = match numbers.below(4) {
        0 => 1_u64 << numbers.below(64),
        1 => (1_u64 << numbers.below(64)).wrapping_sub(1),
        2 => (numbers.below(64) as u64).wrapping_neg(),
        _ => numbers.below(4096) as u64,
    };
    let width = [1, 2, 4, 8][numbers.below(4)].min(place.len());
    let mut bytes = edge.to_le_bytes();
    if numbers.below(2) == 0 {
        bytes[..width].reverse();
    }
    place[..width].copy_from_slice(&bytes[..width]);
}

/// The next number in digits becomes another one.
fn change_digits(input: &mut Vec<u8>, at: usize, numbers: &mut Numbers) {
    let Some(start) = input[at..].iter().position(u8::is_ascii_digit).map(|start| at + start) else { return };
    let end = input[start..].iter().position(|byte| !byte.is_ascii_digit()).map_or(input.len(), |end| start + end);
    let number = match numbers.below(3) {
        0 => numbers.below(10_000).to_string(),
        1 => (1_u64 << numbers.below(64)).wrapping_sub(numbers.below(2) as u64).to_string(),
        _ => format!("{:o}", numbers.below(1 << 30)),
    };
    drop(input.splice(start..end, number.into_bytes()));
}

/// What the formats' readers look for.
const WORDS: &[&[u8]] = &[
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b"{}",
    b"[]",
    b"null",
    b"true",
    b"-0",
    b"1e99",
    b",",
    b":",
    b"\xef\xbb\xbf",
    b"..",
    b"/",
    b"./",
    b"../",
    b"\\",
    b"\0",
    b"ustar\0",
    b"11 path=a/b\n",
    b"9 size=1\n",
    b"14 linkpath=a\n",
    b"x-pspf-claims",
    b"chunks",
    b"tree",
    b"original_size",
    b"0x1001",
    b"0x10",
    b"0x1b",
    b"attestation",
    b"runtime",
    b"\x1f\x8b\x08",
    b"\0\0\xff\xff",
    b"\x01\0\0\xff\xff",
    b"\xfd7zXZ\0",
    b"\x28\xb5\x2f\xfd",
    b"BZh9",
    b"\x31\x41\x59\x26\x53\x59",
];

/// Inputs grow no larger, in bytes.
const LARGEST: usize = 64 << 10;
