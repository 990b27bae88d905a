//! What is installed in a site directory: distributions, each with a `.dist-info` directory.

use std::path::{Path, PathBuf};

use super::lock::plain;
use super::{site, tree};
use crate::error::Result;

/// An installed distribution, by its `METADATA`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Distribution {
    /// Its `.dist-info` directory.
    pub(super) info: PathBuf,
    /// The headers of its `METADATA`, in their order.
    headers: Vec<(String, String)>,
}

/// All that are installed in `site`, sorted.
pub(super) fn all(site: &Path) -> Result<Vec<Distribution>> {
    let infos = site::entries(site)?.into_iter().filter(|path| tree::has_extension(path, "dist-info"));
    infos.map(Distribution::read).collect()
}

/// The one of this name.
pub(super) fn named(site: &Path, name: &str) -> Result<Option<Distribution>> {
    Ok(all(site)?.into_iter().find(|distribution| distribution.is(name)))
}

impl Distribution {
    fn read(info: PathBuf) -> Result<Self> {
        let file = info.join("METADATA");
        let text = if file.is_file() { tree::read(&file)? } else { Vec::new() };
        Ok(Self { info, headers: headers(&String::from_utf8_lossy(&text)) })
    }

    /// Its name; where `METADATA` has none, the one of the directory.
    pub(super) fn name(&self) -> &str {
        self.header("Name").unwrap_or_else(|| self.stem().split('-').next().unwrap_or_default())
    }

    /// Its version; where `METADATA` has none, the one of the directory.
    pub(super) fn version(&self) -> &str {
        self.header("Version").unwrap_or_else(|| self.stem().split_once('-').map_or("", |(_, version)| version))
    }

    /// True when it is the one of this name, however that is spelled.
    pub(super) fn is(&self, name: &str) -> bool {
        plain(self.name()) == plain(name)
    }

    /// The first header of this name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    /// All headers of this name.
    pub(super) fn headers<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn stem(&self) -> &str {
        self.info.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
    }
}

/// The headers at the beginning of a `METADATA` or `WHEEL`; a line that is indented goes on with the one before it.
pub(super) fn headers(text: &str) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in text.lines().take_while(|line| !line.is_empty()) {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = headers.last_mut() {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_end_at_the_first_empty_line_and_go_on_where_lines_are_indented() {
        let text = "Name: a\nLicense: one\n        two\nKeywords\nRequires-Dist: b\nRequires-Dist: c\n\nName: x\n";
        let distribution = Distribution { info: PathBuf::from("a_b-1.0.dist-info"), headers: headers(text) };
        assert_eq!((distribution.name(), distribution.version()), ("a", "1.0"));
        assert_eq!(distribution.header("license"), Some("one\ntwo"));
        assert_eq!(distribution.headers("Requires-Dist").collect::<Vec<_>>(), ["b", "c"]);
    }
}
