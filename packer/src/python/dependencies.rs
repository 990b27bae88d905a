//! The `python-environment` tree: what the project depends on, as a site directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::artifacts::{self, Artifacts};
use super::command::{Output, run};
use super::interpreter::{Interpreter, python};
use super::lock::Lock;
use super::uv::{Tools, Uv};
use super::{SCHEMA, Tree, cache, compile, foreign, hex, site, tree, wheel_scripts};
use crate::error::{Error, Kind, Result};
use crate::manifest::{Manifest, Requirement};
use crate::platform::Os;
use crate::progress::Progress;

/// What has to be there to install something.
#[derive(Clone, Copy)]
pub(super) struct Installer<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) interpreter: &'a Interpreter,
    pub(super) tools: &'a Tools<'a>,
    /// A directory for lists and logs.
    pub(super) stage: &'a Path,
    /// The lock beside the manifest.
    pub(super) lock: Option<&'a Lock>,
    /// The project's extras that are wanted.
    pub(super) extras: &'a [String],
    /// Whether the lock decides, and nothing else may.
    pub(super) frozen: bool,
    /// Projects beside this one that belong to the app.
    pub(super) projects: &'a [PathBuf],
}

/// Dependencies that are installed, but not compiled yet.
pub(super) struct Installed {
    /// Their site directory.
    pub(super) site: TempDir,
    /// Where they came from.
    pub(super) artifacts: Artifacts,
}

/// Installs `requirements` into a new directory on `shelf`.
pub(super) fn install(
    installer: &Installer<'_>,
    requirements: &[Requirement],
    shelf: &Path,
    progress: &dyn Progress,
) -> Result<Installed> {
    let work = cache::workspace(shelf)?;
    let mut artifacts = Artifacts::new();
    if !requirements.is_empty() || !installer.projects.is_empty() {
        progress.stage("installing dependencies", None);
        let list = installer.stage.join("requirements.txt");
        tree::write(&list, lines(requirements))?;
        artifacts = installer.fetch(requirements, &list, work.path(), progress)?;
        site::refuse_editable(work.path())?;
    }
    wheel_scripts::keep(work.path(), &[], None)?;
    site::tidy(work.path())?;
    Ok(Installed { site: work, artifacts })
}

/// Compiles what [`install`] installed, or takes the same from the cache.
pub(super) fn finish(work: TempDir, runtime: &Tree, compiler: Option<&Path>, progress: &dyn Progress) -> Result<Tree> {
    let shelf = work.path().parent().unwrap_or(Path::new("/")).to_path_buf();
    let key = key(work.path(), runtime)?;
    let finished = shelf.join(&key);
    if !finished.is_dir() {
        if let Some(compiler) = compiler {
            progress.stage("compiling dependencies", None);
            compile::compile(compiler, work.path(), "python-environment", None, progress)?;
        }
        tree::even_out(work.path())?;
        progress.check()?;
        cache::publish(work, &finished)?;
    }
    Ok(Tree { path: finished, key: Some(key) })
}

/// Names the tree by every file in it, and by the interpreter that compiles it.
fn key(site: &Path, runtime: &Tree) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(format!("{SCHEMA} {}\n", runtime.key.as_deref().unwrap_or_default()));
    tree::walk(site, &mut |relative, metadata| {
        use std::os::unix::fs::PermissionsExt;
        hash.update(format!("{}\0{:o}\0", relative.display(), metadata.permissions().mode()));
        if metadata.is_file() {
            hash.update(Sha256::digest(tree::read(&site.join(relative))?));
        }
        Ok(tree::Keep::Yes)
    })?;
    Ok(hex(&hash.finalize()))
}

impl Installer<'_> {
    fn fetch(
        &self,
        requirements: &[Requirement],
        list: &Path,
        into: &Path,
        progress: &dyn Progress,
    ) -> Result<Artifacts> {
        let mut failures = Vec::new();
        if let Some(uv) = self.tools.uv(progress)? {
            let locked = match self.lock {
                Some(lock) => lock.list(self, requirements, uv, progress)?,
                None => None,
            };
            let output = run(&mut self.with_uv(uv, locked.as_deref(), list, into), progress)?;
            if output.success() {
                return artifacts::of_installed(self, uv, into, locked.as_deref(), progress);
            }
            let decided = output.stderr_text().contains("No solution found") && !self.pip_is_configured(progress)?;
            failures.push(output);
            // What pip would install is not what the lock says, or for this machine.
            if decided || self.frozen || self.interpreter.foreign.is_some() {
                return Err(self.unresolved(requirements, failures));
            }
            // uv does not read pip's configuration: an index that is only known there is a reason to ask pip.
            tree::remove(into)?;
            tree::make_directory(into)?;
        } else if let Some(target) = self.interpreter.target() {
            return Err(Error::new(Kind::Dependency, format!("there is no uv to find wheels for {target}"))
                .file(&self.manifest.path)
                .field("--platform")
                .hint("install uv, or let packer fetch it: pip install uv"));
        } else if let Some(lock) = self.lock {
            let name = lock.path().file_name().unwrap_or_default().to_string_lossy();
            if self.frozen {
                return Err(Error::new(Kind::Dependency, "there is no uv to read the lock")
                    .file(lock.path())
                    .field("--frozen")
                    .hint("install uv, or leave --frozen out"));
            }
            progress.note(&format!("{name} is not used, since there is no uv: the newest versions that fit are taken"));
        }
        let output = run(&mut self.with_pip(list, into), progress)?;
        if output.success() {
            return Ok(Artifacts::new());
        }
        failures.push(output);
        Err(self.unresolved(requirements, failures))
    }

    fn with_uv(&self, uv: &Uv, locked: Option<&Path>, list: &Path, into: &Path) -> Command {
        let mut command = self.uv_install(uv, into);
        if let Some(locked) = locked {
            command.arg("-r").arg(locked);
        } else if self.manifest_says_all() {
            // The manifest itself rather than the list, since uv's table in it may say where things come from.
            command.arg("-r").arg(&self.manifest.path);
            for extra in self.extras {
                command.arg("--extra").arg(extra);
            }
        } else {
            command.arg("-r").arg(list);
        }
        command.args(self.projects);
        command.args(self.uv_platform());
        let text = std::fs::read_to_string(&self.manifest.path).unwrap_or_default();
        if text.contains("editable") {
            command.arg("--no-editable");
        }
        command
    }

    /// True when the manifest says all that the project depends on. Otherwise uv would ask the build backend, which may
    /// write into the project's directory.
    pub(super) fn manifest_says_all(&self) -> bool {
        let Manifest { dependencies, optional_dependencies, .. } = self.manifest;
        dependencies.is_some() && (self.extras.is_empty() || optional_dependencies.is_some())
    }

    /// The options by which uv takes wheels for an older glibc than this machine's, or for another platform.
    pub(super) fn uv_platform(&self) -> Vec<String> {
        let target = self.interpreter.target();
        let is_linux = target.is_none_or(|target| target.os == Os::Linux);
        let standard = self.manifest.flavor.build.manylinux.filter(|_| is_linux);
        let standard = standard.map(|standard| standard.of_uv(self.machine()));
        let platform = standard.or_else(|| target.map(|target| foreign::triple(target).to_owned()));
        let mut options: Vec<String> =
            platform.into_iter().flat_map(|platform| ["--python-platform".to_owned(), platform]).collect();
        if target.is_some() {
            let more = ["--python-version", &self.interpreter.version, "--only-binary", ":all:"];
            options.extend(more.map(str::to_owned));
            // What has to be built here. uv refuses what is then for this platform alone.
            options.extend(self.sources().into_iter().flat_map(|name| ["--no-binary".to_owned(), name]));
        }
        options
    }

    /// The dependencies that are on no index, but in directories and repositories.
    fn sources(&self) -> Vec<String> {
        let name_of = |directory: &PathBuf| {
            let text = std::fs::read_to_string(directory.join("pyproject.toml")).ok()?;
            let table: toml::Table = toml::from_str(&text).ok()?;
            Some(table.get("project")?.get("name")?.as_str()?.to_owned())
        };
        let text = std::fs::read_to_string(&self.manifest.path).unwrap_or_default();
        let table: toml::Table = toml::from_str(&text).unwrap_or_default();
        let tables = table.get("tool").and_then(|tool| tool.get("uv")?.get("sources")?.as_table());
        let is_source = |source: &toml::Value| ["path", "git", "workspace"].iter().any(|key| source.get(key).is_some());
        let named = tables.into_iter().flatten().filter(|(_, source)| is_source(source)).map(|(name, _)| name.clone());
        let direct = self.manifest.dependencies.iter().flatten();
        let direct = direct.filter(|one| one.text.contains('@') && !one.text.contains(".whl"));
        let direct = direct.map(|one| one.name().to_owned());
        self.projects.iter().filter_map(name_of).chain(named).chain(direct).collect()
    }

    /// Whether all dependencies could be had, without installing any: of packages for another platform.
    pub(super) fn try_out(&self, requirements: &[Requirement], progress: &dyn Progress) -> Result<()> {
        let Some(uv) = self.tools.uv(progress)? else { return Ok(()) };
        let list = self.stage.join("requirements.txt");
        tree::write(&list, lines(requirements))?;
        let mut command = self.with_uv(uv, None, &list, &self.stage.join("none"));
        let output = run(command.arg("--dry-run"), progress)?;
        if output.success() { Ok(()) } else { Err(self.unresolved(requirements, vec![output])) }
    }

    /// Makes a virtual environment at `path` with these requirements and those of the project in it.
    pub(super) fn virtual_environment(
        &self,
        path: &Path,
        requirements: &[Requirement],
        progress: &dyn Progress,
    ) -> Result<()> {
        let executable = &self.interpreter.executable;
        let list = self.stage.join("hooks.txt");
        let own = self.manifest.dependencies.as_deref();
        let failed = |output: &Output| {
            let place =
                Error::new(Kind::Dependency, "what the hooks need cannot be installed").file(&self.manifest.path);
            let place = place.line(requirements.first().map_or(1, |first| first.line));
            let new = place.field("tool.flavor.build.dependencies").output(output.tail());
            Err(new.hint("check names, versions and the network; project.dependencies are installed beside them"))
        };
        let steps = match self.tools.uv(progress)? {
            Some(uv) => {
                let mut make = uv.command();
                make.args(["venv", "--no-project", "--no-python-downloads", "--python"]).arg(executable).arg(path);
                tree::write(&list, lines(requirements))?;
                let mut install = uv.command();
                install.args(["pip", "install", "--python"]).arg(path).arg("-r").arg(&list).args(self.projects);
                if own.is_some() {
                    install.arg("-r").arg(&self.manifest.path);
                }
                [make, install]
            }
            None => {
                let mut make = python(executable);
                make.args(["-m", "venv"]).arg(path);
                tree::write(&list, lines(requirements) + &lines(own.unwrap_or_default()))?;
                let mut install = Command::new(path.join("bin/python"));
                install.args(["-m", "pip", "install", "--disable-pip-version-check", "--quiet", "-r"]).arg(&list);
                install.args(self.projects);
                [make, install]
            }
        };
        for mut step in steps {
            let output = run(step.current_dir(&self.manifest.directory), progress)?;
            if !output.success() {
                return failed(&output);
            }
        }
        Ok(())
    }

    /// `uv pip install` into a directory, under the project's own configuration of uv.
    pub(super) fn uv_install(&self, uv: &Uv, into: &Path) -> Command {
        let mut command = uv.command();
        command.args(["pip", "install", "--python"]).arg(&self.interpreter.executable).arg("--target").arg(into);
        // Never links: what is changed here must not change in uv's cache.
        command.args(["--link-mode", "copy", "--no-python-downloads"]).env_remove("UV_COMPILE_BYTECODE");
        command.current_dir(&self.manifest.directory);
        command
    }

    /// The interpreter's pip, installing into a directory.
    pub(super) fn pip_install(&self, into: &Path) -> Command {
        let mut command = python(&self.interpreter.executable);
        command.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-compile", "--quiet"]);
        command.args(["--root-user-action", "ignore", "--target"]).arg(into).current_dir(&self.manifest.directory);
        command
    }

    fn with_pip(&self, list: &Path, into: &Path) -> Command {
        let mut command = self.pip_install(into);
        command.arg("-r").arg(list).args(self.projects);
        if let Some(standard) = self.manifest.flavor.build.manylinux {
            // pip builds nothing for a platform that it is told.
            command.args(["--only-binary", ":all:"]);
            for name in standard.of_pip(self.machine()) {
                command.arg("--platform").arg(name);
            }
        }
        command
    }

    /// The machine as wheels name it: "x86_64".
    fn machine(&self) -> &str {
        self.interpreter.platform.rsplit_once('-').map_or("x86_64", |(_, machine)| machine)
    }

    fn pip_is_configured(&self, progress: &dyn Progress) -> Result<bool> {
        let output = run(python(&self.interpreter.executable).args(["-m", "pip", "config", "list"]), progress)?;
        let text = output.stdout_text();
        Ok(["index-url", "extra-index-url", "find-links"].iter().any(|key| text.contains(key)))
    }

    fn unresolved(&self, requirements: &[Requirement], failures: Vec<Output>) -> Error {
        // uv explains best; pip is only asked in its absence or after it.
        let tail = failures.first().map(Output::tail).unwrap_or_default();
        let plain = |text: &str| text.to_lowercase().replace(['_', '.'], "-");
        let words = plain(&tail);
        let blamed: Vec<&Requirement> =
            requirements.iter().filter(|one| mentions(&words, &plain(one.name()))).collect();
        let mut new = Error::new(Kind::Dependency, "the dependencies cannot be installed")
            .file(&self.manifest.path)
            .field("project.dependencies")
            .output(tail);
        if let Some(first) = blamed.first().filter(|first| first.line > 0) {
            new = new.line(first.line);
        }
        let named: Vec<&str> = blamed.iter().map(|one| one.text.as_str()).collect();
        if !named.is_empty() {
            new = new.found(named.join(", "));
        }
        match self.interpreter.target() {
            Some(target) => new.expected(format!("wheels for {target} and Python {}", self.interpreter.minor)).hint(format!(
                "take a version that has such a wheel: nothing is compiled for another platform than this one (or pack on \
                 {target})"
            )),
            None => new
                .hint("check name, version and network; the index is uv's or pip's own (UV_INDEX_URL, PIP_INDEX_URL)"),
        }
    }
}

/// The requirements as installers read them from a file.
fn lines(requirements: &[Requirement]) -> String {
    requirements.iter().map(|requirement| format!("{}\n", requirement.text)).collect()
}

/// True when `name` is in `text` as a word of its own.
fn mentions(text: &str, name: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '-';
    text.match_indices(name)
        .any(|(start, _)| !text[..start].ends_with(inside) && !text[start + name.len()..].starts_with(inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_is_blamed_only_by_its_whole_name() {
        assert!(mentions("because no-such-thing was not found", "no-such-thing"));
        assert!(!mentions("because no-such-thing was not found", "such"));
        assert!(!mentions("because flask-cors was not found", "flask"));
    }
}
