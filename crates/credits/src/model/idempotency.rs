//! The caller's identity of a request.

use std::sync::Arc;

use crate::model::fingerprint::FormerFingerprints;

/// Bytes of a fingerprint.
pub const FINGERPRINT_BYTES: usize = 32;

/// A key under which a request takes effect once (HTTP contract 1.11). Its scope is the account and the class of the caller.
#[derive(Debug, Clone)]
pub struct IdempotencyKey {
    key: String,
    fingerprint: [u8; FINGERPRINT_BYTES],
    former: Option<Arc<FormerFingerprints>>,
}

/// The text cannot be a key: it is empty, longer than 255 characters, or not printable ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key is 1 to 255 printable ASCII characters")]
pub struct InvalidIdempotencyKey;

impl IdempotencyKey {
    /// Most characters of a key.
    pub const CHARACTERS_MAX: usize = 255;

    /// The key with the SHA-256 of all that was asked. Equal requests must have equal fingerprints.
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
        Ok(Self { key, fingerprint, former: None })
    }

    /// The key with what the fingerprints are made from that earlier versions may have stored for the same request.
    #[must_use]
    pub fn or_formerly(self, former: FormerFingerprints) -> Self {
        Self { former: Some(Arc::new(former)), ..self }
    }

    /// The key of an item of a batch: this one, `#` and the index. It may be a little longer than a caller's.
    #[must_use]
    pub fn of_item(self, index: usize) -> Self {
        Self { key: format!("{}#{index}", self.key), ..self }
    }

    /// What the caller calls the request.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether this fingerprint, of version 1 or 2, is that of the request.
    pub(crate) fn has(&self, fingerprint: &[u8]) -> bool {
        self.fingerprint == fingerprint
            || self.former.as_ref().is_some_and(|former| former.v1() == fingerprint)
    }

    /// Whether a version without classes of callers may have stored this fingerprint for the same request.
    pub(crate) fn was_formerly(&self, fingerprint: &[u8]) -> bool {
        let former = || self.former.iter().flat_map(|former| former.fingerprints());
        self.fingerprint == fingerprint || former().any(|one| one == fingerprint)
    }

    /// What was asked.
    #[must_use]
    pub fn fingerprint(&self) -> &[u8; FINGERPRINT_BYTES] {
        &self.fingerprint
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
}
