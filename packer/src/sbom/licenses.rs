//! Licences as CycloneDX writes them: by SPDX where what a distribution says of itself leaves no doubt, else in its own
//! words.

use serde_json::{Value, json};

/// The licences of a distribution: its `License-Expression`, its `License`, and its classifiers.
pub(crate) fn licenses<'a>(
    expression: Option<&str>,
    text: Option<&str>,
    classifiers: impl Iterator<Item = &'a str>,
) -> Vec<Value> {
    let named = |name: &str| json!({ "license": { "name": name } });
    if let Some(expression) = expression {
        return vec![spdx_of(expression).unwrap_or_else(|| named(expression))];
    }
    // The whole text of a licence is not its name.
    let text = text.map(str::trim).filter(|text| !text.is_empty() && !text.contains('\n') && text.len() <= LONGEST);
    if let Some(sure) = text.filter(|text| *text != "UNKNOWN").and_then(spdx_of) {
        return vec![sure];
    }
    let classified: Vec<&str> = classifiers
        .filter_map(|classifier| classifier.strip_prefix("License ::"))
        .map(|rest| rest.rsplit("::").next().unwrap_or_default().trim())
        .filter(|last| *last != "OSI Approved")
        .collect();
    let one = |last: &&str| match CLASSIFIERS.iter().find(|(name, _)| name == last) {
        Some((_, id)) => json!({ "license": { "id": id } }),
        None => named(last),
    };
    match (&classified[..], text.filter(|text| *text != "UNKNOWN")) {
        ([], Some(text)) => vec![named(text)],
        (all, _) => all.iter().map(one).collect(),
    }
}

/// The text as an SPDX expression, if it is one.
fn spdx_of(text: &str) -> Option<Value> {
    spdx::Expression::parse(text).ok().map(|expression| json!({ "expression": expression.to_string() }))
}

/// The longest text that may be the name of a licence, in bytes.
const LONGEST: usize = 100;

/// Classifiers of PyPI that stand for one licence and nothing else. Others ("BSD License", "Apache Software License") do
/// not say which version or variant they mean.
const CLASSIFIERS: [(&str, &str); 22] = [
    ("Boost Software License 1.0 (BSL-1.0)", "BSL-1.0"),
    ("CC0 1.0 Universal (CC0 1.0) Public Domain Dedication", "CC0-1.0"),
    ("Eclipse Public License 1.0 (EPL-1.0)", "EPL-1.0"),
    ("Eclipse Public License 2.0 (EPL-2.0)", "EPL-2.0"),
    ("European Union Public Licence 1.1 (EUPL 1.1)", "EUPL-1.1"),
    ("European Union Public Licence 1.2 (EUPL 1.2)", "EUPL-1.2"),
    ("GNU Affero General Public License v3", "AGPL-3.0-only"),
    ("GNU Affero General Public License v3 or later (AGPLv3+)", "AGPL-3.0-or-later"),
    ("GNU General Public License v2 (GPLv2)", "GPL-2.0-only"),
    ("GNU General Public License v2 or later (GPLv2+)", "GPL-2.0-or-later"),
    ("GNU General Public License v3 (GPLv3)", "GPL-3.0-only"),
    ("GNU General Public License v3 or later (GPLv3+)", "GPL-3.0-or-later"),
    ("GNU Lesser General Public License v2 or later (LGPLv2+)", "LGPL-2.0-or-later"),
    ("GNU Lesser General Public License v3 (LGPLv3)", "LGPL-3.0-only"),
    ("GNU Lesser General Public License v3 or later (LGPLv3+)", "LGPL-3.0-or-later"),
    ("ISC License (ISCL)", "ISC"),
    ("MIT License", "MIT"),
    ("MIT No Attribution License (MIT-0)", "MIT-0"),
    ("Mozilla Public License 1.1 (MPL 1.1)", "MPL-1.1"),
    ("Mozilla Public License 2.0 (MPL 2.0)", "MPL-2.0"),
    ("The Unlicense (Unlicense)", "Unlicense"),
    ("zlib/libpng License", "Zlib"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(expression: Option<&str>, text: Option<&str>, classifiers: &[&str]) -> Value {
        licenses(expression, text, classifiers.iter().copied()).into()
    }

    #[test]
    fn what_is_sure_is_said_in_spdx_and_the_rest_as_it_stands_there() {
        let mit = "License :: OSI Approved :: MIT License";
        let bsd = "License :: OSI Approved :: BSD License";
        for (found, expected) in [
            (of(Some("MIT OR Apache-2.0"), None, &[]), json!([{"expression": "MIT OR Apache-2.0"}])),
            (of(Some("Own"), Some("MIT"), &[mit]), json!([{"license": {"name": "Own"}}])),
            (of(None, Some("BSD-3-Clause"), &[bsd]), json!([{"expression": "BSD-3-Clause"}])),
            (of(None, Some("BSD"), &[bsd]), json!([{"license": {"name": "BSD License"}}])),
            (of(None, Some("Own words"), &[]), json!([{"license": {"name": "Own words"}}])),
            (of(None, Some("All of\nthe text"), &[mit]), json!([{"license": {"id": "MIT"}}])),
            (of(None, Some("UNKNOWN"), &["License :: OSI Approved"]), json!([])),
            (of(None, None, &[mit, bsd]), json!([{"license": {"id": "MIT"}}, {"license": {"name": "BSD License"}}])),
        ] {
            assert_eq!(found, expected);
        }
    }
}
