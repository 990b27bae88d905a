//! Whose packages run: what is learnt at the first start, what is refused later, and the command that accepts it.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Finish as _, Finished, Signed, User, key_id, succession};
use pspf_core::sign::KeyOrigin;

const APP: &str = "dev.example/app";

fn run(user: &User, package: &Path) -> Finished {
    user.packer(&["run"]).arg(package).finish()
}

fn verify(user: &User, package: &Path) -> Finished {
    user.packer(&["verify"]).arg(package).finish()
}

fn trust(user: &User, args: &[&str]) -> Finished {
    user.packer(&[&["trust"], args].concat()).finish()
}

/// The keys that are known, as "key learnt app release".
fn known(user: &User) -> Vec<String> {
    let listed = trust(user, &["list", "--json"]).exits(0).json();
    let keys = listed["keys"].as_array().expect("keys").iter();
    keys.map(|key| {
        let text = |name: &str| key[name].as_str().unwrap_or("-").to_owned();
        format!("{} {} {} {}", text("key_id"), text("learnt"), text("app_id"), key["release"])
    })
    .collect()
}

/// Types what a refusal says after `: packer `.
fn accept(user: &User, refusal: &Finished) -> Finished {
    let text = refusal.stderr();
    let (_, command) = text.rsplit_once("packer trust ").unwrap_or_else(|| panic!("no command in {refusal}"));
    let words: Vec<&str> = command.split_whitespace().collect();
    trust(user, &words)
}

#[test]
fn the_first_key_of_an_application_is_recorded_and_another_one_is_refused_until_it_is_accepted() {
    let user = User::new();
    let first = Signed::by("a").write(&user.scratch.join("a.psp"));
    let other = Signed::by("b").write(&user.scratch.join("b.psp"));
    run(&user, &first).exits(0).prints("started 1").stays_quiet();
    assert_eq!(known(&user), [format!("{} tofu {APP} 1", key_id("a"))]);

    let refusal = run(&user, &other).exits(107).prints_nothing().says(&key_id("a")).says(&key_id("b"));
    verify(&user, &other).exits(107).says(&key_id("b"));
    assert_eq!(known(&user).len(), 1, "what is refused is not learnt");

    accept(&user, &refusal).exits(0);
    run(&user, &other).exits(0).prints("started 1");
    run(&user, &first).exits(0);
    verify(&user, &other).exits(0).prints("pinned");
}

#[test]
fn an_older_release_is_refused_until_it_is_accepted() {
    let user = User::new();
    let [old, new] = [3, 4].map(|release| {
        let package = user.scratch.join(format!("{release}.psp"));
        Signed { release, ..Signed::by("a") }.write(&package)
    });
    run(&user, &old).exits(0);
    run(&user, &new).exits(0).prints("started 4");
    let refusal = run(&user, &old).exits(107).says("release 4").says("release 3");
    verify(&user, &old).exits(107);
    run(&user, &new).exits(0);
    accept(&user, &refusal).exits(0);
    run(&user, &old).exits(0).prints("started 3");
}

#[test]
fn a_revoked_key_is_refused_for_every_application_until_the_revocation_is_taken_back() {
    let user = User::new();
    let package = Signed::by("a").write(&user.scratch.join("a.psp"));
    let other = Signed { app_id: Some("dev.example/other"), ..Signed::by("a") }.write(&user.scratch.join("o.psp"));
    run(&user, &package).exits(0);
    trust(&user, &["revoke", &key_id("a"), "--reason", "it leaked"]).exits(0);
    let refusal = run(&user, &package).exits(107).prints_nothing().says("revoked");
    run(&user, &other).exits(107).says("revoked");
    trust(&user, &["add", &key_id("a"), "--app-id", APP]).exits(109).says("revoked");
    trust(&user, &["list"]).exits(0).prints("revoked").prints("it leaked");
    accept(&user, &refusal).exits(0);
    run(&user, &package).exits(0);
}

#[test]
fn keys_from_seeds_keys_that_packer_made_and_packages_without_an_application_are_named_and_never_recorded() {
    let user = User::new();
    let seed = Signed { origin: KeyOrigin::Seed, ..Signed::by("a") }.write(&user.scratch.join("seed.psp"));
    let auto = Signed { origin: KeyOrigin::Auto, ..Signed::by("b") }.write(&user.scratch.join("auto.psp"));
    let nameless = Signed { app_id: None, ..Signed::by("c") }.write(&user.scratch.join("nameless.psp"));
    for (package, origin, reason) in [
        (&seed, "from a seed: anybody may know it", "from a seed that anybody may know"),
        (&auto, "made by packer for its user", "packer made its key by itself"),
        (&nameless, "its maker chose it", "names no application"),
    ] {
        run(&user, package).exits(0).prints("started 1").stays_quiet();
        verify(&user, package).exits(0).prints(origin).prints(reason);
        user.packer(&["inspect"]).arg(package).finish().exits(0).prints(origin);
    }
    assert!(known(&user).is_empty());
    // An application that is known does not change over to such a key.
    let given = Signed::by("d").write(&user.scratch.join("given.psp"));
    run(&user, &given).exits(0);
    run(&user, &seed).exits(107);
    run(&user, &auto).exits(107);
}

#[test]
fn at_a_terminal_a_key_that_is_not_known_yet_is_named_in_one_line() {
    let has_script = Command::new("script").arg("--version").output().map(drop);
    if common::require(has_script.map_err(|error| format!("there is no terminal to be had from script: {error}")))
        .is_none()
    {
        return;
    }
    let user = User::new();
    let at_a_terminal = |package: &Path| {
        let run = user.packer(&["run"]);
        let typed = format!("'{}' run '{}'", run.get_program().display(), package.display());
        let mut script = Command::new("script");
        script.args(["-qec", &typed, "/dev/null"]);
        script.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
        script.env_remove("PSPF_SEED").finish().exits(0).stdout()
    };
    let seed = Signed { origin: KeyOrigin::Seed, ..Signed::by("a") }.write(&user.scratch.join("seed.psp"));
    let given = Signed::by("b").write(&user.scratch.join("given.psp"));
    for (package, words) in [(&seed, "from a seed that anybody may know"), (&given, "no key is known")] {
        let said = at_a_terminal(package);
        assert!(said.contains(words) && said.lines().count() == 2, "{said}");
    }
    assert_eq!(at_a_terminal(&given).trim(), "started 1", "a key that is known is not worth a word");
}

#[test]
fn a_package_that_lost_its_signature_is_called_unsigned_and_does_not_run() {
    let user = User::new();
    let package = Signed::by("a").write(&user.scratch.join("a.psp"));
    let mut bytes = fs::read(&package).unwrap();
    let index = bytes.len() - 8_196;
    bytes[index + 64..index + 96].fill(0);
    bytes[index + 128..index + 192].fill(0);
    bytes[index + 4..index + 8].fill(0);
    let (a, b) = bytes[index..index + 8_192].iter().fold((1, 0), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    bytes[index + 4..index + 8].copy_from_slice(&(b << 16 | a).to_le_bytes());
    fs::write(&package, bytes).unwrap();
    run(&user, &package).exits(107).prints_nothing().says("nobody signed this package");
    verify(&user, &package).exits(107).says("nobody signed this package");
    let report = user.packer(&["verify", "--json"]).arg(&package).finish().exits(107).json();
    assert_eq!((&report["valid"], &report["grade"], &report["trust"]), (&false.into(), &"unsigned".into(), &().into()));
}

#[test]
fn a_key_that_a_known_one_vouches_for_is_accepted_and_the_old_one_is_not_any_more() {
    let user = User::new();
    let old = Signed::by("a").write(&user.scratch.join("old.psp"));
    let lineage = vec![succession("a", "b", APP), succession("b", "c", APP)];
    let new = Signed { lineage, ..Signed::by("c") }.write(&user.scratch.join("new.psp"));
    run(&user, &old).exits(0);
    verify(&user, &new).exits(0).prints("vouches");
    run(&user, &new).exits(0).prints("started 1").says(&key_id("a")).says(&key_id("c"));
    run(&user, &new).exits(0).stays_quiet();
    assert!(known(&user).contains(&format!("{} lineage {APP} 1", key_id("c"))));
    run(&user, &old).exits(107).says("replaced");
    // Whoever has the old key cannot name another heir.
    let heir = Signed { lineage: vec![succession("a", "x", APP)], ..Signed::by("x") };
    run(&user, &heir.write(&user.scratch.join("heir.psp"))).exits(107);
}

#[test]
fn a_lineage_that_does_not_hold_is_a_changed_key() {
    let user = User::new();
    run(&user, &Signed::by("a").write(&user.scratch.join("a.psp"))).exits(0);
    let mut forged = succession("x", "b", APP);
    forged.from_public_key = succession("a", "b", APP).from_public_key;
    let other_app = succession("a", "b", "dev.example/other");
    let another_key = succession("a", "c", APP);
    for (name, link) in [("forged", forged), ("other application", other_app), ("another key", another_key)] {
        let package = Signed { lineage: vec![link], ..Signed::by("b") }.write(&user.scratch.join("b.psp"));
        assert_eq!(run(&user, &package).code(), Some(107), "{name}");
    }
    trust(&user, &["revoke", &key_id("b")]).exits(0);
    let lineage = vec![succession("a", "b", APP), succession("b", "c", APP)];
    let through = Signed { lineage, ..Signed::by("c") }.write(&user.scratch.join("c.psp"));
    run(&user, &through).exits(107);
}

#[test]
fn verify_says_what_it_decides_and_records_nothing() {
    let user = User::new();
    let package = Signed { release: 7, ..Signed::by("a") }.write(&user.scratch.join("a.psp"));
    let report = user.packer(&["verify", "--json"]).arg(&package).finish().exits(0).json();
    assert_eq!(report["valid"], true);
    assert_eq!((&report["app_id"], &report["release"]), (&APP.into(), &7.into()));
    assert_eq!(report["key_origin"], "given");
    assert_eq!(report["trust"]["decision"], "first-use");
    assert_eq!(report["trust"]["action"], "run");
    assert!(report["trust"]["accept"].is_null());
    assert!(known(&user).is_empty());

    run(&user, &package).exits(0);
    let other = Signed::by("b").write(&user.scratch.join("b.psp"));
    for command in [&["verify", "--json"][..], &["trust", "verify", "--json"]] {
        let refused = user.packer(command).arg(&other).finish().exits(107).json();
        let decision = if refused["trust"].is_null() { &refused } else { &refused["trust"] };
        assert_eq!(decision["decision"], "changed-key");
        assert_eq!(decision["action"], "refuse");
        assert_eq!(decision["known_keys"][0], *key_id("a"));
        let accept = format!("packer trust add {} --app-id {APP} --release 1", key_id("b"));
        assert_eq!(decision["accept"], *accept);
    }
}

#[test]
fn keys_are_named_by_their_id_by_a_public_key_and_by_a_package() {
    let user = User::new();
    let keys = user.scratch.join("keys");
    let made = user.packer(&["keygen", "--out-dir"]).arg(&keys).finish().exits(0).stdout();
    let id = made.lines().next().unwrap().strip_prefix("made key ").unwrap().to_owned();
    let public = keys.join("flavor-public.key").to_str().unwrap().to_owned();
    trust(&user, &["add", &public, "--app-id", "one", "--label", "my own"]).exits(0);
    let package = Signed::by("a").write(&user.scratch.join("a.psp"));
    trust(&user, &["add", package.to_str().unwrap()]).exits(0);
    trust(&user, &["add", &key_id("b"), "--any-app"]).exits(0);
    let expected = [
        format!("{id} pinned one 0"),
        format!("{} pinned {APP} 0", key_id("a")),
        format!("{} pinned - 0", key_id("b")),
    ];
    assert_eq!(known(&user), expected);
    trust(&user, &["list"]).exits(0).prints("my own");
    trust(&user, &["add", &key_id("b")]).exits(105).says("--app-id");
    trust(&user, &["add", "0123"]).exits(105).says("32");
    trust(&user, &["remove", &id]).exits(0);
    trust(&user, &["remove", &id]).exits(105);
    let nameless = Signed { app_id: None, ..Signed::by("b") }.write(&user.scratch.join("b.psp"));
    verify(&user, &nameless).exits(0).prints("pinned");
}

#[test]
fn the_store_is_its_users_alone_and_one_that_others_can_write_is_not_used() {
    let user = User::new();
    let package = Signed::by("a").write(&user.scratch.join("a.psp"));
    run(&user, &package).exits(0);
    let store = user.config().join("trust.json");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let files = ["trust.json", "trust.log", "trust.lock"].map(|name| mode(&user.config().join(name)));
    assert_eq!((mode(&user.config()), files), (0o700, [0o600; 3]));
    for (path, bad) in [(&store, 0o620), (&user.config(), 0o702)] {
        let good = mode(path);
        fs::set_permissions(path, fs::Permissions::from_mode(bad)).unwrap();
        run(&user, &package).exits(109).prints_nothing().says("others can write").says("chmod go-w");
        verify(&user, &package).exits(109).says(path.to_str().unwrap());
        fs::set_permissions(path, fs::Permissions::from_mode(good)).unwrap();
    }
    run(&user, &package).exits(0);
}

#[test]
fn a_store_of_somebody_else_is_not_used() {
    if common::require_root().is_none() {
        return;
    }
    let user = User::new();
    let package = Signed::by("a").write(&user.scratch.join("a.psp"));
    run(&user, &package).exits(0);
    std::os::unix::fs::chown(user.config().join("trust.json"), Some(1234), None).unwrap();
    run(&user, &package).exits(109).says("owner 1234");
}

#[test]
fn a_store_that_is_not_understood_refuses_and_says_so() {
    let user = User::new();
    let package = Signed::by("a").write(&user.scratch.join("a.psp"));
    run(&user, &package).exits(0);
    for (text, reason) in [
        (r#"{"version": 2, "keys": [], "more": 1}"#, "version that this packer does not know"),
        (r#"{"version": 1, "keys": [], "revokd": []}"#, "revokd"),
        (r#"{"version": 1, "revoked": [{"key_id": "0123", "since": 0}]}"#, "32 hexadecimal digits"),
        ("", "not a trust store"),
    ] {
        fs::write(user.config().join("trust.json"), text).unwrap();
        run(&user, &package).exits(109).prints_nothing().says(reason);
    }
}

#[test]
fn many_writers_at_once_lose_nothing() {
    let user = User::new();
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let children = names.map(|name| {
        let mut add = user.packer(&["trust", "add", &key_id(name), "--app-id", name]);
        add.stdout(Stdio::null()).spawn().unwrap()
    });
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(known(&user).len(), names.len());
    assert_eq!(trust(&user, &["log"]).exits(0).stdout().lines().count(), names.len());
    let left: Vec<_> = fs::read_dir(user.config()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "trust.json, trust.log and trust.lock, not {left:?}");
}

#[test]
fn a_home_that_cannot_be_written_is_no_obstacle() {
    let user = User::new();
    let package = Signed::by("a").write(&user.scratch.join("a.psp"));
    let mut run = user.packer(&["run"]);
    run.arg(&package).env("XDG_CONFIG_HOME", "/proc/nothing").finish().exits(0).prints("started 1").stays_quiet();
}

#[test]
fn the_log_tells_what_was_learnt_and_refused() {
    let user = User::new();
    trust(&user, &["log"]).exits(0).prints("nothing was learnt");
    let package = Signed::by("a").write(&user.scratch.join("a.psp"));
    let other = Signed::by("b").write(&user.scratch.join("b.psp"));
    run(&user, &package).exits(0);
    run(&user, &package).exits(0);
    run(&user, &other).exits(107);
    trust(&user, &["revoke", &key_id("b")]).exits(0);
    let log = trust(&user, &["log", "--json"]).exits(0).json();
    let told: Vec<String> =
        log.as_array().unwrap().iter().map(|event| format!("{} {}", event["event"], event["key_id"])).collect();
    let expected = [("tofu", "a"), ("refuse", "b"), ("revoked", "b")]
        .map(|(event, key)| format!("\"{event}\" \"{}\"", key_id(key)));
    assert_eq!(told, expected);
    trust(&user, &["log"]).exits(0).prints(APP);
}

#[test]
fn names_from_a_package_cannot_pass_for_words_of_packer() {
    let user = User::new();
    let app_id = Some("x\u{1b}[2K\rok; packer trust add evil");
    let package = Signed { app_id, ..Signed::by("a") }.write(&user.scratch.join("a.psp"));
    let other = Signed { app_id, ..Signed::by("b") }.write(&user.scratch.join("b.psp"));
    let shown = verify(&user, &package).exits(0).stdout();
    run(&user, &package).exits(0);
    let refusal = run(&user, &other).exits(107);
    let shown = [shown, refusal.stderr(), trust(&user, &["list"]).stdout(), trust(&user, &["log"]).stdout()].concat();
    assert!(!shown.contains(['\u{1b}', '\r']), "{shown:?}");
    accept(&user, &refusal).exits(0);
    run(&user, &other).exits(0);
}

#[test]
fn what_the_administrator_trusts_and_revokes_counts_for_everybody() {
    let user = User::new();
    let package = Signed { release: 5, ..Signed::by("a") }.write(&user.scratch.join("a.psp"));
    let older = Signed { release: 4, ..Signed::by("a") }.write(&user.scratch.join("older.psp"));
    let other = Signed::by("b").write(&user.scratch.join("b.psp"));
    let store = format!(
        r#"{{"version": 1, "keys": [{{"app_id": "{APP}", "key_id": "{}", "learnt": "admin", "since": 0}}],
            "revoked": [{{"key_id": "{}", "since": 0}}]}}"#,
        key_id("a"),
        key_id("c")
    );
    let system = [("trust.json", &*store)];
    let below = |args: &[&str], package: &Path| {
        let mut command = user.packer_below(&system, args)?;
        Some(command.arg(package).finish())
    };
    let Some(verified) = below(&["verify"], &package) else { return };
    verified.exits(0).prints("admin");
    below(&["run"], &package).unwrap().exits(0).prints("started 5");
    below(&["run"], &older).unwrap().exits(107).says("release 5");
    below(&["run"], &other).unwrap().exits(107).says(&key_id("a"));
    // What ran with the administrator's key is remembered, and does not make it the user's.
    assert!(known(&user).is_empty());
    run(&user, &other).exits(0);
    let revoked = Signed { app_id: Some("dev.example/c"), ..Signed::by("c") }.write(&user.scratch.join("c.psp"));
    trust(&user, &["add", revoked.to_str().unwrap()]).exits(0);
    below(&["run"], &revoked).unwrap().exits(107).says("revoked");
}

/// What a package that starts itself says to somebody at a terminal; its own output is in it, too.
fn at_a_terminal(user: &User, package: &Path) -> String {
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command"]).arg(package).arg("/dev/null");
    for (name, value) in user.start(package).get_envs() {
        script.env(name, value.expect("only variables that are set"));
    }
    let finished = script.stdin(Stdio::null()).finish().exits(0);
    finished.stdout()
}

#[test]
fn a_package_that_starts_itself_records_its_key_and_another_key_is_told_at_a_terminal_alone() {
    let user = User::new();
    let first = Signed::by("a").write(&user.scratch.join("a.psp"));
    let other = Signed::by("b").write(&user.scratch.join("b.psp"));
    user.start(&first).finish().exits(0).prints("started 1").stays_quiet();
    assert_eq!(known(&user), [format!("{} tofu {APP} 1", key_id("a"))]);
    trust(&user, &["log"]).exits(0).prints("tofu");

    user.start(&other).finish().exits(0).prints("started 1").stays_quiet();
    let told = at_a_terminal(&user, &other);
    assert_eq!(told.lines().count(), 2, "one line more than the app's own: {told}");
    for words in [key_id("a"), key_id("b"), "packer trust add FILE".to_owned(), "started 1".to_owned()] {
        assert!(told.contains(&words), "{words} in {told}");
    }
    assert_eq!(known(&user).len(), 1, "what is odd is not learnt");
    run(&user, &other).exits(107).says(&key_id("a"));
    assert_eq!(at_a_terminal(&user, &first).trim(), "started 1");
}

#[test]
fn a_package_that_starts_itself_notes_its_release_and_an_older_one_is_told() {
    let user = User::new();
    let [old, new] = [3, 4].map(|release| {
        let package = user.scratch.join(format!("{release}.psp"));
        Signed { release, ..Signed::by("a") }.write(&package)
    });
    user.start(&old).finish().exits(0);
    user.start(&new).finish().exits(0).prints("started 4").stays_quiet();
    assert_eq!(known(&user), [format!("{} tofu {APP} 4", key_id("a"))]);
    user.start(&old).finish().exits(0).prints("started 3").stays_quiet();
    let told = at_a_terminal(&user, &old);
    assert!(told.contains("release 4") && told.contains("release 3"), "{told}");
    run(&user, &old).exits(107).says("release 4");
}

#[test]
fn a_package_that_starts_itself_follows_a_lineage_and_neither_made_keys_nor_seeds() {
    let user = User::new();
    let package = user.scratch.join("app.psp");
    for origin in [KeyOrigin::Auto, KeyOrigin::Seed] {
        Signed { origin, ..Signed::by("s") }.write(&package);
        user.start(&package).finish().exits(0).stays_quiet();
        assert!(known(&user).is_empty());
    }
    Signed::by("a").write(&package);
    user.start(&package).finish().exits(0);
    Signed { lineage: vec![succession("a", "b", APP)], ..Signed::by("b") }.write(&package);
    user.start(&package).finish().exits(0).stays_quiet();
    assert_eq!(known(&user), [format!("{} tofu {APP} 1", key_id("a")), format!("{} lineage {APP} 1", key_id("b"))]);
    Signed::by("a").write(&package);
    run(&user, &package).exits(107).says("has taken the place");
    assert!(at_a_terminal(&user, &package).contains("has taken the place"));
}

#[test]
fn a_package_starts_itself_where_nothing_can_be_recorded_and_where_the_store_is_broken() {
    let user = User::new();
    let package = Signed::by("a").write(&user.scratch.join("app.psp"));
    fs::create_dir_all(user.config()).unwrap();
    fs::write(user.config().join("trust.json"), "broken").unwrap();
    user.start(&package).finish().exits(0).prints("started 1").stays_quiet();
    assert_eq!(fs::read(user.config().join("trust.json")).unwrap(), b"broken", "nothing is lost");
    fs::remove_dir_all(user.config()).unwrap();
    fs::write(user.config(), "no directory").unwrap();
    user.start(&package).finish().exits(0).prints("started 1").stays_quiet();
}

#[test]
fn many_packages_that_start_themselves_at_once_record_one_key_each() {
    let user = User::new();
    let package = Signed::by("a").write(&user.scratch.join("app.psp"));
    let starts: Vec<_> = (0..16).map(|_| user.start(&package).stdout(Stdio::null()).spawn().unwrap()).collect();
    for mut start in starts {
        assert!(start.wait().unwrap().success());
    }
    assert_eq!(known(&user), [format!("{} tofu {APP} 1", key_id("a"))]);
}
