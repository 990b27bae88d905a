//! Runs side by side: medians, spreads and ratios.

use std::time::Duration;

use anyhow::Result;

use crate::process::Sample;

/// Several runs of one thing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Series(Vec<Sample>);

/// Runs of two things that took turns, so that what else the machine did met both alike.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pair {
    pub(crate) subject: Series,
    pub(crate) base: Series,
}

impl Series {
    /// `rounds` runs, one after the other.
    pub(crate) fn take(rounds: usize, mut run: impl FnMut() -> Result<Sample>) -> Result<Self> {
        (0..rounds).map(|_| run()).collect::<Result<_>>().map(Self)
    }

    /// How many runs.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The median of the time that passed.
    pub(crate) fn wall(&self) -> Duration {
        median(self.0.iter().map(|sample| sample.wall))
    }

    /// The median of the processor time.
    pub(crate) fn cpu(&self) -> Duration {
        median(self.0.iter().map(|sample| sample.cpu))
    }

    /// The shortest and the longest time that passed.
    pub(crate) fn range(&self) -> (Duration, Duration) {
        let wall = || self.0.iter().map(|sample| sample.wall);
        (wall().min().unwrap_or_default(), wall().max().unwrap_or_default())
    }

    /// The most memory of any run, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.0.iter().map(|sample| sample.peak).max().unwrap_or_default()
    }
}

impl Pair {
    /// `rounds` rounds of both, after one that does not count. Who goes first alternates: what one leaves in the
    /// processor's caches helps or hinders the other.
    pub(crate) fn take(
        rounds: usize,
        mut subject: impl FnMut() -> Result<Sample>,
        mut base: impl FnMut() -> Result<Sample>,
    ) -> Result<Self> {
        subject()?;
        base()?;
        let mut pair = Self::default();
        for round in 0..rounds {
            if round % 2 == 0 {
                pair.subject.0.push(subject()?);
                pair.base.0.push(base()?);
            } else {
                pair.base.0.push(base()?);
                pair.subject.0.push(subject()?);
            }
        }
        Ok(pair)
    }

    /// The ratio of the medians of the time that passed.
    pub(crate) fn wall_ratio(&self) -> f64 {
        ratio(self.subject.wall(), self.base.wall())
    }

    /// The ratio of the medians of the processor time.
    pub(crate) fn cpu_ratio(&self) -> f64 {
        ratio(self.subject.cpu(), self.base.cpu())
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(durations: impl Iterator<Item = Duration>) -> Duration {
    let mut sorted: Vec<Duration> = durations.collect();
    sorted.sort_unstable();
    match (sorted.len() / 2, sorted.len() % 2) {
        (0, 0) => Duration::ZERO,
        (middle, 1) => sorted[middle],
        (middle, _) => (sorted[middle - 1] + sorted[middle]) / 2,
    }
}

fn ratio(subject: Duration, base: Duration) -> f64 {
    subject.as_secs_f64() / base.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(millis: u64) -> Sample {
        Sample { wall: Duration::from_millis(millis), cpu: Duration::from_millis(millis / 2), peak: millis }
    }

    #[test]
    fn the_median_lies_in_the_middle() {
        let of = |millis: &[u64]| median(millis.iter().copied().map(Duration::from_millis)).as_millis();
        assert_eq!([of(&[]), of(&[7]), of(&[9, 1]), of(&[100, 1, 3])], [0, 7, 5, 3]);
    }

    #[test]
    fn a_pair_compares_medians_and_leaves_the_first_round_out() {
        let mut subject = [900, 10, 20, 30].into_iter().map(sample);
        let mut base = [900, 5, 10, 15].into_iter().map(sample);
        let pair = Pair::take(3, || Ok(subject.next().unwrap()), || Ok(base.next().unwrap())).unwrap();
        assert_eq!(pair.wall_ratio(), 2.0);
        assert_eq!(pair.cpu_ratio(), 2.0);
        assert_eq!(pair.subject.range(), (Duration::from_millis(10), Duration::from_millis(30)));
        assert_eq!((pair.subject.count(), pair.subject.peak()), (3, 30));
    }
}
