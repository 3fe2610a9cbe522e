//! Sessions and messages under an idempotency key: made once, however often the request comes (HTTP contract 1.11).
//!
//! Guarantees that the key is stored in the commit of what it names. Reads identity; touches sessions and idempotency.

use idempotency::{Content, KeyConflict, KeyStatus, KeyedRequest, Keys, Link, Replay};
use kernel::{CallerClass, Clock, IdempotencyKey, UserId};
use pg::{Attempts, DbError, Pool, Tx};
use serde_json::json;
use sessions::{Message, NewMessage, NewSession, Session, SessionRefusal};
use uuid::Uuid;

use crate::answers;

/// The key of a request, with its scope.
#[derive(Debug, Clone)]
pub struct Keyed {
    /// The user acted upon.
    pub user_id: UserId,
    /// The key.
    pub key: IdempotencyKey,
    /// The class of the caller.
    pub caller: CallerClass,
}

/// Why nothing was done under a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyedRefusal {
    /// There is no such user.
    #[error(transparent)]
    User(#[from] credits::Refusal),
    /// The session is unknown, or what the key made is gone.
    #[error(transparent)]
    Session(#[from] SessionRefusal),
    /// The key was used for another request.
    #[error(transparent)]
    Key(#[from] KeyConflict),
}

impl KeyedRefusal {
    /// The refusal of the domain.
    #[must_use]
    pub fn failure(&self) -> &dyn kernel::Failure {
        match self {
            Self::User(refusal) => refusal,
            Self::Session(refusal) => refusal,
            Self::Key(conflict) => conflict,
        }
    }
}

/// Creates a session, or returns the one that the same request made.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn create(
    pool: &Pool,
    clock: &dyn Clock,
    new: &NewSession,
    keyed: &Keyed,
) -> Result<Result<(Session, Replay), KeyedRefusal>, DbError> {
    let mut attempts = Attempts::up_to(3);
    loop {
        let created = Tx::decide(pool, async |tx| {
            if !identity::users::hold(tx.conn(), &new.user_id).await? {
                return Ok(Err(credits::Refusal::UserNotFound { user_id: new.user_id.clone() }.into()));
            }
            let mut keys = keyed.look_up(tx).await?;
            match keyed.made(&keys)? {
                Err(conflict) => return Ok(Err(conflict.into())),
                Ok(Some(session_id)) => {
                    let found = sessions::find(tx.conn(), clock, session_id).await?;
                    let gone = SessionRefusal::NotFound { session_id: session_id.to_string() };
                    return Ok(found.map(|session| (session, Replay::ByKey)).ok_or_else(|| gone.into()));
                }
                Ok(None) => {}
            }
            let session = sessions::create(tx, clock, new).await?;
            keyed.store(&mut keys, clock, session.session_id)?;
            keys.save(tx).await?;
            Ok(Ok((session, Replay::First)))
        });
        match created.await {
            Err(error) if attempts.again(&error).await => {}
            result => return result,
        }
    }
}

/// Adds a message, or returns the one that the same request added.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn add_message(
    pool: &Pool,
    clock: &dyn Clock,
    new: &NewMessage,
    keyed: &Keyed,
) -> Result<Result<(Message, Replay), KeyedRefusal>, DbError> {
    let mut attempts = Attempts::up_to(3);
    loop {
        let added = Tx::decide(pool, async |tx| {
            let mut keys = keyed.look_up(tx).await?;
            match keyed.made(&keys)? {
                Err(conflict) => return Ok(Err(conflict.into())),
                Ok(Some(message_id)) => {
                    let found = sessions::find_message(tx.conn(), &keyed.user_id, message_id).await?;
                    let gone = SessionRefusal::NotFound { session_id: new.session_id.to_string() };
                    return Ok(found.map(|message| (message, Replay::ByKey)).ok_or_else(|| gone.into()));
                }
                Ok(None) => {}
            }
            let added = sessions::add_messages(tx, clock, std::slice::from_ref(new)).await?;
            let message = match added.into_iter().next() {
                Some(Ok(message)) => message,
                Some(Err(refusal)) => return Ok(Err(refusal.into())),
                None => return Err(DbError::Inconsistent("a message was not answered".to_owned())),
            };
            keyed.store(&mut keys, clock, message.message_id)?;
            keys.save(tx).await?;
            Ok(Ok((message, Replay::First)))
        });
        match added.await {
            Err(error) if attempts.again(&error).await => {}
            result => return result,
        }
    }
}

impl Keyed {
    fn request(&self) -> KeyedRequest<'_> {
        KeyedRequest { user_id: &self.user_id, key: &self.key, caller: self.caller }
    }

    async fn look_up(&self, tx: &Tx) -> Result<Keys, DbError> {
        idempotency::look_up(tx.shared(), [self.request()]).await
    }

    /// The id of what the same request made before.
    fn made(&self, keys: &Keys) -> Result<Result<Option<Uuid>, KeyConflict>, DbError> {
        Ok(match keys.status(self.request()) {
            KeyStatus::New | KeyStatus::InBatch(_) => Ok(None),
            KeyStatus::Conflict(conflict) => Err(conflict),
            KeyStatus::Answered(stored) => {
                let link = match &stored.content {
                    Content::Whole { link, .. } => *link,
                    Content::Pruned(link) => Some(*link),
                };
                let link = link.ok_or_else(|| answers::unusable("it names nothing that was made"))?;
                Ok(Some(link.transaction_id))
            }
        })
    }

    fn store(&self, keys: &mut Keys, clock: &dyn Clock, made: Uuid) -> Result<(), DbError> {
        let link = Link { transaction_id: made, usage_record_id: None };
        keys.add(self.request(), 0, answers::applied(clock.now(), None, link, &json!({}))?);
        Ok(())
    }
}
