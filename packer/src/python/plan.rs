//! A staged project as a [`Plan`].

use std::borrow::Cow;

use launcher::text::quote;
use pspf_core::format::Operations;
use pspf_core::json::Value;
use pspf_core::metadata::{Lifecycle, WORKENV_KEY};
use pspf_core::placement::relative;

use super::workenv::{APPLICATION, ENVIRONMENT, RUNTIME};
use super::{Hooks, Staged, Tree, Workenv, WorkenvFile};
use crate::error::{Error, Kind, Result};
use crate::manifest::{self, Execution, Manifest};
use crate::plan::{Facts, Plan, PlannedSlot, Source};
use crate::platform::Os;
use crate::{slots, sources};

/// Plans the package of a staged project, and says what runs when it is finished.
pub fn plan(manifest: &Manifest, staged: Staged) -> Result<(Plan, Hooks)> {
    check_targets(manifest, &staged)?;
    let document = document(manifest, &staged)?;
    let own = document.get("execution").and_then(|execution| execution.get("command")).and_then(Value::as_str);
    let line = |words: &Vec<String>| match own {
        // The manifest's arguments belong to the package's own command, whatever name it is started by.
        Some(own) if *words == staged.workenv.command => own.to_owned(),
        _ => quote(words),
    };
    let entry_points = staged.workenv.entry_points.iter().map(|(name, words)| (name.clone(), line(words))).collect();
    let Staged { name, version, python, runtime, environment, application, glibc, slots, hooks, inventory, .. } =
        staged;
    let os = python.target().map_or(Os::Linux, |target| target.os);
    let own = own_slots(manifest, os, [runtime, environment, application]);
    let plan = Plan {
        manifest: manifest.path.clone(),
        name,
        version,
        document,
        slots: own.into_iter().chain(slots).collect(),
        app_id: manifest.flavor.app_id.clone(),
        release: manifest.flavor.release.unwrap_or(0),
        entry_points,
        strip: manifest.flavor.strip,
        inventory,
        facts: Facts { python: Some(python.version.to_string()), glibc },
    };
    Ok((plan, hooks))
}

/// The slots that packer makes of every Python project: runtime, environment and application.
pub(super) fn own_slots(manifest: &Manifest, os: Os, trees: [Tree; OWN]) -> [PlannedSlot; OWN] {
    let compressed = sources::archive(manifest.flavor.compression.unwrap_or(Operations::GZIP));
    let [runtime, environment, application] = trees;
    [
        slot(RUNTIME, runtime, "runtime", compressed, os),
        slot(ENVIRONMENT, environment, "payload", compressed, os),
        slot(APPLICATION, application, "payload", compressed, os),
    ]
}

fn slot(id: &str, tree: Tree, purpose: &str, operations: Operations, os: Os) -> PlannedSlot {
    PlannedSlot {
        id: id.to_owned(),
        source: Source::Tree { path: tree.path, key: tree.key, exclude: Vec::new() },
        source_name: id.to_owned(),
        target: id.to_owned(),
        purpose: purpose.to_owned(),
        lifecycle: Lifecycle::Runtime,
        platform: os as u8,
        permissions: 0o755,
        operations,
        level: None,
        commands: Vec::new(),
    }
}

/// Refuses slots that bring what packer writes into the workenv of a Python app itself.
fn check_targets(manifest: &Manifest, staged: &Staged) -> Result<()> {
    let Workenv { files, links, .. } = &staged.workenv;
    let made: Vec<&str> = files.iter().map(|file| &file.path).chain(links.keys()).map(|path| relative(path)).collect();
    for slot in &staged.slots {
        let target = relative(&slot.target);
        let clash = made.iter().find(|path| match below(path, target) {
            Some(inside) => brings(&slot.source, inside),
            None => **path == target || below(target, path).is_some(),
        });
        let Some(path) = clash else { continue };
        let what = format!(
            "slot {} goes to {}, where packer writes {path}",
            slot.id,
            if target.is_empty() { "the workenv" } else { target }
        );
        let spec = manifest.flavor.slots.iter().find(|spec| spec.id == slot.id);
        let new = match spec {
            Some(spec) => spec.place.error("target", what),
            None => Error::new(Kind::Configuration, what).file(&manifest.path),
        };
        return Err(new.hint("give it another target, or take that file out of the slot with exclude"));
    }
    Ok(())
}

/// True when a slot of this source has something at this path. What is in an archive of others shows when it is unpacked.
fn brings(source: &Source, inside: &str) -> bool {
    let Source::Tree { path, exclude, .. } = source else { return false };
    let Ok(metadata) = path.join(inside).symlink_metadata() else { return false };
    // A pattern that is none is told when the slot is packed.
    let excluded = slots::patterns(exclude)
        .is_ok_and(|patterns| patterns.matched_path_or_any_parents(inside, metadata.is_dir()).is_ignore());
    !excluded
}

/// The part of `path` inside of `directory`, if it is in there.
fn below<'a>(path: &'a str, directory: &str) -> Option<&'a str> {
    if directory.is_empty() { Some(path) } else { path.strip_prefix(directory)?.strip_prefix('/') }
}

fn document(manifest: &Manifest, staged: &Staged) -> Result<Value<'static>> {
    let workenv = &staged.workenv;
    let Execution { args, working_directory, runtime } = &manifest.flavor.execution;
    // In the manifest, slots are counted without those that packer puts in front of them.
    let numbers: Vec<Option<usize>> = staged.numbers.iter().map(|number| number.map(|number| number + OWN)).collect();
    let renumbered = |key: &str, value: Value<'static>| {
        manifest::renumber(&value, &numbers).map_err(|number| {
            Error::new(
                Kind::Configuration,
                format!("{{slot:{number}}} is used, but that slot stays out of this package"),
            )
            .file(&manifest.path)
            .field(format!("tool.flavor.execution.{key}"))
            .hint("use {workenv}/TARGET in its place, with one target for all platforms")
        })
    };
    let mut command = workenv.command.clone();
    if let Value::Array(args) = renumbered("args", Value::array(args.iter().cloned()))? {
        command.extend(args.iter().filter_map(Value::as_str).map(str::to_owned));
    }
    let runtime = match runtime {
        Some(runtime) => Some(renumbered("runtime", runtime.clone())?),
        None => None,
    };
    let mut package = vec![("name", staged.name.clone().into()), ("version", staged.version.clone().into())];
    if let Some(description) = &manifest.description {
        package.push(("description", description.clone().into()));
    }
    let mut execution = vec![("command", quote(&command).into()), ("env", Value::Object(Vec::new()))];
    execution.extend(working_directory.clone().map(|directory| ("working_directory", directory.into())));
    let directory = |path: &String| Value::object([("path", path.clone().into()), ("mode", "0755".into())]);
    let directories = workenv.directories.iter().map(directory).collect();
    let mut members = vec![
        ("package", Value::object(package)),
        ("execution", Value::object(execution)),
        ("setup_commands", Value::Array(workenv.files.iter().map(write_file).collect())),
        ("runtime", Value::object([("env", runtime_env(workenv, runtime.as_ref()))])),
        ("workenv", Value::object([("directories", Value::Array(directories))])),
    ];
    members.extend(manifest.flavor.policy.clone().map(|policy| ("policy", policy)));
    let links = Value::Array(workenv.links.iter().map(link).collect());
    let calls = staged.entry_points.iter().map(|(name, calls)| (Cow::Owned(name.clone()), calls.clone().into()));
    let extensions = [
        (WORKENV_KEY, Value::object([("links", links)])),
        (PYTHON_KEY, Value::object([("entry_points", Value::Object(calls.collect()))])),
    ];
    members.push(("extensions", Value::object(extensions)));
    Ok(Value::object(members))
}

/// The key under `extensions` for what a Python package tells of itself, which no launcher acts on: what its entry points call.
pub(crate) const PYTHON_KEY: &str = "x-pspf-python";
/// How many slots of packer's own there are.
const OWN: usize = 3;

fn write_file(file: &WorkenvFile) -> Value<'static> {
    Value::object([
        ("type", "write_file".into()),
        ("path", file.path.clone().into()),
        ("content", file.content.clone().into()),
        ("mode", format!("{:04o}", file.mode).into()),
    ])
}

fn link((path, target): (&String, &String)) -> Value<'static> {
    Value::object([("path", path.clone().into()), ("target", target.clone().into())])
}

/// What every Python app's environment is, and what the manifest adds to it. Where they differ, the manifest decides: its
/// `pass` brings back what is unset here.
fn runtime_env(workenv: &Workenv, runtime: Option<&Value<'static>>) -> Value<'static> {
    let env = runtime.and_then(|runtime| runtime.get("env"));
    let list = |key: &str, own: &[String]| {
        let more = match env.and_then(|env| env.get(key)) {
            Some(Value::Array(more)) => &more[..],
            _ => &[],
        };
        Value::Array(own.iter().map(|name| name.clone().into()).chain(more.iter().cloned()).collect())
    };
    let mut set: Vec<(Cow<'static, str>, Value<'static>)> =
        workenv.set.iter().map(|(name, value)| (Cow::Owned(name.clone()), value.clone().into())).collect();
    if let Some(Value::Object(more)) = env.and_then(|env| env.get("set")) {
        set.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
        set.extend(more.iter().cloned());
    }
    let mut members = vec![("unset", list("unset", &workenv.unset)), ("pass", list("pass", &workenv.pass))];
    members.extend(env.and_then(|env| env.get("map")).map(|map| ("map", map.clone())));
    members.push(("set", Value::Object(set)));
    Value::object(members)
}
