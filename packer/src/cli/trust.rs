//! `packer trust`

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use packer::package_file::PackageFile;
use packer::trust::files::Whose;
use packer::trust::policy::Action;
use packer::trust::store::{KnownKey, Learnt, RevokedKey, Store};
use packer::trust::{Event, Sayings, Subject, Trust, events, key_id, log, plain};
use packer::{Error, Kind, Result, keys};
use pspf_core::sign::KeyId;
use serde::Serialize;

use super::{print, print_json};

/// Say whose packages you trust, and see what is known
#[derive(Debug, clap::Args)]
#[command(after_help = "\
packer run records the first key of an application, and refuses another one and older releases afterwards. Keys are named by \
their ids (packer verify shows them), by a file with a public key, or by a package.

Example: packer trust add myapp-1.0.0.psp")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Accept a key for an application from now on
    Add(Add),
    /// List the keys that are known, and those that are revoked
    #[command(after_help = "Example: packer trust list")]
    List(Show),
    /// Forget a key, or its revocation
    #[command(after_help = "Example: packer trust remove 0123456789abcdef0123456789abcdef --app-id dev.example/myapp")]
    Remove(Remove),
    /// Never accept a key again
    #[command(
        after_help = "Example: packer trust revoke 0123456789abcdef0123456789abcdef --reason \"the laptop was stolen\""
    )]
    Revoke(Revoke),
    /// Say what `packer run` would do with a package, and why; nothing runs and nothing is recorded
    #[command(after_help = "Example: packer trust verify myapp-1.0.0.psp")]
    Verify(Verify),
    /// Show what was learnt and decided, oldest first
    #[command(after_help = "Example: packer trust log")]
    Log(Show),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: packer trust add 0123456789abcdef0123456789abcdef --app-id dev.example/myapp")]
struct Add {
    /// A key id, a file with a public key (PEM), or a package
    #[arg(value_name = "KEY|FILE")]
    key: PathBuf,
    /// The application; a package says its own
    #[arg(long, value_name = "ID")]
    app_id: Option<String>,
    /// Accept the key for every application, and for packages that name none
    #[arg(long, conflicts_with_all = ["app_id", "release"])]
    any_app: bool,
    /// What you call it
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Accept this release and newer ones, also when a newer one ran before [default: as before]
    #[arg(long, value_name = "N")]
    release: Option<u64>,
    /// Write to the system's store in /etc/pspf, for everybody
    #[arg(long)]
    system: bool,
}

#[derive(Debug, clap::Args)]
struct Remove {
    /// A key id, a file with a public key (PEM), or a package
    #[arg(value_name = "KEY|FILE")]
    key: PathBuf,
    /// Forget it for this application only
    #[arg(long, value_name = "ID")]
    app_id: Option<String>,
    /// Write to the system's store in /etc/pspf, for everybody
    #[arg(long)]
    system: bool,
}

#[derive(Debug, clap::Args)]
struct Revoke {
    /// A key id, a file with a public key (PEM), or a package
    #[arg(value_name = "KEY|FILE")]
    key: PathBuf,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Write to the system's store in /etc/pspf, for everybody
    #[arg(long)]
    system: bool,
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// The package
    file: PathBuf,
    /// Print a report for programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// Print a report for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Add(args) => add(args),
        Command::List(args) => list(args),
        Command::Remove(args) => remove(args),
        Command::Revoke(args) => revoke(args),
        Command::Verify(args) => verify(args),
        Command::Log(args) => show_log(args),
    }
}

fn add(args: &Add) -> Result<()> {
    let (id, subject) = named(&args.key)?;
    let of_package = subject.as_ref().and_then(|subject| subject.app_id.clone());
    let app_id = if args.any_app { None } else { args.app_id.clone().or(of_package) };
    if !args.any_app && app_id.as_ref().is_none_or(String::is_empty) {
        return Err(Error::new(Kind::Arguments, "it does not say for which application the key is good")
            .field("--app-id")
            .hint("add --app-id ID, as the package's manifest has it, or --any-app"));
    }
    let (sayings, learnt) = place(args.system)?;
    let mut was_revoked = false;
    let mut kept_release = 0;
    Store::update(&sayings.place, |store| {
        was_revoked = store.revoked.iter().any(|revoked| revoked.key_id == id.to_string());
        if was_revoked {
            return Ok(false);
        }
        let mut entry = KnownKey::new(app_id.clone(), id, learnt, args.release.unwrap_or(0));
        entry.label.clone_from(&args.label);
        match store.entry(app_id.as_deref(), id) {
            Some(known) => {
                entry.release = args.release.unwrap_or(known.release);
                entry.label = entry.label.or(known.label.take());
                kept_release = entry.release;
                *known = entry;
            }
            None => store.keys.push(entry),
        }
        Ok(true)
    })?;
    if was_revoked {
        return Err(Error::new(Kind::Configuration, "the key has been revoked, so it is not accepted")
            .file(sayings.place.file(packer::trust::store::FILE))
            .found(format!("key {id}"))
            .hint(format!("packer trust remove {id}{} takes the revocation back", flag(args.system))));
    }
    log(&sayings, &Event::new(learnt.name(), app_id.clone(), id.to_string()))?;
    let app = app_id.as_deref().map_or("every application".to_owned(), plain);
    print(&format!("key {id} is trusted for {app}, for {}", for_whom(args.system)));
    let subject = subject.filter(|subject| args.release.is_none() && subject.release < kept_release);
    if let Some(subject) = subject {
        let release = subject.release;
        eprintln!("note: release {kept_release} ran here; add --release {release} to accept this one again");
    }
    Ok(())
}

fn remove(args: &Remove) -> Result<()> {
    let (id, _) = named(&args.key)?;
    let (sayings, _) = place(args.system)?;
    let mut done = Vec::new();
    Store::update(&sayings.place, |store| {
        let is_meant =
            |key: &KnownKey| key.key_id == id.to_string() && (args.app_id.is_none() || key.app_id == args.app_id);
        for key in store.keys.iter().filter(|key| is_meant(key)) {
            done.push(format!("for {}", key.app_id.as_deref().map_or("every application".to_owned(), plain)));
        }
        store.keys.retain(|key| !is_meant(key));
        if args.app_id.is_none() {
            let before = store.revoked.len();
            store.revoked.retain(|revoked| revoked.key_id != id.to_string());
            if store.revoked.len() < before {
                done.push("as revoked".to_owned());
            }
        }
        Ok(!done.is_empty())
    })?;
    if done.is_empty() {
        return Err(Error::new(Kind::Arguments, "there is nothing to forget about this key")
            .file(sayings.place.file(packer::trust::store::FILE))
            .found(format!("key {id}"))
            .hint("packer trust list shows what is known, and who said so"));
    }
    log(&sayings, &Event::new("removed", args.app_id.clone(), id.to_string()))?;
    print(&format!("key {id} is not known any more {}", done.join(" and ")));
    Ok(())
}

fn revoke(args: &Revoke) -> Result<()> {
    let (id, _) = named(&args.key)?;
    let (sayings, _) = place(args.system)?;
    let event = Event { reason: args.reason.clone(), ..Event::new("revoked", None, id.to_string()) };
    Store::update(&sayings.place, |store| {
        let known = store.revoked.iter().any(|revoked| revoked.key_id == id.to_string());
        if !known {
            let reason = args.reason.clone();
            store.revoked.push(RevokedKey { key_id: id.to_string(), reason, since: event.time });
        }
        Ok(!known)
    })?;
    log(&sayings, &event)?;
    print(&format!("key {id} is revoked, for {}", for_whom(args.system)));
    Ok(())
}

fn verify(args: &Verify) -> Result<()> {
    let file = PackageFile::open(&args.file)?;
    let verified = file.verify_whole()?;
    let trust = Trust::of_this_machine()?;
    let (decision, _) = packer::run::judge(&file, &verified, &trust)?;
    if args.json {
        print_json(&decision)?;
    }
    match decision.refusal(&args.file) {
        Some(refusal) => Err(refusal),
        None if args.json => Ok(()),
        None => {
            let verdict = if decision.action == Action::Warn { "accepted with a warning" } else { "accepted" };
            print(&format!("{}: {verdict}: {}", args.file.display(), decision.reason));
            Ok(())
        }
    }
}

/// What `packer trust list` prints. The JSON of this is a stable interface.
#[derive(Serialize)]
struct Listed<'a> {
    keys: Vec<ListedKey<'a>>,
    revoked: Vec<ListedRevocation<'a>>,
}

#[derive(Serialize)]
struct ListedKey<'a> {
    store: &'static str,
    #[serde(flatten)]
    key: &'a KnownKey,
}

#[derive(Serialize)]
struct ListedRevocation<'a> {
    store: &'static str,
    #[serde(flatten)]
    key: &'a RevokedKey,
}

fn list(args: &Show) -> Result<()> {
    let trust = Trust::of_this_machine()?;
    let mut listed = Listed { keys: Vec::new(), revoked: Vec::new() };
    for sayings in std::iter::once(&trust.system).chain(&trust.user) {
        let store = sayings.place.whose().name();
        // The user's notes of releases that ran with the administrator's keys are no keys of their own.
        let own = |key: &&KnownKey| sayings.place.whose() == Whose::System || key.learnt != Learnt::Admin;
        listed.keys.extend(sayings.store.keys.iter().filter(own).map(|key| ListedKey { store, key }));
        listed.revoked.extend(sayings.store.revoked.iter().map(|key| ListedRevocation { store, key }));
    }
    if args.json {
        return print_json(&listed);
    }
    let mut lines: Vec<String> = Vec::new();
    for ListedKey { store, key } in &listed.keys {
        let app = key.app_id.as_deref().map_or("every application".to_owned(), plain);
        let mut line = format!("{}  {:<7}  {store:<6}  {app}", key.key_id, key.learnt.name());
        if key.release != 0 {
            line.push_str(&format!(", release {}", key.release));
        }
        if let Some(newer) = &key.superseded_by {
            line.push_str(&format!(", replaced by {newer}"));
        }
        if let Some(label) = &key.label {
            line.push_str(&format!(" ({})", plain(label)));
        }
        lines.push(line);
    }
    for ListedRevocation { store, key } in &listed.revoked {
        let reason = key.reason.as_ref().map_or(String::new(), |reason| format!("  {reason:?}"));
        lines.push(format!("{}  revoked  {store:<6}{reason}", key.key_id));
    }
    let text = lines.join("\n");
    print(if lines.is_empty() { "no key is known yet" } else { &text });
    Ok(())
}

fn show_log(args: &Show) -> Result<()> {
    let trust = Trust::of_this_machine()?;
    let mut all = events(&trust.system)?;
    if let Some(user) = &trust.user {
        all.extend(events(user)?);
    }
    all.sort_by_key(|event| event.time);
    if args.json {
        return print_json(&all);
    }
    let lines = all.iter().map(|event| {
        let time = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(event.time.min(1 << 36)));
        let app = event.app_id.as_deref().map_or(String::new(), |app| format!("  {}", plain(app)));
        let reason = event.reason.as_deref().map_or(String::new(), |reason| format!("  {}", one_line(reason)));
        format!("{time}  {:<8}  {}{app}{reason}", one_line(&event.event), one_line(&event.key_id))
    });
    let lines: Vec<String> = lines.collect();
    let text = lines.join("\n");
    print(if lines.is_empty() { "nothing was learnt or decided yet" } else { &text });
    Ok(())
}

/// The key that was meant, and the package that it was read from.
fn named(key: &Path) -> Result<(KeyId, Option<Subject>)> {
    if let Some(id) = key.to_str().and_then(key_id) {
        return Ok((id, None));
    }
    let begins_as_pem = |path: &Path| {
        use std::io::Read as _;
        let mut start = Vec::new();
        let file = std::fs::File::open(path).ok()?;
        file.take(64).read_to_end(&mut start).ok()?;
        Some(start.starts_with(b"-----BEGIN"))
    };
    match begins_as_pem(key) {
        None => Err(Error::new(Kind::Arguments, "this is neither a key nor a file")
            .expected("32 lower-case hexadecimal digits, a public key in PEM, or a package")
            .found(key.display().to_string())
            .hint("packer inspect FILE shows the key of a package")),
        Some(true) => Ok((KeyId::of(&keys::read_public(key)?), None)),
        Some(false) => {
            let file = PackageFile::open(key)?;
            let verified = file.verify_whole()?;
            let subject = Subject::new(key, verified.metadata(), file.package().index().public_key());
            Ok((subject.key_id(), Some(subject)))
        }
    }
}

/// The place that is written to, and what a key in it is.
fn place(system: bool) -> Result<(Sayings, Learnt)> {
    let trust = Trust::of_this_machine()?;
    if system {
        return Ok((trust.system, Learnt::Admin));
    }
    let user = trust.user.ok_or_else(|| {
        Error::new(Kind::Configuration, "there is no home directory to keep a trust store in")
            .hint("set HOME or XDG_CONFIG_HOME, or add --system")
    })?;
    Ok((user, Learnt::Pinned))
}

fn for_whom(system: bool) -> &'static str {
    if system { "everybody here" } else { "you" }
}

fn flag(system: bool) -> &'static str {
    if system { " --system" } else { "" }
}

/// Text from a file, on one line of a terminal.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, "?")
}
