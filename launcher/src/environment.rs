//! The environment of the app (docs/format.md section 4).

use alloc::vec::Vec;

use pspf_core::metadata::Metadata;

use crate::cache::Cache;
use crate::text::{fill, matches};
use crate::workenv::Workenv;

/// Variables, in their order.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Environment {
    /// Takes `NAME=value` strings; one without `=` is dropped, as no program can look it up.
    pub fn from_strings<'a>(strings: impl Iterator<Item = &'a [u8]>) -> Self {
        let split = |entry: &[u8]| {
            // A name may begin with '=', as some shells write them.
            let at = entry.iter().skip(1).position(|byte| *byte == b'=')? + 1;
            Some((entry[..at].to_vec(), entry[at + 1..].to_vec()))
        };
        Self { variables: strings.filter_map(split).collect() }
    }

    /// The value of a variable, unless it is unset or empty.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let found = self.variables.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_slice()).filter(|value| !value.is_empty())
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &[u8], value: Vec<u8>) {
        match self.variables.iter_mut().find(|(other, _)| other == name) {
            Some((_, old)) => *old = value,
            None => self.variables.push((name.to_vec(), value)),
        }
    }

    /// Removes the variables whose names match `unset` and do not match `pass`.
    pub fn remove(&mut self, unset: &[impl AsRef<[u8]>], pass: &[impl AsRef<[u8]>]) {
        let any = |patterns: &[&[u8]], name: &[u8]| patterns.iter().any(|pattern| matches(pattern, name));
        let unset: Vec<&[u8]> = unset.iter().map(AsRef::as_ref).collect();
        let pass: Vec<&[u8]> = pass.iter().map(AsRef::as_ref).collect();
        self.variables.retain(|(name, _)| !any(&unset, name) || any(&pass, name));
    }

    /// Gives a variable another name, when it is set.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) {
        if let Some(at) = self.variables.iter().position(|(name, _)| name == from) {
            let (_, value) = self.variables.remove(at);
            self.set(to, value);
        }
    }

    /// The variables.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.variables.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }
}

/// What the app gets: the caller's environment, changed as the package says.
///
/// `typed` is the name by which the user called the package.
pub fn of_app(metadata: &Metadata, caller: Environment, workenv: &Workenv, cache: &Cache, typed: &[u8]) -> Environment {
    let mut env = caller;
    env.remove(&STEERING, &[] as &[&[u8]]);
    let runtime = &metadata.runtime_env;
    env.remove(&runtime.unset, &runtime.pass);
    for (from, to) in &runtime.map {
        env.rename(from.as_bytes(), to.as_bytes());
    }
    let values = workenv.placeholders();
    let sets = runtime.set.iter().chain(&metadata.workenv.env).chain(&metadata.execution_env);
    for (name, value) in sets {
        env.set(name.as_bytes(), fill(value, &values));
    }
    let name = typed.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    env.set(b"FLAVOR_WORKENV", workenv.path().to_vec());
    env.set(b"FLAVOR_COMMAND_NAME", name.to_vec());
    env.set(b"FLAVOR_ORIGINAL_COMMAND", typed.to_vec());
    env.set(b"FLAVOR_CACHE_DIR", cache.path().to_vec());
    env.set(b"PSPF_ARGV0", typed.to_vec());
    let mut path = workenv.path().to_vec();
    path.extend_from_slice(b"/bin:");
    path.extend_from_slice(env.get(b"PATH").unwrap_or(DEFAULT_PATH));
    env.set(b"PATH", path);
    env
}

/// Variables that tell the launcher what to do, and not the app.
const STEERING: [&[u8]; 3] = [b"FLAVOR_LAUNCHER_CLI", b"PSPF_ENTRY", b"PSPF_DEV"];
/// Where programs are looked for when the caller has no PATH, as shells and `execvp` do it.
const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/usr/bin:/bin";

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(strings: &[&str]) -> Environment {
        Environment::from_strings(strings.iter().map(|string| string.as_bytes()))
    }

    #[test]
    fn pass_protects_from_unset() {
        let mut env = environment(&["PYTHONPATH=/x", "PYTHONUTF8=1", "HOME=/h"]);
        env.remove(&["PYTHON*"], &["PYTHONUTF8"]);
        let names: Vec<&[u8]> = env.iter().map(|(name, _)| name).collect();
        assert_eq!(names, [&b"PYTHONUTF8"[..], b"HOME"]);
    }

    #[test]
    fn a_value_may_hold_equals_signs_and_an_empty_one_counts_as_unset() {
        let env = environment(&["A=b=c", "EMPTY=", "nothing"]);
        assert_eq!(env.get(b"A"), Some(&b"b=c"[..]));
        assert_eq!(env.get(b"EMPTY"), None);
        assert_eq!(env.iter().count(), 2);
    }

    #[test]
    fn renaming_replaces_what_had_the_name() {
        let mut env = environment(&["OLD=1", "NEW=2"]);
        env.rename(b"OLD", b"NEW");
        assert_eq!(env.get(b"NEW"), Some(&b"1"[..]));
        assert_eq!(env.iter().count(), 1);
    }
}
