//! Programs of cargo's and Go's, and programs and scripts that simply lie there.

use super::{App, Files, Proposal, Slot, package_name};
use crate::error::Result;

pub(super) fn rust(files: &Files) -> Result<Option<Proposal>> {
    if !files.has("Cargo.toml") {
        return Ok(None);
    }
    let manifest: toml::Table = toml::from_str(&files.text("Cargo.toml"))
        .map_err(|error| files.broken("Cargo.toml", "TOML", error.message()))?;
    let text_of = |key: &str| manifest.get("package").and_then(|package| package.get(key)?.as_str());
    let Some((program, mut reasons)) = cargo_program(files, &manifest, text_of("name"), text_of("default-run")) else {
        return Ok(None);
    };
    let source = format!("target/release/{program}");
    if !files.has(&source) {
        reasons.push(format!("there is no {source} yet: run cargo build --release before packing"));
    }
    let app = App {
        name: &program,
        version: text_of("version"),
        description: text_of("description"),
        ..one_program(&source, &program)
    };
    Ok(app.proposal("a Rust program", reasons))
}

/// The program that the package is for, and why that is thought.
fn cargo_program(
    files: &Files,
    manifest: &toml::Table,
    name: Option<&str>,
    default: Option<&str>,
) -> Option<(String, Vec<String>)> {
    let tables = manifest.get("bin").and_then(toml::Value::as_array).into_iter().flatten();
    let mut programs: Vec<String> = tables.filter_map(|bin| Some(bin.get("name")?.as_str()?.to_owned())).collect();
    let explicit = !programs.is_empty();
    if !explicit && files.has("src/main.rs") {
        programs.extend(name.map(str::to_owned));
    }
    if !explicit {
        programs.extend(
            files.names_in("src/bin").into_iter().filter_map(|file| Some(file.strip_suffix(".rs")?.to_owned())),
        );
    }
    if programs.is_empty() {
        // A workspace, of which only what was built tells anything.
        let built = files.names_in("target/release");
        programs.extend(built.into_iter().filter(|file| files.is_program(&format!("target/release/{file}"))));
    }
    let chosen = [default, name].into_iter().flatten().find(|name| programs.iter().any(|program| program == name));
    let chosen = chosen.map(str::to_owned).or_else(|| programs.first().cloned())?;
    let mut reasons = vec![format!("Cargo.toml: the program {chosen}")];
    programs.retain(|program| *program != chosen);
    if !programs.is_empty() {
        reasons.push(format!("left out the programs {}", programs.join(", ")));
    }
    Some((chosen, reasons))
}

pub(super) fn go(files: &Files) -> Result<Option<Proposal>> {
    let text = files.text("go.mod");
    let Some(module) = text.lines().find_map(|line| line.trim().strip_prefix("module ")) else { return Ok(None) };
    let is_version = |part: &&str| part.strip_prefix('v').is_some_and(|number| number.parse::<u32>().is_ok());
    let last = module.trim().trim_matches('"').rsplit('/').find(|part| !is_version(part)).unwrap_or_default();
    let is_main = |file: &String| file.ends_with(".go") && files.text(file).lines().any(|line| line == "package main");
    let commands = files.names_in("cmd");
    let (program, build) = match (files.files.iter().any(is_main), commands.first()) {
        (false, Some(command)) => (command.as_str(), format!("go build ./cmd/{command}")),
        _ => (last, "go build".to_owned()),
    };
    let (program, is_there) = match files.is_program(program) {
        true => (program, true),
        false => files.only(|file| files.is_program(file)).map_or((program, false), |file| (file, true)),
    };
    let mut reasons = vec![format!("go.mod: the program {program}")];
    if !is_there {
        reasons.push(format!(
            "there is no {program} yet: run CGO_ENABLED=0 {build} before packing (without cgo, it runs on any Linux)"
        ));
    }
    let name = package_name(program);
    let app = App { name: &name, ..one_program(program, program) };
    Ok(app.proposal("a Go program", reasons))
}

/// A program that is all that is packed.
fn one_program(source: &str, name: &str) -> App<'static> {
    App {
        command: vec![format!("{{workenv}}/bin/{name}")],
        slots: vec![Slot::program("program", source, name)],
        ..App::default()
    }
}

pub(super) fn program(files: &Files) -> Result<Option<Proposal>> {
    let Some(program) = files.only(|name| files.is_program(name)) else { return Ok(None) };
    let reasons = vec![format!("{program}: the only program here")];
    let command = vec![format!("{{workenv}}/app/{program}")];
    Ok(everything(files, program, command).proposal("a program", reasons))
}

pub(super) fn script(files: &Files) -> Result<Option<Proposal>> {
    let is_script = |name: &str| name.ends_with(".sh") || files.start(name).starts_with(b"#!");
    let Some(script) = files.only(is_script) else { return Ok(None) };
    let path = format!("{{workenv}}/app/{script}");
    let runs_itself = files.start(script).starts_with(b"#!") && files.is_executable(script);
    let (command, how) = match runs_itself {
        true => (vec![path], "run as its first line says"),
        false => (vec!["/bin/sh".to_owned(), path], "run by /bin/sh"),
    };
    let reasons = vec![format!("{script}: the only script here, {how}")];
    Ok(everything(files, script, command).proposal("a shell script", reasons))
}

/// Everything in the folder, which is named after its program unless that is called as many others are.
fn everything<'a>(files: &'a Files, program: &'a str, command: Vec<String>) -> App<'a> {
    let stem = program.split('.').next().unwrap_or(program);
    let is_telling = stem == package_name(stem) && !["app", "main", "run"].contains(&stem);
    let name = if is_telling { stem } else { &files.name };
    App { name, command, slots: vec![Slot::directory("app", ".", &[])], ..App::default() }
}
