//! Manifests without Python: files, a command, and what is made around them. TOML and JSON say the same.
//!
//! The schema is in docs/manifest.md. The JSON that FlavorPack's own builders take is such a manifest.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use launcher::text;
use pspf_core::claims;
use pspf_core::format::Operations;
use pspf_core::json::Value;
use pspf_core::limits;
use pspf_core::metadata::{FORMAT, Lifecycle, WORKENV_KEY};
use pspf_core::placement::relative;

use super::fields::{Found, Table};
use super::placeholders::{self, Placeholder};
use super::syntax::{Language, Source};
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::slots;

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
    /// What is started: `execution.command` first, then the setup commands' programs in their order.
    pub programs: Vec<Program>,
    /// Files that setup commands write: paths below the workenv.
    pub written: Vec<String>,
    /// Paths below the workenv whose modes setup commands set.
    pub chmods: Vec<String>,
    /// Things worth telling that are not wrong.
    pub notes: Vec<String>,
    text: String,
    is_json: bool,
}

/// One entry of `slots`.
#[derive(Debug, Clone)]
pub struct SlotSpec {
    /// `id`
    pub id: String,
    /// `source`, as written: a file or a directory, relative to the manifest.
    pub source: String,
    /// `target`: a path below the workenv, empty for its root; with a `/` at its end only where that was written.
    pub target: String,
    /// `purpose`: any word.
    pub purpose: String,
    /// `lifecycle`
    pub lifecycle: Lifecycle,
    /// `platform`; `None` for any.
    pub platform: Option<Platform>,
    /// `permissions`
    pub permissions: Option<u16>,
    /// `operations`
    pub operations: Option<Operations>,
    /// `level`: how hard to compress, as written; which there are depends on the compression.
    pub level: Option<u64>,
    /// `encoded`: whether the source is in the slot's encoding already; `None` for "have a look".
    pub encoded: Option<bool>,
    /// `exclude`: patterns, as in a `.gitignore`, of what is left out of a directory.
    pub exclude: Vec<String>,
    /// Where the manifest says so.
    pub place: Place,
}

/// A program that is started.
#[derive(Debug, Clone)]
pub struct Program {
    /// The first word of the command.
    pub word: String,
    /// Where the manifest says so.
    pub place: Place,
}

/// A place in the manifest.
#[derive(Debug, Clone)]
pub struct Place {
    /// Dotted: `slots[1]`.
    pub field: String,
    at: usize,
    /// Where its own entries are.
    keys: Vec<(String, usize)>,
}

impl Generic {
    /// An error about a field of the manifest.
    pub fn error(&self, place: &Place, key: &str, what: impl Into<String>) -> Error {
        self.locate(place, key, Error::new(Kind::Configuration, what))
    }

    /// The error, with the field of the manifest that it is about.
    pub fn locate(&self, place: &Place, key: &str, error: Error) -> Error {
        let at = place.keys.iter().find(|(name, _)| name == key).map_or(place.at, |(_, at)| *at);
        let line = 1 + self.text.as_bytes().iter().take(at).filter(|&&byte| byte == b'\n').count();
        let field = if key.is_empty() { place.field.clone() } else { format!("{}.{key}", place.field) };
        error.file(&self.path).line(line).field(field)
    }

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
        names: [name.clone(), version.clone()],
        targets: Vec::new(),
        programs: Vec::new(),
        written: Vec::new(),
        chmods: Vec::new(),
        notes: Vec::new(),
    };
    let slots = reader.slots(&root)?;
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
    document.extend(reader.runtime(&root)?.map(|runtime| ("runtime", runtime)));
    document.extend(reader.workenv(&root)?.map(|workenv| ("workenv", workenv)));
    document.extend(reader.cache_validation(&root)?.map(|validation| ("cache_validation", validation)));
    document.extend(policy(&root)?.map(|policy| ("policy", policy)));
    document.extend(extensions(&root)?.map(|extensions| ("extensions", extensions)));
    let mut document: Vec<(Cow<'static, str>, Value<'static>)> =
        document.into_iter().map(|(key, value)| (key.into(), value)).collect();
    document.extend(root.extra()?);
    reader.derived(&root)?;

    Ok(Generic {
        path: absolute.to_path_buf(),
        directory: absolute.parent().unwrap_or(Path::new("/")).to_path_buf(),
        app_id: nonempty(&package, "app_id")?,
        release: package.unsigned("release")?,
        name,
        version,
        document: Value::Object(document),
        slots,
        programs: reader.programs,
        written: reader.written,
        chmods: reader.chmods,
        notes: reader.notes,
        text: source.text.to_owned(),
        is_json: source.language == Language::Json,
    })
}

/// What a table may have beyond the keys that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extra {
    /// Nothing.
    Refused,
    /// Keys that begin with `x-`: they go into the package's metadata as they are.
    Kept,
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
/// Keys of slots that packer writes itself, or that say nothing to it.
const DERIVED_OF_SLOT: [&str; 6] = ["slot", "size", "checksum", "type", "resolution", "self_ref"];
const SLOT: [&str; 11] = [
    "id",
    "source",
    "target",
    "purpose",
    "lifecycle",
    "operations",
    "level",
    "permissions",
    "platform",
    "encoded",
    "exclude",
];
/// Every name and alias of a lifecycle.
const LIFECYCLES: [&str; 16] = [
    "runtime",
    "cached",
    "cache",
    "startup",
    "init",
    "eager",
    "lazy",
    "config",
    "persistent",
    "temporary",
    "temp",
    "volatile",
    "shutdown",
    "dev",
    "platform",
    "attestation",
];

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

fn policy(root: &Table<'_>) -> Result<Option<Value<'static>>> {
    let Some(policy) = root.table("policy")? else { return Ok(None) };
    policy.only(&["platforms", "refuse_root", "max_age_days", "require_env"], Extra::Kept)?;
    for platform in policy.strings("platforms")?.unwrap_or_default() {
        if Platform::from_name(platform.value).is_none() {
            return Err(policy.unknown_word("platforms", "this is not a platform", &Platform::NAMES, platform.value));
        }
    }
    policy.boolean("refuse_root")?;
    if policy.json("max_age_days")?.is_some_and(|age| age != Value::Null) {
        policy.unsigned("max_age_days")?;
    }
    for name in policy.strings("require_env")?.unwrap_or_default() {
        check_variable(&policy, "require_env", name.value)?;
    }
    root.json("policy")
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

fn nonempty(table: &Table<'_>, key: &str) -> Result<Option<String>> {
    match table.string(key)? {
        Some(found) if found.value.trim().is_empty() => Err(table
            .error_at(key, format!("{} is empty", table.field(key)))
            .hint("write something, or leave the key out")),
        found => Ok(found.map(|found| found.value.to_owned())),
    }
}

fn check_variable(table: &Table<'_>, key: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.contains('=') {
        return Err(table
            .wrong_value(key, "this cannot be the name of a variable", "a name without \"=\"", name)
            .hint("variables are named like LOG_LEVEL"));
    }
    Ok(())
}

/// Walks the manifest and gathers what concerns all of it.
struct Reader {
    /// Name and version.
    names: [String; 2],
    /// The slots' targets.
    targets: Vec<String>,
    programs: Vec<Program>,
    written: Vec<String>,
    chmods: Vec<String>,
    notes: Vec<String>,
}

impl Reader {
    fn slots(&mut self, root: &Table<'_>) -> Result<Vec<SlotSpec>> {
        let tables = root.tables("slots")?;
        if tables.len() as u64 > u64::from(limits::SLOTS) {
            return Err(root
                .error_at("slots", "more slots than a package may have")
                .expected(format!("at most {}", limits::SLOTS))
                .found(tables.len().to_string())
                .hint("put several directories into one slot"));
        }
        let is_json = root.source.language == Language::Json;
        let known = if is_json { [&SLOT[..], &DERIVED_OF_SLOT].concat() } else { SLOT.to_vec() };
        let mut ids = HashSet::new();
        let mut slots = Vec::new();
        for table in &tables {
            let is_known = |key: &str| known.contains(&key);
            if let Some(key) = table.keys().find(|key| !is_known(key)) {
                return Err(table.unknown_key(key, &SLOT));
            }
            if is_json && table.boolean("self_ref")? == Some(true) {
                return Err(table
                    .error_at("self_ref", "a slot that stands for the package itself is not supported")
                    .hint("leave the slot out; the app finds the package's path in PSPF_ARGV0"));
            }
            let id = slot_id(table)?;
            if !ids.insert(id) {
                return Err(table
                    .error_at("id", format!("two slots are called {id:?}"))
                    .expected("every id once")
                    .hint("give one of them another id"));
            }
            slots.push(self.slot(table, id)?);
        }
        // Placeholders in targets may name any slot, so that they come last.
        for (table, slot) in tables.iter().zip(&mut slots) {
            let written = table.string("target")?.map_or(slot.id.as_str(), |target| target.value);
            let is_directory = written.ends_with('/');
            slot.target = self.path_below(table, "target", written)?;
            if is_directory && !slot.target.is_empty() {
                slot.target.push('/');
            }
        }
        self.targets = slots.iter().map(|slot| slot.target.clone()).collect();
        Ok(slots)
    }

    fn slot(&mut self, table: &Table<'_>, id: &str) -> Result<SlotSpec> {
        let source = table.needed("source", "\"files/\"")?.value;
        if source.is_empty() {
            return Err(table.error_at("source", "the source is empty").hint("name a file or a directory"));
        }
        let lifecycle = table.string("lifecycle")?.map_or("runtime", |found| found.value);
        let lifecycle = Lifecycle::from_name(lifecycle)
            .ok_or_else(|| table.unknown_word("lifecycle", "this is not a lifecycle", &LIFECYCLES, lifecycle))?;
        let operations = match table.string("operations")? {
            None => None,
            Some(found) => Some(operations(table, found.value)?),
        };
        let platform = match table.string("platform")?.map(|found| found.value) {
            None | Some("any") => None,
            Some(name) => Some(Platform::from_name(name).ok_or_else(|| {
                let known = [&["any"][..], &Platform::NAMES].concat();
                table.unknown_word("platform", "this is not a platform", &known, name)
            })?),
        };
        let exclude: Vec<String> =
            table.strings("exclude")?.unwrap_or_default().into_iter().map(|found| found.value.to_owned()).collect();
        slots::patterns(&exclude).map_err(|(pattern, error)| {
            table
                .wrong_value("exclude", "this is not a pattern for files", "patterns as in a .gitignore", &pattern)
                .hint(error.to_string())
        })?;
        Ok(SlotSpec {
            id: id.to_owned(),
            source: source.to_owned(),
            target: String::new(),
            purpose: nonempty(table, "purpose")?.unwrap_or_else(|| "payload".to_owned()),
            lifecycle,
            platform,
            permissions: table.mode("permissions")?,
            operations,
            level: table.unsigned("level")?,
            encoded: table.boolean("encoded")?,
            exclude,
            place: place_of(table),
        })
    }

    fn execution(&mut self, table: &Table<'_>) -> Result<Value<'static>> {
        // FlavorPack's Go builder takes the environment under its long name as well.
        table.only(&["command", "env", "environment"], Extra::Kept)?;
        let command = self.command(table, "command", "\"{workenv}/bin/app\"")?;
        let mut env = self.variables(table, "environment")?;
        env.extend(self.variables(table, "env")?);
        let mut members: Vec<(Cow<'static, str>, Value<'static>)> =
            vec![("command".into(), command.into()), ("env".into(), Value::Object(env))];
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
                members.push(("command", self.command(table, "command", "\"{workenv}/bin/prepare\"")?.into()));
            }
            "enumerate_and_execute" => {
                table.only(&["type", "enumerate", "command"], Extra::Refused)?;
                members.push(("command", self.command(table, "command", "\"{workenv}/bin/prepare\"")?.into()));
                let enumerate = table
                    .table("enumerate")?
                    .ok_or_else(|| table.missing("enumerate", "{ path = \"{workenv}/data\", pattern = \"*.csv\" }"))?;
                enumerate.only(&["path", "pattern"], Extra::Refused)?;
                let path = enumerate.needed("path", "\"{workenv}/data\"")?.value;
                let path = self.path_below(&enumerate, "path", path)?;
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
                let path = self.file_below(table, "path")?;
                members.push(("path", in_workenv(&path).into()));
                self.written.push(path);
                let content = table.needed("content", "\"...\"")?;
                self.check_slots(table, "content", &content)?;
                members.push(("content", content.value.to_owned().into()));
                members.extend(mode(table)?);
            }
            "chmod" => {
                table.only(&["type", "path", "mode"], Extra::Refused)?;
                let path = self.file_below(table, "path")?;
                members.push(("path", in_workenv(&path).into()));
                self.chmods.push(path);
                members.push(mode(table)?.ok_or_else(|| table.missing("mode", "\"0755\""))?);
            }
            other => return Err(table.unknown_word("type", "this is not a setup command", &TYPES, other)),
        }
        Ok(Value::object(members))
    }

    fn runtime(&mut self, root: &Table<'_>) -> Result<Option<Value<'static>>> {
        let Some(runtime) = root.table("runtime")? else { return Ok(None) };
        runtime.only(&["env"], Extra::Refused)?;
        let Some(env) = runtime.table("env")? else { return Ok(None) };
        env.only(&["unset", "pass", "set", "map"], Extra::Refused)?;
        let mut members = Vec::new();
        for key in ["unset", "pass"] {
            if let Some(patterns) = env.strings(key)? {
                for pattern in &patterns {
                    check_variable(&env, key, pattern.value)?;
                }
                members.push((key, Value::array(patterns.iter().map(|pattern| pattern.value.to_owned()))));
            }
        }
        if let Some(map) = env.table("map")? {
            for (old, new) in env.string_map("map")? {
                check_variable(&map, old, old)?;
                check_variable(&map, old, new.value)?;
            }
            members.extend(env.json("map")?.map(|map| ("map", map)));
        }
        if env.has("set") {
            members.push(("set", Value::Object(self.variables(&env, "set")?)));
        }
        Ok(Some(Value::object([("env", Value::object(members))])))
    }

    fn workenv(&mut self, root: &Table<'_>) -> Result<Option<Value<'static>>> {
        let Some(workenv) = root.table("workenv")? else { return Ok(None) };
        workenv.only(&["directories", "env"], Extra::Refused)?;
        let mut directories = Vec::new();
        for directory in workenv.tables("directories")? {
            directory.only(&["path", "mode"], Extra::Refused)?;
            let path = self.file_below(&directory, "path")?;
            let mut members = vec![("path", in_workenv(&path).into())];
            members.extend(mode(&directory)?);
            directories.push(Value::object(members));
        }
        let mut members = vec![("directories", Value::Array(directories))];
        if workenv.has("env") {
            members.push(("env", Value::Object(self.variables(&workenv, "env")?)));
        }
        Ok(Some(Value::object(members)))
    }

    fn cache_validation(&mut self, root: &Table<'_>) -> Result<Option<Value<'static>>> {
        let Some(table) = root.table("cache_validation")? else { return Ok(None) };
        table.only(&["check_file", "expected_content"], Extra::Refused)?;
        let path = self.file_below(&table, "check_file")?;
        let mut members = vec![("check_file", in_workenv(&path).into())];
        if let Some(content) = table.string("expected_content")? {
            self.check_slots(&table, "expected_content", &content)?;
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
            self.notes
                .push(format!("packer decides {} itself; what the manifest says of it is not used", there.join(", ")));
        }
        Ok(())
    }

    /// A command line: one string, or a list of words.
    fn command(&mut self, table: &Table<'_>, key: &str, example: &str) -> Result<String> {
        let is_list = table.entry(key).is_some_and(|(_, node)| matches!(node.value, super::syntax::Value::Array(_)));
        let (line, words) = if is_list {
            let words = table.strings(key)?.unwrap_or_default();
            for word in &words {
                self.check(table, key, word)?;
            }
            let words: Vec<String> = words.iter().map(|word| word.value.to_owned()).collect();
            (text::quote(&words), words)
        } else {
            let line = table.needed(key, example)?;
            self.check(table, key, &line)?;
            let words = text::words(line.value).ok_or_else(|| {
                table
                    .wrong_value(
                        key,
                        "this is not a command line: a quote is not closed",
                        "words, perhaps in quotes",
                        line.value,
                    )
                    .hint("close the quote, or write the command as a list of words")
            })?;
            (line.value.to_owned(), words)
        };
        let Some(word) = words.into_iter().next().filter(|word| !word.is_empty()) else {
            return Err(table
                .error_at(key, "the command is empty")
                .expected("a program")
                .hint(format!("write it like {key} = {example}")));
        };
        self.programs.push(Program { word, place: place(table, key) });
        Ok(line)
    }

    /// Variables and their values; the launcher fills in placeholders.
    fn variables(&mut self, table: &Table<'_>, key: &str) -> Result<Vec<(Cow<'static, str>, Value<'static>)>> {
        let Some(variables) = table.table(key)? else { return Ok(Vec::new()) };
        let mut members = Vec::new();
        for (name, value) in table.string_map(key)? {
            check_variable(&variables, name, name)?;
            self.check(&variables, name, &value)?;
            members.push((name.to_owned().into(), value.value.to_owned().into()));
        }
        Ok(members)
    }

    /// Checks the placeholders of a text that is filled in at start.
    fn check(&mut self, table: &Table<'_>, key: &str, found: &Found<&str>) -> Result<()> {
        self.check_slots(table, key, found)?;
        for placeholder in placeholders::find(found.value) {
            match placeholder {
                Placeholder::Unknown(name, Some(near)) => return Err(unknown_placeholder(table, key, name, near)),
                Placeholder::Unknown(name, None) => {
                    let field = table.field(key);
                    self.notes.push(format!("{{{name}}} in {field} is no placeholder and stays as it is"));
                }
                Placeholder::Known | Placeholder::Slot(_) => {}
            }
        }
        Ok(())
    }

    /// Checks that the slots exist that a text names.
    fn check_slots(&self, table: &Table<'_>, key: &str, found: &Found<&str>) -> Result<()> {
        let count = self.targets.len();
        for placeholder in placeholders::find(found.value) {
            if let Placeholder::Slot(number) = placeholder
                && number >= count
            {
                return Err(no_such_slot(table, key, number, count));
            }
        }
        Ok(())
    }

    /// A path below the workenv that is not its root.
    fn file_below(&self, table: &Table<'_>, key: &str) -> Result<String> {
        let written = table.needed(key, "\"{workenv}/etc/app.conf\"")?.value;
        let path = self.path_below(table, key, written)?;
        if path.is_empty() {
            return Err(bad_path(table, key, written));
        }
        Ok(path)
    }

    /// A path below the workenv, without `{workenv}/`. Other placeholders are filled in here and now: where a slot
    /// goes, and what writes into it, has to be known when it is packed.
    fn path_below(&self, table: &Table<'_>, key: &str, written: &str) -> Result<String> {
        let mut filled = written.replace("{package_name}", &self.names[0]).replace("{version}", &self.names[1]);
        for placeholder in placeholders::find(written) {
            match placeholder {
                Placeholder::Known => {}
                Placeholder::Slot(number) => {
                    let Some(target) = self.targets.get(number) else {
                        return Err(no_such_slot(table, key, number, self.targets.len()));
                    };
                    filled = filled.replace(&format!("{{slot:{number}}}"), &in_workenv(target.trim_end_matches('/')));
                }
                Placeholder::Unknown(name, near) => {
                    return Err(unknown_placeholder(table, key, name, near.unwrap_or("{workenv}")));
                }
            }
        }
        let prefixed = filled == "{workenv}" || filled.starts_with("{workenv}/");
        let path = if prefixed { relative(&filled) } else { plain(&filled) };
        let is_plain = |name: &str| !matches!(name, "" | "." | "..") && name.len() <= limits::COMPONENT;
        let inside = !path.contains(['\\', '{', '}']) && path.len() <= limits::PATH;
        if inside && (path.is_empty() || path.split('/').all(is_plain)) {
            return Ok(path.to_owned());
        }
        Err(bad_path(table, key, written))
    }
}

/// A path as it was written, without what means nothing; an absolute one stays one, which is refused.
fn plain(path: &str) -> &str {
    let path = path.strip_prefix("./").unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path == "." { "" } else { path }
}

fn in_workenv(path: &str) -> String {
    if path.is_empty() { "{workenv}".to_owned() } else { format!("{{workenv}}/{path}") }
}

fn slot_id<'a>(table: &Table<'a>) -> Result<&'a str> {
    let id = table.needed("id", "\"data\"")?.value;
    let valid = !id.is_empty()
        && id.len() <= limits::COMPONENT
        && !matches!(id, "." | "..")
        && !id.contains(|c: char| c.is_control() || c == '/' || c == '\\');
    if !valid {
        return Err(table
            .wrong_value("id", "a slot cannot be called this", "a name without slashes", id)
            .hint("the path goes into target"));
    }
    Ok(id)
}

fn operations(table: &Table<'_>, name: &str) -> Result<Operations> {
    const NAMES: [&str; 10] = ["raw", "tar", "gzip", "tar.gz", "bzip2", "tar.bz2", "xz", "tar.xz", "zstd", "tar.zst"];
    let operations = Operations::from_name(name).filter(|operations| operations.steps().is_ok());
    operations.ok_or_else(|| table.unknown_word("operations", "this is not a chain of operations", &NAMES, name))
}

fn mode(table: &Table<'_>) -> Result<Option<(&'static str, Value<'static>)>> {
    Ok(table.mode("mode")?.map(|mode| ("mode", format!("{mode:04o}").into())))
}

/// The place of a whole table.
fn place_of(table: &Table<'_>) -> Place {
    let at_of = |key: &str| table.entry(key).map_or(table.at(), |(at, _)| at);
    let keys = table.keys().map(|key| (key.to_owned(), at_of(key))).collect();
    Place { field: table.path().to_owned(), at: table.at(), keys }
}

/// The place of one entry.
fn place(table: &Table<'_>, key: &str) -> Place {
    let at = table.entry(key).map_or(table.at(), |(at, _)| at);
    Place { field: table.field(key), at, keys: Vec::new() }
}

fn bad_path(table: &Table<'_>, key: &str, written: &str) -> Error {
    table
        .wrong_value(
            key,
            "this is not a path below the workenv",
            "a relative path without \"..\", such as \"{workenv}/etc/app.conf\"",
            written,
        )
        .hint("everything that a package makes is inside its workenv; the user's own places are not touched")
}

fn unknown_placeholder(table: &Table<'_>, key: &str, name: &str, near: &str) -> Error {
    table
        .wrong_value(
            key,
            "this is not a placeholder",
            "{workenv}, {package_name}, {version} or {slot:N}",
            &format!("{{{name}}}"),
        )
        .hint(format!("did you mean {near}?"))
}

fn no_such_slot(table: &Table<'_>, key: &str, number: usize, count: usize) -> Error {
    let expected = match count {
        0 => "no {slot:N}, as there are no slots".to_owned(),
        1 => "{slot:0}".to_owned(),
        _ => format!("{{slot:0}} to {{slot:{}}}", count - 1),
    };
    table
        .wrong_value(key, "there is no such slot", expected, &format!("{{slot:{number}}}"))
        .hint("slots are counted from 0, in the order of the manifest")
}

#[cfg(test)]
mod tests;
