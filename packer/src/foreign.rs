//! Packages that FlavorPack's launchers start: what those cannot read is written in another way, or refused while
//! packing.
//!
//! | we | they | so |
//! |---|---|---|
//! | unpack an archive at its slot's target | unpack it into the workenv's root | the target moves into the archive's names |
//! | make links in the workenv | make none, and refuse archives with some | a setup command makes them with the packed Python |
//! | read gzip, bzip2, xz and zstd | read gzip | other compressions are refused |
//! | give a written file its mode | ignore it | a setup command of its own sets it |
//! | start a program by its path | start it by the name of the package | the packed Python is started by its script, whose first line finds it |
//! | fill in `{slot:N}` | each in its own way | it is filled in while packing |

use std::borrow::Cow;

use pspf_core::format::Operation;
use pspf_core::json::Value;
use pspf_core::metadata::{Lifecycle, WORKENV_KEY};
use pspf_core::placement::relative;

use crate::error::{Error, Kind, Result};
use crate::plan::{Plan, Source};
use crate::progress::Progress;

/// Makes the plan one for FlavorPack's launchers. Gives what the names in each slot's archive begin with from now on.
pub(crate) fn adapt(plan: &mut Plan, progress: &dyn Progress) -> Result<Vec<String>> {
    let refuse = |slot: &str, what: &str| {
        Error::new(Kind::Configuration, format!("slot {slot}: {what}")).file(&plan.manifest).field("--launcher")
    };
    let places: Vec<String> = plan.slots.iter().map(|slot| format!("{{workenv}}/{}", relative(&slot.target))).collect();
    let mut prefixes = Vec::new();
    for slot in &mut plan.slots {
        let steps = slot.operations.steps().unwrap_or_default();
        let is_read = |step: &Operation| matches!(step, Operation::Tar | Operation::Gzip);
        if slot.lifecycle != Lifecycle::Attestation && !steps.iter().all(is_read) {
            return Err(refuse(&slot.id, "FlavorPack's launchers read no other compression than gzip")
                .found(slot.operations.name())
                .hint("write operations = \"tar.gz\" or --compression gzip, or leave --launcher out"));
        }
        let target = relative(&slot.target);
        if !slot.operations.is_archive() || target.is_empty() {
            prefixes.push(String::new());
            continue;
        }
        if matches!(slot.source, Source::Encoded { .. }) {
            return Err(refuse(&slot.id, "FlavorPack's launchers unpack archives into the workenv's root alone")
                .expected("target = \".\", or the directory itself as the source")
                .found(target)
                .hint("name the directory itself as the source, and packer makes the archive"));
        }
        prefixes.push(format!("{target}/"));
        slot.target = "{workenv}".to_owned();
    }
    let env = plan.document.get("execution").and_then(|execution| execution.get("env"));
    if let Some(Value::Object(env)) = env
        && let Some((name, _)) = env.iter().find(|(_, value)| value.as_str().is_some_and(|text| text.contains('{')))
    {
        progress.note(&format!(
            "execution.env.{name} has a placeholder: FlavorPack's launcher in Rust fills it in, the one in Go does not"
        ));
    }
    let own = command(&plan.document).unwrap_or_default();
    let (mut offered, mut others) = (Vec::new(), Vec::new());
    for (name, line) in &plan.entry_points {
        if line == own { &mut offered } else { &mut others }.push(name.clone());
    }
    if !others.is_empty() {
        let others = others.join(", ");
        progress.note(&format!("FlavorPack's launchers start one command, so the package does not offer {others}"));
    }
    let document = with_modes(with_places(&plan.document, &places));
    plan.document = without_links(document).map_err(|what| {
        Error::new(Kind::Configuration, what)
            .file(&plan.manifest)
            .field("--launcher")
            .hint("leave --launcher out: packer's own launcher makes the links")
    })?;
    let own = command(&plan.document).unwrap_or_default();
    plan.entry_points = offered.into_iter().map(|name| (name, own.to_owned())).collect();
    Ok(prefixes)
}

/// The package's own command.
fn command<'d>(document: &'d Value<'_>) -> Option<&'d str> {
    document.get("execution")?.get("command")?.as_str()
}

/// The document with `{slot:N}` filled in.
fn with_places(value: &Value<'_>, places: &[String]) -> Value<'static> {
    match value {
        Value::String(text) => {
            let fill = |text: String, (number, place): (usize, &String)| {
                text.replace(&format!("{{slot:{number}}}"), place.trim_end_matches('/'))
            };
            places.iter().enumerate().fold(text.to_string(), fill).into()
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| with_places(item, places)).collect()),
        Value::Object(members) => {
            let member = |(key, value): &(Cow<'_, str>, Value<'_>)| {
                (Cow::Owned(key.clone().into_owned()), with_places(value, places))
            };
            Value::Object(members.iter().map(member).collect())
        }
        other => other.clone().into_owned(),
    }
}

/// The document with a setup command for the mode of each file that another one writes.
fn with_modes(mut document: Value<'static>) -> Value<'static> {
    let modes = modes(&document);
    if let Value::Object(members) = &mut document {
        for (_, value) in members.iter_mut().filter(|(key, _)| key == "setup_commands") {
            let Value::Array(commands) = value else { continue };
            // After the last file: what runs programs comes behind it.
            let is_written = |command: &Value<'_>| command.get("type").and_then(Value::as_str) == Some("write_file");
            let at = commands.iter().rposition(is_written).map_or(0, |last| last + 1);
            let change = |(path, mode): &(String, String)| {
                Value::object([("type", "chmod".into()), ("path", path.clone().into()), ("mode", mode.clone().into())])
            };
            commands.splice(at..at, modes.iter().map(change));
        }
    }
    document
}

/// The files that setup commands write with a mode: path and mode.
fn modes(document: &Value<'_>) -> Vec<(String, String)> {
    let Some(Value::Array(commands)) = document.get("setup_commands") else { return Vec::new() };
    let text = |command: &Value<'_>, key| command.get(key).and_then(Value::as_str).map(str::to_owned);
    let mode = |command: &Value<'_>| match text(command, "type").as_deref() {
        Some("write_file") => Some((text(command, "path")?, text(command, "mode")?)),
        _ => None,
    };
    commands.iter().filter_map(mode).collect()
}

/// The document with a setup command in place of the links that our launcher makes.
fn without_links(mut document: Value<'static>) -> Result<Value<'static>, &'static str> {
    let links = links(&document);
    if links.is_empty() {
        return Ok(document);
    }
    let (first, script) = command(&document).and_then(|command| command.split_once(' ')).unwrap_or_default();
    let (first, start) = (first.to_owned(), script.to_owned());
    let Some((_, python)) = links.iter().find(|(path, _)| *path == first) else {
        return Err("the package needs links in its workenv, and FlavorPack's launchers make none");
    };
    let below = |path: &str| path.strip_prefix("{workenv}/").unwrap_or(path).to_owned();
    let list: Vec<String> = links
        .iter()
        .map(|(path, target)| format!("link({}, {})\n", quoted(&below(path)), quoted(&below(target))))
        .collect();
    // The launcher in Go knows no setup command for modes.
    let modes: Vec<String> = modes(&document)
        .into_iter()
        .map(|(path, mode)| format!("os.chmod(os.path.join(root, {}), 0o{mode})\n", quoted(&below(&path))))
        .collect();
    let script = Value::object([
        ("type", "write_file".into()),
        ("path", format!("{{workenv}}/{SCRIPT}").into()),
        ("content", format!("{LINK}{}{}", list.concat(), modes.concat()).into()),
        ("mode", "0644".into()),
    ]);
    let run =
        Value::object([("type", "execute".into()), ("command", format!("{python} -I -B {{workenv}}/{SCRIPT}").into())]);
    if let Value::Object(members) = &mut document {
        for (key, value) in members.iter_mut() {
            match (key.as_ref(), value) {
                ("setup_commands", Value::Array(commands)) => commands.extend([script.clone(), run.clone()]),
                // Python looks for its environment beside the path that it was started by.
                ("execution", Value::Object(execution)) => {
                    for (_, value) in execution.iter_mut().filter(|(key, _)| key == "command") {
                        *value = start.clone().into();
                    }
                }
                ("extensions", Value::Object(extensions)) => extensions.retain(|(key, _)| key != WORKENV_KEY),
                _ => {}
            }
        }
    }
    Ok(document)
}

/// The links that our launcher makes: path and target, both below `{workenv}/`.
fn links(document: &Value<'_>) -> Vec<(String, String)> {
    let links = document.get("extensions").and_then(|extensions| extensions.get(WORKENV_KEY)?.get("links"));
    let Some(Value::Array(links)) = links else { return Vec::new() };
    let text = |link: &Value<'_>, key| link.get(key).and_then(Value::as_str).map(str::to_owned);
    links.iter().filter_map(|link| Some((text(link, "path")?, text(link, "target")?))).collect()
}

/// The path as a literal of Python.
fn quoted(path: &str) -> String {
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Where the script that makes the links is, below the workenv.
const SCRIPT: &str = "lib/pspf-links.py";

/// Makes a link relative, so that the workenv may be moved, and anew where it is there already.
const LINK: &str = "\
import os
root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
def link(path, target):
    path, target = os.path.join(root, path), os.path.join(root, target)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.islink(path):
        os.unlink(path)
    os.symlink(os.path.relpath(target, os.path.dirname(path)), path)
";
