//! How much is told besides what was asked for.

use clap::ArgAction;
use packer::{Error, Kind, Result};

/// The options that every command has.
#[derive(Debug, clap::Args)]
pub(super) struct Verbosity {
    /// Tell more: what is run (uv, pip, build backends) and what it says; -vv also times, and every file that is packed
    #[arg(short, long, global = true, display_order = LAST, action = ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Tell nothing but errors
    #[arg(short, long, global = true, display_order = LAST)]
    quiet: bool,
}

/// Behind the options of the command itself.
const LAST: usize = 900;

/// What is told; each level with all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Errors alone; no summary either, where `--quiet` asks for it.
    Error,
    /// Notes.
    Warning,
    /// How far the work is.
    Info,
    /// The programs that are run, and what they say.
    Debug,
    /// When each step begins, where and how long programs run, and every file that is packed.
    Trace,
}

impl Verbosity {
    /// True when summaries stay out, too.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// What was typed, else `PSPF_LOG`, else FlavorPack's variables.
    pub(super) fn level(&self) -> Result<Level> {
        match (self.quiet, self.verbose) {
            (true, _) => return Ok(Level::Error),
            (false, 2..) => return Ok(Level::Trace),
            (false, 1) => return Ok(Level::Debug),
            (false, 0) => {}
        }
        let set = |name| std::env::var(name).ok().filter(|text: &String| !text.is_empty());
        if let Some(text) = set("PSPF_LOG") {
            return from_name(&text).ok_or_else(|| {
                Error::new(Kind::Arguments, "PSPF_LOG is not a level")
                    .field("PSPF_LOG")
                    .expected("trace, debug, info, warning or error")
                    .found(format!("{text:?}"))
                    .hint("choose one of these, or unset it")
            });
        }
        // Other programs read these as well, and may know more words.
        let theirs = ["FOUNDATION_LOG_LEVEL", "FLAVOR_LOG_LEVEL"].into_iter().find_map(set);
        Ok(theirs.and_then(|text| from_name(&text)).unwrap_or(Level::Info))
    }
}

fn from_name(name: &str) -> Option<Level> {
    Some(match name.to_ascii_lowercase().as_str() {
        "trace" => Level::Trace,
        "debug" => Level::Debug,
        "info" => Level::Info,
        "warning" | "warn" => Level::Warning,
        "error" => Level::Error,
        _ => return None,
    })
}
