//! JSON, and the document that is made of it.

use pspf_core::claims;
use pspf_core::json::{self, Value};
use pspf_core::metadata::Metadata;
use pspf_core::placement;

pub(super) fn metadata(input: &[u8]) -> bool {
    let Ok(document) = json::parse(input) else { return false };
    let Ok(metadata) = Metadata::read(&document) else { return false };
    // Nothing is left to chance between a document and its text.
    let again = document.to_text();
    assert_eq!(Metadata::read(&json::parse(again.as_bytes()).unwrap()).as_ref(), Ok(&metadata));
    assert_eq!(placement::of(&metadata).len(), metadata.slots.len());
    assert_eq!(placement::of_foreign(&metadata).len(), metadata.slots.len());
    metadata.written_paths().for_each(drop);

    let Some(claims) = metadata.claims.v1() else { return true };
    let mut document = document.into_owned();
    *claims_in(&mut document).expect("claims were read") = claims.to_value();
    let read = Metadata::read(&document).expect("claims that were read are claims when they are written");
    assert_eq!(read.claims.v1(), Some(claims));
    true
}

/// The claims of a document.
fn claims_in<'d>(document: &'d mut Value<'static>) -> Option<&'d mut Value<'static>> {
    member(member(document, "extensions")?, claims::KEY)
}

fn member<'d>(value: &'d mut Value<'static>, key: &str) -> Option<&'d mut Value<'static>> {
    match value {
        Value::Object(members) => members.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value),
        _ => None,
    }
}

pub(super) fn json_differential(input: &[u8]) -> bool {
    let Ok(ours) = json::parse(input) else { return false };
    let theirs: serde_json::Value = serde_json::from_slice(input).expect("serde_json refuses what we accept");
    assert_same(&ours, &theirs);
    for text in [ours.to_text(), ours.to_sorted_text()] {
        let again: serde_json::Value = serde_json::from_str(&text).expect("serde_json refuses what we write");
        assert_eq!(again, theirs, "what we write means something else");
    }
    assert_eq!(json::parse(ours.to_text().as_bytes()).as_ref(), Ok(&ours), "we read otherwise what we write");
    true
}

fn assert_same(ours: &Value<'_>, theirs: &serde_json::Value) {
    match (ours, theirs) {
        (Value::Null, serde_json::Value::Null) => {}
        (Value::Bool(ours), serde_json::Value::Bool(theirs)) => assert_eq!(ours, theirs),
        (Value::Unsigned(ours), serde_json::Value::Number(theirs)) => assert_eq!(Some(*ours), theirs.as_u64()),
        // serde_json takes -0 for a floating-point number, which equals ours.
        (Value::Negative(0), serde_json::Value::Number(theirs)) => assert_eq!(theirs.as_f64(), Some(0.0)),
        (Value::Negative(ours), serde_json::Value::Number(theirs)) => assert_eq!(Some(*ours), theirs.as_i64()),
        (Value::Decimal(ours), serde_json::Value::Number(theirs)) => {
            let (ours, theirs): (f64, f64) = (ours.parse().unwrap(), theirs.as_f64().unwrap());
            // serde_json may be off by the last bit without its feature `float_roundtrip`.
            assert!((ours - theirs).abs() <= ours.abs() * 1e-14, "{ours} and {theirs}");
        }
        (Value::String(ours), serde_json::Value::String(theirs)) => assert_eq!(ours, theirs),
        (Value::Array(ours), serde_json::Value::Array(theirs)) => {
            assert_eq!(ours.len(), theirs.len());
            ours.iter().zip(theirs).for_each(|(ours, theirs)| assert_same(ours, theirs));
        }
        (Value::Object(ours), serde_json::Value::Object(theirs)) => {
            assert_eq!(ours.len(), theirs.len());
            ours.iter().for_each(|(key, ours)| assert_same(ours, theirs.get(key.as_ref()).expect("the same keys")));
        }
        _ => panic!("{ours:?} and {theirs:?} are of two kinds"),
    }
}
