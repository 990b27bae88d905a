//! Signing keys on disk: PKCS#8 and SubjectPublicKeyInfo in PEM, as FlavorPack and OpenSSL write them. A private key may be
//! encrypted with a passphrase (PBES2 of RFC 8018).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ed25519_compact::{KeyPair, PublicKey, Seed};
use pkcs8::der::zeroize::Zeroizing;
use pkcs8::pkcs5::pbes2::Parameters;
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument};
use pspf_core::sign::{KeyId, KeyOrigin, SecretKey};

use crate::error::{Error, Kind, Result};
use crate::passphrase::{Asked, Passphrase, VARIABLE};
use crate::places;
use crate::progress::Progress;

/// The file with the private key in a directory of keys.
pub const PRIVATE: &str = "flavor-private.key";
/// The file with the public key in a directory of keys.
pub const PUBLIC: &str = "flavor-public.key";

/// The label of an encrypted key in PEM (RFC 7468, section 11).
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
/// Rounds of PBKDF2 with HMAC-SHA-256: what OWASP asks for since 2023.
const ROUNDS: u32 = 600_000;

/// Which key signs a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The one that packer made for this user, or makes now.
    Automatic,
    /// The one in a file, which has to belong to the public key in another, where that is given.
    Files {
        /// A PKCS#8 PEM file.
        private: PathBuf,
        /// An SPKI PEM file.
        public: Option<PathBuf>,
    },
    /// One that is derived from a text. Whoever knows the text can sign.
    Seed(String),
}

/// A key that is ready to sign.
#[derive(Debug)]
pub struct SigningKey {
    /// The key.
    pub secret: SecretKey,
    /// How it came to be.
    pub origin: KeyOrigin,
}

/// Loads or makes the chosen key.
pub fn load(choice: &Choice, progress: &dyn Progress) -> Result<SigningKey> {
    match choice {
        Choice::Automatic => automatic(progress),
        Choice::Files { private, public } => {
            let secret = read_private(private)?;
            if let Some(public) = public {
                let expected = read_public(public)?;
                if expected != secret.public_key() {
                    return Err(Error::new(Kind::Configuration, "the public key does not belong to the private key")
                        .file(public)
                        .expected(format!("key {}", KeyId::of(&secret.public_key())))
                        .found(format!("key {}", KeyId::of(&expected)))
                        .hint("leave --public-key out, or give the file that was made with the private key"));
                }
            }
            Ok(SigningKey { secret, origin: KeyOrigin::Given })
        }
        Choice::Seed(seed) if seed.is_empty() => {
            Err(Error::new(Kind::Arguments, "the key seed is empty").hint("give any other text, or leave it out"))
        }
        Choice::Seed(seed) => {
            progress.note("the key comes from a seed: whoever knows the text can sign in your name");
            Ok(SigningKey { secret: SecretKey::from_seed_text(seed), origin: KeyOrigin::Seed })
        }
    }
}

/// Makes a new pair of keys in `directory`, which is made where it is missing. Never overwrites one. With a passphrase the
/// private key is encrypted: PBKDF2 with HMAC-SHA-256 and AES-256-CBC, which OpenSSL reads.
pub fn generate(directory: &Path, passphrase: Option<&Passphrase>) -> Result<KeyId> {
    let private = directory.join(PRIVATE);
    let public = directory.join(PUBLIC);
    for path in [&private, &public] {
        if path.exists() {
            return Err(Error::new(Kind::Io, "there is a key already, and it is not overwritten")
                .file(path)
                .hint("choose another --out-dir, or move the old key away first"));
        }
    }
    fs::create_dir_all(directory).map_err(|error| Error::io("cannot create the directory", directory, &error))?;
    let pair = KeyPair::from_seed(Seed::generate());
    let text = match passphrase {
        Some(passphrase) => encrypted(&pair, passphrase)?,
        None => Zeroizing::new(pair.sk.to_pem()),
    };
    write(&private, &text, 0o600)?;
    if let Err(error) = write(&public, &pair.pk.to_pem(), 0o644) {
        // Half a pair would only be in the way of the next attempt.
        let _ = fs::remove_file(&private);
        return Err(error);
    }
    Ok(KeyId::of(&pair.pk))
}

fn automatic(progress: &dyn Progress) -> Result<SigningKey> {
    let directory = places::keys()?;
    let private = directory.join(PRIVATE);
    if !private.exists() {
        // Where it says who is trusted as well, nobody else may write, whatever the umask is.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|error| Error::io("cannot create the directory", &directory, &error))?;
        match generate(&directory, None) {
            Ok(id) => progress.note(&format!(
                "made a signing key for you: {id}, kept in {} (packer keygen and --private-key give you one to share)",
                directory.display()
            )),
            // Another packer was faster; its key is as good.
            Err(_) if private.exists() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(SigningKey { secret: read_private(&private)?, origin: KeyOrigin::Auto })
}

fn read_private(path: &Path) -> Result<SecretKey> {
    let file = File::open(path).map_err(|error| Error::io("cannot read the private key", path, &error))?;
    let metadata = file.metadata().map_err(|error| Error::io("cannot read the private key", path, &error))?;
    let mut text = Zeroizing::new(String::new());
    match file.take(64 << 10).read_to_string(&mut text) {
        // Not text, so no key either.
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {}
        read => drop(read.map_err(|error| Error::io("cannot read the private key", path, &error))?),
    }
    let no_key = || {
        let new = Error::new(Kind::Configuration, "this is not an Ed25519 private key")
            .file(path)
            .expected("PKCS#8 in PEM, -----BEGIN PRIVATE KEY----- or -----BEGIN ENCRYPTED PRIVATE KEY-----");
        match text.contains("BEGIN PUBLIC KEY") {
            true => new.found("a public key").hint("name the private one; keygen calls it flavor-private.key"),
            false => new.hint("make one with: packer keygen --out-dir DIRECTORY"),
        }
    };
    // What is no key may be read by everybody.
    if !text.contains("PRIVATE KEY") {
        return Err(no_key());
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::new(Kind::Configuration, "others can read the private key, so it is not used")
            .file(path)
            .expected("mode 0600")
            .found(format!("mode {mode:04o}"))
            .hint(format!("chmod 600 {}", path.display())));
    }
    let pair = if text.contains(ENCRYPTED) {
        let (label, document) = SecretDocument::from_pem(&text).map_err(|_| no_key())?;
        let info = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| no_key())?;
        if label != ENCRYPTED {
            return Err(no_key());
        }
        let passphrase = Passphrase::find(Asked::Once)?;
        let decrypted = info.decrypt(passphrase.as_bytes()).map_err(|_| {
            Error::new(Kind::Configuration, "the passphrase does not open the private key")
                .file(path)
                .hint(format!("give the one that the key was made with: {VARIABLE}, or type it at a terminal"))
        })?;
        KeyPair::from_der(decrypted.as_bytes())
    } else {
        KeyPair::from_pem(&text)
    };
    Ok(SecretKey::from_bytes(*pair.map_err(|_| no_key())?.sk.seed()))
}

fn encrypted(pair: &KeyPair, passphrase: &Passphrase) -> Result<Zeroizing<String>> {
    let random = Seed::generate();
    let (salt, iv) = random.split_at(16);
    let encrypted = || {
        let parameters = Parameters::generate_pbkdf2_sha256_aes256cbc(ROUNDS, salt, iv.try_into().ok()?).ok()?;
        let der = Zeroizing::new(pair.sk.to_der());
        let info = PrivateKeyInfoRef::try_from(der.as_slice()).ok()?;
        let document = info.encrypt_with_params(parameters, passphrase.as_bytes()).ok()?;
        document.to_pem(ENCRYPTED, LineEnding::LF).ok()
    };
    encrypted().ok_or_else(|| {
        Error::new(Kind::Configuration, "the private key cannot be encrypted").hint("choose another passphrase")
    })
}

/// The public key in an SPKI PEM file.
pub fn read_public(path: &Path) -> Result<[u8; 32]> {
    let text = fs::read(path).map_err(|error| Error::io("cannot read the public key", path, &error))?;
    let text = Zeroizing::new(String::from_utf8(text).unwrap_or_default());
    let key = PublicKey::from_pem(&text).map_err(|_| {
        let new = Error::new(Kind::Configuration, "this is not an Ed25519 public key")
            .file(path)
            .expected("SubjectPublicKeyInfo in PEM, -----BEGIN PUBLIC KEY-----");
        match text.contains("PRIVATE KEY") {
            true => new.found("a private key").hint("name the public one; keygen calls it flavor-public.key"),
            false => new.hint("make a pair with: packer keygen --out-dir DIRECTORY"),
        }
    })?;
    Ok(*key)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let failed = |error| Error::io("cannot write the key", path, &error);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn a_generated_key_signs_and_its_pair_is_checked() {
        let directory = tempfile::tempdir().unwrap();
        let id = generate(directory.path(), None).unwrap();
        let choice = |public: &str| Choice::Files {
            private: directory.path().join(PRIVATE),
            public: Some(directory.path().join(public)),
        };
        let key = load(&choice(PUBLIC), &Silent).unwrap();
        assert_eq!(KeyId::of(&key.secret.public_key()), id);
        fs::write(directory.path().join("other"), KeyPair::from_seed(Seed::new([7; 32])).pk.to_pem()).unwrap();
        assert!(load(&choice("other"), &Silent).unwrap_err().to_string().contains("does not belong"));
    }

    #[test]
    fn a_private_key_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        generate(directory.path(), None).unwrap();
        let private = directory.path().join(PRIVATE);
        fs::set_permissions(&private, fs::Permissions::from_mode(0o640)).unwrap();
        let error = load(&Choice::Files { private, public: None }, &Silent).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}
