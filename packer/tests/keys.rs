//! Keys: made on request, made once when there is none, and never readable by others.

mod common;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Finish as _, Scratch};

#[test]
fn keygen_writes_a_private_key_for_its_owner_alone() {
    let scratch = Scratch::new();
    let keys = scratch.join("new/keys");
    common::packer().arg("keygen").arg("--out-dir").arg(&keys).finish().exits(0);
    let private = keys.join("flavor-private.key");
    let public = keys.join("flavor-public.key");
    assert_eq!(mode(&private), 0o600);
    assert!(fs::read_to_string(&private).unwrap().starts_with("-----BEGIN PRIVATE KEY-----\n"));
    assert!(fs::read_to_string(&public).unwrap().starts_with("-----BEGIN PUBLIC KEY-----\n"));
}

#[test]
fn keygen_never_overwrites_a_key() {
    let scratch = Scratch::new();
    let keygen = || common::packer().arg("keygen").arg("--out-dir").arg(&*scratch).finish();
    keygen().exits(0);
    let first = fs::read(scratch.join("flavor-private.key")).unwrap();
    let refusal = keygen();
    assert_ne!(refusal.code(), Some(0), "{refusal}");
    assert_eq!(fs::read(scratch.join("flavor-private.key")).unwrap(), first);
}

#[test]
fn a_passphrase_encrypts_the_private_key_and_pack_asks_for_it() {
    let scratch = Scratch::new();
    let keys = scratch.join("keys");
    let mut keygen = common::packer();
    keygen.args(["keygen", "--passphrase", "--out-dir"]).arg(&keys).env("PSPF_KEY_PASSPHRASE", "not a word");
    keygen.finish().exits(0).prints("encrypted");
    let private = keys.join("flavor-private.key");
    assert_eq!(mode(&private), 0o600);
    assert!(fs::read_to_string(&private).unwrap().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));

    let pack = |with: &dyn Fn(&mut Command)| {
        let mut pack = pack_small(&scratch);
        // Without a terminal of its own nobody can be asked.
        pack.arg("--private-key").arg(&private).env_remove("PSPF_KEY_PASSPHRASE");
        with(&mut pack);
        pack.finish()
    };
    pack(&|pack| {
        pack.env("PSPF_KEY_PASSPHRASE", "not a word");
    })
    .exits(0);
    let written = scratch.join("passphrase");
    fs::write(&written, "not a word\n").unwrap();
    pack(&|pack| {
        pack.env("PSPF_KEY_PASSPHRASE_FILE", &written);
    })
    .exits(0);
    pack(&|pack| {
        pack.env("PSPF_KEY_PASSPHRASE", "another");
    })
    .exits(109)
    .says("the passphrase does not open the private key");
    pack(&|pack| {
        pack.env("PSPF_KEY_PASSPHRASE", "");
    })
    .exits(109)
    .says("the passphrase is empty");
}

#[test]
fn a_passphrase_can_be_typed_at_a_terminal_and_ctrl_c_makes_no_key() {
    let has_script = Command::new("script").arg("--version").output().map(drop);
    if common::require(has_script.map_err(|error| format!("there is no terminal to be had from script: {error}")))
        .is_none()
    {
        return;
    }
    let scratch = Scratch::new();
    let keygen = |typed: &str, directory: &str| {
        let command = common::packer();
        let said = scratch.join("said");
        let program = command.get_program().display().to_string();
        let packer = format!("'{program}' keygen --passphrase --out-dir '{}'", scratch.join(directory).display());
        let mut script = Command::new("script");
        script.args(["-qec", &packer]).arg("/dev/null").env_remove("PSPF_KEY_PASSPHRASE");
        script.env_remove("PSPF_KEY_PASSPHRASE_FILE").stdin(Stdio::piped()).stdout(File::create(&said).unwrap());
        let mut child = script.spawn().unwrap();
        let mut keyboard = child.stdin.take().unwrap();
        // What is typed before a question is thrown away, as with any program that asks for a passphrase.
        for (line, question) in typed.split_inclusive(['\n', '\x03']).zip(["signing key: ", "again: "]) {
            while !fs::read_to_string(&said).unwrap().contains(question) {
                assert!(child.try_wait().unwrap().is_none(), "{}", fs::read_to_string(&said).unwrap());
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            keyboard.write_all(line.as_bytes()).unwrap();
        }
        let code = child.wait().unwrap().code();
        (code, fs::read_to_string(&said).unwrap())
    };
    let (code, said) = keygen("not a wordy\x7f\nnot a word\n", "keys");
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("word"), "{said}");
    let mut pack = pack_small(&scratch);
    pack.arg("--private-key").arg(scratch.join("keys/flavor-private.key"));
    pack.env("PSPF_KEY_PASSPHRASE", "not a word").finish().exits(0);
    assert_eq!(keygen("one\ntwo\n", "differ").0, Some(109));
    assert_eq!(keygen("one\x03", "stopped").0, Some(130));
    assert!(!scratch.join("differ").exists() && !scratch.join("stopped").exists());
}

#[test]
fn openssl_reads_encrypted_keys_of_packer_and_packer_those_of_openssl() {
    let openssl = |args: &[&str]| Command::new("openssl").args(args).output();
    let found = openssl(&["version"]).map(drop).map_err(|error| format!("there is no openssl ({error})"));
    if common::require(found).is_none() {
        return;
    }
    let scratch = Scratch::new();
    let keys = scratch.join("keys");
    let mut keygen = common::packer();
    keygen.args(["keygen", "--passphrase", "--out-dir"]).arg(&keys).env("PSPF_KEY_PASSPHRASE", "pw").finish().exits(0);
    let private = keys.join("flavor-private.key").to_str().unwrap().to_owned();
    let public = openssl(&["pkey", "-in", &private, "-passin", "pass:pw", "-pubout"]).unwrap();
    assert_eq!(
        String::from_utf8(public.stdout).unwrap().trim(),
        fs::read_to_string(keys.join("flavor-public.key")).unwrap().trim(),
        "{}",
        String::from_utf8_lossy(&public.stderr)
    );
    for (name, how) in [("pbkdf2", &["-v2", "aes-128-cbc"][..]), ("scrypt", &["-scrypt"])] {
        let theirs = scratch.join(name);
        let plain = scratch.join("plain").to_str().unwrap().to_owned();
        assert!(openssl(&["genpkey", "-algorithm", "ed25519", "-out", &plain]).unwrap().status.success());
        let convert = ["pkcs8", "-topk8", "-in", &plain, "-passout", "pass:pw", "-out", theirs.to_str().unwrap()];
        assert!(openssl(&[&convert[..], how].concat()).unwrap().status.success());
        let mut pack = pack_small(&scratch);
        fs::set_permissions(&theirs, fs::Permissions::from_mode(0o600)).unwrap();
        pack.arg("--private-key").arg(&theirs).env("PSPF_KEY_PASSPHRASE", "pw").finish().exits(0);
    }
}

#[test]
fn without_a_key_packer_makes_one_keeps_it_and_says_so_once() {
    if common::hello().is_none() {
        return; // There is no interpreter; that test has said so.
    }
    let _heavy = common::heavy();
    let scratch = Scratch::new();
    let config = scratch.dir("config");
    let data = scratch.dir("data");
    let pack = |name: &str| {
        let package = scratch.join(name);
        let mut pack = common::packer();
        pack.arg("pack").arg("--manifest").arg(common::source_of("hello-cli")).arg("--output").arg(&package);
        pack.env("XDG_CONFIG_HOME", &config)
            .env("XDG_DATA_HOME", &data)
            .env("UV_PYTHON_INSTALL_DIR", managed_pythons());
        if let Some(python) = std::env::var_os("PSPF_TEST_PYTHON") {
            pack.arg("--python").arg(python);
        }
        let finished = pack.finish().exits(0);
        (format!("{}{}", finished.stdout(), finished.stderr()), key_of(&package))
    };
    let (first, first_key) = pack("first.psp");
    let kept: Vec<PathBuf> = [&config, &data]
        .into_iter()
        .flat_map(|root| common::snapshot(root).into_keys().map(|path| root.join(path)))
        .filter(|path| fs::read_to_string(path).is_ok_and(|text| text.contains("PRIVATE KEY")))
        .collect();
    let [private] = &*kept else { panic!("one kept private key was expected, not {kept:?}; packer said\n{first}") };
    assert_eq!(mode(private), 0o600);
    let place = private.parent().unwrap().to_str().unwrap();
    assert!(first.contains(place), "the place of the new key, {place}, was expected in\n{first}");

    let (second, second_key) = pack("second.psp");
    assert!(!second.contains(place), "it is told once only, but the second time packer said\n{second}");
    assert_eq!(first_key, second_key);
}

/// About to pack a script, in a session without a terminal.
fn pack_small(scratch: &Scratch) -> Command {
    let files = [("bin/app", "#!/bin/sh\necho started\n"), ("app.toml", SMALL)];
    common::write_files(&scratch.join("small"), &files);
    let mut pack = Command::new("setsid");
    pack.arg("--wait").arg(common::packer().get_program()).arg("pack").arg("--manifest");
    pack.arg(scratch.join("small/app.toml")).arg("--output").arg(scratch.join("small.psp"));
    pack.env("PSPF_CACHE_DIR", scratch.join("build"));
    pack
}

const SMALL: &str = r#"
[package]
name = "small"
version = "1.0"
[execution]
command = "{workenv}/bin/app"
[[slots]]
id = "app"
source = "bin/app"
target = "bin/app"
permissions = "0755"
"#;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The public key in the index.
fn key_of(package: &Path) -> Vec<u8> {
    let bytes = fs::read(package).unwrap();
    bytes[bytes.len() - 8196 + 64..][..32].to_vec()
}

/// Where uv keeps interpreters, so that a changed XDG_DATA_HOME does not hide them.
fn managed_pythons() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    variable("UV_PYTHON_INSTALL_DIR")
        .or_else(|| variable("XDG_DATA_HOME").map(|data| data.join("uv/python")))
        .or_else(|| variable("HOME").map(|home| home.join(".local/share/uv/python")))
        .unwrap_or_default()
}
