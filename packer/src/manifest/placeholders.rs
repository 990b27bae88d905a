//! The placeholders of command lines, environments and paths: `{workenv}`, `{package_name}`, `{version}`, `{slot:N}`.

use std::borrow::Cow;

use pspf_core::json::Value;

/// A placeholder, or something in braces that looks like one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Placeholder<'a> {
    /// One that the launcher fills in.
    Known,
    /// The slot with this number.
    Slot(usize),
    /// Something else; with the placeholder that it was perhaps meant to be.
    Unknown(&'a str, Option<&'static str>),
}

/// Everything in `text` that looks like a placeholder: braces around a name.
pub(super) fn find(text: &str) -> impl Iterator<Item = Placeholder<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            rest = &rest[rest.find('{')? + 1..];
            let Some(name) = rest.split('}').next().filter(|name| name.len() < rest.len()) else { continue };
            let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-: ".contains(c));
            if is_name {
                rest = &rest[name.len() + 1..];
                return Some(classify(name));
            }
        }
    })
}

fn classify(name: &str) -> Placeholder<'_> {
    if ["workenv", "package_name", "version"].contains(&name) {
        return Placeholder::Known;
    }
    if let Some(number) = name.strip_prefix("slot:").and_then(|number| number.parse().ok()) {
        return Placeholder::Slot(number);
    }
    let plain = name.to_lowercase().replace(['-', ' '], "_");
    let likely = |known: &str| strsim::jaro_winkler(&plain, known) > 0.87;
    let near = [("workenv", "{workenv}"), ("package_name", "{package_name}"), ("version", "{version}")];
    let near = near.into_iter().find(|(known, _)| likely(known)).map(|(_, shown)| shown);
    let near = if plain.starts_with("slot:") || plain.starts_with("slot_") { Some("{slot:0}") } else { near };
    Placeholder::Unknown(name, near)
}

/// The document with other numbers for the slots; the number that there is no new one for.
pub(crate) fn renumber_all(value: &Value<'_>, new: &[Option<usize>]) -> Result<Value<'static>, usize> {
    Ok(match value {
        Value::String(text) => renumber(text, new)?.into_owned().into(),
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| renumber_all(item, new)).collect::<Result<_, _>>()?)
        }
        Value::Object(members) => {
            let member = |(key, value): &(Cow<'_, str>, Value<'_>)| {
                Ok((key.clone().into_owned().into(), renumber_all(value, new)?))
            };
            Value::Object(members.iter().map(member).collect::<Result<_, usize>>()?)
        }
        other => other.clone().into_owned(),
    })
}

/// What the text is with other numbers for the slots, by [`Placeholder::Slot`]; the number that there is no new one for.
fn renumber<'a>(text: &'a str, new: &[Option<usize>]) -> Result<Cow<'a, str>, usize> {
    let mut done = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("{slot:") {
        let after = &rest[at + "{slot:".len()..];
        let number = after.split('}').next().and_then(|number| number.parse::<usize>().ok());
        done.push_str(&rest[..at + "{slot:".len()]);
        rest = after;
        if let Some(number) = number {
            let moved = new.get(number).copied().flatten().ok_or(number)?;
            done.push_str(&moved.to_string());
            rest = rest.find('}').map_or("", |close| &rest[close..]);
        }
    }
    if done.is_empty() {
        return Ok(Cow::Borrowed(text));
    }
    done.push_str(rest);
    Ok(Cow::Owned(done))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_told_from_other_braces() {
        let found: Vec<_> = find("{workenv}/bin {slot:12} { x } {a{version} {} {\"json\": {}}").collect();
        assert_eq!(found, [Placeholder::Known, Placeholder::Slot(12), Placeholder::Known]);
        let found: Vec<_> = find("{workenb} {Package-Name} {message} {slot:x} {open").collect();
        assert_eq!(
            found,
            [
                Placeholder::Unknown("workenb", Some("{workenv}")),
                Placeholder::Unknown("Package-Name", Some("{package_name}")),
                Placeholder::Unknown("message", None),
                Placeholder::Unknown("slot:x", Some("{slot:0}")),
            ]
        );
    }

    #[test]
    fn slots_get_other_numbers() {
        let new = [Some(0), None, Some(1)];
        assert_eq!(renumber("a {slot:2}/{slot:0} {slot:x}", &new).unwrap(), "a {slot:1}/{slot:0} {slot:x}");
        assert_eq!(renumber("plain {workenv}", &new), Ok(Cow::Borrowed("plain {workenv}")));
        assert_eq!(renumber("{slot:1}", &new), Err(1));
        assert_eq!(renumber("{slot:9}", &new), Err(9));
    }
}
