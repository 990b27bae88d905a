//! What tests have to say for `benches/`: each writes a section, and the task puts them together.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::project::{self, output, root};

/// A page of `benches/` in the making.
pub(crate) struct Results {
    name: &'static str,
    directory: PathBuf,
}

impl Results {
    /// Nothing yet. `name` is that of the task.
    pub(crate) fn new(name: &'static str) -> Result<Self> {
        let directory = project::target().join("results").join(name);
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).with_context(|| format!("{} cannot be made", directory.display()))?;
        Ok(Self { name, directory })
    }

    /// Tells tests where their sections go.
    pub(crate) fn tell<'c>(&self, tests: &'c mut Command) -> &'c mut Command {
        tests.env("PSPF_TEST_RESULTS", &self.directory)
    }

    /// What they have written, by the names of their files and in that order.
    pub(crate) fn sections(&self) -> Result<Vec<(String, String)>> {
        let mut sections = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            sections.push((entry.file_name().to_string_lossy().into_owned(), fs::read_to_string(entry.path())?));
        }
        ensure!(!sections.is_empty(), "no test had anything to say");
        sections.sort();
        Ok(sections)
    }

    /// Prints all sections, and puts them into `benches/` when asked to.
    pub(crate) fn finish(&self, title: &str, write: bool) -> Result<()> {
        let mut text = format!("# {title}\n\nWritten by `cargo xtask {} --write`.\n", self.name);
        for (_, section) in self.sections()? {
            text.push('\n');
            text.push_str(&section);
        }
        text.push_str(&format!("\n{}\n", measured()));
        publish(self.name, &text, write)
    }
}

/// Prints a page, and puts it into `benches/` when asked to. `name` is that of the task.
pub(crate) fn publish(name: &str, text: &str, write: bool) -> Result<()> {
    print!("{text}");
    if write {
        let path = root().join(format!("benches/RESULTS-{name}.md"));
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The last line of a page: where and when.
pub(crate) fn measured() -> String {
    let kernel = output("uname", &["-sr"]).unwrap_or_default();
    let kernel = kernel.split('-').next().unwrap_or_default();
    format!("Measured on {kernel}, {}.", today())
}

/// The date, as year, month and day.
pub(crate) fn today() -> String {
    output("date", &["+%Y-%m-%d"]).unwrap_or_default()
}
