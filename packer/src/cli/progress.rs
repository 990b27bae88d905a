//! Progress on standard error: a spinner with a bar on a terminal, plain lines otherwise, nothing when quiet.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use packer::progress::Progress;

/// Set by Ctrl-C and its relatives.
static CANCELLED: AtomicBool = AtomicBool::new(false);

pub(super) enum Shown {
    Bar(ProgressBar),
    Lines,
    Nothing,
}

impl Shown {
    /// Chooses by where standard error goes, and begins to listen for Ctrl-C.
    pub(super) fn new(quiet: bool) -> Self {
        // Where no handler can be set, Ctrl-C ends the process at once, as it does by default.
        let _ = ctrlc::set_handler(|| CANCELLED.store(true, Ordering::Relaxed));
        if quiet {
            return Self::Nothing;
        }
        if !console::user_attended_stderr() {
            return Self::Lines;
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {bytes:>10}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self::Bar(bar)
    }

    /// Takes the bar away, so that what is printed next stands alone.
    pub(super) fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Progress for Shown {
    fn stage(&self, name: &str, total: Option<u64>) {
        match self {
            Self::Bar(bar) => {
                bar.set_position(0);
                match total {
                    Some(total) => bar.set_length(total),
                    None => bar.unset_length(),
                }
                bar.set_message(name.to_owned());
            }
            Self::Lines => eprintln!("{name}"),
            Self::Nothing => {}
        }
    }

    fn advance(&self, done: u64) {
        if let Self::Bar(bar) = self {
            bar.inc(done);
        }
    }

    fn note(&self, line: &str) {
        match self {
            Self::Bar(bar) => bar.println(format!("note: {line}")),
            Self::Lines => eprintln!("note: {line}"),
            Self::Nothing => {}
        }
    }

    fn is_cancelled(&self) -> bool {
        CANCELLED.load(Ordering::Relaxed)
    }
}
