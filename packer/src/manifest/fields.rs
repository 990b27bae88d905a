//! Typed access to the tables of a manifest. Whatever is wrong is an error that names file, line and field, what
//! was expected and what is there.

use std::borrow::Cow;
use std::collections::BTreeMap;

use pspf_core::json;

use super::syntax::{Entries, Language, Node, Source, Value};
use super::types::Place;
use crate::error::{Error, Result};

/// A table, where it is, and typed access to its values.
#[derive(Clone)]
pub(super) struct Table<'a> {
    pub(super) source: Source<'a>,
    /// Its dotted name, as in `tool.flavor` or `slots[1]`; empty for the root.
    path: String,
    /// Where it begins.
    at: usize,
    entries: &'a Entries,
}

/// What a table may have beyond the keys that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extra {
    /// Nothing.
    Refused,
    /// Keys that begin with `x-`: they go into the package's metadata as they are.
    Kept,
}

/// A value and where it begins.
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

impl<'a> Table<'a> {
    /// The whole manifest.
    pub(super) fn root(source: Source<'a>, entries: &'a Entries) -> Self {
        Self { source, path: String::new(), at: 0, entries }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.entries.iter().map(|(key, _)| key.name.as_str())
    }

    /// Where it and its entries are.
    pub(super) fn place(&self) -> Place {
        let line_of = |key: &str| self.source.line(self.entry(key).map_or(self.at, |(at, _)| at));
        let keys = self.keys().map(|key| (key.to_owned(), line_of(key))).collect();
        Place::new(self.source.file, &self.path, self.source.line(self.at), keys)
    }

    /// Where one of its entries is.
    pub(super) fn place_at(&self, key: &str) -> Place {
        let at = self.entry(key).map_or(self.at, |(at, _)| at);
        Place::new(self.source.file, &self.field(key), self.source.line(at), Vec::new())
    }

    /// The dotted name of an entry.
    pub(super) fn field(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// What the table is called in the manifest's language.
    pub(super) fn title(&self) -> String {
        let path = self.path.as_str();
        match (self.source.language, path.split_once('[')) {
            _ if path.is_empty() => "the manifest".to_owned(),
            (Language::Toml, Some((list, rest))) if rest.ends_with(']') => format!("[[{list}]]"),
            (Language::Toml, None) => format!("[{path}]"),
            _ => path.to_owned(),
        }
    }

    /// Refuses keys that are not in `known`.
    pub(super) fn only(&self, known: &[&str], extra: Extra) -> Result<()> {
        let is_extra = |key: &str| extra == Extra::Kept && key.starts_with("x-");
        match self.keys().find(|key| !known.contains(key) && !is_extra(key)) {
            Some(key) => Err(self.unknown_key(key, known)),
            None => Ok(()),
        }
    }

    /// The entries whose keys begin with `x-`, as they go into the package's metadata.
    pub(super) fn extra(&self) -> Result<Vec<(Cow<'static, str>, json::Value<'static>)>> {
        let extra = self.entries.iter().filter(|(key, _)| key.name.starts_with("x-"));
        extra.map(|(key, node)| Ok((key.name.clone().into(), self.to_json(&key.name, node)?))).collect()
    }

    pub(super) fn unknown_key(&self, key: &str, known: &[&str]) -> Error {
        let new = self
            .error_at(key, format!("{key:?} is not a key of {}", self.title()))
            .expected(format!("one of {}", known.join(", ")));
        match nearest(key, known.iter().copied()) {
            Some(near) => new.hint(format!("did you mean {near:?}?")),
            None => new.hint("take it out; a key that is not understood is never ignored"),
        }
    }

    pub(super) fn table(&self, key: &str) -> Result<Option<Table<'a>>> {
        let Some((at, node)) = self.entry(key) else { return Ok(None) };
        match &node.value {
            Value::Table(entries) => Ok(Some(Table { source: self.source, path: self.field(key), at, entries })),
            _ => Err(self.wrong_type(key, self.a_table(), node)),
        }
    }

    /// A list of tables; empty when it is absent.
    pub(super) fn tables(&self, key: &str) -> Result<Vec<Table<'a>>> {
        let Some((_, node)) = self.entry(key) else { return Ok(Vec::new()) };
        let expected = match self.source.language {
            Language::Toml => "a list of tables",
            Language::Json => "a list of objects",
        };
        let Value::Array(items) = &node.value else {
            let new = self.wrong_type(key, expected, node);
            return Err(match (&node.value, self.source.language) {
                (Value::Table(_), Language::Toml) => {
                    new.hint(format!("write [[{}]], in two brackets", self.field(key)))
                }
                _ => new,
            });
        };
        let item = |(i, item): (usize, &'a Node)| match &item.value {
            Value::Table(entries) => {
                let path = format!("{}[{i}]", self.field(key));
                Ok(Table { source: self.source, path, at: item.span.start, entries })
            }
            _ => Err(self.wrong_type(&format!("{key}[{i}]"), self.a_table(), item)),
        };
        items.iter().enumerate().map(item).collect()
    }

    pub(super) fn string(&self, key: &str) -> Result<Option<Found<&'a str>>> {
        let Some((_, node)) = self.entry(key) else { return Ok(None) };
        match &node.value {
            Value::String(text) if text.contains('\0') => {
                Err(self.wrong_type(key, "a string without NUL characters", node))
            }
            Value::String(text) => Ok(Some(Found { value: text, at: node.span.start })),
            _ => Err(self.wrong_type(key, "a string", node)),
        }
    }

    /// Where an item of a list of its is, which begins at `at`.
    pub(super) fn place_of_item(&self, key: &str, i: usize, at: usize) -> Place {
        let field = format!("{}[{i}]", self.field(key));
        Place::new(self.source.file, &field, self.source.line(at), Vec::new())
    }

    /// A string that is not blank.
    pub(super) fn nonempty(&self, key: &str) -> Result<Option<String>> {
        match self.string(key)? {
            Some(found) if found.value.trim().is_empty() => Err(self
                .error_at(key, format!("{} is empty", self.field(key)))
                .hint("write something, or leave the key out")),
            found => Ok(found.map(|found| found.value.to_owned())),
        }
    }

    /// A string that has to be there; `example` says how it may look.
    pub(super) fn needed(&self, key: &str, example: &str) -> Result<Found<&'a str>> {
        self.string(key)?.ok_or_else(|| self.missing(key, example))
    }

    /// The error for an entry that has to be there.
    pub(super) fn missing(&self, key: &str, example: &str) -> Error {
        let line = match self.source.language {
            Language::Toml => format!("{key} = {example}"),
            Language::Json => format!("\"{key}\": {example}"),
        };
        let place = if self.path.is_empty() { String::new() } else { format!(" to {}", self.title()) };
        self.error(format!("{} is missing", self.field(key))).field(self.field(key)).hint(format!("add {line}{place}"))
    }

    pub(super) fn boolean(&self, key: &str) -> Result<Option<bool>> {
        let Some((_, node)) = self.entry(key) else { return Ok(None) };
        match node.value {
            Value::Boolean(value) => Ok(Some(value)),
            _ => Err(self.wrong_type(key, "true or false", node)),
        }
    }

    pub(super) fn unsigned(&self, key: &str) -> Result<Option<u64>> {
        let Some((_, node)) = self.entry(key) else { return Ok(None) };
        let number = match &node.value {
            Value::Integer(digits, radix) => u64::from_str_radix(digits, *radix).ok(),
            _ => None,
        };
        number.map(Some).ok_or_else(|| self.wrong_type(key, "a whole number, 0 or more", node))
    }

    pub(super) fn strings(&self, key: &str) -> Result<Option<Vec<Found<&'a str>>>> {
        let Some((_, node)) = self.entry(key) else { return Ok(None) };
        let Value::Array(items) = &node.value else {
            return Err(self.wrong_type(key, "a list of strings", node));
        };
        let strings = items.iter().map(|item| match &item.value {
            Value::String(text) if !text.contains('\0') => Ok(Found { value: text.as_str(), at: item.span.start }),
            _ => Err(self.wrong_type(key, "a list of strings", item)),
        });
        strings.collect::<Result<_>>().map(Some)
    }

    /// A table whose values are all strings; empty when it is absent.
    pub(super) fn string_map(&self, key: &str) -> Result<BTreeMap<&'a str, Found<&'a str>>> {
        let Some(table) = self.table(key)? else { return Ok(BTreeMap::new()) };
        let mut map = BTreeMap::new();
        for name in table.keys() {
            if let Some(value) = table.string(name)? {
                map.insert(name, value);
            }
        }
        Ok(map)
    }

    /// Mode bits: octal digits in a string, or a number that is written in octal.
    pub(super) fn mode(&self, key: &str) -> Result<Option<u16>> {
        const EXPECTED: &str = "octal mode bits from \"0000\" to \"0777\"";
        let Some((_, node)) = self.entry(key) else { return Ok(None) };
        let digits = match &node.value {
            Value::String(text) => text.strip_prefix("0o").unwrap_or(text),
            Value::Integer(digits, 8) => digits,
            Value::Integer(digits, _) => {
                // 755 is not 0o755, and nobody means the former.
                return Err(self.wrong_type(key, EXPECTED, node).hint(format!("write {key} as \"0{digits}\"")));
            }
            _ => return Err(self.wrong_type(key, EXPECTED, node)),
        };
        let octal = !digits.is_empty() && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        let mode = u16::from_str_radix(digits, 8).ok().filter(|mode| octal && *mode <= 0o777);
        mode.map(Some).ok_or_else(|| {
            self.wrong_value(key, "these are not mode bits", EXPECTED, digits)
                .hint("\"0644\" for a file, \"0755\" for a program or a directory")
        })
    }

    /// The value as it goes into the package's metadata.
    pub(super) fn json(&self, key: &str) -> Result<Option<json::Value<'static>>> {
        self.entry(key).map(|(_, node)| self.to_json(key, node)).transpose()
    }

    fn to_json(&self, key: &str, node: &Node) -> Result<json::Value<'static>> {
        let inside = |name: &str| format!("{key}.{name}");
        Ok(match &node.value {
            Value::Null => json::Value::Null,
            Value::Boolean(value) => json::Value::Bool(*value),
            Value::String(text) => text.clone().into(),
            Value::Array(items) => {
                json::Value::Array(items.iter().map(|item| self.to_json(key, item)).collect::<Result<_>>()?)
            }
            Value::Table(entries) => {
                let entry = |(key, node): &(super::syntax::Key, Node)| {
                    Ok((key.name.clone().into(), self.to_json(&inside(&key.name), node)?))
                };
                json::Value::Object(entries.iter().map(entry).collect::<Result<_>>()?)
            }
            Value::Integer(digits, radix) => {
                match (u64::from_str_radix(digits, *radix), i64::from_str_radix(digits, *radix)) {
                    (Ok(number), _) => json::Value::Unsigned(number),
                    (_, Ok(number)) => json::Value::Negative(number),
                    _ => return Err(self.wrong_type(key, "a number of 64 bits", node)),
                }
            }
            // What TOML allows and JSON does not: inf, nan, a sign in front.
            Value::Float(text) => {
                let text = text.trim_start_matches('+');
                match json::parse(text.as_bytes()) {
                    Ok(number @ json::Value::Decimal(_)) => number.into_owned(),
                    _ => return Err(self.wrong_type(key, "a number that JSON can hold", node)),
                }
            }
            Value::Datetime(text) => {
                let new = self.wrong_type(key, "a value that JSON can hold", node);
                return Err(new.hint(format!("JSON has no dates: write it in quotes, {text:?}")));
            }
        })
    }

    /// An error about the table.
    pub(super) fn error(&self, what: impl Into<String>) -> Error {
        self.source.error(what).line(self.source.line(self.at))
    }

    /// An error about one of its entries.
    pub(super) fn error_at(&self, key: &str, what: impl Into<String>) -> Error {
        let at = self.entry(key).map_or(self.at, |(at, _)| at);
        self.source.error(what).line(self.source.line(at)).field(self.field(key))
    }

    /// The error for an entry whose value cannot be.
    pub(super) fn wrong_value(&self, key: &str, what: &str, expected: impl Into<String>, found: &str) -> Error {
        self.error_at(key, what).expected(expected).found(format!("{:?}", shortened(found)))
    }

    /// The error for a word that is not one of `known`.
    pub(super) fn unknown_word(&self, key: &str, what: &str, known: &[&str], found: &str) -> Error {
        let new = self.wrong_value(key, what, format!("one of {}", known.join(", ")), found);
        match nearest(found, known.iter().copied()) {
            Some(near) => new.hint(format!("did you mean {near:?}?")),
            None => new.hint("take one of these"),
        }
    }

    pub(super) fn wrong_type(&self, key: &str, expected: &str, found: &Node) -> Error {
        let written = self.source.written(&found.span);
        let new = self
            .source
            .error(format!("{} is not {expected}", self.field(key)))
            .line(self.source.line(found.span.start))
            .field(self.field(key))
            .expected(expected)
            .found(format!("{}: {}", found.value.kind(self.source.language), shortened(written)));
        match (&found.value, self.source.language) {
            (Value::Integer(..) | Value::Float(_) | Value::Boolean(_), Language::Toml) if expected == "a string" => {
                new.hint(format!("write it in quotes: {key} = {written:?}"))
            }
            (Value::Integer(..) | Value::Float(_) | Value::Boolean(_), Language::Json) if expected == "a string" => {
                new.hint(format!("write it in quotes: \"{key}\": {written:?}"))
            }
            _ => new.hint(format!("write {expected}, or leave the key out")),
        }
    }

    pub(super) fn entry(&self, key: &str) -> Option<(usize, &'a Node)> {
        self.entries.iter().find(|(found, _)| found.name == key).map(|(key, node)| (key.at, node))
    }

    fn a_table(&self) -> &'static str {
        match self.source.language {
            Language::Toml => "a table",
            Language::Json => "an object",
        }
    }
}

/// The one of `known` that `key` was most likely meant to be.
pub(crate) fn nearest<'a>(key: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace('-', "_");
    let key = plain(key);
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&key, &plain(candidate)), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Text of any length, for one line of an error.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
