//! Manifests without Python: files, a command, and what is made around them. TOML and JSON say the same.
//!
//! The schema is in docs/manifest.md. The JSON that FlavorPack's own builders take is such a manifest.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pspf_core::claims;
use pspf_core::json::Value;
use pspf_core::metadata::{FORMAT, WORKENV_KEY};

use super::fields::{Extra, Table};
use super::launch;
use super::names::{Names, check_command_name, in_workenv};
use super::slots::{self, SlotSpec};
use super::syntax::{Language, Source};
use super::types::Place;
use crate::error::{Error, Result};

/// Files and a command, as a manifest describes them.
#[derive(Debug, Clone)]
pub struct Generic {
    /// The file that was read, absolute.
    pub path: PathBuf,
    /// Its directory: what sources are relative to.
    pub directory: PathBuf,
    /// `package.name`
    pub name: String,
    /// `package.version`
    pub version: String,
    /// `package.app_id`
    pub app_id: Option<String>,
    /// `package.release`
    pub release: Option<u64>,
    /// The metadata but for slots and what packer derives; all paths in it are below `{workenv}/`.
    pub document: Value<'static>,
    /// `slots`
    pub slots: Vec<SlotSpec>,
    /// `execution.entry_points`: name to command line.
    pub entry_points: BTreeMap<String, String>,
    /// What users start: the program of `execution.command` first, then those of the entry points.
    pub programs: Vec<Program>,
    /// What setup commands start, in their order.
    pub setup_programs: Vec<Program>,
    /// Files that setup commands write: paths below the workenv.
    pub written: Vec<String>,
    /// Paths below the workenv whose modes setup commands set.
    pub chmods: Vec<String>,
    /// Things worth telling that are not wrong.
    pub notes: Vec<String>,
    is_json: bool,
}

/// A program that is started.
#[derive(Debug, Clone)]
pub struct Program {
    /// The first word of the command.
    pub word: String,
    /// Where the manifest says so.
    pub place: Place,
}

impl Generic {
    /// True for JSON, in which FlavorPack's builders take manifests.
    pub fn is_json(&self) -> bool {
        self.is_json
    }
}

/// Parses the manifest at `absolute`.
pub(super) fn parse(source: Source<'_>, absolute: &Path) -> Result<Generic> {
    let entries = source.parse()?;
    let root = Table::root(source, &entries);
    root.only(&[&ROOT[..], &DERIVED].concat(), Extra::Kept)?;
    let package = root.table("package")?.ok_or_else(|| missing_package(&root))?;
    package.only(&["name", "version", "description", "app_id", "release"], Extra::Kept)?;
    let name = name(&package)?;
    let version = version(&package)?;

    let mut reader = Reader {
        names: Names::new(&name, Some(&version)),
        entry_points: BTreeMap::new(),
        programs: Vec::new(),
        setup_programs: Vec::new(),
        written: Vec::new(),
        chmods: Vec::new(),
    };
    let slots = slots::read(&root, &mut reader.names)?;
    let execution = root.table("execution")?.ok_or_else(|| {
        let key = if source.language == Language::Toml { "[execution]" } else { "\"execution\"" };
        source
            .error("nothing says what the package should run")
            .field("execution.command")
            .hint(format!("add {key} with a command such as \"{{workenv}}/bin/app --serve\""))
    })?;
    let mut document =
        vec![("package", described(&package, &name, &version)?), ("execution", reader.execution(&execution)?)];
    let setup = reader.setup(&root)?;
    if !setup.is_empty() {
        document.push(("setup_commands", Value::Array(setup)));
    }
    document.extend(launch::runtime(&root, &mut reader.names)?.map(|runtime| ("runtime", runtime)));
    document.extend(reader.workenv(&root)?.map(|workenv| ("workenv", workenv)));
    document.extend(reader.cache_validation(&root)?.map(|validation| ("cache_validation", validation)));
    document.extend(launch::policy(&root)?.map(|policy| ("policy", policy)));
    document.extend(extensions(&root)?.map(|extensions| ("extensions", extensions)));
    let mut document: Vec<(Cow<'static, str>, Value<'static>)> =
        document.into_iter().map(|(key, value)| (key.into(), value)).collect();
    document.extend(root.extra()?);
    reader.derived(&root)?;

    Ok(Generic {
        path: absolute.to_path_buf(),
        directory: absolute.parent().unwrap_or(Path::new("/")).to_path_buf(),
        app_id: package.nonempty("app_id")?,
        release: package.unsigned("release")?,
        name,
        version,
        document: Value::Object(document),
        slots,
        entry_points: reader.entry_points,
        programs: reader.programs,
        setup_programs: reader.setup_programs,
        written: reader.written,
        chmods: reader.chmods,
        notes: reader.names.notes,
        is_json: source.language == Language::Json,
    })
}

/// The keys of the root.
const ROOT: [&str; 9] = [
    "package",
    "execution",
    "slots",
    "setup_commands",
    "runtime",
    "workenv",
    "cache_validation",
    "policy",
    "extensions",
];
/// Keys of finished metadata, and of what FlavorPack's tools pass to each other: packer writes these itself.
const DERIVED: [&str; 8] =
    ["format", "format_version", "verification", "build", "launcher", "compatibility", "features", "signature"];
fn missing_package(root: &Table<'_>) -> Error {
    let new = root.source.error("the manifest has no package").field("package");
    match root.source.language {
        Language::Toml => new.hint("add [package] with name and version (or [project] for a Python project)"),
        Language::Json => new.hint("add \"package\": {\"name\": \"myapp\", \"version\": \"1.0.0\"}"),
    }
}

fn name(package: &Table<'_>) -> Result<String> {
    let name = package.needed("name", "\"myapp\"")?.value;
    if !super::pyproject::is_project_name(name) {
        return Err(package
            .wrong_value(
                "name",
                "the package's name is used as a file name and cannot be this",
                "letters, digits, \"-\", \"_\" and \".\", with a letter or digit at both ends",
                name,
            )
            .hint("shorten it; package.description takes any text"));
    }
    Ok(name.to_owned())
}

fn version(package: &Table<'_>) -> Result<String> {
    let version = package.needed("version", "\"1.0.0\"")?.value;
    let valid = version.starts_with(|c: char| c.is_ascii_alphanumeric())
        && version.chars().all(|c| c.is_ascii_alphanumeric() || "._-+!".contains(c));
    if !valid {
        return Err(package
            .wrong_value(
                "version",
                "the package's version is used in a file name and cannot be this",
                "letters, digits and \". _ - + !\"",
                version,
            )
            .hint("write it like \"1.0.0\""));
    }
    Ok(version.to_owned())
}

fn described(package: &Table<'_>, name: &str, version: &str) -> Result<Value<'static>> {
    let mut members: Vec<(Cow<'static, str>, Value<'static>)> =
        vec![("name".into(), name.to_owned().into()), ("version".into(), version.to_owned().into())];
    if let Some(description) = package.string("description")? {
        members.push(("description".into(), description.value.to_owned().into()));
    }
    members.extend(package.extra()?);
    Ok(Value::Object(members))
}

fn extensions(root: &Table<'_>) -> Result<Option<Value<'static>>> {
    let Some(extensions) = root.table("extensions")? else { return Ok(None) };
    if let Some(key) = extensions.keys().find(|key| [claims::KEY, WORKENV_KEY].contains(key)) {
        return Err(extensions
            .error_at(key, "packer writes this extension itself")
            .hint("take it out of the manifest"));
    }
    root.json("extensions")
}

/// Walks the manifest and gathers what concerns all of it.
struct Reader {
    names: Names,
    entry_points: BTreeMap<String, String>,
    programs: Vec<Program>,
    setup_programs: Vec<Program>,
    written: Vec<String>,
    chmods: Vec<String>,
}

impl Reader {
    fn execution(&mut self, table: &Table<'_>) -> Result<Value<'static>> {
        // FlavorPack's Go builder takes the environment under its long name as well.
        table.only(&["command", "entry_points", "working_directory", "env", "environment"], Extra::Kept)?;
        let (command, program) = self.command(table, "command", "\"{workenv}/bin/app\"")?;
        self.programs.push(program);
        if let Some(entries) = table.table("entry_points")? {
            for name in entries.keys() {
                check_command_name(&entries, name)?;
                let (line, program) = self.command(&entries, name, "\"{workenv}/bin/other\"")?;
                self.entry_points.insert(name.to_owned(), line);
                self.programs.push(program);
            }
        }
        let mut env = launch::variables(table, "environment", &mut self.names)?;
        env.extend(launch::variables(table, "env", &mut self.names)?);
        let mut members: Vec<(Cow<'static, str>, Value<'static>)> =
            vec![("command".into(), command.into()), ("env".into(), Value::Object(env))];
        let directory = launch::working_directory(table, &mut self.names)?;
        members.extend(directory.map(|directory| ("working_directory".into(), directory.into())));
        members.extend(table.extra()?);
        Ok(Value::Object(members))
    }

    fn setup(&mut self, root: &Table<'_>) -> Result<Vec<Value<'static>>> {
        root.tables("setup_commands")?.iter().map(|table| self.setup_command(table)).collect()
    }

    fn setup_command(&mut self, table: &Table<'_>) -> Result<Value<'static>> {
        const TYPES: [&str; 4] = ["execute", "enumerate_and_execute", "write_file", "chmod"];
        let kind = table.needed("type", "\"execute\"")?.value;
        let mut members: Vec<(&str, Value<'static>)> = vec![("type", kind.to_owned().into())];
        match kind {
            "execute" => {
                table.only(&["type", "command"], Extra::Refused)?;
                members.push(("command", self.setup_program(table)?.into()));
            }
            "enumerate_and_execute" => {
                table.only(&["type", "enumerate", "command"], Extra::Refused)?;
                members.push(("command", self.setup_program(table)?.into()));
                let enumerate = table
                    .table("enumerate")?
                    .ok_or_else(|| table.missing("enumerate", "{ path = \"{workenv}/data\", pattern = \"*.csv\" }"))?;
                enumerate.only(&["path", "pattern"], Extra::Refused)?;
                let path = enumerate.needed("path", "\"{workenv}/data\"")?.value;
                let path = self.names.path_below(&enumerate, "path", path)?;
                let pattern = enumerate.needed("pattern", "\"*.csv\"")?.value;
                if pattern.is_empty() || pattern.contains('/') {
                    return Err(enumerate
                        .wrong_value("pattern", "this matches no file name", "a pattern such as \"*.csv\"", pattern)
                        .hint("the directory goes into path"));
                }
                let enumerate = [("path", in_workenv(&path).into()), ("pattern", pattern.to_owned().into())];
                members.push(("enumerate", Value::object(enumerate)));
            }
            "write_file" => {
                table.only(&["type", "path", "content", "mode"], Extra::Refused)?;
                let path = self.names.file_below(table, "path")?;
                members.push(("path", in_workenv(&path).into()));
                self.written.push(path);
                let content = table.needed("content", "\"...\"")?;
                self.names.check_slots(table, "content", &content)?;
                members.push(("content", content.value.to_owned().into()));
                members.extend(mode(table)?);
            }
            "chmod" => {
                table.only(&["type", "path", "mode"], Extra::Refused)?;
                let path = self.names.file_below(table, "path")?;
                members.push(("path", in_workenv(&path).into()));
                self.chmods.push(path);
                members.push(mode(table)?.ok_or_else(|| table.missing("mode", "\"0755\""))?);
            }
            other => return Err(table.unknown_word("type", "this is not a setup command", &TYPES, other)),
        }
        Ok(Value::object(members))
    }

    fn workenv(&mut self, root: &Table<'_>) -> Result<Option<Value<'static>>> {
        let Some(workenv) = root.table("workenv")? else { return Ok(None) };
        workenv.only(&["directories", "env"], Extra::Refused)?;
        let mut directories = Vec::new();
        for directory in workenv.tables("directories")? {
            directory.only(&["path", "mode"], Extra::Refused)?;
            let path = self.names.file_below(&directory, "path")?;
            let mut members = vec![("path", in_workenv(&path).into())];
            members.extend(mode(&directory)?);
            directories.push(Value::object(members));
        }
        let mut members = vec![("directories", Value::Array(directories))];
        if workenv.has("env") {
            members.push(("env", Value::Object(launch::variables(&workenv, "env", &mut self.names)?)));
        }
        Ok(Some(Value::object(members)))
    }

    fn cache_validation(&mut self, root: &Table<'_>) -> Result<Option<Value<'static>>> {
        let Some(table) = root.table("cache_validation")? else { return Ok(None) };
        table.only(&["check_file", "expected_content"], Extra::Refused)?;
        let path = self.names.file_below(&table, "check_file")?;
        let mut members = vec![("check_file", in_workenv(&path).into())];
        if let Some(content) = table.string("expected_content")? {
            self.names.check_slots(&table, "expected_content", &content)?;
            members.push(("expected_content", content.value.to_owned().into()));
        }
        Ok(Some(Value::object(members)))
    }

    /// What packer writes itself is checked for contradictions, and told.
    fn derived(&mut self, root: &Table<'_>) -> Result<()> {
        if let Some(format) = root.string("format")?
            && format.value != FORMAT
        {
            return Err(root
                .wrong_value("format", "this is the manifest of another format", format!("{FORMAT:?}"), format.value)
                .hint("leave it out"));
        }
        let there: Vec<&str> = DERIVED.into_iter().filter(|key| root.has(key) && !key.starts_with("format")).collect();
        if !there.is_empty() {
            self.names
                .notes
                .push(format!("packer decides {} itself; what the manifest says of it is not used", there.join(", ")));
        }
        Ok(())
    }

    fn setup_program(&mut self, table: &Table<'_>) -> Result<String> {
        let (command, program) = self.command(table, "command", "\"{workenv}/bin/prepare\"")?;
        self.setup_programs.push(program);
        Ok(command)
    }

    /// A command line, which is one string or a list of words, and its program.
    fn command(&mut self, table: &Table<'_>, key: &str, example: &str) -> Result<(String, Program)> {
        let (line, word) = self.names.command(table, key, example)?;
        Ok((line, Program { word, place: table.place_at(key) }))
    }
}

fn mode(table: &Table<'_>) -> Result<Option<(&'static str, Value<'static>)>> {
    Ok(table.mode("mode")?.map(|mode| ("mode", format!("{mode:04o}").into())))
}

#[cfg(test)]
mod tests;
