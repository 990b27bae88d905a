//! `pyproject.toml`, read with the place of everything in it at hand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::fields::{Extra, Found, Table, nearest};
use super::names::{Names, check_command_name};
use super::slots::{self, SlotSpec};
use super::syntax::{Language, Source};
use super::types::{EntryPoint, Execution, Flavor, Manifest, Requirement, Script};
use super::version::{PythonVersion, Specifier};
use super::{build, launch};
use crate::error::{Error, Result};
use crate::guess;

/// Parses `text`, the contents of `file` (as the user named it) at `absolute`.
pub(super) fn parse(text: &str, file: &Path, absolute: &Path) -> Result<Manifest> {
    let source = Source { text, file, language: Language::Toml };
    let entries = source.parse()?;
    let root = Table::root(source, &entries);
    let directory = absolute.parent().unwrap_or(Path::new("/")).to_path_buf();

    let (project, is_poetry) = match root.table("project")? {
        Some(project) => (project, false),
        None => (poetry(&root, &directory)?, true),
    };
    let mut notes = if is_poetry { Vec::new() } else { unknown_of_project(&project)? };
    let dynamic = project.strings("dynamic")?.unwrap_or_default();
    if let Some(found) = dynamic.iter().find(|found| !PROJECT.contains(&found.value)) {
        return Err(project.unknown_word("dynamic", "this is not a key of [project]", &PROJECT, found.value));
    }
    // What poetry-core makes of its own table is in the wheel, too.
    let is_dynamic = |key: &str| is_poetry || dynamic.iter().any(|found| found.value == key);

    let name = project_name(&project)?;
    let version = version(&project, is_dynamic("version"))?;
    let tool = root.table("tool")?;
    let flavor_table = tool.as_ref().map(|tool| tool.table("flavor")).transpose()?.flatten();
    let (mut flavor, entry_point, description) = match &flavor_table {
        Some(table) => flavor(table, &name, version.as_deref())?,
        None => {
            tool.as_ref().map_or(Ok(()), no_other_flavor)?;
            Default::default()
        }
    };
    notes.append(&mut flavor.notes);
    flavor.notes = notes;

    let mut scripts = scripts(&project, "gui-scripts")?;
    scripts.extend(self::scripts(&project, "scripts")?);
    let command = command(&project, &name, entry_point, &scripts, &directory)?;
    Ok(Manifest {
        path: absolute.to_path_buf(),
        directory,
        version,
        description: match description {
            Some(description) => Some(description),
            None => project.string("description")?.map(|found| found.value.to_owned()),
        },
        requires_python: if is_poetry { python_of_poetry(&project)? } else { requires_python(&project)? },
        dependencies: match is_poetry {
            true => None,
            false => requirements(&project, "dependencies")?.or((!is_dynamic("dependencies")).then(Vec::new)),
        },
        optional_dependencies: match project.table("optional-dependencies")? {
            Some(extras) => Some(
                extras
                    .keys()
                    .map(|extra| Ok((extra.to_owned(), requirements(&extras, extra)?.unwrap_or_default())))
                    .collect::<Result<_>>()?,
            ),
            None => (!is_dynamic("optional-dependencies")).then(BTreeMap::new),
        },
        scripts,
        command,
        has_build_system: root.table("build-system")?.is_some(),
        has_setuptools_table: tool.is_some_and(|tool| tool.has("setuptools")),
        flavor,
        name,
    })
}

/// `[tool.poetry]`, which says name, version and scripts like `[project]` does, of a project that has nothing else and is
/// built from that by poetry-core.
fn poetry<'a>(root: &Table<'a>, directory: &Path) -> Result<Table<'a>> {
    let new = root.source.error("the manifest has no [project] table");
    let tool = root.table("tool").ok().flatten();
    let Some(poetry) = tool.as_ref().and_then(|tool| tool.table("poetry").ok().flatten()) else {
        let setup = ["setup.py", "setup.cfg"].into_iter().find(|name| directory.join(name).is_file());
        return Err(match setup {
            Some(file) => new.hint(format!(
                "add [project] with the name and dynamic = [\"version\", \"dependencies\"], which {file} says then"
            )),
            None => new.hint("add [project] with at least name and version"),
        });
    };
    if root.table("build-system")?.is_none() {
        return Err(new.expected("[project], or [build-system] beside [tool.poetry]").hint(
            "add [build-system] with requires = [\"poetry-core\"] and build-backend = \"poetry.core.masonry.api\"",
        ));
    }
    Ok(poetry)
}

/// Every key of `[project]` (PEP 621, PEP 639 and PEP 794).
const PROJECT: [&str; 20] = [
    "name",
    "version",
    "description",
    "readme",
    "requires-python",
    "license",
    "license-files",
    "authors",
    "maintainers",
    "keywords",
    "classifiers",
    "urls",
    "scripts",
    "gui-scripts",
    "entry-points",
    "dependencies",
    "optional-dependencies",
    "import-names",
    "import-namespaces",
    "dynamic",
];

/// Refuses keys of `[project]` that look like a slip of the keyboard. Others may be of a PEP to come, which is the build
/// backend's business, and are told.
fn unknown_of_project(project: &Table<'_>) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for key in project.keys().filter(|key| !PROJECT.contains(key)) {
        if nearest(key, PROJECT).is_some() {
            return Err(project.unknown_key(key, &PROJECT));
        }
        notes.push(format!("project.{key} means nothing to packer"));
    }
    Ok(notes)
}

/// Refuses a table of `[tool]` that was most likely meant to be ours.
fn no_other_flavor(tool: &Table<'_>) -> Result<()> {
    match tool.keys().find(|key| strsim::jaro_winkler(&key.to_lowercase(), "flavor") > 0.9) {
        Some(key) => Err(tool
            .error_at(key, format!("[tool.{key}] is not packer's table"))
            .expected("[tool.flavor]")
            .hint("did you mean [tool.flavor]?")),
        None => Ok(()),
    }
}

/// Every key of `[tool.flavor]`.
const KNOWN: [&str; 16] = [
    "app_id",
    "build",
    "compression",
    "description",
    "entry_point",
    "exclude",
    "execution",
    "include",
    "metadata",
    "package_name",
    "policy",
    "python",
    "python_version",
    "release",
    "slots",
    "strip",
];

fn flavor(table: &Table<'_>, project: &str, version: Option<&str>) -> Result<(Flavor, Option<Script>, Option<String>)> {
    table.only(&KNOWN, Extra::Refused)?;
    let text = |key| Ok::<_, Error>(table.string(key)?.map(|found| found.value.to_owned()));
    let package_name = package_name(table)?;
    let entry_point = match table.string("entry_point")? {
        Some(found) => Some(script(table, "entry_point", String::new(), &found)?),
        None => None,
    };
    let mut names = Names::new(package_name.as_deref().unwrap_or(project), version);
    let slots = slots::read(table, &mut names)?;
    slots.iter().try_for_each(beside_python)?;
    let flavor = Flavor {
        python_version: match table.string("python_version")? {
            Some(found) => Some(PythonVersion::parse(found.value).ok_or_else(|| {
                table
                    .error_at("python_version", "this is not the version of an interpreter")
                    .expected("\"3.11\" or \"3.11.7\"")
                    .found(format!("{:?}", found.value))
                    .hint("ranges belong into project.requires-python")
            })?),
            None => None,
        },
        python: table.nonempty("python")?.map(PathBuf::from),
        package_name,
        app_id: table.nonempty("app_id")?,
        release: table.unsigned("release")?,
        exclude: owned(table.strings("exclude")?),
        include: owned(table.strings("include")?),
        strip: table.boolean("strip")?.unwrap_or(false),
        compression: slots::compression(table)?,
        slots,
        build: build::read(table)?,
        execution: execution(table, &mut names)?,
        policy: launch::policy(table)?,
        notes: names.notes,
    };
    Ok((flavor, entry_point, text("description")?))
}

/// `package_name`, which FlavorPack also takes in a table `metadata`.
fn package_name(flavor: &Table<'_>) -> Result<Option<String>> {
    let checked = |table: &Table<'_>| match table.nonempty("package_name")? {
        Some(name) if !is_project_name(&name) => Err(table
            .error_at("package_name", "the package's name is used as a file name and cannot be this")
            .expected("letters, digits, \"-\", \"_\" and \".\", with a letter or digit at both ends")
            .found(format!("{name:?}"))
            .hint("shorten it; description takes any text")),
        name => Ok(name),
    };
    let own = checked(flavor)?;
    let Some(metadata) = flavor.table("metadata")? else { return Ok(own) };
    metadata.only(&["package_name"], Extra::Refused)?;
    match (own, checked(&metadata)?) {
        (Some(own), Some(other)) if own != other => Err(metadata
            .error_at("package_name", "the package has two names")
            .expected(format!("{own:?}, as tool.flavor.package_name says"))
            .found(format!("{other:?}"))
            .hint("take one of the two lines out")),
        (own, other) => Ok(own.or(other)),
    }
}

/// Refuses a slot that would be, or be in, one of those that packer makes.
fn beside_python(slot: &SlotSpec) -> Result<()> {
    let names = "python-runtime, python-environment and application-code";
    if SLOTS.contains(&slot.id.as_str()) {
        return Err(slot
            .place
            .error("id", format!("packer has a slot {} itself", slot.id))
            .expected(format!("another name than {names}"))
            .hint("give the slot another id"));
    }
    let first = slot.target.split('/').next().unwrap_or_default();
    if SLOTS.contains(&first) || ["python", "pyvenv.cfg"].contains(&first) {
        return Err(slot
            .place
            .error("target", format!("{first} is packer's own in the workenv of a Python app"))
            .expected(format!("another place than {names}, python and pyvenv.cfg"))
            .found(format!("{:?}", slot.target))
            .hint("give the slot another target, such as \"share/NAME\""));
    }
    Ok(())
}

/// The slots that packer makes of a Python project (`python::workenv` lays them out).
const SLOTS: [&str; 3] = ["python-runtime", "python-environment", "application-code"];

fn execution(flavor: &Table<'_>, names: &mut Names) -> Result<Execution> {
    let Some(table) = flavor.table("execution")? else { return Ok(Execution::default()) };
    table.only(&["working_directory", "args", "runtime"], Extra::Refused)?;
    let args = table.strings("args")?.unwrap_or_default();
    for arg in &args {
        names.check(&table, "args", arg)?;
    }
    let working_directory = launch::working_directory(&table, names)?;
    Ok(Execution { args: owned(Some(args)), working_directory, runtime: launch::runtime(&table, names)? })
}

fn project_name(project: &Table<'_>) -> Result<String> {
    let Some(name) = project.string("name")? else {
        return Err(project
            .error("the project has no name")
            .field(project.field("name"))
            .hint(format!("add name = \"myapp\" under {}", project.title())));
    };
    if !is_project_name(name.value) {
        return Err(project
            .error_at("name", "the project's name is not one that PEP 508 allows")
            .expected("letters, digits, \"-\", \"_\" and \".\", with a letter or digit at both ends")
            .found(format!("{:?}", name.value))
            .hint("shorten it; project.description takes any text"));
    }
    Ok(name.value.to_owned())
}

fn version(project: &Table<'_>, dynamic: bool) -> Result<Option<String>> {
    let Some(version) = project.string("version")? else {
        if dynamic {
            return Ok(None);
        }
        return Err(project
            .error("the project has no version")
            .field("project.version")
            .hint("add version = \"1.0.0\" under [project], or list it in project.dynamic"));
    };
    let valid = version.value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && version.value.chars().all(|c| c.is_ascii_alphanumeric() || "._-+!".contains(c));
    if !valid {
        return Err(project
            .error_at("version", "the project's version is not one that PEP 440 allows")
            .expected("something like \"1.0.0\" or \"2.1rc1\"")
            .found(format!("{:?}", version.value))
            .hint("begin with a digit, and write what is no number behind a \"+\": \"1.0.0+mine\""));
    }
    Ok(Some(version.value.to_owned()))
}

fn requires_python(project: &Table<'_>) -> Result<Option<Specifier>> {
    let Some(found) = project.string("requires-python")? else { return Ok(None) };
    Specifier::parse(found.value).map(Some).ok_or_else(|| {
        project
            .error_at("requires-python", "this is not a version specifier")
            .expected("something like \">=3.9\" or \">=3.9,<4\"")
            .found(format!("{:?}", found.value))
            .hint("begin with an operator, such as \">=\"")
    })
}

/// The range of `tool.poetry.dependencies.python`: Poetry also writes "^3.9" for ">=3.9,<4" and "~3.9" for ">=3.9,<3.10".
/// `None` where it is none of PEP 440 then, such as a choice of ranges: the wheel has it as well.
fn python_of_poetry(poetry: &Table<'_>) -> Result<Option<Specifier>> {
    let Some(dependencies) = poetry.table("dependencies")? else { return Ok(None) };
    let Some(found) = dependencies.string("python")? else { return Ok(None) };
    let clause = |text: &str| {
        let text = text.trim();
        let (is_major, version) = match (text.strip_prefix('^'), text.strip_prefix('~')) {
            (Some(version), _) => (true, version),
            (None, Some(version)) if !version.starts_with('=') => (false, version),
            _ => return Some(text.to_owned()),
        };
        let mut parts = version.split('.');
        let major: u32 = parts.next()?.trim().parse().ok()?;
        let minor: Option<u32> = parts.next().map(str::parse).transpose().ok()?;
        let below = match minor {
            Some(minor) if !is_major => format!("{major}.{}", minor.checked_add(1)?),
            _ => major.checked_add(1)?.to_string(),
        };
        Some(format!(">={},<{below}", version.trim()))
    };
    let clauses: Option<Vec<String>> = found.value.split(',').map(clause).collect();
    Ok(clauses.and_then(|clauses| Specifier::parse(&clauses.join(","))))
}

fn requirements(table: &Table<'_>, key: &str) -> Result<Option<Vec<Requirement>>> {
    let Some(list) = table.strings(key)? else { return Ok(None) };
    list.iter().map(|found| requirement(table, key, found)).collect::<Result<_>>().map(Some)
}

/// One item of a list of dependencies.
pub(super) fn requirement(table: &Table<'_>, key: &str, found: &Found<&str>) -> Result<Requirement> {
    let requirement = Requirement { text: found.value.to_owned(), line: table.source.line(found.at) };
    // A line break would smuggle a second line into the file that the installer reads.
    if requirement.name().is_empty() || found.value.contains(['\n', '\r']) {
        return Err(table
            .source
            .error("this is not a dependency")
            .line(requirement.line)
            .field(table.field(key))
            .expected("a name and perhaps versions: \"flask>=2.0\"")
            .found(format!("{:?}", found.value))
            .hint("write it as for pip install"));
    }
    Ok(requirement)
}

fn scripts(project: &Table<'_>, key: &str) -> Result<BTreeMap<String, Script>> {
    let Some(table) = project.table(key)? else { return Ok(BTreeMap::new()) };
    let mut scripts = BTreeMap::new();
    for name in table.keys() {
        check_command_name(&table, name)?;
        if let Some(found) = table.string(name)? {
            scripts.insert(name.to_owned(), script(&table, name, name.to_owned(), &found)?);
        }
    }
    Ok(scripts)
}

fn script(table: &Table<'_>, key: &str, name: String, found: &Found<&str>) -> Result<Script> {
    let entry_point = EntryPoint::parse(found.value).ok_or_else(|| {
        table
            .error_at(key, "the entry point is not a name that Python can import")
            .expected("\"module:function\", or \"module\" to run it as with python -m")
            .found(format!("{:?}", found.value))
            .hint(format!("write it like {key} = \"myapp.cli:main\""))
    })?;
    Ok(Script { name, entry_point, field: table.field(key), line: table.source.line(found.at) })
}

/// Which script starts the app, and under what name.
fn command(
    project: &Table<'_>,
    name: &str,
    entry_point: Option<Script>,
    scripts: &BTreeMap<String, Script>,
    directory: &Path,
) -> Result<Script> {
    if let Some(mut command) = entry_point {
        let same = |script: &&Script| script.entry_point == command.entry_point;
        // Of two names for one thing, the project's own is the better one.
        let script = scripts.get(name).filter(same).or_else(|| scripts.values().find(same));
        command.name = script.map_or(name, |script| &script.name).to_owned();
        return Ok(command);
    }
    let plain = |name: &str| name.to_lowercase().replace(['_', '.'], "-");
    let named = scripts.values().find(|script| plain(&script.name) == plain(name));
    match (named, scripts.len()) {
        (Some(script), _) => Ok(script.clone()),
        (None, 0) => Err(project
            .source
            .error("nothing says what the package should run")
            .field("tool.flavor.entry_point")
            .expected("an entry point or a script")
            .hint(match guess::start_of(directory) {
                Some(start) => format!("add entry_point = {start:?} under [tool.flavor], if that is where it starts"),
                None => "add entry_point = \"myapp.cli:main\" under [tool.flavor]".to_owned(),
            })),
        (None, 1) => Ok(scripts.values().next().expect("one script").clone()),
        (None, _) => Err(project
            .source
            .error("several scripts, none named like the project: which one starts the app?")
            .field("tool.flavor.entry_point")
            .expected(format!("one of {}", list(scripts.values().map(|script| script.entry_point.to_string()))))
            .found(format!("project.scripts with {}", list(scripts.keys().cloned())))
            .hint(format!(
                "add {} under [tool.flavor]; the others stay commands of the package",
                list(scripts.values().take(1).map(|script| format!("entry_point = \"{}\"", script.entry_point)))
            ))),
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

fn owned(list: Option<Vec<Found<&str>>>) -> Vec<String> {
    list.unwrap_or_default().into_iter().map(|found| found.value.to_owned()).collect()
}

/// PEP 508: `^([A-Z0-9]|[A-Z0-9][A-Z0-9._-]*[A-Z0-9])$`, ignoring case.
pub(super) fn is_project_name(name: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    ends(name.chars().next())
        && ends(name.chars().next_back())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

#[cfg(test)]
mod tests;
