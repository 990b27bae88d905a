//! What tests say that do less, for want of a program.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::{env, thread};

/// Says that a test did less, for want of a program, to `cargo xtask test` as well; fails where nothing may be skipped.
pub(crate) fn skip(program: &str) {
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    let reason = format!("there is no {program} here; cargo xtask test --install gets it");
    assert!(env::var_os("PSPF_TEST_NO_SKIP").is_none(), "nothing may be skipped here, but {reason}");
    eprintln!("skipped: {test}: {reason}");
    if let Some(list) = env::var_os("PSPF_TEST_SKIPPED") {
        let list = OpenOptions::new().append(true).create(true).open(list);
        let _ = list.and_then(|mut list| writeln!(list, "{test}: {reason}"));
    }
}
