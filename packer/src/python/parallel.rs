//! Two pieces of work at once, of which neither goes on when the other has failed.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Kind, Result};
use crate::progress::Progress;

/// Runs `one` and `two` side by side. When one of them fails, the other is stopped and its failure is the result.
pub(super) fn both<A: Send, B: Send>(
    progress: &dyn Progress,
    one: impl FnOnce(&dyn Progress) -> Result<A> + Send,
    two: impl FnOnce(&dyn Progress) -> Result<B>,
) -> Result<(A, B)> {
    let watch = Watch { progress, failed: AtomicBool::new(false) };
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(|| watch.outcome(one(&watch)));
        let two = watch.outcome(two(&watch));
        (one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), two)
    });
    match (one, two) {
        (Ok(one), Ok(two)) => Ok((one, two)),
        // Stopped because of the other, whose error says more.
        (Err(stopped), Err(error)) if stopped.kind() == Kind::Cancelled => Err(error),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// Hands everything on, and says stop once something has failed.
struct Watch<'a> {
    progress: &'a dyn Progress,
    failed: AtomicBool,
}

impl Watch<'_> {
    fn outcome<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl Progress for Watch<'_> {
    fn stage(&self, name: &str, total: Option<u64>) {
        self.progress.stage(name, total);
    }

    fn advance(&self, done: u64) {
        self.progress.advance(done);
    }

    fn note(&self, line: &str) {
        self.progress.note(line);
    }

    fn debug(&self, text: &dyn Fn() -> String) {
        self.progress.debug(text);
    }

    fn is_cancelled(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || self.progress.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::progress::Silent;

    fn until_stopped(progress: &dyn Progress) -> Result<()> {
        loop {
            progress.check()?;
            std::thread::yield_now();
        }
    }

    #[test]
    fn both_results_come_back() {
        assert_eq!(both(&Silent, |_| Ok(1), |_| Ok("two")).unwrap(), (1, "two"));
    }

    #[test]
    fn a_failure_stops_the_other_and_is_what_is_told() {
        let fail = |_: &dyn Progress| -> Result<()> { Err(Error::new(Kind::Build, "broken")) };
        assert_eq!(both(&Silent, until_stopped, fail).unwrap_err().kind(), Kind::Build);
        assert_eq!(both(&Silent, fail, until_stopped).unwrap_err().kind(), Kind::Build);
    }
}
