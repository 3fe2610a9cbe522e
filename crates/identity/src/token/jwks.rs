//! Published keys of an issuer, fetched outside the request path (HTTP contract 1.3).

mod cache;
mod fetch;
mod key_set;
mod own_keys;
mod source;

pub use cache::JwksTiming;
pub(super) use cache::{Jwks, Refreshed};
pub use fetch::JWKS_BYTES_MAX;
pub use key_set::JWKS_KEYS_MAX;
#[cfg(test)]
pub(super) use key_set::KeySet;
pub(super) use source::Source;
