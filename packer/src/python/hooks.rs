//! `pre_build` and `post_build`: the project's own commands, before and after the build.
//!
//! They run one after the other in the project's directory, as the developer would type them there, but without a shell.
//! The first that fails ends the build. A file that ends in `.py` is run by the Python that is packed, and with
//! `build.dependencies` by a virtual environment of it, in which they and the project's own dependencies are installed
//! and whose programs are found first.
//!
//! | variable | says |
//! |---|---|
//! | `PSPF_HOOK` | `pre_build` or `post_build` |
//! | `PSPF_NAME` | the package's name |
//! | `PSPF_VERSION` | its version; not before the build when the build backend decides it |
//! | `PSPF_PROJECT` | the project's directory, which is the current one as well |
//! | `PSPF_MANIFEST` | the manifest |
//! | `PSPF_PLATFORM` | what is built for, as `linux_amd64` |
//! | `PSPF_PYTHON` | the Python that `.py` files are run by |
//! | `PSPF_OUTPUT` | in `post_build`: the finished package, verified, under its own name but not yet in its place |

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Request;
use super::command::{self, Output, run};
use super::dependencies::Installer;
use crate::error::{Error, Kind, Result};
use crate::manifest::{Hook, Manifest};
use crate::progress::Progress;

/// The hooks of a project, and what they run in.
#[derive(Debug)]
pub struct Hooks {
    directory: PathBuf,
    python: PathBuf,
    /// The programs of the virtual environment, if there is one.
    programs: Option<PathBuf>,
    variables: Vec<(&'static str, OsString)>,
    after: Vec<Hook>,
}

impl Hooks {
    /// Gets ready what the hooks need; nothing is installed for a project without any.
    pub(super) fn prepare(request: &Request<'_>, installer: &Installer<'_>, progress: &dyn Progress) -> Result<Self> {
        let Manifest { flavor, directory, path, version, .. } = request.manifest;
        let build = &flavor.build;
        let mut hooks = Self {
            directory: directory.clone(),
            python: installer.interpreter.executable.clone(),
            programs: None,
            variables: vec![
                ("PSPF_NAME", request.manifest.package_name().into()),
                ("PSPF_PROJECT", directory.into()),
                ("PSPF_MANIFEST", path.into()),
                ("PSPF_PLATFORM", request.platform.to_string().into()),
            ],
            after: build.post_build.clone(),
        };
        hooks.variables.extend(version.as_ref().map(|version| ("PSPF_VERSION", version.into())));
        match (build.dependencies.is_empty(), build.pre_build.is_empty() && build.post_build.is_empty()) {
            (true, _) => {}
            (false, true) => progress.note("tool.flavor.build.dependencies are for hooks, and there are none"),
            (false, false) => {
                progress.stage("installing what the hooks need", None);
                let environment = request.stage.join("hooks");
                installer.virtual_environment(&environment, &build.dependencies, progress)?;
                hooks.python = environment.join("bin/python");
                hooks.programs = Some(environment.join("bin"));
            }
        }
        hooks.variables.push(("PSPF_PYTHON", hooks.python.clone().into()));
        Ok(hooks)
    }

    /// Runs `pre_build`.
    pub(super) fn before(&self, manifest: &Manifest, progress: &dyn Progress) -> Result<()> {
        let variables = [("PSPF_HOOK", "pre_build".into())];
        manifest.flavor.build.pre_build.iter().try_for_each(|hook| self.run(hook, &variables, progress))
    }

    /// Says what the build has found out.
    pub(super) fn set_version(&mut self, version: &str) {
        self.variables.retain(|(name, _)| *name != "PSPF_VERSION");
        self.variables.push(("PSPF_VERSION", version.into()));
    }

    /// True when something is to be run on the finished package.
    pub(crate) fn follow(&self) -> bool {
        !self.after.is_empty()
    }

    /// Runs `post_build` on the package.
    pub(crate) fn after(&self, package: &Path, progress: &dyn Progress) -> Result<()> {
        let variables = [("PSPF_HOOK", "post_build".into()), ("PSPF_OUTPUT", package.into())];
        self.after.iter().try_for_each(|hook| self.run(hook, &variables, progress))
    }

    fn run(&self, hook: &Hook, variables: &[(&str, OsString)], progress: &dyn Progress) -> Result<()> {
        let shown = hook.words.join(" ");
        progress.stage(&format!("running {shown}"), None);
        let mut command = self.command(hook)?;
        command.current_dir(&self.directory).envs(self.variables.iter().cloned()).envs(variables.iter().cloned());
        if let Some(programs) = &self.programs {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let all = [programs.clone()].into_iter().chain(std::env::split_paths(&path));
            // A directory with a colon in its name is on no PATH.
            command.env("PATH", std::env::join_paths(all).unwrap_or(path));
            command.env("VIRTUAL_ENV", programs.parent().unwrap_or(programs)).env_remove("PYTHONHOME");
        }
        let output = run(&mut command, progress).map_err(|error| match error.kind() {
            Kind::Execution => not_there(hook, &error),
            _ => error,
        })?;
        if output.success() { Ok(()) } else { Err(failed(hook, &output)) }
    }

    fn command(&self, hook: &Hook) -> Result<Command> {
        let (first, rest) = hook.words.split_first().expect("a hook has words");
        let beside = self.directory.join(first);
        let mut command = if first.ends_with(".py") {
            if !beside.is_file() {
                let new = Error::new(Kind::Build, "the hook's file is not there")
                    .expected("a file, relative to the manifest")
                    .found(beside.display().to_string());
                return Err(hook.place.locate("", new).hint("mend the path"));
            }
            let mut command = Command::new(&self.python);
            command.arg(first);
            command
        } else if first.contains('/') {
            Command::new(beside)
        } else {
            let found =
                self.programs.iter().map(|programs| programs.join(first)).find(|file| command::is_executable(file));
            Command::new(found.unwrap_or_else(|| first.into()))
        };
        command.args(rest);
        Ok(command)
    }
}

fn not_there(hook: &Hook, error: &Error) -> Error {
    let program = &hook.words[0];
    let new = Error::new(Kind::Build, "the hook's program cannot be started")
        .found(error.what_was_found().unwrap_or(program).to_owned());
    hook.place.locate("", new.expected("a program on PATH, a path, or a Python file")).hint(
        match program.contains('/') {
            true => format!("check that {program} is there and executable"),
            false => format!("install {program}, or add what brings it to tool.flavor.build.dependencies"),
        },
    )
}

fn failed(hook: &Hook, output: &Output) -> Error {
    let found = match output.status.code() {
        Some(code) => format!("exit code {code}"),
        None => output.status.to_string(),
    };
    let new = Error::new(Kind::Build, "a hook failed, so nothing was packed").expected("exit code 0").found(found);
    hook.place
        .locate("", new.output(output.last(LINES)))
        .hint(format!("mend what it found; it is {:?}", hook.words.join(" ")))
}

/// How much is shown of what a failed hook said.
const LINES: usize = 60;
