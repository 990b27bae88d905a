//! What packing a Python project would do, as far as the manifest alone says it. Nothing is run, found or fetched.

use std::path::PathBuf;

use pspf_core::format::Operations;
use pspf_core::json::Value;

use super::lock::Lock;
use super::{Request, Tree, begin, plan, sources, tell};
use crate::error::Result;
use crate::manifest::{Hook, LocalProject, Manifest, Requirement, SlotSpec};
use crate::plan::{Facts, Plan, PlannedSlot, Source};
use crate::progress::Progress;
use crate::sbom::Inventory;
use crate::sources::archive;

/// A project that could be packed.
pub(crate) struct Outline {
    /// Its plan, with `module:function` for command lines, slots of packer's own without a tree, and an empty version where the build
    /// backend decides it.
    pub(crate) plan: Plan,
    /// What comes first, in this order.
    pub(crate) steps: Vec<String>,
    /// What follows on the finished package.
    pub(crate) afterwards: Vec<String>,
}

/// Outlines the project of a request, whose stage and cache are not looked at.
pub(crate) fn outline(request: &Request<'_>, progress: &dyn Progress) -> Result<Outline> {
    let manifest = request.manifest;
    let (_, lock) = begin(request)?;
    tell(request, progress);
    let no_tree = || Tree { path: PathBuf::new(), key: None };
    let own = plan::own_slots(manifest, request.platform.os, [no_tree(), no_tree(), no_tree()]);
    let calls = manifest.command.entry_point.to_string();
    let mut execution = vec![("command", calls.clone().into())];
    execution
        .extend(manifest.flavor.execution.working_directory.clone().map(|path| ("working_directory", path.into())));
    let mut document = vec![("execution", Value::object(execution))];
    document.extend(manifest.flavor.policy.clone().map(|policy| ("policy", policy)));
    let scripts = manifest.scripts.values().map(|script| (script.name.clone(), script.entry_point.to_string()));
    let plan = Plan {
        manifest: manifest.path.clone(),
        name: manifest.package_name().to_owned(),
        version: manifest.version.clone().unwrap_or_default(),
        document: Value::object(document),
        slots: own.into_iter().chain(slots(request, progress)?).collect(),
        app_id: manifest.flavor.app_id.clone(),
        release: manifest.flavor.release.unwrap_or(0),
        entry_points: [(manifest.command.name.clone(), calls)].into_iter().chain(scripts).collect(),
        strip: manifest.flavor.strip,
        inventory: Inventory::of(manifest.package_name(), manifest.version.as_deref().unwrap_or_default()),
        facts: Facts::default(),
    };
    let build = &manifest.flavor.build;
    Ok(Outline {
        plan,
        steps: steps(request, lock.as_ref()),
        afterwards: build.post_build.iter().map(|hook| format!("{} (post_build)", shown(hook))).collect(),
    })
}

/// The manifest's own slots. Where hooks may make the sources, one that is not there yet is no error.
fn slots(request: &Request<'_>, progress: &dyn Progress) -> Result<Vec<PlannedSlot>> {
    let flavor = &request.manifest.flavor;
    let sources = sources(request);
    let mut slots = Vec::new();
    for spec in &flavor.slots {
        match sources.plan(std::slice::from_ref(spec), progress) {
            Ok((planned, _)) => slots.extend(planned),
            Err(_) if !flavor.build.pre_build.is_empty() => slots.push(unseen(spec, flavor.compression)),
            Err(error) => return Err(error),
        }
    }
    Ok(slots)
}

/// A slot whose source is not there, taken for a directory.
fn unseen(spec: &SlotSpec, compression: Option<Operations>) -> PlannedSlot {
    PlannedSlot {
        id: spec.id.clone(),
        source: Source::Tree { path: PathBuf::new(), key: None, exclude: Vec::new() },
        source_name: spec.source.clone(),
        target: spec.target.clone(),
        purpose: spec.purpose.clone(),
        lifecycle: spec.lifecycle,
        platform: spec.platform.map_or(0, |platform| platform.os as u8),
        permissions: spec.permissions.unwrap_or(0o755),
        operations: archive(spec.operations.or(compression).unwrap_or(Operations::GZIP)),
        level: spec.level,
        commands: spec.command.iter().cloned().collect(),
    }
}

fn steps(request: &Request<'_>, lock: Option<&Lock>) -> Vec<String> {
    let Manifest { flavor, dependencies, .. } = request.manifest;
    let list = |requirements: &[Requirement]| {
        requirements.iter().map(|requirement| requirement.text.as_str()).collect::<Vec<_>>().join(", ")
    };
    let wanted = match (&flavor.python_version, &request.manifest.requires_python) {
        (Some(version), _) => format!("Python {version}"),
        (None, Some(requires)) => format!("Python {requires}"),
        (None, None) => "the current python3, or any Python 3.9 or newer".to_owned(),
    };
    let mut steps = vec![match request.python.or(flavor.python.as_deref()) {
        Some(path) => format!("find {wanted} at {}", path.display()),
        None if request.target().is_some() => {
            format!("find {wanted} for {}: what uv has or can fetch", request.platform)
        }
        None => format!("find {wanted}: what uv manages or can fetch, else one on this machine"),
    }];
    let build = &flavor.build;
    let has_hooks = !build.pre_build.is_empty() || !build.post_build.is_empty();
    if has_hooks && !build.dependencies.is_empty() {
        steps.push(format!("install {} for the hooks", list(&build.dependencies)));
    }
    steps.extend(build.pre_build.iter().map(|hook| format!("run {} (pre_build)", shown(hook))));
    let mut install = match dependencies {
        None => "install what the build backend says that the project depends on".to_owned(),
        Some(requirements) if requirements.is_empty() => "install nothing: the project has no dependencies".to_owned(),
        Some(requirements) => format!("resolve and install {}", list(requirements)),
    };
    if !request.extras.is_empty() {
        install.push_str(&format!(", and the extras {}", request.extras.join(", ")));
    }
    if let Some(lock) = lock {
        let name = lock.path().file_name().unwrap_or_default().to_string_lossy();
        let how = if request.frozen { "exactly as" } else { "as long as it fits, in the versions of" };
        install.push_str(&format!(", {how} {name}"));
    }
    steps.push(install);
    steps
        .extend(build.projects.iter().map(|LocalProject { path, .. }| format!("build and install {}", path.display())));
    steps.push(match request.manifest.has_build_system {
        true => "build the project with its build backend".to_owned(),
        false => "take the project as it is, or build it with setuptools where that knows how".to_owned(),
    });
    steps
}

fn shown(hook: &Hook) -> String {
    hook.words.join(" ")
}
