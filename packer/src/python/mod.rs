//! Python projects: interpreter, dependencies and project become three directory trees.
//!
//! [`stage`] does everything that must not happen on the user's machine: it finds an interpreter and makes it
//! independent of this one, installs what the project depends on, builds the project, compiles all of it, and lays
//! out the private environment that the launcher will write at the first start. What it answers with is ordinary
//! files and plain data; the same project gives the same trees.
//!
//! | step | module | result |
//! |---|---|---|
//! | which Python | [`interpreter`](Interpreter) | an interpreter on this machine |
//! | which Python for another platform | `foreign` | one that is looked at and never run |
//! | the project | `project`, `plain` | `application-code`, a site directory |
//! | what it depends on | `dependencies` | `python-environment`, a site directory |
//! | what it starts | `entry` | entry points that exist |
//! | what it does not need | `prune` | trees without tests and documentation |
//! | the interpreter | `runtime`, `libraries`, `elf` | `python-runtime`, a prefix without links |
//! | byte code | `compile` | `.pyc` files, the same on every run |
//! | where it runs | [`Workenv`] | directories, files, links, command |
//! | what it is made of | `inventory`, `artifacts`, `distributions` | the parts that the SBOM lists |

mod archive;
mod artifacts;
mod cache;
mod command;
mod compile;
mod dependencies;
mod distributions;
pub(crate) mod elf;
mod entry;
mod extras;
mod foreign;
mod hooks;
mod interpreter;
mod inventory;
mod libraries;
mod local;
mod lock;
mod outline;
mod parallel;
mod plain;
mod plan;
mod project;
mod prune;
mod runtime;
mod site;
mod tree;
mod uv;
mod wheel_scripts;
mod workenv;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use pspf_core::metadata::Lifecycle;

use crate::error::{Error, Kind, Result};
use crate::manifest::{Manifest, Requirement, Script};
use crate::plan::PlannedSlot;
use crate::platform::Platform;
use crate::progress::Progress;
use crate::sbom::Inventory;
use crate::sources::Sources;

pub(crate) use command::on_path;
pub use hooks::Hooks;
pub use interpreter::{Interpreter, Origin, on_this_machine};
pub(crate) use outline::{Outline, outline};
pub(crate) use plan::PYTHON_KEY;
pub use plan::plan;
pub(crate) use workenv::{APPLICATION, ENVIRONMENT, RUNTIME};
pub use workenv::{Workenv, WorkenvFile};

/// What to stage, and where.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The project.
    pub manifest: &'a Manifest,
    /// The interpreter that the user names (`--python`): a prefix, an executable or an archive.
    pub python: Option<&'a Path>,
    /// An empty directory of the caller's, which it deletes when the package is written.
    pub stage: &'a Path,
    /// The packer's cache; it need not exist yet. Trees in it are shared by all packs and must not be changed.
    pub cache: &'a Path,
    /// The project's extras to install (`--extra`).
    pub extras: &'a [String],
    /// Whether to install what a lock pins, or nothing (`--frozen`).
    pub frozen: bool,
    /// What the package is for; slots for other platforms stay out of it.
    pub platform: Platform,
}

impl Request<'_> {
    /// What the package is for when that is not this machine.
    fn target(&self) -> Option<Platform> {
        Platform::host().filter(|host| !host.fits(self.platform)).map(|_| self.platform)
    }
}

/// A project that is ready to be packed.
#[derive(Debug)]
pub struct Staged {
    /// What the package is called.
    pub name: String,
    /// The project's version, from the manifest or from its build backend.
    pub version: String,
    /// The interpreter that is in [`runtime`](Self::runtime).
    pub python: Interpreter,
    /// The slot `python-runtime`.
    pub runtime: Tree,
    /// The slot `python-environment`; empty when there are no dependencies.
    pub environment: Tree,
    /// The slot `application-code`.
    pub application: Tree,
    /// What the launcher makes around the slots.
    pub workenv: Workenv,
    /// The highest glibc version that anything in the three trees needs.
    pub glibc: Option<(u32, u32)>,
    /// Shared libraries that the user's machine must have besides glibc, since extension modules of dependencies
    /// expect them: most often `libstdc++.so.6` and `libgcc_s.so.1`.
    pub libraries: BTreeSet<String>,
    /// What the package's commands call: name to `module:function`. [`Workenv::entry_points`] starts them.
    pub entry_points: BTreeMap<String, String>,
    /// The manifest's own slots that are for the platform.
    pub slots: Vec<PlannedSlot>,
    /// Which of them each slot of the manifest is.
    pub numbers: Vec<Option<usize>>,
    /// What runs when the package is finished.
    pub hooks: Hooks,
    /// What it is made of.
    pub inventory: Inventory,
}

/// A finished directory tree: no symbolic links, modes 0644 and 0755.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Its root.
    pub path: PathBuf,
    /// Names the tree's content, so that what is made of it can be cached; `None` when it is made for this pack only.
    pub key: Option<String>,
}

/// Turns the project of `request` into trees. Nothing is written but below the stage and the cache.
pub fn stage(request: &Request<'_>, progress: &dyn Progress) -> Result<Staged> {
    let Request { manifest, stage, .. } = *request;
    // Programs are started in other directories.
    let cache = &std::path::absolute(request.cache).unwrap_or_else(|_| request.cache.to_path_buf());
    let stage = &std::path::absolute(stage).unwrap_or_else(|_| stage.to_path_buf());
    let request = &Request { stage, cache, ..*request };

    let (requirements, lock) = begin(request)?;
    progress.stage("looking for Python", None);
    let tools = uv::Tools::new(cache);
    let interpreter = match interpreter::select(request, &tools, progress) {
        Ok(interpreter) => interpreter,
        Err(error) if request.target().is_none() => return Err(error),
        error => return Err(lacking(request, &tools, None, error, progress)?),
    };
    progress.note(&format!("Python {} {} ({})", interpreter.version, interpreter.origin, interpreter.prefix.display()));

    let projects = local::projects(manifest)?;
    let installer = dependencies::Installer {
        manifest,
        interpreter: &interpreter,
        tools: &tools,
        stage,
        lock: lock.as_ref(),
        extras: request.extras,
        frozen: request.frozen,
        projects: &projects,
    };
    let mut hooks = Hooks::prepare(request, &installer, progress)?;
    hooks.before(manifest, progress)?;
    let (slots, numbers) = slots(request, &interpreter, progress)?;

    let source = stage.join("source");
    project::copy_source(manifest, &source, &[stage, cache], progress)?;
    // Most of the work on the interpreter needs only a guess at what the app will import.
    let guess = project::extras(&source, None, progress)?;
    let shelf = cache.join("runtimes");
    let (runtime, built) = parallel::both(
        progress,
        |progress| runtime::prepare(&interpreter, guess, &shelf, progress),
        |progress| build(&installer, requirements.as_deref(), cache, &source, progress),
    )?;
    let Built { project, environment, scripts, command } = built;
    let dependencies::Installed { site: environment, artifacts } = environment;
    let started: Vec<&Script> = scripts.iter().chain([&command]).collect();
    prune::prune(manifest, &started, &project.site, environment.path(), progress)?;
    let extras = project::extras(&project.site, Some(environment.path()), progress)?;
    let runtime = if extras == guess { runtime } else { runtime::prepare(&interpreter, extras, &shelf, progress)? };
    let compiler = interpreter.compiler(&runtime.path);
    let compiler = compiler.as_deref();
    let environment = match site::share_a_package(&project.site, environment.path())? {
        Some(package) => {
            progress.note(&format!("project and dependencies share the package {package}, so they share a slot"));
            tree::merge(environment.path(), &project.site)?;
            let empty = stage.join("environment");
            tree::make_directory(&empty)?;
            Tree { path: empty, key: None }
        }
        None => dependencies::finish(environment, &runtime, compiler, progress)?,
    };
    if let Some(compiler) = compiler {
        progress.stage("compiling the project", None);
        compile::compile(compiler, &project.site, workenv::APPLICATION, None, progress)?;
    }
    tree::even_out(&project.site)?;

    let data = [
        (workenv::APPLICATION, site::data(&project.site)?),
        (workenv::ENVIRONMENT, site::data(&environment.path)?),
        (workenv::RUNTIME, runtime::scripts(&interpreter, &runtime.path)?),
    ];
    if interpreter.is_for_windows()
        && let Some((slot, paths)) = data.iter().find(|(_, paths)| !paths.is_empty())
    {
        let path = paths[0].display();
        progress
            .note(&format!("what wheels have beside modules, as {path}, stays in {slot}: Windows has no links to it"));
    }
    let mut glibc = None;
    for tree in [&runtime.path, &environment.path, &project.site] {
        glibc = glibc.max(elf::glibc_floor(tree)?);
    }
    let parts = inventory::Parts {
        manifest,
        version: &project.version,
        interpreter: &interpreter,
        runtime: &runtime.path,
        sites: [&project.site, &environment.path],
        artifacts: &artifacts,
        wheel: project.wheel.as_ref(),
    };
    let inventory = parts.inventory()?;
    let libraries = libraries::expected_of_the_machine(&[&environment.path, &project.site], &runtime.path)?;
    hooks.set_version(&project.version);
    let entry_points: BTreeMap<String, String> =
        [&command].into_iter().chain(&scripts).map(|one| (one.name.clone(), one.entry_point.to_string())).collect();
    if let Some(taken) = entry_points.get(&command.name).filter(|taken| **taken != command.entry_point.to_string()) {
        progress.note(&format!(
            "the script {} calls {taken}, and the package itself {}: a link called {} starts the script",
            command.name, command.entry_point, command.name
        ));
    }
    let mut workenv = workenv::lay_out(&interpreter, &command, &scripts, &data);
    if slots.iter().any(|slot| slot.lifecycle == Lifecycle::Lazy) {
        let sites = [&project.site, &environment.path];
        match sites.iter().any(|site| site.join("pspf").exists() || site.join("pspf.py").exists()) {
            false => workenv.add_slots_module(&interpreter),
            true => progress.note("the project has a module pspf of its own, so packer adds none"),
        }
    }
    Ok(Staged {
        name: manifest.package_name().to_owned(),
        version: project.version,
        workenv,
        python: interpreter,
        runtime,
        environment,
        application: Tree { path: project.site, key: None },
        glibc,
        libraries,
        entry_points,
        slots,
        numbers,
        hooks,
        inventory,
    })
}

/// What the project depends on, `None` where the build backend decides it, and the lock that says in which versions.
fn begin(request: &Request<'_>) -> Result<(Option<Vec<Requirement>>, Option<lock::Lock>)> {
    let Request { manifest, extras, frozen, .. } = *request;
    let requirements = extras::requirements(manifest, extras)?;
    let lock = lock::Lock::of(manifest);
    if frozen && lock.is_none() {
        return Err(Error::new(Kind::Configuration, "there is no lock to keep to")
            .file(manifest.directory.join("uv.lock"))
            .field("--frozen")
            .expected("uv.lock or pylock.toml beside the manifest")
            .hint("make one with uv lock, or leave --frozen out"));
    }
    Ok((requirements, lock))
}

/// The error for a package for another platform that lacks a launcher, with all else that is missing: one gets it all from
/// elsewhere. `launcher` is what the search for a launcher has come to.
pub fn missing(request: &Request<'_>, launcher: Error, progress: &dyn Progress) -> Error {
    let tools = uv::Tools::new(request.cache);
    progress.stage("looking for Python", None);
    let interpreter = interpreter::select(request, &tools, progress);
    lacking(request, &tools, Some(launcher), interpreter, progress).unwrap_or_else(|error| error)
}

/// The error that names all that is missing.
fn lacking(
    request: &Request<'_>,
    tools: &uv::Tools<'_>,
    launcher: Option<Error>,
    interpreter: Result<Interpreter>,
    progress: &dyn Progress,
) -> Result<Error> {
    let Request { manifest, stage, platform, .. } = *request;
    let lacks = |error: &Error| matches!(error.kind(), Kind::Dependency | Kind::Configuration);
    let (interpreter, version) = match interpreter {
        Ok(interpreter) => (None, interpreter.version),
        // What somebody names is there, and wrong; whatever else went wrong is for itself.
        Err(error) if !lacks(&error) || (launcher.is_none() && interpreter::named(request).is_some()) => {
            return Err(error);
        }
        Err(error) => (Some(error), foreign::likely_version(&interpreter::Wanted::new(manifest))),
    };
    let wheels = match extras::requirements(manifest, request.extras)? {
        Some(requirements) if !requirements.is_empty() => {
            let interpreter = foreign::imagined(platform, &version, request.cache, tools, progress)?;
            let installer = dependencies::Installer {
                manifest,
                interpreter: &interpreter,
                tools,
                stage,
                lock: None,
                extras: request.extras,
                frozen: false,
                projects: &[],
            };
            installer.try_out(&requirements, progress).err()
        }
        _ => None,
    };
    let all = [("launcher", launcher), ("interpreter", interpreter), ("wheels", wheels)];
    let found: Vec<(&str, Error)> = all.into_iter().filter_map(|(part, error)| Some((part, error?))).collect();
    let parts: Vec<&str> = found.iter().map(|(part, _)| *part).collect();
    let list: Vec<String> = found.iter().map(|(part, error)| format!("{part}: {error}")).collect();
    Ok(Error::new(Kind::Dependency, format!("not all is there that a package for {platform} is made of"))
        .file(&manifest.path)
        .field("--platform")
        .expected("a launcher, an interpreter and wheels for it")
        .found(format!("no {}", parts.join(", no ")))
        .output(list.join("\n"))
        .hint("get what is missing as each of them says, and pack again"))
}

/// Project and dependencies, installed but not compiled.
struct Built {
    project: project::Project,
    environment: dependencies::Installed,
    scripts: Vec<Script>,
    command: Script,
}

/// The manifest's own slots, and what is worth saying of them. They come after `pre_build`, which may make their sources.
fn slots(
    request: &Request<'_>,
    interpreter: &Interpreter,
    progress: &dyn Progress,
) -> Result<(Vec<PlannedSlot>, Vec<Option<usize>>)> {
    tell(request, progress);
    let sources = Sources { interpreter: Some(workenv::program(interpreter)), ..sources(request) };
    sources.plan(&request.manifest.flavor.slots, progress)
}

/// Says what is worth saying of the manifest.
fn tell(request: &Request<'_>, progress: &dyn Progress) {
    for note in &request.manifest.flavor.notes {
        progress.note(note);
    }
}

/// Where the manifest's own slots come from, as long as nobody knows which Python it will be.
fn sources<'a>(request: &Request<'a>) -> Sources<'a> {
    let Manifest { directory, flavor, .. } = request.manifest;
    Sources {
        directory,
        platform: request.platform,
        compression: flavor.compression,
        like_flavorpack: false,
        interpreter: Some("{workenv}/python/python3".to_owned()),
    }
}

fn build(
    installer: &dependencies::Installer<'_>,
    requirements: Option<&[Requirement]>,
    cache: &Path,
    source: &Path,
    progress: &dyn Progress,
) -> Result<Built> {
    let dependencies::Installer { manifest, interpreter, tools, .. } = *installer;
    let shelf = cache.join("environments");
    // Both need it, and one of them should fetch it.
    tools.uv(progress)?;
    let (project, environment) = match requirements {
        Some(requirements) => parallel::both(
            progress,
            |progress| project::build(installer, Some(requirements), source, progress),
            |progress| dependencies::install(installer, requirements, &shelf, progress),
        )?,
        None => {
            let project = project::build(installer, None, source, progress)?;
            let environment = dependencies::install(installer, &project.requirements, &shelf, progress)?;
            (project, environment)
        }
    };
    let mut scripts: Vec<Script> = manifest.scripts.values().chain([&manifest.command]).cloned().collect();
    entry::check(manifest, &mut scripts, [&project.site, environment.site.path()], interpreter, progress)?;
    let command = scripts.pop().expect("the command is the last one");
    Ok(Built { project, environment, scripts, command })
}

/// True for the slots that packer makes of a project.
pub(crate) fn is_own(id: &str) -> bool {
    [workenv::RUNTIME, workenv::ENVIRONMENT, workenv::APPLICATION].contains(&id)
}

/// Part of every key in the cache: counts up when the same input would give another tree.
const SCHEMA: u32 = 1;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
