//! The signatures of Wycheproof (`tests/wycheproof`).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Algorithm, compact::Signed, jwks::KeySet};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vectors {
    number_of_tests: usize,
    test_groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    public: Option<Value>,
    private: Option<Value>,
    tests: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vector {
    tc_id: u32,
    comment: String,
    jws: Value,
    result: String,
}

/// Returns true if a signature is accepted under the key of its group.
fn is_verified(group: &Group, jws: &str) -> bool {
    let Ok(signed) = Signed::parse(jws) else {
        return false;
    };
    let Some(algorithm) = Algorithm::from_name(&signed.header.alg) else {
        return false;
    };
    let key = group.public.as_ref().or(group.private.as_ref()).unwrap();
    if key["kty"] == "oct" {
        let secret = URL_SAFE_NO_PAD.decode(key["k"].as_str().unwrap()).unwrap();
        let is_hmac = algorithm == Algorithm::Hs256;
        return is_hmac
            && algorithm.verifies(&DecodingKey::from_secret(&secret), signed.message, signed.signature);
    }
    let keys = json!({"keys": [key]}).to_string();
    let keys = KeySet::parse(keys.as_bytes(), &[Algorithm::Rs256, Algorithm::Es256]).unwrap();
    algorithm != Algorithm::Hs256
        && keys.verify(signed.header.kid.as_deref(), algorithm, signed.message, signed.signature).is_ok()
}

/// Vectors whose result does not fit their text, and ours: 367 and 370 lost their padding and are, byte for byte, the valid 357;
/// 372 and 373 have a `?` in a part, which is not in the alphabet of base64url (RFC 7515, section 2).
const MISLABELLED: [(u32, bool); 4] = [(367, true), (370, true), (372, false), (373, false)];

#[test]
fn the_vectors_are_judged_as_they_say() {
    let text = include_str!("../../tests/wycheproof/json_web_signature_test.json");
    let vectors: Vectors = serde_json::from_str(text).unwrap();
    let (mut tests, mut accepted) = (0, 0);
    for group in &vectors.test_groups {
        let key = group.public.as_ref().or(group.private.as_ref()).unwrap();
        let is_supported = ["HS256", "RS256", "ES256"].map(Value::from).contains(&key["alg"]);
        for vector in &group.tests {
            tests += 1;
            // The other form of a signature, with members of JSON, is no token.
            let jws = vector.jws.as_str().unwrap_or_default();
            let is_accepted = is_verified(group, jws);
            accepted += usize::from(is_accepted);
            let labelled = vector.result == "valid" && is_supported && vector.jws.is_string();
            let mislabelled = MISLABELLED.iter().find(|(id, _)| *id == vector.tc_id);
            let expected = mislabelled.map_or(labelled, |(_, ours)| *ours);
            assert_eq!(is_accepted, expected, "{}: {}", vector.tc_id, vector.comment);
        }
    }
    assert_eq!((tests, accepted), (vectors.number_of_tests, 20));
}
