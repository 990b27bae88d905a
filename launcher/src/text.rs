//! Command lines and placeholders (docs/format.md section 4).

use alloc::string::String;
use alloc::vec::Vec;

use pspf_core::metadata::Metadata;
use pspf_core::number;
use pspf_core::text::split_once;

/// Splits a command line into words: blanks separate, quotes group, a backslash takes the next character as it
/// is (inside double quotes only before `"` and `\`). `None` when a quote is not closed.
///
/// Splitting comes before [`fill`], so that no placeholder's value is ever split.
pub fn words(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word) = (Vec::new(), Vec::new());
    let (mut is_word, mut quote, mut is_escaped) = (false, 0, false);
    // Bytes will do, as everything that means something is ASCII.
    for (i, byte) in line.bytes().enumerate() {
        if !is_escaped {
            match (quote, byte) {
                (0, b' ' | b'\t' | b'\n' | b'\r') => {
                    if is_word {
                        words.push(String::from_utf8(core::mem::take(&mut word)).ok()?);
                        is_word = false;
                    }
                    continue;
                }
                (0, b'\'' | b'"') => {
                    quote = byte;
                    is_word = true;
                    continue;
                }
                (b'\'' | b'"', _) if byte == quote => {
                    quote = 0;
                    continue;
                }
                (0, b'\\') => {
                    is_escaped = true;
                    continue;
                }
                (b'"', b'\\') if matches!(line.as_bytes().get(i + 1), Some(b'"' | b'\\')) => {
                    is_escaped = true;
                    continue;
                }
                _ => {}
            }
        }
        is_escaped = false;
        word.push(byte);
        is_word = true;
    }
    if is_word {
        words.push(String::from_utf8(word).ok()?);
    }
    (quote == 0 && !is_escaped).then_some(words)
}

/// The command line that [`words`] splits into these words.
pub fn quote(words: &[String]) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "_-./:{}=@%+,".contains(character);
    let mut line = String::new();
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        if !word.is_empty() && word.chars().all(plain) {
            line.push_str(word);
        } else {
            line.push('\'');
            line.push_str(&word.replace('\'', "'\\''"));
            line.push('\'');
        }
    }
    line
}

/// The values of placeholders.
#[derive(Debug, Clone, Copy)]
pub struct Placeholders<'a> {
    /// `{workenv}`
    pub workenv: &'a [u8],
    /// `{package_name}`, `{version}` and, below the workenv, the target of `{slot:N}`.
    pub metadata: &'a Metadata,
}

/// Fills placeholders in, once: what a value brings along is never looked at again. Braces around anything else
/// stay as they are.
pub fn fill(text: &str, values: &Placeholders<'_>) -> Vec<u8> {
    let mut filled = Vec::with_capacity(text.len() + values.workenv.len());
    let mut rest = text;
    while let Some((before, after)) = split_once(rest, b'{') {
        filled.extend_from_slice(before.as_bytes());
        rest = after;
        let named = split_once(after, b'}').and_then(|(name, after)| Some((value_of(name, values)?, after)));
        match named {
            Some((value, after)) => {
                filled.extend_from_slice(&value);
                rest = after;
            }
            None => filled.push(b'{'),
        }
    }
    filled.extend_from_slice(rest.as_bytes());
    filled
}

/// True when `name` matches a pattern in which `*` stands for any characters and `?` for one.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    // The last star and where in `name` it stopped, to come back to when what follows it does not fit.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((star_p, star_n)) => {
                    p = star_p + 1;
                    n = star_n + 1;
                    star = Some((star_p, n));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

fn value_of(name: &str, values: &Placeholders<'_>) -> Option<Vec<u8>> {
    match name {
        "workenv" => Some(values.workenv.to_vec()),
        "package_name" => Some(values.metadata.name.as_str().into()),
        "version" => Some(values.metadata.version.as_str().into()),
        _ => {
            let index = number::parse(name.strip_prefix("slot:")?, 10)?;
            let target =
                pspf_core::placement::relative(&values.metadata.slots.get(usize::try_from(index).ok()?)?.target);
            Some(if target.is_empty() {
                values.workenv.to_vec()
            } else {
                crate::sys::join(values.workenv, target.as_bytes())
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn words_are_split_at_blanks_and_kept_together_by_quotes() {
        let split = |line| words(line).unwrap();
        assert_eq!(split("  a  b\tc "), ["a", "b", "c"]);
        assert_eq!(
            split(r#"sh -c 'echo "x y"' "a\"b" c\ d '' e'f'g"#),
            ["sh", "-c", "echo \"x y\"", "a\"b", "c d", "", "efg"]
        );
        assert_eq!(words("'open"), None);
        assert_eq!(words("\\"), None);
    }

    #[test]
    fn what_is_quoted_is_split_back_into_the_same_words() {
        let all: Vec<String> = ["a b", "", "'", "\"\\", "{workenv}/bin/x", "$(x)"].map(|word| word.to_string()).into();
        assert_eq!(words(&quote(&all)).unwrap(), all);
    }

    #[test]
    fn placeholders_are_filled_once() {
        let text = r#"{"format":"PSPF/2025","package":{"name":"app","version":"1"},"execution":{"command":"x"},"slots":[
            {"id":"a","target":"{workenv}/data"},{"id":"b","target":"x/y"},{"id":"c","target":"{workenv}"}]}"#;
        let metadata = Metadata::read(&pspf_core::json::parse(text.as_bytes()).unwrap()).unwrap();
        let values = Placeholders { workenv: b"/w {version}", metadata: &metadata };
        let filled = |text| String::from_utf8(fill(text, &values)).unwrap();
        assert_eq!(
            filled("{workenv}/bin:{slot:0}:{slot:1}:{slot:2}"),
            "/w {version}/bin:/w {version}/data:/w {version}/x/y:/w {version}"
        );
        assert_eq!(filled("{package_name}-{version}"), "app-1");
        assert_eq!(filled("{slot:9} {other} { {{version}}"), "{slot:9} {other} { {1}");
    }

    #[test]
    fn globs_match_whole_names() {
        for (pattern, name, expected) in [
            ("PYTHON*", "PYTHONPATH", true),
            ("PYTHON*", "MYPYTHON", false),
            ("*_KEY", "A_KEY", true),
            ("*_KEY", "A_KEYS", false),
            ("A?C", "ABC", true),
            ("A?C", "AC", false),
            ("a*b*c", "aXbYbZc", true),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
