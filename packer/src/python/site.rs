//! Site directories: what installers leave behind, made the same on every machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::tree::{self, Keep};
use crate::error::{Error, Kind, Result};

/// Removes from the site directory at `site` what depends on when, where and by what it was installed.
pub(super) fn tidy(site: &Path) -> Result<()> {
    let mut stale = Vec::new();
    let mut infos = Vec::new();
    tree::walk(site, &mut |relative, metadata| {
        let name = relative.file_name().unwrap_or_default().to_string_lossy();
        let top = relative.components().count() == 1;
        let drop = if metadata.is_dir() {
            name == "__pycache__"
        } else {
            let compiled = tree::has_extension(relative, "pyc") && site.join(relative).with_extension("py").is_file();
            compiled || (top && name == ".lock")
        };
        if drop {
            stale.push(site.join(relative));
            return Ok(Keep::No);
        }
        if metadata.is_dir() && top && name.ends_with(".dist-info") {
            infos.push(relative.to_path_buf());
        }
        Ok(Keep::Yes)
    })?;
    for path in stale {
        tree::remove(&path)?;
    }
    for info in infos {
        tidy_info(site, &info)?;
    }
    tree::even_out(site)
}

const INSTALLER: &[u8] = b"packer\n";

fn tidy_info(site: &Path, info: &Path) -> Result<()> {
    // Where it came from, down to directories and cache entries of this machine.
    for name in ["direct_url.json", "uv_cache.json", "uv_build.json", "REQUESTED"] {
        tree::remove(&site.join(info).join(name))?;
    }
    let installer = info.join("INSTALLER");
    tree::write(&site.join(&installer), INSTALLER)?;
    let record = info.join("RECORD");
    let Ok(text) = std::fs::read_to_string(site.join(&record)) else { return Ok(()) };
    let installer = installer.to_string_lossy().into_owned();
    let mut lines: BTreeMap<String, String> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| (first_field(line), line.to_owned()))
        .filter(|(path, _)| {
            *path != installer && site.join(path).is_file() && !escapes(path) && !path.starts_with("bin/")
        })
        .collect();
    lines.insert(installer.clone(), record_line(&installer, INSTALLER));
    let lines: Vec<String> = lines.into_values().collect();
    tree::write(&site.join(record), lines.join("\n") + "\n")
}

fn escapes(path: &str) -> bool {
    Path::new(path).components().any(|part| !matches!(part, std::path::Component::Normal(_)))
}

/// A line of a RECORD file (PEP 376) for `path`.
pub(super) fn record_line(path: &str, contents: &[u8]) -> String {
    let digest = base64_url(&Sha256::digest(contents));
    let quoted = if path.contains([',', '"']) { format!("\"{}\"", path.replace('"', "\"\"")) } else { path.to_owned() };
    format!("{quoted},sha256={digest},{}", contents.len())
}

/// The first field of a line of comma-separated values.
fn first_field(line: &str) -> String {
    let Some(quoted) = line.strip_prefix('"') else {
        return line.split(',').next().unwrap_or_default().to_owned();
    };
    let mut field = String::new();
    let mut chars = quoted.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '"' && chars.next_if_eq(&'"').is_none() {
            break;
        }
        field.push(c);
    }
    field
}

fn base64_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |group, &byte| group << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for i in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(group >> (18 - 6 * i)) as usize & 63]));
        }
    }
    text
}

/// Refuses what points at a directory of this machine instead of being in the tree.
pub(super) fn refuse_editable(site: &Path) -> Result<()> {
    for file in entries(site)?.into_iter().filter(|file| tree::has_extension(file, "pth")) {
        let text = String::from_utf8_lossy(&tree::read(&file)?).into_owned();
        if let Some(line) = text.lines().find(|line| line.starts_with('/')) {
            return Err(Error::new(
                Kind::Dependency,
                "a dependency is installed as editable, so it is not in the package",
            )
            .file(file.file_name().unwrap_or_default())
            .found(line)
            .hint("make it a normal dependency (editable = false)"));
        }
    }
    Ok(())
}

/// True when both site directories have a regular package of the same name: the one that is found first hides the
/// other's half, so they have to be in one directory.
pub(super) fn share_a_package(first: &Path, second: &Path) -> Result<Option<String>> {
    let shared = entries(first)?.into_iter().find_map(|package| {
        let name = package.file_name()?.to_owned();
        let both = package.join("__init__.py").is_file() && second.join(&name).join("__init__.py").is_file();
        both.then(|| name.to_string_lossy().into_owned())
    });
    Ok(shared)
}

/// Data and programs that wheels put beside the modules (`share/man/man1/x.1`), which apps expect below `sys.prefix`: from the
/// path below the workenv to the path in the tree.
///
/// Directories stay directories down to [`DEPTH`], so that pip can add to them without writing into a slot.
pub(super) fn data(site: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for top in ["bin", "etc", "share"] {
        let directory = site.join(top);
        if !directory.is_dir() || directory.join("__init__.py").is_file() {
            continue;
        }
        tree::walk(&directory, &mut |relative, metadata| {
            let path = Path::new(top).join(relative);
            let deep = path.components().count() > DEPTH;
            if metadata.is_file() || deep {
                found.push(path);
                return Ok(Keep::No);
            }
            Ok(Keep::Yes)
        })?;
    }
    Ok(found)
}

const DEPTH: usize = 3;

/// What is directly in `directory`, sorted.
pub(super) fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let refused = |error| Error::io("cannot read the directory", directory, &error);
    let entries = std::fs::read_dir(directory).map_err(refused)?;
    let mut paths =
        entries.map(|entry| entry.map(|entry| entry.path()).map_err(refused)).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (path, contents) in files {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, contents).unwrap();
        }
        directory
    }

    #[test]
    fn traces_of_the_installation_go_and_the_record_follows() {
        let site = site(&[
            (".lock", ""),
            ("bin/tool", "#!/bin/sh"),
            ("pkg/__init__.py", ""),
            ("pkg/__pycache__/__init__.cpython-311.pyc", "x"),
            ("pkg/only.pyc", "x"),
            ("pkg-1.dist-info/INSTALLER", "uv"),
            ("pkg-1.dist-info/REQUESTED", ""),
            ("pkg-1.dist-info/direct_url.json", "{}"),
            (
                "pkg-1.dist-info/RECORD",
                "pkg/only.pyc,,\npkg-1.dist-info/RECORD,,\npkg-1.dist-info/INSTALLER,sha256=x,2\n../../bin/tool,,\nbin/tool,,\npkg/__init__.py,sha256=y,0\npkg-1.dist-info/REQUESTED,,\n",
            ),
        ]);
        tidy(site.path()).unwrap();
        for gone in [".lock", "pkg/__pycache__", "pkg-1.dist-info/REQUESTED", "pkg-1.dist-info/direct_url.json"] {
            assert!(!site.path().join(gone).exists(), "{gone}");
        }
        let record = std::fs::read_to_string(site.path().join("pkg-1.dist-info/RECORD")).unwrap();
        let installer = record_line("pkg-1.dist-info/INSTALLER", INSTALLER);
        assert_eq!(
            record,
            format!("{installer}\npkg-1.dist-info/RECORD,,\npkg/__init__.py,sha256=y,0\npkg/only.pyc,,\n")
        );
    }

    #[test]
    fn record_lines_are_as_wheels_have_them() {
        assert_eq!(record_line("a.py", b""), "a.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0");
        assert_eq!(first_field("\"a,\"\"b\",sha256=x,1"), "a,\"b");
    }

    #[test]
    fn only_regular_packages_count_as_shared() {
        let (one, two) =
            (site(&[("ns/a.py", ""), ("pkg/__init__.py", "")]), site(&[("ns/b.py", ""), ("pkg/b.py", "")]));
        assert_eq!(share_a_package(one.path(), two.path()).unwrap(), None);
        std::fs::write(two.path().join("pkg/__init__.py"), "").unwrap();
        assert_eq!(share_a_package(one.path(), two.path()).unwrap().as_deref(), Some("pkg"));
    }

    #[test]
    fn wheel_data_is_linked_below_real_directories() {
        let site = site(&[
            ("share/man/man1/x.1", ""),
            ("share/jupyter/lab/static/deep/a.js", ""),
            ("etc/x.conf", ""),
            ("share.py", ""),
        ]);
        let found = data(site.path()).unwrap();
        let found: Vec<_> = found.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(found, ["etc/x.conf", "share/jupyter/lab/static", "share/man/man1/x.1"]);
    }

    #[test]
    fn an_editable_dependency_is_refused() {
        let site = site(&[("_dep.pth", "/home/me/dep/src\n")]);
        assert!(refuse_editable(site.path()).unwrap_err().to_string().contains("editable"));
    }
}
