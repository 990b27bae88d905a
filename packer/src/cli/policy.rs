//! `packer policy`

use std::path::PathBuf;

use packer::package_file::PackageFile;
use packer::places;
use packer::trust::files::{Place, Whose};
use packer::trust::policy::{Action, FILE, Policy, Required, SCAFFOLD, Violation};
use packer::trust::{Decision, Trust};
use packer::{Error, Kind, Result};
use serde::Serialize;

use super::{print, print_json};

/// What this machine demands of packages
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without a policy everything may run that is intact. The system's is /etc/pspf/policy.json; yours adds to it, and loosens nothing.

Example: packer policy init && packer policy show")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the rules that count, and the files that they come from
    #[command(after_help = "Example: packer policy show")]
    Show(Show),
    /// Say whether a package may run here; nothing runs and nothing is recorded
    #[command(after_help = "Example: packer policy check myapp-1.0.0.psp")]
    Check(Check),
    /// Write a policy with every rule at its default, to be edited
    #[command(after_help = "Example: packer policy init")]
    Init(Init),
}

#[derive(Debug, clap::Args)]
struct Show {
    /// Print a report for programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Check {
    /// The package
    file: PathBuf,
    /// Print a report for programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Init {
    /// Write the system's policy in /etc/pspf, for everybody
    #[arg(long)]
    system: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Show(args) => show(args),
        Command::Check(args) => check(args),
        Command::Init(args) => init(args),
    }
}

/// What `packer policy show` prints. The JSON of this is a stable interface.
#[derive(Serialize)]
struct Shown {
    effective: Policy,
    system: Option<Policy>,
    user: Option<Policy>,
}

fn show(args: &Show) -> Result<()> {
    let trust = Trust::of_this_machine()?;
    let effective = trust.policy();
    let files = std::iter::once(&trust.system).chain(&trust.user);
    let files = files.map(|sayings| {
        let there = if sayings.policy.is_some() { "" } else { " (there is none)" };
        format!("  {:<6}  {}{there}", sayings.place.whose().name(), sayings.place.file(FILE).display())
    });
    let files: Vec<String> = files.collect();
    if args.json {
        let user = trust.user.and_then(|user| user.policy);
        return print_json(&Shown { effective, system: trust.system.policy, user });
    }
    let word = |action: Option<Action>, default| match action.unwrap_or(default) {
        Action::Run => "run",
        Action::Warn => "warn",
        Action::Refuse => "refuse",
    };
    let trusted = match effective.require_trusted_key {
        Required::No => "no",
        Required::User => "yes, by you or the administrator",
        Required::System => "yes, by the administrator",
    };
    let yes = |yes| if yes { "yes" } else { "no" }.to_owned();
    let mut lines = vec!["what counts is the stricter of".to_owned()];
    lines.extend(files);
    let age = effective.max_age_days.map_or("any".to_owned(), |days| format!("{days} days"));
    let platforms = effective.allow_platforms.as_ref().map_or("any".to_owned(), |names| names.join(", "));
    for (rule, value) in [
        ("require_trusted_key", trusted.to_owned()),
        ("use_os_keychain", yes(effective.use_os_keychain)),
        ("unknown_key", word(effective.unknown_key, Action::Run).to_owned()),
        ("changed_key", word(effective.changed_key, Action::Refuse).to_owned()),
        ("downgrade", word(effective.downgrade, Action::Refuse).to_owned()),
        ("refuse_root", yes(effective.refuse_root)),
        ("max_age_days", age),
        ("allow_platforms", platforms),
        ("require_sbom", yes(effective.require_sbom)),
    ] {
        lines.push(format!("  {rule:<20} {value}"));
    }
    for (check, action) in &effective.enforcement {
        lines.push(format!("  {:<20} {}", check, word(Some(*action), Action::Refuse)));
    }
    print(&lines.join("\n"));
    Ok(())
}

/// What `packer policy check` prints. The JSON of this is a stable interface.
#[derive(Serialize)]
struct Checked {
    file: PathBuf,
    /// What becomes of the package: the strictest of all.
    action: Action,
    trust: Decision,
    violations: Vec<Violation>,
}

fn check(args: &Check) -> Result<()> {
    let file = PackageFile::open(&args.file)?;
    let verified = file.verify_whole()?;
    let (trust, violations) = packer::run::judge(&file, &verified, &Trust::of_this_machine()?)?;
    let action = violations.iter().map(|violation| violation.action).fold(trust.action, Action::max);
    let refusal = trust.refusal(&args.file).or_else(|| packer::run::forbidden(&file, &violations));
    let checked = Checked { file: args.file.clone(), action, trust, violations };
    if args.json {
        print_json(&checked)?;
    }
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    if !args.json {
        let mut lines = vec![format!("{}: may run here", args.file.display())];
        lines.push(format!("  trust    {}", checked.trust.reason));
        let warnings = checked.violations.iter().filter(|violation| violation.action == Action::Warn);
        lines.extend(warnings.map(|violation| format!("  warning  {}: {}", violation.rule, violation.reason)));
        print(&lines.join("\n"));
    }
    Ok(())
}

fn init(args: &Init) -> Result<()> {
    let place = if args.system {
        Place::new(places::system_config(), Whose::System)
    } else {
        let directory = places::config().ok_or_else(|| {
            Error::new(Kind::Configuration, "there is no home directory to keep a policy in")
                .hint("set HOME or XDG_CONFIG_HOME, or add --system")
        })?;
        Place::new(directory, Whose::User)
    };
    let _lock = place.lock()?;
    let path = place.file(FILE);
    if path.symlink_metadata().is_ok() {
        return Err(Error::new(Kind::Io, "there is a policy already, and it is not overwritten")
            .file(&path)
            .hint("edit it; packer policy show reads it"));
    }
    place.replace(FILE, SCAFFOLD)?;
    print(&format!("wrote {}: edit it, then look at it with packer policy show", path.display()));
    Ok(())
}
