//! Every field of a package and every value of its document, changed to what hurts most, alone and in pairs: what is
//! accepted is the one file that its signed document describes, and nothing takes much.
//!
//! `PSPF_TEST_FULL=1` (`cargo xtask sweep`, `cargo xtask test --full`) tries every pair.

mod common;
mod sweep;
mod watching;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pspf_core::archive::Reader;
use pspf_core::sign::{KeyId, SecretKey};
use pspf_core::{Grade, Package, Verified, verify};
use sweep::{Change, Field, Mended, Subject, described, other_key};

#[test]
fn the_document_of_a_package_describes_its_file() {
    let subject = Subject::new();
    for (file, key) in [(&subject.file, common::key()), (&subject.others, other_key())] {
        assert_eq!(described::by(file).as_ref(), Some(file));
        assert_eq!(described::contents(file), Some(common::read_source(file.as_slice()).unwrap()));
        let seen = look(file);
        assert!(seen.is_read && seen.passed == Some((Grade::Sealed, KeyId::of(&key.public_key()))), "{seen:?}");
    }
}

#[test]
fn no_changed_field_gets_past_and_no_changed_pair_of_fields() {
    let subject = Subject::new();
    let fields = subject.fields();
    let kinds = kinds(&fields);
    let total: usize = kinds.iter().map(|(_, changes)| changes.len() * Mended::ALL.len()).sum();
    let mut text = String::new();
    for (kind, changes) in &kinds {
        for mended in Mended::ALL {
            let tally = try_all(&subject, &fields, changes, mended);
            let _ = writeln!(text, "| {kind} | {} | {} |", name(mended), tally.row());
        }
    }
    println!("{text}{total} changed packages of {} fields", fields.len());
    assert!(total >= 20_000, "{total}");
    if is_full() {
        publish(&text, &fields, total);
    }
}

/// Some of the changes are no harm: a signed document with another version of the app is a good one.
#[test]
fn what_somebody_else_signs_is_accepted_when_it_is_consistent() {
    let subject = Subject::new();
    let claims = "/extensions/x-pspf-claims";
    let set = |pointer: &str, text: &str| Change::Document(pointer.to_owned(), Some(text.to_owned()));
    for changes in [
        vec![set("/package/version", "\"2\"")],
        vec![set(&format!("{claims}/release"), "8")],
        vec![set(&format!("{claims}/slots/0/size"), "9"), set(&format!("{claims}/slots/0/original_size"), "9")],
        vec![set(&format!("{claims}/layout/slot_align"), "1")],
        vec![set(&format!("{claims}/index/capabilities"), "\"0x1\"")],
        vec![Change::Document("/policy".into(), None)],
    ] {
        let file = subject.changed(&changes.iter().collect::<Vec<_>>(), Mended::Signature);
        assert!(look(&file).is_read, "{changes:?}");
        assert_eq!(described::by(&file), Some(file), "{changes:?}");
        let file = subject.changed(&changes.iter().collect::<Vec<_>>(), Mended::Sums);
        assert_eq!(look(&file).passed, None, "the old signature is none over {changes:?}");
    }
}

/// Which values of which fields, by number.
type Chosen = Vec<(usize, usize)>;

/// What is tried: every value of every field alone, where things are and how large they are in all pairs of values, and
/// every other pair of fields with one of each.
fn kinds(fields: &[Field]) -> Vec<(&'static str, Vec<Chosen>)> {
    let alone = (0..fields.len()).flat_map(|at| (0..fields[at].values.len()).map(move |value| vec![(at, value)]));
    let (mut extents, mut pairs) = (Vec::new(), Vec::new());
    let mut turn = 0;
    for first in 0..fields.len() {
        for second in first + 1..fields.len() {
            let (of_first, of_second) = (fields[first].values.len(), fields[second].values.len());
            if fields[first].is_extent() && fields[second].is_extent() {
                let values = (0..of_first).flat_map(|a| (0..of_second).map(move |b| vec![(first, a), (second, b)]));
                extents.extend(values);
                continue;
            }
            // Every value of a field meets another value of the other one each time.
            turn += 1;
            pairs.push(vec![(first, turn % of_first), (second, (turn * 7 + turn / of_first) % of_second)]);
        }
    }
    let stride = |all: Vec<Chosen>, stride| if is_full() { all } else { all.into_iter().step_by(stride).collect() };
    vec![
        ("one field", alone.collect()),
        ("two of the offsets, sizes and counts", stride(extents, 19)),
        ("any two fields", stride(pairs, 16)),
    ]
}

/// What came of some changed packages.
#[derive(Default)]
struct Tally {
    tried: usize,
    refused: usize,
    /// As it was built: what was changed was made right again, or given the value that it had.
    unchanged: usize,
    /// The file that the document describes which somebody else signed.
    described: usize,
    /// The same without claims, which is told with the grade.
    without_claims: usize,
    slowest: Duration,
    peak: usize,
}

impl Tally {
    fn row(&self) -> String {
        format!(
            "{} | {} | {} | {} | {} | {:.1} ms | {:.1} MiB",
            self.tried,
            self.refused,
            self.unchanged,
            self.described,
            self.without_claims,
            self.slowest.as_secs_f64() * 1e3,
            self.peak as f64 / f64::from(1 << 20),
        )
    }
}

fn try_all(subject: &Subject, fields: &[Field], changes: &[Chosen], mended: Mended) -> Tally {
    let (all, problems) = (Mutex::new(Tally::default()), Mutex::new(Vec::new()));
    let next = AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let mut tally = Tally::default();
                while let Some(chosen) = changes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let chosen: Vec<_> = chosen.iter().map(|(field, value)| (&fields[*field], *value)).collect();
                    let changes: Vec<&Change> = chosen.iter().map(|(field, value)| &field.values[*value]).collect();
                    if let Err(problem) = tally.add(subject, &subject.changed(&changes, mended), mended) {
                        let names: Vec<_> = chosen.iter().map(|(field, _)| &field.name).collect();
                        let problem = format!("{problem}: {names:?}, {}: {changes:.200?}", name(mended));
                        problems.lock().expect("no thread has failed").push(problem);
                    }
                }
                let mut all = all.lock().expect("no thread has failed");
                all.tried += tally.tried;
                all.refused += tally.refused;
                all.unchanged += tally.unchanged;
                all.described += tally.described;
                all.without_claims += tally.without_claims;
                all.slowest = all.slowest.max(tally.slowest);
                all.peak = all.peak.max(tally.peak);
            });
        }
    });
    let problems = problems.into_inner().expect("no thread has failed");
    let some = problems[..problems.len().min(20)].join("\n");
    assert!(problems.is_empty(), "{} of {} changed packages:\n{some}", problems.len(), changes.len());
    all.into_inner().expect("no thread has failed")
}

impl Tally {
    /// Looks at one package; fails, saying why, when it is accepted and should not be, or takes too much.
    fn add(&mut self, subject: &Subject, file: &[u8], mended: Mended) -> Result<(), String> {
        let started = Instant::now();
        let (seen, peak) = watching::peak_of(|| catch_unwind(AssertUnwindSafe(|| look(file))));
        let mut took = started.elapsed();
        let seen = seen.map_err(|_| "a panic")?;
        if is_full() && took > TIME {
            // Another program may have had the processor.
            let started = Instant::now();
            let _ = look(file);
            took = took.min(started.elapsed());
            ensure(took <= TIME, "more than a second")?;
        }
        ensure(peak < MEMORY, "more than 64 MiB")?;
        self.tried += 1;
        self.slowest = self.slowest.max(took);
        self.peak = self.peak.max(peak);
        // What passes and cannot be read is refused as well, only later: a slot's own bytes are looked at then.
        let accepted = usize::from(seen.is_read);
        self.refused += 1 - accepted;
        let Some((grade, signer)) = seen.passed else { return ensure(!seen.is_read, "read, and yet it does not pass") };
        if file == subject.file {
            self.unchanged += 1;
            return ensure(seen.is_read, "refused, and nothing is wrong with it");
        }
        ensure(mended == Mended::Signature, "accepted without a key")?;
        let others = other_key();
        ensure(signer == KeyId::of(&others.public_key()), "accepted in another's name")?;
        ensure(is_signed_by(file, &others), "accepted without a signature")?;
        match grade {
            Grade::Sealed => {
                self.described += accepted;
                ensure(described::by(file).is_some_and(|described| described == file), "wrongly accepted")?;
                ensure(!seen.is_read || described::contents(file).is_some(), "wrongly read")
            }
            Grade::SlotsOnly => {
                self.without_claims += accepted;
                ensure(described::keeps_its_digests(file), "wrongly accepted without claims")
            }
            Grade::Unsigned => Err("accepted unsigned".to_owned()),
        }
    }
}

fn ensure(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

/// What our readers make of a file.
#[derive(Debug, Default)]
struct Seen {
    /// What `packer verify` says, when it lets it pass, and whose key it is.
    passed: Option<(Grade, KeyId)>,
    /// Every slot can be read to its end, and archives have entries.
    is_read: bool,
}

fn look(file: &[u8]) -> Seen {
    let Ok(package) = Package::open(file) else { return Seen::default() };
    let report = verify::report(&package, &mut |_| {});
    let passed = report.passed().then(|| (report.grade, report.key.expect("a signer")));
    Seen { passed, is_read: package.verify().is_ok_and(|verified| read(&verified).is_ok()) }
}

fn read(verified: &Verified<'_, &[u8]>) -> pspf_core::Result<()> {
    verified.check_launcher()?;
    for index in 0..verified.package().table().len() as u32 {
        let mut slot = verified.slot(index)?;
        if verified.package().table()[index as usize].operations.is_archive() {
            let mut reader = Reader::new(&mut slot);
            while reader.next_entry()?.is_some() {}
        }
        loop {
            let count = slot.fill()?.len();
            if count == 0 {
                break;
            }
            slot.consume(count);
        }
        slot.finish()?;
    }
    Ok(())
}

/// Signatures of Ed25519 are deterministic: a signer makes the same one again.
fn is_signed_by(file: &[u8], key: &SecretKey) -> bool {
    let index = described::Index::of(file);
    let Some(text) = described::any_text_of(file) else { return false };
    index.public_key() == key.public_key() && index.signature() == key.sign(&text)
}

fn name(mended: Mended) -> &'static str {
    match mended {
        Mended::Nothing => "as it is",
        Mended::Sums => "checksums and digests made right",
        Mended::Signature => "signed by another key",
    }
}

fn is_full() -> bool {
    std::env::var_os("PSPF_TEST_FULL").is_some()
}

/// For `cargo xtask sweep`, which says where.
fn publish(rows: &str, fields: &[Field], total: usize) {
    let Some(results) = std::env::var_os("PSPF_TEST_RESULTS") else { return };
    let mut parts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for field in fields {
        let part = parts.entry(field.name.split(' ').next().unwrap_or_default()).or_default();
        *part = (part.0 + 1, part.1 + field.values.len());
    }
    let counts: Vec<String> =
        parts.iter().map(|(part, (fields, values))| format!("{part}: {fields} with {values} other values")).collect();
    let text = format!(
        "## In the library\n\n{total} packages, by `pspf-core/tests/fields.rs`. Places that were changed, in {}.\n\n\
         Described: accepted, and byte by byte the file that its signed document describes. Without claims: accepted with a lower\n\
         grade, as the signed document has none. Anything else that was accepted, a panic, 64 MiB or a second would be a failure.\n\
         The time is the clock's, on a machine with other work. Good packages of the reference's builders are tried by\n\
         `packer/tests/interop.rs`.\n\n\
         | changed | made right behind it | tried | refused | unchanged | described | without claims | slowest | memory |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|\n{rows}",
        counts.join("; ")
    );
    std::fs::write(std::path::Path::new(&results).join("1-library.md"), text).expect("the results are written");
}

/// The most memory that a package may take, in bytes.
const MEMORY: usize = 64 << 20;
/// The longest that a package may take.
const TIME: Duration = Duration::from_secs(1);
