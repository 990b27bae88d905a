//! Extras: dependencies that are only there when somebody asks for them by a name (`--extra`).

use std::collections::BTreeSet;

use super::lock::plain;
use crate::error::{Error, Kind, Result};
use crate::manifest::{Manifest, Requirement, nearest};

/// What the project depends on with these extras, as the manifest says it; `None` when the build backend decides some
/// of it.
pub(super) fn requirements(manifest: &Manifest, extras: &[String]) -> Result<Option<Vec<Requirement>>> {
    let (Some(always), Some(optional)) = (&manifest.dependencies, &manifest.optional_dependencies) else {
        let is_known = extras.is_empty() && manifest.dependencies.is_some();
        return Ok(manifest.dependencies.clone().filter(|_| is_known));
    };
    let mut all = always.clone();
    let mut open: Vec<String> = extras.iter().rev().cloned().collect();
    let mut seen = BTreeSet::new();
    while let Some(extra) = open.pop() {
        if !seen.insert(plain(&extra)) {
            continue;
        }
        let found = optional.iter().find(|(name, _)| plain(name) == plain(&extra));
        let Some((_, more)) = found else { return Err(unknown(manifest, &extra, optional.keys().map(String::as_str))) };
        for requirement in more {
            // An extra may be made of others of the same project.
            match plain(requirement.name()) == plain(&manifest.name) {
                true => open.extend(inside_brackets(&requirement.text)),
                false => all.push(requirement.clone()),
            }
        }
    }
    Ok(Some(all))
}

/// What the project depends on with these extras, by the `Requires-Dist` and `Provides-Extra` of its wheel.
pub(super) fn of_metadata(
    manifest: &Manifest,
    extras: &[String],
    requires: Vec<String>,
    provides: &[String],
) -> Result<Vec<Requirement>> {
    let missing = extras.iter().find(|extra| !provides.iter().any(|known| plain(known) == plain(extra)));
    if let Some(extra) = missing {
        return Err(unknown(manifest, extra, provides.iter().map(String::as_str)));
    }
    Ok(requires.into_iter().map(|text| Requirement { text: decided(&text, extras), line: 0 }).collect())
}

fn unknown<'a>(manifest: &Manifest, extra: &str, known: impl Iterator<Item = &'a str> + Clone) -> Error {
    let list = known.clone().collect::<Vec<_>>().join(", ");
    let new = Error::new(Kind::Arguments, "the project has no such extra")
        .file(&manifest.path)
        .field("--extra")
        .expected(if list.is_empty() {
            "none, as project.optional-dependencies is empty".to_owned()
        } else {
            format!("one of {list}")
        })
        .found(extra);
    match nearest(extra, known) {
        Some(near) => new.hint(format!("did you mean {near:?}?")),
        None => new.hint("take it out, or add it to project.optional-dependencies"),
    }
}

/// "app[a, b]>=1" -> a, b.
fn inside_brackets(text: &str) -> Vec<String> {
    let inside = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("", |(inside, _)| inside);
    inside.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// A requirement whose marker says nothing of extras any more: installers evaluate lists without any. Each
/// `extra == "..."` becomes a condition that is always true, or never.
fn decided(text: &str, extras: &[String]) -> String {
    let mut done = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("extra") {
        let after = rest[at + "extra".len()..].trim_start();
        let comparison = after.strip_prefix("==").map(str::trim_start);
        let quoted = comparison.and_then(|value| Some((value.chars().next().filter(|c| "'\"".contains(*c))?, value)));
        let closed = quoted.and_then(|(quote, value)| value[1..].split_once(quote));
        let in_marker = rest[..at].contains(';') || done.contains(';');
        match closed.filter(|_| in_marker) {
            Some((name, behind)) => {
                let wanted = extras.iter().any(|extra| plain(extra) == plain(name));
                done.push_str(&rest[..at]);
                done.push_str(if wanted { "python_version >= '0'" } else { "python_version < '0'" });
                rest = behind;
            }
            None => {
                done.push_str(&rest[..at + "extra".len()]);
                rest = &rest[at + "extra".len()..];
            }
        }
    }
    done + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(lines: &str) -> Manifest {
        let directory = tempfile::tempdir().unwrap();
        let text =
            format!("[project]\nname = \"My.App\"\nversion = \"1\"\n{lines}\n[tool.flavor]\nentry_point = \"a\"\n");
        std::fs::write(directory.path().join("pyproject.toml"), text).unwrap();
        crate::manifest::read(directory.path()).unwrap()
    }

    fn names(extras: &[&str]) -> Vec<String> {
        extras.iter().map(|&extra| extra.to_owned()).collect()
    }

    #[test]
    fn extras_add_what_they_list_and_what_they_are_made_of() {
        let manifest = manifest(
            "dependencies = [\"one\"]\n[project.optional-dependencies]\nFast_Path = [\"two>=2\"]\n\
             all = [\"my-app[fast-path, all]\", \"three\"]\nnone = []\n",
        );
        let of = |extras: &[&str]| -> Vec<String> {
            requirements(&manifest, &names(extras)).unwrap().unwrap().into_iter().map(|one| one.text).collect()
        };
        assert_eq!(of(&[]), ["one"]);
        assert_eq!(of(&["fast.path"]), ["one", "two>=2"]);
        assert_eq!(of(&["all", "none", "all"]), ["one", "three", "two>=2"]);
        let error = requirements(&manifest, &names(&["fsat-path"])).unwrap_err().to_string();
        assert!(error.contains("one of Fast_Path, all, none") && error.contains("--extra"), "{error}");
    }

    #[test]
    fn what_the_build_backend_decides_is_not_in_the_manifest() {
        let some = |lines: &str, extras: &[&str]| requirements(&manifest(lines), &names(extras)).unwrap().is_some();
        assert!(!some("dynamic = [\"dependencies\"]", &[]));
        assert!(some("dynamic = [\"optional-dependencies\"]", &[]));
        assert!(!some("dynamic = [\"optional-dependencies\"]", &["x"]));
    }

    #[test]
    fn markers_are_decided_for_the_extras_that_are_wanted() {
        let wanted = names(&["fast"]);
        for (text, expected) in [
            ("one", "one"),
            ("extra>=1", "extra>=1"),
            ("one; extra == 'fast'", "one; python_version >= '0'"),
            ("one; extra==\"slow\"", "one; python_version < '0'"),
            (
                "one; (os_name == 'posix' or extra == 'slow') and extra == \"Fast\"",
                "one; (os_name == 'posix' or python_version < '0') and python_version >= '0'",
            ),
        ] {
            assert_eq!(decided(text, &wanted), expected);
        }
        let error = of_metadata(&manifest(""), &wanted, Vec::new(), &names(&["faster"])).unwrap_err().to_string();
        assert!(error.contains("did you mean \"faster\"?"), "{error}");
    }
}
