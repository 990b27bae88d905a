//! TOML and JSON as one tree of values that know where they stand in the text.

use std::ops::Range;
use std::path::Path;

use pspf_core::json;
use toml::de::{DeTable, DeValue};

use crate::error::{Error, Kind, Result};

/// The text of a manifest and its file, to say where something is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) text: &'a str,
    pub(super) file: &'a Path,
    pub(super) language: Language,
}

/// What a manifest is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Toml,
    Json,
}

/// A value and the bytes of the text that it was written with.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) span: Range<usize>,
}

#[derive(Debug)]
pub(super) enum Value {
    Null,
    Boolean(bool),
    /// Its digits, perhaps with a sign, and what they count in.
    Integer(String, u32),
    /// As it was written, but without the `_` that TOML allows.
    Float(String),
    String(String),
    /// A date or time of TOML's.
    Datetime(String),
    Array(Vec<Node>),
    Table(Entries),
}

/// The entries of a table: TOML's sorted, JSON's as they stand in the text.
pub(super) type Entries = Vec<(Key, Node)>;

/// The name of an entry, and where it stands.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) at: usize,
}

impl<'a> Source<'a> {
    /// Reads the whole text, which has to be a table.
    pub(super) fn parse(&self) -> Result<Entries> {
        match self.language {
            Language::Toml => {
                let root = DeTable::parse(self.text).map_err(|error| self.not_toml(&error))?;
                Ok(of_table(root.get_ref()))
            }
            Language::Json => {
                let document = json::parse(self.text.as_bytes()).map_err(|error| self.not_json(&error))?;
                let mut tokens = Tokens { text: self.text.as_bytes(), at: 0 };
                let root = of_json(document, &mut tokens);
                match root.value {
                    Value::Table(entries) => Ok(entries),
                    _ => Err(self
                        .error("the manifest is not an object")
                        .line(self.line(root.span.start))
                        .expected("{ \"package\": { ... }, ... }")
                        .found(super::fields::shortened(self.text.trim()))
                        .hint("write it as one JSON object")),
                }
            }
        }
    }

    /// True for the manifest of a Python project, whatever its file is called.
    pub(super) fn has_project(&self) -> bool {
        let is_there = |root: &DeTable<'_>| root.contains_key("project") && !root.contains_key("package");
        self.language == Language::Toml && DeTable::parse(self.text).is_ok_and(|root| is_there(root.get_ref()))
    }

    pub(super) fn error(&self, what: impl Into<String>) -> Error {
        Error::new(Kind::Configuration, what).file(self.file)
    }

    pub(super) fn line(&self, offset: usize) -> usize {
        1 + self.text.as_bytes().iter().take(offset).filter(|&&byte| byte == b'\n').count()
    }

    /// What was written there: its first line.
    pub(super) fn written(&self, span: &Range<usize>) -> &'a str {
        self.text.get(span.clone()).unwrap_or("").lines().next().unwrap_or("")
    }

    fn not_toml(&self, error: &toml::de::Error) -> Error {
        let message = error.message().lines().map(str::trim).collect::<Vec<_>>().join("; ");
        let new = self
            .error(format!("the manifest is not TOML: {message}"))
            .hint("mend that line; https://toml.io has the syntax");
        match error.span() {
            Some(span) => self.at_column(new, span.start),
            None => new,
        }
    }

    fn not_json(&self, error: &pspf_core::Error) -> Error {
        let pspf_core::ErrorKind::Malformed { at, expected, found, .. } = error.kind() else {
            return self
                .error("the manifest is not JSON that can be packed")
                .found(error.to_string())
                .hint("simplify it");
        };
        let new = self
            .error(format!("the manifest is not JSON: expected {expected}, found {found}"))
            .hint("mend that line; keys may appear once, and comments and trailing commas are not JSON");
        self.at_column(new, usize::try_from(*at).unwrap_or(self.text.len()))
    }

    fn at_column(&self, error: Error, offset: usize) -> Error {
        let offset = offset.min(self.text.len());
        let before = &self.text.as_bytes()[..offset];
        let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        let column = 1 + String::from_utf8_lossy(&before[start..]).chars().count();
        let line = self.text[start..].lines().next().unwrap_or("").trim_end();
        let shown = super::fields::shortened(line);
        error.line(self.line(offset)).found(format!("column {column} of {shown:?}"))
    }
}

impl Value {
    /// What kind of value this is, with its article.
    pub(super) fn kind(&self, language: Language) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "a boolean",
            Self::Integer(..) => "an integer",
            Self::Float(_) => "a float",
            Self::String(_) => "a string",
            Self::Datetime(_) => "a date",
            Self::Array(_) => "an array",
            Self::Table(_) if language == Language::Json => "an object",
            Self::Table(_) => "a table",
        }
    }
}

fn of_table(table: &DeTable<'_>) -> Entries {
    let entry = |(name, value): (&toml::Spanned<std::borrow::Cow<'_, str>>, &toml::Spanned<DeValue<'_>>)| {
        let key = Key { name: name.get_ref().clone().into_owned(), at: name.span().start };
        (key, of_toml(value))
    };
    table.iter().map(entry).collect()
}

fn of_toml(node: &toml::Spanned<DeValue<'_>>) -> Node {
    let value = match node.get_ref() {
        DeValue::String(text) => Value::String(text.clone().into_owned()),
        DeValue::Integer(number) => Value::Integer(number.as_str().to_owned(), number.radix()),
        DeValue::Float(number) => Value::Float(number.as_str().to_owned()),
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Datetime(moment) => Value::Datetime(moment.to_string()),
        DeValue::Array(items) => Value::Array(items.iter().map(of_toml).collect()),
        DeValue::Table(table) => Value::Table(of_table(table)),
    };
    Node { value, span: node.span() }
}

fn of_json(value: json::Value<'_>, tokens: &mut Tokens<'_>) -> Node {
    let start = tokens.next();
    let value = match value {
        json::Value::Null => Value::Null,
        json::Value::Bool(value) => Value::Boolean(value),
        json::Value::Unsigned(number) => Value::Integer(number.to_string(), 10),
        json::Value::Negative(number) => Value::Integer(number.to_string(), 10),
        json::Value::Decimal(text) => Value::Float(text.into_owned()),
        json::Value::String(text) => Value::String(text.into_owned()),
        json::Value::Array(items) => Value::Array(items.into_iter().map(|item| of_json(item, tokens)).collect()),
        json::Value::Object(members) => {
            let member = |(name, value): (std::borrow::Cow<'_, str>, json::Value<'_>)| {
                (Key { name: name.into_owned(), at: tokens.next() }, of_json(value, tokens))
            };
            Value::Table(members.into_iter().map(member).collect())
        }
    };
    Node { value, span: start..tokens.at }
}

/// Finds the tokens of a text that is known to be JSON: the starts of keys and values, in order.
struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
}

impl Tokens<'_> {
    /// Where the next key or value begins; [`at`](Self::at) is behind it then, or in front of its content.
    fn next(&mut self) -> usize {
        let is_between = |byte: &u8| b" \t\r\n,:]}".contains(byte);
        while self.text.get(self.at).is_some_and(is_between) {
            self.at += 1;
        }
        let start = self.at;
        match self.text.get(start) {
            Some(b'{' | b'[') => self.at += 1,
            Some(b'"') => {
                self.at += 1;
                while let Some(byte) = self.text.get(self.at).filter(|byte| **byte != b'"') {
                    self.at += if *byte == b'\\' { 2 } else { 1 };
                }
                self.at += 1;
            }
            _ => {
                while self.text.get(self.at).is_some_and(|byte| !is_between(byte)) {
                    self.at += 1;
                }
            }
        }
        self.at = self.at.min(self.text.len());
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str, language: Language) -> Source<'_> {
        Source { text, file: Path::new("app"), language }
    }

    #[test]
    fn values_of_json_know_where_they_stand() {
        let text = "{\n \"a\": [1, \"x\\\"]\",\n  {\"b\": -2.5}],\n \"c\" : true, \"d\":{}, \"e\": null }";
        let source = source(text, Language::Json);
        let entries = source.parse().unwrap();
        let names: Vec<(&str, usize)> =
            entries.iter().map(|(key, _)| (key.name.as_str(), source.line(key.at))).collect();
        assert_eq!(names, [("a", 2), ("c", 4), ("d", 4), ("e", 4)]);
        let Value::Array(items) = &entries[0].1.value else { panic!("{entries:?}") };
        let written: Vec<&str> = items.iter().map(|item| source.written(&item.span)).collect();
        assert_eq!(written, ["1", "\"x\\\"]\"", "{\"b\": -2.5"]);
        assert_eq!(source.written(&entries[1].1.span), "true");
        assert_eq!(source.written(&entries[3].1.span), "null");
    }

    #[test]
    fn text_that_is_no_json_is_refused_with_line_and_column() {
        let error = source("{\n \"a\": 1,\n}", Language::Json).parse().unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("column 1"), "{error}");
        let error = source("{\"a\": 1, \"a\": 2}", Language::Json).parse().unwrap_err().to_string();
        assert!(error.contains("every key once"), "{error}");
        let error = source(" [1]", Language::Json).parse().unwrap_err().to_string();
        assert!(error.contains("not an object") && error.contains("[1]"), "{error}");
    }

    #[test]
    fn both_languages_give_the_same_values() {
        let toml = "a = \"x\"\nb = [1, true]\nc = { d = 1.5 }\n";
        let json = r#"{"a":"x","b":[1,true],"c":{"d":1.5}}"#;
        let shape = |entries: Entries| {
            let text = format!("{entries:?}");
            let mut plain = String::new();
            // Positions differ; everything else is the same.
            for word in
                text.split(' ').filter(|word| !word.contains("..") && !word.starts_with(|c: char| c.is_ascii_digit()))
            {
                plain.push_str(word);
            }
            plain
        };
        let (toml, json) =
            (source(toml, Language::Toml).parse().unwrap(), source(json, Language::Json).parse().unwrap());
        assert_eq!(shape(toml), shape(json));
    }
}
