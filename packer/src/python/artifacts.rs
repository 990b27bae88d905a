//! Which file each distribution was installed from, with the digest that its index or lock has of that file.
//!
//! Installers leave nothing of it behind. So uv is asked once more, offline and for nothing but the versions that are
//! installed: it answers from its cache, with the file that it takes for each. That answer counts where the tags in the
//! name of that file are those that the installed `WHEEL` has, or where uv has left word that it built the wheel itself,
//! for the archive of the sources. Whatever is not sure is not said.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::command::run;
use super::dependencies::Installer;
use super::distributions::{self, Distribution};
use super::lock::{Lock, plain};
use super::tree;
use super::uv::Uv;
use crate::error::Result;
use crate::progress::Progress;

/// Where a distribution came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Artifact {
    /// The file, where its digest is known.
    pub(super) file: Option<ArtifactFile>,
    /// Whose word the file is.
    pub(super) origin: Origin,
}

/// A wheel that was installed, or the archive of sources that it was built from while packing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ArtifactFile {
    /// Its name.
    pub(super) name: String,
    /// Its SHA-256, in hexadecimal.
    pub(super) sha256: String,
}

impl ArtifactFile {
    /// True for the wheel itself.
    pub(super) fn is_wheel(&self) -> bool {
        self.name.ends_with(".whl")
    }
}

/// How a distribution is found again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Origin {
    /// By its name on an index.
    #[default]
    Index,
    /// At an address.
    Url(String),
    /// In a repository: its kind and address, and the revision.
    Repository(String, String),
    /// Nowhere but on the machine that packed it.
    Local,
}

/// By the name of the distribution, as indexes compare it.
pub(super) type Artifacts = BTreeMap<String, Artifact>;

/// Looks at what `uv` has just installed into `site`, before traces of the installation are removed. `locked` is the list
/// that came of the lock.
pub(super) fn of_installed(
    installer: &Installer<'_>,
    uv: &Uv,
    site: &Path,
    locked: Option<&Path>,
    progress: &dyn Progress,
) -> Result<Artifacts> {
    let installed = distributions::all(site)?;
    let known = match (installer.lock, locked) {
        (Some(Lock::Standard(_)), Some(copy)) => String::from_utf8_lossy(&tree::read(copy)?).into_owned(),
        _ => ask(installer, uv, &installed, locked.is_none() && installer.manifest_says_all(), progress)?,
    };
    let lock: toml::Table = toml::from_str(&known).unwrap_or_default();
    let packages = lock.get("packages").and_then(toml::Value::as_array).map_or(&[][..], Vec::as_slice);
    Ok(installed.iter().map(|one| (plain(one.name()), artifact(one, packages))).collect())
}

/// What uv takes for the versions that are installed, as a `pylock.toml`; nothing when it cannot say.
fn ask(
    installer: &Installer<'_>,
    uv: &Uv,
    installed: &[Distribution],
    with_manifest: bool,
    progress: &dyn Progress,
) -> Result<String> {
    let from_index = installed.iter().filter(|one| !one.info.join(DIRECT_URL).is_file());
    let pins: String = from_index.map(|one| format!("{}=={}\n", one.name(), one.version())).collect();
    let list = installer.stage.join("installed.txt");
    tree::write(&list, pins)?;
    // The manifest knows where else than on the index something comes from. It may also name what is not in the cache.
    let manifest = Some(&installer.manifest.path);
    let attempts = if with_manifest { &[manifest, None][..] } else { &[None] };
    for manifest in attempts {
        let mut compile = uv.command();
        compile.args(["pip", "compile", "--offline", "--quiet", "--no-deps", "--no-header", "--no-annotate"]);
        compile.args(["--format", "pylock.toml", "--no-python-downloads", "--python"]);
        compile.arg(&installer.interpreter.executable).args(installer.uv_platform()).arg(&list).args(manifest);
        if manifest.is_some() {
            compile.args(installer.extras.iter().flat_map(|extra| ["--extra", extra]));
        }
        let output = run(compile.current_dir(&installer.manifest.directory), progress)?;
        if output.success() {
            return Ok(output.stdout_text());
        }
    }
    Ok(String::new())
}

fn artifact(distribution: &Distribution, packages: &[toml::Value]) -> Artifact {
    let text = |value: &toml::Value, key: &str| value.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    let entry = packages.iter().find(|package| {
        text(package, "name").is_some_and(|name| distribution.is(&name))
            && text(package, "version").is_none_or(|version| version == distribution.version())
    });
    let origin = origin(distribution);
    let Some(entry) = entry else { return Artifact { file: None, origin } };
    let file = |value: &toml::Value| {
        let from_place = || {
            let place = text(value, "url").or_else(|| text(value, "path"))?;
            let place = place.split(['?', '#']).next().unwrap_or_default();
            Some(place.rsplit('/').next().unwrap_or_default().to_owned())
        };
        let sha256 = value.get("hashes").and_then(|hashes| text(hashes, "sha256"))?;
        Some(ArtifactFile { name: text(value, "name").or_else(from_place)?, sha256 })
    };
    let archive = entry.get("archive").and_then(file);
    let is_built = distribution.info.join(BUILT).is_file();
    let found = if is_built {
        archive.or_else(|| entry.get("sdist").and_then(file)).filter(|file| !file.is_wheel())
    } else {
        let tags = installed_tags(distribution);
        let wheels = entry.get("wheels").and_then(toml::Value::as_array).into_iter().flatten().filter_map(file);
        let mut fitting = wheels.chain(archive).filter(|file| tags_of(&file.name).is_some_and(|of| of == tags));
        // Of two, nobody knows which.
        fitting.next().filter(|_| fitting.next().is_none())
    };
    Artifact { file: found, origin }
}

/// What the installer wrote of a distribution that is from no index (PEP 610).
fn origin(distribution: &Distribution) -> Origin {
    let Ok(text) = std::fs::read(distribution.info.join(DIRECT_URL)) else { return Origin::Index };
    let value: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    let url = without_user(value["url"].as_str().unwrap_or_default());
    match (&value["vcs_info"], url.starts_with("file:")) {
        (_, true) => Origin::Local,
        (serde_json::Value::Object(vcs), _) => {
            let word = |key: &str| vcs.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
            Origin::Repository(format!("{}+{url}", word("vcs")), word("commit_id").to_owned())
        }
        _ => Origin::Url(url),
    }
}

/// An address without the name and password that may be in it.
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    format!("{scheme}://{}{path}", host.rsplit_once('@').map_or(host, |(_, host)| host))
}

/// The tags of the `WHEEL` that is installed.
fn installed_tags(distribution: &Distribution) -> BTreeSet<String> {
    let text = std::fs::read_to_string(distribution.info.join("WHEEL")).unwrap_or_default();
    let tags = distributions::headers(&text).into_iter().filter(|(name, _)| name == "Tag");
    tags.map(|(_, tag)| tag).collect()
}

/// The tags that the name of a wheel stands for: "a-1-py2.py3-none-any.whl" has two.
fn tags_of(name: &str) -> Option<BTreeSet<String>> {
    let mut parts = name.strip_suffix(".whl")?.rsplitn(4, '-');
    let (platforms, abis, pythons) = (parts.next()?, parts.next()?, parts.next()?);
    let mut tags = BTreeSet::new();
    for python in pythons.split('.') {
        for abi in abis.split('.') {
            tags.extend(platforms.split('.').map(|platform| format!("{python}-{abi}-{platform}")));
        }
    }
    Some(tags)
}

const DIRECT_URL: &str = "direct_url.json";
/// What uv leaves beside the metadata of wheels that it built itself.
const BUILT: &str = "uv_build.json";

#[cfg(test)]
mod tests {
    use super::*;

    /// A distribution `a 1` with these files, which the lock has as `entry`.
    fn found(files: &[(&str, &str)], entry: &str) -> Artifact {
        let site = tempfile::tempdir().unwrap();
        let info = site.path().join("a-1.dist-info");
        std::fs::create_dir(&info).unwrap();
        for (name, content) in [("METADATA", "Name: A\nVersion: 1\n")].iter().chain(files) {
            std::fs::write(info.join(name), content).unwrap();
        }
        let lock: toml::Table = toml::from_str(&format!("[[packages]]\nname = \"a\"\n{entry}")).unwrap();
        artifact(&distributions::all(site.path()).unwrap()[0], lock["packages"].as_array().unwrap())
    }

    fn name(artifact: Artifact) -> Option<String> {
        artifact.file.map(|file| file.name)
    }

    const WHEEL: (&str, &str) = ("WHEEL", "Wheel-Version: 1.0\nTag: py2-none-any\nTag: py3-none-any\n");
    const ENTRY: &str = "version = \"1\"\nsdist = {name = \"a-1.tar.gz\", hashes = {sha256 = \"00\"}}\nwheels = [\
                         {url = \"https://x/a-1-py2.py3-none-any.whl#x\", hashes = {sha256 = \"11\"}},\
                         {url = \"https://x/a-1-cp311-cp311-linux_x86_64.whl\", hashes = {sha256 = \"22\"}}]\n";

    #[test]
    fn a_wheel_is_known_by_the_tags_that_are_installed() {
        let file = found(&[WHEEL], ENTRY).file.unwrap();
        assert_eq!((file.name.as_str(), file.sha256.as_str()), ("a-1-py2.py3-none-any.whl", "11"));
        assert_eq!(name(found(&[("WHEEL", "Tag: py3-none-any\n")], ENTRY)), None);
        assert_eq!(name(found(&[WHEEL], &ENTRY.replace("version = \"1\"", "version = \"2\""))), None);
        let twice = ENTRY.replace("cp311-cp311-linux_x86_64", "7-py2.py3-none-any");
        assert_eq!(name(found(&[WHEEL], &twice)), None, "two files with the same tags");
    }

    #[test]
    fn what_was_built_while_packing_is_known_by_its_sources() {
        assert_eq!(name(found(&[WHEEL, (BUILT, "{}")], ENTRY)).as_deref(), Some("a-1.tar.gz"));
    }

    #[test]
    fn what_is_from_no_index_is_told_without_passwords_and_paths() {
        let origin = |url: &str| found(&[WHEEL, (DIRECT_URL, url)], ENTRY).origin;
        assert_eq!(origin(r#"{"url": "file:///home/me/a", "dir_info": {}}"#), Origin::Local);
        assert_eq!(
            origin(r#"{"url": "https://me:secret@x.example/a.git", "vcs_info": {"vcs": "git", "commit_id": "ab"}}"#),
            Origin::Repository("git+https://x.example/a.git".to_owned(), "ab".to_owned())
        );
        let archive = origin(r#"{"url": "https://me@x.example/a-1.zip", "archive_info": {}}"#);
        assert_eq!(archive, Origin::Url("https://x.example/a-1.zip".to_owned()));
    }
}
