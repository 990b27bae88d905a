//! `uv.lock` and `pylock.toml` (PEP 751): versions that somebody chose before.
//!
//! A lock beside the manifest is what gets installed, as long as it still fits the manifest. One that does not is left
//! aside with a note, or is an error where versions may not move (`--frozen`).

use std::path::{Path, PathBuf};

use super::command::run;
use super::dependencies::Installer;
use super::foreign;
use super::interpreter::python;
use super::tree;
use super::uv::Uv;
use crate::error::{Error, Kind, Result};
use crate::manifest::{Manifest, Requirement};
use crate::progress::Progress;

/// A lock beside a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lock {
    /// `uv.lock`
    Uv(PathBuf),
    /// `pylock.toml`
    Standard(PathBuf),
}

impl Lock {
    /// The lock of a project; uv's own when there are two, since it knows extras.
    pub(super) fn of(manifest: &Manifest) -> Option<Self> {
        let there = |name: &str| Some(manifest.directory.join(name)).filter(|path| path.is_file());
        there("uv.lock").map(Self::Uv).or_else(|| there("pylock.toml").map(Self::Standard))
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Uv(path) | Self::Standard(path) => path,
        }
    }

    /// What the installer takes in place of the manifest: a list, or a copy of the lock without the project itself.
    /// `None` when the lock is stale, and that is allowed.
    pub(super) fn list(
        &self,
        installer: &Installer<'_>,
        requirements: &[Requirement],
        uv: &Uv,
        progress: &dyn Progress,
    ) -> Result<Option<PathBuf>> {
        let checked = match self {
            Self::Uv(_) => self.export(installer, uv, progress)?,
            Self::Standard(_) => self.copy(installer, requirements, progress)?,
        };
        let why = match checked {
            Ok(list) => return Ok(Some(list)),
            Err(why) => why,
        };
        let name = self.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        if installer.frozen {
            return Err(Error::new(Kind::Dependency, format!("{name} does not fit the manifest any more"))
                .file(self.path())
                .field("--frozen")
                .expected(format!("the versions that {} asks for", installer.manifest.path.display()))
                .found(why)
                .hint(format!("bring it up to date with {}", self.update())));
        }
        progress.note(&format!(
            "{name} does not fit the manifest any more ({why}), so it is left aside: the newest versions that fit are \
             taken ({} mends it; --frozen refuses it)",
            self.update()
        ));
        Ok(None)
    }

    fn update(&self) -> &'static str {
        match self {
            Self::Uv(_) => "uv lock",
            Self::Standard(_) => "uv pip compile pyproject.toml -o pylock.toml",
        }
    }

    fn unusable(&self, output: String) -> Error {
        Error::new(Kind::Dependency, "the locked versions cannot be used")
            .file(self.path())
            .output(output)
            .hint(format!("bring it up to date with {}, or remove it", self.update()))
    }

    /// The versions that `uv.lock` pins, as a list with hashes; why not when it is stale.
    fn export(&self, installer: &Installer<'_>, uv: &Uv, progress: &dyn Progress) -> Result<Result<PathBuf, String>> {
        let list = installer.stage.join("locked.txt");
        let mut export = uv.command();
        export.args(["export", "--locked", "--no-dev", "--no-editable", "--no-emit-project", "--no-header", "--quiet"]);
        export.args(["--no-annotate", "--format", "requirements-txt", "--no-python-downloads", "--python"]);
        export.arg(&installer.interpreter.executable).arg("--output-file").arg(&list);
        for extra in installer.extras {
            export.arg("--extra").arg(extra);
        }
        // Quiet, uv does not even say that the lock is stale.
        let output = run(export.current_dir(&installer.manifest.directory), progress)?;
        if output.success() {
            return Ok(Ok(list));
        }
        let mut check = uv.command();
        check.args(["lock", "--check", "--no-python-downloads", "--python"]).arg(&installer.interpreter.executable);
        let check = run(check.current_dir(&installer.manifest.directory), progress)?;
        if check.stderr_text().contains("needs to be updated") {
            return Ok(Err("uv says that it needs to be updated".to_owned()));
        }
        Err(self.unusable(format!("{}\n{}", output.tail(), check.tail())))
    }

    /// `pylock.toml` without the project itself, which is built from its sources, and with absolute paths; why not when it
    /// lacks what the manifest asks for.
    fn copy(
        &self,
        installer: &Installer<'_>,
        requirements: &[Requirement],
        progress: &dyn Progress,
    ) -> Result<Result<PathBuf, String>> {
        let text = String::from_utf8_lossy(&tree::read(self.path())?).into_owned();
        let mut lock: toml::Table = toml::from_str(&text).map_err(|error| self.unusable(error.to_string()))?;
        let Some(toml::Value::Array(packages)) = lock.get_mut("packages") else {
            return Err(self.unusable("it has no packages".to_owned()));
        };
        let own = plain(&installer.manifest.name);
        packages.retain(|package| package.get("name").and_then(toml::Value::as_str).map(plain).as_ref() != Some(&own));
        let named = |package: &toml::Value| {
            let text = |key: &str| package.get(key).and_then(toml::Value::as_str).map(str::to_owned);
            Some(serde_json::json!([text("name")?, text("version")]))
        };
        let locked: Vec<_> = packages.iter().filter_map(named).collect();
        let wanted: Vec<&str> = requirements.iter().map(|requirement| requirement.text.as_str()).collect();
        let environment = foreign::markers(installer.interpreter);
        let job = serde_json::json!({ "locked": locked, "wanted": wanted, "environment": environment }).to_string();
        let script = include_str!("scripts/lock.py");
        let output = run(python(&installer.interpreter.executable).args(["-c", script, &job]), progress)?;
        if !output.success() {
            return Err(self.unusable(output.tail()));
        }
        if let Some(why) = output.stdout_text().lines().next() {
            return Ok(Err(why.to_owned()));
        }
        packages.iter_mut().for_each(|package| make_absolute(package, &installer.manifest.directory));
        // Its name tells the installer what it is.
        let copy = installer.stage.join("pylock.toml");
        tree::write(&copy, lock.to_string())?;
        Ok(Ok(copy))
    }
}

/// Makes the paths of archives, directories and repositories independent of where the lock is.
fn make_absolute(value: &mut toml::Value, base: &Path) {
    match value {
        toml::Value::Array(items) => items.iter_mut().for_each(|item| make_absolute(item, base)),
        toml::Value::Table(table) => {
            for (key, value) in table.iter_mut() {
                match value {
                    toml::Value::String(path) if key == "path" => *path = base.join(&*path).display().to_string(),
                    _ => make_absolute(value, base),
                }
            }
        }
        _ => {}
    }
}

/// A name as PEP 503 compares it.
pub(super) fn plain(name: &str) -> String {
    let mut plain = String::new();
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if plain.ends_with('-') => {}
            '-' | '_' | '.' => plain.push('-'),
            c => plain.extend(c.to_lowercase()),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_indexes_do_it() {
        assert_eq!(plain("My_.App--X"), "my-app-x");
    }

    #[test]
    fn paths_of_a_lock_become_absolute_and_nothing_else_does() {
        let text = "[[packages]]\nname = \"a\"\ndirectory = { path = \"../a\" }\nwheels = [{ name = \"x\", path = \"w/x.whl\" }]\n";
        let mut lock: toml::Table = toml::from_str(text).unwrap();
        lock.iter_mut().for_each(|(_, value)| make_absolute(value, Path::new("/project")));
        let text = lock.to_string();
        for words in ["/project/../a", "/project/w/x.whl", "name = \"x\""] {
            assert!(text.contains(words), "{text}");
        }
    }
}
