//! Typed access to the members of a JSON object, with errors that name the path.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::json::Value;

/// An object somewhere in the document.
pub(crate) struct Fields<'v> {
    path: String,
    members: &'v [(Cow<'v, str>, Value<'v>)],
}

impl<'v> Fields<'v> {
    pub(crate) fn of(value: &'v Value<'v>, path: impl Into<String>) -> Result<Self> {
        let path = path.into();
        match value {
            Value::Object(members) => Ok(Self { path, members }),
            other => Err(Error::json(path, "an object", other.kind())),
        }
    }

    /// The member, unless it is absent or null.
    pub(crate) fn get(&self, key: &str) -> Option<&'v Value<'v>> {
        self.members.iter().find(|(name, _)| name == key).map(|(_, value)| value).filter(|value| **value != Value::Null)
    }

    pub(crate) fn need(&self, key: &str) -> Result<&'v Value<'v>> {
        self.get(key).ok_or_else(|| Error::json(self.path_of(key), "a value", "nothing"))
    }

    pub(crate) fn str(&self, key: &str) -> Result<&'v str> {
        string(self.need(key)?, || self.path_of(key))
    }

    pub(crate) fn opt_str(&self, key: &str) -> Result<Option<&'v str>> {
        self.get(key).map(|value| string(value, || self.path_of(key))).transpose()
    }

    pub(crate) fn u64(&self, key: &str) -> Result<u64> {
        number(self.need(key)?, || self.path_of(key))
    }

    pub(crate) fn opt_u64(&self, key: &str) -> Result<Option<u64>> {
        self.get(key).map(|value| number(value, || self.path_of(key))).transpose()
    }

    /// A number that fits a smaller type.
    pub(crate) fn small<T: TryFrom<u64>>(&self, key: &str, expected: &'static str) -> Result<T> {
        let number = self.u64(key)?;
        T::try_from(number).map_err(|_| Error::json(self.path_of(key), expected, number))
    }

    pub(crate) fn digest(&self, key: &str) -> Result<Digest> {
        let text = self.str(key)?;
        Digest::from_hex(text)
            .ok_or_else(|| Error::json(self.path_of(key), "64 lower-case hexadecimal digits", format!("{text:?}")))
    }

    pub(crate) fn object(&self, key: &str) -> Result<Fields<'v>> {
        Fields::of(self.need(key)?, self.path_of(key))
    }

    pub(crate) fn opt_object(&self, key: &str) -> Result<Option<Fields<'v>>> {
        self.get(key).map(|value| Fields::of(value, self.path_of(key))).transpose()
    }

    /// The elements of an array; none when it is absent.
    pub(crate) fn array(&self, key: &str) -> Result<&'v [Value<'v>]> {
        match self.get(key) {
            None => Ok(&[]),
            Some(Value::Array(values)) => Ok(values),
            Some(other) => Err(Error::json(self.path_of(key), "an array", other.kind())),
        }
    }

    /// The elements of an array of objects.
    pub(crate) fn objects(&self, key: &str) -> Result<Vec<Fields<'v>>> {
        let values = self.array(key)?.iter().enumerate();
        values.map(|(i, value)| Fields::of(value, format!("{}[{i}]", self.path_of(key)))).collect()
    }

    /// The elements of an array of strings.
    pub(crate) fn strings(&self, key: &str) -> Result<Vec<String>> {
        let values = self.array(key)?.iter().enumerate();
        values.map(|(i, value)| string(value, || format!("{}[{i}]", self.path_of(key))).map(String::from)).collect()
    }

    /// The members of an object of strings, in their order.
    pub(crate) fn string_map(&self, key: &str) -> Result<Vec<(String, String)>> {
        let Some(object) = self.opt_object(key)? else { return Ok(Vec::new()) };
        object.members.iter().map(|(name, _)| Ok((name.clone().into_owned(), object.str(name)?.into()))).collect()
    }

    pub(crate) fn members(&self) -> &'v [(Cow<'v, str>, Value<'v>)] {
        self.members
    }

    /// Refuses members that are not in `known`.
    pub(crate) fn only(&self, known: &[&str]) -> Result<()> {
        match self.members.iter().find(|(name, _)| !known.contains(&name.as_ref())) {
            None => Ok(()),
            Some((name, _)) => Err(Error::json(self.path_of(name), "only fields of this version", "an unknown one")),
        }
    }

    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.into() } else { format!("{}.{key}", self.path) }
    }
}

fn string<'v>(value: &'v Value<'v>, path: impl FnOnce() -> String) -> Result<&'v str> {
    value.as_str().ok_or_else(|| Error::json(path(), "a string", value.kind()))
}

fn number(value: &Value<'_>, path: impl FnOnce() -> String) -> Result<u64> {
    value.as_u64().ok_or_else(|| Error::json(path(), "a whole number, 0 or more", value.kind()))
}
