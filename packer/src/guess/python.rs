//! A Python project that has no `pyproject.toml`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

use super::{FIRST_VERSION, Files, PYPROJECT, Proposal, list, quoted};
use crate::error::{Error, Kind, Result};

pub(super) fn propose(files: &Files) -> Result<Option<Proposal>> {
    let code = Code::of(files);
    let marks = ["requirements.txt", "setup.py", "setup.cfg"].map(|name| files.has(name));
    if code.packages.is_empty() && code.modules.is_empty() && !marks.contains(&true) {
        return Ok(None);
    }
    if files.has("__init__.py") {
        return Err(Error::new(
            Kind::Configuration,
            "this folder is a Python package itself, not a project that has one",
        )
        .file(&files.folder)
        .expected("a folder in which the package is a folder of its own")
        .found("__init__.py")
        .hint("put a pyproject.toml into the folder above: packer init there proposes one"));
    }
    let mut reasons = Vec::new();
    let is_setuptools = files.has("setup.py") || files.has("setup.cfg");
    let name = setup_name(files).unwrap_or_else(|| files.name.clone());
    let mut text = String::new();
    if is_setuptools {
        reasons.push(
            "setup.py or setup.cfg: setuptools builds the project, and knows version and dependencies".to_owned(),
        );
        text.push_str("[build-system]\nrequires = [\"setuptools\"]\nbuild-backend = \"setuptools.build_meta\"\n\n");
        text.push_str(&format!("[project]\nname = {}\n", quoted(&name)));
        text.push_str(
            "dynamic = [\"version\", \"dependencies\", \"optional-dependencies\", \"scripts\", \"description\"]\n",
        );
    } else {
        text.push_str(&format!("[project]\nname = {}\nversion = {}\n", quoted(&name), quoted(FIRST_VERSION)));
        let dependencies = dependencies(files, &code, &mut reasons);
        let lines = dependencies.iter().map(|one| format!("    {},\n", quoted(one))).collect::<String>();
        let lines = if lines.is_empty() { "[]".to_owned() } else { format!("[\n{lines}]") };
        text.push_str(&format!("dependencies = {lines}\n"));
        reasons.push(format!("version: {FIRST_VERSION}, as nothing says another one"));
    }
    let (entry_point, why) = entry_point(files, &code).unwrap_or_else(|| {
        let module = code.packages.first().map_or_else(|| name.replace('-', "_"), Clone::clone);
        let why = format!("nothing says where the program starts: make sure that {module}:main is right");
        (format!("{module}:main"), why)
    });
    reasons.push(why);
    text.push_str(&format!("\n[tool.flavor]\nentry_point = {}\n", quoted(&entry_point)));
    let beside = if is_setuptools { Vec::new() } else { beside_modules(files, &code) };
    if !beside.is_empty() {
        reasons.push(format!("data beside the modules: {}", beside.join(", ")));
        text.push_str(&format!(
            "# Files and folders beside the modules, which are found there as before.\ninclude = {}\n",
            list(&beside)
        ));
    }
    Ok(Some(Proposal { what: "a Python project", file: PYPROJECT, text, reasons }))
}

/// Where the program of a project seems to start, for those that have a manifest which does not say it.
pub(crate) fn start_of(folder: &Path) -> Option<String> {
    let files = Files::of(folder).ok()?;
    entry_point(&files, &Code::of(&files)).map(|(entry_point, _)| entry_point)
}

/// Where packages and modules are.
struct Code {
    /// Nothing, or "src/".
    root: &'static str,
    packages: Vec<String>,
    /// Files.
    modules: Vec<String>,
}

impl Code {
    fn of(files: &Files) -> Self {
        let in_root = |root: &'static str| {
            let names = files.names_in(if root.is_empty() { "." } else { root });
            let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let is_package = |name: &&String| {
                is_name(name)
                    && !["tests", "test", "docs"].contains(&name.as_str())
                    && files.has(&format!("{root}{name}/__init__.py"))
            };
            let is_module = |name: &&String| is_python(name) && !["setup.py", "conftest.py"].contains(&name.as_str());
            let packages = names.iter().filter(is_package).cloned().collect();
            Self { root, packages, modules: names.iter().filter(is_module).cloned().collect() }
        };
        let source = in_root("src/");
        if source.packages.is_empty() && source.modules.is_empty() { in_root("") } else { source }
    }

    /// Every Python file of the project itself, below the folder.
    fn files(&self, files: &Files) -> Vec<String> {
        let mut found: Vec<String> = self.modules.iter().map(|module| format!("{}{module}", self.root)).collect();
        let mut open: Vec<String> = self.packages.iter().map(|package| format!("{}{package}", self.root)).collect();
        while let Some(directory) = open.pop() {
            for name in files.names_in(&directory) {
                let path = format!("{directory}/{name}");
                if is_python(&name) {
                    found.push(path);
                } else if files.has(&format!("{path}/__init__.py")) {
                    open.push(path);
                }
            }
        }
        found
    }
}

fn is_python(name: &str) -> bool {
    Path::new(name).extension() == Some(OsStr::new("py"))
}

/// Where the program starts, and why that is thought.
fn entry_point(files: &Files, code: &Code) -> Option<(String, String)> {
    let Code { root, packages, modules } = code;
    let of_module = |module: &str, file: &str| {
        let text = files.text(file);
        match defines_main(&text) && module != "__main__" {
            true => (format!("{module}:main"), format!("{file} defines main()")),
            false if module == "__main__" => (module.to_owned(), format!("{file} runs as with python and the folder")),
            false if text.contains("__main__") => {
                (module.to_owned(), format!("{file} runs as with python -m {module}"))
            }
            false => (
                module.to_owned(),
                format!("{file} runs as with python -m {module}: make sure that it does something then"),
            ),
        }
    };
    let in_package = |names: &[&'static str]| {
        let all = packages.iter().flat_map(|package| names.iter().map(move |name| (package, *name)));
        let mut all = all.map(|(package, name)| (package, name, format!("{root}{package}/{name}.py")));
        all.find(|(.., file)| files.has(file))
    };
    if let Some((package, _, file)) = in_package(&["__main__"]) {
        return Some((package.clone(), format!("{file}: runs as with python -m {package}")));
    }
    let known = ["main.py", "app.py", "cli.py", "manage.py", "__main__.py"];
    let known = known.into_iter().find(|file| modules.iter().any(|module| module == file));
    if let Some(file) = known {
        return Some(of_module(file.trim_end_matches(".py"), &format!("{root}{file}")));
    }
    if let Some((package, module, file)) = in_package(&["cli", "main", "app", "serve", "server"]) {
        return Some(of_module(&format!("{package}.{module}"), &file));
    }
    if let Some((package, _, file)) = in_package(&["__init__"]).filter(|(.., file)| defines_main(&files.text(file))) {
        return Some((format!("{package}:main"), format!("{file} defines main()")));
    }
    let [file] = &modules[..] else { return None };
    Some(of_module(file.trim_end_matches(".py"), &format!("{root}{file}")))
}

fn defines_main(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("def main("))
}

/// What is installed with the project.
fn dependencies(files: &Files, code: &Code, reasons: &mut Vec<String>) -> Vec<String> {
    if files.has("requirements.txt") {
        let mut found = Requirements::default();
        found.read(files, "requirements.txt");
        reasons.push(format!("requirements.txt: {} dependencies", found.lines.len()));
        reasons
            .extend(found.skipped.iter().map(|(file, line)| format!("{file}: left out {line:?}: add what it means")));
        return found.lines;
    }
    let unknown = imports_of_others(files, code);
    reasons.push(match unknown.len() {
        0 => "dependencies: none, as only Python's own modules are imported".to_owned(),
        _ => format!(
            "dependencies: there is no requirements.txt; add what brings {}",
            unknown.into_iter().collect::<Vec<_>>().join(", ")
        ),
    });
    Vec::new()
}

/// What files say that pip reads.
#[derive(Default)]
struct Requirements {
    lines: Vec<String>,
    /// The file, and its line that means something else.
    skipped: Vec<(String, String)>,
    seen: BTreeSet<String>,
}

impl Requirements {
    fn read(&mut self, files: &Files, file: &str) {
        if !self.seen.insert(file.to_owned()) {
            return;
        }
        // A backslash continues a line; what pip-compile continues them for are hashes.
        let text = files.text(file).replace("\\\n", " ");
        for line in text.lines() {
            let line = line.split(" #").next().unwrap_or_default();
            let line = line.split(" --hash").next().unwrap_or_default().trim();
            let option = line.split_once([' ', '=']).unwrap_or((line, ""));
            let also = |name: &str| Path::new(file).with_file_name(name.trim()).to_string_lossy().into_owned();
            match option {
                _ if line.is_empty() || line.starts_with('#') => {}
                ("-e" | "--editable", ".") | (".", "") => {}
                ("-r" | "--requirement", other) if files.has(&also(other)) => self.read(files, &also(other)),
                _ => match requirement(line) {
                    Some(requirement) => self.lines.push(requirement),
                    None => self.skipped.push((file.to_owned(), line.to_owned())),
                },
            }
        }
    }
}

/// A line as a manifest has it.
fn requirement(line: &str) -> Option<String> {
    let url = line.trim_start_matches("-e ").trim_start_matches("--editable ");
    if url.contains("://") && !url.contains('@') || url.starts_with("git+") {
        let (url, name) = url.split_once("#egg=")?;
        return Some(format!("{name} @ {url}"));
    }
    line.starts_with(|c: char| c.is_ascii_alphanumeric()).then(|| line.to_owned())
}

/// Modules that are imported and neither the project's nor Python's own.
fn imports_of_others(files: &Files, code: &Code) -> BTreeSet<String> {
    /// Of Python 3.10 to 3.13, as `sys.stdlib_module_names` has them.
    const STANDARD: &str = include_str!("stdlib.txt");
    let own =
        code.packages.iter().map(String::as_str).chain(code.modules.iter().map(|file| file.trim_end_matches(".py")));
    let known: BTreeSet<&str> = STANDARD.split_whitespace().chain(own).chain(["pspf"]).collect();
    let mut found = BTreeSet::new();
    for file in code.files(files) {
        for line in files.text(&file).lines() {
            let names = match line.trim_start().split_once(' ') {
                Some(("import", names)) => names,
                Some(("from", rest)) => {
                    rest.split(" import").next().filter(|_| rest.contains(" import ")).unwrap_or_default()
                }
                _ => continue,
            };
            let names = names.split(',').map(|name| name.trim().split([' ', '.', ';', '#']).next().unwrap_or_default());
            let is_name = |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            found.extend(names.filter(is_name).filter(|name| !known.contains(name)).map(str::to_owned));
        }
    }
    found
}

/// Folders and files of data beside the modules of a project that has no build backend: only what is in a package, and
/// modules, would be packed.
fn beside_modules(files: &Files, code: &Code) -> Vec<String> {
    const FOLDERS: [&str; 9] =
        ["assets", "conf", "config", "data", "locale", "resources", "static", "templates", "views"];
    const DATA: [&str; 12] =
        ["cfg", "csv", "db", "html", "ini", "json", "sql", "sqlite3", "tmpl", "xml", "yaml", "yml"];
    if !code.root.is_empty() || code.modules.is_empty() {
        return Vec::new();
    }
    let is_data = |name: &&String| {
        let extension = Path::new(name).extension().unwrap_or_default();
        DATA.iter().any(|data| extension == *data) && !name.contains("docker-compose")
    };
    let folders = files.directories.iter().filter(|name| FOLDERS.contains(&name.as_str()));
    let folders = folders.filter(|name| !code.packages.contains(name)).map(|name| format!("/{name}/"));
    folders.chain(files.files.iter().filter(is_data).map(|name| format!("/{name}"))).collect()
}

/// The name that setup.py or setup.cfg gives the project.
fn setup_name(files: &Files) -> Option<String> {
    let of = |file: &str| {
        files.text(file).lines().find_map(|line| {
            let value = line.trim().strip_prefix("name")?.trim_start().strip_prefix('=')?;
            let value = value.trim().trim_end_matches(',').trim_matches(['"', '\'']);
            let is_plain = !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
            is_plain.then(|| value.to_owned())
        })
    };
    of("setup.py").or_else(|| of("setup.cfg"))
}

#[cfg(test)]
mod tests {
    use super::requirement;

    #[test]
    fn only_lines_that_name_a_distribution_are_dependencies() {
        for (line, expected) in [
            ("flask>=2", Some("flask>=2")),
            ("uvicorn[standard] ; os_name == 'posix'", Some("uvicorn[standard] ; os_name == 'posix'")),
            ("thing @ https://example.com/thing.whl", Some("thing @ https://example.com/thing.whl")),
            ("git+https://example.com/x@v1#egg=x", Some("x @ git+https://example.com/x@v1")),
            ("-e git+https://example.com/x#egg=x", Some("x @ git+https://example.com/x")),
            ("git+https://example.com/x", None),
            ("https://example.com/x.whl", None),
            ("--index-url https://example.com", None),
            ("./wheels/x.whl", None),
        ] {
            assert_eq!(requirement(line).as_deref(), expected, "{line}");
        }
    }
}
