//! Byte code: one process, one order, the same bytes on every run.

use std::path::Path;
use std::process::Command;

use super::command::run;
use crate::error::Result;
use crate::progress::Progress;

/// Compiles every module below `tree` with `python`, the packaged interpreter itself.
///
/// The byte code never looks at its source's time again (unchecked hash), and names `label` where the tree's
/// path would be. `without` is left out. What does not compile (templates, code for Python 2) stays as it is: it can only fail when used.
pub(super) fn compile(
    python: &Path,
    tree: &Path,
    label: &str,
    without: Option<&Path>,
    progress: &dyn Progress,
) -> Result<()> {
    let mut command = Command::new(python);
    // `-I` would ignore the hash seed, without which the order of constants in sets changes from run to run.
    command
        .args(["-B", "-S", "-s", "-c", include_str!("scripts/compile.py")])
        .arg(tree)
        .arg(label)
        .arg(without.unwrap_or(Path::new("")))
        .current_dir(tree)
        .env_clear()
        .env("PYTHONHASHSEED", "0")
        .env("PYTHONUTF8", "1")
        .env("LC_ALL", "C");
    let output = run(&mut command, progress)?;
    if !output.success() {
        let last = output.tail().lines().last().unwrap_or_default().to_owned();
        progress.note(&format!("not everything in {label} is compiled ({} {last})", output.status));
    }
    Ok(())
}
