//! What a package is made of: a software bill of materials in CycloneDX 1.6, which goes into the attestation slot
//! (docs/format.md section 3.3) with a word on who built the package. Launchers never read it; `packer inspect --sbom` does.
//!
//! Everything in it follows from what is packed: no clock but the package's own, nothing of the machine that packed.

mod licenses;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;

use pspf_core::Verified;
use pspf_core::metadata::Lifecycle;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::{Error, Kind, Result};
use crate::package_file::{PackageFile, not_intact};
use crate::platform::Platform;
use crate::slots::{self, Symbols};

pub(crate) use licenses::licenses;

/// What is known of a package's parts before its slots are encoded.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// The application itself.
    pub application: Component,
    /// What it comes with.
    pub components: Vec<Component>,
    /// What needs what, by [`Component::reference`].
    pub needs: BTreeMap<String, BTreeSet<String>>,
}

/// One part of a package.
#[derive(Debug, Clone, Default)]
pub struct Component {
    /// CycloneDX's word for what it is: "application", "platform", "library", "file".
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Its version; empty where it has none.
    pub version: String,
    /// What the whole world calls it (purl).
    pub purl: Option<String>,
    /// What vulnerability databases call it (CPE 2.3).
    pub cpe: Option<String>,
    /// Its licences, as CycloneDX writes them.
    pub licenses: Vec<Value>,
    /// SHA-256 of it as it was published, in hexadecimal.
    pub sha256: Option<String>,
    /// The slot that it is, where nobody published it like that: then its SHA-256 is that of the slot's stored bytes.
    pub slot: Option<&'static str>,
    /// What else is to be said, by names that are explained in docs/format.md.
    pub properties: BTreeMap<&'static str, String>,
    /// Files of it whose digests are stated: their names in the package, and where they are now.
    pub files: BTreeMap<String, PathBuf>,
}

/// The rest of what is stated, which is known once the slots are encoded.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// The moment that the package says it was built, as RFC 3339.
    pub(crate) moment: &'a str,
    /// What it runs on.
    pub(crate) platform: Platform,
    /// The launcher's SHA-256 in hexadecimal.
    pub(crate) launcher: String,
    /// The slots that are parts by themselves: id, and SHA-256 of the stored bytes.
    pub(crate) slots: Vec<(String, String)>,
    /// As much of the slots that components are.
    pub(crate) of_components: Vec<(String, String)>,
    /// Whether files are packed without their symbols.
    pub(crate) symbols: Symbols,
}

/// What a package's SBOM is, in a few words. The JSON of this is a stable interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The format: "CycloneDX".
    pub format: String,
    /// Its version: "1.6".
    pub version: String,
    /// How many components it lists, besides the application itself and those inside of others.
    pub components: usize,
}

impl Inventory {
    /// Of an application of which nothing but its name is known.
    pub fn of(name: &str, version: &str) -> Self {
        let (name, version) = (name.to_owned(), version.to_owned());
        let application = Component { kind: "application", name, version, ..Component::default() };
        Self { application, components: Vec::new(), needs: BTreeMap::new() }
    }

    /// The content of the attestation slot, and what it comes to: the same for the same package.
    pub(crate) fn attestation(&self, facts: &Facts<'_>) -> Result<(Vec<u8>, Summary)> {
        let mut components = Vec::new();
        for component in &self.components {
            components.push(Part::Component(component.to_json(facts)?));
        }
        components.push(Part::of("application", "launcher", &facts.launcher));
        components.extend(facts.slots.iter().map(|(id, digest)| Part::of("file", id, digest)));
        let tool = json!({ "type": "application", "name": TOOL, "version": VERSION });
        let metadata = json!({
            "timestamp": facts.moment,
            "component": self.application.to_json(facts)?,
            "tools": { "components": [tool] },
        });
        let needs = self.needs.iter().map(|(one, others)| json!({ "ref": one, "dependsOn": others })).collect();
        let summary =
            Summary { format: FORMAT.to_owned(), version: SPECIFICATION.to_owned(), components: components.len() };
        let sbom = Sbom {
            format: FORMAT,
            components,
            dependencies: needs,
            metadata,
            specification: SPECIFICATION,
            version: 1,
        };
        let provenance = json!({
            "builder": TOOL,
            "builder_version": VERSION,
            "build_timestamp": facts.moment,
            "platform": { "os": facts.platform.os.name(), "arch": facts.platform.arch.map_or("", |arch| arch.name()) },
        });
        let content = serde_json::to_vec(&Attestation { provenance, sbom }).map_err(|error| {
            Error::new(Kind::Build, "the package's SBOM cannot be written").found(error.to_string())
        })?;
        Ok((content, summary))
    }
}

/// What goes into the slot. A package has up to thousands of slots, so their parts of it are no trees of values.
#[derive(Serialize)]
struct Attestation<'a> {
    provenance: Value,
    sbom: Sbom<'a>,
}

#[derive(Serialize)]
struct Sbom<'a> {
    #[serde(rename = "bomFormat")]
    format: &'a str,
    components: Vec<Part<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dependencies: Vec<Value>,
    metadata: Value,
    #[serde(rename = "specVersion")]
    specification: &'a str,
    version: u32,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Part<'a> {
    Component(Value),
    /// Something of which no more is known.
    Hashed {
        hashes: [Hash<'a>; 1],
        name: &'a str,
        #[serde(rename = "type")]
        kind: &'a str,
    },
}

#[derive(Serialize)]
struct Hash<'a> {
    alg: &'a str,
    content: &'a str,
}

impl<'a> Part<'a> {
    fn of(kind: &'a str, name: &'a str, sha256: &'a str) -> Self {
        Self::Hashed { hashes: [Hash { alg: "SHA-256", content: sha256 }], name, kind }
    }
}

impl Component {
    /// How others refer to it; no two components of a package have the same.
    pub fn reference(&self) -> String {
        self.purl.clone().unwrap_or_else(|| format!("{}@{}", self.name, self.version))
    }

    fn to_json(&self, facts: &Facts<'_>) -> Result<Value> {
        let mut members = Map::new();
        let mut add = |name: &str, value: Option<Value>| members.extend(value.map(|value| (name.to_owned(), value)));
        add("type", Some(self.kind.into()));
        add("bom-ref", (self.kind != "file").then(|| self.reference().into()));
        add("name", Some(self.name.clone().into()));
        add("version", Some(self.version.clone()).filter(|version| !version.is_empty()).map(Value::from));
        add("purl", self.purl.clone().map(Value::from));
        add("cpe", self.cpe.clone().map(Value::from));
        add("licenses", Some(&self.licenses).filter(|list| !list.is_empty()).map(|list| list.clone().into()));
        let stored =
            facts.of_components.iter().find(|(id, _)| self.slot == Some(id)).map(|(_, digest)| digest.as_str());
        add("hashes", self.sha256.as_deref().or(stored).map(hashes));
        let property = |(name, value): (&str, &str)| json!({ "name": name, "value": value });
        let properties = self.properties.iter().map(|(name, value)| (*name, value.as_str()));
        let properties: Vec<Value> =
            properties.chain(self.slot.map(|slot| ("pspf:slot", slot))).map(property).collect();
        add("properties", (!properties.is_empty()).then(|| properties.into()));
        let mut files = Vec::new();
        for (name, path) in &self.files {
            let digest =
                slots::digest_as_packed(path, facts.symbols).map_err(|error| Error::io("cannot read", path, &error))?;
            files.push(json!({ "type": "file", "name": name, "hashes": hashes(&digest.to_string()) }));
        }
        add("components", (!files.is_empty()).then(|| files.into()));
        Ok(Value::Object(members))
    }
}

/// The SBOM of a package, when it has one; the head and the slot are verified.
pub fn read(file: &PackageFile) -> Result<Option<Value>> {
    let verified = file.verify()?;
    let document: Option<Value> = attestation(file, &verified)?;
    Ok(document.and_then(|document| document.get("sbom").filter(|sbom| sbom.is_object()).cloned()))
}

/// What the SBOM of a package is, without holding all of it in memory.
pub(crate) fn summary_of(file: &PackageFile, verified: &Verified<'_, File>) -> Result<Option<Summary>> {
    let document: Option<Outline> = attestation(file, verified)?;
    Ok(document.and_then(|document| document.sbom).map(|sbom| Summary {
        format: sbom.format,
        version: sbom.version,
        components: sbom.components.len(),
    }))
}

/// An attestation, as far as a summary goes.
#[derive(Deserialize)]
struct Outline {
    sbom: Option<OutlinedSbom>,
}

#[derive(Deserialize)]
struct OutlinedSbom {
    #[serde(rename = "bomFormat", default)]
    format: String,
    #[serde(rename = "specVersion", default)]
    version: String,
    #[serde(default)]
    components: Vec<IgnoredAny>,
}

/// The content of the first attestation slot, which is verified.
fn attestation<T: DeserializeOwned>(file: &PackageFile, verified: &Verified<'_, File>) -> Result<Option<T>> {
    let slots = &verified.metadata().slots;
    let Some(index) = slots.iter().position(|slot| slot.lifecycle == Lifecycle::Attestation) else { return Ok(None) };
    let failed = |error| not_intact(&error, file.path());
    let mut slot = verified.slot(index as u32).map_err(failed)?;
    let mut content = Vec::new();
    loop {
        let ready = slot.fill().map_err(failed)?;
        if ready.is_empty() {
            break;
        }
        content.extend_from_slice(ready);
        let count = ready.len();
        slot.consume(count);
        if content.len() > LIMIT {
            let new = Error::new(Kind::Format, "the package's attestation is too large to be one").file(file.path());
            return Err(new.expected(format!("at most {LIMIT} bytes")).found("more"));
        }
    }
    slot.finish().map_err(failed)?;
    serde_json::from_slice(&content).map(Some).map_err(|error| {
        Error::new(Kind::Format, "the package's attestation is not what it should be")
            .file(file.path())
            .field(format!("slot {}", slots[index].id))
            .expected("JSON with an SBOM in it")
            .found(error.to_string())
            .hint("packer extract shows what is in it")
    })
}

/// A package URL (purl) of this type; `version` may be empty.
pub(crate) fn purl(kind: &str, name: &str, version: &str) -> String {
    let at = if version.is_empty() { "" } else { "@" };
    format!("pkg:{kind}/{}{at}{}", percent_encoded(name), percent_encoded(version))
}

/// As package URLs have it: letters, digits and `.-_~` stay.
pub(crate) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn hashes(sha256: &str) -> Value {
    json!([{ "alg": "SHA-256", "content": sha256 }])
}

/// The id of the slot, and its target, which nothing is ever written to: as FlavorPack's builder calls it.
pub(crate) const SLOT: &str = "_attestation";
const FORMAT: &str = "CycloneDX";
const SPECIFICATION: &str = "1.6";
const TOOL: &str = "packer";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The largest attestation that is read, in bytes.
const LIMIT: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions_are_spelled_as_package_urls_want_it() {
        assert_eq!(purl("pypi", "a-b", "1!2+cpu"), "pkg:pypi/a-b@1%212%2Bcpu");
        assert_eq!(purl("generic", "my app", ""), "pkg:generic/my%20app");
    }

    #[test]
    fn the_least_attestation_is_small_and_the_same_every_time() {
        let facts = Facts {
            moment: "2024-01-01T00:00:00Z",
            platform: Platform::from_name("linux_amd64").unwrap(),
            launcher: "00".repeat(32),
            slots: vec![("app".to_owned(), "11".repeat(32))],
            of_components: Vec::new(),
            symbols: Symbols::Keep,
        };
        let attestation = || Inventory::of("app", "1").attestation(&facts).unwrap().0;
        assert_eq!(attestation(), attestation());
        assert!(attestation().len() < 1024, "{} bytes", attestation().len());
    }
}
