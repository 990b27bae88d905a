//! The strict JSON reader, and the writer.
//!
//! Two readers that disagree about a document are an attack (docs/format.md section 4): so one document, no
//! byte order mark, UTF-8, at most [`limits::JSON_DEPTH`] levels, unique keys at every level, no lone
//! surrogates, integers that fit 64 bits. What this reader accepts, Rust's serde_json, Go's encoding/json and
//! Python's json accept with the same meaning.

use alloc::borrow::{Cow, ToOwned};
use alloc::string::String;
use alloc::vec::Vec;

use crate::digest::hex;
use crate::error::{Error, Part, Result, quoted};
use crate::names::{self, Names};
use crate::{limits, number, text};

/// A JSON value. Objects keep the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A whole number, zero or more.
    Unsigned(u64),
    /// A whole number below zero.
    Negative(i64),
    /// Any other number, as it was written.
    Decimal(Cow<'a, str>),
    /// A string, its escapes undone.
    String(Cow<'a, str>),
    /// `[...]`
    Array(Vec<Value<'a>>),
    /// `{...}`
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

/// Reads one document.
pub fn parse(text: &[u8]) -> Result<Value<'_>> {
    let text = core::str::from_utf8(text)
        .map_err(|error| malformed(error.valid_up_to(), "UTF-8", "a byte that is not".into()))?;
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.skip_space();
    if reader.at == text.len() { Ok(value) } else { Err(reader.unexpected("the end of the document")) }
}

impl<'a> Value<'a> {
    /// An object of these members.
    pub fn object(members: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        Self::Object(members.into_iter().map(|(key, value)| (Cow::Borrowed(key), value)).collect())
    }

    /// An array of these values.
    pub fn array<V: Into<Self>>(values: impl IntoIterator<Item = V>) -> Self {
        Self::Array(values.into_iter().map(Into::into).collect())
    }

    /// The member of an object with this key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The string, when this is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, when this is a whole one that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Unsigned(number) => Some(*number),
            _ => None,
        }
    }

    /// The same value, owning its strings.
    pub fn to_owned(&self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Unsigned(number) => Value::Unsigned(*number),
            Self::Negative(number) => Value::Negative(*number),
            Self::Decimal(text) => Value::Decimal(Cow::Owned(text.as_ref().into())),
            Self::String(text) => Value::String(Cow::Owned(text.as_ref().into())),
            Self::Array(values) => {
                let mut owned = Vec::new();
                for value in values {
                    owned.push(value.to_owned());
                }
                Value::Array(owned)
            }
            Self::Object(members) => {
                let mut owned = Vec::new();
                for (key, value) in members {
                    owned.push((Cow::Owned(key.as_ref().into()), value.to_owned()));
                }
                Value::Object(owned)
            }
        }
    }

    /// The same value, owning its strings.
    pub fn into_owned(self) -> Value<'static> {
        self.to_owned()
    }

    /// What kind of value this is, for errors.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Unsigned(_) | Self::Negative(_) | Self::Decimal(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }

    /// The compact text of the value: no spaces, no escapes that JSON does not ask for.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, false);
        text
    }

    /// As [`to_text`](Self::to_text), with the keys of every object sorted: the form whose digest the index
    /// carries for the policy (docs/format.md section 4).
    pub fn to_sorted_text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, true);
        text
    }

    fn write(&self, text: &mut String, sorted: bool) {
        match self {
            Self::Null => text.push_str("null"),
            Self::Bool(true) => text.push_str("true"),
            Self::Bool(false) => text.push_str("false"),
            Self::Unsigned(number) => number::push(text, *number, 10),
            Self::Negative(number) => {
                text.push('-');
                number::push(text, number.unsigned_abs(), 10);
            }
            Self::Decimal(number) => text.push_str(number),
            Self::String(string) => write_string(string, text),
            Self::Array(values) => {
                text.push('[');
                for (i, value) in values.iter().enumerate() {
                    if i > 0 {
                        text.push(',');
                    }
                    value.write(text, sorted);
                }
                text.push(']');
            }
            Self::Object(members) => {
                let keys = members.iter().map(|(key, _)| key.as_ref());
                let keys = if sorted { names::sorted(keys) } else { keys.zip(0..).collect() };
                text.push('{');
                for (i, (key, at)) in keys.into_iter().enumerate() {
                    if i > 0 {
                        text.push(',');
                    }
                    write_string(key, text);
                    text.push(':');
                    members[at].1.write(text, sorted);
                }
                text.push('}');
            }
        }
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        Self::Unsigned(number)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::String(Cow::Owned(text))
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value<'a>> {
        if depth >= limits::JSON_DEPTH {
            return Err(Error::too_large("depth of the JSON", limits::JSON_DEPTH as u64, depth as u64 + 1));
        }
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>> {
        self.at += 1;
        let mut members = Vec::new();
        self.skip_space();
        if self.eat(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("a key"));
            }
            let key = self.string()?;
            self.skip_space();
            if !self.eat(b':') {
                return Err(self.unexpected("':'"));
            }
            members.push((key, self.value(depth + 1)?));
            self.skip_space();
            if self.eat(b'}') {
                break;
            }
            if !self.eat(b',') {
                return Err(self.unexpected("',' or '}'"));
            }
        }
        if let Some(key) = repeated(&members) {
            return Err(malformed(self.at, "every key once", text::concat(&[&quoted(key), " twice in one object"])));
        }
        Ok(Value::Object(members))
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>> {
        self.at += 1;
        let mut values = Vec::new();
        self.skip_space();
        if self.eat(b']') {
            return Ok(Value::Array(values));
        }
        loop {
            values.push(self.value(depth + 1)?);
            self.skip_space();
            if self.eat(b']') {
                return Ok(Value::Array(values));
            }
            if !self.eat(b',') {
                return Err(self.unexpected("',' or ']'"));
            }
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let text = self.since(start);
                    self.at += 1;
                    return Ok(Cow::Borrowed(text));
                }
                Some(b'\\') => return self.string_with_escapes(start),
                Some(0..=0x1f) | None => return Err(self.unexpected("the end of the string")),
                Some(_) => self.at += 1,
            }
        }
    }

    fn string_with_escapes(&mut self, start: usize) -> Result<Cow<'a, str>> {
        let mut string = self.since(start).to_owned();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(string));
                }
                Some(b'\\') => {
                    self.at += 1;
                    string.push(self.escape()?);
                }
                Some(0..=0x1f) | None => return Err(self.unexpected("the end of the string")),
                Some(_) => {
                    let run = self.at;
                    while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                        self.at += 1;
                    }
                    string.push_str(self.since(run));
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        let character = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode_escape();
            }
            _ => return Err(self.unexpected("an escape")),
        };
        self.at += 1;
        Ok(character)
    }

    fn unicode_escape(&mut self) -> Result<char> {
        let first = self.four_digits()?;
        let code = match first {
            0xd800..=0xdbff => {
                if !(self.eat(b'\\') && self.eat(b'u')) {
                    return Err(self.unexpected("the second half of a surrogate pair"));
                }
                let second = self.four_digits()?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err(self.unexpected("the second half of a surrogate pair"));
                }
                0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            code => code,
        };
        char::from_u32(code).ok_or_else(|| self.unexpected("the first half of a surrogate pair"))
    }

    fn four_digits(&mut self) -> Result<u32> {
        let code = self.text.get(self.at..self.at + 4).and_then(|digits| number::parse(digits, 16));
        let code = code.ok_or_else(|| self.unexpected("four hexadecimal digits"))?;
        self.at += 4;
        Ok(code as u32)
    }

    fn number(&mut self) -> Result<Value<'a>> {
        let start = self.at;
        let negative = self.eat(b'-');
        let integer = self.digits();
        let text = self.since(start);
        if integer == 0 || (integer > 1 && self.text.as_bytes()[self.at - integer] == b'0') {
            return Err(self.unexpected("a number without leading zeros"));
        }
        let fraction = if self.eat(b'.') { Some(self.digits()) } else { None };
        let mut exponent = None;
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            exponent = Some(self.digits());
        }
        if fraction == Some(0) || exponent == Some(0) {
            return Err(self.unexpected("a digit"));
        }
        if fraction.is_some() || exponent.is_some() {
            // Short enough that no reader's floating-point number overflows.
            if integer > 30 || exponent.is_some_and(|digits| digits > 2) {
                return Err(malformed(start, "a number below 1e100", "a larger one".into()));
            }
            return Ok(Value::Decimal(Cow::Borrowed(self.since(start))));
        }
        let magnitude = number::parse(text.strip_prefix('-').unwrap_or(text), 10);
        let value = match (negative, magnitude) {
            (false, Some(number)) => Some(Value::Unsigned(number)),
            (true, Some(number)) => 0_i64.checked_sub_unsigned(number).map(Value::Negative),
            (_, None) => None,
        };
        value.ok_or_else(|| malformed(start, "an integer of 64 bits", "a larger one".into()))
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn word(&mut self, word: &'static str, value: Value<'a>) -> Result<Value<'a>> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.unexpected(word))
        }
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let eaten = self.peek() == Some(byte);
        self.at += usize::from(eaten);
        eaten
    }

    /// The text from `start` to here. Both are beside ASCII characters, so that it is one.
    #[inline(never)]
    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[cold]
    #[inline(never)]
    fn unexpected(&self, expected: &'static str) -> Error {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let found = match rest.chars().next() {
            Some(character) => quoted(character.encode_utf8(&mut [0; 4])),
            None => "the end of the text".into(),
        };
        malformed(self.at, expected, found)
    }
}

/// The first key that was there before, without the quadratic time that a hostile document would ask for.
fn repeated<'m>(members: &'m [(Cow<'_, str>, Value<'_>)]) -> Option<&'m str> {
    let mut names = Names::default();
    for (i, (key, _)) in members.iter().enumerate() {
        let new = if members.len() > FEW {
            names.insert(key)
        } else {
            members[..i].iter().all(|(earlier, _)| earlier != key)
        };
        if !new {
            return Some(key);
        }
    }
    None
}

#[cold]
#[inline(never)]
fn malformed(at: usize, expected: &'static str, found: String) -> Error {
    Error::malformed(Part::Metadata(String::new()), at as u64, expected, found)
}

fn write_string(string: &str, text: &mut String) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\0'..='\x1f' => {
                text.push_str("\\u00");
                text.push_str(&hex(&[character as u8]));
            }
            character => text.push(character),
        }
    }
    text.push('"');
}

/// Up to so many keys are compared with each other, which is faster than hashing them.
const FEW: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use std::string::ToString;

    #[test]
    fn what_it_writes_it_reads_back() {
        let text = r#"{"a":[1,-2,"x\"\\\n\u0001é😀",true,null,1.5e3],"b":{}}"#;
        assert_eq!(parse(text.as_bytes()).unwrap().to_text(), text);
    }

    #[test]
    fn escapes_are_undone() {
        let value = parse(br#""\u0041\ud83d\ude00\/""#).unwrap();
        assert_eq!(value.as_str(), Some("A\u{1f600}/"));
    }

    #[test]
    fn documents_that_readers_disagree_about_are_refused() {
        for text in [
            &br#"{"a":1,"a":2}"#[..],
            br#"{"x":{"a":1,"b":2,"\u0061":2}}"#,
            b"{} {}",
            b"{}x",
            b"\xef\xbb\xbf{}",
            b"\"\xff\"",
            br#""\ud800""#,
            br#""\udc00""#,
            br#""\ud800\u0041""#,
            b"\"\n\"",
            b"01",
            b"-",
            b"1.",
            b".5",
            b"+1",
            b"1e999",
            b"18446744073709551616",
            b"-9223372036854775809",
            b"NaN",
            b"[1,]",
            b"{\"a\":1,}",
            b"{'a':1}",
            b"",
            b"tru",
            b"\"\\x\"",
            b"\"\\u+123\"",
        ] {
            assert!(parse(text).is_err(), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn nesting_stops_at_the_limit() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(parse(nested(limits::JSON_DEPTH).as_bytes()).is_ok());
        let error = parse(nested(100_000).as_bytes()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::TooLarge { .. }), "{error}");
    }

    #[test]
    fn an_error_names_the_place_and_what_was_expected() {
        let error = parse(br#"{"a" 1}"#).unwrap_err();
        assert_eq!(error.to_string(), "metadata, at byte 5: expected ':', found '1'");
    }

    #[test]
    fn sorted_text_sorts_the_keys_of_every_object() {
        let value = parse(br#"{"b":{"d":1,"c":null},"a":[]}"#).unwrap();
        assert_eq!(value.to_sorted_text(), r#"{"a":[],"b":{"c":null,"d":1}}"#);
    }
}
