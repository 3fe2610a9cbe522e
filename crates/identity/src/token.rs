//! Tokens: who speaks, as an identity provider vouches for it (HTTP contract 1.3).
//!
//! A [`Verifier`] knows a few [`Issuer`]s. A token names its issuer by an exact `iss`; the issuer fixes algorithms and
//! keys, and the token's own header has no say in it beyond naming one of them.

mod algorithm;
mod claims;
mod compact;
mod dev_token;
mod error;
mod issuer;
mod issuer_ids;
mod jwks;
mod memory;
mod own_tokens;
mod verifier;
#[cfg(test)]
mod wycheproof;

pub use algorithm::Algorithm;
pub use claims::{LoginEnd, SubjectKind, VerifiedToken};
pub use compact::TOKEN_BYTES_MAX;
pub use dev_token::{DEV_TOKEN_TTL_SECONDS, dev_token, development_secret};
pub use error::TokenError;
pub use issuer::{Issuer, IssuerError, Provider};
pub use issuer_ids::{IssuerIds, KnownOwner, OWN_PREFIXES};
pub use jwks::{JWKS_BYTES_MAX, JWKS_KEYS_MAX, JwksTiming};
pub use own_tokens::{OwnTokens, Validity};
pub use verifier::Verifier;
