//! What tests count, for a file in benches/.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use super::process::Finish as _;

/// True when everything is tried of which other runs take a sample: `PSPF_TEST_FULL`.
pub fn is_full() -> bool {
    std::env::var_os("PSPF_TEST_FULL").is_some()
}

/// Writes a section of the file that `PSPF_TEST_REPORT` names anew, or appends it; without the variable nothing.
pub fn record(title: &str, text: &str) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let Some(path) = std::env::var_os("PSPF_TEST_REPORT") else { return };
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let path = Path::new(&path);
    let before = fs::read_to_string(path).unwrap_or_default();
    let mut sections: Vec<&str> = before.split("\n## ").skip(1).collect();
    let section = format!("{title}\n\n{text}\nMeasured on {}.\n", machine());
    match sections.iter().position(|other| other.lines().next() == Some(title)) {
        Some(at) => sections[at] = &section,
        None => sections.push(&section),
    }
    let mut report = HEAD.to_owned();
    for section in sections {
        let _ = write!(report, "\n## {}\n", section.trim_end());
    }
    fs::write(path, report).unwrap_or_else(|error| panic!("{} cannot be written: {error}", path.display()));
}

fn machine() -> String {
    let said = |program: &str, args: &[&str]| Command::new(program).args(args).finish().stdout().trim().to_owned();
    let kernel = said("uname", &["-sr"]);
    format!("{}, {}", kernel.split('-').next().unwrap_or_default(), said("date", &["+%Y-%m-%d"]))
}

const HEAD: &str = "\
# Faults

Written by `cargo xtask faults --write` and `cargo xtask soak --write`; packer/tests/faults.rs and packer/tests/soak.rs say
how it is done. A wrong output is an app that started and did not say what its version says, or an end without a documented
exit code and a reason. After each fault the package was started again without one: a wrong next start is one with another
output, or after which the cache differs in kind, mode or content of any entry from one in which nothing failed. Left over
is what such a start did not clean up; left for later is what could not be deleted as long as the errors lasted, and went as
soon as a start had to write in its place again.

Where `packer workenv` met the fault, a wrong output is also a report of something removed that was there, a slot or workenv
that went though it was in use, and one that neither went nor was as before. Both versions were started after it, then packer
did the same without a fault, and both were started again.
";
