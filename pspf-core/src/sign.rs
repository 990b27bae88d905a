//! Ed25519 keys, their ids, signing and strict verification (RFC 8032).
//!
//! Verification is the cofactored one of ed25519-compact, after refusals of our own: public keys and `R`
//! values of small order or in a non-canonical encoding. With the identity point as public key one constant
//! signature is valid for any message; that package is refused here (docs/format.md section 4.1).

use core::fmt;

use ed25519_compact::{PublicKey, Signature};

use crate::digest::{Digest, Hex};
use crate::error::{Distrust, ErrorKind, Result};

/// The first 16 bytes of SHA-256 of a public key: what people compare. It picks a key, it proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 16]);

/// How the signing key came to be, as its signer says (docs/format.md section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOrigin {
    /// Somebody chose it.
    Given,
    /// packer made it for this user.
    Auto,
    /// It is derived from a text that others may know.
    Seed,
}

/// An Ed25519 private key.
#[cfg(feature = "build")]
pub struct SecretKey(ed25519_compact::KeyPair);

/// Checks that `signature` was made over `message` by `public_key`.
pub fn verify(public_key: &[u8; 32], signature: &[u8; 64], message: &[u8]) -> Result<()> {
    let key = Some(KeyId::of(public_key));
    if *signature == [0; 64] {
        return Err(ErrorKind::Untrusted { key: None, reason: Distrust::Unsigned }.into());
    }
    if !is_canonical(public_key) || has_small_order(public_key) {
        return Err(ErrorKind::Untrusted { key, reason: Distrust::WeakKey }.into());
    }
    let bad = ErrorKind::Untrusted { key, reason: Distrust::BadSignature }.into();
    let Some(r) = signature.first_chunk::<32>() else { return Err(bad) };
    if !is_canonical(r) || has_small_order(r) {
        return Err(bad);
    }
    // The library refuses S >= L itself (RFC 8032 section 5.1.7).
    PublicKey::new(*public_key).verify(message, &Signature::new(*signature)).map_err(|_| bad)
}

impl KeyId {
    /// The id of a public key.
    pub fn of(public_key: &[u8; 32]) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&Digest::of(public_key).0[..16]);
        Self(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Hex(&self.0), f)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Hex(&self.0), f)
    }
}

impl KeyOrigin {
    /// The word that the claims use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Auto => "auto",
            Self::Seed => "seed",
        }
    }

    /// Reads the word that the claims use.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Given, Self::Auto, Self::Seed].into_iter().find(|origin| origin.name() == name)
    }
}

#[cfg(feature = "build")]
impl SecretKey {
    /// The key whose RFC 8032 seed is these 32 bytes.
    ///
    /// # Panics
    ///
    /// When all of them are zero, which is no seed that anybody drew.
    pub fn from_bytes(seed: [u8; 32]) -> Self {
        Self(ed25519_compact::KeyPair::from_seed(ed25519_compact::Seed::new(seed)))
    }

    /// The key derived from a text as FlavorPack does: the seed is SHA-256 of its UTF-8 bytes.
    pub fn from_seed_text(text: &str) -> Self {
        Self::from_bytes(Digest::of(text.as_bytes()).0)
    }

    /// The 32 bytes of the RFC 8032 seed.
    pub fn to_bytes(&self) -> [u8; 32] {
        *self.0.sk.seed()
    }

    /// The public key.
    pub fn public_key(&self) -> [u8; 32] {
        *self.0.pk
    }

    /// The deterministic signature over `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        *self.0.sk.sign(message, None)
    }
}

#[cfg(feature = "build")]
impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", KeyId::of(&self.public_key()))
    }
}

/// True when the encoded y coordinate is below p = 2^255 - 19.
fn is_canonical(point: &[u8; 32]) -> bool {
    let top = point[31] & 0x7f;
    !(point[0] >= 0xed && point[1..31].iter().all(|byte| *byte == 0xff) && top == 0x7f)
}

/// True for the eight points whose order divides 8, whatever the sign bit says.
fn has_small_order(point: &[u8; 32]) -> bool {
    let mut y = *point;
    y[31] &= 0x7f;
    SMALL_ORDER.contains(&y)
}

/// The canonical y coordinates of the points of small order: of order 4, 1, 8, 8 and 2. (Non-canonical encodings
/// never get here.)
const SMALL_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    {
        let mut minus_one = [0xff; 32];
        minus_one[0] = 0xec;
        minus_one[31] = 0x7f;
        minus_one
    },
];

#[cfg(all(test, feature = "build"))]
mod tests {
    use super::*;

    #[test]
    fn a_seed_text_gives_the_key_that_flavorpack_derives() {
        let key = SecretKey::from_seed_text("abc").public_key();
        assert_eq!(std::format!("{}", Hex(&key)), "0bdf51005e5a525cc9bfb59f18070af6a8a6013106530eb8944554a5ae4c3cfa");
    }

    #[test]
    fn a_good_signature_holds_and_a_changed_message_does_not() {
        let key = SecretKey::from_seed_text("abc");
        let signature = key.sign(b"message");
        assert_eq!(verify(&key.public_key(), &signature, b"message"), Ok(()));
        assert!(verify(&key.public_key(), &signature, b"Message").is_err());
    }

    #[test]
    fn the_constant_signature_of_the_identity_point_is_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        let error = verify(&identity, &signature, b"anything").unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Untrusted { reason: Distrust::WeakKey, .. }));
    }

    #[test]
    fn keys_of_small_order_and_non_canonical_keys_are_refused_with_either_sign() {
        let mut keys = std::vec::Vec::from(SMALL_ORDER);
        for low in 0xed..=0xff {
            let mut key = [0xff; 32];
            key[0] = low;
            key[31] = 0x7f;
            keys.push(key);
        }
        for mut key in keys {
            for sign in [0, 0x80] {
                key[31] = key[31] & 0x7f | sign;
                let error = verify(&key, &[1; 64], b"x").unwrap_err();
                assert!(
                    matches!(error.kind(), ErrorKind::Untrusted { reason: Distrust::WeakKey, .. }),
                    "{}",
                    Hex(&key)
                );
            }
        }
    }

    #[test]
    fn a_signature_whose_s_was_raised_by_the_group_order_is_refused() {
        const L: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let key = SecretKey::from_seed_text("abc");
        let mut signature = key.sign(b"message");
        let mut carry = 0;
        for (byte, l) in signature[32..].iter_mut().zip(L) {
            let sum = u16::from(*byte) + u16::from(l) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        assert!(verify(&key.public_key(), &signature, b"message").is_err());
    }
}
