//! `[tool.flavor.build]`: what runs before and after, and which wheels are taken.

use std::path::PathBuf;

use launcher::text;

use super::fields::{Extra, Found, Table};
use super::pyproject::requirement;
use super::syntax::Value;
use super::types::{Build, Hook, LocalProject, Manylinux, Requirement};
use crate::error::{Error, Result};

/// Reads `build` of a table.
pub(super) fn read(parent: &Table<'_>) -> Result<Build> {
    let Some(table) = parent.table("build")? else { return Ok(Build::default()) };
    table.only(&["pre_build", "post_build", "dependencies", "manylinux"], Extra::Refused)?;
    let (projects, dependencies) = dependencies(&table)?;
    Ok(Build {
        pre_build: hooks(&table, "pre_build")?,
        post_build: hooks(&table, "post_build")?,
        dependencies,
        projects,
        manylinux: manylinux(&table)?,
    })
}

fn hooks(table: &Table<'_>, key: &str) -> Result<Vec<Hook>> {
    let commands = table.strings(key)?.unwrap_or_default();
    let hook = |(i, found): (usize, Found<&str>)| {
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

/// Paths and requirements.
fn dependencies(table: &Table<'_>) -> Result<(Vec<LocalProject>, Vec<Requirement>)> {
    let listed = table.strings("dependencies")?.unwrap_or_default();
    let (mut projects, mut requirements) = (Vec::new(), Vec::new());
    for (i, found) in listed.into_iter().enumerate() {
        if LocalProject::is_path(found.value) {
            let place = table.place_of_item("dependencies", i, found.at);
            projects.push(LocalProject { path: PathBuf::from(found.value), place });
        } else {
            requirements.push(requirement(table, "dependencies", &found)?);
        }
    }
    Ok((projects, requirements))
}

/// One standard, or several of which the newest counts, since it takes the wheels of all.
fn manylinux(table: &Table<'_>) -> Result<Option<Manylinux>> {
    let standards = match table.entry("manylinux") {
        None => return Ok(None),
        Some((_, node)) if matches!(node.value, Value::Array(_)) => table.strings("manylinux")?.unwrap_or_default(),
        Some(_) => table.string("manylinux")?.into_iter().collect(),
    };
    let mut newest = None;
    for found in standards {
        let standard = Manylinux::parse(found.value).ok_or_else(|| {
            table
                .wrong_value(
                    "manylinux",
                    "this is not a manylinux standard",
                    "\"2014\", or one such as \"2_28\": the oldest glibc to run on, 2_17 to 2_40",
                    found.value,
                )
                .hint("leave it out to take the wheels that suit this machine")
        })?;
        newest = newest.max(Some(standard));
    }
    Ok(newest)
}
