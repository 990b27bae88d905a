//! What the launcher is told in every kind of manifest: the environment of the app, and when not to start it.

use std::borrow::Cow;

use pspf_core::json::Value;

use super::fields::{Extra, Table};
use super::names::{Names, in_workenv};
use crate::error::Result;
use crate::platform::Platform;

/// `working_directory` of a table, as the package's metadata have it: absolute or below `{workenv}`.
pub(super) fn working_directory(table: &Table<'_>, names: &mut Names) -> Result<Option<String>> {
    const KEY: &str = "working_directory";
    table.nonempty(KEY)?;
    Ok(match table.string(KEY)? {
        None => None,
        Some(found) if found.value.starts_with('/') => {
            names.check(table, KEY, &found)?;
            Some(found.value.to_owned())
        }
        Some(found) => Some(in_workenv(&names.path_below(table, KEY, found.value)?)),
    })
}

/// `runtime.env` of a table, as the package's metadata have it.
pub(super) fn runtime(parent: &Table<'_>, names: &mut Names) -> Result<Option<Value<'static>>> {
    let Some(runtime) = parent.table("runtime")? else { return Ok(None) };
    runtime.only(&["env"], Extra::Refused)?;
    let Some(env) = runtime.table("env")? else { return Ok(None) };
    env.only(&["unset", "pass", "set", "map"], Extra::Refused)?;
    let mut members = Vec::new();
    for key in ["unset", "pass"] {
        if let Some(patterns) = env.strings(key)? {
            for pattern in &patterns {
                check_variable(&env, key, pattern.value)?;
            }
            members.push((key, Value::array(patterns.iter().map(|pattern| pattern.value.to_owned()))));
        }
    }
    if let Some(map) = env.table("map")? {
        for (old, new) in env.string_map("map")? {
            check_variable(&map, old, old)?;
            check_variable(&map, old, new.value)?;
        }
        members.extend(env.json("map")?.map(|map| ("map", map)));
    }
    if env.has("set") {
        members.push(("set", Value::Object(variables(&env, "set", names)?)));
    }
    Ok(Some(Value::object([("env", Value::object(members))])))
}

/// Variables and their values; the launcher fills in placeholders.
pub(super) fn variables(
    table: &Table<'_>,
    key: &str,
    names: &mut Names,
) -> Result<Vec<(Cow<'static, str>, Value<'static>)>> {
    let Some(variables) = table.table(key)? else { return Ok(Vec::new()) };
    let mut members = Vec::new();
    for (name, value) in table.string_map(key)? {
        check_variable(&variables, name, name)?;
        names.check(&variables, name, &value)?;
        members.push((name.to_owned().into(), value.value.to_owned().into()));
    }
    Ok(members)
}

/// `policy` of a table, as the package's metadata have it.
pub(super) fn policy(parent: &Table<'_>) -> Result<Option<Value<'static>>> {
    let Some(policy) = parent.table("policy")? else { return Ok(None) };
    policy.only(&["platforms", "refuse_root", "max_age_days", "require_env"], Extra::Kept)?;
    for platform in policy.strings("platforms")?.unwrap_or_default() {
        if Platform::from_name(platform.value).is_none() {
            return Err(policy.unknown_word("platforms", "this is not a platform", &Platform::NAMES, platform.value));
        }
    }
    policy.boolean("refuse_root")?;
    if policy.json("max_age_days")?.is_some_and(|age| age != Value::Null) {
        policy.unsigned("max_age_days")?;
    }
    for name in policy.strings("require_env")?.unwrap_or_default() {
        check_variable(&policy, "require_env", name.value)?;
    }
    parent.json("policy")
}

fn check_variable(table: &Table<'_>, key: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.contains('=') {
        return Err(table
            .wrong_value(key, "this cannot be the name of a variable", "a name without \"=\"", name)
            .hint("variables are named like LOG_LEVEL"));
    }
    Ok(())
}
