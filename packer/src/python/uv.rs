//! uv: the one on PATH, else a pinned wheel of it in our cache, else none and pip does the work.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::cache;
use super::command::{self, run};
use super::interpreter::{self, python};
use crate::error::{Kind, Result};
use crate::progress::Progress;

/// The version that is installed when the machine has none.
const VERSION: &str = "0.13.9";

/// A uv that can be run.
#[derive(Debug, Clone)]
pub(super) struct Uv(PathBuf);

impl Uv {
    /// A command that runs it without colours or bars; its own configuration and variables hold.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.0);
        command.args(["--color", "never", "--no-progress"]).env_remove("VIRTUAL_ENV");
        command
    }
}

/// The tools of one run, looked for when they are first needed.
pub(super) struct Tools<'a> {
    cache: &'a Path,
    uv: OnceLock<Option<Uv>>,
}

impl<'a> Tools<'a> {
    pub(super) fn new(cache: &'a Path) -> Self {
        Self { cache, uv: OnceLock::new() }
    }

    /// uv, or `None` when there is none to be had.
    pub(super) fn uv(&self, progress: &dyn Progress) -> Result<Option<&Uv>> {
        if self.uv.get().is_none() {
            let found = find(self.cache, progress)?;
            let _ = self.uv.set(found);
        }
        Ok(self.uv.get().and_then(Option::as_ref))
    }
}

fn find(cache: &Path, progress: &dyn Progress) -> Result<Option<Uv>> {
    if let Some(path) = command::on_path("uv") {
        return Ok(Some(Uv(path)));
    }
    let home = cache.join("tools").join(format!("uv-{VERSION}"));
    let program = home.join("bin/uv");
    if command::is_executable(&program) {
        return Ok(Some(Uv(program)));
    }
    let Some(helper) = interpreter::helper(progress)? else { return Ok(None) };
    progress.stage("fetching uv", None);
    let work = cache::workspace(&cache.join("tools"))?;
    let mut install = python(&helper);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile"]);
    install.args(["--only-binary", ":all:", "--target"]).arg(work.path()).arg(format!("uv=={VERSION}"));
    if std::env::var_os("PIP_RETRIES").is_none() {
        install.env("PIP_RETRIES", "1");
    }
    match run(&mut install, progress) {
        Ok(output) if output.success() => {
            cache::publish(work, &home)?;
            Ok(command::is_executable(&program).then_some(Uv(program)))
        }
        Err(error) if error.kind() == Kind::Cancelled => Err(error),
        _ => {
            progress.note("uv could not be fetched; pip does its work, more slowly");
            Ok(None)
        }
    }
}
