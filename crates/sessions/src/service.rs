//! Operations on sessions. Reading takes a connection, changing takes an open transaction (I4).
//!
//! A session's row lock guards its status, its counters and its messages. The clock is read once an operation, after the
//! lock.

use std::collections::{BTreeSet, HashMap};

use diesel_async::AsyncPgConnection;
use futures_util::try_join;
use kernel::{Clock, FreeForm, Page, Scope, Slice, TimePlace, Usd, UserId};
use pg::{DbError, Tx};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    Deleted, Message, MessageFilter, NewMessage, NewSession, Session, SessionChange, SessionFilter,
    SessionRefusal, Status,
    rules::{self, MessagePosition, StoredStatus, Tally},
    store,
};

/// Creates a session. Whether its user exists is the caller's business.
///
/// # Errors
/// [`DbError`]; a `session_id` that is taken is [`DbError::Constraint`].
pub async fn create(tx: &mut Tx, clock: &dyn Clock, new: &NewSession) -> Result<Session, DbError> {
    store::sessions::insert(tx.conn(), new, clock.now()).await
}

/// A session as [`create`] answered it, by what is known of it: the request, and what the database chose. It may have changed
/// since, or be gone.
///
/// # Errors
/// [`DbError`].
pub async fn as_created(
    conn: &mut AsyncPgConnection,
    new: NewSession,
    id: i64,
    created_at: OffsetDateTime,
) -> Result<Session, DbError> {
    let json = [&new.conversation_data, &new.metadata];
    let mut json = store::messages::as_columns_show(conn, &json).await?.into_iter();
    let status = StoredStatus { status: Status::Active, set_at: None, expires_at: new.expires_at };
    Ok(Session {
        id,
        session_id: new.session_id,
        user_id: new.user_id,
        title: new.title,
        conversation_data: json.next().unwrap_or_default(),
        metadata: json.next().unwrap_or_default(),
        status: status.at(created_at),
        message_count: 0,
        total_tokens: 0,
        total_cost: Usd::ZERO,
        session_summary: String::new(),
        created_at,
        updated_at: created_at,
        last_activity: created_at,
        expires_at: new.expires_at,
    })
}

/// The session with this id as it reads now, whoever owns it.
///
/// # Errors
/// [`DbError`].
pub async fn find(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    session_id: Uuid,
) -> Result<Option<Session>, DbError> {
    store::sessions::find(conn, session_id, clock.now()).await
}

/// The session with this id as it reads now, for a caller who may touch what is inside `scope`.
///
/// Refused as [`SessionRefusal::NotFound`] and [`SessionRefusal::Foreign`] (HTTP contract 1.4).
///
/// # Errors
/// [`DbError`].
pub async fn find_in_scope(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    session_id: Uuid,
    scope: &Scope,
) -> Result<Result<Session, SessionRefusal>, DbError> {
    let found = find(conn, clock, session_id).await?;
    Ok(found.ok_or_else(|| not_found(session_id)).and_then(|session| session.within(scope)))
}

/// The session of `user` with this integer id, as it reads now.
///
/// # Errors
/// [`DbError`].
pub async fn find_by_number(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    user: &UserId,
    number: i64,
) -> Result<Option<Session>, DbError> {
    store::sessions::find_by_number(conn, user, number, clock.now()).await
}

/// One page of the sessions of `user` as they read now, newest created first (HTTP contract 5 and 1.11).
///
/// A page ends early rather than hold more than [`kernel::page::PAGE_BYTES_MAX`]; who pages by offset goes on behind the
/// sessions that came.
///
/// # Errors
/// [`DbError`].
pub async fn list(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    user: &UserId,
    filter: SessionFilter,
    page: &Page<TimePlace>,
) -> Result<Slice<Session, TimePlace>, DbError> {
    let sessions = store::sessions::list(conn, user, filter, page, clock.now()).await?;
    Ok(page.cut_found(sessions, Session::place))
}

/// Sets the status of a session. Every status may follow every other (HTTP contract 5).
///
/// A status that is set after `expires_at` has passed stands: the session is then no longer expired.
/// Refused as [`SessionRefusal::NotFound`] and [`SessionRefusal::Foreign`].
///
/// # Errors
/// [`DbError`].
pub async fn set_status(
    tx: &mut Tx,
    clock: &dyn Clock,
    session_id: Uuid,
    scope: &Scope,
    status: Status,
) -> Result<Result<Session, SessionRefusal>, DbError> {
    match lock(tx, session_id, scope).await? {
        Ok(locked) => {
            let user = &locked.user_id;
            let session =
                store::sessions::set_status(tx.conn(), user, session_id, status, clock.now()).await?;
            Ok(Ok(session))
        }
        Err(refusal) => Ok(Err(refusal)),
    }
}

/// Changes what a caller says about a session. Refused as by [`set_status`].
///
/// # Errors
/// [`DbError`].
pub async fn change(
    tx: &mut Tx,
    clock: &dyn Clock,
    session_id: Uuid,
    scope: &Scope,
    change: &SessionChange,
) -> Result<Result<Session, SessionRefusal>, DbError> {
    match lock(tx, session_id, scope).await? {
        Ok(locked) => {
            let changed =
                store::sessions::change(tx.conn(), &locked.user_id, session_id, change, clock.now()).await?;
            Ok(Ok(changed))
        }
        Err(refusal) => Ok(Err(refusal)),
    }
}

/// The message of a user with this public id.
///
/// # Errors
/// [`DbError`].
pub async fn find_message(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    message_id: Uuid,
) -> Result<Option<Message>, DbError> {
    store::messages::find(conn, user, message_id).await
}

/// Adds messages, in order, and counts them in their sessions. The outcomes are in the same order.
///
/// Set-oriented: one lock, one insert and one update, for one message or for hundreds; the outcome is that of adding them
/// one by one. Each message is refused alone: [`SessionRefusal::NotFound`], [`SessionRefusal::Foreign`],
/// [`SessionRefusal::TotalTooLarge`]. Messages are taken in every status.
///
/// # Errors
/// [`DbError`]; then nothing is added, and `tx` must be given up.
pub async fn add_messages(
    tx: &mut Tx,
    clock: &dyn Clock,
    new: &[NewMessage],
) -> Result<Vec<Result<Message, SessionRefusal>>, DbError> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let wanted: BTreeSet<Uuid> = new.iter().map(|message| message.session_id).collect();
    let wanted: Vec<Uuid> = wanted.into_iter().collect();
    let mut tallies = store::sessions::lock(tx.conn(), &wanted).await?;
    let places = rules::admit(&mut tallies, new, clock.now());

    let admitted: Vec<(&NewMessage, &MessagePosition)> = new
        .iter()
        .zip(&places)
        .filter_map(|(message, place)| Some((message, place.as_ref().ok()?)))
        .collect();
    let counted: BTreeSet<Uuid> = admitted.iter().map(|(message, _)| message.session_id).collect();
    tallies.retain(|session_id, _| counted.contains(session_id));
    let tallies: Vec<(Uuid, &Tally)> = tallies.iter().map(|(id, tally)| (*id, tally)).collect();

    let mut stored = write(tx, &admitted, &tallies).await?;
    new.iter()
        .zip(places)
        .map(|(message, place)| match place {
            Ok(place) => stored.remove(&(message.session_id, place.seq)).map(Ok).ok_or_else(|| {
                DbError::Inconsistent(format!("message {} was not answered", message.message_id))
            }),
            Err(refusal) => Ok(Err(refusal)),
        })
        .collect()
}

/// A message as [`add_messages`] answered it to the owner of the session, by what is known of it: the request, and what the
/// database chose. It may have changed since, or be gone.
///
/// # Errors
/// [`DbError`].
pub async fn as_added(
    conn: &mut AsyncPgConnection,
    new: NewMessage,
    user_id: UserId,
    (id, seq): (i64, i64),
    created_at: OffsetDateTime,
) -> Result<Message, DbError> {
    let json: Vec<&FreeForm> =
        [Some(&new.message_metadata), new.tool_calls.as_ref()].into_iter().flatten().collect();
    let mut json = store::messages::as_columns_show(conn, &json).await?.into_iter();
    Ok(Message {
        id,
        message_id: new.message_id,
        session_id: new.session_id,
        user_id,
        seq,
        message_type: new.message_type,
        role: new.role,
        content: new.content,
        message_metadata: json.next().unwrap_or_default(),
        tool_calls: json.next(),
        tool_call_id: new.tool_call_id,
        tokens_used: new.tokens_used,
        cost_usd: new.cost_usd,
        is_summary_candidate: new.is_summary_candidate,
        importance_score: new.importance_score,
        status: new.status,
        created_at,
        updated_at: created_at,
    })
}

/// Those of the sessions that another transaction has locked at this moment: a message to one of them would wait for it.
///
/// Never waits. It locks the other sessions, so a caller who does not go on with them rolls back.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn blocked(tx: &mut Tx, session_ids: &BTreeSet<Uuid>) -> Result<BTreeSet<Uuid>, DbError> {
    if session_ids.is_empty() {
        return Ok(BTreeSet::new());
    }
    store::sessions::blocked(tx.conn(), session_ids).await
}

/// One page of the messages of a session that was found before, oldest first (HTTP contract 5). A place is a `seq`; an
/// offset counts the messages that the filter lets through.
///
/// A page ends early rather than hold more than [`kernel::page::PAGE_BYTES_MAX`]; who pages by offset goes on behind the
/// messages that came.
///
/// # Errors
/// [`DbError`].
pub async fn messages(
    conn: &mut AsyncPgConnection,
    session: &Session,
    filter: MessageFilter,
    page: &Page<i64>,
) -> Result<Slice<Message, i64>, DbError> {
    let messages = store::messages::list(conn, session, filter, page).await?;
    Ok(page.cut_found(messages, |message| message.seq))
}

/// Deletes a session with its messages (HTTP contract 5 and 12). A reply that is running ends with it; its hold is the
/// caller's business.
///
/// Refused as [`SessionRefusal::NotFound`] and [`SessionRefusal::Foreign`].
///
/// # Errors
/// [`DbError`].
pub async fn delete(
    tx: &mut Tx,
    session_id: Uuid,
    scope: &Scope,
) -> Result<Result<Deleted, SessionRefusal>, DbError> {
    match lock(tx, session_id, scope).await? {
        Ok(locked) => {
            let Tally { user_id, message_count, .. } = locked;
            let running = store::replies::running(tx.conn(), &user_id, session_id).await?;
            store::search_index::mark_stale(tx.conn(), &user_id, session_id).await?;
            store::sessions::delete(tx.conn(), &user_id, session_id).await?;
            let hold_id = running.and_then(|running| running.hold_id);
            Ok(Ok(Deleted { session_id, user_id, message_count, hold_id }))
        }
        Err(refusal) => Ok(Err(refusal)),
    }
}

/// Locks one session inside `scope`.
pub(crate) async fn lock(
    tx: &mut Tx,
    session_id: Uuid,
    scope: &Scope,
) -> Result<Result<Tally, SessionRefusal>, DbError> {
    let mut tallies = store::sessions::lock(tx.conn(), &[session_id]).await?;
    Ok(match tallies.remove(&session_id) {
        Some(tally) if scope.covers(&tally.user_id) => Ok(tally),
        Some(_) => Err(SessionRefusal::Foreign { session_id: session_id.to_string() }),
        None => Err(not_found(session_id)),
    })
}

/// Writes messages and counters, pipelined: neither statement needs what the other answers.
async fn write(
    tx: &mut Tx,
    admitted: &[(&NewMessage, &MessagePosition)],
    tallies: &[(Uuid, &Tally)],
) -> Result<HashMap<(Uuid, i64), Message>, DbError> {
    if admitted.is_empty() {
        return Ok(HashMap::new());
    }
    let conn = &*tx.conn();
    let (messages, ()) =
        try_join!(store::messages::insert(conn, admitted), store::sessions::update_tallies(conn, tallies),)?;
    Ok(messages.into_iter().map(|message| ((message.session_id, message.seq), message)).collect())
}

fn not_found(session_id: Uuid) -> SessionRefusal {
    SessionRefusal::NotFound { session_id: session_id.to_string() }
}
