//! Entry points: checked when packing, and the scripts that call them.

use std::path::Path;

use super::command::run;
use super::interpreter::{Interpreter, python};
use crate::error::{Error, Kind, Result};
use crate::manifest::{EntryPoint, Manifest, Script};
use crate::progress::Progress;

/// Checks that every one of `scripts` leads to something that can be called, without running any of the project, and
/// notes what its modules import and nobody brings.
///
/// A script is changed where Python would import a module of the same name: `myapp:main` becomes `myapp.main:main`
/// when `main` is not in `myapp/__init__.py` but in `myapp/main.py`.
pub(super) fn check(
    manifest: &Manifest,
    scripts: &mut [Script],
    sites: [&Path; 2],
    interpreter: &Interpreter,
    progress: &dyn Progress,
) -> Result<()> {
    let entries = scripts.iter().map(
        |script| serde_json::json!({ "module": script.entry_point.module, "function": script.entry_point.function }),
    );
    let job = serde_json::json!({ "paths": sites, "entries": entries.collect::<Vec<_>>() }).to_string();
    let output =
        run(python(&interpreter.executable).args(["-S", "-c", include_str!("scripts/check.py"), &job]), progress)?;
    let Ok(Verdicts { entries, missing }) = serde_json::from_slice(&output.stdout) else {
        return Err(Error::new(Kind::Build, "the entry points cannot be checked")
            .file(&manifest.path)
            .output(output.tail())
            .hint("please report this, with the output"));
    };
    for (script, verdict) in scripts.iter_mut().zip(entries) {
        if let Some(instead) = verdict.instead.as_deref().and_then(EntryPoint::parse) {
            progress.note(&format!("{} is a module: taking {instead} for {}", script.entry_point, script.field));
            script.entry_point = instead;
        } else if let Some(what) = verdict.what {
            let new = Error::new(Kind::Configuration, what)
                .file(&manifest.path)
                .line(script.line)
                .field(&script.field)
                .expected("a module and a function of the project or of a dependency")
                .found(verdict.found);
            return Err(match (verdict.near, verdict.hint) {
                (Some(near), _) => new.hint(format!("did you mean {near:?}?")),
                (None, Some(hint)) => new.hint(hint),
                (None, None) => new.hint(format!(
                    "{} is {:?}; correct it, or the code",
                    script.field,
                    script.entry_point.to_string()
                )),
            });
        }
    }
    for (module, file) in missing {
        progress.note(&format!(
            "{file} imports {module}, which neither the project nor a dependency has: add what brings it to \
             project.dependencies"
        ));
    }
    Ok(())
}

/// What `scripts/check.py` says.
#[derive(serde::Deserialize)]
struct Verdicts {
    entries: Vec<Verdict>,
    /// Modules that nobody brings, and the file that imports them.
    missing: Vec<(String, String)>,
}

/// About an entry point; nothing when all is well.
#[derive(serde::Deserialize)]
struct Verdict {
    what: Option<String>,
    #[serde(default)]
    found: String,
    near: Option<String>,
    hint: Option<String>,
    instead: Option<String>,
}

/// The text of the script that calls `entry_point`, for an interpreter that is told to run it.
/// It is importable without running anything, since workers started by spawning import it.
pub(super) fn module(entry_point: &EntryPoint) -> String {
    let module = &entry_point.module;
    match &entry_point.function {
        Some(function) => {
            let imported = function.split('.').next().unwrap_or(function);
            format!(
                "import sys\n\nif __name__ == \"__main__\":\n    from {module} import {imported}\n\n    \
                 result = {function}()\n    \
                 sys.exit(result if result is None or isinstance(result, (int, str)) else 0)\n"
            )
        }
        // Not a module that can be imported: this script has its name.
        None if module == "__main__" => "import runpy\nfrom importlib.machinery import PathFinder\n\n\
                 if __name__ == \"__main__\":\n    \
                 runpy.run_path(PathFinder.find_spec(\"__main__\").origin, run_name=\"__main__\")\n"
            .to_owned(),
        None => format!(
            "import runpy\n\nif __name__ == \"__main__\":\n    \
             runpy.run_module(\"{module}\", run_name=\"__main__\", alter_sys=True)\n"
        ),
    }
}

/// The same as a program, which starts the interpreter called `python` that is beside its directory.
pub(super) fn script(entry_point: &EntryPoint, python: &str) -> String {
    header(python) + &module(entry_point)
}

/// The first lines of a script in `bin/` of the workenv: they start it with the interpreter called `python`.
///
/// The script is both one for the shell and one for Python: these lines are a string to Python, and to the shell an `exec`
/// of the interpreter. An ordinary `#!` line cannot name an interpreter below a HOME with a space in it.
pub(super) fn header(python: &str) -> String {
    format!("#!/bin/sh\n'''exec' \"${{0%/*}}/../python/{python}\" \"$0\" \"$@\"\n' '''\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_calls_its_function_and_passes_its_result_on() {
        let script = script(&EntryPoint::parse("pkg.cli:App.main").unwrap(), "python3.11");
        assert!(
            script.starts_with("#!/bin/sh\n'''exec' \"${0%/*}/../python/python3.11\" \"$0\" \"$@\"\n' '''\n"),
            "{script}"
        );
        assert!(script.contains("    from pkg.cli import App\n\n    result = App.main()\n"), "{script}");
    }

    #[test]
    fn a_module_alone_runs_as_with_m() {
        let script = script(&EntryPoint::parse("pkg").unwrap(), "python3.11");
        assert!(script.contains("run_module(\"pkg\", run_name=\"__main__\", alter_sys=True)"), "{script}");
    }
}
