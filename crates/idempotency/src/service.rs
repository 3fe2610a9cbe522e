//! Keys looked up before a batch of requests is decided, and answers stored with their effects.

use std::collections::{BTreeMap, BTreeSet};

use kernel::{CallerClass, Clock, IdempotencyKey, UserId};
use pg::{DbError, PgConnection, Tx};
use time::{Duration, OffsetDateTime};

use crate::{
    KeyConflict,
    model::{KeyStatus, KeyedRequest, NewAnswer, Pruned, StoredAnswer},
    rules,
    store::{self, answers::NewRow},
};

/// The keys of a batch of requests: those that were used before, and those that the batch uses.
#[derive(Debug, Default)]
pub struct Keys {
    stored: BTreeMap<(UserId, String), Vec<StoredAnswer>>,
    used: BTreeMap<(UserId, String, CallerClass), Used>,
    new: Vec<NewRow>,
}

/// The use of a key by a request of the batch.
#[derive(Debug)]
struct Used {
    place: usize,
    key: IdempotencyKey,
    at: OffsetDateTime,
}

/// Looks up the keys of some requests, in one statement; in none if there are no keys.
///
/// To be sent after the statements that lock the rows which the requests change: answers stored under those locks are found
/// then. The statement needs no answer to another.
///
/// # Errors
/// [`DbError`] when the database cannot be read.
pub async fn look_up<'a>(
    conn: &PgConnection,
    requests: impl IntoIterator<Item = KeyedRequest<'a>>,
) -> Result<Keys, DbError> {
    let names: BTreeSet<(&UserId, &str)> =
        requests.into_iter().map(|request| (request.user_id, request.key.key())).collect();
    if names.is_empty() {
        return Ok(Keys::default());
    }
    let mut keys = Keys::default();
    for (name, answer) in store::answers::find(conn, &names).await? {
        keys.stored.entry(name).or_default().push(answer);
    }
    Ok(keys)
}

impl Keys {
    /// Returns the status of the key of a request. The key must have been looked up.
    #[must_use]
    pub fn status(&self, request: KeyedRequest<'_>) -> KeyStatus<'_> {
        let KeyedRequest { user_id, key, caller } = request;
        let (user_id, text) = (user_id.clone(), key.key().to_owned());
        let stored = self.stored.get(&(user_id.clone(), text.clone())).map_or(&[][..], Vec::as_slice);
        match (rules::status_among(stored, key, caller), self.used.get(&(user_id, text, caller))) {
            (KeyStatus::New, Some(used)) if used.key == *key => KeyStatus::InBatch(used.place),
            (KeyStatus::New, Some(used)) => KeyStatus::Conflict(KeyConflict { first_used_at: used.at }),
            (known, _) => known,
        }
    }

    /// Adds the answer to the request at this place of the batch to those that are stored. Its key must be new.
    pub fn add(&mut self, request: KeyedRequest<'_>, place: usize, answer: NewAnswer) {
        let KeyedRequest { user_id, key, caller } = request;
        let used = Used { place, key: key.clone(), at: answer.at };
        self.used.insert((user_id.clone(), key.key().to_owned(), caller), used);
        self.new.push(NewRow { user_id: user_id.clone(), key: key.clone(), caller, answer });
    }

    /// Stores the answers that were added, in one statement; in none if there are none. Others may be sent beside it.
    ///
    /// Rows are written in the order of their keys, so that transactions which do this once never deadlock.
    ///
    /// # Errors
    /// [`DbError::Contention`] when another transaction stored an answer under one of the keys since they were looked up: nothing
    /// of the transaction may be committed, and all of it can be done again. Other [`DbError`]s when it failed.
    pub async fn save(mut self, tx: &Tx) -> Result<(), DbError> {
        if self.new.is_empty() {
            return Ok(());
        }
        self.new.sort_unstable_by(|one, other| one.name().cmp(&other.name()));
        let stored = store::answers::insert(tx.shared(), &self.new).await?;
        if stored == self.new.len() { Ok(()) } else { Err(DbError::overtaken()) }
    }
}

/// No answer is kept for longer: PostgreSQL knows no instant much earlier than this.
const KEPT_MAX: Duration = Duration::days(365_000);

/// Prunes the oldest answers, at most `limit`, that are older than `older_than` by the database's clock (or the pinned instant of
/// `clock`): refusals are removed, successes lose their answer and keep key and link. The caller comes again while something
/// was pruned.
///
/// # Errors
/// [`DbError`] when the database cannot be written.
pub async fn prune(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    older_than: Duration,
    limit: i64,
) -> Result<Pruned, DbError> {
    let micros = older_than.clamp(Duration::ZERO, KEPT_MAX).whole_microseconds();
    let micros = i64::try_from(micros).unwrap_or(i64::MAX);
    store::answers::prune(conn, clock.pinned(), micros, limit).await
}
