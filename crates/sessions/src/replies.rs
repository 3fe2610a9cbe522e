//! Replies of a model: begun with the message that they answer, produced under a lease, ended once (HTTP contract 9.1).
//!
//! The row lock of the session guards that it has one reply at a time. Everything that a process does to a reply names the
//! lease: it does nothing when another process has it, when the reply has ended, or when the session is gone.

use diesel_async::AsyncPgConnection;
use kernel::{Clock, Scope, Usd};
use pg::{DbError, Tx};
use time::Duration;
use uuid::Uuid;

use crate::{
    Lease, Message, MessageStatus, NewMessage, NewReply, ReplyEnd, ReplyName, ReplyTerms, Role,
    SessionRefusal, rules::Tally, service, store,
};

pub use store::replies::{expired, find, find_by_number, history, of_session, request_cancel, text_after};

/// Adds the message of the user and the message of the assistant, in progress and empty, with what the reply needs. The session
/// was locked by [`lock_idle`].
///
/// Refused as by [`add_messages`](crate::add_messages).
///
/// # Errors
/// [`DbError`]; then `tx` must be given up.
pub async fn begin(
    tx: &mut Tx,
    clock: &dyn Clock,
    new: &NewReply,
) -> Result<Result<(Message, Message), SessionRefusal>, DbError> {
    let message = |role, id, content| NewMessage::chat(new.scope.clone(), new.session_id, id, role, content);
    let question = message(Role::User, new.question_id, new.content.clone());
    let reply = NewMessage {
        status: MessageStatus::InProgress,
        ..message(Role::Assistant, new.message_id, String::new())
    };
    let added = service::add_messages(tx, clock, &[question, reply]).await?;
    let added: Result<Vec<Message>, SessionRefusal> = added.into_iter().collect();
    let (question, reply) = match added.map(<[Message; 2]>::try_from) {
        Ok(Ok([question, reply])) => (question, reply),
        Ok(Err(_)) => return Err(DbError::Inconsistent("two messages were not answered".to_owned())),
        Err(refusal) => return Ok(Err(refusal)),
    };
    store::replies::insert(tx.conn(), clock, new, &reply.user_id).await?;
    Ok(Ok((question, reply)))
}

/// Begins a reply again that has failed, with the messages that are stored. The session was locked by [`lock_idle`]. Refused as
/// [`SessionRefusal::ReplyFinished`] if it has not failed.
///
/// # Errors
/// [`DbError`]; then `tx` must be given up.
pub async fn begin_again(
    tx: &mut Tx,
    clock: &dyn Clock,
    name: &ReplyName,
    terms: &ReplyTerms,
    lease: Lease,
) -> Result<Result<(), SessionRefusal>, DbError> {
    if store::replies::reopen(tx.conn(), clock, name, terms, lease).await? {
        return Ok(Ok(()));
    }
    Ok(Err(SessionRefusal::ReplyFinished { message_id: name.message_id }))
}

/// Renews the lease of a reply, and puts a piece of its text behind the first so many bytes, also if a longer text is stored: an
/// append whose answer was lost is made good. Returns true if a caller asked for the end of the reply, and `None` if this
/// process must stop: then nothing was done.
///
/// # Errors
/// [`DbError`].
pub async fn save_progress(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    name: &ReplyName,
    lease: Lease,
    piece: Option<(usize, &str)>,
) -> Result<Option<bool>, DbError> {
    store::replies::save_progress(conn, clock.pinned(), name, lease, piece).await
}

/// Takes the lease of a reply whose process does not renew it any more; false if another one did, or it has ended.
///
/// # Errors
/// [`DbError`].
pub async fn take_over(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    name: &ReplyName,
    lease: Lease,
) -> Result<bool, DbError> {
    store::replies::take_over(conn, clock.pinned(), name, lease).await
}

/// Locks a reply that this process may end, with its session; false if it must not.
///
/// # Errors
/// [`DbError`].
pub async fn lock(tx: &mut Tx, name: &ReplyName, owner: Uuid) -> Result<bool, DbError> {
    let scope = Scope::Own(name.user_id.clone());
    match service::lock(tx, name.session_id, &scope).await? {
        Ok(_) => store::replies::lock(tx.conn(), name, owner).await,
        Err(_) => Ok(false),
    }
}

/// Ends a reply that is locked: its message, the tokens of both messages, and the counters of the session. Figures for which
/// these have no room are lowered: the work was done.
///
/// # Errors
/// [`DbError`]; then `tx` must be given up.
pub async fn end(tx: &mut Tx, clock: &dyn Clock, name: &ReplyName, mut end: ReplyEnd) -> Result<(), DbError> {
    let scope = Scope::Own(name.user_id.clone());
    if let Ok(Tally { total_tokens, total_cost, .. }) = service::lock(tx, name.session_id, &scope).await? {
        let room = i64::MAX.saturating_sub(total_tokens);
        end.prompt_tokens = end.prompt_tokens.min(room);
        end.completion_tokens = end.completion_tokens.min(room.saturating_sub(end.prompt_tokens));
        let room = Usd::from_nano(i64::MAX.saturating_sub(total_cost.nano()));
        end.cost_usd = end.cost_usd.min(room);
    }
    store::replies::end(tx.conn(), clock, name, &end).await
}

/// The longest pause between two signs of life of a process that produces a reply.
pub const LEASE_TTL: Duration = Duration::seconds(20);

/// Locks a session for a new reply.
///
/// Refused as [`SessionRefusal::NotFound`], [`SessionRefusal::Foreign`] and [`SessionRefusal::ReplyInProgress`].
///
/// # Errors
/// [`DbError`].
pub async fn lock_idle(
    tx: &mut Tx,
    session_id: Uuid,
    scope: &Scope,
) -> Result<Result<(), SessionRefusal>, DbError> {
    let user_id = match service::lock(tx, session_id, scope).await? {
        Ok(locked) => locked.user_id,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let running = store::replies::running(tx.conn(), &user_id, session_id).await?;
    Ok(match running {
        None => Ok(()),
        Some(running) => Err(SessionRefusal::ReplyInProgress { message_id: running.message_id }),
    })
}
