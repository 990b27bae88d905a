//! Cutting texts at ASCII bytes, and putting them together.
//!
//! The patterns of `str` can do this and much else: in the launcher each use of one is 150 to 650 bytes of code.

use alloc::string::String;

/// What is before the first `separator` and what is behind it.
#[inline(never)]
pub fn split_once(text: &str, separator: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|byte| byte == separator)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// What is before the last `separator` and what is behind it.
#[inline(never)]
pub fn rsplit_once(text: &str, separator: u8) -> Option<(&str, &str)> {
    let at = text.bytes().rposition(|byte| byte == separator)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// The pieces between separators: one more than there are separators.
pub fn pieces(text: &str, separator: u8) -> Pieces<'_> {
    Pieces { rest: Some(text), separator }
}

/// The parts one behind the other.
#[inline(never)]
pub fn concat(parts: &[&str]) -> String {
    let mut whole = String::new();
    for part in parts {
        whole.push_str(part);
    }
    whole
}

/// True when the byte is somewhere in the text.
#[inline(never)]
pub fn has(text: &str, byte: u8) -> bool {
    text.bytes().any(|other| other == byte)
}

/// The iterator of [`pieces`].
#[derive(Debug, Clone)]
pub struct Pieces<'a> {
    rest: Option<&'a str>,
    separator: u8,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a str;

    #[inline(never)]
    fn next(&mut self) -> Option<&'a str> {
        let text = self.rest?;
        let (piece, rest) = match split_once(text, self.separator) {
            Some((piece, rest)) => (piece, Some(rest)),
            None => (text, None),
        };
        self.rest = rest;
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn texts_are_cut_as_str_cuts_them() {
        for text in ["", "/", "a", "a/b", "/a//b/", "é/è"] {
            assert_eq!(split_once(text, b'/'), text.split_once('/'));
            assert_eq!(rsplit_once(text, b'/'), text.rsplit_once('/'));
            assert!(pieces(text, b'/').eq(text.split('/')), "{:?}", pieces(text, b'/').collect::<Vec<_>>());
            assert_eq!(has(text, b'/'), text.contains('/'));
        }
    }
}
