//! The API key that comes with the configuration.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The configured service key (`USER_SERVICE_API_KEY`, HTTP contract 1.3), kept as its SHA-256 only.
#[derive(Clone)]
pub struct BootstrapKey {
    digest: [u8; 32],
    has_form_of_token: bool,
}

impl BootstrapKey {
    /// Remembers the digest of `key` and drops the key.
    #[must_use]
    pub fn new(key: SecretString) -> Self {
        let key = key.expose_secret();
        Self { digest: digest(key), has_form_of_token: has_form_of_token(key) }
    }

    /// Returns true if `presented` is the key. The time that this takes depends on the length of `presented` only, and on
    /// whether it has the form of a token, which keys rarely have: then there is nothing to compare.
    ///
    /// An empty text is never the key, not even when an empty one was configured.
    #[must_use]
    pub fn matches(&self, presented: &str) -> bool {
        !presented.is_empty()
            && has_form_of_token(presented) == self.has_form_of_token
            && bool::from(self.digest.ct_eq(&digest(presented)))
    }
}

impl std::fmt::Debug for BootstrapKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BootstrapKey([redacted])")
    }
}

/// Two dots, as in a signed token (RFC 7515, section 7.1).
fn has_form_of_token(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() == 2
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
    fn a_key_may_have_the_form_of_a_token() {
        let (dotted, plain) = ("a.key.with.dots.".repeat(3), "a-key-without".repeat(3));
        for key in ["one.two.three", "one.two", "one.two.three.four", &dotted, &plain] {
            let matching = BootstrapKey::new(SecretString::from(key));
            assert!(matching.matches(key), "{key}");
            assert!(!matching.matches(&key.replace('e', ".")) && !matching.matches("x.y.z"), "{key}");
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
