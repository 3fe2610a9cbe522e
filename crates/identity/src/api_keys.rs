//! API keys of the table (HTTP contract 3.6): made, listed, revoked, and verified.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use diesel_async::AsyncPgConnection;
use kernel::{Clock, Ids, Page, Slice};
use pg::DbError;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::{
    model::{
        api_key::{MintedKey, PresentedKey},
        audit_event::AuditActor,
    },
    store::api_keys,
};

pub use crate::model::api_key::{
    ApiKey, KEY_PREFIX, KeyPlace, KeyScope, KeyScopes, NewApiKey, StoredKey, UnknownScopes, VerifiedKey,
};
pub use api_keys::{find, note_use};

/// Most keys that are remembered. A service has a few.
const KEYS_MAX: usize = 1_024;
/// Most look-ups at once.
const LOOK_UPS_MAX: usize = 64;

/// The keys that this process has verified, so that another use of one asks the database nothing about its secret.
///
/// Revocation is not noticed here: each request asks for it, with the status of the caller
/// ([`StatusQuery::key_id`](crate::StatusQuery::key_id)).
///
/// Look-ups of one text wait for each other, so that the first requests of a valid key cause one.
pub struct KeyRing {
    verified: Mutex<HashMap<[u8; 32], VerifiedKey>>,
    /// Each is held during the look-ups of a part of the texts.
    look_ups: [tokio::sync::Mutex<()>; LOOK_UPS_MAX],
}

impl Default for KeyRing {
    fn default() -> Self {
        Self { verified: Mutex::default(), look_ups: std::array::from_fn(|_| tokio::sync::Mutex::default()) }
    }
}

impl KeyRing {
    /// The key with this text; `None` if there is none, or if it was revoked or has expired. `look_up` reads what is stored of a
    /// key ([`find`]); it is called if the form of the text is right and this process has not verified it. Anybody can write such
    /// a text.
    ///
    /// # Errors
    /// That of `look_up`.
    pub async fn verify<E>(
        &self,
        clock: &dyn Clock,
        text: &str,
        look_up: impl AsyncFnOnce(Uuid) -> Result<Option<StoredKey>, E>,
    ) -> Result<Option<VerifiedKey>, E> {
        let Some(presented) = PresentedKey::read(text) else {
            return Ok(None);
        };
        // Another secret is another text, so its digest finds nothing.
        let digest: [u8; 32] = Sha256::digest(text).into();
        let mut remembered = self.recall(&digest);
        let mut turn = None;
        if remembered.is_none() {
            turn = Some(self.turn(digest).lock().await);
            // Another request may have looked it up meanwhile.
            remembered = self.recall(&digest);
        }
        let verified = match remembered {
            Some(key) => Some(key),
            None => {
                let stored = look_up(presented.key_id).await?;
                // An unknown id is compared as well, so that the time does not say which ids exist.
                let expected = stored.as_ref().map_or(&[0; 32][..], |stored| &stored.secret_digest);
                let is_equal = bool::from(expected.ct_eq(&presented.secret_digest));
                stored.filter(|_| is_equal).and_then(|stored| stored.verified())
            }
        };
        let now = clock.now();
        let valid = verified.filter(|key| key.expires_at.is_none_or(|expires_at| now < expires_at));
        match valid {
            Some(key) if remembered.is_none() => self.remember(digest, key),
            None if remembered.is_some() => drop(self.lock().remove(&digest)),
            _ => {}
        }
        drop(turn);
        Ok(valid)
    }

    fn recall(&self, digest: &[u8; 32]) -> Option<VerifiedKey> {
        self.lock().get(digest).copied()
    }

    /// The turns of the look-ups of this text.
    fn turn(&self, [number, ..]: [u8; 32]) -> &tokio::sync::Mutex<()> {
        let [first, ..] = &self.look_ups;
        usize::from(number)
            .checked_rem(LOOK_UPS_MAX)
            .and_then(|place| self.look_ups.get(place))
            .unwrap_or(first)
    }

    /// Forgets a key that was revoked.
    pub fn forget(&self, key_id: Uuid) {
        self.lock().retain(|_, key| key.key_id != key_id);
    }

    fn remember(&self, digest: [u8; 32], key: VerifiedKey) {
        let mut keys = self.lock();
        if keys.len() >= KEYS_MAX {
            // Those in use come back with their next request.
            keys.clear();
        }
        keys.insert(digest, key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], VerifiedKey>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a key. Its text is not stored and cannot be had again.
///
/// # Errors
/// [`DbError`] when the database cannot be written.
pub async fn create(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    ids: &dyn Ids,
    created_by: &AuditActor,
    new: &NewApiKey,
) -> Result<(ApiKey, SecretString), DbError> {
    let minted = MintedKey::draw(ids);
    let key = api_keys::insert(conn, clock.now(), &created_by.to_string(), &minted, new).await?;
    Ok((key, minted.text))
}

/// A page of keys, newest first, the revoked ones included.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn list(
    conn: &mut AsyncPgConnection,
    page: &Page<KeyPlace>,
) -> Result<Slice<ApiKey, KeyPlace>, DbError> {
    let found = api_keys::list(conn, page).await?;
    Ok(page.cut(found, |key| KeyPlace { created_at: key.created_at, key_id: key.key_id }))
}

/// Outcome of a revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revocation {
    /// It is refused from now on.
    Now(ApiKey),
    /// It had been revoked before.
    Before,
    /// There is no such key.
    Unknown,
}

/// Revokes a key: after the commit no process accepts it.
///
/// # Errors
/// [`DbError`] when the database cannot be written.
pub async fn revoke(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    key_id: Uuid,
) -> Result<Revocation, DbError> {
    if let Some(key) = api_keys::revoke(conn, clock.now(), key_id).await? {
        return Ok(Revocation::Now(key));
    }
    Ok(match find(conn, key_id).await? {
        Some(_) => Revocation::Before,
        None => Revocation::Unknown,
    })
}
