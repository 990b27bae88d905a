//! What a staged project is made of: interpreter, distributions, and the libraries that were collected for them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::artifacts::{Artifact, ArtifactFile, Artifacts, Origin};
use super::distributions::{self, Distribution};
use super::interpreter::Interpreter;
use super::lock::plain;
use super::workenv::RUNTIME;
use super::{hex, site, tree};
use crate::error::Result;
use crate::manifest::Manifest;
use crate::sbom::{self, Component, Inventory, licenses, purl};

/// What there is to look at.
pub(super) struct Parts<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) version: &'a str,
    pub(super) interpreter: &'a Interpreter,
    /// The finished runtime.
    pub(super) runtime: &'a Path,
    /// The site directories of project and dependencies.
    pub(super) sites: [&'a Path; 2],
    /// Where the dependencies came from.
    pub(super) artifacts: &'a Artifacts,
    /// The project's own wheel, when it was built as one.
    pub(super) wheel: Option<&'a ArtifactFile>,
}

impl Parts<'_> {
    /// Takes stock. Everything is sorted, and the same for the same trees.
    pub(super) fn inventory(&self) -> Result<Inventory> {
        let manifest = self.manifest;
        let mut inventory = Inventory::of(manifest.package_name(), self.version);
        inventory.application.purl = Some(purl("pypi", &plain(&manifest.name), self.version));
        inventory.application.sha256 = self.wheel.map(|wheel| wheel.sha256.clone());
        let mut installed = Vec::new();
        for site in self.sites {
            installed.extend(distributions::all(site)?);
        }
        installed.sort_by_key(|one| plain(one.name()));
        // Of the same name, the first one is what Python finds.
        installed.dedup_by_key(|one| plain(one.name()));
        let own = installed.iter().find(|one| one.is(&manifest.name));
        inventory.application.licenses = own.map(licenses_of).unwrap_or_default();
        let mut references = BTreeMap::new();
        for one in &installed {
            let component = if one.is(&manifest.name) {
                inventory.application.clone()
            } else {
                let component = component(one, self.artifacts.get(&plain(one.name())))?;
                inventory.components.push(component.clone());
                component
            };
            references.insert(plain(one.name()), component.reference());
        }
        inventory.needs = needs(&installed, &references);
        let interpreter = self.interpreter()?;
        let application = inventory.application.reference();
        inventory.needs.entry(application).or_default().insert(interpreter.reference());
        inventory.needs.entry(interpreter.reference()).or_default();
        inventory.components.insert(0, interpreter);
        let runtime_site = self.runtime.join(self.interpreter.library_name()).join("site-packages");
        if runtime_site.is_dir() {
            for one in distributions::all(&runtime_site)? {
                let artifact = self.bundled(&one)?;
                let carried = component(&one, artifact.as_ref())?;
                if !inventory.components.iter().any(|other| other.reference() == carried.reference()) {
                    inventory.components.push(carried);
                }
            }
        }
        Ok(inventory)
    }

    /// The interpreter, with the files that were made out of files of this machine.
    fn interpreter(&self) -> Result<Component> {
        let version = &self.interpreter.version;
        let mut files = BTreeMap::new();
        for directory in ["", "bin", "lib"].map(|name| self.runtime.join(name)).iter().filter(|path| path.is_dir()) {
            for file in site::entries(directory)?.into_iter().filter(|file| file.is_file()) {
                let name = file.strip_prefix(self.runtime).unwrap_or(&file).to_string_lossy().into_owned();
                files.insert(name, file);
            }
        }
        Ok(Component {
            kind: "platform",
            name: "CPython".to_owned(),
            version: version.clone(),
            purl: Some(purl("generic", "python", version)),
            cpe: Some(format!("cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*")),
            licenses: licenses(Some("PSF-2.0"), None, std::iter::empty()),
            slot: Some(RUNTIME),
            files,
            ..Component::default()
        })
    }

    /// The wheel that the interpreter brings for a distribution, which is pip.
    fn bundled(&self, distribution: &Distribution) -> Result<Option<Artifact>> {
        let bundled = self.interpreter.library().join("ensurepip/_bundled");
        let beginning = format!("{}-{}-", distribution.name(), distribution.version());
        let wheels = if bundled.is_dir() { site::entries(&bundled)? } else { Vec::new() };
        let name = |wheel: &Path| wheel.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(wheel) = wheels.into_iter().find(|wheel| name(wheel).starts_with(&beginning)) else { return Ok(None) };
        let sha256 = hex(&Sha256::digest(tree::read(&wheel)?));
        Ok(Some(Artifact { file: Some(ArtifactFile { name: name(&wheel), sha256 }), origin: Origin::Index }))
    }
}

fn licenses_of(distribution: &Distribution) -> Vec<serde_json::Value> {
    let header = |name| distribution.header(name);
    licenses(header("License-Expression"), header("License"), distribution.headers("Classifier"))
}

fn component(distribution: &Distribution, artifact: Option<&Artifact>) -> Result<Component> {
    let (name, version) = (plain(distribution.name()), distribution.version());
    let plain_purl = purl("pypi", &name, version);
    let mut component = Component {
        kind: "library",
        version: version.to_owned(),
        licenses: licenses_of(distribution),
        purl: match artifact.map(|artifact| &artifact.origin) {
            None | Some(Origin::Index) => Some(plain_purl),
            Some(Origin::Url(url)) => Some(format!("{plain_purl}?download_url={}", sbom::percent_encoded(url))),
            Some(Origin::Repository(url, revision)) => {
                let place = sbom::percent_encoded(&format!("{url}@{revision}"));
                Some(format!("{plain_purl}?vcs_url={place}"))
            }
            // Nobody else knows it.
            Some(Origin::Local) => None,
        },
        name,
        ..Component::default()
    };
    match artifact.and_then(|artifact| artifact.file.as_ref()) {
        Some(file) if file.is_wheel() => {
            component.sha256 = Some(file.sha256.clone());
            component.properties.insert("pspf:wheel", file.name.clone());
        }
        found => {
            if let Some(file) = found {
                component.properties.insert("pspf:built-from", file.name.clone());
                component.properties.insert("pspf:built-from:sha256", file.sha256.clone());
            }
            let record = distribution.info.join("RECORD");
            if record.is_file() {
                component.properties.insert("pspf:record:sha256", hex(&Sha256::digest(tree::read(&record)?)));
            }
        }
    }
    Ok(component)
}

/// Which of the installed distributions asks for which others. `references`: name to reference.
fn needs(installed: &[Distribution], references: &BTreeMap<String, String>) -> BTreeMap<String, BTreeSet<String>> {
    let requirements: Vec<(String, Vec<Requires>)> = installed
        .iter()
        .map(|one| (plain(one.name()), one.headers("Requires-Dist").map(Requires::parse).collect()))
        .collect();
    // Extras that somebody asks for, until nothing is added by those any more.
    let mut extras: BTreeSet<(String, String)> = BTreeSet::new();
    loop {
        let wanted: BTreeSet<(String, String)> = requirements
            .iter()
            .flat_map(|(name, all)| all.iter().filter(|one| one.counts(name, &extras)))
            .flat_map(|one| one.extras.iter().map(|extra| (one.name.clone(), extra.clone())))
            .collect();
        if wanted.is_subset(&extras) {
            break;
        }
        extras.extend(wanted);
    }
    let mut needs = BTreeMap::new();
    for (name, all) in &requirements {
        let counted = all.iter().filter(|one| one.counts(name, &extras));
        let found = counted.filter_map(|one| references.get(&one.name)).filter(|to| *to != &references[name]);
        needs.insert(references[name].clone(), found.cloned().collect());
    }
    needs
}

/// A `Requires-Dist`, as far as it matters which distributions belong together.
#[derive(Debug, PartialEq, Eq)]
struct Requires {
    name: String,
    extras: Vec<String>,
    /// The extras of its own distribution one of which it is for; none for what is always wanted.
    only_for: Vec<String>,
}

impl Requires {
    fn parse(text: &str) -> Self {
        let (requirement, marker) = text.split_once(';').unwrap_or((text, ""));
        let ends = |c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c));
        let name = requirement.trim().split(ends).next().unwrap_or_default();
        let inside =
            requirement.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("", |(list, _)| list);
        let extras = inside.split(',').map(str::trim).filter(|extra| !extra.is_empty()).map(plain).collect();
        let only_for = marker.split("extra").skip(1).filter_map(|after| {
            let value = after.trim_start().strip_prefix("==")?.trim_start();
            let quote = value.chars().next().filter(|c| "'\"".contains(*c))?;
            value[1..].split_once(quote).map(|(extra, _)| plain(extra))
        });
        Self { name: plain(name), extras, only_for: only_for.collect() }
    }

    /// Whether it holds for its distribution when these extras are asked for. What else is in its marker was decided by
    /// the installer: what is not installed does not count.
    fn counts(&self, distribution: &str, extras: &BTreeSet<(String, String)>) -> bool {
        let asked = |extra: &String| extras.contains(&(distribution.to_owned(), extra.clone()));
        self.only_for.is_empty() || self.only_for.iter().any(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_read_as_far_as_they_matter() {
        let parsed =
            Requires::parse("Some_Thing[a, B.c] (>=1) ; python_version < '4' and (extra == 'x' or extra==\"Y\")");
        let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        assert_eq!(parsed.name, "some-thing");
        assert_eq!((parsed.extras, parsed.only_for), (texts(&["a", "b-c"]), texts(&["x", "y"])));
        assert_eq!(Requires::parse("a>=1").only_for, texts(&[]));
    }

    #[test]
    fn extras_count_where_somebody_asks_for_them() {
        let site = tempfile::tempdir().unwrap();
        for (name, requires) in [
            ("app", "Requires-Dist: server[fast]\nRequires-Dist: absent\n"),
            ("server", "Requires-Dist: loop; extra == 'fast'\nRequires-Dist: debug; extra == 'dev'\n"),
            ("loop", ""),
            ("debug", ""),
        ] {
            let info = site.path().join(format!("{name}-1.dist-info"));
            std::fs::create_dir(&info).unwrap();
            std::fs::write(info.join("METADATA"), format!("Name: {name}\nVersion: 1\n{requires}")).unwrap();
        }
        let installed = distributions::all(site.path()).unwrap();
        let names = ["app", "server", "loop", "debug"];
        let references = names.map(|name| (name.to_owned(), name.to_uppercase())).into();
        let needs = needs(&installed, &references);
        let of = |name: &str| needs[name].iter().map(String::as_str).collect::<Vec<_>>();
        assert_eq!((of("APP"), of("SERVER"), of("DEBUG")), (vec!["SERVER"], vec!["LOOP"], vec![]));
    }
}
