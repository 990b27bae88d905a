//! What got through the reference's launchers at some time does not get through here: each attack on a package of packer's
//! that starts itself, without a policy and under one, on `packer run` and on `packer verify`.
//!
//! With `PSPF_TEST_FULL` the reference gets the same attacks. `cargo xtask attacks` makes the table in docs/trust.md of both.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs;
use std::path::PathBuf;

use common::attacks::{ATTACKS, Attack, How, Must};
use common::victim::{GOOD, Maker, Outcome, Victim, Way};
use common::{Finish as _, Launcher, Reference};

#[test]
fn replaced_slot_bytes_are_refused_whatever_the_table_says() {
    ours_hold("2");
}

#[test]
fn a_stranger_s_signature_is_refused_once_the_maker_is_known() {
    ours_hold("3");
}

#[test]
fn a_key_for_which_one_signature_fits_everything_is_refused() {
    ours_hold("4");
}

#[test]
fn nothing_can_be_written_between_or_into_the_parts() {
    ours_hold("6");
}

#[test]
fn a_variable_cannot_make_a_changed_package_start() {
    ours_hold("8");
}

#[test]
fn setuid_bits_of_an_archive_are_not_set() {
    ours_hold("11");
}

#[test]
fn special_files_in_an_archive_are_refused() {
    ours_hold("12");
}

#[test]
fn a_file_twice_in_an_archive_is_refused() {
    ours_hold("13");
}

#[test]
fn an_archive_that_says_two_sizes_is_refused() {
    ours_hold("14");
}

#[test]
fn what_inflates_to_more_than_was_signed_is_refused_in_little_memory() {
    ours_hold("15");
}

#[test]
fn a_document_with_a_key_twice_is_refused() {
    ours_hold("16");
}

#[test]
fn a_second_document_is_refused() {
    ours_hold("17");
}

#[test]
fn a_document_with_too_many_levels_is_refused() {
    ours_hold("18");
}

#[test]
fn sizes_beyond_the_file_are_refused() {
    ours_hold("20");
}

#[test]
fn a_program_that_was_edited_in_the_cache_is_extracted_again() {
    ours_hold("21");
}

#[test]
fn a_program_that_was_truncated_in_the_cache_is_extracted_again() {
    ours_hold("22");
}

#[test]
fn what_a_stranger_has_prepared_is_not_used() {
    ours_hold("23");
}

#[test]
fn packages_with_one_name_do_not_mix() {
    ours_hold("24");
}

#[test]
fn a_killed_upgrade_leaves_the_old_version_whole() {
    ours_hold("25");
}

#[test]
fn an_upgrade_under_the_same_name_runs() {
    ours_hold("26");
}

#[test]
fn two_versions_with_one_name_start_at_once() {
    ours_hold("28");
}

#[test]
fn a_lock_file_that_names_a_living_process_is_no_lock() {
    ours_hold("29");
}

#[test]
fn python_variables_of_the_caller_do_not_reach_the_app() {
    ours_hold("31");
}

/// The file is what its maker signed, odd as that is: a verification has nothing to object to.
const SIGNED: [Must; 3] = [Must::BeRefusedAtStart, Must::RunAsSigned, Must::NotMislead];

/// It says nothing about the reference: only that it was attacked at all. What came of it is in docs/trust.md.
#[test]
fn the_reference_under_the_same_attacks() {
    if results().is_none() && std::env::var_os("PSPF_TEST_FULL").is_none() {
        return;
    }
    let launchers = [Launcher::Rust, Launcher::Go];
    let mut fell = [0; 2];
    for (number, attack) in ATTACKS.iter().enumerate() {
        let mut cells = Vec::new();
        let mut verified = String::new();
        for (launcher, fell) in launchers.into_iter().zip(&mut fell) {
            let Some(reference) = Reference::find() else { return };
            let victim = Victim::of(Maker::Reference(reference, launcher));
            assert_starts_unattacked(&victim, Way::Itself);
            let outcome = attack.start(&victim, Way::Itself);
            *fell += usize::from(matches!(outcome, Outcome::Ran(_)));
            cells.push(cell(attack.must, &outcome));
            if launcher == Launcher::Rust {
                verified = match attack.verify(&victim).map(|finished| finished.code()) {
                    None => "–".to_owned(),
                    Some(Some(0)) if SIGNED.contains(&attack.must) => "passes".to_owned(),
                    Some(Some(0)) => "**passes**".to_owned(),
                    Some(code) => format!("refused ({})", code.unwrap_or(-1)),
                };
            }
        }
        cells.push(verified);
        println!("{} {}: {}", attack.number, attack.what, cells.join(", "));
        record(number, "reference", attack, &cells);
    }
    assert!(fell.iter().all(|fell| *fell > 0), "attacks that nobody ever fell for would show nothing");
}

/// The attacks with this number, on packages of packer's.
#[track_caller]
fn ours_hold(number: &str) {
    let ours = ATTACKS.iter().enumerate().filter(|(_, attack)| attack.number == number);
    for (number, attack) in ours {
        let mut cells = Vec::new();
        // What is in the file meets both launchers, the one that reads more kinds of slots last; the cache is that of both.
        let launchers = if matches!(attack.how, How::File { .. }) { &[false, true][..] } else { &[false] };
        for &needs_all in launchers {
            let launcher = packer::launchers::built_in_for(needs_all).expect("a launcher for this platform");
            let victim = Victim::of(Maker::Packer(launcher));
            cells.clear();
            for way in [Way::Itself, Way::UnderPolicy, Way::PackerRun] {
                if way == Way::UnderPolicy && !needs_all {
                    // The smaller launcher starts nothing there. What is around the file is nothing to a policy.
                    cells.push("–".to_owned());
                    continue;
                }
                assert_starts_unattacked(&victim, way);
                let outcome = attack.start(&victim, way);
                assert!(holds(attack.must, way, &outcome), "{}, {way:?}: {outcome:?}", attack.what);
                cells.push(match promised(attack.must, way) {
                    true => cell(attack.must, &outcome),
                    false => format!("{}: not promised", outcome.words().replace("**", "")),
                });
            }
            cells.push(match attack.verify(&victim) {
                None => "–".to_owned(),
                Some(verdict) if SIGNED.contains(&attack.must) => {
                    verdict.exits(0).prints("every byte");
                    "passes".to_owned()
                }
                Some(verdict) => {
                    let code = verdict.code().unwrap_or_default();
                    assert!((102..=109).contains(&code), "{}: {verdict}", attack.what);
                    format!("refused ({code})")
                }
            });
        }
        record(number, "ours", attack, &cells);
    }
}

#[track_caller]
fn assert_starts_unattacked(victim: &Victim, way: Way) {
    victim.start(way, &victim.good(), &victim.directory()).finish().exits(0).prints(GOOD);
}

fn promised(must: Must, way: Way) -> bool {
    must != Must::NotPromised && (must, way) != (Must::BeRefusedWhereKeysCount, Way::Itself)
}

fn holds(must: Must, way: Way, outcome: &Outcome) -> bool {
    match (must, outcome) {
        // What this machine cannot try was skipped, and told so.
        (_, Outcome::Nothing) => true,
        _ if !promised(must, way) => true,
        (Must::RunAsSigned, outcome) => *outcome == Outcome::AsSigned,
        (Must::NotMislead, Outcome::AsSigned) => true,
        (_, Outcome::Refused(code)) => (102..=109).contains(code),
        _ => false,
    }
}

/// As the table has it. What must not be is bold.
fn cell(must: Must, outcome: &Outcome) -> String {
    match (must, outcome) {
        (Must::RunAsSigned, Outcome::Refused(code)) => format!("**refused** ({code})"),
        _ => outcome.words(),
    }
}

/// Where `cargo xtask attacks` looks for what came of each attack.
fn results() -> Option<PathBuf> {
    std::env::var_os("PSPF_TEST_RESULTS").map(PathBuf::from)
}

/// A line of tabs: number, attack, cells.
fn record(number: usize, of: &str, attack: &Attack, cells: &[String]) {
    if let Some(results) = results() {
        let line = [&[attack.number.to_owned(), attack.what.to_owned()], cells].concat().join("\t");
        fs::write(results.join(format!("{number:02}-{of}")), line).unwrap();
    }
}
