//! `[tool.flavor.build]`: what runs before and after, and which wheels are taken.

use launcher::text;

use super::fields::{Extra, Table};
use super::pyproject::requirements;
use super::types::{Build, Hook, Manylinux};
use crate::error::{Error, Result};

/// Reads `build` of a table.
pub(super) fn read(parent: &Table<'_>) -> Result<Build> {
    let Some(table) = parent.table("build")? else { return Ok(Build::default()) };
    table.only(&["pre_build", "post_build", "dependencies", "manylinux"], Extra::Refused)?;
    Ok(Build {
        pre_build: hooks(&table, "pre_build")?,
        post_build: hooks(&table, "post_build")?,
        dependencies: requirements(&table, "dependencies")?.unwrap_or_default(),
        manylinux: manylinux(&table)?,
    })
}

fn hooks(table: &Table<'_>, key: &str) -> Result<Vec<Hook>> {
    let commands = table.strings(key)?.unwrap_or_default();
    let hook = |(i, found): (usize, super::fields::Found<&str>)| {
        let place = table.place_of_item(key, i, found.at);
        let refused = |what: &str| -> Error {
            place
                .error("", what)
                .expected("a command such as \"pytest -q\", or a Python file with its arguments")
                .found(format!("{:?}", found.value))
        };
        let words = text::words(found.value)
            .ok_or_else(|| refused("this is not a command line: a quote is not closed").hint("close the quote"))?;
        match words.first() {
            Some(first) if !first.is_empty() => {}
            _ => return Err(refused("the command is empty").hint("write a command, or take the item out")),
        }
        Ok(Hook { words, place })
    };
    commands.into_iter().enumerate().map(hook).collect()
}

fn manylinux(table: &Table<'_>) -> Result<Option<Manylinux>> {
    let Some(found) = table.string("manylinux")? else { return Ok(None) };
    Manylinux::parse(found.value).map(Some).ok_or_else(|| {
        table
            .wrong_value(
                "manylinux",
                "this is not a manylinux standard",
                "\"2014\", or one such as \"2_28\": the oldest glibc to run on, 2_17 to 2_40",
                found.value,
            )
            .hint("leave it out to take the wheels that suit this machine")
    })
}
