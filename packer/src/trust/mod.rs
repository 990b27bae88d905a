//! Whose packages may run: the keys that are known for each application, and what the operator demands.
//!
//! ```text
//! files (who may have written them) ─┬─> store (keys) ───┐
//!                                    └─> policy (rules) ─┴─> Trust::decide ──> Decision ──> Trust::record
//! ```
//!
//! A package that starts itself can only be as honest as the launcher in front of it. These decisions are made by a program
//! that was there before the package came (docs/trust.md).

pub mod files;
pub mod policy;
pub mod store;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use launcher::lineage;
use pspf_core::claims::Succession;
use pspf_core::metadata::Metadata;
use pspf_core::sign::{KeyId, KeyOrigin};
use serde::{Deserialize, Serialize};

use self::files::{Place, Whose};
use self::policy::{Action, Policy, Required};
use self::store::{KnownKey, Learnt, Store};
use crate::error::{Error, Kind, Result};
use crate::places;

/// The file with a line of JSON for everything that was learnt and decided.
pub const LOG: &str = "trust.log";

/// Who is trusted on this machine, by its administrator and by its user.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The system's place and what it says.
    pub system: Sayings,
    /// The user's; `None` where there is no home directory.
    pub user: Option<Sayings>,
}

/// What the files of one place say.
#[derive(Debug, Clone)]
pub struct Sayings {
    /// Where they are.
    pub place: Place,
    /// The keys.
    pub store: Store,
    /// The rules, when there are some.
    pub policy: Option<Policy>,
}

/// What a decision is about: whose package this says it is. Only what a verified signature answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The file, for what people are told to type.
    pub file: PathBuf,
    /// The application; `None` when the package names none.
    pub app_id: Option<String>,
    /// Its release; 0 when it has no counter.
    pub release: u64,
    /// The key that signed.
    pub public_key: [u8; 32],
    /// How that key came to be; `None` in packages of other builders.
    pub key_origin: Option<KeyOrigin>,
    /// The keys before it.
    pub lineage: Vec<Succession>,
}

/// What becomes of a package, and why. The JSON of this is a stable interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// What was found.
    pub decision: Standing,
    /// What becomes of it.
    pub action: Action,
    /// That in a sentence.
    pub reason: String,
    /// The keys that are known for the application: their ids.
    pub known_keys: Vec<String>,
    /// How the key that signed is known, when it is: pinned, tofu, admin or lineage.
    pub learnt: Option<Learnt>,
    /// What to type to accept it from now on, when it is not accepted.
    pub accept: Option<String>,
}

/// Where a key stands with an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// The key is known for the application.
    Known,
    /// No key is known for it yet, and this one can be.
    FirstUse,
    /// A known key vouches for this one.
    Successor,
    /// Nothing is known, and nothing can be learnt: the package names no application, or its key is nobody's in particular.
    NotFollowed,
    /// Other keys are known for the application.
    ChangedKey,
    /// Another key has taken the place of this one.
    SupersededKey,
    /// The key is known, and the release is older than one that ran.
    Downgrade,
    /// The key has been revoked.
    RevokedKey,
    /// Nobody has named the key, and the policy demands it.
    UntrustedKey,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Seconds since 1970.
    pub time: u64,
    /// What happened: pinned, admin, tofu, lineage, removed, revoked, refuse or warn.
    pub event: String,
    /// The application.
    pub app_id: Option<String>,
    /// The key.
    pub key_id: String,
    /// The release, where it is about one.
    pub release: Option<u64>,
    /// The package, where it is about one.
    pub file: Option<PathBuf>,
    /// Why.
    pub reason: Option<String>,
}

impl Trust {
    /// Reads the system's place and the user's.
    pub fn of_this_machine() -> Result<Self> {
        let system = Sayings::read(Place::new(places::system_config(), Whose::System))?;
        let user = places::config().map(|directory| Sayings::read(Place::new(directory, Whose::User))).transpose()?;
        Ok(Self { system, user })
    }

    /// The stricter of both policies, field by field.
    pub fn policy(&self) -> Policy {
        let policies = self.all().filter_map(|sayings| sayings.policy.clone());
        policies.reduce(Policy::and).unwrap_or_default()
    }

    /// What becomes of a package that was verified. Nothing is written.
    pub fn decide(&self, subject: &Subject) -> Decision {
        let policy = self.policy();
        let found = self.standing(subject, &policy);
        if policy.require_trusted_key == Required::No || found.action == Action::Refuse {
            return found;
        }
        if self.is_named(subject, policy.require_trusted_key) {
            return found;
        }
        let action = policy.action("untrusted_key");
        if action <= found.action {
            return found;
        }
        let by = match policy.require_trusted_key {
            Required::System => "the administrator of this machine",
            _ => "you",
        };
        let system = if policy.require_trusted_key == Required::System { " --system" } else { "" };
        Decision {
            decision: Standing::UntrustedKey,
            action,
            reason: format!("the policy demands a key that {by} named, and nobody named {}", subject.key_id()),
            accept: Some(subject.accept() + system),
            ..found
        }
    }

    /// Writes down what was learnt from a package that is about to run, and what was decided about it. A home directory that
    /// cannot be written is no obstacle: nothing is learnt then.
    pub fn record(&self, subject: &Subject, decision: &Decision) {
        let Some(user) = &self.user else { return };
        let app_id = subject.app_id.as_deref().filter(|_| decision.action != Action::Refuse);
        let learnt = match (decision.decision, app_id) {
            (Standing::FirstUse, Some(app_id)) => Some((app_id, Learnt::Tofu)),
            (Standing::Successor, Some(app_id)) => Some((app_id, Learnt::Lineage)),
            (Standing::Known, Some(app_id)) => {
                let _ = raise(user, subject, app_id, decision.learnt);
                None
            }
            _ => None,
        };
        let is_learnt = learnt.filter(|(app_id, how)| self.learn(user, subject, app_id, *how).unwrap_or(false));
        let event = match (is_learnt, decision.action) {
            (Some((_, how)), _) => how.name(),
            (None, Action::Refuse) => "refuse",
            (None, Action::Warn) => "warn",
            (None, Action::Run) => return,
        };
        // What cannot be learnt is not told either: whoever made the home read-only knows.
        let _ = log(user, &Event::about(subject, event, Some(decision.reason.clone())));
    }

    fn all(&self) -> impl Iterator<Item = &Sayings> {
        std::iter::once(&self.system).chain(&self.user)
    }

    /// The entries that make a key known for an application, without the user's notes about the administrator's keys.
    fn known<'a>(&'a self, app_id: Option<&'a str>) -> impl Iterator<Item = &'a KnownKey> {
        let of = |sayings: &'a Sayings| {
            let whose = sayings.place.whose();
            sayings.store.keys.iter().filter(move |key| whose == Whose::System || key.learnt != Learnt::Admin)
        };
        self.all().flat_map(of).filter(move |key| key.app_id.is_none() || key.app_id.as_deref() == app_id)
    }

    fn is_revoked(&self, key: &str) -> bool {
        self.all().any(|sayings| sayings.store.revoked.iter().any(|revoked| revoked.key_id == key))
    }

    /// The highest release that ran with this key, in whoever's store.
    fn highest(&self, app_id: &str, key: &str) -> u64 {
        let entries = self.all().flat_map(|sayings| &sayings.store.keys);
        let same = entries.filter(|entry| entry.app_id.as_deref() == Some(app_id) && entry.key_id == key);
        same.map(|entry| entry.release).max().unwrap_or(0)
    }

    fn standing(&self, subject: &Subject, policy: &Policy) -> Decision {
        let key = subject.key_id().to_string();
        let app_id = subject.app_id.as_deref();
        let app = app_id.map_or("this application".to_owned(), plain);
        let known: Vec<&KnownKey> = self.known(app_id).collect();
        let mut known_keys: Vec<String> =
            known.iter().filter(|entry| entry.app_id.is_some()).map(|entry| entry.key_id.clone()).collect();
        known_keys.dedup();
        let own: Vec<&&KnownKey> = known.iter().filter(|entry| entry.key_id == key).collect();
        let learnt = own.iter().map(|entry| entry.learnt).max_by_key(|learnt| rank(*learnt));
        let decision = |decision, action: Action, reason: String| Decision {
            decision,
            action,
            reason,
            known_keys: known_keys.clone(),
            learnt,
            accept: (action > Action::Run).then(|| subject.accept()),
        };

        if self.is_revoked(&key) {
            let mut revoked = decision(Standing::RevokedKey, Action::Refuse, format!("key {key} has been revoked"));
            revoked.accept = Some(format!("packer trust remove {key}"));
            return revoked;
        }
        if !own.is_empty() {
            if let Some(newer) = own.iter().map(|entry| entry.superseded_by.as_ref()).collect::<Option<Vec<_>>>() {
                let newer = newer.first().map_or(String::new(), |newer| newer.to_string());
                let reason = format!("key {newer} has taken the place of key {key} for {app}");
                return decision(Standing::SupersededKey, policy.changed_key.unwrap_or(Action::Refuse), reason);
            }
            let highest = app_id.map_or(0, |app_id| self.highest(app_id, &key));
            if subject.release < highest {
                let reason = format!("release {highest} of {app} ran here, and this is release {}", subject.release);
                return decision(Standing::Downgrade, policy.downgrade.unwrap_or(Action::Refuse), reason);
            }
            let how = learnt.map_or("known", Learnt::name);
            return decision(Standing::Known, Action::Run, format!("key {key} is known for {app} ({how})"));
        }
        if !known_keys.is_empty() {
            if let Some(from) = self.chain(subject, &|_| true).and_then(|chain| chain.first().copied()) {
                let reason = format!("key {from}, which is known for {app}, vouches for key {key}");
                return decision(Standing::Successor, Action::Run, reason);
            }
            let reason = format!("{app} is known with key {}, and this is key {key}", known_keys.join(", "));
            return decision(Standing::ChangedKey, policy.changed_key.unwrap_or(Action::Refuse), reason);
        }
        let unknown = policy.unknown_key.unwrap_or(Action::Run);
        let why = match (subject.key_origin, app_id) {
            (Some(KeyOrigin::Given), Some(_)) => {
                return decision(
                    Standing::FirstUse,
                    unknown,
                    format!("no key is known for {app} yet; this is key {key}"),
                );
            }
            (Some(KeyOrigin::Seed), _) => "its key is from a seed that anybody may know",
            (Some(KeyOrigin::Auto), _) => "packer made its key by itself",
            (Some(KeyOrigin::Given), None) => "it names no application (app_id)",
            (None, _) => "another builder made it, without claims that name an application",
        };
        decision(Standing::NotFollowed, unknown, format!("nothing is known of key {key}, and nothing is learnt: {why}"))
    }

    /// The chain of keys from a known one that `counts` to the one that signed, none of them revoked.
    fn chain(&self, subject: &Subject, counts: &dyn Fn(&KnownKey) -> bool) -> Option<Vec<KeyId>> {
        let app_id = subject.app_id.as_deref()?;
        let entries = |key: KeyId| {
            let key = key.to_string();
            self.known(Some(app_id)).filter(move |entry| entry.key_id == key && counts(entry))
        };
        let is_known = |key| entries(key).next().is_some();
        let chain = lineage::chain(&subject.lineage, app_id, &subject.public_key, &is_known)?;
        let ids: Vec<String> = chain.iter().map(KeyId::to_string).collect();
        // A key that was replaced vouches for the one that replaced it and for nobody else: it may have leaked.
        let current = |entry: &KnownKey| entry.superseded_by.as_ref().is_none_or(|newer| ids[1..].contains(newer));
        let holds = entries(*chain.first()?).any(current) && !ids.iter().any(|id| self.is_revoked(id));
        holds.then_some(chain)
    }

    /// True when somebody whose word counts has named the key, or one that vouches for it.
    fn is_named(&self, subject: &Subject, required: Required) -> bool {
        let counts = |entry: &KnownKey| match required {
            Required::No => true,
            Required::User => matches!(entry.learnt, Learnt::Pinned | Learnt::Admin),
            Required::System => entry.learnt == Learnt::Admin,
        };
        let key = subject.key_id().to_string();
        let named = self
            .known(subject.app_id.as_deref())
            .any(|entry| entry.key_id == key && entry.superseded_by.is_none() && counts(entry));
        // The chain counts anew each time: what a named key vouched for ends with that key.
        named || self.chain(subject, &counts).is_some()
    }

    /// True when it was learnt, false when somebody else was first.
    fn learn(&self, user: &Sayings, subject: &Subject, app_id: &str, learnt: Learnt) -> Result<bool> {
        let before = self.chain(subject, &|_| true).unwrap_or_default();
        let newest = subject.key_id();
        let mut is_learnt = false;
        Store::update(&user.place, |store| {
            let is_key = |key: &KnownKey| key.app_id.as_deref() == Some(app_id) && key.learnt != Learnt::Admin;
            let is_newest = |key: &KnownKey| key.key_id == newest.to_string();
            // With another key than the first one's, this one is a stranger next time.
            let late = store.keys.iter().any(|key| is_key(key) && (learnt == Learnt::Tofu || is_newest(key)));
            if late {
                return Ok(false);
            }
            for old in before.iter().filter(|old| **old != newest) {
                if let Some(entry) = store.entry(Some(app_id), *old) {
                    entry.superseded_by = Some(newest.to_string());
                }
            }
            let new = KnownKey::new(Some(app_id.to_owned()), newest, learnt, subject.release);
            match store.entry(Some(app_id), newest) {
                Some(note) => *note = new,
                None => store.keys.push(new),
            }
            is_learnt = true;
            Ok(true)
        })?;
        Ok(is_learnt)
    }
}

impl Sayings {
    fn read(place: Place) -> Result<Self> {
        Ok(Self { store: Store::read(&place)?, policy: Policy::read(&place)?, place })
    }
}

impl Subject {
    /// What the signed document of a package says, and the key that signed it.
    pub fn new(file: &Path, metadata: &Metadata, public_key: [u8; 32]) -> Self {
        let claims = metadata.claims.v1();
        Self {
            file: file.to_path_buf(),
            app_id: claims.and_then(|claims| claims.app_id.clone()),
            release: claims.map_or(0, |claims| claims.release),
            public_key,
            key_origin: claims.map(|claims| claims.key_origin),
            lineage: claims.map(|claims| claims.lineage.clone()).unwrap_or_default(),
        }
    }

    /// The id of the key that signed.
    pub fn key_id(&self) -> KeyId {
        KeyId::of(&self.public_key)
    }

    /// The command that accepts this key, and this release, from now on.
    pub fn accept(&self) -> String {
        let release = if self.release == 0 { String::new() } else { format!(" --release {}", self.release) };
        match &self.app_id {
            Some(app_id) if is_plain(app_id) => {
                format!("packer trust add {} --app-id {app_id}{release}", self.key_id())
            }
            // Names that a shell, or a reader, could take for something else come from the file.
            Some(_) => format!("packer trust add {}{release}", shown(&self.file)),
            None => format!("packer trust add {} --any-app", self.key_id()),
        }
    }
}

impl Decision {
    /// The error for a package that is refused; `None` when it is not.
    pub fn refusal(&self, file: &Path) -> Option<Error> {
        if self.action != Action::Refuse {
            return None;
        }
        let what = match self.decision {
            Standing::Known | Standing::Successor => "this key is not accepted",
            Standing::FirstUse | Standing::NotFollowed => "nobody here knows the key of this package",
            Standing::ChangedKey => "another key signed this package than its application is known with",
            Standing::SupersededKey => "this package is signed with a key that was replaced",
            Standing::Downgrade => "this is an older release than one that ran here",
            Standing::RevokedKey => "the key of this package has been revoked",
            Standing::UntrustedKey => "the policy asks for a key that somebody named",
        };
        let new = Error::new(Kind::Integrity, what).file(file).found(self.reason.clone());
        Some(match &self.accept {
            Some(accept) => new.hint(format!("ask its maker; if he says that it is right: {accept}")),
            None => new.hint("ask its maker"),
        })
    }
}

impl KnownKey {
    /// An entry that begins now.
    pub fn new(app_id: Option<String>, key: KeyId, learnt: Learnt, release: u64) -> Self {
        let key_id = key.to_string();
        Self { app_id, key_id, label: None, learnt, release, since: now(), superseded_by: None }
    }
}

impl Event {
    /// Something that happened to a key, now.
    pub fn new(event: &str, app_id: Option<String>, key_id: String) -> Self {
        let event = event.to_owned();
        Self { time: now(), event, app_id, key_id, release: None, file: None, reason: None }
    }

    fn about(subject: &Subject, event: &str, reason: Option<String>) -> Self {
        let file = Some(std::path::absolute(&subject.file).unwrap_or_else(|_| subject.file.clone()));
        let new = Self::new(event, subject.app_id.clone(), subject.key_id().to_string());
        Self { release: Some(subject.release), file, reason, ..new }
    }
}

/// Adds a line to the log of a place.
pub fn log(sayings: &Sayings, event: &Event) -> Result<()> {
    let text = serde_json::to_string(event)
        .map_err(|error| Error::new(Kind::Io, "the event cannot be written as JSON").found(error.to_string()))?;
    let _lock = sayings.place.lock()?;
    sayings.place.append(LOG, &text)
}

/// The lines of a place's log, oldest first. Lines that are none, such as the last one after a power cut, are left out.
pub fn events(sayings: &Sayings) -> Result<Vec<Event>> {
    let text = sayings.place.read(LOG)?.unwrap_or_default();
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Reads 32 lower-case hexadecimal digits.
pub fn key_id(text: &str) -> Option<KeyId> {
    let mut id = KeyId([0; 16]);
    let digits = text.as_bytes();
    if digits.len() != 32 || !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (byte, pair) in id.0.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(id)
}

/// A name from a package, for people: as it is when nothing in it could be taken for anything else, else quoted.
pub fn plain(name: &str) -> String {
    if is_plain(name) { name.to_owned() } else { format!("{name:?}") }
}

fn is_plain(name: &str) -> bool {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "._/:@+-".contains(c);
    (1..=200).contains(&name.len()) && !name.starts_with('-') && name.chars().all(harmless)
}

/// A path that can be typed.
fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    if is_plain(&text) { text } else { format!("'{}'", text.replace('\'', r"'\''").replace(char::is_control, "?")) }
}

/// Notes a higher release with a key that is known.
fn raise(user: &Sayings, subject: &Subject, app_id: &str, learnt: Option<Learnt>) -> Result<()> {
    let noted = user.store.keys.iter().any(|key| {
        key.app_id.as_deref() == Some(app_id)
            && key.key_id == subject.key_id().to_string()
            && key.release >= subject.release
    });
    if subject.release == 0 || noted {
        return Ok(());
    }
    Store::update(&user.place, |store| {
        match store.entry(Some(app_id), subject.key_id()) {
            Some(entry) if entry.release >= subject.release => return Ok(false),
            Some(entry) => entry.release = subject.release,
            // The key is the administrator's, or good for any application: what ran is the user's to know, and an entry
            // like this one does not make the key known.
            None if learnt.is_some() => {
                store.keys.push(KnownKey::new(
                    Some(app_id.to_owned()),
                    subject.key_id(),
                    Learnt::Admin,
                    subject.release,
                ));
            }
            None => return Ok(false),
        }
        Ok(true)
    })
}

/// Whose word weighs more.
fn rank(learnt: Learnt) -> u8 {
    match learnt {
        Learnt::Tofu => 0,
        Learnt::Lineage => 1,
        Learnt::Pinned => 2,
        Learnt::Admin => 3,
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}
