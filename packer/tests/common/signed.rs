//! Packages of one small script whose claims a test chooses, and the user who starts them.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use pspf_core::build::{Builder, Slot};
use pspf_core::claims::Succession;
use pspf_core::json::Value;
use pspf_core::sign::{KeyId, KeyOrigin, SecretKey};

use super::package::packer;
use super::scratch::Scratch;

/// What is signed. The script prints `started` and its release.
pub struct Signed {
    /// The key's seed.
    pub key: &'static str,
    pub origin: KeyOrigin,
    pub app_id: Option<&'static str>,
    pub release: u64,
    pub lineage: Vec<Succession>,
    pub policy: Option<Value<'static>>,
    /// Seconds since 1970.
    pub built: u64,
    /// An attestation slot is in it.
    pub attested: bool,
}

impl Signed {
    /// The first release of an application, by a key that was given.
    pub fn by(key: &'static str) -> Self {
        Self {
            key,
            origin: KeyOrigin::Given,
            app_id: Some("dev.example/app"),
            release: 1,
            lineage: Vec::new(),
            policy: None,
            built: 0,
            attested: false,
        }
    }

    /// Writes the package.
    pub fn write(self, path: &Path) -> PathBuf {
        // As packer chooses it.
        let needs_all = self.origin == KeyOrigin::Given || self.policy.is_some();
        let launcher = packer::launchers::built_in_for(needs_all).expect("a launcher for this platform");
        let script = format!("echo started {}\n", self.release);
        let mut document = vec![
            ("package", Value::object([("name", "app".into()), ("version", "1.0".into())])),
            ("execution", Value::object([("command", "/bin/sh {workenv}/app/script".into())])),
        ];
        document.extend(self.policy.map(|policy| ("policy", policy)));
        let mut builder = Builder::new(Value::object(document), &launcher)
            .expect("a document")
            .app_id(self.app_id.map(str::to_owned), self.release)
            .build_timestamp(self.built)
            .lineage(self.lineage)
            .slot(Slot::raw("script", "app/script", &script.as_bytes()).expect("a slot"));
        let mut slots: Vec<&dyn pspf_core::Source> = Vec::new();
        let (script, attestation) = (script.as_bytes(), &b"{}"[..]);
        slots.push(&script);
        if self.attested {
            let mut slot = Slot::raw("attestation", "attestation.json", &attestation).expect("a slot");
            slot.lifecycle = pspf_core::metadata::Lifecycle::Attestation;
            builder = builder.slot(slot);
            slots.push(&attestation);
        }
        let head = builder.sign(&SecretKey::from_seed_text(self.key), self.origin).expect("a head");
        let made = path.with_extension("made");
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o755).open(&made).expect("a file");
        head.write(&launcher, &slots, &mut file).expect("a package");
        // Another file, as the one that is there may be running; and copied by a process of its own: what this one has open for
        // writing, a program that another test starts at this moment has, too, and then the package may not start (ETXTBSY).
        let copied = Command::new("cp").args(["--remove-destination", "--preserve=mode"]).args([&made, path]).status();
        assert!(copied.is_ok_and(|status| status.success()), "{} cannot be copied", made.display());
        fs::remove_file(made).expect("a file to remove");
        path.to_path_buf()
    }
}

/// The id of the key with this seed.
pub fn key_id(key: &str) -> String {
    KeyId::of(&SecretKey::from_seed_text(key).public_key()).to_string()
}

/// `from` vouches for `to`, by the bytes that docs/format.md section 5.7 has.
pub fn succession(from: &str, to: &str, app_id: &str) -> Succession {
    let (from, to) = (SecretKey::from_seed_text(from), SecretKey::from_seed_text(to));
    let (from_public_key, to_public_key) = (from.public_key(), to.public_key());
    let message = [b"PSPF/2025 lineage v1\0", &from_public_key[..], &to_public_key, app_id.as_bytes()].concat();
    let signature_by_from = from.sign(&message);
    Succession { from_public_key, to_public_key, app_id: app_id.to_owned(), signature_by_from }
}

/// Somebody with a home directory of his own.
pub struct User {
    pub scratch: Scratch,
}

impl User {
    pub fn new() -> Self {
        let user = Self { scratch: Scratch::new() };
        user.scratch.dir("config");
        user
    }

    /// `packer` as this user starts it.
    pub fn packer(&self, args: &[&str]) -> Command {
        let mut command = packer();
        command.args(args).env("XDG_CONFIG_HOME", self.scratch.join("config"));
        command.env("PSPF_CACHE_DIR", self.scratch.join("cache")).env_remove("PSPF_SEED").env_remove("FLAVOR_SEED");
        command
    }

    /// A package that this user starts by itself.
    pub fn start(&self, package: &Path) -> Command {
        let mut command = Command::new(package);
        command.env("XDG_CONFIG_HOME", self.scratch.join("config")).env("PSPF_CACHE_DIR", self.scratch.join("cache"));
        command
    }

    /// The directory in which he says whom to trust.
    pub fn config(&self) -> PathBuf {
        self.scratch.join("config/pspf")
    }

    /// Writes his policy.
    pub fn demands(&self, policy: &str) {
        fs::create_dir_all(self.config()).expect("a directory");
        fs::write(self.config().join("policy.json"), policy).expect("a policy");
    }

    /// `packer` on a machine whose administrator has put these files into /etc/pspf: (name, content). Another /etc is
    /// mounted for this process alone. `None`: skipped.
    pub fn packer_below(&self, system: &[(&str, &str)], args: &[&str]) -> Option<Command> {
        self.below(system, &self.packer(args))
    }

    /// The same for any command.
    pub fn below(&self, system: &[(&str, &str)], own: &Command) -> Option<Command> {
        const SCRIPT: &str = r#"
            from=$1; shift
            mount -t tmpfs -o mode=755 tmpfs /etc && mkdir /etc/pspf && cp "$from"/* /etc/pspf || exit 71
            exec "$@""#;
        let wrapped = |program: &Path| {
            let mut command = Command::new("unshare");
            command.arg("--mount");
            if !super::is_root() {
                command.arg("--map-root-user");
            }
            command.args(["sh", "-c", SCRIPT, "sh"]).arg(self.scratch.dir("etc")).arg(program);
            command
        };
        for (name, content) in system {
            fs::write(self.scratch.dir("etc").join(name), content).expect("a file");
        }
        use super::process::Finish as _;
        let trial = wrapped(Path::new("true")).finish();
        super::require(match trial.code() {
            Some(0) => Ok(()),
            _ => Err(format!("this machine lets no test mount another /etc: {}", trial.stderr().trim())),
        })?;
        let mut command = wrapped(Path::new(own.get_program()));
        command.args(own.get_args());
        for (name, value) in own.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Some(command)
    }
}
