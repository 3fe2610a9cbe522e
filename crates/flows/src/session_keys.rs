//! Sessions and messages under an idempotency key: made once, however often the request comes (HTTP contract 1.11).
//!
//! Guarantees that the key is stored in the commit of what it names, and that a repeat shows what the first request was answered,
//! also if that has changed or is gone. Reads identity; touches sessions and idempotency.

use idempotency::{KeyConflict, KeyStatus, KeyedRequest, Keys, Link, Replay};
use kernel::{CallerClass, Clock, IdempotencyKey, UserId};
use pg::{Attempts, DbError, Pool, Tx};
use serde::{Deserialize, Serialize};
use sessions::{Message, NewMessage, NewSession, Session, SessionRefusal};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::answers::{self, Repeat, RepeatAnswer};

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
    /// The session is unknown, or what the key made is gone and its answer is not kept any more.
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

/// The part of an answer that the database chose; the rest stands in the request, which the repeat brings again. So no text is
/// stored twice. An answer without it is of an earlier version, and its repeat shows what is stored now.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Made {
    /// The integer id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<i64>,
    /// The place of a message in its session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seq: Option<i64>,
}

/// The thing that the same request made before, by its public id.
struct Earlier {
    id: Uuid,
    at: OffsetDateTime,
    made: Made,
}

/// Creates a session, or returns what the same request was answered: the session as it was created.
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
        match Tx::decide(pool, async |tx| create_in(tx, clock, new, keyed).await).await {
            Err(error) if attempts.again(&error).await => {}
            result => return result,
        }
    }
}

async fn create_in(
    tx: &mut Tx,
    clock: &dyn Clock,
    new: &NewSession,
    keyed: &Keyed,
) -> Result<Result<(Session, Replay), KeyedRefusal>, DbError> {
    if !identity::users::hold(tx.conn(), &new.user_id).await? {
        return Ok(Err(credits::Refusal::UserNotFound { user_id: new.user_id.clone() }.into()));
    }
    let mut keys = keyed.look_up(tx).await?;
    let earlier = match keyed.earlier(&keys)? {
        Err(conflict) => return Ok(Err(conflict.into())),
        Ok(earlier) => earlier,
    };
    let Some(Earlier { id: session_id, at, made }) = earlier else {
        let session = sessions::create(tx, clock, new).await?;
        let made = Made { id: Some(session.id), seq: None };
        keyed.store(&mut keys, session.created_at, session.session_id, &made)?;
        keys.save(tx).await?;
        return Ok(Ok((session, Replay::First)));
    };
    let first = match made.id {
        Some(id) => {
            let new = NewSession { session_id, ..new.clone() };
            Some(sessions::as_created(tx.conn(), new, id, at).await?)
        }
        None => sessions::find(tx.conn(), clock, session_id).await?,
    };
    let gone = SessionRefusal::NotFound { session_id: session_id.to_string() };
    Ok(first.map(|session| (session, Replay::ByKey)).ok_or_else(|| gone.into()))
}

/// Adds a message, or returns what the same request was answered: the message as it was added.
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
        match Tx::decide(pool, async |tx| add_in(tx, clock, new, keyed).await).await {
            Err(error) if attempts.again(&error).await => {}
            result => return result,
        }
    }
}

async fn add_in(
    tx: &mut Tx,
    clock: &dyn Clock,
    new: &NewMessage,
    keyed: &Keyed,
) -> Result<Result<(Message, Replay), KeyedRefusal>, DbError> {
    let mut keys = keyed.look_up(tx).await?;
    let earlier = match keyed.earlier(&keys)? {
        Err(conflict) => return Ok(Err(conflict.into())),
        Ok(earlier) => earlier,
    };
    let Some(Earlier { id: message_id, at, made }) = earlier else {
        let added = sessions::add_messages(tx, clock, std::slice::from_ref(new)).await?;
        let message = match added.into_iter().next() {
            Some(Ok(message)) => message,
            Some(Err(refusal)) => return Ok(Err(refusal.into())),
            None => return Err(DbError::Inconsistent("a message was not answered".to_owned())),
        };
        let made = Made { id: Some(message.id), seq: Some(message.seq) };
        keyed.store(&mut keys, message.created_at, message.message_id, &made)?;
        keys.save(tx).await?;
        return Ok(Ok((message, Replay::First)));
    };
    let first = match made.id.zip(made.seq) {
        Some(numbers) => {
            let new = NewMessage { message_id, ..new.clone() };
            Some(sessions::as_added(tx.conn(), new, keyed.user_id.clone(), numbers, at).await?)
        }
        None => sessions::find_message(tx.conn(), &keyed.user_id, message_id).await?,
    };
    let gone = SessionRefusal::NotFound { session_id: new.session_id.to_string() };
    Ok(first.map(|message| (message, Replay::ByKey)).ok_or_else(|| gone.into()))
}

impl Keyed {
    fn request(&self) -> KeyedRequest<'_> {
        KeyedRequest { user_id: &self.user_id, key: &self.key, caller: self.caller }
    }

    async fn look_up(&self, tx: &Tx) -> Result<Keys, DbError> {
        idempotency::look_up(tx.shared(), [self.request()]).await
    }

    fn earlier(&self, keys: &Keys) -> Result<Result<Option<Earlier>, KeyConflict>, DbError> {
        let stored = match keys.status(self.request()) {
            KeyStatus::New | KeyStatus::InBatch(_) => return Ok(Ok(None)),
            KeyStatus::Conflict(conflict) => return Ok(Err(conflict)),
            KeyStatus::Answered(stored) => stored,
        };
        let Repeat { at, answer } = Repeat::<Made, ()>::read(stored)?;
        let (link, made) = match answer {
            RepeatAnswer::Applied { link, effect, .. } => (link, effect),
            RepeatAnswer::Pruned(link) => (link, Made::default()),
            RepeatAnswer::Refused(()) => return Err(answers::unusable("it names nothing that was made")),
        };
        Ok(Ok(Some(Earlier { id: link.transaction_id, at, made })))
    }

    fn store(&self, keys: &mut Keys, at: OffsetDateTime, id: Uuid, made: &Made) -> Result<(), DbError> {
        let link = Link { transaction_id: id, usage_record_id: None };
        keys.add(self.request(), 0, answers::applied(at, None, link, made)?);
        Ok(())
    }
}
