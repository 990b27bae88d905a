//! Typed access to the members of a JSON object, with errors that name the path.
//!
//! What is missing or of another type is not reported where it is met: it is noted once for the whole document, and
//! reading goes on with something empty. Whoever began asks [`Problem::check`] at the end, before anything is made
//! of what was read. So the typed documents are read by plain struct expressions, and in the launcher by a third of
//! the code that a `?` at every field comes to.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;

use crate::digest::{Digest, read_hex};
use crate::error::{Error, Result, Value as Shown, quoted};
use crate::json::Value;
use crate::{number, text};

/// The first thing that is wrong with a document.
#[derive(Default)]
pub(crate) struct Problem(RefCell<Option<Error>>);

impl Problem {
    /// Fails when something was wrong.
    pub(crate) fn check(self) -> Result<()> {
        self.0.into_inner().map_or(Ok(()), Err)
    }

    #[cold]
    #[inline(never)]
    fn note(&self, place: &Place<'_>, key: &str, expected: Shown, found: Shown) {
        let mut first = self.0.borrow_mut();
        if first.is_none() {
            *first = Some(Error::json(place.path_of(key), expected, found));
        }
    }
}

/// An object somewhere in the document.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'f, 'v> {
    problem: &'f Problem,
    place: Place<'f>,
    members: &'v [(Cow<'v, str>, Value<'v>)],
}

/// Where an object is, rendered only for an error.
#[derive(Clone, Copy)]
struct Place<'f> {
    parent: Option<&'f Place<'f>>,
    key: &'f str,
    index: Option<usize>,
}

impl<'f, 'v> Fields<'f, 'v> {
    /// The document itself.
    pub(crate) fn of(document: &'v Value<'v>, problem: &'f Problem) -> Self {
        let place = Place { parent: None, key: "", index: None };
        Self { problem, place, members: &[] }.inner(document, place)
    }

    /// The member, unless it is absent or null.
    #[inline(never)]
    pub(crate) fn get(&self, key: &str) -> Option<&'v Value<'v>> {
        self.members
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
            .filter(|value| !matches!(value, Value::Null))
    }

    #[inline(never)]
    pub(crate) fn opt_str(&self, key: &str) -> Option<&'v str> {
        let value = self.get(key)?;
        let text = value.as_str();
        if text.is_none() {
            self.differs(key, "a string", value.kind());
        }
        text
    }

    #[inline(never)]
    pub(crate) fn str(&self, key: &str) -> &'v str {
        self.need(key);
        self.opt_str(key).unwrap_or_default()
    }

    #[inline(never)]
    pub(crate) fn string(&self, key: &str) -> String {
        self.str(key).into()
    }

    #[inline(never)]
    pub(crate) fn opt_u64(&self, key: &str) -> Option<u64> {
        let value = self.get(key)?;
        let number = value.as_u64();
        if number.is_none() {
            self.differs(key, "a whole number, 0 or more", value.kind());
        }
        number
    }

    #[inline(never)]
    pub(crate) fn u64(&self, key: &str) -> u64 {
        self.need(key);
        self.opt_u64(key).unwrap_or_default()
    }

    /// A number that fits 16 bits.
    #[inline(never)]
    pub(crate) fn u16(&self, key: &str) -> u16 {
        let number = self.u64(key);
        u16::try_from(number).unwrap_or_else(|_| {
            self.note(key, "a number of 16 bits".into(), number.into());
            0
        })
    }

    /// A number that fits 8 bits.
    #[inline(never)]
    pub(crate) fn u8(&self, key: &str) -> u8 {
        let number = self.u16(key);
        u8::try_from(number).unwrap_or_else(|_| {
            self.note(key, "a number of 8 bits".into(), u64::from(number).into());
            0
        })
    }

    /// Mode bits as octal text, with or without `0o`.
    pub(crate) fn mode(&self, key: &str) -> Option<u16> {
        let text = self.opt_str(key)?;
        let mode = number::parse(text.strip_prefix("0o").unwrap_or(text), 8).filter(|mode| *mode <= 0o7777);
        if mode.is_none() {
            self.unknown(key, "mode bits like '0755'", text);
        }
        mode.map(|mode| mode as u16)
    }

    /// Lower-case hexadecimal digits that fill `bytes` exactly.
    #[inline(never)]
    pub(crate) fn hex(&self, key: &str, bytes: &mut [u8]) {
        let text = self.str(key);
        if read_hex(text, bytes).is_none() {
            let count = number::decimal(2 * bytes.len() as u64);
            let expected = text::concat(&[&count, " lower-case hexadecimal digits"]);
            self.note(key, expected.into(), quoted(text).into());
        }
    }

    #[inline(never)]
    pub(crate) fn digest(&self, key: &str) -> Digest {
        let mut digest = Digest([0; 32]);
        self.hex(key, &mut digest.0);
        digest
    }

    /// The object in this member; one without members when it is absent.
    #[inline(never)]
    pub(crate) fn object<'g>(&'g self, key: &'g str) -> Fields<'g, 'v> {
        self.need(key);
        self.opt_object(key).unwrap_or(Fields { members: &[], ..*self })
    }

    #[inline(never)]
    pub(crate) fn opt_object<'g>(&'g self, key: &'g str) -> Option<Fields<'g, 'v>> {
        let place = Place { parent: Some(&self.place), key, index: None };
        self.get(key).map(|value| self.inner(value, place))
    }

    /// The elements of an array; none when it is absent.
    #[inline(never)]
    pub(crate) fn array(&self, key: &str) -> &'v [Value<'v>] {
        match self.get(key) {
            None => &[],
            Some(Value::Array(values)) => values,
            Some(other) => {
                self.differs(key, "an array", other.kind());
                &[]
            }
        }
    }

    /// What `read` makes of the objects in an array, up to the first that is not right.
    pub(crate) fn list<T>(&self, key: &str, read: impl Fn(&Fields<'_, 'v>) -> T) -> Vec<T> {
        let mut list = Vec::new();
        self.each(key, &mut |fields| list.push(read(fields)));
        list
    }

    #[inline(never)]
    fn each(&self, key: &str, read: &mut dyn FnMut(&Fields<'_, 'v>)) {
        for (i, value) in self.array(key).iter().enumerate() {
            if self.problem.0.borrow().is_some() {
                break;
            }
            let place = Place { parent: Some(&self.place), key, index: Some(i) };
            read(&self.inner(value, place));
        }
    }

    /// The elements of an array of strings.
    #[inline(never)]
    pub(crate) fn strings(&self, key: &str) -> Vec<String> {
        let mut strings = Vec::new();
        for value in self.array(key) {
            match value.as_str() {
                Some(text) => strings.push(text.into()),
                None => self.differs(key, "strings", value.kind()),
            }
        }
        strings
    }

    /// The members of an object of strings, in their order.
    #[inline(never)]
    pub(crate) fn string_map(&self, key: &str) -> Vec<(String, String)> {
        let mut map = Vec::new();
        if let Some(object) = self.opt_object(key) {
            for (name, value) in object.members {
                match value.as_str() {
                    Some(text) => map.push((name.as_ref().into(), text.into())),
                    None => object.differs(name, "a string", value.kind()),
                }
            }
        }
        map
    }

    pub(crate) fn members(&self) -> &'v [(Cow<'v, str>, Value<'v>)] {
        self.members
    }

    /// Refuses members that are not in `known`, names with a space between them.
    #[inline(never)]
    pub(crate) fn only(&self, known: &str) {
        for (name, _) in self.members {
            if !text::pieces(known, b' ').any(|known| known == name) {
                self.differs(name, "only fields of this version", "an unknown one");
            }
        }
    }

    /// Notes that a member is not what it should be.
    #[cold]
    #[inline(never)]
    pub(crate) fn differs(&self, key: &str, expected: &'static str, found: &'static str) {
        self.note(key, expected.into(), found.into());
    }

    /// Notes that the text of a member is not what it should be.
    #[cold]
    #[inline(never)]
    pub(crate) fn unknown(&self, key: &str, expected: &'static str, found: &str) {
        self.note(key, expected.into(), quoted(found).into());
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn note(&self, key: &str, expected: Shown, found: Shown) {
        self.problem.note(&self.place, key, expected, found);
    }

    /// Notes that a member is absent.
    pub(crate) fn need(&self, key: &str) {
        if self.get(key).is_none() {
            self.differs(key, "a value", "nothing");
        }
    }

    #[inline(never)]
    fn inner<'g>(&self, value: &'v Value<'v>, place: Place<'g>) -> Fields<'g, 'v>
    where
        'f: 'g,
    {
        let members: &[_] = match value {
            Value::Object(members) => members,
            other => {
                self.problem.note(&place, "", "an object".into(), other.kind().into());
                &[]
            }
        };
        Fields { problem: self.problem, place, members }
    }
}

impl Place<'_> {
    #[cold]
    fn path_of(&self, key: &str) -> String {
        let mut path = match self.parent {
            Some(parent) => parent.path_of(self.key),
            None => self.key.into(),
        };
        if let Some(index) = self.index {
            path.push('[');
            number::push(&mut path, index as u64, 10);
            path.push(']');
        }
        if !path.is_empty() && !key.is_empty() {
            path.push('.');
        }
        path.push_str(key);
        path
    }
}
