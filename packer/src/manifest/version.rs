//! Python versions, and the specifiers that choose among them.

use std::fmt;

/// A wanted interpreter version: "3.11" stands for any 3.11.x, "3.11.7" for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PythonVersion {
    /// The 3 of 3.11.7.
    pub major: u32,
    /// The 11 of 3.11.7.
    pub minor: u32,
    /// The 7 of 3.11.7; `None` for any.
    pub patch: Option<u32>,
}

impl PythonVersion {
    /// Parses "3.11" or "3.11.7".
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(number);
        let (major, minor) = (parts.next()??, parts.next()??);
        let patch = match parts.next() {
            Some(patch) => Some(patch?),
            None => None,
        };
        parts.next().is_none().then_some(Self { major, minor, patch })
    }

    /// True when an interpreter of `version` is what was asked for.
    pub fn matches(&self, version: [u32; 3]) -> bool {
        [self.major, self.minor] == version[..2] && self.patch.is_none_or(|patch| patch == version[2])
    }
}

impl fmt::Display for PythonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        self.patch.map_or(Ok(()), |patch| write!(f, ".{patch}"))
    }
}

/// A version specifier (PEP 440), as in `requires-python = ">=3.9,<4"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Specifier {
    text: String,
    clauses: Vec<Clause>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Clause {
    operator: Operator,
    release: Vec<u32>,
    /// `==3.11.*`: only the given parts count.
    prefix: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Compatible,
    Equal,
    NotEqual,
    AtMost,
    AtLeast,
    Less,
    Greater,
}

impl Specifier {
    /// Parses a comma-separated list of clauses; `None` when one of them is not PEP 440.
    pub fn parse(text: &str) -> Option<Self> {
        let clauses = text.split(',').map(str::trim).filter(|clause| !clause.is_empty()).map(Clause::parse);
        Some(Self { text: text.trim().to_owned(), clauses: clauses.collect::<Option<_>>()? })
    }

    /// True when every clause allows `version`.
    pub fn matches(&self, version: [u32; 3]) -> bool {
        self.clauses.iter().all(|clause| clause.matches(version))
    }
}

impl fmt::Display for Specifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Clause {
    fn parse(text: &str) -> Option<Self> {
        // Longest first: "===" before "==", ">=" before ">".
        let (operator, version) = [
            ("===", Operator::Equal),
            ("~=", Operator::Compatible),
            ("==", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<=", Operator::AtMost),
            (">=", Operator::AtLeast),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ]
        .into_iter()
        .find_map(|(sign, operator)| Some((operator, text.strip_prefix(sign)?.trim())))?;
        let (version, prefix) = match version.strip_suffix(".*") {
            Some(version) => (version, true),
            None => (version, false),
        };
        if prefix && !matches!(operator, Operator::Equal | Operator::NotEqual) {
            return None;
        }
        // Interpreters are compared by their release; "3.13.0rc1" is as good as "3.13.0" for that.
        let release: Vec<u32> = version.split('.').map(|part| number(release_part(part))).collect::<Option<_>>()?;
        (operator != Operator::Compatible || release.len() >= 2).then_some(Self { operator, release, prefix })
    }

    fn matches(&self, version: [u32; 3]) -> bool {
        let ordering = |length: usize| {
            let part = |parts: &[u32], i: usize| parts.get(i).copied().unwrap_or(0);
            (0..length)
                .map(|i| part(&version, i).cmp(&part(&self.release, i)))
                .find(|ordering| ordering.is_ne())
                .unwrap_or(std::cmp::Ordering::Equal)
        };
        let whole = ordering(self.release.len().max(3));
        match self.operator {
            Operator::Equal if self.prefix => ordering(self.release.len()).is_eq(),
            Operator::NotEqual if self.prefix => ordering(self.release.len()).is_ne(),
            Operator::Equal => whole.is_eq(),
            Operator::NotEqual => whole.is_ne(),
            Operator::AtMost => whole.is_le(),
            Operator::AtLeast => whole.is_ge(),
            Operator::Less => whole.is_lt(),
            Operator::Greater => whole.is_gt(),
            Operator::Compatible => whole.is_ge() && ordering(self.release.len() - 1).is_eq(),
        }
    }
}

/// "0rc1" -> "0".
fn release_part(part: &str) -> &str {
    match part.find(|c: char| !c.is_ascii_digit()) {
        Some(end) if end > 0 && part[end..].chars().all(|c| c.is_ascii_alphanumeric()) => &part[..end],
        _ => part,
    }
}

fn number(text: &str) -> Option<u32> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minor_version_stands_for_every_patch() {
        let any = PythonVersion::parse("3.11").unwrap();
        assert!(any.matches([3, 11, 7]) && !any.matches([3, 12, 0]));
        let exact = PythonVersion::parse("3.11.7").unwrap();
        assert!(exact.matches([3, 11, 7]) && !exact.matches([3, 11, 8]));
    }

    #[test]
    fn other_spellings_of_a_version_are_refused() {
        for text in ["", "3", "3.x", "python3.11", ">=3.11", "3.11.7.1", "3.11.", "+3.11", "3. 11"] {
            assert_eq!(PythonVersion::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn specifiers_follow_pep_440() {
        let cases = [
            (">=3.9", [3, 9, 0], true),
            (">=3.9,<3.12", [3, 12, 0], false),
            (">3.9", [3, 9, 1], true),
            ("<=3.9", [3, 9, 1], false),
            ("==3.11.*", [3, 11, 7], true),
            ("!=3.11.*", [3, 11, 7], false),
            ("~=3.9", [3, 12, 0], true),
            ("~=3.9.2", [3, 9, 18], true),
            ("~=3.9.2", [3, 10, 0], false),
            (">=3.13.0rc1", [3, 13, 0], true),
            ("", [3, 9, 0], true),
        ];
        for (text, version, expected) in cases {
            assert_eq!(Specifier::parse(text).unwrap().matches(version), expected, "{text} {version:?}");
        }
        for text in ["3.9", "=>3.9", ">=", ">=3.*", "~=3", "^3.9"] {
            assert_eq!(Specifier::parse(text), None, "{text:?}");
        }
    }
}
