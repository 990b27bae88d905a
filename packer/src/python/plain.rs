//! Projects that no build backend takes: their packages and modules are copied as they are.

use std::fmt;
use std::path::Path;

use super::project;
use super::site;
use super::tree::{self, Keep};
use crate::error::Result;
use crate::manifest::Manifest;
use crate::progress::Progress;

/// What belongs to such a project.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Where the modules are, below the project's root: "src" or nothing.
    root: &'static str,
    /// Packages (directories) and modules (files) in it.
    members: Vec<String>,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.root.is_empty() { "" } else { "/" };
        let names: Vec<String> = self.members.iter().map(|name| format!("{}{separator}{name}", self.root)).collect();
        f.write_str(&names.join(", "))
    }
}

/// Directories that are beside a package in many projects and never part of it.
const NOT_PACKAGES: [&str; 16] = [
    "benchmarks",
    "build",
    "ci",
    "debian",
    "dist",
    "doc",
    "docs",
    "documentation",
    "example",
    "examples",
    "htmlcov",
    "scripts",
    "tasks",
    "test",
    "tests",
    "tools",
];

/// Modules that tools want beside a package.
const NOT_MODULES: [&str; 8] = ["setup", "conftest", "noxfile", "tasks", "fabfile", "dodo", "toxfile", "SConstruct"];

/// Finds packages and modules at the usual places, and what the manifest includes beside them; nothing when what it
/// starts is not among them.
pub(super) fn detect(manifest: &Manifest, source: &Path) -> Result<Option<Layout>> {
    let mut wanted: Vec<String> = vec![manifest.name.to_lowercase().replace(['-', '.'], "_")];
    let patterns = project::patterns(manifest)?;
    let scripts = manifest.scripts.values().chain([&manifest.command]);
    wanted.extend(scripts.map(|script| script.entry_point.module.split('.').next().unwrap_or_default().to_owned()));
    for root in ["src", ""] {
        let directory = source.join(root);
        // `src/__init__.py` makes it a package itself.
        if !directory.is_dir() || (root == "src" && directory.join("__init__.py").is_file()) {
            continue;
        }
        let mut members = Vec::new();
        for path in site::entries(&directory)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let stem = name.strip_suffix(".py").unwrap_or(&name);
            let named = wanted.iter().any(|wanted| wanted == stem);
            let member = if path.is_dir() {
                named || (path.join("__init__.py").is_file() && !NOT_PACKAGES.contains(&&*name))
            } else {
                name.ends_with(".py") && (named || !NOT_MODULES.contains(&stem))
            };
            let included = || patterns.matched(Path::new(root).join(&name), path.is_dir()).is_whitelist();
            if member || included() {
                members.push(name);
            }
        }
        let first = manifest.command.entry_point.module.split('.').next().unwrap_or_default();
        if members.iter().any(|name| name == first || name.strip_suffix(".py") == Some(first)) {
            return Ok(Some(Layout { root, members }));
        }
    }
    Ok(None)
}

impl Layout {
    /// Copies the members from `source` to the site directory `to`, with the metadata of an installed distribution.
    pub(super) fn install(&self, manifest: &Manifest, source: &Path, to: &Path, progress: &dyn Progress) -> Result<()> {
        for name in &self.members {
            let (from, to) = (source.join(self.root).join(name), to.join(name));
            if from.is_dir() {
                tree::copy(&from, &to, progress, &mut |_, _| Keep::Yes)?;
            } else {
                tree::copy_file(&from, &to)?;
            }
        }
        let version = manifest.version.as_deref().unwrap_or("0");
        let info = format!("{}-{version}.dist-info", manifest.name.to_lowercase().replace(['-', '.'], "_"));
        tree::make_directory(&to.join(&info))?;
        tree::write(&to.join(&info).join("METADATA"), metadata(manifest, version))?;
        tree::write(&to.join(&info).join("entry_points.txt"), entry_points(manifest))?;
        let mut record = Vec::new();
        tree::walk(to, &mut |relative, metadata| {
            if metadata.is_file() {
                record.push(site::record_line(&relative.to_string_lossy(), &tree::read(&to.join(relative))?));
            }
            Ok(Keep::Yes)
        })?;
        record.push(format!("{info}/RECORD,,"));
        tree::write(&to.join(&info).join("RECORD"), record.join("\n") + "\n")
    }
}

fn metadata(manifest: &Manifest, version: &str) -> String {
    let mut text = format!("Metadata-Version: 2.1\nName: {}\nVersion: {version}\n", manifest.name);
    if let Some(description) = manifest.description.as_deref().and_then(|text| text.lines().next()) {
        text.push_str(&format!("Summary: {description}\n"));
    }
    if let Some(requires) = &manifest.requires_python {
        text.push_str(&format!("Requires-Python: {requires}\n"));
    }
    for requirement in manifest.dependencies.iter().flatten() {
        text.push_str(&format!("Requires-Dist: {}\n", requirement.text));
    }
    text
}

fn entry_points(manifest: &Manifest) -> String {
    let mut text = String::new();
    for (group, gui) in [("console_scripts", false), ("gui_scripts", true)] {
        text.push_str(&format!("[{group}]\n"));
        for script in manifest.scripts.values().filter(|script| script.is_gui() == gui) {
            text.push_str(&format!("{} = {}\n", script.name, script.entry_point));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(entry_point: &str, files: &[&str]) -> (tempfile::TempDir, Manifest) {
        let directory = tempfile::tempdir().unwrap();
        let manifest =
            format!("[project]\nname = \"my-app\"\nversion = \"1\"\n[tool.flavor]\nentry_point = \"{entry_point}\"\n");
        std::fs::write(directory.path().join("pyproject.toml"), manifest).unwrap();
        for file in files {
            let path = directory.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let manifest = crate::manifest::read(directory.path()).unwrap();
        (directory, manifest)
    }

    fn members(entry_point: &str, files: &[&str]) -> Option<String> {
        let (directory, manifest) = project(entry_point, files);
        detect(&manifest, directory.path()).unwrap().map(|layout| layout.to_string())
    }

    #[test]
    fn the_package_is_found_where_projects_have_it() {
        let cases = [
            (
                "app:main",
                &["src/app/__init__.py", "src/util.py", "tests/__init__.py"][..],
                Some("src/app, src/util.py"),
            ),
            ("app.cli:main", &["app/cli.py", "static/x.css", "config/x.toml"][..], Some("app")),
            ("app:main", &["app.py", "setup.py", "lib/__init__.py", "docs/__init__.py"][..], Some("app.py, lib")),
            ("other:main", &["app/__init__.py"][..], None),
        ];
        for (entry_point, files, expected) in cases {
            assert_eq!(members(entry_point, files).as_deref(), expected, "{files:?}");
        }
    }
}
