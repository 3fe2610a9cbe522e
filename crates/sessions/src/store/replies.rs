//! The table `sessions.replies`, with the messages that it belongs to.

use diesel::{
    OptionalExtension,
    sql_types::{BigInt, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{Clock, UserId, page::PAGE_BYTES_MAX};
use pg::{
    DbError,
    columns::{Json, Read},
};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::{Lease, Message, MessageStatus, NewReply, Reply, ReplyEnd, ReplyName, ReplyTerms, ReplyText};

pg::read_columns! { ReplyTerms: { model, hold_id, held, prompt_tokens, max_tokens } }
pg::read_columns! {
    Reply: {
        question_id, question_number, question_seq, session_number, cancel_requested, finished_at, error_code, credits_charged, balance_after
    } with { message: Message, terms: ReplyTerms }
}
pg::read_columns! { ReplyName: { user_id, session_id, message_id } }

/// A reply that has not ended.
pub(crate) struct Running {
    pub(crate) message_id: Uuid,
    pub(crate) hold_id: Option<Uuid>,
}
pg::read_columns! { Running: { message_id, hold_id } }

struct CancelRow {
    cancel_requested: bool,
}
pg::read_columns! { CancelRow: { cancel_requested } }

struct TextRow {
    text: Vec<u8>,
    status: MessageStatus,
}
pg::read_columns! { TextRow: { text, status } }

/// The reply that runs in a session, locked: before its messages, as by those who store its text.
pub(crate) async fn running(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    session_id: Uuid,
) -> Result<Option<Running>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM sessions.replies WHERE user_id = $1 AND session_id = $2 AND finished_at IS NULL FOR UPDATE",
        Running::list("replies")
    )))
    .bind::<Text, _>(user.as_str())
    .bind::<SqlUuid, _>(session_id)
    .get_result(conn)
    .await
    .optional()?)
}

pub(crate) async fn insert(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    new: &NewReply,
    user: &UserId,
) -> Result<(), DbError> {
    let NewReply { terms, lease, .. } = new;
    pg::sql(
        "INSERT INTO sessions.replies (user_id, message_id, session_id, question_id, model, hold_id, held, prompt_tokens,
             max_tokens, lease_owner, lease_until, begun_at)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, now + $11 * interval '1 microsecond', now
         FROM (SELECT coalesce($12, clock_timestamp()) AS now) AS clock",
    )
    .bind::<Text, _>(user.as_str())
    .bind::<SqlUuid, _>(new.message_id)
    .bind::<SqlUuid, _>(new.session_id)
    .bind::<SqlUuid, _>(new.question_id)
    .bind::<Text, _>(terms.model.as_str())
    .bind::<Nullable<SqlUuid>, _>(terms.hold_id)
    .bind::<BigInt, _>(terms.held.micro())
    .bind::<BigInt, _>(terms.prompt_tokens)
    .bind::<BigInt, _>(terms.max_tokens)
    .bind::<SqlUuid, _>(lease.owner)
    .bind::<BigInt, _>(micros(lease.ttl))
    .bind::<Nullable<Timestamptz>, _>(clock.pinned())
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes a failed reply one in progress; false if it has not failed.
pub(crate) async fn reopen(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    name: &ReplyName,
    terms: &ReplyTerms,
    lease: Lease,
) -> Result<bool, DbError> {
    let reopened = pg::sql(
        "WITH clock AS MATERIALIZED (SELECT coalesce($11, clock_timestamp()) AS now),
         reply AS (
             UPDATE sessions.messages SET status = 'in_progress', updated_at = greatest(updated_at, $12)
             WHERE user_id = $1 AND message_id = $2 AND status = 'failed' RETURNING message_id),
         question AS (
             UPDATE sessions.messages SET status = 'completed', updated_at = greatest(updated_at, $12)
             FROM sessions.replies AS reply
             WHERE reply.user_id = $1 AND reply.message_id = $2 AND messages.user_id = $1
                 AND messages.message_id = reply.question_id AND EXISTS (SELECT FROM reply))
         UPDATE sessions.replies
         SET model = $3, hold_id = $4, held = $5, prompt_tokens = $6, max_tokens = $7, lease_owner = $8,
             lease_until = now + $9 * interval '1 microsecond', begun_at = now, cancel_requested = false, finished_at = NULL,
             error_code = NULL, credits_charged = NULL, balance_after = NULL
         FROM clock
         WHERE user_id = $1 AND message_id = $2 AND session_id = $10 AND finished_at IS NOT NULL AND EXISTS (SELECT FROM reply)",
    )
    .bind::<Text, _>(name.user_id.as_str())
    .bind::<SqlUuid, _>(name.message_id)
    .bind::<Text, _>(terms.model.as_str())
    .bind::<Nullable<SqlUuid>, _>(terms.hold_id)
    .bind::<BigInt, _>(terms.held.micro())
    .bind::<BigInt, _>(terms.prompt_tokens)
    .bind::<BigInt, _>(terms.max_tokens)
    .bind::<SqlUuid, _>(lease.owner)
    .bind::<BigInt, _>(micros(lease.ttl))
    .bind::<SqlUuid, _>(name.session_id)
    .bind::<Nullable<Timestamptz>, _>(clock.pinned())
    .bind::<Timestamptz, _>(clock.now())
    .execute(conn)
    .await?;
    Ok(reopened > 0)
}

/// Appends text, renews the lease and wakes readers of other processes.
pub(crate) async fn save_progress(
    conn: &mut AsyncPgConnection,
    pinned: Option<OffsetDateTime>,
    name: &ReplyName,
    lease: Lease,
    piece: Option<(usize, &str)>,
) -> Result<Option<bool>, DbError> {
    let row: Option<CancelRow> = pg::sql(
        "WITH reply AS (
             UPDATE sessions.replies
             SET lease_until = coalesce($5, clock_timestamp()) + $4 * interval '1 microsecond'
             WHERE user_id = $1 AND message_id = $2 AND lease_owner = $3 AND finished_at IS NULL
             RETURNING cancel_requested),
         appended AS (
             UPDATE sessions.messages
             SET content = CASE WHEN octet_length(content) = $7 THEN content
                     ELSE convert_from(substring(convert_to(content, 'UTF8') FROM 1 FOR $7), 'UTF8') END || $6,
                 updated_at = greatest(updated_at, coalesce($5, clock_timestamp()))
             WHERE user_id = $1 AND message_id = $2 AND $6 IS NOT NULL AND EXISTS (SELECT FROM reply)
             RETURNING pg_notify('replies', message_id::text))
         SELECT cancel_requested FROM reply LEFT JOIN appended ON true",
    )
    .bind::<Text, _>(name.user_id.as_str())
    .bind::<SqlUuid, _>(name.message_id)
    .bind::<SqlUuid, _>(lease.owner)
    .bind::<BigInt, _>(micros(lease.ttl))
    .bind::<Nullable<Timestamptz>, _>(pinned)
    .bind::<Nullable<Text>, _>(piece.map(|(_, text)| text))
    .bind::<Integer, _>(piece.map_or(0, |(behind, _)| i32::try_from(behind).unwrap_or(i32::MAX)))
    .get_result(conn)
    .await
    .optional()?;
    Ok(row.map(|row| row.cancel_requested))
}

pub(crate) async fn take_over(
    conn: &mut AsyncPgConnection,
    pinned: Option<OffsetDateTime>,
    name: &ReplyName,
    lease: Lease,
) -> Result<bool, DbError> {
    let taken = pg::sql(
        "UPDATE sessions.replies
         SET lease_owner = $3, lease_until = coalesce($5, clock_timestamp()) + $4 * interval '1 microsecond'
         WHERE user_id = $1 AND message_id = $2 AND finished_at IS NULL
             AND lease_until <= coalesce($5, clock_timestamp())",
    )
    .bind::<Text, _>(name.user_id.as_str())
    .bind::<SqlUuid, _>(name.message_id)
    .bind::<SqlUuid, _>(lease.owner)
    .bind::<BigInt, _>(micros(lease.ttl))
    .bind::<Nullable<Timestamptz>, _>(pinned)
    .execute(conn)
    .await?;
    Ok(taken > 0)
}

/// Locks a reply that has not ended, if `owner` has its lease.
pub(crate) async fn lock(
    conn: &mut AsyncPgConnection,
    name: &ReplyName,
    owner: Uuid,
) -> Result<bool, DbError> {
    let locked = pg::sql(
        "SELECT FROM sessions.replies WHERE user_id = $1 AND message_id = $2 AND lease_owner = $3 AND finished_at IS NULL
         FOR UPDATE",
    )
    .bind::<Text, _>(name.user_id.as_str())
    .bind::<SqlUuid, _>(name.message_id)
    .bind::<SqlUuid, _>(owner)
    .execute(conn)
    .await?;
    Ok(locked > 0)
}

/// Ends a locked reply. The totals of its session have room for its figures.
pub(crate) async fn end(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    name: &ReplyName,
    end: &ReplyEnd,
) -> Result<(), DbError> {
    let ended = pg::sql(
        "WITH reply AS (
             UPDATE sessions.replies
             SET finished_at = $3, error_code = $4, credits_charged = $5, balance_after = $6
             WHERE user_id = $1 AND message_id = $2 AND finished_at IS NULL
             RETURNING session_id, question_id),
         answer AS (
             UPDATE sessions.messages
             SET status = $7, content = coalesce($8, content), tool_calls = $9, tokens_used = $10, cost_usd = $11,
                 updated_at = greatest(updated_at, $3)
             WHERE user_id = $1 AND message_id = $2 AND EXISTS (SELECT FROM reply)
             RETURNING pg_notify('replies', message_id::text)),
         question AS (
             UPDATE sessions.messages
             SET status = CASE WHEN $7 = 'failed' THEN 'failed' ELSE 'completed' END, tokens_used = $12,
                 updated_at = greatest(updated_at, $3)
             FROM reply
             WHERE user_id = $1 AND message_id = reply.question_id)
         UPDATE sessions.sessions AS session
         SET total_tokens = session.total_tokens + $10 + $12, total_cost = session.total_cost + $11,
             updated_at = greatest(updated_at, $3)
         FROM reply, answer
         WHERE session.user_id = $1 AND session.session_id = reply.session_id",
    )
    .bind::<Text, _>(name.user_id.as_str())
    .bind::<SqlUuid, _>(name.message_id)
    .bind::<Timestamptz, _>(clock.now())
    .bind::<Nullable<Text>, _>(end.error_code)
    .bind::<BigInt, _>(end.credits_charged.micro())
    .bind::<BigInt, _>(end.balance_after.micro())
    .bind::<Text, _>(end.status.as_str())
    .bind::<Nullable<Text>, _>(end.content.as_deref())
    .bind::<Nullable<Jsonb>, _>(end.tool_calls.as_ref().map(Json::new))
    .bind::<BigInt, _>(end.completion_tokens)
    .bind::<BigInt, _>(end.cost_usd.nano())
    .bind::<BigInt, _>(end.prompt_tokens)
    .execute(conn)
    .await?;
    DbError::expect_rows("end of a reply", 1, ended)
}

/// The reply with this message of the assistant, running or finished.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn find(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    message_id: Uuid,
) -> Result<Option<Reply>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM (
             SELECT message.*, reply.question_id, reply.model, reply.hold_id, reply.held, reply.prompt_tokens, reply.max_tokens,
                 reply.cancel_requested, reply.finished_at, reply.error_code, reply.credits_charged, reply.balance_after,
                 question.id AS question_number, question.seq AS question_seq, session.id AS session_number
             FROM sessions.replies AS reply
             JOIN sessions.messages AS message USING (user_id, message_id)
             JOIN sessions.messages AS question
                 ON question.user_id = reply.user_id AND question.message_id = reply.question_id
             JOIN sessions.sessions AS session
                 ON session.user_id = reply.user_id AND session.session_id = reply.session_id
             WHERE reply.user_id = $1 AND reply.message_id = $2) AS reply",
        Reply::list("reply")
    )))
    .bind::<Text, _>(user.as_str())
    .bind::<SqlUuid, _>(message_id)
    .get_result(conn)
    .await
    .optional()?)
}

/// The reply of a user whose message of the assistant has this integer id, by its name.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn find_by_number(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    number: i64,
) -> Result<Option<ReplyName>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM sessions.messages AS message JOIN sessions.replies AS replies USING (user_id, message_id)
         WHERE message.id = $2 AND message.user_id = $1",
        ReplyName::list("replies")
    )))
    .bind::<Text, _>(user.as_str())
    .bind::<BigInt, _>(number)
    .get_result(conn)
    .await
    .optional()?)
}

/// The reply of a session that has not ended, with its hold.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn of_session(
    conn: &mut AsyncPgConnection,
    session_id: Uuid,
) -> Result<Option<(UserId, Option<Uuid>)>, DbError> {
    struct HeldRow {
        user_id: UserId,
        hold_id: Option<Uuid>,
    }
    pg::read_columns! { HeldRow: { user_id, hold_id } }
    let row: Option<HeldRow> = pg::sql(
        "SELECT reply.user_id, reply.hold_id FROM sessions.sessions AS session
         JOIN sessions.replies AS reply USING (user_id, session_id)
         WHERE session.session_id = $1 AND reply.finished_at IS NULL",
    )
    .bind::<SqlUuid, _>(session_id)
    .get_result(conn)
    .await
    .optional()?;
    Ok(row.map(|row| (row.user_id, row.hold_id)))
}

/// Asks whoever produces a reply to end it; false if it has ended.
///
/// # Errors
/// [`DbError`] when the database cannot be written.
pub async fn request_cancel(conn: &mut AsyncPgConnection, name: &ReplyName) -> Result<bool, DbError> {
    let asked = pg::sql(
        "WITH asked AS (
             UPDATE sessions.replies SET cancel_requested = true
             WHERE user_id = $1 AND message_id = $2 AND finished_at IS NULL RETURNING message_id)
         SELECT pg_notify('replies', message_id::text) FROM asked",
    )
    .bind::<Text, _>(name.user_id.as_str())
    .bind::<SqlUuid, _>(name.message_id)
    .execute(conn)
    .await?;
    Ok(asked > 0)
}

/// The text of a reply behind the first `offset` bytes; `None` if there is no such message.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn text_after(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    message_id: Uuid,
    offset: i64,
) -> Result<Option<ReplyText>, DbError> {
    let row: Option<TextRow> = pg::sql(
        "SELECT substring(convert_to(content, 'UTF8') FROM $3::integer + 1) AS text, status
         FROM sessions.messages WHERE user_id = $1 AND message_id = $2",
    )
    .bind::<Text, _>(user.as_str())
    .bind::<SqlUuid, _>(message_id)
    .bind::<BigInt, _>(offset)
    .get_result(conn)
    .await
    .optional()?;
    Ok(row.map(|row| ReplyText { bytes: row.text, status: row.status }))
}

/// The last completed messages of a session in front of `before`, oldest first: at most `limit`, and at most
/// [`PAGE_BYTES_MAX`] bytes.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn history(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    session_id: Uuid,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Message>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM (
             SELECT page.*, sum(size_bytes) OVER (ORDER BY seq DESC) AS bytes FROM (
                 SELECT * FROM sessions.messages
                 WHERE user_id = $1 AND session_id = $2 AND seq < $3
                     AND CASE WHEN status = 'completed' THEN true ELSE false END
                 ORDER BY seq DESC LIMIT $4) AS page) AS measured
         WHERE bytes <= $5 ORDER BY seq",
        Message::list("measured")
    )))
    .bind::<Text, _>(user.as_str())
    .bind::<SqlUuid, _>(session_id)
    .bind::<BigInt, _>(before.unwrap_or(i64::MAX))
    .bind::<BigInt, _>(limit)
    .bind::<BigInt, _>(PAGE_BYTES_MAX)
    .load(conn)
    .await?)
}

/// Replies whose process does not renew its lease any more, at most `limit`.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn expired(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    limit: i64,
) -> Result<Vec<ReplyName>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM sessions.replies
         WHERE finished_at IS NULL AND lease_until <= coalesce($1, clock_timestamp()) LIMIT $2",
        ReplyName::list("replies")
    )))
    .bind::<Nullable<Timestamptz>, _>(clock.pinned())
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.whole_microseconds()).unwrap_or(i64::MAX)
}
