//! Tokens that were found valid, so that a signature is not verified again with each request.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use super::{TOKEN_BYTES_MAX, VerifiedToken};

/// Most tokens that are kept.
const TOKENS_MAX: usize = 16_384;
/// Longest e-mail address of a token that is kept, in bytes. It bounds the memory: less than a kilobyte for each token.
const EMAIL_BYTES_MAX: usize = 320;

/// Valid tokens by their digest. Those that were not used for longest are forgotten first.
#[derive(Default)]
pub(super) struct Memory(Mutex<Generations>);

/// When the young ones are half of what is kept, they become the old ones, and the old ones are forgotten.
#[derive(Default)]
struct Generations {
    young: HashMap<Digest, Known>,
    old: HashMap<Digest, Known>,
}

/// The SHA-256 of a whole token, its signature included.
type Digest = [u8; 32];

/// A token whose signature and claims are right, except that time and keys go on.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) token: VerifiedToken,
    /// The later one of `nbf` and `iat`.
    pub(super) starts_at: Option<OffsetDateTime>,
    /// The set with the key that verified it; `None` for a shared secret, which never changes.
    pub(super) keys: Option<Keys>,
}

/// A set of published keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    /// Place of the issuer in the table.
    pub(super) issuer: usize,
    /// Number of the fetch that brought the set.
    pub(super) edition: u64,
}

impl Memory {
    /// The content of a token that is kept and still valid. One that is not valid any more is forgotten.
    pub(super) fn find(&self, token: &str, is_valid: impl FnOnce(&Known) -> bool) -> Option<VerifiedToken> {
        // One that is too long for a token is not worth a digest.
        let digest = (token.len() <= TOKEN_BYTES_MAX).then(|| digest(token))?;
        let known = self.lock().find(&digest)?;
        if is_valid(&known) {
            return Some(known.token);
        }
        self.lock().young.remove(&digest);
        None
    }

    /// Keeps a valid token.
    pub(super) fn keep(&self, token: &str, known: Known) {
        if known.token.vouched_email.as_ref().is_none_or(|email| email.len() <= EMAIL_BYTES_MAX) {
            self.lock().insert(digest(token), known);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    /// Finds a token and makes it a young one.
    fn find(&mut self, digest: &Digest) -> Option<Known> {
        if let Some(known) = self.young.get(digest) {
            return Some(known.clone());
        }
        let known = self.old.remove(digest)?;
        self.insert(*digest, known.clone());
        Some(known)
    }

    fn insert(&mut self, digest: Digest, known: Known) {
        if self.young.len() >= TOKENS_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, known);
    }
}

fn digest(token: &str) -> Digest {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        KnownOwner, Provider, SubjectKind,
        token::issuer_ids::{IdForm, IssuerIds},
    };

    fn known(email: &str) -> Known {
        let token = VerifiedToken {
            user_id: "auth0|a".parse().unwrap(),
            issuer: Arc::new(IssuerIds::new("supabase".to_owned(), IdForm::Any)),
            owner: KnownOwner::default(),
            vouched_email: Some(email.to_owned()),
            subject: SubjectKind::Person,
            expires_at: OffsetDateTime::UNIX_EPOCH,
            provider: Provider::Supabase,
            login_id: None,
            login_end: crate::LoginEnd::default(),
        };
        Known { token, starts_at: None, keys: None }
    }

    fn is_kept(memory: &Memory, token: &str) -> bool {
        memory.find(token, |_| true).is_some()
    }

    #[test]
    fn the_number_is_bounded_and_what_is_in_use_stays() {
        let memory = Memory::default();
        memory.keep("in use", known("a@example.com"));
        for number in 0..3 * TOKENS_MAX {
            memory.keep(&number.to_string(), known("a@example.com"));
            if number % 1_000 == 0 {
                assert!(is_kept(&memory, "in use"), "{number}");
            }
            let generations = memory.lock();
            assert!(generations.young.len() + generations.old.len() <= TOKENS_MAX);
        }
        assert!(is_kept(&memory, &(3 * TOKENS_MAX - 1).to_string()));
        assert!(!is_kept(&memory, "0"));
    }

    #[test]
    fn the_memory_of_each_is_bounded() {
        let memory = Memory::default();
        memory.keep("long", known(&"x".repeat(EMAIL_BYTES_MAX + 1)));
        assert!(!is_kept(&memory, "long"));
        let too_long = "x".repeat(TOKEN_BYTES_MAX + 1);
        memory.keep(&too_long, known(""));
        assert!(!is_kept(&memory, &too_long));
    }

    #[test]
    fn what_is_not_valid_any_more_is_forgotten() {
        let memory = Memory::default();
        memory.keep("token", known(""));
        assert!(memory.find("token", |_| false).is_none());
        assert!(!is_kept(&memory, "token"));
        let generations = memory.lock();
        assert!(generations.young.is_empty() && generations.old.is_empty());
    }
}
