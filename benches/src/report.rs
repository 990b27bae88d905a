//! Results as Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use crate::machine;
use crate::series::{Pair, Series};

/// The report, as it grows.
#[derive(Debug)]
pub(crate) struct Report {
    text: String,
    skipped: Vec<String>,
}

impl Report {
    /// Begins with what the numbers are and where they were taken.
    pub(crate) fn new(command: &str, cache: &str, disk: &str) -> Self {
        let date = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
        let task = command.split(' ').take(3).collect::<Vec<_>>().join(" ");
        let mut text = format!(
            "# Numbers\n\nWritten by `{task} --write`. Machines differ, and differ from hour to hour: what carries over is the\n\
             ratio of two things that took turns in one sitting, not the time of one.\n\n",
        );
        let facts = [
            ("command", format!("`{command}`")),
            ("date", date.split('T').next().unwrap_or_default().to_owned()),
            ("processor", machine::processor()),
            ("system", format!("{}, {}", machine::kernel(), machine::distribution())),
            ("load average before", machine::load()),
            ("file systems", format!("cache in memory: {cache}; on disk: {disk}; packages: {disk}, in the page cache")),
        ];
        text.push_str("| | |\n|---|---|\n");
        for (name, value) in facts {
            let _ = writeln!(text, "| {name} | {value} |");
        }
        Self { text, skipped: Vec::new() }
    }

    /// A heading and what is to be known of the table below it.
    pub(crate) fn section(&mut self, title: &str, note: &str, columns: &[&str]) {
        eprintln!("{title}");
        let _ = writeln!(self.text, "\n## {title}\n\n{note}\n");
        self.row(columns);
        let lines: Vec<&str> = columns.iter().enumerate().map(|(i, _)| if i == 0 { "---" } else { "---:" }).collect();
        self.row(&lines);
    }

    /// A row of the table.
    pub(crate) fn row(&mut self, cells: &[impl AsRef<str>]) {
        let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
        let _ = writeln!(self.text, "| {} |", cells.join(" | "));
    }

    /// A row of [`PAIRED`].
    pub(crate) fn pair(&mut self, name: &str, target: &str, pair: &Pair) {
        self.row(&[
            name.to_owned(),
            pair.subject.count().to_string(),
            spread(&pair.subject),
            spread(&pair.base),
            format!("**{:.2}**", pair.wall_ratio()),
            time(pair.subject.cpu()),
            time(pair.base.cpu()),
            format!("{:.2}", pair.cpu_ratio()),
            target.to_owned(),
        ]);
    }

    /// A row of [`SINGLE`].
    pub(crate) fn series(&mut self, name: &str, target: &str, series: &Series) {
        let cells = [
            name.to_owned(),
            series.count().to_string(),
            spread(series),
            time(series.cpu()),
            mib(series.peak()),
            target.to_owned(),
        ];
        self.row(&cells);
    }

    /// Something could not be measured here.
    pub(crate) fn skip(&mut self, what: &str, reason: &str) {
        eprintln!("skipped: {what}: {reason}");
        self.skipped.push(format!("- {what}: {}", reason.lines().next().unwrap_or_default()));
    }

    /// The whole text.
    pub(crate) fn finish(mut self) -> String {
        if !self.skipped.is_empty() {
            let _ = write!(self.text, "\n## Not measured\n\n{}\n", self.skipped.join("\n"));
        }
        self.text
    }
}

/// Two things that took turns.
pub(crate) const PAIRED: [&str; 9] = [
    "start of",
    "n",
    "time: median (min-max)",
    "base: median (min-max)",
    "time / base",
    "CPU",
    "base CPU",
    "CPU / base",
    "target",
];

/// One thing alone.
pub(crate) const SINGLE: [&str; 6] = ["", "n", "time: median (min-max)", "CPU", "peak memory", "target"];

fn spread(series: &Series) -> String {
    let (shortest, longest) = series.range();
    format!("{} ({}-{})", time(series.wall()), time(shortest), time(longest))
}

/// Three digits and a unit.
pub(crate) fn time(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    let (value, unit) = match micros {
        ..1e3 => (micros, "us"),
        1e3..1e6 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    let digits = match value {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

/// Mebibytes.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// A number of bytes with its thousands apart.
pub(crate) fn bytes(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<&[u8]> = digits.as_bytes().rchunks(3).rev().collect();
    String::from_utf8_lossy(&groups.join(&b',')).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_a_unit() {
        let of = |nanos| time(Duration::from_nanos(nanos));
        assert_eq!(
            [of(1_234), of(345_678), of(67_800_000), of(2_500_000_000)],
            ["1.23 us", "346 us", "67.8 ms", "2.50 s"]
        );
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!([bytes(7), bytes(131_072), bytes(20_784_293)], ["7", "131,072", "20,784,293"]);
        assert_eq!(mib(20_784_293), "19.8 MiB");
    }
}
