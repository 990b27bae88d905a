//! `packer workenv`

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use packer::package_file::PackageFile;
use packer::workenvs::{
    Checked, Collected, DamageKind, Filled, FilledSlot, Kept, Removed, Slot, Store, Which, Workenv, fill, system_cache,
};
use packer::{Error, Kind, Result};
use pspf_core::error::printable;
use serde::Serialize;

use super::verbosity::Verbosity;
use super::{bytes, print, print_json, progress, size};

/// What packages have extracted on this machine, and how it goes away
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A package extracts its slots at its first start, into a cache that all packages of a user share; over them lies a small directory \
of its own, the workenv. Nothing that is in use is ever removed.

Example: packer workenv gc --older-than 30d")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List workenvs and slots, with their sizes and when they were used
    #[command(after_help = "Example: packer workenv list")]
    List(List),
    /// Show everything that is known of workenvs
    Info(Info),
    /// Read what was extracted again, and say what is damaged
    Verify(Verify),
    /// Remove workenvs that are not in use
    Remove(Remove),
    /// Remove everything that is not in use
    #[command(after_help = "Example: packer workenv clean --dry-run")]
    Clean(Clean),
    /// Remove what was not used for a while
    Gc(Gc),
    /// Extract the slots of packages once for all users of this machine, or of a container image
    Fill(Fill),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Print a report for programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: packer workenv info hello-cli")]
struct Info {
    /// A workenv's name or its beginning, or the name of a package
    name: String,
    /// Print a report for programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: packer workenv verify --repair")]
struct Verify {
    /// A workenv's name or its beginning, or the name of a package [default: all]
    name: Option<String>,
    /// Move damaged slots away, so that the next start extracts them again
    #[arg(long)]
    repair: bool,
    /// Print a report for programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: packer workenv remove hello-cli")]
struct Remove {
    /// Names of workenvs or their beginnings, or names of packages
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
struct Clean {
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: packer workenv gc --older-than 30d --max-size 2G")]
struct Gc {
    /// Workenvs that were not used for this long go: 12h, 7d, or 0 for all that are not in use
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = time)]
    older_than: Duration,
    /// Of the others those that were unused the longest go too, until all takes no more: bytes, or a number with K, M or G
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    max_size: Option<u64>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: sudo packer workenv fill /opt/apps/*.psp\n\
                        In a Dockerfile: RUN packer workenv fill /opt/app.psp")]
struct Fill {
    /// The packages
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A cache directory other than the system's, to be put in its place: below the root of an image
    #[arg(long, value_name = "DIR", default_value = system_cache().as_os_str())]
    to: PathBuf,
    /// Print a report for programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct How {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Print a report for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, verbosity: &Verbosity) -> Result<()> {
    match &args.command {
        Command::List(args) => list(&Store::open()?, args),
        Command::Info(args) => info(&Store::open()?, args),
        Command::Verify(args) => verify(&Store::open()?, args),
        Command::Remove(args) => remove(&Store::open()?, args),
        Command::Clean(args) => collect(&Store::open()?, &Which::All, &args.how).map(|_| ()),
        Command::Gc(args) => {
            let which = Which::Unused { older_than: args.older_than, max_size: args.max_size };
            collect(&Store::open()?, &which, &args.how).map(|_| ())
        }
        Command::Fill(args) => fill_system(args, verbosity),
    }
}

fn fill_system(args: &Fill, verbosity: &Verbosity) -> Result<()> {
    let progress = progress::Shown::new(verbosity.level()?);
    let mut all = Vec::new();
    for file in &args.files {
        all.push(fill(&PackageFile::open(file)?, &args.to, &progress)?);
    }
    drop(progress);
    if args.json {
        return print_json(&all);
    }
    print(&all.iter().map(filled).collect::<Vec<_>>().join("\n"));
    Ok(())
}

fn filled(filled: &Filled) -> String {
    let Filled { file, store, slots, private, for_everybody } = filled;
    let mut lines = vec![format!("{}: {} in {}", file.display(), count(slots.len(), "slot"), store.display())];
    for FilledSlot { id, bytes, is_new, .. } in slots {
        let there = if *is_new { "" } else { "  there already" };
        lines.push(format!("  {:20}  {:>10}{there}", printable(id), size(*bytes)));
    }
    if !private.is_empty() {
        let ids: Vec<_> = private.iter().map(|id| printable(id)).collect();
        lines.push(format!("  not shared: {}; each user's starts extract their own", ids.join(", ")));
    }
    if !for_everybody {
        lines.push("  note: the directory is not root's, so starts of other users pass it over".to_owned());
    }
    lines.join("\n")
}

fn list(store: &Store, args: &List) -> Result<()> {
    let inventory = store.list()?;
    if args.json {
        return print_json(&inventory);
    }
    let sum = |bytes: &mut dyn Iterator<Item = u64>| size(bytes.sum());
    let workenvs = sum(&mut inventory.workenvs.iter().map(|workenv| workenv.bytes));
    let slots = sum(&mut inventory.slots.iter().map(|slot| slot.bytes));
    let mut lines = vec![
        format!(
            "{}: {}",
            inventory.cache.display(),
            if inventory.workenvs.is_empty() { "no workenvs" } else { "workenvs and slots" }
        ),
        format!(
            "  {}, {workenvs}; {}, {slots}",
            count(inventory.workenvs.len(), "workenv"),
            count(inventory.slots.len(), "slot")
        ),
    ];
    for workenv in &inventory.workenvs {
        let package = package_of(workenv.package.as_deref());
        lines.push(format!("  {}  {:>10}  {:<11}  {package}", workenv.name, size(workenv.bytes), used(workenv)));
    }
    for Slot { name, bytes, workenvs, is_systems, .. } in &inventory.slots {
        let place = if *is_systems { ", in the system's store" } else { "" };
        let users = if workenvs.is_empty() { "unused".to_owned() } else { count(workenvs.len(), "workenv") };
        lines.push(format!("  slot {}...  {:>20}  {users}{place}", &name[..name.len().min(16)], size(*bytes)));
    }
    if inventory.leftover_bytes != 0 {
        lines.push(format!("  {} left by starts that were killed", size(inventory.leftover_bytes)));
    }
    print(&lines.join("\n"));
    Ok(())
}

/// What `packer workenv info` prints of a workenv. The JSON of this is a stable interface.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    workenv: &'a Workenv,
    /// The slots in full.
    linked: Vec<&'a Slot>,
}

fn info(store: &Store, args: &Info) -> Result<()> {
    let inventory = store.list()?;
    let workenvs = store.named(&inventory.workenvs, &args.name)?;
    let shown: Vec<Shown<'_>> = workenvs
        .iter()
        .map(|workenv| {
            let linked = inventory.slots.iter().filter(|slot| workenv.slots.contains(&slot.name)).collect();
            Shown { workenv, linked }
        })
        .collect();
    if args.json {
        return print_json(&shown);
    }
    let mut lines = Vec::new();
    for Shown { workenv, linked } in &shown {
        lines.push(format!("{}: {}", workenv.name, package_of(workenv.package.as_deref())));
        lines.push(format!("  path  {}", workenv.path.display()));
        lines.push(format!("  size  {}, without its slots", size(workenv.bytes)));
        lines.push(format!("  used  {}", used(workenv)));
        if !workenv.sealed {
            lines.push("  state  not finished: the next start makes it again".to_owned());
        }
        for slot in linked {
            let others = match slot.workenvs.len() {
                1 => String::new(),
                count => format!(", shared with {} more", count - 1),
            };
            lines.push(format!("  slot  {}  {}{others}", slot.path.display(), size(slot.bytes)));
        }
        for name in workenv.slots.iter().filter(|name| linked.iter().all(|slot| slot.name != **name)) {
            lines.push(format!("  slot  {name}  not there: the next start extracts it"));
        }
    }
    print(&lines.join("\n"));
    Ok(())
}

fn verify(store: &Store, args: &Verify) -> Result<()> {
    let only = match &args.name {
        Some(name) => Some(store.names_of(std::slice::from_ref(name))?),
        None => None,
    };
    let checked = store.verify(only.as_ref(), args.repair)?;
    if args.json {
        print_json(&checked)?;
    } else {
        print(&describe(&checked));
    }
    let left = checked.damaged.iter().filter(|damage| !damage.repaired).count();
    if left == 0 {
        return Ok(());
    }
    let error = Error::new(Kind::Integrity, format!("{} not what was extracted", are(left)));
    let in_use = checked.damaged.iter().any(|damage| damage.in_use && !damage.repaired);
    Err(error.file(store.path()).hint(match (args.repair, in_use) {
        (true, true) => "end the apps that use them and do it again",
        (true, false) => "start the packages: that mends their workenvs",
        (false, _) => "packer workenv verify --repair moves damaged slots away; the next start extracts them again",
    }))
}

fn describe(checked: &Checked) -> String {
    let what = format!("{} and {}", count(checked.workenvs, "workenv"), count(checked.slots, "slot"));
    if checked.damaged.is_empty() {
        return format!("{what}: all as they were extracted");
    }
    let mut lines = vec![format!("{what}: {} damaged", checked.damaged.len())];
    for damage in &checked.damaged {
        let (kind, then) = match damage.kind {
            _ if damage.repaired => ("slot", "moved away: the next start extracts it again"),
            DamageKind::Slot if damage.in_use => ("slot", "in use"),
            DamageKind::Slot => ("slot", ""),
            DamageKind::Workenv => ("workenv", "the next start mends it"),
        };
        let then = if then.is_empty() { String::new() } else { format!("; {then}") };
        lines.push(format!("  {kind} {}: {}{then}", damage.name, damage.problem));
        lines.extend(damage.files.iter().take(FILES).map(|path| format!("    {}", printable(path))));
        if let Some(more) = damage.files.len().checked_sub(FILES).filter(|more| *more > 0) {
            lines.push(format!("    and {more} more"));
        }
    }
    lines.join("\n")
}

fn remove(store: &Store, args: &Remove) -> Result<()> {
    let names = store.names_of(&args.names)?;
    let collected = collect(store, &Which::Named(names), &args.how)?;
    match collected.kept.first() {
        None => Ok(()),
        Some(Kept { name, package, .. }) => Err(Error::new(Kind::Io, "a workenv is in use and stays")
            .file(store.path().join("v1/envs").join(name))
            .found(format!("an app runs in it, or it is being set up: {}", package_of(package.as_deref())))
            .hint("end the app and do it again")),
    }
}

fn collect(store: &Store, which: &Which, how: &How) -> Result<Collected> {
    let collected = store.collect(which, how.dry_run)?;
    if how.json {
        print_json(&collected)?;
    } else {
        print(&told(&collected));
    }
    deleted(&collected)?;
    Ok(collected)
}

/// The error for what was removed and is still there.
pub(super) fn deleted(collected: &Collected) -> Result<()> {
    match collected.not_deleted.first() {
        None => Ok(()),
        Some(path) => Err(Error::new(Kind::Io, "what was removed could not be deleted as a whole")
            .file(path)
            .hint("it is in nobody's way; see who owns what is in it, and delete it")),
    }
}

/// What was removed, for a person.
pub(super) fn told(collected: &Collected) -> String {
    let Collected { dry_run, workenvs, slots, leftovers, bytes, kept, .. } = collected;
    let verb = if *dry_run { "would remove" } else { "removed" };
    let mut lines = vec![format!(
        "{verb} {} and {}, {}",
        count(workenvs.len(), "workenv"),
        count(slots.len(), "slot"),
        size(*bytes)
    )];
    for Removed { name, package, bytes } in workenvs {
        lines.push(format!("  workenv {name}  {}  {}", size(*bytes), package_of(package.as_deref())));
    }
    for Removed { name, bytes, .. } in slots {
        lines.push(format!("  slot {name}  {}", size(*bytes)));
    }
    if !leftovers.is_empty() {
        let bytes = leftovers.iter().map(|leftover| leftover.bytes).sum();
        lines.push(format!("  {} of starts that were killed  {}", count(leftovers.len(), "leftover"), size(bytes)));
    }
    for Kept { name, package, reason } in kept {
        let reason = if *reason == "in-use" { "in use" } else { "used lately" };
        lines.push(format!("  kept {name}  {reason}  {}", package_of(package.as_deref())));
    }
    lines.join("\n")
}

fn used(workenv: &Workenv) -> String {
    if workenv.in_use {
        return "in use".to_owned();
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    match now.saturating_sub(workenv.last_used) / (24 * 60 * 60) {
        0 => "today".to_owned(),
        1 => "1 day ago".to_owned(),
        days => format!("{days} days ago"),
    }
}

fn package_of(package: Option<&str>) -> String {
    package.map_or_else(|| "of an unknown package".to_owned(), printable)
}

fn count(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn are(count: usize) -> String {
    if count == 1 { "1 slot or workenv is".to_owned() } else { format!("{count} slots or workenvs are") }
}

/// Reads a time as it is typed.
fn time(text: &str) -> std::result::Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text)
        .map_err(|error| format!("a time is a number with s, m, h or d, like 12h or 7d ({error})"))
}

/// How many changed files are shown of a slot.
const FILES: usize = 10;
