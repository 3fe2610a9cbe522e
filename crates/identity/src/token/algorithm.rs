//! The signature algorithms that tokens may use here.

use jsonwebtoken::{DecodingKey, crypto};

/// A signature algorithm (RFC 7518, section 3.1). Everything else, `none` included, is no algorithm to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256 and a shared secret.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 and a key of 2048 to 8192 bits.
    Rs256,
    /// ECDSA with SHA-256 on P-256.
    Es256,
    /// EdDSA on Ed25519 (RFC 8037).
    EdDsa,
}

impl Algorithm {
    /// The algorithm that a header or a key names so; names are case-sensitive.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "HS256" => Some(Self::Hs256),
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }

    /// Returns true if `signature` (base64url) is that of `message` under `key`. An unusable signature or key is simply "no".
    pub(super) fn verifies(self, key: &DecodingKey, message: &str, signature: &str) -> bool {
        let algorithm = match self {
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        };
        crypto::verify(signature, message.as_bytes(), key, algorithm).unwrap_or(false)
    }
}
