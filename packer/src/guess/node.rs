//! A Node app, with the Node that runs it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{App, FIRST_VERSION, Files, Proposal, Slot, package_name, site};
use crate::error::Result;
use crate::python::elf::Elf;

pub(super) fn propose(files: &Files) -> Result<Option<Proposal>> {
    if !files.has("package.json") {
        return Ok(None);
    }
    let package: Value = serde_json::from_str(&files.text("package.json"))
        .map_err(|error| files.broken("package.json", "JSON", &error.to_string()))?;
    let Some(Start { options, script, arguments, env, why }) = start(files, &package) else { return Ok(None) };
    let mut reasons = vec![format!("{why}: {script}")];
    if !files.has(&script) {
        reasons.push(format!("there is no {script} yet: build the app before packing"));
    }
    let has_modules = files.directories.iter().any(|directory| directory == "node_modules");
    if package["dependencies"].is_object() && !has_modules {
        reasons.push("there is no node_modules: run npm ci before packing".to_owned());
    }
    if package["devDependencies"].is_object() && has_modules {
        reasons.push("node_modules is packed as it is: npm prune --omit=dev makes it smaller".to_owned());
    }
    let node = Node::find(files);
    reasons.push(node.reason());
    let program = ["{workenv}/bin/node".to_owned()];
    let (mut command, mut slots) = match node {
        Node::Of(source) => (program.to_vec(), vec![Slot::program("node", source, "node")]),
        Node::Other(path, _) => (program.to_vec(), vec![Slot::program("node", path.to_string_lossy(), "node")]),
        Node::Users(_) => (vec!["/usr/bin/env".to_owned(), "node".to_owned()], Vec::new()),
    };
    let carried = format!("node_modules/{}", carrier());
    slots.push(Slot::directory("app", ".", &["node_modules/.cache", "node_modules/.bin/node", &carried]));
    command.extend(options);
    command.push(format!("{{workenv}}/app/{script}"));
    command.extend(arguments);
    let name = package["name"]
        .as_str()
        .map_or_else(|| files.name.clone(), |name| package_name(name.rsplit('/').next().unwrap_or(name)));
    let app = App {
        name: &name,
        version: Some(package["version"].as_str().unwrap_or(FIRST_VERSION)),
        description: package["description"].as_str(),
        command,
        env: env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        slots,
    };
    Ok(app.proposal("a Node app", reasons))
}

/// What is run, and why that is thought.
#[derive(Debug, Default, PartialEq, Eq)]
struct Start {
    /// Node's own.
    options: Vec<String>,
    /// Relative to the folder.
    script: String,
    arguments: Vec<String>,
    env: Vec<(String, String)>,
    why: &'static str,
}

fn start(files: &Files, package: &Value) -> Option<Start> {
    let script = |value: &Value| value.as_str().map(|text| text.trim_start_matches("./").to_owned());
    let of = |script: Option<String>, why| Some(Start { script: script?, why, ..Start::default() });
    let bin = match &package["bin"] {
        Value::Object(commands) => commands.values().next().and_then(script),
        other => script(other),
    };
    of(bin, "package.json: bin")
        .or_else(|| start_script(package["scripts"]["start"].as_str()?))
        .or_else(|| of(script(&package["main"]).filter(|main| files.has(main)), "package.json: main"))
        .or_else(|| {
            let index = ["index.js", "index.mjs", "server.js"].into_iter().find(|file| files.has(file));
            of(index.map(str::to_owned), "package.json names no program, but there is one")
        })
        // What a build would make, unless it makes a site.
        .or_else(|| of(script(&package["main"]).filter(|_| site::place(files).is_none()), "package.json: main"))
}

/// `scripts.start`, if it is one call of Node that needs no shell: "NODE_ENV=production node --env-file=.env server.js".
fn start_script(line: &str) -> Option<Start> {
    if line.contains(|c: char| "&|;<>$`'\"\\*(".contains(c)) {
        return None;
    }
    let mut words = line.split_whitespace().map(str::to_owned).peekable();
    let mut start = Start { why: "package.json: scripts.start", ..Start::default() };
    while let Some((name, value)) = words.peek().and_then(|word| word.split_once('=')) {
        start.env.push((name.to_owned(), value.to_owned()));
        words.next();
    }
    if words.next()? != "node" {
        return None;
    }
    while let Some(option) = words.next_if(|word| word.starts_with('-')) {
        start.options.push(option);
    }
    start.script = words.next()?.trim_start_matches("./").to_owned();
    start.arguments = words.collect();
    Some(start)
}

/// Where Node comes from.
enum Node {
    /// From the package of npm's that carries it, by its path below the folder.
    Of(String),
    /// This machine's, which needs no library that others lack; and the npm package that would pin one.
    Other(PathBuf, String),
    /// The one that the user has; and why none is taken along.
    Users(String),
}

impl Node {
    fn find(files: &Files) -> Self {
        let carrier = carrier();
        let carried = format!("node_modules/{carrier}/bin/node");
        if files.has(&carried) {
            return Self::Of(carried);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).filter_map(|directory| directory.join("node").canonicalize().ok());
        // What is called otherwise, or is a script, only looks for the real one.
        let mut found = found.filter(|file| file.file_name().is_some_and(|name| name == "node"));
        let found = found.find_map(|file| Some((Elf::read(&file).ok()??, file)));
        match found {
            None => Self::Users("there is none on this machine".to_owned()),
            Some((elf, file)) => match elf.needed.iter().find(|library| !is_everywhere(library)) {
                None => Self::Other(file, carrier),
                Some(library) => Self::Users(format!("{} needs {library}, which others may lack", file.display())),
            },
        }
    }

    fn reason(&self) -> String {
        match self {
            Self::Of(path) => format!("{path} goes into the package"),
            Self::Other(path, carrier) => format!(
                "{} of this machine goes into the package (npm install --save-optional {carrier} pins a version for the project)",
                path.display()
            ),
            Self::Users(why) => format!(
                "node of the user's machine runs it, as {why}: npm install --save-optional {} brings one that can be packed",
                carrier()
            ),
        }
    }
}

/// The package of npm's that has Node's own build for this machine.
fn carrier() -> String {
    let machine = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "x64",
    };
    format!("node-linux-{machine}")
}

/// True for glibc, and for what comes with every C++ program.
fn is_everywhere(library: &str) -> bool {
    let stem = library.split(".so").next().unwrap_or(library);
    let name = Path::new(library).file_name().is_some_and(|name| name == library);
    name && (stem.starts_with("ld-linux")
        || ["libc", "libm", "libdl", "libpthread", "librt", "libgcc_s", "libstdc++"].contains(&stem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_script_is_taken_when_it_needs_no_shell() {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let start = start_script("NODE_ENV=production node --enable-source-maps ./dist/server.js --port 80").unwrap();
        assert_eq!(start.env, [("NODE_ENV".to_owned(), "production".to_owned())]);
        assert_eq!((start.options, start.script), (words(&["--enable-source-maps"]), "dist/server.js".to_owned()));
        assert_eq!(start.arguments, words(&["--port", "80"]));
        for other in ["next start", "npm run build && node x.js", "node \"a b.js\"", "node", "tsx src/index.ts"] {
            assert_eq!(start_script(other), None, "{other}");
        }
    }
}
