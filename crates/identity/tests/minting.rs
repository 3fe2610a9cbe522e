//! Tokens as issuers, and those who pretend to be issuers, make them.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto, jwk::Jwk};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};

/// A private key with the name under which its public half is published.
pub struct Signer {
    pub kid: &'static str,
    pub algorithm: Algorithm,
    pub key: EncodingKey,
}

impl Signer {
    pub fn rsa_first() -> Self {
        static PEM: LazyLock<String> = LazyLock::new(rsa_pem);
        Self::rsa("rsa-1", &PEM)
    }

    pub fn rsa_second() -> Self {
        static PEM: LazyLock<String> = LazyLock::new(rsa_pem);
        Self::rsa("rsa-2", &PEM)
    }

    pub fn ec_first() -> Self {
        static PEM: LazyLock<String> = LazyLock::new(ec_pem);
        Self::ec("ec-1", &PEM)
    }

    pub fn ec_second() -> Self {
        static PEM: LazyLock<String> = LazyLock::new(ec_pem);
        Self::ec("ec-2", &PEM)
    }

    pub fn secret(secret: &str) -> Self {
        Self { kid: "secret", algorithm: Algorithm::HS256, key: EncodingKey::from_secret(secret.as_bytes()) }
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
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
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

    fn rsa(kid: &'static str, pem: &str) -> Self {
        Self { kid, algorithm: Algorithm::RS256, key: EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap() }
    }

    fn ec(kid: &'static str, pem: &str) -> Self {
        Self { kid, algorithm: Algorithm::ES256, key: EncodingKey::from_ec_pem(pem.as_bytes()).unwrap() }
    }
}

/// A new private key. Each is made once per run, since making one takes a moment.
fn rsa_pem() -> String {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    key.serialize_pem()
}

fn ec_pem() -> String {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem()
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
