//! A manifest for a folder that has none: what is in it is guessed at, and the guess says why.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// A manifest that could be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// What the folder seems to be, as in "a Python project".
    pub what: &'static str,
    /// The manifest's file name: `pyproject.toml` or `app.toml`.
    pub file: &'static str,
    /// Its text.
    pub text: String,
    /// What led to that, and what to look at before packing; one line each.
    pub reasons: Vec<String>,
}

/// True when the folder has a manifest already.
pub fn has_manifest(folder: &Path) -> bool {
    [PYPROJECT, APP, "app.json"].iter().any(|name| folder.join(name).is_file())
}

/// Guesses. The error lists what would have been recognised.
pub fn guess(folder: &Path) -> Result<Proposal> {
    let files = Files::of(folder)?;
    let kinds = [python, node, site, binary, script];
    kinds.iter().find_map(|kind| kind(&files)).ok_or_else(|| {
        Error::new(Kind::Configuration, "nothing here says what should run, so no manifest can be proposed")
            .file(folder)
            .expected(
                "requirements.txt, setup.py or main.py (Python), package.json (Node), index.html (a site), one program, or \
                 one shell script",
            )
            .hint("write an app.toml: packer schema prints everything that it may say")
    })
}

const PYPROJECT: &str = "pyproject.toml";
const APP: &str = "app.toml";

/// What is directly in a folder.
struct Files {
    folder: PathBuf,
    /// What the package would be called.
    name: String,
    files: Vec<String>,
    directories: Vec<String>,
}

impl Files {
    fn of(folder: &Path) -> Result<Self> {
        let failed = |error: io::Error| Error::io("cannot read the folder", folder, &error);
        let (mut files, mut directories) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') {
                continue;
            }
            let is_directory = fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_dir());
            if is_directory { directories.push(name) } else { files.push(name) }
        }
        files.sort();
        directories.sort();
        let absolute = fs::canonicalize(folder).map_err(failed)?;
        let name = package_name(&absolute.file_name().unwrap_or_default().to_string_lossy());
        Ok(Self { folder: folder.to_path_buf(), name, files, directories })
    }

    fn has(&self, name: &str) -> bool {
        self.files.iter().any(|file| file == name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    fn is_executable(&self, name: &str) -> bool {
        fs::metadata(self.folder.join(name)).is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
    }

    /// The first bytes of a file.
    fn start(&self, name: &str) -> Vec<u8> {
        let mut start = Vec::new();
        let file = fs::File::open(self.folder.join(name));
        // What cannot be read begins with nothing.
        let _ = file.and_then(|file| file.take(4).read_to_end(&mut start));
        start
    }
}

/// Letters, digits and "-" of a folder's name.
fn package_name(folder: &str) -> String {
    let plain: String = folder.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let plain = plain.to_ascii_lowercase();
    let plain = plain.trim_matches('-');
    if plain.is_empty() { "app".to_owned() } else { plain.to_owned() }
}

// ---- Python ----

fn python(files: &Files) -> Option<Proposal> {
    let has_python = files.files.iter().any(|name| is_python(name));
    let packages: Vec<&String> = files.directories.iter().filter(|name| is_package(&files.folder, name)).collect();
    let marks = ["requirements.txt", "setup.py", "setup.cfg"].map(|name| files.has(name));
    if !has_python && packages.is_empty() && !marks.contains(&true) {
        return None;
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
        text.push_str(&format!("[project]\nname = {}\nversion = \"0.1.0\"\n", quoted(&name)));
        let (dependencies, skipped) = requirements(&files.text("requirements.txt"));
        if files.has("requirements.txt") {
            reasons.push(format!("requirements.txt: {} dependencies", dependencies.len()));
        }
        reasons.extend(skipped.iter().map(|line| format!("requirements.txt: left out {line:?}: add what it means")));
        let lines = dependencies.iter().map(|one| format!("    {},\n", quoted(one))).collect::<String>();
        let lines = if lines.is_empty() { "[]".to_owned() } else { format!("[\n{lines}]") };
        text.push_str(&format!("dependencies = {lines}\n"));
        reasons.push("version: 0.1.0, as nothing says another one".to_owned());
    }
    let (entry_point, why) = entry_point(files, &packages, &name);
    reasons.push(why);
    text.push_str(&format!("\n[tool.flavor]\nentry_point = {}\n", quoted(&entry_point)));
    Some(Proposal { what: "a Python project", file: PYPROJECT, text, reasons })
}

fn is_python(name: &str) -> bool {
    Path::new(name).extension() == Some(OsStr::new("py"))
}

fn is_package(folder: &Path, name: &str) -> bool {
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name && !["tests", "test", "docs"].contains(&name) && folder.join(name).join("__init__.py").is_file()
}

/// Where the program starts, and why that is thought.
fn entry_point(files: &Files, packages: &[&String], name: &str) -> (String, String) {
    let of_module = |module: &str, file: &str| match defines_main(&files.text(file)) {
        true => (format!("{module}:main"), format!("{file} defines main()")),
        false => (module.to_owned(), format!("{file} runs as with python -m {module}")),
    };
    for package in packages {
        for module in ["__main__", "cli", "main", "app"] {
            let file = format!("{package}/{module}.py");
            if files.folder.join(&file).is_file() {
                return match module {
                    "__main__" => ((*package).clone(), format!("{file}: runs as with python -m {package}")),
                    _ => of_module(&format!("{package}.{module}"), &file),
                };
            }
        }
    }
    let known = ["main.py", "app.py", "cli.py", "__main__.py"].into_iter().find(|file| files.has(file));
    let only = || {
        let mut modules = files.files.iter().filter(|file| is_python(file) && *file != "setup.py");
        modules.next().filter(|_| modules.next().is_none()).map(String::as_str)
    };
    if let Some(file) = known.or_else(only) {
        return of_module(file.trim_end_matches(".py"), file);
    }
    let module = packages.first().map_or_else(|| name.replace('-', "_"), |package| (*package).clone());
    (format!("{module}:main"), format!("nothing says where the program starts: make sure that {module}:main is right"))
}

fn defines_main(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("def main(") || line.starts_with("async def main("))
}

/// The requirements of a file as pip reads it, and the lines that mean something else.
fn requirements(text: &str) -> (Vec<String>, Vec<String>) {
    let (mut found, mut skipped) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let is_requirement =
            line.starts_with(|c: char| c.is_ascii_alphanumeric()) && !line.contains("://") && !line.ends_with('\\');
        if is_requirement { found.push(line.to_owned()) } else { skipped.push(line.to_owned()) }
    }
    (found, skipped)
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

// ---- others ----

fn node(files: &Files) -> Option<Proposal> {
    if !files.has("package.json") {
        return None;
    }
    let package: serde_json::Value = serde_json::from_str(&files.text("package.json")).unwrap_or_default();
    let text_of = |value: &serde_json::Value| value.as_str().map(|text| text.trim_start_matches("./").to_owned());
    let bin = match &package["bin"] {
        serde_json::Value::Object(commands) => commands.values().next().and_then(text_of),
        other => text_of(other),
    };
    let started = package["scripts"]["start"].as_str().and_then(|start| start.strip_prefix("node ")).map(str::to_owned);
    let (script, why) = match (bin, started, text_of(&package["main"])) {
        (Some(bin), _, _) => (bin, "package.json: bin"),
        (None, Some(start), _) => (start.trim_start_matches("./").to_owned(), "package.json: scripts.start"),
        (None, None, Some(main)) => (main, "package.json: main"),
        _ => ("index.js".to_owned(), "package.json names no program, so Node takes index.js"),
    };
    let name = package["name"]
        .as_str()
        .map_or_else(|| files.name.clone(), |name| package_name(name.rsplit('/').next().unwrap_or(name)));
    let version = package["version"].as_str().unwrap_or("0.1.0");
    let mut reasons = vec![format!("{why}: {script}")];
    if !files.directories.iter().any(|directory| directory == "node_modules") && package["dependencies"].is_object() {
        reasons.push("there is no node_modules: run npm ci before packing".to_owned());
    }
    reasons.push(
        "node is taken from the user's PATH; to carry it, add a slot with its program and name that in the command"
            .to_owned(),
    );
    let command = format!("/usr/bin/env node {{workenv}}/app/{script}");
    let text = generic(&name, version, &command, &[("app", ".", &["*.psp", ".git"])]);
    Some(Proposal { what: "a Node app", file: APP, text, reasons })
}

fn site(files: &Files) -> Option<Proposal> {
    if !files.has("index.html") {
        return None;
    }
    let reasons = vec![
        "index.html: a folder of files to serve".to_owned(),
        "python3 of the user's machine serves it, on port 8000 unless another one is given".to_owned(),
    ];
    let command = "/usr/bin/env python3 -m http.server --directory {workenv}/site";
    let text = generic(&files.name, "0.1.0", command, &[("site", ".", &["app.toml", "*.psp", ".git"])]);
    Some(Proposal { what: "a static site", file: APP, text, reasons })
}

fn binary(files: &Files) -> Option<Proposal> {
    let programs: Vec<&String> =
        files.files.iter().filter(|name| files.start(name) == b"\x7fELF" && files.is_executable(name)).collect();
    let [program] = programs[..] else { return None };
    let reasons = vec![format!("{program}: the only program here")];
    let text = one_program(files, program, &format!("{{workenv}}/app/{program}"));
    Some(Proposal { what: "a program", file: APP, text, reasons })
}

fn script(files: &Files) -> Option<Proposal> {
    let scripts: Vec<&String> =
        files.files.iter().filter(|name| name.ends_with(".sh") || files.start(name).starts_with(b"#!")).collect();
    let [script] = scripts[..] else { return None };
    let path = format!("{{workenv}}/app/{script}");
    let runs_itself = files.start(script).starts_with(b"#!") && files.is_executable(script);
    let (command, why) = match runs_itself {
        true => (path, format!("{script}: the only script here, run as its first line says")),
        false => (format!("/bin/sh {path}"), format!("{script}: the only script here, run by /bin/sh")),
    };
    let text = one_program(files, script, &command);
    Some(Proposal { what: "a shell script", file: APP, text, reasons: vec![why] })
}

/// A manifest for everything in the folder.
fn one_program(files: &Files, program: &str, command: &str) -> String {
    let name = package_name(program.split('.').next().unwrap_or(program));
    let name = if name == "app" || name == "main" || name == "run" { files.name.clone() } else { name };
    generic(&name, "0.1.0", command, &[("app", ".", &["app.toml", "*.psp", ".git"])])
}

/// Slots are id, source, and what is left out.
fn generic(name: &str, version: &str, command: &str, slots: &[(&str, &str, &[&str])]) -> String {
    let mut text = format!(
        "[package]\nname = {}\nversion = {}\n\n[execution]\n# The user's arguments follow.\ncommand = {}\n",
        quoted(name),
        quoted(version),
        quoted(command)
    );
    for (id, source, exclude) in slots {
        let exclude: Vec<String> = exclude.iter().map(|pattern| quoted(pattern)).collect();
        text.push_str(&format!(
            "\n[[slots]]\nid = {}\nsource = {}\nexclude = [{}]\n",
            quoted(id),
            quoted(source),
            exclude.join(", ")
        ));
    }
    text
}

/// A string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_lines_of_requirements_are_dependencies() {
        let text =
            "flask>=2 # web\n\n# all\n-r more.txt\n--hash=x\ngit+https://x/y\nuvicorn[standard] ; os_name == 'posix'\n";
        let (found, skipped) = requirements(text);
        assert_eq!(found, ["flask>=2", "uvicorn[standard] ; os_name == 'posix'"]);
        assert_eq!(skipped, ["-r more.txt", "--hash=x", "git+https://x/y"]);
    }

    #[test]
    fn a_folder_s_name_becomes_one_that_a_package_may_have() {
        assert_eq!(package_name("My App_2"), "my-app-2");
        assert_eq!(package_name("__"), "app");
    }
}
