//! Leaves out what an app does not need of itself and of what it depends on: tests and documentation.
//!
//! | left out | of | unless |
//! |---|---|---|
//! | directories `tests` | project and dependencies | something imports them |
//! | `test_*.py`, `*_test.py`, `conftest.py` | the project | something imports them |
//! | `share/doc`, `share/man`, `share/info` | dependencies | |
//! | `doc`, `docs` that hold nothing but text | dependencies | |
//!
//! What `tool.flavor.include` matches stays.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ignore::gitignore::Gitignore;

use super::{project, tree};
use crate::error::{Error, Result};
use crate::manifest::{Manifest, Script};
use crate::progress::Progress;

/// Prunes the site directories of the project and of its dependencies, before they are compiled.
pub(super) fn prune(
    manifest: &Manifest,
    scripts: &[&Script],
    application: &Path,
    environment: &Path,
    progress: &dyn Progress,
) -> Result<()> {
    let include = project::patterns(manifest)?;
    let ours = candidates(application, &include, is_left_out_of_project)?;
    let theirs = candidates(environment, &include, is_left_out_of_dependencies)?;
    if ours.is_empty() && theirs.is_empty() {
        return Ok(());
    }
    let mut wanted = Wanted::default();
    for script in scripts {
        wanted.add_module(Path::new(""), &script.entry_point.module);
    }
    wanted.read(application, &ours, progress)?;
    wanted.read(environment, &theirs, progress)?;
    remove(environment, &theirs, &wanted)?;
    let removed = remove(application, &ours, &wanted)?;
    if !removed.is_empty() {
        let names: Vec<String> = removed.iter().take(NAMED).map(|path| path.display().to_string()).collect();
        let more = removed.len().saturating_sub(NAMED);
        progress.note(&format!(
            "left out what looks like tests: {}{} (tool.flavor.include = [{:?}] keeps one)",
            names.join(", "),
            if more > 0 { format!(" and {more} more") } else { String::new() },
            names[0]
        ));
    }
    Ok(())
}

fn is_left_out_of_project(_: &Path, path: &Path, is_directory: bool) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match is_directory {
        true => name == TESTS,
        false => match name.strip_suffix(".py") {
            Some(stem) => stem.starts_with("test_") || stem.ends_with("_test") || stem == "conftest",
            None => false,
        },
    }
}

fn is_left_out_of_dependencies(site: &Path, path: &Path, is_directory: bool) -> bool {
    const DOCUMENTATION: [&str; 3] = ["share/doc", "share/man", "share/info"];
    const TEXT: [&str; 5] = ["md", "pdf", "png", "rst", "txt"];
    if !is_directory {
        return false;
    }
    if DOCUMENTATION.iter().any(|place| path == Path::new(place)) {
        return true;
    }
    let name = path.file_name().unwrap_or_default();
    let is_text = |file: &Path| TEXT.iter().any(|extension| tree::has_extension(file, extension));
    let only_text = || {
        let mut files = Vec::new();
        let walked = tree::walk(&site.join(path), &mut |file, metadata| {
            files.extend(metadata.is_file().then(|| file.to_path_buf()));
            Ok(tree::Keep::Yes)
        });
        walked.is_ok() && files.iter().all(|file| is_text(file))
    };
    name == TESTS || ((name == "doc" || name == "docs") && path.components().count() > 1 && only_text())
}

const TESTS: &str = "tests";
/// How many of the project's own are named.
const NAMED: usize = 5;

/// The outermost paths in `site` that could be left out.
fn candidates(
    site: &Path,
    include: &Gitignore,
    is_one: impl Fn(&Path, &Path, bool) -> bool,
) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    tree::walk(site, &mut |path, metadata| {
        let is_directory = metadata.is_dir();
        // Patterns are relative to the project, in which modules may be below src/.
        let is_included = || {
            let places = [path.to_path_buf(), Path::new("src").join(path)];
            places.iter().any(|path| include.matched_path_or_any_parents(path, is_directory).is_whitelist())
        };
        let is_metadata = is_directory && tree::has_extension(path, "dist-info");
        if is_metadata || !is_one(site, path, is_directory) || is_included() {
            return Ok(if is_metadata { tree::Keep::No } else { tree::Keep::Yes });
        }
        found.insert(path.to_path_buf());
        Ok(tree::Keep::No)
    })?;
    Ok(found)
}

/// What imports name, as paths without an ending.
#[derive(Default)]
struct Wanted(BTreeSet<PathBuf>);

impl Wanted {
    /// Reads the imports of all modules in `site` but those in `candidates` that nothing wants.
    fn read(&mut self, site: &Path, candidates: &BTreeSet<PathBuf>, progress: &dyn Progress) -> Result<()> {
        self.read_below(site, Path::new(""), candidates, progress)?;
        let mut unread = candidates.clone();
        // What is wanted may want others.
        while let Some(path) = unread.iter().find(|path| self.wants(path)).cloned() {
            unread.remove(&path);
            self.read_below(site, &path, &BTreeSet::new(), progress)?;
        }
        Ok(())
    }

    fn read_below(
        &mut self,
        site: &Path,
        below: &Path,
        leave: &BTreeSet<PathBuf>,
        progress: &dyn Progress,
    ) -> Result<()> {
        if site.join(below).is_file() {
            return self.read_module(site, below);
        }
        tree::walk(&site.join(below), &mut |path, metadata| {
            let path = below.join(path);
            if leave.contains(&path) {
                return Ok(tree::Keep::No);
            }
            if metadata.is_file() && tree::has_extension(&path, "py") {
                progress.check()?;
                self.read_module(site, &path)?;
            }
            Ok(tree::Keep::Yes)
        })
    }

    fn read_module(&mut self, site: &Path, path: &Path) -> Result<()> {
        let text = tree::read(&site.join(path))?;
        let text = String::from_utf8_lossy(&text);
        let mut lines = text.lines().map(str::trim_start);
        while let Some(line) = lines.next() {
            if !line.starts_with("import ") && !line.starts_with("from ") {
                continue;
            }
            let mut statement = line.to_owned();
            while statement.contains('(') && !statement.contains(')') {
                let Some(line) = lines.next() else { break };
                statement.push_str(line);
            }
            if statement.contains("test") {
                self.add(&statement, path.parent().unwrap_or(Path::new("")));
            }
        }
        Ok(())
    }

    /// Takes an import in a module of the package at `package`.
    fn add(&mut self, statement: &str, package: &Path) {
        let names = |text: &str| {
            let names = text.split([',', '(', ')']).filter_map(|name| name.split_whitespace().next());
            names.map(str::to_owned).collect::<Vec<_>>()
        };
        match statement.split_once(' ') {
            Some(("import", modules)) => {
                names(modules).iter().for_each(|module| self.add_module(Path::new(""), module))
            }
            Some(("from", rest)) => {
                let Some((module, imported)) = rest.split_once(" import") else { return };
                let module = module.trim();
                let dots = module.len() - module.trim_start_matches('.').len();
                // One dot is the package itself.
                let base = match dots {
                    0 => Path::new(""),
                    _ => package.ancestors().nth(dots - 1).unwrap_or(Path::new("")),
                };
                for name in names(imported) {
                    self.add_module(base, &format!("{}.{name}", module.trim_start_matches('.')));
                }
            }
            _ => {}
        }
    }

    /// Takes a module, and the packages that it is in.
    fn add_module(&mut self, base: &Path, module: &str) {
        let mut path = base.to_path_buf();
        for part in module.split('.').filter(|part| !part.is_empty()) {
            path.push(part);
            self.0.insert(path.clone());
        }
    }

    fn wants(&self, path: &Path) -> bool {
        self.0.contains(&path.with_extension(""))
    }
}

/// Removes what nothing wants, from the lists of installed files too. Says what that was.
fn remove(site: &Path, candidates: &BTreeSet<PathBuf>, wanted: &Wanted) -> Result<Vec<PathBuf>> {
    let removed: Vec<PathBuf> = candidates.iter().filter(|path| !wanted.wants(path)).cloned().collect();
    for path in &removed {
        let path = site.join(path);
        match path.is_dir() {
            true => tree::remove(&path)?,
            false => fs::remove_file(&path).map_err(|error| Error::io("cannot remove", &path, &error))?,
        }
    }
    if removed.is_empty() {
        return Ok(removed);
    }
    let is_there = |line: &&str| {
        let path = Path::new(line.trim_start_matches('"'));
        // A line goes on behind the path, which is no matter for directories.
        let of_file = |removed: &PathBuf| line.trim_start_matches('"').starts_with(&format!("{},", removed.display()));
        !removed.iter().any(|removed| path.starts_with(removed) || of_file(removed))
    };
    let records = super::site::entries(site)?.into_iter().map(|entry| entry.join("RECORD"));
    for record in records.filter(|record| record.is_file()) {
        let text = tree::read(&record)?;
        let text = String::from_utf8_lossy(&text);
        let kept: String = text.lines().filter(is_there).map(|line| format!("{line}\n")).collect();
        if kept.lines().count() != text.lines().count() {
            tree::write(&record, kept)?;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_imported_is_wanted() {
        let mut wanted = Wanted::default();
        for (line, package) in [
            ("from .tests.runner import TestRunner", "astro"),
            ("from other.tests import helper", "app"),
            ("import json, app.test_data as data", "app"),
            ("from .. import (a,conftest, test_b as b)", "app/deep"),
            ("from the same distribution; more of third/tests in the import", "third"),
        ] {
            wanted.add(line, Path::new(package));
        }
        for (path, expected) in [
            ("astro/tests", true),
            ("astro/deep/tests", false),
            ("other/tests", true),
            ("third/tests", false),
            ("app/tests", false),
            ("app/test_data.py", true),
            ("app/test_b.py", true),
            ("app/test_more.py", false),
            ("app/conftest.py", true),
        ] {
            assert_eq!(wanted.wants(Path::new(path)), expected, "{path}");
        }
    }
}
