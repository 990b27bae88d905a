//! The `application-code` tree: the project itself, as a site directory.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use sha2::{Digest as _, Sha256};

use super::artifacts::ArtifactFile;
use super::command::{Output, run};
use super::dependencies::Installer;
use super::interpreter::python;
use super::tree::{self, Keep};
use super::{distributions, extras, hex, plain, site, wheel_scripts};
use crate::error::{Error, Kind, Result};
use crate::manifest::{Manifest, Requirement};
use crate::progress::Progress;

/// What the project turned out to be once it was built.
#[derive(Debug)]
pub(super) struct Project {
    /// Its site directory, not compiled yet.
    pub(super) site: PathBuf,
    /// The version, from the manifest or from the build backend.
    pub(super) version: String,
    /// The dependencies, from the manifest or from the build backend.
    pub(super) requirements: Vec<Requirement>,
    /// The wheel that it was built as, if it was.
    pub(super) wheel: Option<ArtifactFile>,
}

/// Parts of the standard library that are only carried on demand, since they drag in half a desktop or a network.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extras {
    pub(super) tkinter: bool,
    pub(super) nis: bool,
}

/// Builds the project from its copy at `source` as a wheel and installs that; one without a build backend is taken as
/// it is. `requirements` is `None` when the build backend decides them.
pub(super) fn build(
    installer: &Installer<'_>,
    requirements: Option<&[Requirement]>,
    source: &Path,
    progress: &dyn Progress,
) -> Result<Project> {
    let manifest = installer.manifest;
    let site = installer.stage.join("application");
    progress.stage("building the project", None);
    tree::make_directory(&site)?;

    let undeclared = !manifest.has_build_system
        && !manifest.has_setuptools_table
        && !["setup.py", "setup.cfg"].iter().any(|name| source.join(name).is_file());
    let layout = plain::detect(manifest, source)?;
    let mut built_wheel = None;
    match layout {
        Some(layout) if undeclared && manifest.version.is_some() => {
            progress.note(&format!("no [build-system] in the manifest: taking {layout} as it is"));
            layout.install(manifest, source, &site, progress)?;
        }
        layout => match (wheel(installer, source, progress)?, layout) {
            (Ok(wheel), _) => {
                check_platform(installer, &wheel)?;
                install_wheel(installer, &wheel, &site, progress)?;
                built_wheel = Some(wheel);
            }
            (Err(output), Some(layout)) if is_refused_layout(&output) && manifest.version.is_some() => {
                progress.note(&format!("setuptools cannot tell what belongs to the project: taking {layout} as it is"));
                layout.install(manifest, source, &site, progress)?;
            }
            (Err(output), _) => return Err(build_failed(manifest, &output)),
        },
    }
    let made: Vec<&str> = manifest.scripts.values().chain([&manifest.command]).map(|one| one.name.as_str()).collect();
    // On Windows, nothing starts a script for Python by its first line.
    let python = Some(installer.interpreter.name.as_str()).filter(|_| !installer.interpreter.is_for_windows());
    wheel_scripts::keep(&site, &made, python)?;
    site::tidy(&site)?;
    let installed = distributions::named(&site, &manifest.name)?;
    let field =
        |name: &str| -> Vec<String> { installed.iter().flat_map(|one| one.headers(name)).map(str::to_owned).collect() };
    let built = field("Version").into_iter().next();
    Ok(Project {
        version: manifest.version.clone().or(built).ok_or_else(|| {
            Error::new(Kind::Build, "the build backend gave the project no version")
                .file(&manifest.path)
                .field("project.version")
                .hint("write version = \"1.0.0\" under [project]")
        })?,
        requirements: match requirements {
            Some(requirements) => requirements.to_vec(),
            None => extras::of_metadata(manifest, installer.extras, field("Requires-Dist"), &field("Provides-Extra"))?,
        },
        site,
        wheel: built_wheel.as_deref().map(artifact).transpose()?,
    })
}

/// Refuses a wheel with native code when that is for another platform than the package.
fn check_platform(installer: &Installer<'_>, wheel: &Path) -> Result<()> {
    let name = wheel.file_name().unwrap_or_default().to_string_lossy();
    match installer.interpreter.target() {
        Some(target) if !name.ends_with("-none-any.whl") => {
            Err(Error::new(Kind::Build, format!("the project has native code, which is not built for {target} here"))
                .file(&installer.manifest.path)
                .field("build-system")
                .expected("a wheel that fits every platform (none-any)")
                .found(name)
                .hint(format!("pack on {target}, or publish the native part as a project of its own, with wheels")))
        }
        _ => Ok(()),
    }
}

fn artifact(wheel: &Path) -> Result<ArtifactFile> {
    let name = wheel.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(ArtifactFile { name, sha256: hex(&Sha256::digest(tree::read(wheel)?)) })
}

/// Copies what a build may need to `to`, but nothing of `ours`. Backends write into the directory that they build, so it is never the user's.
pub(super) fn copy_source(manifest: &Manifest, to: &Path, ours: &[&Path], progress: &dyn Progress) -> Result<()> {
    let patterns = patterns(manifest)?;
    let ours: Vec<PathBuf> = ours.iter().filter_map(|path| std::fs::canonicalize(path).ok()).collect();
    let root = &manifest.directory;
    tree::copy(root, to, progress, &mut |relative, metadata| {
        let chosen = match patterns.matched(relative, metadata.is_dir()) {
            Match::Whitelist(_) => Keep::Yes,
            Match::Ignore(_) => Keep::No,
            Match::None if is_litter(root, relative, metadata) => Keep::No,
            Match::None => Keep::Yes,
        };
        let own =
            metadata.is_dir() && std::fs::canonicalize(root.join(relative)).is_ok_and(|path| ours.contains(&path));
        if own { Keep::No } else { chosen }
    })?;
    // The wheel has the modes that the files have here, which the developer's umask decided.
    tree::even_out(to)?;
    // Backends that take the version from a tag find the repository through this, without a copy of it.
    let repository = root.join(".git");
    if manifest.version.is_none() && repository.is_dir() {
        tree::write(&to.join(".git"), format!("gitdir: {}\n", repository.display()))?;
    } else if manifest.version.is_none() && repository.is_file() {
        tree::copy_file(&repository, &to.join(".git"))?;
    }
    Ok(())
}

/// What the manifest excludes and includes; included is what they whitelist.
pub(super) fn patterns(manifest: &Manifest) -> Result<Gitignore> {
    let mut builder = GitignoreBuilder::new("");
    let flavor = &manifest.flavor;
    let excluded = flavor.exclude.iter().map(|pattern| ("exclude", pattern.clone(), pattern));
    let included = flavor.include.iter().map(|pattern| ("include", format!("!{pattern}"), pattern));
    let refused = |key: &str, pattern: &str, error: ignore::Error| {
        Error::new(Kind::Configuration, "this is not a pattern")
            .file(&manifest.path)
            .field(format!("tool.flavor.{key}"))
            .expected("a line as in a .gitignore file")
            .found(format!("{pattern:?}: {error}"))
    };
    for (key, line, pattern) in excluded.chain(included) {
        builder.add_line(None, &line).map_err(|error| refused(key, pattern, error))?;
    }
    builder.build().map_err(|error| refused("exclude", "", error))
}

/// Files that are by-products of working on a project, not parts of it.
fn is_litter(root: &Path, relative: &Path, metadata: &Metadata) -> bool {
    const DIRECTORIES: [&str; 14] = [
        ".git",
        ".hg",
        ".svn",
        ".venv",
        "venv",
        "__pycache__",
        "node_modules",
        ".tox",
        ".nox",
        ".eggs",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".idea",
    ];
    let name = relative.file_name().unwrap_or_default().to_string_lossy();
    if !metadata.is_dir() {
        return [".psp", ".pyc", ".pyo"].iter().any(|ending| name.ends_with(ending)) || name == ".git";
    }
    let path = root.join(relative);
    let output = relative.components().count() == 1
        && ["build", "dist"].contains(&&*name)
        && !path.join("__init__.py").is_file();
    DIRECTORIES.contains(&&*name) || name.ends_with(".egg-info") || output || path.join("pyvenv.cfg").is_file()
}

/// Builds a wheel of `source` with its own backend, in isolation; what the tools said when that fails.
fn wheel(installer: &Installer<'_>, source: &Path, progress: &dyn Progress) -> Result<Result<PathBuf, Output>> {
    let out = installer.stage.join("wheel");
    let interpreter = &installer.interpreter.executable;
    let built = |output: Output| {
        let wheel =
            site::entries(&out).ok().and_then(|files| files.into_iter().find(|file| tree::has_extension(file, "whl")));
        match wheel {
            Some(wheel) if output.success() => Ok(wheel),
            _ => Err(output),
        }
    };
    let epoch = std::env::var_os("SOURCE_DATE_EPOCH").unwrap_or_else(|| "315532800".into());
    // uv and the backends leave lock files and builds in the directory for temporary files.
    let temporary = installer.stage.join("tmp");
    tree::make_directory(&temporary)?;
    let mut first = None;
    if let Some(uv) = installer.tools.uv(progress)? {
        let mut build = uv.command();
        build.args(["build", "--wheel", "--no-python-downloads", "--python"]).arg(interpreter);
        build.arg("--out-dir").arg(&out).arg(source).current_dir(&installer.manifest.directory);
        build.env("SOURCE_DATE_EPOCH", &epoch).env("GIT_OPTIONAL_LOCKS", "0").env("TMPDIR", &temporary);
        match built(run(&mut build, progress)?) {
            Ok(wheel) => return Ok(Ok(wheel)),
            // Only when the backend itself could not be had may pip's configuration make a difference.
            Err(output) if !output.stderr_text().contains("build-system.requires") => return Ok(Err(output)),
            Err(output) => first = Some(output),
        }
    }
    let mut build = python(interpreter);
    build.args(["-m", "pip", "wheel", "--no-deps", "--disable-pip-version-check", "--wheel-dir"]).arg(&out).arg(source);
    build.env("SOURCE_DATE_EPOCH", &epoch).env("GIT_OPTIONAL_LOCKS", "0").env("TMPDIR", &temporary);
    match built(run(&mut build, progress)?) {
        Ok(wheel) => Ok(Ok(wheel)),
        Err(second) => Ok(Err(first.unwrap_or(second))),
    }
}

fn install_wheel(installer: &Installer<'_>, wheel: &Path, site: &Path, progress: &dyn Progress) -> Result<()> {
    let mut install = match installer.tools.uv(progress)? {
        Some(uv) => installer.uv_install(uv, site),
        None => installer.pip_install(site),
    };
    let output = run(install.arg("--no-deps").arg(wheel), progress)?;
    if output.success() {
        return Ok(());
    }
    Err(Error::new(Kind::Build, "the project's own wheel cannot be installed")
        .file(&installer.manifest.path)
        .output(output.tail())
        .hint("check project.requires-python and the build backend's settings"))
}

/// True when setuptools found more than one thing at the top and will not guess.
fn is_refused_layout(output: &Output) -> bool {
    let text = output.stderr_text() + &output.stdout_text();
    text.contains("Multiple top-level packages discovered") || text.contains("Multiple top-level modules discovered")
}

fn build_failed(manifest: &Manifest, output: &Output) -> Error {
    Error::new(Kind::Build, "the project's build backend failed")
        .file(&manifest.path)
        .field("build-system")
        .output(output.tail())
        .hint("the same happens with: uv build --wheel (or python -m build --wheel); mend it there first")
}

/// Which parts of the standard library the app asks for. The project counts with every module, a dependency only
/// with its first one: many offer a window somewhere that their users never open.
pub(super) fn extras(project: &Path, environment: Option<&Path>, progress: &dyn Progress) -> Result<Extras> {
    let mut extras = Extras::default();
    let mut sources = BTreeSet::new();
    tree::walk(project, &mut |relative, metadata| {
        if metadata.is_file() && tree::has_extension(relative, "py") {
            sources.insert(project.join(relative));
        }
        Ok(Keep::Yes)
    })?;
    for entry in environment.map(site::entries).transpose()?.unwrap_or_default() {
        let first = if entry.is_dir() { entry.join("__init__.py") } else { entry };
        if tree::has_extension(&first, "py") && first.is_file() {
            sources.insert(first);
        }
    }
    for source in sources {
        progress.check()?;
        let text = String::from_utf8_lossy(&tree::read(&source)?).into_owned();
        extras.tkinter |= imports(&text, &["tkinter", "_tkinter", "turtle"]);
        extras.nis |= imports(&text, &["nis"]);
    }
    Ok(extras)
}

/// True when a line of `source` looks like an import of one of `modules`.
fn imports(source: &str, modules: &[&str]) -> bool {
    source.lines().any(|line| {
        let mut words =
            line.trim_start().split(|c: char| c.is_whitespace() || ",.;(".contains(c)).filter(|w| !w.is_empty());
        match words.next() {
            Some("from") => words.next().is_some_and(|module| modules.contains(&module)),
            Some("import") => words.any(|module| modules.contains(&module)),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_found_by_their_module() {
        for line in [
            "import tkinter",
            "  import tkinter as tk",
            "from tkinter import ttk",
            "from tkinter.ttk import *",
            "import os, tkinter",
        ] {
            assert!(imports(line, &["tkinter"]), "{line}");
        }
        for line in ["# import tkinter", "import tkinterx", "x = 'from tkinter'", "from app import tkinterlike"] {
            assert!(!imports(line, &["tkinter"]), "{line}");
        }
    }

    #[test]
    fn by_products_stay_out_of_the_build() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for path in ["build/lib", "pkg/build", ".git", "env", "dist", "src/dist"] {
            std::fs::create_dir_all(root.join(path)).unwrap();
        }
        std::fs::write(root.join("env/pyvenv.cfg"), "").unwrap();
        std::fs::write(root.join("dist/__init__.py"), "").unwrap();
        let metadata = std::fs::metadata(root).unwrap();
        for path in ["build", ".git", "env"] {
            assert!(is_litter(root, Path::new(path), &metadata), "{path}");
        }
        for path in ["pkg/build", "src/dist", "dist"] {
            assert!(!is_litter(root, Path::new(path), &metadata), "{path}");
        }
    }
}
