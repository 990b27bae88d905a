//! Whose key signed: what the administrator and the user know of it, and what the policy makes of that (docs/trust.md).
//!
//! A package that starts itself can only report; whoever made it made its launcher, too. So here a key that changed is no
//! reason to refuse unless a policy says so, and `packer run` is for those who want to be sure.

use alloc::string::String;
use alloc::vec::Vec;

use pspf_core::digest::hex;
use pspf_core::json::{self, Value};
use pspf_core::number::decimal;
use pspf_core::sign::{KeyId, KeyOrigin};
use pspf_core::text::concat;
use pspf_core::{Source, Verified};
use rustix::fd::AsFd;
use rustix::fs::{FlockOperation, OFlags};

use crate::cache::{Making, open_or_make};
use crate::environment::Environment;
use crate::error::{Error, Result, shown};
use crate::policy::{RUN, Rules, act};
use crate::sys::{self, Dir};
use crate::{lineage, place};

/// Refuses a package whose key the policy does not let pass. Where the application is followed, which needs an `app_id` and a key
/// that its maker gave, also notes key and release, and reports another key and an older release.
pub fn admit<S: Source>(verified: &Verified<'_, S>, rules: &Rules, env: &Environment, typed: &[u8]) -> Result<()> {
    let (untrusted, required) = rules.trusted_key();
    let demands = rules.of_keys();
    let is_demanded = required != 0 || demands.iter().any(|demand| *demand > RUN);
    if !is_demanded && !is_followed(verified) {
        return Ok(());
    }
    let paths = place::paths(env, FILE);
    let mut texts = Vec::new();
    for path in &paths {
        match place::read(path) {
            // Without a demand nothing hangs on it.
            Err(_) if !is_demanded => return Ok(()),
            text => texts.push(text?.unwrap_or_default()),
        }
    }
    let mut stores = Vec::new();
    for (i, (path, text)) in paths.iter().zip(&texts).enumerate() {
        match json::parse(text) {
            Ok(store) if store.get("version").and_then(Value::as_u64) == Some(1) => stores.push((i == 0, store)),
            _ if text.is_empty() => {}
            _ if !is_demanded => return Ok(()),
            _ => {
                return Err(Error::refused(
                    path,
                    "is not a trust store of this version",
                    "packer trust list says more",
                ));
            }
        }
    }
    let app_id = verified.claims().and_then(|claims| claims.app_id.as_deref());
    let known = Known { stores, key: hex(&verified.key_id().0), app_id };
    if required != 0 && !known.is_named(required, verified) {
        act(
            untrusted,
            typed,
            concat(&["nobody named key ", &known.key, ", and it asks for one that somebody named"]),
            true,
        )?;
    }
    follow(verified, &known, demands, env, typed)
}

fn is_followed<S: Source>(verified: &Verified<'_, S>) -> bool {
    verified.claims().is_some_and(|claims| claims.app_id.is_some() && claims.key_origin == KeyOrigin::Given)
}

/// What the stores say, and of what they are asked.
struct Known<'a> {
    /// Whether it is the administrator's, and the document.
    stores: Vec<(bool, Value<'a>)>,
    /// The id of the key that signed.
    key: String,
    /// The application.
    app_id: Option<&'a str>,
}

impl<'a> Known<'a> {
    /// The objects in one of the stores' lists, and whether each is the administrator's.
    fn list(&self, name: &str) -> Vec<(bool, &Value<'a>)> {
        let mut entries = Vec::new();
        for (is_system, store) in &self.stores {
            if let Some(Value::Array(list)) = store.get(name) {
                entries.extend(list.iter().map(|entry| (*is_system, entry)));
            }
        }
        entries
    }

    /// The entries that make a key known for the application, and whether each is the administrator's. His keys in the user's
    /// store are notes of what ran.
    fn entries(&self, key: &str) -> Vec<(bool, &Value<'a>)> {
        let mut entries = self.list("keys");
        entries.retain(|(is_system, entry)| {
            let is_for = text(entry, "app_id").is_none_or(|app_id| Some(app_id) == self.app_id);
            is_for && text(entry, "key_id") == Some(key) && (*is_system || text(entry, "learnt") != Some("admin"))
        });
        entries
    }

    fn is_revoked(&self, key: &str) -> bool {
        self.list("revoked").iter().any(|(_, revoked)| text(revoked, "key_id") == Some(key))
    }

    /// True when somebody whose word counts has named the key, or one that vouches for it, and nobody has revoked it.
    fn is_named<S: Source>(&self, required: u64, verified: &Verified<'_, S>) -> bool {
        let counts = |(is_system, entry): &(bool, &Value<'a>)| match text(entry, "learnt") {
            Some("admin") => *is_system,
            Some("pinned") => required < 2,
            _ => false,
        };
        let current = |entry: &(bool, &Value<'a>)| counts(entry) && text(entry.1, "superseded_by").is_none();
        let named = self.entries(&self.key).iter().any(current);
        let named = named || chain(verified, self, &counts).is_some();
        named && !self.is_revoked(&self.key)
    }
}

fn text<'v>(entry: &'v Value<'_>, field: &str) -> Option<&'v str> {
    entry.get(field).and_then(Value::as_str)
}

/// The chain of keys from a known one that `counts` to the one that signed, none of them revoked.
fn chain<'a, S: Source>(
    verified: &Verified<'_, S>,
    known: &Known<'a>,
    counts: &dyn Fn(&(bool, &Value<'a>)) -> bool,
) -> Option<Vec<String>> {
    let is_known = |key: KeyId| known.entries(&hex(&key.0)).iter().any(counts);
    let newest = verified.package().index().public_key();
    let chain = lineage::chain(&verified.claims()?.lineage, known.app_id?, &newest, &is_known)?;
    let ids: Vec<String> = chain.iter().map(|key| hex(&key.0)).collect();
    // A key that was replaced vouches for the one that replaced it and for nobody else: it may have leaked.
    let current = |entry: &(bool, &Value<'a>)| {
        let newer = text(entry.1, "superseded_by");
        counts(entry) && newer.is_none_or(|newer| ids[1..].iter().any(|id| id == newer))
    };
    let holds = known.entries(ids.first()?).iter().any(current) && !ids.iter().any(|id| known.is_revoked(id));
    holds.then_some(ids)
}

/// What is known of the package's key, in the order of docs/trust.md.
fn follow<S: Source>(
    verified: &Verified<'_, S>,
    known: &Known<'_>,
    [unknown, changed, downgrade]: [u64; 3],
    env: &Environment,
    typed: &[u8],
) -> Result<()> {
    let key = known.key.as_str();
    let app = pspf_core::error::quoted(known.app_id.unwrap_or("this application"));
    let release = verified.claims().map_or(0, |claims| claims.release);
    let is_ours = |entry: &Value<'_>| text(entry, "app_id").is_some() && text(entry, "app_id") == known.app_id;
    if known.is_revoked(key) {
        return tell(verified, changed, typed, concat(&["key ", key, " has been revoked"]));
    }
    let own = known.entries(key);
    if !own.is_empty() {
        if let Some(newer) = own.iter().map(|(_, entry)| text(entry, "superseded_by")).min().flatten() {
            let what = concat(&["key ", newer, " has taken the place of key ", key, " for ", &app]);
            return tell(verified, changed, typed, what);
        }
        let of_key = |(_, entry): &&(bool, &Value<'_>)| is_ours(entry) && text(entry, "key_id") == Some(key);
        let noted = known.list("keys");
        let noted = noted.iter().filter(of_key).filter_map(|(_, entry)| entry.get("release")?.as_u64()).max();
        let highest = noted.unwrap_or(0);
        if release < highest {
            let what = concat(&[
                "release ",
                &decimal(highest),
                " of ",
                &app,
                " with key ",
                key,
                " ran here, and this is release ",
                &decimal(release),
            ]);
            return tell(verified, downgrade, typed, what);
        }
        if release > highest && known.app_id.is_some() {
            note(verified, env, "admin", release, &[]);
        }
        return Ok(());
    }
    let list = known.list("keys");
    let of_app = |(is_system, entry): &&(bool, &Value<'_>)| {
        is_ours(entry) && (*is_system || text(entry, "learnt") != Some("admin"))
    };
    if let Some((_, other)) = list.iter().find(of_app) {
        if let Some(chain) = chain(verified, known, &|_| true) {
            note(verified, env, "lineage", release, &chain);
            return Ok(());
        }
        let other = text(other, "key_id").unwrap_or_default();
        let what = concat(&[&app, " is known with key ", other, ", and this is key ", key]);
        return tell(verified, changed, typed, what);
    }
    let what = concat(&["nothing is known of key ", key, " and ", &app]);
    act(unknown, typed, what, true)?;
    if is_followed(verified) {
        note(verified, env, "tofu", release, &[]);
    }
    Ok(())
}

/// Does what the policy says; without one, tells somebody who sits at a terminal.
fn tell<S: Source>(verified: &Verified<'_, S>, demand: u64, typed: &[u8], what: String) -> Result<()> {
    if demand != 0 {
        return act(demand, typed, what, true);
    }
    if is_followed(verified) && sys::stderr_is_terminal() {
        let line = [&shown(typed), ": note: ", &what, " (to accept it: packer trust add FILE)\n"];
        sys::print_error(&concat(&line));
    }
    Ok(())
}

/// Notes what was learnt in the user's store. Where that cannot be written, nothing is learnt.
fn note<S: Source>(verified: &Verified<'_, S>, env: &Environment, learnt: &str, release: u64, chain: &[String]) {
    let [_, path] = place::paths(env, FILE);
    let directory = path.len().saturating_sub(FILE.len());
    let _ = write(verified, &path[..directory], learnt, release, chain);
}

fn write<S: Source>(
    verified: &Verified<'_, S>,
    directory: &[u8],
    learnt: &str,
    release: u64,
    chain: &[String],
) -> Result<()> {
    let Some(app_id) = verified.claims().and_then(|claims| claims.app_id.as_deref()) else { return Ok(()) };
    let key = hex(&verified.key_id().0);
    let dir = open_or_make(directory, 0o700, Making::NotForOthers)?;
    if !dir.is_ours()? {
        return Ok(());
    }
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Held until the end of this function, as every writer does.
    let lock = dir.open(b"trust.lock", flags, "cannot lock")?;
    let locked = sys::retry(|| rustix::fs::flock(&lock, FlockOperation::LockExclusive));
    dir.told("cannot lock", b"trust.lock", locked)?;
    let text = match place::read(&sys::join(directory, FILE))? {
        Some(text) => text,
        None => EMPTY.to_vec(),
    };
    let Ok(Value::Object(mut members)) = json::parse(&text) else { return Ok(()) };
    let Some((_, Value::Array(keys))) = members.iter_mut().find(|(name, _)| name == "keys") else { return Ok(()) };
    if !change(keys, app_id, &key, learnt, release, chain) {
        return Ok(());
    }
    let mut text = Value::Object(members).to_text();
    text.push('\n');
    replace(&dir, text.as_bytes())?;
    let event = Value::object([
        ("time", sys::now().into()),
        ("event", String::from(learnt).into()),
        ("app_id", String::from(app_id).into()),
        ("key_id", key.into()),
        ("release", release.into()),
    ]);
    let mut line = event.to_text();
    line.push('\n');
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let log = dir.open(b"trust.log", flags, "cannot open")?;
    dir.told("cannot write", b"trust.log", sys::write_all(log.as_fd(), line.as_bytes()))
}

/// Changes the list of keys; false when somebody else was first and there is nothing to write.
fn change(keys: &mut Vec<Value<'_>>, app_id: &str, key: &str, learnt: &str, release: u64, chain: &[String]) -> bool {
    let is_for = |entry: &Value<'_>| text(entry, "app_id") == Some(app_id);
    for old in keys.iter_mut().filter(|entry| is_for(entry)) {
        let is_key = text(old, "key_id") == Some(key);
        let is_note = text(old, "learnt") == Some("admin");
        let is_before = chain.iter().any(|id| text(old, "key_id") == Some(id));
        if is_key && learnt == "admin" {
            if old.get("release").and_then(Value::as_u64).is_some_and(|noted| noted >= release) {
                return false;
            }
            set(old, "release", release.into());
            return true;
        }
        // With another key than the first one's, this one is a stranger next time.
        if !is_note && (learnt == "tofu" || is_key) {
            return false;
        }
        if is_before && !is_key {
            set(old, "superseded_by", String::from(key).into());
        }
    }
    keys.retain(|entry| !(is_for(entry) && text(entry, "key_id") == Some(key)));
    keys.push(Value::Object(Vec::from([
        ("app_id".into(), String::from(app_id).into()),
        ("key_id".into(), String::from(key).into()),
        ("label".into(), Value::Null),
        ("learnt".into(), String::from(learnt).into()),
        ("release".into(), release.into()),
        ("since".into(), sys::now().into()),
        ("superseded_by".into(), Value::Null),
    ])));
    true
}

fn set<'a>(entry: &mut Value<'a>, field: &'static str, value: Value<'a>) {
    let Value::Object(members) = entry else { return };
    match members.iter_mut().find(|(name, _)| name == field) {
        Some((_, old)) => *old = value,
        None => members.push((field.into(), value)),
    }
}

/// The whole file or none of it. The caller holds the lock.
fn replace(dir: &Dir, text: &[u8]) -> Result<()> {
    const NEW: &[u8] = b".trust.json.new";
    dir.remove(NEW)?;
    let file = dir.create_file(NEW, 0o600)?;
    let written = sys::write_all(file.as_fd(), text).and_then(|()| rustix::fs::fsync(&file));
    dir.told("cannot write", NEW, written.and_then(|()| dir.rename(NEW, FILE)))
}

/// The store's name.
const FILE: &[u8] = b"trust.json";
const EMPTY: &[u8] = br#"{"version":1,"keys":[],"revoked":[]}"#;
