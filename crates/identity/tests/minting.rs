//! Tokens as issuers, and those who pretend to be issuers, make them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto, jwk::Jwk};
use serde_json::{Value, json};

/// A private key with the name under which its public half is published.
pub struct Signer {
    pub kid: &'static str,
    pub algorithm: Algorithm,
    pub key: EncodingKey,
}

impl Signer {
    pub fn rsa_first() -> Self {
        Self::rsa("rsa-1", include_bytes!("keys/rsa_first.pem"))
    }

    pub fn rsa_second() -> Self {
        Self::rsa("rsa-2", include_bytes!("keys/rsa_second.pem"))
    }

    pub fn ec_first() -> Self {
        Self::ec("ec-1", include_bytes!("keys/ec_first.pem"))
    }

    pub fn ec_second() -> Self {
        Self::ec("ec-2", include_bytes!("keys/ec_second.pem"))
    }

    pub fn secret(secret: &str) -> Self {
        Self {
            kid: "secret",
            algorithm: Algorithm::HS256,
            key: EncodingKey::from_secret(secret.as_bytes()),
        }
    }

    pub fn named(mut self, kid: &'static str) -> Self {
        self.kid = kid;
        self
    }

    /// The header an honest issuer writes.
    pub fn header(&self) -> Value {
        json!({"alg": self.algorithm, "typ": "JWT", "kid": self.kid})
    }

    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&self.header(), claims)
    }

    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        self.token_of_texts(&header.to_string(), &claims.to_string())
    }

    pub fn token_of_texts(&self, header: &str, claims: &str) -> String {
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = crypto::sign(message.as_bytes(), &self.key, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }

    /// The public half, as a key set lists it.
    pub fn public(&self) -> Value {
        let mut key =
            serde_json::to_value(Jwk::from_encoding_key(&self.key, self.algorithm).unwrap()).unwrap();
        key["kid"] = self.kid.into();
        key["use"] = "sig".into();
        key
    }

    fn rsa(kid: &'static str, pem: &[u8]) -> Self {
        Self {
            kid,
            algorithm: Algorithm::RS256,
            key: EncodingKey::from_rsa_pem(pem).unwrap(),
        }
    }

    fn ec(kid: &'static str, pem: &[u8]) -> Self {
        Self {
            kid,
            algorithm: Algorithm::ES256,
            key: EncodingKey::from_ec_pem(pem).unwrap(),
        }
    }
}

/// A key set with the public halves of these keys.
pub fn key_set(signers: &[&Signer]) -> String {
    json!({"keys": signers.iter().map(|signer| signer.public()).collect::<Vec<_>>()}).to_string()
}

/// These claims with one more, or another value of one.
pub fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

/// These claims without one.
pub fn without(claims: &Value, name: &str) -> Value {
    let mut claims = claims.clone();
    claims.as_object_mut().unwrap().remove(name).unwrap();
    claims
}
