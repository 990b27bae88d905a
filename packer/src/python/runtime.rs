//! The `python-runtime` tree: one interpreter and its standard library, small, and independent of this machine.
//!
//! ```text
//! bin/python3.11            the executable
//! lib/python3.11/           the standard library, compiled, without tests, headers and build files
//! lib/python3.11/site-packages/   pip, and nothing else
//! lib/libssl.so.3 ...       what the interpreter borrowed from this machine
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::cache;
use super::command::run;
use super::compile::compile;
use super::elf::{self, Elf};
use super::interpreter::{Interpreter, python};
use super::libraries::{Loader, is_glibc};
use super::project::Extras;
use super::site;
use super::tree::{self, Keep};
use super::{SCHEMA, Tree, hex};
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// The finished runtime for `interpreter`: from the cache, or made now and left there.
pub(super) fn prepare(
    interpreter: &Interpreter,
    extras: Extras,
    shelf: &Path,
    progress: &dyn Progress,
) -> Result<Tree> {
    // One for another platform comes with all that it needs.
    let borrowed = match interpreter.foreign {
        None => borrow(interpreter, extras, progress)?,
        Some(_) => Borrowed::default(),
    };
    let key = key(interpreter, extras, &borrowed);
    let finished = shelf.join(&key);
    if !finished.is_dir() {
        progress.stage(&format!("preparing Python {}", interpreter.version), None);
        let work = cache::workspace(shelf)?;
        build(interpreter, extras, &borrowed, work.path(), progress)?;
        progress.check()?;
        cache::publish(work, &finished)?;
    }
    Ok(Tree { path: finished, key: Some(key) })
}

/// What the interpreter borrows from this machine.
#[derive(Default)]
struct Borrowed {
    /// Libraries by soname.
    libraries: BTreeMap<String, PathBuf>,
    /// Extension modules that cannot be had, because a library of theirs is not here.
    without: BTreeSet<PathBuf>,
}

fn borrow(interpreter: &Interpreter, extras: Extras, progress: &dyn Progress) -> Result<Borrowed> {
    let loader = Loader::new(progress)?;
    let program = loader.closure(&interpreter.executable)?;
    if let Some(missing) = program.missing.first() {
        return Err(Error::new(Kind::Dependency, "the interpreter needs a library that this machine has not")
            .file(&interpreter.executable)
            .found(format!("no {missing}"))
            .hint("install it, or name another interpreter with --python"));
    }
    let mut borrowed = Borrowed { libraries: program.found, ..Borrowed::default() };
    let modules = interpreter.library().join("lib-dynload");
    // An interpreter that has all of them built in needs no such directory.
    if !modules.is_dir() {
        return Ok(borrowed);
    }
    tree::walk(&modules, &mut |relative, metadata| {
        let in_library = Path::new("lib-dynload").join(relative);
        if !metadata.is_file() || keep(&in_library, false, extras) == Keep::No {
            return Ok(Keep::Yes);
        }
        let closure = loader.closure(&modules.join(relative))?;
        if let Some(missing) = closure.missing.first() {
            let module = relative.display().to_string();
            let module = module.split('.').next().unwrap_or_default();
            progress.note(&format!("the module {module} is left out: this machine has no {missing}"));
            borrowed.without.insert(in_library);
        } else {
            borrowed.libraries.extend(closure.found);
        }
        Ok(Keep::Yes)
    })?;
    Ok(borrowed)
}

/// Names the tree by all that goes into it: a security update of OpenSSL makes a new one.
fn key(interpreter: &Interpreter, extras: Extras, borrowed: &Borrowed) -> String {
    let mut hash = Sha256::new();
    let mut add = |text: String| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    add(format!("{SCHEMA} {} {} {extras:?}", env!("CARGO_PKG_VERSION"), interpreter.version));
    let library = interpreter.library();
    let program = interpreter.program().to_path_buf();
    if let Some(foreign) = &interpreter.foreign {
        add(format!("{} {}", foreign.platform, foreign.compiles));
    }
    let own = [program, library.clone(), library.join("os.py"), library.join("lib-dynload")];
    for path in own.iter().chain(borrowed.libraries.values()).chain(&borrowed.without) {
        let (size, seconds, nanoseconds) = std::fs::metadata(path)
            .map(|metadata| (metadata.size(), metadata.mtime(), metadata.mtime_nsec()))
            .unwrap_or_default();
        // A directory's size is the file system's business.
        let size = if path.is_dir() { 0 } else { size };
        add(format!("{} {size} {seconds}.{nanoseconds}", path.display()));
    }
    hex(&hash.finalize())
}

fn build(
    interpreter: &Interpreter,
    extras: Extras,
    borrowed: &Borrowed,
    root: &Path,
    progress: &dyn Progress,
) -> Result<()> {
    let library = root.join(interpreter.library_name());
    let program = root.join(interpreter.program_name());
    tree::make_directory(program.parent().unwrap_or(root))?;
    tree::copy_file(interpreter.program(), &program)?;
    if interpreter.foreign.is_some() {
        copy_libraries(interpreter, extras, root, progress)?;
    }
    tree::copy(&interpreter.library(), &library, progress, &mut |relative, metadata| {
        if borrowed.without.contains(relative) { Keep::No } else { keep(relative, metadata.is_dir(), extras) }
    })?;
    for (soname, file) in &borrowed.libraries {
        tree::copy_file(file, &root.join("lib").join(soname))?;
    }
    if extras.tkinter {
        copy_tcl(interpreter, root, progress)?;
    }
    // Copies have the mode of their originals, which may not even be ours to write.
    tree::even_out(root)?;
    forget_prefix(interpreter, &library)?;
    if interpreter.foreign.is_none() {
        make_independent(root, borrowed, progress)?;
    }
    install_pip(interpreter, &library.join("site-packages"), progress)?;
    tree::even_out(root)?;
    let pip = library.join("site-packages/pip");
    if let Some(compiler) = interpreter.compiler(root) {
        compile(&compiler, root, "python-runtime", Some(&pip), progress)?;
        keep_uncompiled(&pip)?;
    }
    // Once more, for what was just written under the caller's umask.
    tree::even_out(root)
}

/// What an interpreter for another platform has beside its program and its standard library: shared libraries, and on
/// Windows the extension modules.
fn copy_libraries(interpreter: &Interpreter, extras: Extras, root: &Path, progress: &dyn Progress) -> Result<()> {
    let is_windows = interpreter.is_for_windows();
    let (from, to) = match is_windows {
        true => (interpreter.prefix.clone(), root.to_path_buf()),
        false => (interpreter.prefix.join("lib"), root.join("lib")),
    };
    tree::make_directory(&to)?;
    let is_library = |name: &str| match is_windows {
        true => name.ends_with(".dll") || name == "pythonw.exe",
        false => name.contains(".so") || name.ends_with(".dylib"),
    };
    for name in names(&from)?.iter().filter(|name| is_library(name) && from.join(name).is_file()) {
        tree::copy_file(&from.join(name), &to.join(name))?;
    }
    let modules = interpreter.prefix.join("DLLs");
    if is_windows && modules.is_dir() {
        tree::copy(&modules, &root.join("DLLs"), progress, &mut |relative, metadata| {
            let name = relative.to_string_lossy().to_lowercase();
            let is_tcl = ["tcl", "tk"].iter().any(|part| name.starts_with(part)) && !extras.tkinter;
            let kept = keep(&Path::new("lib-dynload").join(relative), metadata.is_dir(), extras);
            if is_tcl || tree::has_extension(relative, "ico") { Keep::No } else { kept }
        })?;
    }
    Ok(())
}

/// Which part of the standard library is carried; paths are relative to `lib/python3.11`.
fn keep(path: &Path, directory: bool, extras: Extras) -> Keep {
    let text = path.to_string_lossy();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let dropped = if directory {
        ["__pycache__", "test", "tests"].contains(&&*name)
            || (!text.contains('/') && name.starts_with("config-"))
            || ["site-packages", "dist-packages", "idlelib", "turtledemo", "ensurepip/_bundled"].contains(&&*text)
            || (text == "tkinter" && !extras.tkinter)
    } else {
        let module = name.split('.').next().unwrap_or_default();
        let extension = text.starts_with("lib-dynload/");
        tree::has_extension(path, "pyc")
            || tree::has_extension(path, "a")
            || tree::has_extension(path, "exe")
            || (extension && (module.starts_with("_test") || module == "_ctypes_test" || module == "_xxtestfuzz"))
            || (extension && module.starts_with("xxlimited"))
            || (extension && module == "_tkinter" && !extras.tkinter)
            || (extension && module == "nis" && !extras.nis)
            || (text == "turtle.py" && !extras.tkinter)
    };
    if dropped { Keep::No } else { Keep::Yes }
}

/// Replaces the old prefix in the build's variables, which pip and sysconfig read: nobody needs it, it tells whose
/// machine made the package, and it would make the same interpreter differ from machine to machine.
fn forget_prefix(interpreter: &Interpreter, library: &Path) -> Result<()> {
    let prefix = interpreter.prefix.to_string_lossy();
    tree::walk(library, &mut |relative, metadata| {
        let name = relative.file_name().unwrap_or_default().to_string_lossy();
        if metadata.is_file() && name.starts_with("_sysconfig") && !name.ends_with(".so") {
            let path = library.join(relative);
            if let Ok(text) = String::from_utf8(tree::read(&path)?)
                && text.contains(&*prefix)
            {
                tree::write(&path, text.replace(&*prefix, "/install"))?;
            }
        }
        Ok(if metadata.is_dir() { Keep::No } else { Keep::Yes })
    })
}

/// Points every ELF file below `root` at `lib/` for what is carried there, and at nothing but the system otherwise.
fn make_independent(root: &Path, borrowed: &Borrowed, progress: &dyn Progress) -> Result<()> {
    let mut files = Vec::new();
    tree::walk(root, &mut |relative, metadata| {
        let name = relative.file_name().unwrap_or_default().to_string_lossy();
        if metadata.is_file() && (name.contains(".so") || relative.starts_with("bin")) {
            files.push(relative.to_path_buf());
        }
        Ok(Keep::Yes)
    })?;
    for relative in files {
        progress.check()?;
        let path = root.join(&relative);
        let data = tree::read(&path)?;
        let Some(elf) = Elf::parse(&data) else { continue };
        // The program's run path also holds for every library that has none of its own, so it always gets one.
        let carried = elf.needed.iter().any(|soname| !is_glibc(soname) && borrowed.libraries.contains_key(soname))
            || (relative.starts_with("bin") && !borrowed.libraries.is_empty());
        let run_path = carried.then(|| run_path(&relative));
        let wanted = (run_path.as_deref(), None);
        let as_runpath = (None, run_path.as_deref());
        let current = (elf.rpath.as_deref(), elf.runpath.as_deref());
        // One that finds its own libraries already is left alone.
        if (current == wanted || current == as_runpath) && !elf.has_debugging() {
            continue;
        }
        let rewritten = match elf::rewrite(&data, &elf, run_path.as_deref()) {
            Ok(rewritten) => rewritten,
            // Nothing leads it astray: it looks where the program does. (Some linkers leave no room for an entry.)
            Err(_) if current == wanted || current == (None, None) && !relative.starts_with("bin") => continue,
            Err(reason) => return Err(elf::cannot_rewrite(&relative, reason)),
        };
        tree::write(&path, rewritten)?;
    }
    Ok(())
}

/// From the directory of `relative` to `lib`: "$ORIGIN/../lib" for `bin/python3.11`, "$ORIGIN" for `lib/libz.so.1`.
fn run_path(relative: &Path) -> String {
    let mut path = "$ORIGIN".to_owned();
    match relative.strip_prefix("lib") {
        Ok(below) => (1..below.components().count()).for_each(|_| path.push_str("/..")),
        Err(_) => path.push_str("/../lib"),
    }
    path
}

/// pip from the wheel that the interpreter bundles, else as the prefix has it.
fn install_pip(interpreter: &Interpreter, site: &Path, progress: &dyn Progress) -> Result<()> {
    tree::make_directory(site)?;
    let bundled = interpreter.library().join("ensurepip/_bundled");
    let wheel = newest(&bundled, |name| name.starts_with("pip-") && name.ends_with(".whl"));
    let unpacked = match &wheel {
        Some(wheel) => {
            let mut unzip = python(&interpreter.executable);
            unzip.args(["-m", "zipfile", "-e"]).arg(wheel).arg(site);
            run(&mut unzip, progress)?.success()
        }
        None => false,
    };
    let installed = interpreter.library().join("site-packages");
    if !unpacked && installed.join("pip").is_dir() {
        tree::copy(&installed, site, progress, &mut |relative, metadata| {
            let top = relative.components().next().map(|part| part.as_os_str().to_string_lossy().into_owned());
            let pip = top.is_some_and(|top| top == "pip" || (top.starts_with("pip-") && top.ends_with(".dist-info")));
            let stale = metadata.is_dir() && relative.ends_with("__pycache__");
            if pip && !stale { Keep::Yes } else { Keep::No }
        })?;
    }
    if !site.join("pip").is_dir() {
        progress.note("the interpreter has no pip, so neither has the package");
    }
    // Starters of scripts on Windows.
    let launchers = site.join("pip/_vendor/distlib");
    if launchers.is_dir() && !interpreter.is_for_windows() {
        for name in names(&launchers)?.iter().filter(|name| name.ends_with(".exe")) {
            tree::remove(&launchers.join(name))?;
        }
    }
    site::tidy(site)
}

/// pip stays without byte code: that is a fifth of the runtime's files and an eighth of its size, for something that
/// few apps ever start. A file where its byte code would go keeps Python from writing any, even as root, who could
/// write into a read-only slot.
fn keep_uncompiled(package: &Path) -> Result<()> {
    if !package.is_dir() {
        return Ok(());
    }
    let mut directories = vec![package.to_path_buf()];
    tree::walk(package, &mut |relative, metadata| {
        directories.extend(metadata.is_dir().then(|| package.join(relative)));
        Ok(Keep::Yes)
    })?;
    directories.iter().try_for_each(|directory| tree::write(&directory.join("__pycache__"), ""))
}

/// The scripts of Tcl and Tk, which their libraries look for beside the program's `bin`.
fn copy_tcl(interpreter: &Interpreter, root: &Path, progress: &dyn Progress) -> Result<()> {
    if interpreter.foreign.is_some() {
        let (from, to) = if interpreter.is_for_windows() { ("tcl", "tcl") } else { ("lib", "lib") };
        let (from, to) = (interpreter.prefix.join(from), root.join(to));
        let scripts = if from.is_dir() { names(&from)? } else { Vec::new() };
        for name in scripts.iter().filter(|name| name.starts_with("tcl") || name.starts_with("tk")) {
            if from.join(name).is_dir() {
                tree::copy(&from.join(name), &to.join(name), progress, &mut |relative, _| {
                    if relative.starts_with("demos") { Keep::No } else { Keep::Yes }
                })?;
            }
        }
        return Ok(());
    }
    let Some((tcl, tk)) = &interpreter.tcl else { return Ok(()) };
    let ask = "import tkinter; print(tkinter.Tcl().eval('info library'))";
    let answer = run(python(&interpreter.executable).args(["-c", ask]), progress)?;
    let scripts = PathBuf::from(answer.stdout_text().trim());
    let beside = |name: &str| {
        let parent = scripts.parent()?;
        let places = [parent.join(name), parent.parent()?.join("tcltk").join(name)];
        places.into_iter().find(|directory| directory.is_dir())
    };
    for (name, from) in [(format!("tcl{tcl}"), Some(scripts.clone())), (format!("tk{tk}"), beside(&format!("tk{tk}")))]
    {
        match from.filter(|from| from.is_dir()) {
            Some(from) => {
                tree::copy(&from, &root.join("lib").join(&name), progress, &mut |relative, _| {
                    if relative.starts_with("demos") { Keep::No } else { Keep::Yes }
                })?;
            }
            None => progress.note(&format!("tkinter may not work: the scripts of {name} are not on this machine")),
        }
    }
    Ok(())
}

/// The directories of `root` that Tcl looks for below the environment: "lib/tcl8.6".
pub(super) fn scripts(interpreter: &Interpreter, root: &Path) -> Result<Vec<PathBuf>> {
    if interpreter.is_for_windows() {
        return Ok(Vec::new());
    }
    let names = names(&root.join("lib"))?.into_iter().filter(|name| name.starts_with("tcl") || name.starts_with("tk"));
    Ok(names.map(|name| Path::new("lib").join(name)).collect())
}

fn newest(directory: &Path, fits: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let name = names(directory).ok()?.into_iter().rfind(|name| fits(name))?;
    Some(directory.join(name))
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let refused = |error| Error::io("cannot read the directory", directory, &error);
    let entries = std::fs::read_dir(directory).map_err(refused)?;
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_and_build_files_stay_out_of_the_runtime() {
        let lean = Extras::default();
        for directory in [
            "test",
            "unittest/test",
            "ctypes/test",
            "idlelib",
            "tkinter",
            "config-3.11-x86_64-linux-gnu",
            "re/__pycache__",
            "site-packages",
        ] {
            assert_eq!(keep(Path::new(directory), true, lean), Keep::No, "{directory}");
        }
        for file in [
            "lib-dynload/_testcapi.cpython-311-x86_64-linux-gnu.so",
            "lib-dynload/_tkinter.so",
            "turtle.py",
            "libpython3.11.a",
        ] {
            assert_eq!(keep(Path::new(file), false, lean), Keep::No, "{file}");
        }
        for file in [
            "os.py",
            "_sysconfigdata__linux_x86_64-linux-gnu.py",
            "lib-dynload/_ssl.so",
            "lib-dynload/_xxsubinterpreters.so",
            "unittest/case.py",
        ] {
            assert_eq!(keep(Path::new(file), false, lean), Keep::Yes, "{file}");
        }
    }

    #[test]
    fn tkinter_stays_when_the_app_uses_it() {
        let extras = Extras { tkinter: true, nis: false };
        assert_eq!(keep(Path::new("tkinter"), true, extras), Keep::Yes);
        assert_eq!(keep(Path::new("tkinter/test"), true, extras), Keep::No);
        assert_eq!(keep(Path::new("lib-dynload/_tkinter.so"), false, extras), Keep::Yes);
    }

    #[test]
    fn run_paths_lead_to_lib_from_everywhere() {
        assert_eq!(run_path(Path::new("bin/python3.11")), "$ORIGIN/../lib");
        assert_eq!(run_path(Path::new("lib/libz.so.1")), "$ORIGIN");
        assert_eq!(run_path(Path::new("lib/python3.11/lib-dynload/zlib.so")), "$ORIGIN/../..");
    }
}
