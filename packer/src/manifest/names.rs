//! What placeholders stand for, and the texts and paths that have some.

use launcher::text;
use pspf_core::limits;
use pspf_core::placement::relative;

use super::fields::{Found, Table};
use super::placeholders::{self, Placeholder};
use super::syntax::Value;
use crate::error::{Error, Result};

/// What placeholders stand for while a manifest is read.
pub(super) struct Names {
    /// The package's name.
    pub(super) package: String,
    /// Its version; `None` when a build backend will decide it.
    pub(super) version: Option<String>,
    /// The slots' targets, as far as they are known.
    pub(super) targets: Vec<String>,
    /// Things worth telling that are not wrong.
    pub(super) notes: Vec<String>,
}

impl Names {
    pub(super) fn new(package: &str, version: Option<&str>) -> Self {
        Self {
            package: package.to_owned(),
            version: version.map(str::to_owned),
            targets: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Checks the placeholders of a text that is filled in at start.
    pub(super) fn check(&mut self, table: &Table<'_>, key: &str, found: &Found<&str>) -> Result<()> {
        self.check_slots(table, key, found)?;
        for placeholder in placeholders::find(found.value) {
            match placeholder {
                Placeholder::Unknown(name, Some(near)) => return Err(unknown_placeholder(table, key, name, near)),
                Placeholder::Unknown(name, None) => {
                    let field = table.field(key);
                    self.notes.push(format!("{{{name}}} in {field} is no placeholder and stays as it is"));
                }
                Placeholder::Known | Placeholder::Slot(_) => {}
            }
        }
        Ok(())
    }

    /// A command line: one string, or a list of words. It and its first word, the program.
    pub(super) fn command(&mut self, table: &Table<'_>, key: &str, example: &str) -> Result<(String, String)> {
        let is_list = table.entry(key).is_some_and(|(_, node)| matches!(node.value, Value::Array(_)));
        let (line, words) = if is_list {
            let words = table.strings(key)?.unwrap_or_default();
            for word in &words {
                self.check(table, key, word)?;
            }
            let words: Vec<String> = words.iter().map(|word| word.value.to_owned()).collect();
            (text::quote(&words), words)
        } else {
            let line = table.needed(key, example)?;
            self.check(table, key, &line)?;
            let words = text::words(line.value).ok_or_else(|| {
                table
                    .wrong_value(
                        key,
                        "this is not a command line: a quote is not closed",
                        "words, perhaps in quotes",
                        line.value,
                    )
                    .hint("close the quote, or write the command as a list of words")
            })?;
            (line.value.to_owned(), words)
        };
        match words.into_iter().next().filter(|word| !word.is_empty()) {
            Some(word) => Ok((line, word)),
            None => Err(table
                .error_at(key, "the command is empty")
                .expected("a program")
                .hint(format!("write it like {key} = {example}"))),
        }
    }

    /// Fills the slots' targets into a text.
    pub(super) fn with_targets(&self, text: &str) -> String {
        let fill = |text: String, (number, target): (usize, &String)| {
            text.replace(&format!("{{slot:{number}}}"), &in_workenv(target.trim_end_matches('/')))
        };
        self.targets.iter().enumerate().fold(text.to_owned(), fill)
    }

    /// Checks that the slots exist that a text names.
    pub(super) fn check_slots(&self, table: &Table<'_>, key: &str, found: &Found<&str>) -> Result<()> {
        let count = self.targets.len();
        for placeholder in placeholders::find(found.value) {
            if let Placeholder::Slot(number) = placeholder
                && number >= count
            {
                return Err(no_such_slot(table, key, number, count));
            }
        }
        Ok(())
    }

    /// A path below the workenv that is not its root.
    pub(super) fn file_below(&self, table: &Table<'_>, key: &str) -> Result<String> {
        let written = table.needed(key, "\"{workenv}/etc/app.conf\"")?.value;
        let path = self.path_below(table, key, written)?;
        if path.is_empty() {
            return Err(bad_path(table, key, written));
        }
        Ok(path)
    }

    /// A path below the workenv, without `{workenv}/`. Other placeholders are filled in here and now: where a slot
    /// goes, and what writes into it, has to be known when it is packed.
    pub(super) fn path_below(&self, table: &Table<'_>, key: &str, written: &str) -> Result<String> {
        let mut filled = written.replace("{package_name}", &self.package);
        match &self.version {
            Some(version) => filled = filled.replace("{version}", version),
            None if filled.contains("{version}") => {
                return Err(table
                    .wrong_value(
                        key,
                        "the build backend decides the version later",
                        "a path without {version}",
                        written,
                    )
                    .hint("leave {version} out, or write the version under [project]"));
            }
            None => {}
        }
        for placeholder in placeholders::find(written) {
            match placeholder {
                Placeholder::Known => {}
                Placeholder::Slot(number) => {
                    let Some(target) = self.targets.get(number) else {
                        return Err(no_such_slot(table, key, number, self.targets.len()));
                    };
                    filled = filled.replace(&format!("{{slot:{number}}}"), &in_workenv(target.trim_end_matches('/')));
                }
                Placeholder::Unknown(name, near) => {
                    return Err(unknown_placeholder(table, key, name, near.unwrap_or("{workenv}")));
                }
            }
        }
        let prefixed = filled == "{workenv}" || filled.starts_with("{workenv}/");
        let path = if prefixed { relative(&filled) } else { plain(&filled) };
        let is_plain = |name: &str| !matches!(name, "" | "." | "..") && name.len() <= limits::COMPONENT;
        let inside = !path.contains(['\\', '{', '}']) && path.len() <= limits::PATH;
        if inside && (path.is_empty() || path.split('/').all(is_plain)) {
            return Ok(path.to_owned());
        }
        Err(bad_path(table, key, written))
    }
}

/// Refuses the key of `table` as the name of a command: links of that name are made, and some shells and systems take less
/// than others.
pub(super) fn check_command_name(table: &Table<'_>, name: &str) -> Result<()> {
    let valid = !name.is_empty()
        && name.len() <= limits::COMPONENT
        && !name.starts_with(['.', '-'])
        && name.chars().all(|c| !c.is_control() && !c.is_whitespace() && !"/\\:{}".contains(c));
    if valid {
        return Ok(());
    }
    Err(table
        .error_at(name, "the command's name cannot be a file name")
        .expected("letters, digits, \"-\", \"_\" and \".\", with none of \"-\" and \".\" in front")
        .found(format!("{name:?}"))
        .hint("give the command another name"))
}

/// A path below the workenv as the package's metadata have it.
pub(super) fn in_workenv(path: &str) -> String {
    if path.is_empty() { "{workenv}".to_owned() } else { format!("{{workenv}}/{path}") }
}

/// A path as it was written, without what means nothing; an absolute one stays one, which is refused.
fn plain(path: &str) -> &str {
    let path = path.strip_prefix("./").unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path == "." { "" } else { path }
}

fn bad_path(table: &Table<'_>, key: &str, written: &str) -> Error {
    table
        .wrong_value(
            key,
            "this is not a path below the workenv",
            "a relative path without \"..\", such as \"{workenv}/etc/app.conf\"",
            written,
        )
        .hint("everything that a package makes is inside its workenv; the user's own places are not touched")
}

fn unknown_placeholder(table: &Table<'_>, key: &str, name: &str, near: &str) -> Error {
    table
        .wrong_value(
            key,
            "this is not a placeholder",
            "{workenv}, {package_name}, {version} or {slot:N}",
            &format!("{{{name}}}"),
        )
        .hint(format!("did you mean {near}?"))
}

fn no_such_slot(table: &Table<'_>, key: &str, number: usize, count: usize) -> Error {
    let expected = match count {
        0 => "no {slot:N}, as there are no slots".to_owned(),
        1 => "{slot:0}".to_owned(),
        _ => format!("{{slot:0}} to {{slot:{}}}", count - 1),
    };
    table
        .wrong_value(key, "there is no such slot", expected, &format!("{{slot:{number}}}"))
        .hint("slots are counted from 0, in the order of the manifest")
}
