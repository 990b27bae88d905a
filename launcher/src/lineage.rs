//! Succession of keys: an older key vouches for a newer one (docs/format.md section 5.7).

use alloc::vec::Vec;

use pspf_core::claims::Succession;
use pspf_core::sign::{self, KeyId};

/// What the signature of a succession is made over begins so. No JSON document does, so that the signature of a package is
/// never one of a succession.
pub const DOMAIN: &[u8] = b"PSPF/2025 lineage v1\0";

/// As many as are looked at: a key for every year of a long life.
pub const LONGEST: usize = 64;

/// The bytes that the older key signs: [`DOMAIN`], both public keys, the application's id.
pub fn message(succession: &Succession) -> Vec<u8> {
    [DOMAIN, &succession.from_public_key, &succession.to_public_key, succession.app_id.as_bytes()].concat()
}

/// The ids of the keys from a known one to `newest`, that one included, when each vouches for the next and all of them for
/// this application. `None` when there is no such chain, or a link of it is not what it says.
pub fn chain(
    lineage: &[Succession],
    app_id: &str,
    newest: &[u8; 32],
    is_known: &dyn Fn(KeyId) -> bool,
) -> Option<Vec<KeyId>> {
    if lineage.len() > LONGEST || lineage.last()?.to_public_key != *newest {
        return None;
    }
    let contiguous = lineage.windows(2).all(|pair| pair[0].to_public_key == pair[1].from_public_key);
    let start = lineage.iter().rposition(|link| is_known(KeyId::of(&link.from_public_key)))?;
    let links = &lineage[start..];
    let holds = |link: &Succession| {
        link.app_id == app_id && sign::verify(&link.from_public_key, &link.signature_by_from, &message(link)).is_ok()
    };
    if !contiguous || !links.iter().all(holds) {
        return None;
    }
    let first = KeyId::of(&links[0].from_public_key);
    Some(core::iter::once(first).chain(links.iter().map(|link| KeyId::of(&link.to_public_key))).collect())
}

#[cfg(test)]
mod tests {
    use pspf_core::sign::SecretKey;

    use super::*;

    fn key(name: &str) -> SecretKey {
        SecretKey::from_seed_text(name)
    }

    fn link(from: &str, to: &str, app_id: &str) -> Succession {
        let mut link = Succession {
            from_public_key: key(from).public_key(),
            to_public_key: key(to).public_key(),
            app_id: app_id.into(),
            signature_by_from: [0; 64],
        };
        link.signature_by_from = key(from).sign(&message(&link));
        link
    }

    fn reaches(lineage: &[Succession], known: &str, newest: &str) -> bool {
        let known = KeyId::of(&key(known).public_key());
        chain(lineage, "app", &key(newest).public_key(), &|id| id == known).is_some()
    }

    #[test]
    fn a_chain_leads_from_any_known_key_in_it_to_the_newest() {
        let lineage = [link("a", "b", "app"), link("b", "c", "app")];
        assert!(reaches(&lineage, "a", "c"));
        assert!(reaches(&lineage, "b", "c"));
        assert!(!reaches(&lineage, "x", "c"));
        assert!(!reaches(&lineage, "a", "b"), "b is not the newest of this chain");
    }

    #[test]
    fn a_chain_with_a_gap_another_application_or_another_signature_leads_nowhere() {
        assert!(!reaches(&[link("a", "b", "app"), link("x", "c", "app")], "a", "c"));
        assert!(!reaches(&[link("a", "b", "other"), link("b", "c", "app")], "a", "c"));
        let mut forged = link("a", "b", "app");
        forged.signature_by_from = key("b").sign(&message(&forged));
        assert!(!reaches(&[forged.clone()], "a", "b"));
        forged.signature_by_from = key("a").sign(&message(&forged)[DOMAIN.len()..]);
        assert!(!reaches(&[forged], "a", "b"), "the domain is part of what is signed");
    }
}
