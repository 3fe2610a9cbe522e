//! Published keys of an issuer, fetched outside the request path (HTTP contract 1.3).

mod cache;
mod fetch;
mod key_set;

pub(super) use cache::Jwks;
pub use cache::JwksTiming;
pub use fetch::JWKS_BYTES_MAX;
pub use key_set::JWKS_KEYS_MAX;
