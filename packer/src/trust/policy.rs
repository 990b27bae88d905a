//! What the operator of a machine demands of packages: `policy.json`, read as FlavorPack reads it.
//!
//! The administrator's file and the user's are merged field by field, and the stricter value counts, so that neither
//! loosens what the other demands. What a package demands for itself (docs/format.md section 4.3) is added.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use pspf_core::json::{self, Value};
use pspf_core::metadata::Lifecycle;
use pspf_core::{Source, Verified};
use serde::Serialize;

use super::files::{Place, Whose};
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;

/// The policy's file in its directory.
pub const FILE: &str = "policy.json";
/// The version of that file that is read.
pub const VERSION: u64 = 1;

/// What becomes of a package. The stricter one is the greater one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It runs.
    Run,
    /// It runs, and a line says what is odd.
    Warn,
    /// It does not run.
    Refuse,
}

/// What is demanded, by one file or by all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// Only keys that somebody named are accepted; when the administrator demands it, only those that he named.
    pub require_trusted_key: Required,
    /// Demands what FlavorPack has planned and this program does not have, so that it is never fulfilled.
    pub use_os_keychain: bool,
    /// What becomes of a package whose key nobody knows yet; it runs when no file says otherwise.
    pub unknown_key: Option<Action>,
    /// What becomes of a package with another key than its application had; it is refused when no file says otherwise.
    pub changed_key: Option<Action>,
    /// What becomes of an older release than one that ran; it is refused when no file says otherwise.
    pub downgrade: Option<Action>,
    /// Nothing runs as root.
    pub refuse_root: bool,
    /// Packages older than this, in days, are refused.
    pub max_age_days: Option<u64>,
    /// Where packages may run; `None` for anywhere.
    pub allow_platforms: Option<Vec<String>>,
    /// Variables that have to be set, and not to nothing. Packages alone ask for them.
    pub require_env: Vec<String>,
    /// Packages need an attestation slot.
    pub require_sbom: bool,
    /// What becomes of a package that breaks a rule, for each of [`CHECKS`].
    pub enforcement: BTreeMap<&'static str, Action>,
}

/// Whether keys have to be trusted, and by whom.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Required {
    /// No.
    #[default]
    No,
    /// The user or the administrator has named them.
    User,
    /// The administrator has named them.
    System,
}

/// The names of the rules in `enforcement`.
pub const CHECKS: [&str; 7] = [
    "platform_mismatch",
    "root_execution",
    "expired_package",
    "missing_env",
    "missing_sbom",
    "untrusted_key",
    "os_keychain",
];

const SECTIONS: [&str; 5] = ["version", "trust", "execution", "attestation", "enforcement"];

/// A rule that a package breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Its name, one of [`CHECKS`].
    pub rule: &'static str,
    /// What becomes of the package.
    pub action: Action,
    /// What is demanded, and what is.
    pub reason: String,
}

/// What `packer policy init` writes: every field that has a default, at its default.
pub const SCAFFOLD: &str = r#"{
  "version": 1,
  "trust": {
    "require_trusted_key": false,
    "unknown_key": "run",
    "changed_key": "refuse",
    "downgrade": "refuse"
  },
  "execution": {
    "refuse_root": false,
    "max_age_days": null,
    "allow_platforms": []
  },
  "attestation": {
    "require_sbom": false
  },
  "enforcement": {
    "default": "deny"
  }
}
"#;

impl Policy {
    /// Reads the policy of a place; `None` when there is none. An unknown field is refused: a rule that is not understood
    /// cannot be kept.
    pub fn read(place: &Place) -> Result<Option<Self>> {
        let Some(text) = place.read(FILE)? else { return Ok(None) };
        let refused = |mistake: Mistake| {
            let new = Error::new(Kind::Configuration, mistake.what).file(place.file(FILE)).field(mistake.field);
            new.expected(mistake.expected).found(mistake.found).hint(mistake.hint)
        };
        let value = json::parse(text.as_bytes()).map_err(|error| {
            Error::new(Kind::Configuration, "the policy is not JSON")
                .file(place.file(FILE))
                .found(error.to_string())
                .hint("packer policy init writes one to begin with")
        })?;
        Self::parse(&value, place.whose()).map(Some).map_err(refused)
    }

    fn parse(value: &Value<'_>, whose: Whose) -> Result<Self, Mistake> {
        let root = Section::new("", Some(value), &SECTIONS)?;
        match root.get("version").and_then(Value::as_u64) {
            Some(VERSION) => {}
            _ => return Err(root.mistake("version", VERSION.to_string())),
        }
        let trust = root
            .section("trust", &["require_trusted_key", "use_os_keychain", "unknown_key", "changed_key", "downgrade"])?;
        let execution = root.section("execution", &["refuse_root", "max_age_days", "allow_platforms"])?;
        let attestation = root.section("attestation", &["require_sbom"])?;
        let mut checks = vec!["default"];
        checks.extend(CHECKS);
        let enforcement = root.section("enforcement", &checks)?;
        let default = enforcement.word("default", MODES)?.unwrap_or(Action::Refuse);
        let mut modes = BTreeMap::new();
        for check in CHECKS {
            modes.insert(check, enforcement.word(check, MODES)?.unwrap_or(default));
        }
        let platforms = execution.strings("allow_platforms")?;
        if let Some(unknown) = platforms.iter().find(|name| Platform::from_name(name).is_none()) {
            let mut mistake = execution.mistake("allow_platforms", format!("of {}", Platform::NAMES.join(", ")));
            mistake.found = format!("{unknown:?}");
            if let Some(near) = nearest(unknown, &Platform::NAMES) {
                mistake.hint = format!("did you mean {near:?}?");
            }
            return Err(mistake);
        }
        let required = match whose {
            Whose::System => Required::System,
            Whose::User => Required::User,
        };
        Ok(Self {
            require_trusted_key: if trust.boolean("require_trusted_key")? { required } else { Required::No },
            use_os_keychain: trust.boolean("use_os_keychain")?,
            unknown_key: trust.word("unknown_key", ACTIONS)?,
            changed_key: trust.word("changed_key", ACTIONS)?,
            downgrade: trust.word("downgrade", ACTIONS)?,
            refuse_root: execution.boolean("refuse_root")?,
            max_age_days: execution.number("max_age_days")?,
            allow_platforms: Some(platforms).filter(|platforms| !platforms.is_empty()),
            require_env: Vec::new(),
            require_sbom: attestation.boolean("require_sbom")?,
            enforcement: modes,
        })
    }

    /// The stricter of both, field by field.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let mut enforcement = self.enforcement;
        for (check, action) in other.enforcement {
            let stricter = enforcement.get(check).map_or(action, |own| action.max(*own));
            enforcement.insert(check, stricter);
        }
        Self {
            require_trusted_key: self.require_trusted_key.max(other.require_trusted_key),
            use_os_keychain: self.use_os_keychain || other.use_os_keychain,
            unknown_key: self.unknown_key.max(other.unknown_key),
            changed_key: self.changed_key.max(other.changed_key),
            downgrade: self.downgrade.max(other.downgrade),
            refuse_root: self.refuse_root || other.refuse_root,
            max_age_days: match (self.max_age_days, other.max_age_days) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
            allow_platforms: match (self.allow_platforms, other.allow_platforms) {
                (Some(a), Some(b)) => Some(in_common(&a, &b)),
                (a, b) => a.or(b),
            },
            require_env: self.require_env.into_iter().chain(other.require_env).collect(),
            require_sbom: self.require_sbom || other.require_sbom,
            enforcement,
        }
    }

    /// What becomes of a package that breaks this rule.
    pub fn action(&self, rule: &str) -> Action {
        self.enforcement.get(rule).copied().unwrap_or(Action::Refuse)
    }

    /// The rules that a package breaks on this machine, now, but for those about its key; what it demands itself is added.
    pub fn check<S: Source>(&self, package: &Verified<'_, S>) -> Result<Vec<Violation>> {
        let policy = self.clone().and(demanded_by(package)?);
        let mut broken = Vec::new();
        let mut breaks = |rule, reason: String| broken.push(Violation { rule, action: policy.action(rule), reason });
        let host = format!("{}_{}", host_os(), host_arch());
        if let Some(allowed) = &policy.allow_platforms {
            let fits = |name: &String| {
                Platform::from_name(name).zip(Platform::from_name(&host)).is_some_and(|(name, host)| name.fits(host))
            };
            if !allowed.iter().any(fits) {
                breaks("platform_mismatch", format!("it may run on {}, and this is {host}", listed(allowed)));
            }
        }
        if policy.use_os_keychain {
            breaks("os_keychain", "the system's keychain is asked for, which this program cannot ask".to_owned());
        }
        if policy.refuse_root && rustix::process::geteuid().is_root() {
            breaks("root_execution", "it may not run as root".to_owned());
        }
        if let Some(most) = policy.max_age_days {
            // Without claims nobody answers for the time in the index.
            let built = package.claims().map_or(0, |_| package.package().index().build_timestamp());
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
            let days = now.saturating_sub(built) / 86_400;
            if built == 0 {
                breaks("expired_package", format!("it may be {most} days old, and it does not say when it was built"));
            } else if days > most {
                breaks("expired_package", format!("it may be {most} days old, and it is {days} days old"));
            }
        }
        for name in &policy.require_env {
            if std::env::var_os(name).is_none_or(|value| value.is_empty()) {
                breaks("missing_env", format!("it needs the variable {name:?}, and that is not set"));
            }
        }
        let has_sbom = package.metadata().slots.iter().any(|slot| slot.lifecycle == Lifecycle::Attestation);
        if policy.require_sbom && !has_sbom {
            breaks("missing_sbom", "it needs an attestation slot, and it has none".to_owned());
        }
        Ok(broken)
    }
}

/// The words of `enforcement`, as FlavorPack has them.
const MODES: [(&str, Action); 3] = [("allow", Action::Run), ("warn", Action::Warn), ("deny", Action::Refuse)];
const ACTIONS: [(&str, Action); 3] = [("run", Action::Run), ("warn", Action::Warn), ("refuse", Action::Refuse)];

/// What is wrong with a field of the policy.
struct Mistake {
    what: &'static str,
    field: String,
    expected: String,
    found: String,
    hint: String,
}

/// An object of the policy with nothing in it that is not known.
struct Section<'a> {
    name: &'static str,
    value: Option<&'a Value<'a>>,
}

impl<'a> Section<'a> {
    fn new(name: &'static str, value: Option<&'a Value<'a>>, known: &[&str]) -> Result<Self, Mistake> {
        let section = Self { name, value: value.filter(|value| **value != Value::Null) };
        let members = match section.value {
            None => return Ok(section),
            Some(Value::Object(members)) => members,
            Some(other) => {
                return Err(Mistake {
                    what: "the policy has another shape",
                    field: name.to_owned(),
                    expected: "an object".to_owned(),
                    found: other.to_text(),
                    hint: "packer policy init writes one to begin with".to_owned(),
                });
            }
        };
        match members.iter().find(|(key, _)| !known.contains(&key.as_ref())) {
            None => Ok(section),
            Some((key, _)) => Err(Mistake {
                what: "the policy has a field that is not known, so it cannot be kept",
                field: section.field(key),
                expected: format!("one of {}", known.join(", ")),
                found: format!("{key:?}"),
                hint: match nearest(key, known) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => "take it out".to_owned(),
                },
            }),
        }
    }

    fn section(&self, name: &'static str, known: &[&str]) -> Result<Section<'a>, Mistake> {
        Section::new(name, self.get(name), known)
    }

    fn get(&self, key: &str) -> Option<&'a Value<'a>> {
        self.value.and_then(|value| value.get(key)).filter(|value| **value != Value::Null)
    }

    fn boolean(&self, key: &str) -> Result<bool, Mistake> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => Err(self.mistake(key, "true or false")),
        }
    }

    fn number(&self, key: &str) -> Result<Option<u64>, Mistake> {
        let value = self.get(key);
        let number = value.and_then(Value::as_u64);
        if value.is_some() && number.is_none() { Err(self.mistake(key, "a whole number")) } else { Ok(number) }
    }

    fn strings(&self, key: &str) -> Result<Vec<String>, Mistake> {
        let mistake = || self.mistake(key, "a list of texts");
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(mistake)).collect()
            }
            Some(_) => Err(mistake()),
        }
    }

    fn word(&self, key: &str, words: [(&str, Action); 3]) -> Result<Option<Action>, Mistake> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let known = words.iter().find(|(word, _)| value.as_str() == Some(word));
        let expected = words.map(|(word, _)| format!("{word:?}")).join(", ");
        known.map(|(_, action)| Some(*action)).ok_or_else(|| self.mistake(key, expected))
    }

    fn mistake(&self, key: &str, expected: impl Into<String>) -> Mistake {
        Mistake {
            what: "the policy does not make sense",
            field: self.field(key),
            expected: expected.into(),
            found: self.get(key).map_or("nothing".to_owned(), Value::to_text),
            hint: "packer policy init writes one to begin with".to_owned(),
        }
    }

    fn field(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}

/// The `policy` of a package's own document.
fn demanded_by<S: Source>(package: &Verified<'_, S>) -> Result<Policy> {
    let strange = |found: String| {
        Error::new(Kind::Format, "the package has a policy that makes no sense, so it cannot be kept")
            .field("policy")
            .found(found)
            .hint("ask who made the package")
    };
    let document = json::parse(package.json()).map_err(|error| strange(error.to_string()))?;
    // Fields that are not known are another reader's.
    let section = Section { name: "policy", value: document.get("policy").filter(|value| **value != Value::Null) };
    let read = || {
        Ok::<_, Mistake>(Policy {
            refuse_root: section.boolean("refuse_root")?,
            max_age_days: section.number("max_age_days")?,
            allow_platforms: Some(section.strings("platforms")?).filter(|platforms| !platforms.is_empty()),
            require_env: section.strings("require_env")?,
            ..Policy::default()
        })
    };
    read().map_err(|mistake| strange(format!("{}: {}", mistake.field, mistake.found)))
}

/// What is in both lists of platforms, each as narrow as the narrower of them has it.
fn in_common(one: &[String], other: &[String]) -> Vec<String> {
    let pairs = one.iter().flat_map(|a| other.iter().map(move |b| (a, b)));
    let narrower = pairs.filter_map(|(a, b)| {
        let (first, second) = (Platform::from_name(a)?, Platform::from_name(b)?);
        first.fits(second).then(|| if first.arch.is_some() { a.clone() } else { b.clone() })
    });
    narrower.collect::<BTreeSet<_>>().into_iter().collect()
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "no platform at all".to_owned() } else { names.join(", ") }
}

fn host_os() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    }
}

fn host_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let likeness = |candidate: &&'a str| (strsim::jaro_winkler(word, candidate), *candidate);
    let likely = known.iter().map(likeness).filter(|(likeness, _)| *likeness > 0.75);
    likely.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str, whose: Whose) -> Policy {
        let value = json::parse(text.as_bytes()).unwrap();
        Policy::parse(&value, whose).unwrap_or_else(|mistake| panic!("{}: {}", mistake.field, mistake.found))
    }

    fn refusal(text: &str) -> String {
        let value = json::parse(text.as_bytes()).unwrap();
        let mistake = Policy::parse(&value, Whose::User).err().unwrap();
        format!("{} expected {} found {} {}", mistake.field, mistake.expected, mistake.found, mistake.hint)
    }

    #[test]
    fn of_two_policies_the_stricter_counts_in_every_field_in_either_order() {
        let system = r#"{"version": 1, "trust": {"require_trusted_key": true, "downgrade": "refuse"},
            "execution": {"max_age_days": 30, "allow_platforms": ["linux", "darwin_arm64"]},
            "enforcement": {"default": "warn", "untrusted_key": "deny"}}"#;
        let user = r#"{"version": 1, "trust": {"require_trusted_key": true, "downgrade": "run", "changed_key": "warn"},
            "execution": {"refuse_root": true, "max_age_days": 90, "allow_platforms": ["linux_amd64", "windows"]},
            "attestation": {"require_sbom": true}, "enforcement": {"default": "allow", "missing_sbom": "deny"}}"#;
        let (system, user) = (policy(system, Whose::System), policy(user, Whose::User));
        let both = system.clone().and(user.clone());
        assert_eq!(both, user.and(system));
        assert_eq!(both.require_trusted_key, Required::System);
        assert_eq!((both.downgrade, both.changed_key), (Some(Action::Refuse), Some(Action::Warn)));
        assert_eq!((both.refuse_root, both.max_age_days, both.require_sbom), (true, Some(30), true));
        assert_eq!(both.allow_platforms, Some(vec!["linux_amd64".to_owned()]));
        let modes = ["untrusted_key", "missing_sbom", "root_execution"].map(|check| both.action(check));
        assert_eq!(modes, [Action::Refuse, Action::Refuse, Action::Warn]);
    }

    #[test]
    fn platforms_without_anything_in_common_leave_none() {
        let one = policy(r#"{"version": 1, "execution": {"allow_platforms": ["linux"]}}"#, Whose::System);
        let other = policy(r#"{"version": 1, "execution": {"allow_platforms": ["darwin"]}}"#, Whose::User);
        assert_eq!(one.and(other).allow_platforms, Some(Vec::new()));
    }

    #[test]
    fn unknown_fields_words_and_versions_are_refused_with_the_nearest_name() {
        assert!(
            refusal(r#"{"version": 1, "trust": {"require_trusted_keys": true}}"#).contains("require_trusted_key\"?")
        );
        assert!(refusal(r#"{"version": 1, "excution": {}}"#).contains("did you mean \"execution\"?"));
        assert!(refusal(r#"{"version": 2}"#).contains("version expected 1 found 2"));
        assert!(refusal("{}").contains("version expected 1 found nothing"));
        assert!(refusal(r#"{"version": 1, "enforcement": {"default": "of"}}"#).contains("\"deny\""));
        assert!(refusal(r#"{"version": 1, "trust": {"downgrade": "deny"}}"#).contains("\"refuse\""));
        assert!(
            refusal(r#"{"version": 1, "execution": {"allow_platforms": ["linux_amd46"]}}"#).contains("linux_amd64")
        );
        assert!(refusal(r#"{"version": 1, "execution": {"max_age_days": -1}}"#).contains("a whole number"));
    }

    #[test]
    fn what_init_writes_demands_nothing_that_is_not_the_default() {
        let scaffold = policy(SCAFFOLD, Whose::User);
        let defaults = (Some(Action::Run), Some(Action::Refuse), Some(Action::Refuse));
        assert_eq!((scaffold.unknown_key, scaffold.changed_key, scaffold.downgrade), defaults);
        let plain = Policy { unknown_key: None, changed_key: None, downgrade: None, ..scaffold };
        assert_eq!(plain, policy(r#"{"version": 1}"#, Whose::User));
    }
}
