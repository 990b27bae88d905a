//! What the operator demands: every rule refuses, warns or lets pass as the policy says, and a user loosens nothing.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use common::{Finish as _, Finished, Signed, User, key_id, succession};
use pspf_core::json::Value;
use pspf_core::sign::KeyOrigin;

const APP: &str = "dev.example/app";

/// A user with one package.
struct Machine {
    user: User,
    package: PathBuf,
}

impl Machine {
    fn with(signed: Signed) -> Self {
        let user = User::new();
        let package = signed.write(&user.scratch.join("app.psp"));
        Self { user, package }
    }

    fn run(&self) -> Finished {
        self.user.packer(&["run"]).arg(&self.package).finish()
    }

    /// The package starts itself.
    fn start(&self) -> Finished {
        self.user.start(&self.package).finish()
    }

    fn check(&self) -> Finished {
        self.user.packer(&["policy", "check"]).arg(&self.package).finish()
    }

    /// `policy` is in force: the package is refused with this code and these words under it, runs with a note under `warn`, and
    /// without one under `allow`; by `packer run`, and when it starts itself.
    #[track_caller]
    fn is_enforced(&self, rule: &str, policy: &str, code: i32, words: &str) {
        let demand = |mode: &str| {
            let enforcement = format!(r#""enforcement": {{"default": "allow", "{rule}": "{mode}"}}"#);
            self.user.demands(&format!(r#"{{"version": 1, {policy}, {enforcement}}}"#));
        };
        demand("deny");
        self.run().exits(code).prints_nothing().says(words);
        self.check().exits(code).says(words);
        let own_words = if rule == "untrusted_key" { "nobody named key" } else { rule };
        self.start().exits(code).prints_nothing().says(own_words).says("packer policy check FILE");
        demand("warn");
        self.run().exits(0).prints("started 1").says("note: ").says(words);
        self.start().exits(0).prints("started 1").says("warning: ").says(own_words);
        demand("allow");
        self.run().exits(0).prints("started 1").stays_quiet();
        self.start().exits(0).prints("started 1").stays_quiet();
        self.check().exits(0);
    }
}

fn days_ago(days: u64) -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - days * 86_400 - 60
}

#[test]
fn packages_that_are_too_old_or_do_not_say_how_old_they_are_break_max_age_days() {
    let old = Machine::with(Signed { built: days_ago(31), ..Signed::by("a") });
    old.is_enforced("expired_package", r#""execution": {"max_age_days": 30}"#, 109, "it is 31 days old");
    old.user.demands(r#"{"version": 1, "execution": {"max_age_days": 31}}"#);
    old.run().exits(0);
    let silent = Machine::with(Signed::by("a"));
    silent.is_enforced("expired_package", r#""execution": {"max_age_days": 30}"#, 109, "does not say when");
}

#[test]
fn other_platforms_than_the_allowed_ones_break_allow_platforms() {
    let machine = Machine::with(Signed::by("a"));
    let other = r#""execution": {"allow_platforms": ["windows", "darwin_arm64"]}"#;
    machine.is_enforced("platform_mismatch", other, 109, "it may run on windows, darwin_arm64");
    machine.user.demands(r#"{"version": 1, "execution": {"allow_platforms": ["linux", "windows"]}}"#);
    machine.run().exits(0);
}

#[test]
fn packages_without_an_attestation_slot_break_require_sbom() {
    let machine = Machine::with(Signed::by("a"));
    let policy = r#""attestation": {"require_sbom": true}"#;
    machine.is_enforced("missing_sbom", policy, 109, "attestation");
    let attested = Machine::with(Signed { attested: true, ..Signed::by("a") });
    attested.user.demands(&format!(r#"{{"version": 1, {policy}}}"#));
    attested.run().exits(0).prints("started 1");
}

#[test]
fn nothing_runs_as_root_under_refuse_root() {
    if common::require_root().is_none() {
        return;
    }
    let machine = Machine::with(Signed::by("a"));
    machine.is_enforced("root_execution", r#""execution": {"refuse_root": true}"#, 109, "root");
}

#[test]
fn a_key_that_nobody_named_breaks_require_trusted_key_and_first_use_names_none() {
    let machine = Machine::with(Signed::by("a"));
    machine.is_enforced("untrusted_key", r#""trust": {"require_trusted_key": true}"#, 107, &key_id("a"));
    machine.user.demands(r#"{"version": 1, "trust": {"require_trusted_key": true}}"#);
    machine.run().exits(107).says(&format!("packer trust add {} --app-id {APP}", key_id("a")));
    machine.start().exits(107).says(&key_id("a"));
    machine.user.packer(&["trust", "add", &key_id("a"), "--app-id", APP]).finish().exits(0);
    machine.start().exits(0).prints("started 1").stays_quiet();
    machine.run().exits(0).prints("started 1").stays_quiet();
    // Whom a named key vouches for is as good, before and after it was learnt.
    for lineage in [vec![("a", "b")], vec![("a", "b"), ("b", "c")]] {
        let key = lineage.last().unwrap().1;
        let lineage = lineage.iter().map(|(from, to)| succession(from, to, APP)).collect();
        Signed { lineage, ..Signed::by(key) }.write(&machine.package);
        machine.start().exits(0);
        machine.run().exits(0);
        machine.run().exits(0);
    }
}

#[test]
fn the_operator_says_what_becomes_of_unknown_and_changed_keys_and_of_older_releases() {
    let machine = Machine::with(Signed { release: 2, ..Signed::by("a") });
    let decide = |rule: &str, action: &str| {
        machine.user.demands(&format!(r#"{{"version": 1, "trust": {{"{rule}": "{action}"}}}}"#));
    };
    decide("unknown_key", "refuse");
    machine.run().exits(107).prints_nothing().says("no key is known");
    machine.start().exits(107).prints_nothing().says("nothing is known of key");
    decide("unknown_key", "warn");
    machine.run().exits(0).says("note: no key is known");
    machine.run().exits(0).stays_quiet();
    Signed { release: 1, ..Signed::by("a") }.write(&machine.package);
    decide("downgrade", "warn");
    machine.run().exits(0).prints("started 1").says("note: release 2");
    machine.start().exits(0).prints("started 1").says("warning: ").says("release 2");
    decide("downgrade", "refuse");
    machine.run().exits(107);
    machine.start().exits(107).prints_nothing().says("release 2");
    Signed::by("b").write(&machine.package);
    decide("changed_key", "run");
    machine.run().exits(0).stays_quiet();
    machine.start().exits(0).stays_quiet();
    decide("changed_key", "refuse");
    machine.run().exits(107);
    machine.start().exits(107).says(&key_id("a")).says(&key_id("b"));
}

#[test]
fn a_user_loosens_nothing_that_the_administrator_demands() {
    let machine = Machine::with(Signed { built: days_ago(31), ..Signed::by("a") });
    let system = r#"{"version": 1, "trust": {"require_trusted_key": true}, "execution": {"max_age_days": 30}}"#;
    machine.user.demands(
        r#"{"version": 1, "execution": {"max_age_days": 90}, "trust": {"require_trusted_key": false, "unknown_key": "run"},
            "enforcement": {"default": "allow"}}"#,
    );
    machine.user.packer(&["trust", "add", &key_id("a"), "--app-id", APP]).finish().exits(0);
    let below = |args: &[&str]| machine.user.packer_below(&[("policy.json", system)], args);
    let Some(mut run) = below(&["run"]) else { return };
    run.arg(&machine.package).finish().exits(107).prints_nothing().says("the administrator").says("--system");
    let start = machine.user.start(&machine.package);
    let mut start = machine.user.below(&[("policy.json", system)], &start).unwrap();
    start.finish().exits(109).prints_nothing().says("expired_package");
    let system = system.replace("30", "90");
    let start = machine.user.start(&machine.package);
    let mut start = machine.user.below(&[("policy.json", &system)], &start).unwrap();
    start.finish().exits(107).prints_nothing().says("nobody named").says(&key_id("a"));
    let shown = below(&["policy", "show", "--json"]).unwrap().finish().exits(0).json();
    assert_eq!(shown["effective"]["require_trusted_key"], "system");
    assert_eq!(shown["effective"]["max_age_days"], 30);
    assert_eq!(shown["effective"]["enforcement"]["expired_package"], "refuse");
    assert_eq!((&shown["user"]["max_age_days"], &shown["system"]["max_age_days"]), (&90.into(), &30.into()));
    let mut check = below(&["policy", "check", "--json"]).unwrap();
    let checked = check.arg(&machine.package).finish().exits(107).json();
    assert_eq!((&checked["action"], &checked["trust"]["decision"]), (&"refuse".into(), &"untrusted-key".into()));
    assert_eq!(checked["violations"][0]["rule"], "expired_package");
}

#[test]
fn what_a_package_demands_of_its_machine_counts_too() {
    let demands = Value::object([("require_env", Value::array(["PSPF_TEST_WANTED"])), ("max_age_days", Value::Null)]);
    let machine = Machine::with(Signed { policy: Some(demands), ..Signed::by("a") });
    machine.run().exits(109).prints_nothing().says("PSPF_TEST_WANTED");
    let mut run = machine.user.packer(&["run"]);
    run.arg(&machine.package).env("PSPF_TEST_WANTED", "1").finish().exits(0).prints("started 1");
    machine.start().exits(109).prints_nothing().says("missing_env");
    machine.user.start(&machine.package).env("PSPF_TEST_WANTED", "1").finish().exits(0).prints("started 1");
}

#[test]
fn a_policy_that_is_not_understood_or_that_others_can_write_stops_everything() {
    let machine = Machine::with(Signed::by("a"));
    for (policy, words) in [
        (r#"{"version": 1, "trust": {"require_trusted_keys": true}}"#, "did you mean \"require_trusted_key\"?"),
        (r#"{"version": 1, "execution": {"refuse_root": true, "refuse_root": false}}"#, "refuse_root"),
        (r#"{"version": 2}"#, "version"),
        ("refuse everything", "not JSON"),
    ] {
        machine.user.demands(policy);
        machine.run().exits(109).prints_nothing().says(words).says("policy.json");
        machine.start().exits(109).prints_nothing().says("policy.json").says("does not understand");
        machine.user.packer(&["policy", "show"]).finish().exits(109).says(words);
    }
    machine.user.demands(r#"{"version": 1}"#);
    let file = machine.user.config().join("policy.json");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    machine.run().exits(109).says("others can write");
    machine.start().exits(109).prints_nothing().says("others than you and root can write it");
}

#[test]
fn the_small_launcher_starts_nothing_where_there_is_a_policy_and_names_the_command_that_does() {
    let machine = Machine::with(Signed { origin: KeyOrigin::Auto, app_id: None, ..Signed::by("a") });
    machine.start().exits(0).prints("started 1");
    machine.user.demands(r#"{"version": 1}"#);
    machine.start().exits(109).prints_nothing().says("policy.json").says("packer run FILE");
    machine.run().exits(0).prints("started 1");
    fs::remove_dir_all(machine.user.config()).unwrap();
    let start = machine.user.start(&machine.package);
    let Some(mut start) = machine.user.below(&[("policy.json", r#"{"version": 1}"#)], &start) else { return };
    start.finish().exits(109).says("/etc/pspf/policy.json");
}

#[test]
fn init_writes_a_policy_that_demands_nothing_more_and_overwrites_none() {
    let machine = Machine::with(Signed::by("a"));
    let before = machine.user.packer(&["policy", "show", "--json"]).finish().exits(0).json();
    assert!(before["user"].is_null());
    machine.user.packer(&["policy", "init"]).finish().exits(0).prints("policy.json");
    machine.run().exits(0);
    machine.user.packer(&["policy", "show"]).finish().exits(0).prints("require_trusted_key  no");
    machine.user.packer(&["policy", "init"]).finish().exits(106);
}
