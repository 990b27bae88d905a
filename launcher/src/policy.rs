//! What the operator of a machine demands of packages that start themselves (docs/trust.md): `policy.json`, the
//! administrator's and the user's.
//!
//! Each rule is a number, of which the greater is the stricter one and 0 says nothing. So two files are merged by taking
//! the greater numbers, and neither loosens what the other demands. Reasons are the names of rules: what they mean and what
//! is wrong with a file, `packer policy check` tells at length.
//!
//! Only `pspf-launcher-all` has room for this. The small launcher starts nothing where there is a policy.

use alloc::string::String;
use alloc::vec::Vec;

use pspf_core::json::{self, Value};
use pspf_core::metadata::Lifecycle;
use pspf_core::text::{concat, pieces};
use pspf_core::{Source, Verified};

use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result, shown};
use crate::place;
use crate::{sys, trust};

/// What becomes of a package, as the number of a rule.
pub const RUN: u64 = 1;
/// It runs, and a line says what is odd.
pub const WARN: u64 = 2;
/// It does not run.
pub const REFUSE: u64 = 3;

/// What all files demand together, in the order of `FIELDS`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules([u64; 22]);

/// Refuses a package that breaks a rule, and says on standard error which one it breaks that only warns. `typed` is the
/// name by which the user called the package.
pub fn admit<S: Source>(verified: &Verified<'_, S>, env: &Environment, typed: &[u8]) -> Result<()> {
    let mut rules = Rules::default();
    for (i, path) in place::paths(env, b"policy.json").iter().enumerate() {
        if let Some(text) = place::read(path)? {
            let own = json::parse(&text).ok().and_then(|document| Rules::read(&document));
            let Some(mut own) = own else {
                let what = "demands what this launcher does not understand";
                return Err(Error::refused(path, what, HINT));
            };
            // What the administrator demands, he has to fulfil.
            own.0[TRUSTED_KEY] *= 2 - i as u64;
            for (rule, own) in rules.0.iter_mut().zip(own.0) {
                *rule = own.max(*rule);
            }
        }
    }
    let lacks = rules.add_demands(verified, env)?;
    for rule in PLATFORM_MISMATCH..=OS_KEYCHAIN {
        if rules.is_broken(rule, verified) || (rule == MISSING_ENV && lacks) {
            act(rules.mode(rule), typed, name(rule).into(), false)?;
        }
    }
    trust::admit(verified, &rules, env, typed)
}

impl Rules {
    /// What a document demands; `None` when a field of it is not known, or has no value that it may have.
    fn read(document: &Value<'_>) -> Option<Self> {
        let mut own = Self::default();
        let mut section = Some(document);
        // Members that no known name has accounted for.
        let mut left = size(document)?;
        for (rule, word) in pieces(FIELDS, b' ').enumerate() {
            if let Some(name) = word.strip_suffix(':') {
                section = document.get(name);
                if let Some(section) = section {
                    left += size(section)?;
                    left -= 1;
                }
            } else if let Some(value) = section.and_then(|section| section.get(word)) {
                own.0[rule] = strictness(rule, value)?;
                left -= 1;
            }
        }
        // A file's default is for its own rules.
        for rule in PLATFORM_MISMATCH..=OS_KEYCHAIN {
            if own.0[rule] == 0 {
                own.0[rule] = own.mode(DEFAULT);
            }
        }
        (left == 0 && own.0[VERSION] == 1).then_some(own)
    }

    /// What becomes of a package that breaks this rule: it is refused when nobody says otherwise.
    fn mode(&self, rule: usize) -> u64 {
        if self.0[rule] == 0 { REFUSE } else { self.0[rule] }
    }

    fn is_broken<S: Source>(&self, rule: usize, package: &Verified<'_, S>) -> bool {
        // The field that demands it.
        let demand = match rule {
            PLATFORM_MISMATCH => PLATFORMS,
            ROOT_EXECUTION => REFUSE_ROOT,
            EXPIRED_PACKAGE => MAX_AGE,
            MISSING_SBOM => SBOM,
            OS_KEYCHAIN => KEYCHAIN,
            _ => return false,
        };
        let demand = self.0[demand];
        demand != 0
            && match rule {
                ROOT_EXECUTION => rustix::process::geteuid().is_root(),
                EXPIRED_PACKAGE => is_older(package, !demand),
                MISSING_SBOM => package.metadata().slots.iter().all(|slot| slot.lifecycle != Lifecycle::Attestation),
                _ => true,
            }
    }
    /// What becomes of a package whose key nobody named, and who has to have named it: 0 when nobody has to, 1 the user
    /// or the administrator, 2 the administrator.
    pub fn trusted_key(&self) -> (u64, u64) {
        (self.mode(UNTRUSTED_KEY), self.0[TRUSTED_KEY])
    }

    /// What becomes of a package whose key nobody knows, which had another key before, which is an older release.
    pub fn of_keys(&self) -> [u64; 3] {
        [self.0[UNKNOWN_KEY], self.0[UNKNOWN_KEY + 1], self.0[UNKNOWN_KEY + 2]]
    }

    /// Adds what the package demands itself (docs/format.md section 4.3). True when it lacks a variable.
    fn add_demands<S: Source>(&mut self, package: &Verified<'_, S>, env: &Environment) -> Result<bool> {
        // Most have none, and their document was read once already.
        if !package.metadata().has_policy {
            return Ok(false);
        }
        let document = json::parse(package.json()).unwrap_or(Value::Null);
        let Some(Value::Object(fields)) = document.get("policy") else { return Ok(false) };
        let mut lacks = false;
        for (field, value) in fields {
            let strange = || Error::manifest("a policy that makes no sense", field);
            let rule = match field.as_ref() {
                "platforms" => PLATFORMS,
                "refuse_root" => REFUSE_ROOT,
                "max_age_days" => MAX_AGE,
                "require_env" => {
                    let Value::Array(names) = value else { return Err(strange()) };
                    let names = names.iter().map(Value::as_str).collect::<Option<Vec<_>>>().ok_or_else(strange)?;
                    lacks = names.iter().any(|name| env.get(name.as_bytes()).is_none());
                    continue;
                }
                // Another reader's.
                _ => continue,
            };
            self.0[rule] = strictness(rule, value).ok_or_else(strange)?.max(self.0[rule]);
        }
        Ok(lacks)
    }
}

/// Does what a rule says: refuses, warns or goes on. `what` is the rule's name, or a sentence.
#[inline(never)]
pub fn act(mode: u64, typed: &[u8], what: String, is_key: bool) -> Result<()> {
    let what = concat(&["against the policy here: ", &what]);
    match mode {
        REFUSE if is_key => Err(ErrorKind::Untrusted { what, hint: HINT }.into()),
        REFUSE => Err(ErrorKind::Refused { what, hint: HINT }.into()),
        WARN => {
            sys::print_error(&concat(&[&shown(typed), ": warning: ", &what, "\n"]));
            Ok(())
        }
        _ => Ok(()),
    }
}

fn name(rule: usize) -> &'static str {
    pieces(FIELDS, b' ').nth(rule).unwrap_or_default()
}

/// How many members a section has; `None` for something else.
fn size(section: &Value<'_>) -> Option<usize> {
    match section {
        Value::Null => Some(0),
        Value::Object(members) => Some(members.len()),
        _ => None,
    }
}

fn is_older<S: Source>(package: &Verified<'_, S>, days: u64) -> bool {
    // Without claims nobody answers for the time in the index; without a time nobody knows.
    let built = package.claims().map_or(0, |_| package.package().index().build_timestamp());
    built == 0 || sys::now().saturating_sub(built) / 86_400 > days
}

/// What a field's value comes to; `None` for one that it may not have.
fn strictness(rule: usize, value: &Value<'_>) -> Option<u64> {
    let words = if rule < PLATFORMS { "allow warn deny" } else { "run warn refuse" };
    match (value, rule) {
        (Value::Null, _) => Some(0),
        (Value::Unsigned(number), VERSION) => Some(*number),
        (Value::Unsigned(days), MAX_AGE) => Some(!days),
        (Value::Array(names), PLATFORMS) => {
            let fits = |name: &Value<'_>| name.as_str().is_some_and(|name| pieces(HOST, b' ').any(|host| host == name));
            Some((!names.is_empty() && !names.iter().any(fits)).into())
        }
        (Value::Bool(value), REFUSE_ROOT | SBOM | TRUSTED_KEY | KEYCHAIN) => Some((*value).into()),
        (Value::String(word), DEFAULT..=OS_KEYCHAIN | UNKNOWN_KEY..) => {
            Some(pieces(words, b' ').position(|known| known == *word)? as u64 + RUN)
        }
        _ => None,
    }
}

const HINT: &str = "packer policy check FILE says more";
/// This platform's names.
const HOST: &str = if cfg!(target_arch = "aarch64") { "linux linux_arm64" } else { "linux linux_amd64" };
/// The fields of `policy.json`, by their places in `Rules`, each behind the name of its section.
const FIELDS: &str = "version enforcement: default platform_mismatch root_execution expired_package missing_env missing_sbom \
    untrusted_key os_keychain execution: allow_platforms refuse_root max_age_days attestation: require_sbom trust: \
    require_trusted_key use_os_keychain unknown_key changed_key downgrade";
const VERSION: usize = 0;
const DEFAULT: usize = 2;
const PLATFORM_MISMATCH: usize = 3;
const ROOT_EXECUTION: usize = 4;
const EXPIRED_PACKAGE: usize = 5;
const MISSING_ENV: usize = 6;
const MISSING_SBOM: usize = 7;
const UNTRUSTED_KEY: usize = 8;
const OS_KEYCHAIN: usize = 9;
const PLATFORMS: usize = 11;
const REFUSE_ROOT: usize = 12;
const MAX_AGE: usize = 13;
const SBOM: usize = 15;
const TRUSTED_KEY: usize = 17;
const KEYCHAIN: usize = 18;
const UNKNOWN_KEY: usize = 19;
