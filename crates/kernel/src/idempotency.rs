//! The key that a caller gives to a request, with the fingerprint of the request.

use std::sync::Arc;

use crate::fingerprint::{FINGERPRINT_BYTES, v1};

/// A key under which a request takes effect once (HTTP contract 1.11). Its scope is the user and the class of the caller.
#[derive(Debug, Clone)]
pub struct IdempotencyKey {
    key: String,
    fingerprint: [u8; FINGERPRINT_BYTES],
    v1: Option<Arc<v1::Fingerprint>>,
}

/// The text cannot be a key: it is empty, longer than 255 characters, or not printable ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key is 1 to 255 printable ASCII characters")]
pub struct InvalidIdempotencyKey;

impl IdempotencyKey {
    /// Most characters of a key.
    pub const CHARACTERS_MAX: usize = 255;

    /// The key with the fingerprint of the request. Equal requests must have equal fingerprints.
    ///
    /// # Errors
    /// [`InvalidIdempotencyKey`].
    pub fn new(
        key: impl Into<String>,
        fingerprint: [u8; FINGERPRINT_BYTES],
    ) -> Result<Self, InvalidIdempotencyKey> {
        let key = key.into();
        let printable = key.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if key.is_empty() || key.len() > Self::CHARACTERS_MAX || !printable {
            return Err(InvalidIdempotencyKey);
        }
        Ok(Self { key, fingerprint, v1: None })
    }

    /// The key with the fingerprint of version 1, which earlier versions of the service may have stored for the same request.
    #[must_use]
    pub fn with_v1(self, v1: v1::Fingerprint) -> Self {
        Self { v1: Some(Arc::new(v1)), ..self }
    }

    /// The key of an item of a batch: this one, `#` and the index. It may be a little longer than a caller's.
    #[must_use]
    pub fn of_item(self, index: usize) -> Self {
        Self { key: format!("{}#{index}", self.key), ..self }
    }

    /// The text of the key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The fingerprint of the request.
    #[must_use]
    pub fn fingerprint(&self) -> &[u8; FINGERPRINT_BYTES] {
        &self.fingerprint
    }

    /// Returns whether `stored`, of version 1 or 2, is the fingerprint of the same request.
    #[must_use]
    pub fn matches(&self, stored: &[u8]) -> bool {
        self.fingerprint == stored || self.v1.as_ref().is_some_and(|v1| v1.finish() == stored)
    }

    /// Returns whether a version without classes of callers may have stored this fingerprint for the same request.
    #[must_use]
    pub fn matches_formerly(&self, stored: &[u8]) -> bool {
        let mut formerly = self.v1.iter().flat_map(|v1| v1.hashes());
        self.fingerprint == stored || formerly.any(|hash| hash == stored)
    }
}

/// Two keys are equal if they name the same request: the fingerprints of earlier versions follow from it.
impl PartialEq for IdempotencyKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.key, &self.fingerprint) == (&other.key, &other.fingerprint)
    }
}

impl Eq for IdempotencyKey {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_short_printable_ascii() {
        let new = |text: &str| IdempotencyKey::new(text, [0; 32]);
        assert_eq!(new("order 1#0").unwrap().key(), "order 1#0");
        assert!(new(&"x".repeat(255)).is_ok());
        for bad in ["", "a\nb", "a\0b", "schlüssel", &"x".repeat(256)] {
            assert_eq!(new(bad), Err(InvalidIdempotencyKey), "{bad:?}");
        }
    }

    #[test]
    fn a_key_matches_the_fingerprints_of_both_versions() {
        let v1 = v1::Fingerprint::new().word("consume").object(None);
        let stored: Vec<_> = v1.hashes().collect();
        let key = IdempotencyKey::new("k", [1; 32]).unwrap();
        assert!(key.matches(&[1; 32]) && !key.matches(&[2; 32]) && !key.matches(&stored[0]));
        let key = key.with_v1(v1);
        assert!(key.matches(&[1; 32]) && key.matches(&stored[0]) && !key.matches(&stored[1]));
        assert!(stored.iter().chain([&[1; 32]]).all(|one| key.matches_formerly(one)));
        assert!(!key.matches(&[2; 32]) && !key.matches_formerly(&[2; 32]));
    }
}
