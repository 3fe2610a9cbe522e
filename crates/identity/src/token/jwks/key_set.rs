//! A set of public keys (RFC 7517), each bound to one algorithm.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::{
    signing_keys,
    token::{Algorithm, TokenError},
};

/// Most keys of a set that are used; the rest is passed over. Real sets have two or three.
pub const JWKS_KEYS_MAX: usize = 64;

/// Bytes of a coordinate on P-256.
const P256_BYTES: usize = 32;

/// The usable keys of a set, in the order they were published.
pub(crate) struct KeySet {
    keys: Vec<PublicKey>,
    /// SHA-256 of what was published.
    digest: [u8; 32],
}

struct PublicKey {
    kid: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl KeySet {
    /// Reads a set. Keys that are not for verifying signatures by one of `algorithms` are passed over, and so are keys of
    /// unknown type or form: an issuer may publish what we do not understand.
    pub(crate) fn parse(json: &[u8], algorithms: &[Algorithm]) -> Result<Self, serde_json::Error> {
        let document: Document<'_> = serde_json::from_slice(json)?;
        let keys = document
            .keys
            .into_iter()
            .filter_map(|member| PublicKey::parse(member.get()))
            .filter(|key| algorithms.contains(&key.algorithm))
            .take(JWKS_KEYS_MAX)
            .collect();
        Ok(Self { keys, digest: Sha256::digest(json).into() })
    }

    /// The keys of this service.
    pub(crate) fn own(keys: Vec<signing_keys::PublicKey>) -> Self {
        let texts: Vec<&str> = keys.iter().flat_map(|key| [key.kid.as_str(), key.x.as_str()]).collect();
        let digest = Sha256::digest(texts.join(" ")).into();
        let keys = keys.into_iter().filter_map(|key| {
            let public = DecodingKey::from_ed_components(&key.x).ok()?;
            Some(PublicKey { kid: Some(key.kid), algorithm: Algorithm::EdDsa, key: public })
        });
        Self { keys: keys.collect(), digest }
    }

    /// Returns true if the same was published.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// Returns the number of keys that can be used.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Verifies a signature by the key named `kid`, or without a `kid` by the only key there is.
    ///
    /// Several keys may share a `kid` (RFC 7517, section 4.5): any of them that fits the algorithm will do.
    pub(crate) fn verify(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        message: &str,
        signature: &str,
    ) -> Result<(), TokenError> {
        let named = || {
            self.keys.iter().filter(|key| match kid {
                Some(kid) => key.kid.as_deref() == Some(kid),
                None => self.keys.len() == 1,
            })
        };
        let mut fitting = named().filter(|key| key.algorithm == algorithm).peekable();
        if fitting.peek().is_none() {
            return Err(match named().next() {
                Some(_) => TokenError::Algorithm,
                None => TokenError::UnknownKey,
            });
        }
        if fitting.any(|key| algorithm.verifies(&key.key, message, signature)) {
            Ok(())
        } else {
            Err(TokenError::Signature)
        }
    }
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Member {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl PublicKey {
    fn parse(json: &str) -> Option<Self> {
        let member: Member = serde_json::from_str(json).ok()?;
        if !member.is_for_signatures() {
            return None;
        }
        let (algorithm, key) = match member.kty.as_str() {
            "RSA" => (Algorithm::Rs256, member.rsa()?),
            "EC" => (Algorithm::Es256, member.p256()?),
            _ => return None,
        };
        // A key that says what it is for is for nothing else; the type of the key gives the rest.
        let named = member.alg.as_deref().map(Algorithm::from_name);
        if named.is_some_and(|named| named != Some(algorithm)) {
            return None;
        }
        Some(Self { kid: member.kid, algorithm, key })
    }
}

impl Member {
    fn is_for_signatures(&self) -> bool {
        let usage_fits = self.usage.as_deref().is_none_or(|usage| usage == "sig");
        let operations_fit = self
            .key_ops
            .as_ref()
            .is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        usage_fits && operations_fit
    }

    fn rsa(&self) -> Option<DecodingKey> {
        DecodingKey::from_rsa_components(self.n.as_deref()?, self.e.as_deref()?).ok()
    }

    fn p256(&self) -> Option<DecodingKey> {
        let (x, y) = (self.x.as_deref()?, self.y.as_deref()?);
        let is_coordinate =
            |text: &str| URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == P256_BYTES);
        if self.crv.as_deref() != Some("P-256") || !is_coordinate(x) || !is_coordinate(y) {
            return None;
        }
        DecodingKey::from_ec_components(x, y).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[Algorithm] = &[Algorithm::Rs256, Algorithm::Es256];
    const X: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn usable(members: &str, algorithms: &[Algorithm]) -> usize {
        KeySet::parse(format!(r#"{{"keys":[{members}]}}"#).as_bytes(), algorithms).unwrap().len()
    }

    fn error(members: &str, kid: Option<&str>, algorithm: Algorithm) -> TokenError {
        KeySet::parse(format!(r#"{{"keys":[{members}]}}"#).as_bytes(), ALL)
            .unwrap()
            .verify(kid, algorithm, "a.b", "AAAA")
            .unwrap_err()
    }

    #[test]
    fn usable_keys_are_taken() {
        for member in [
            r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#.to_owned(),
            r#"{"kty":"RSA","use":"sig","alg":"RS256","kid":"1","n":"AQAB","e":"AQAB","x5c":["x"]}"#
                .to_owned(),
            format!(r#"{{"kty":"EC","crv":"P-256","key_ops":["verify"],"ext":true,"x":"{X}","y":"{X}"}}"#),
        ] {
            assert_eq!(usable(&member, ALL), 1, "{member}");
        }
    }

    #[test]
    fn other_keys_are_passed_over_and_the_rest_of_the_set_is_kept() {
        let good = r#"{"kty":"RSA","kid":"good","n":"AQAB","e":"AQAB"}"#;
        for member in [
            r#"{"kty":"RSA","use":"enc","n":"AQAB","e":"AQAB"}"#.to_owned(),
            r#"{"kty":"RSA","key_ops":["encrypt"],"n":"AQAB","e":"AQAB"}"#.to_owned(),
            r#"{"kty":"RSA","alg":"RS512","n":"AQAB","e":"AQAB"}"#.to_owned(),
            r#"{"kty":"RSA","alg":"HS256","n":"AQAB","e":"AQAB"}"#.to_owned(),
            r#"{"kty":"RSA","alg":"ES256","n":"AQAB","e":"AQAB"}"#.to_owned(),
            r#"{"kty":"RSA","e":"AQAB"}"#.to_owned(),
            r#"{"kty":"RSA","n":"not base64!","e":"AQAB"}"#.to_owned(),
            r#"{"kty":"oct","k":"c2VjcmV0"}"#.to_owned(),
            r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA"}"#.to_owned(),
            r#"{"kty":"NEW","thing":1}"#.to_owned(),
            format!(r#"{{"kty":"EC","crv":"P-384","x":"{X}","y":"{X}"}}"#),
            format!(r#"{{"kty":"EC","crv":"P-256","x":"{X}","y":"AAAA"}}"#),
            r#"{"kid":"no type"}"#.to_owned(),
            r#"{"kty":5}"#.to_owned(),
            "5".to_owned(),
            "null".to_owned(),
        ] {
            assert_eq!(usable(&format!("{member},{good}"), ALL), 1, "{member}");
        }
    }

    #[test]
    fn keys_of_algorithms_that_the_issuer_does_not_use_are_passed_over() {
        let rsa = r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#;
        assert_eq!(usable(rsa, &[Algorithm::Es256]), 0);
        assert_eq!(usable(rsa, &[Algorithm::Hs256]), 0);
        assert_eq!(usable(&vec![rsa; JWKS_KEYS_MAX + 1].join(","), ALL), JWKS_KEYS_MAX);
    }

    #[test]
    fn what_is_no_set_is_an_error() {
        for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":null}"#, "<html>"] {
            assert!(KeySet::parse(text.as_bytes(), ALL).is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_is_found_by_its_name_or_by_being_alone() {
        let (one, two) = (
            r#"{"kty":"RSA","kid":"1","n":"AQAB","e":"AQAB"}"#,
            format!(r#"{{"kty":"EC","kid":"2","crv":"P-256","x":"{X}","y":"{X}"}}"#),
        );
        let both = format!("{one},{two}");
        assert_eq!(error(&both, Some("1"), Algorithm::Rs256), TokenError::Signature);
        assert_eq!(error(&both, Some("1"), Algorithm::Es256), TokenError::Algorithm);
        assert_eq!(error(&both, Some("3"), Algorithm::Rs256), TokenError::UnknownKey);
        assert_eq!(error(&both, None, Algorithm::Rs256), TokenError::UnknownKey);
        assert_eq!(error(one, None, Algorithm::Rs256), TokenError::Signature);
        assert_eq!(error("", None, Algorithm::Rs256), TokenError::UnknownKey);
    }
}
