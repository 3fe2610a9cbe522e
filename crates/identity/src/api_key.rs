//! The API key that comes with the configuration.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The configured service key (`USER_SERVICE_API_KEY`, HTTP contract 1.3), kept as its SHA-256 only.
#[derive(Clone)]
pub struct BootstrapKey {
    digest: [u8; 32],
}

impl BootstrapKey {
    /// Remembers the digest of `key` and drops the key.
    #[must_use]
    pub fn new(key: SecretString) -> Self {
        Self { digest: digest(key.expose_secret()) }
    }

    /// Returns true if `presented` is the key. The time that this takes depends on the length of `presented` only.
    ///
    /// An empty text is never the key, not even when an empty one was configured.
    #[must_use]
    pub fn matches(&self, presented: &str) -> bool {
        !presented.is_empty() && bool::from(self.digest.ct_eq(&digest(presented)))
    }
}

impl std::fmt::Debug for BootstrapKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BootstrapKey([redacted])")
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_key_matches() {
        let key = BootstrapKey::new(SecretString::from("k".repeat(32)));
        assert!(key.matches(&"k".repeat(32)));
        for other in ["", "k", &"k".repeat(31), &"k".repeat(33), &"K".repeat(32)] {
            assert!(!key.matches(other), "{other:?}");
        }
    }

    #[test]
    fn an_empty_key_matches_nothing() {
        assert!(!BootstrapKey::new(SecretString::from("")).matches(""));
    }

    #[test]
    fn debug_shows_nothing_of_the_key() {
        let key = BootstrapKey::new(SecretString::from("topsecret"));
        assert_eq!(format!("{key:?}"), "BootstrapKey([redacted])");
    }
}
