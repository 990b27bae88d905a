//! A staged project as a [`Plan`].

use std::borrow::Cow;

use launcher::text::quote;
use pspf_core::format::Operations;
use pspf_core::json::Value;
use pspf_core::metadata::{Lifecycle, WORKENV_KEY};

use super::workenv::{APPLICATION, ENVIRONMENT, RUNTIME};
use super::{Staged, Tree, Workenv, WorkenvFile};
use crate::manifest::Manifest;
use crate::plan::{Facts, Plan, PlannedSlot, Source};

/// Plans the package of a staged project.
pub fn plan(manifest: &Manifest, staged: Staged) -> Plan {
    let document = document(manifest, &staged);
    let Staged { name, version, python, runtime, environment, application, glibc, entry_points, .. } = staged;
    Plan {
        manifest: manifest.path.clone(),
        name,
        version,
        document,
        slots: vec![
            slot(RUNTIME, runtime, "runtime"),
            slot(ENVIRONMENT, environment, "payload"),
            slot(APPLICATION, application, "payload"),
        ],
        app_id: manifest.flavor.app_id.clone(),
        release: manifest.flavor.release.unwrap_or(0),
        entry_points,
        facts: Facts { python: Some(python.version.to_string()), glibc },
    }
}

fn slot(id: &str, tree: Tree, purpose: &str) -> PlannedSlot {
    PlannedSlot {
        id: id.to_owned(),
        source: Source::Tree { path: tree.path, key: tree.key, exclude: Vec::new() },
        source_name: id.to_owned(),
        target: id.to_owned(),
        purpose: purpose.to_owned(),
        lifecycle: Lifecycle::Runtime,
        platform: LINUX,
        permissions: 0o755,
        operations: Operations::TAR_GZIP,
        level: None,
    }
}

fn document(manifest: &Manifest, staged: &Staged) -> Value<'static> {
    let workenv = &staged.workenv;
    let mut package = vec![("name", staged.name.clone().into()), ("version", staged.version.clone().into())];
    if let Some(description) = &manifest.description {
        package.push(("description", description.clone().into()));
    }
    let directory = |path: &String| Value::object([("path", path.clone().into()), ("mode", "0755".into())]);
    let directories = workenv.directories.iter().map(directory).collect();
    Value::object([
        ("package", Value::object(package)),
        ("execution", Value::object([("command", quote(&workenv.command).into()), ("env", Value::Object(Vec::new()))])),
        ("setup_commands", Value::Array(workenv.files.iter().map(write_file).collect())),
        ("runtime", Value::object([("env", runtime_env(workenv))])),
        ("workenv", Value::object([("directories", Value::Array(directories))])),
        (
            "extensions",
            Value::object([(
                WORKENV_KEY,
                Value::object([("links", Value::Array(workenv.links.iter().map(link).collect()))]),
            )]),
        ),
    ])
}

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

fn runtime_env(workenv: &Workenv) -> Value<'static> {
    let set = workenv.set.iter().map(|(name, value)| (Cow::Owned(name.clone()), value.clone().into())).collect();
    Value::object([
        ("unset", Value::array(workenv.unset.iter().cloned())),
        ("pass", Value::array(workenv.pass.iter().cloned())),
        ("set", Value::Object(set)),
    ])
}

/// The slot descriptor's number for Linux.
const LINUX: u8 = 1;
