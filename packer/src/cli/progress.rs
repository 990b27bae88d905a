//! Progress on standard error: a spinner with a bar on a terminal, plain lines otherwise, as much as was asked for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use packer::progress::Progress;

use super::verbosity::Level;

/// Set by Ctrl-C and its relatives.
static CANCELLED: AtomicBool = AtomicBool::new(false);

pub(super) struct Shown {
    begun: Instant,
    level: Level,
    stages: Stages,
}

enum Stages {
    Bar(ProgressBar),
    Lines,
    Nothing,
}

impl Shown {
    /// Chooses by where standard error goes, and begins to listen for Ctrl-C.
    pub(super) fn new(level: Level) -> Self {
        // Where no handler can be set, Ctrl-C ends the process at once, as it does by default.
        let _ = ctrlc::set_handler(|| CANCELLED.store(true, Ordering::Relaxed));
        let stages = match level {
            Level::Error | Level::Warning => Stages::Nothing,
            // What programs say would tear a bar to pieces.
            Level::Info if console::user_attended_stderr() => Stages::Bar(bar()),
            Level::Info | Level::Debug | Level::Trace => Stages::Lines,
        };
        Self { begun: Instant::now(), level, stages }
    }

    /// Takes the bar away, so that what is printed next stands alone.
    pub(super) fn finish(&self) {
        if let Stages::Bar(bar) = &self.stages {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {bytes:>10}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Progress for Shown {
    fn stage(&self, name: &str, total: Option<u64>) {
        match &self.stages {
            Stages::Bar(bar) => {
                bar.set_position(0);
                match total {
                    Some(total) => bar.set_length(total),
                    None => bar.unset_length(),
                }
                bar.set_message(name.to_owned());
            }
            Stages::Lines if self.level == Level::Trace => {
                eprintln!("{name} (after {:.1} s)", self.begun.elapsed().as_secs_f64());
            }
            Stages::Lines => eprintln!("{name}"),
            Stages::Nothing => {}
        }
    }

    fn advance(&self, done: u64) {
        if let Stages::Bar(bar) = &self.stages {
            bar.inc(done);
        }
    }

    fn note(&self, line: &str) {
        match &self.stages {
            Stages::Bar(bar) => bar.println(format!("note: {line}")),
            _ if self.level >= Level::Warning => eprintln!("note: {line}"),
            _ => {}
        }
    }

    fn debug(&self, text: &dyn Fn() -> String) {
        if self.level >= Level::Debug {
            for line in text().lines() {
                eprintln!("debug: {line}");
            }
        }
    }

    fn trace(&self, text: &dyn Fn() -> String) {
        if self.level >= Level::Trace {
            for line in text().lines() {
                eprintln!("trace: {line}");
            }
        }
    }

    fn is_cancelled(&self) -> bool {
        CANCELLED.load(Ordering::Relaxed)
    }
}
