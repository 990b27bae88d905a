//! The environment of the app (docs/format.md section 4).

use alloc::string::String;
use alloc::vec::Vec;

use pspf_core::metadata::Metadata;

use crate::cache::Cache;
use crate::text::{fill, matches};
use crate::workenv::Workenv;

/// Variables, in their order.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Each as `NAME=value`.
    variables: Vec<Vec<u8>>,
}

impl Environment {
    /// Takes `NAME=value` strings; one without `=` is dropped, as no program can look it up.
    pub fn new(variables: Vec<Vec<u8>>) -> Self {
        let mut env = Self { variables };
        env.keep(&|name, variable| name.len() < variable.len());
        env
    }

    /// The value of a variable, unless it is unset or empty.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let value = self.variables.get(self.find(name)?)?.get(name.len() + 1..)?;
        (!value.is_empty()).then_some(value)
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        let mut variable = name.to_vec();
        variable.push(b'=');
        variable.extend_from_slice(value);
        match self.find(name) {
            Some(at) => self.variables[at] = variable,
            None => self.variables.push(variable),
        }
    }

    /// Removes the variables whose names match `unset` and do not match `pass`.
    pub fn remove(&mut self, unset: &[String], pass: &[String]) {
        self.keep(&|name, _| !matches_any(unset, name) || matches_any(pass, name));
    }

    /// Gives a variable another name, when it is set.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) {
        if let Some(at) = self.find(from) {
            let variable = self.variables.remove(at);
            self.set(to, &variable[from.len() + 1..]);
        }
    }

    /// The variables as `NAME=value`.
    pub fn strings(&self) -> &[Vec<u8>] {
        &self.variables
    }

    /// The variables as names and values.
    #[cfg(feature = "std")]
    pub fn variables(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.variables.iter().map(|variable| {
            let (name, value) = variable.split_at(name_of(variable).len());
            (name, &value[1..])
        })
    }

    /// Removes the variables that `keep` does not want, told their names and all of them.
    fn keep(&mut self, keep: &dyn Fn(&[u8], &[u8]) -> bool) {
        let mut at = 0;
        while let Some(variable) = self.variables.get(at) {
            if keep(name_of(variable), variable) {
                at += 1;
            } else {
                self.variables.remove(at);
            }
        }
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        self.variables.iter().position(|variable| name_of(variable) == name)
    }
}

#[inline(never)]
fn matches_any(patterns: &[String], name: &[u8]) -> bool {
    patterns.iter().any(|pattern| matches(pattern.as_bytes(), name))
}

/// What is before the '='. A name may begin with one, as some shells write them.
#[inline(never)]
fn name_of(variable: &[u8]) -> &[u8] {
    let end = variable.iter().skip(1).position(|byte| *byte == b'=');
    end.and_then(|end| variable.get(..=end)).unwrap_or(variable)
}

/// What the app gets: the caller's environment, changed as the package says.
///
/// `typed` is the name by which the user called the package.
pub fn of_app(
    metadata: &Metadata,
    caller: Environment,
    workenv: &Workenv<'_>,
    cache: &Cache,
    typed: &[u8],
) -> Environment {
    let mut env = caller;
    #[cfg(feature = "all")]
    let package = env.get(PACKAGE).map(<[u8]>::to_vec);
    env.keep(&|name, _| !STEERING.contains(&name));
    let runtime = &metadata.runtime_env;
    env.remove(&runtime.unset, &runtime.pass);
    for (from, to) in &runtime.map {
        env.rename(from.as_bytes(), to.as_bytes());
    }
    let values = workenv.placeholders();
    for set in [&runtime.set, &metadata.workenv.env, &metadata.execution_env] {
        for (name, value) in set {
            env.set(name.as_bytes(), &fill(value, &values));
        }
    }
    let name = typed.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    env.set(b"FLAVOR_WORKENV", workenv.path());
    env.set(b"FLAVOR_COMMAND_NAME", name);
    env.set(b"FLAVOR_ORIGINAL_COMMAND", typed);
    env.set(b"FLAVOR_CACHE_DIR", cache.path());
    env.set(b"PSPF_ARGV0", typed);
    #[cfg(feature = "all")]
    if let Some(package) = package {
        env.set(PACKAGE, &package);
    }
    let mut path = workenv.path().to_vec();
    path.extend_from_slice(b"/bin:");
    path.extend_from_slice(env.get(b"PATH").unwrap_or(DEFAULT_PATH));
    env.set(b"PATH", &path);
    env
}

/// The variable that tells the app where its package is: an absolute path.
pub const PACKAGE: &[u8] = b"PSPF_PACKAGE";
/// Variables that tell the launcher what to do, and not the app; and which package it is, of an app that starts another one.
const STEERING: [&[u8]; 4] = [crate::cli::VARIABLE, crate::entry::VARIABLE, b"PSPF_DEV", PACKAGE];
/// Where programs are looked for when the caller has no PATH, as shells and `execvp` do it.
const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/usr/bin:/bin";

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(strings: &[&str]) -> Environment {
        Environment::new(strings.iter().map(|string| string.as_bytes().to_vec()).collect())
    }

    #[test]
    fn pass_protects_from_unset() {
        let mut env = environment(&["PYTHONPATH=/x", "PYTHONUTF8=1", "HOME=/h"]);
        env.remove(&["PYTHON*".into()], &["PYTHONUTF8".into()]);
        assert_eq!(env.strings(), [&b"PYTHONUTF8=1"[..], b"HOME=/h"]);
    }

    #[test]
    fn a_value_may_hold_equals_signs_and_an_empty_one_counts_as_unset() {
        let env = environment(&["A=b=c", "EMPTY=", "nothing"]);
        assert_eq!(env.get(b"A"), Some(&b"b=c"[..]));
        assert_eq!(env.get(b"EMPTY"), None);
        assert_eq!(env.strings().len(), 2);
    }

    #[test]
    fn renaming_replaces_what_had_the_name() {
        let mut env = environment(&["OLD=1", "NEW=2"]);
        env.rename(b"OLD", b"NEW");
        assert_eq!(env.get(b"NEW"), Some(&b"1"[..]));
        assert_eq!(env.strings().len(), 1);
    }
}
