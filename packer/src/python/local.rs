//! Projects beside this one that belong to the app (`build.dependencies` with paths), and those that they name in turn.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::manifest::{LocalProject, Manifest};

/// The directories, each once, in the order in which they are named.
pub(super) fn projects(manifest: &Manifest) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for LocalProject { path, place } in &manifest.flavor.build.projects {
        collect(&manifest.directory.join(path), &mut found).map_err(|missing| {
            let new = Error::new(Kind::Configuration, "there is no Python project in this directory")
                .expected("a directory with a pyproject.toml or a setup.py, relative to the manifest")
                .found(missing.display().to_string());
            place.locate("", new).hint("mend the path; what is on an index goes into project.dependencies")
        })?;
    }
    Ok(found)
}

/// Adds a directory and those that its own manifest names; else gives the one that is no project.
fn collect(directory: &Path, found: &mut Vec<PathBuf>) -> Result<(), PathBuf> {
    let is_there = |name: &str| directory.join(name).is_file();
    let directory = match directory.canonicalize() {
        Ok(directory) if is_there("pyproject.toml") || is_there("setup.py") => directory,
        _ => return Err(directory.to_path_buf()),
    };
    if found.contains(&directory) {
        return Ok(());
    }
    found.push(directory.clone());
    // A manifest that cannot be read is for its build backend to refuse.
    let text = std::fs::read_to_string(directory.join("pyproject.toml")).unwrap_or_default();
    let table: toml::Table = toml::from_str(&text).unwrap_or_default();
    let build = table.get("tool").and_then(|tool| tool.get("flavor")?.get("build")?.get("dependencies")?.as_array());
    for path in build.into_iter().flatten().filter_map(toml::Value::as_str).filter(|path| LocalProject::is_path(path)) {
        collect(&directory.join(path), found)?;
    }
    Ok(())
}
