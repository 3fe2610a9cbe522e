//! The table `sessions.sessions`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use diesel::{
    OptionalExtension,
    sql_types::{Array, BigInt, Bool, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{Found, Page, TimePlace, UserId, page::PAGE_BYTES_MAX};
use pg::{
    DbError,
    columns::{self, Json, Placeholders, Read, Written},
};
use time::{OffsetDateTime, macros::datetime};
use uuid::Uuid;

use crate::{NewSession, Session, SessionChange, SessionFilter, Status, rules::StoredStatus, rules::Tally};

pg::word_columns!(Status);

pg::read_columns! {
    Session: {
        id, session_id, user_id, title, conversation_data, metadata, status, message_count, total_tokens, total_cost, session_summary,
        created_at, updated_at, last_activity, expires_at
    }
}

/// A session with its status as it is stored, and when that was set.
struct Row {
    session: Session,
    status_set_at: Option<OffsetDateTime>,
}
pg::read_columns! { Row: { status_set_at } with { session: Session } }

/// The place in front of the newest session there can be. A first page then runs the same statement, and the same range
/// of the index, as every other page.
const NEWEST: TimePlace = TimePlace { at: datetime!(9999-12-31 23:59:59.999999 UTC), id: i64::MAX };

/// A session on a page that was measured.
struct PageRow {
    session: Row,
    /// Number of rows found for the page, those that were too large for it included.
    found: i64,
}
pg::read_columns! { PageRow: { found } with { session: Row } }

struct IdRow {
    session_id: Uuid,
}
pg::read_columns! { IdRow: { session_id } }

struct TallyRow {
    session_id: Uuid,
    tally: Tally,
}
pg::read_columns! { Tally: { user_id, message_count, total_tokens, total_cost, last_activity } }
pg::read_columns! { TallyRow: { session_id } with { tally: Tally } }

pg::written_columns! {
    ChangedTally = (session_id, tally): (Uuid, &'a Tally) {
        user_id: Text = tally.user_id.as_str(),
        session_id: SqlUuid = session_id,
        message_count: BigInt = tally.message_count,
        total_tokens: BigInt = tally.total_tokens,
        total_cost: BigInt = tally.total_cost.nano(),
        last_activity: Timestamptz = tally.last_activity,
    }
}

/// Adds a session and reads it as of `now`.
pub(crate) async fn insert(
    conn: &mut AsyncPgConnection,
    new: &NewSession,
    now: OffsetDateTime,
) -> Result<Session, DbError> {
    let row: Row = pg::sql(pg::once!(format!(
        "INSERT INTO sessions.sessions (user_id, session_id, title, conversation_data, metadata, expires_at,
             created_at, updated_at, last_activity)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $7) RETURNING {}",
        Row::list("sessions")
    )))
    .bind::<Text, _>(new.user_id.as_str())
    .bind::<SqlUuid, _>(new.session_id)
    .bind::<Nullable<Text>, _>(new.title.as_deref())
    .bind::<Jsonb, _>(Json::new(&new.conversation_data))
    .bind::<Jsonb, _>(Json::new(&new.metadata))
    .bind::<Nullable<Timestamptz>, _>(new.expires_at)
    .bind::<Timestamptz, _>(now)
    .get_result(conn)
    .await?;
    Ok(row.read_at(now))
}

/// The session with this id as of `now`, whoever owns it.
pub(crate) async fn find(
    conn: &mut AsyncPgConnection,
    session_id: Uuid,
    now: OffsetDateTime,
) -> Result<Option<Session>, DbError> {
    let row: Option<Row> = pg::sql(pg::once!(format!(
        "SELECT {} FROM sessions.sessions WHERE session_id = $1",
        Row::list("sessions")
    )))
    .bind::<SqlUuid, _>(session_id)
    .get_result(conn)
    .await
    .optional()?;
    Ok(row.map(|row| row.read_at(now)))
}

/// The session of a user with this integer id as of `now`.
pub(crate) async fn find_by_number(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    number: i64,
    now: OffsetDateTime,
) -> Result<Option<Session>, DbError> {
    let row: Option<Row> = pg::sql(pg::once!(format!(
        "SELECT {} FROM sessions.sessions WHERE id = $2 AND user_id = $1",
        Row::list("sessions")
    )))
    .bind::<Text, _>(user.as_str())
    .bind::<BigInt, _>(number)
    .get_result(conn)
    .await
    .optional()?;
    Ok(row.map(|row| row.read_at(now)))
}

/// One page of the sessions of `user` as of `now`, newest created first, as far as their bytes fit, and how many there
/// were. Built as the list of messages is.
pub(crate) async fn list(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    filter: SessionFilter,
    page: &Page<TimePlace>,
    now: OffsetDateTime,
) -> Result<Found<Session>, DbError> {
    let before = page.after().unwrap_or(&NEWEST);
    let rows: Vec<PageRow> = pg::sql(&LIST)
        .bind::<Text, _>(user.as_str())
        .bind::<Timestamptz, _>(before.at)
        .bind::<BigInt, _>(before.id)
        .bind::<Nullable<Text>, _>(filter.status.map(Status::as_str))
        .bind::<Timestamptz, _>(now)
        .bind::<BigInt, _>(page.rows())
        .bind::<BigInt, _>(page.offset())
        .bind::<BigInt, _>(page.limit())
        .bind::<BigInt, _>(PAGE_BYTES_MAX)
        .load(conn)
        .await?;
    let found = rows.as_slice().first().map_or(0, |row| row.found);
    Ok(Found { items: rows.into_iter().map(|row| row.session.read_at(now)).collect(), rows: found })
}

/// Locks the sessions that exist among `session_ids` until the end of the transaction and reads their counters.
///
/// The order of locking is the same for everyone, so two batches cannot wait for each other.
pub(crate) async fn lock(
    conn: &mut AsyncPgConnection,
    session_ids: &[Uuid],
) -> Result<BTreeMap<Uuid, Tally>, DbError> {
    let rows: Vec<TallyRow> = pg::sql(pg::once!(format!(
        "SELECT {} FROM sessions.sessions WHERE session_id = ANY($1) ORDER BY session_id FOR UPDATE",
        TallyRow::list("sessions")
    )))
    .bind::<Array<SqlUuid>, _>(session_ids)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.session_id, row.tally)).collect())
}

/// Those of the sessions that another transaction has locked. Locks the others, and waits for none.
pub(crate) async fn blocked(
    conn: &mut AsyncPgConnection,
    session_ids: &BTreeSet<Uuid>,
) -> Result<BTreeSet<Uuid>, DbError> {
    let rows: Vec<IdRow> = pg::sql(
        "WITH free AS MATERIALIZED (SELECT session_id FROM sessions.sessions WHERE session_id = ANY($1) \
           ORDER BY session_id FOR UPDATE SKIP LOCKED) \
         SELECT s.session_id FROM sessions.sessions s \
         WHERE s.session_id = ANY($1) AND NOT EXISTS (SELECT FROM free f WHERE f.session_id = s.session_id)",
    )
    .bind::<Array<SqlUuid>, _>(session_ids.iter().copied().collect::<Vec<_>>())
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.session_id).collect())
}

/// Writes the counters of locked sessions. The shared connection lets it be pipelined.
pub(crate) async fn update_tallies(
    mut conn: &AsyncPgConnection,
    tallies: &[(Uuid, &Tally)],
) -> Result<(), DbError> {
    let updated =
        pg::sql(&UPDATE).bind_rows::<ChangedTally>(tallies.iter().copied()).execute(&mut conn).await?;
    DbError::expect_rows("update of session counters", tallies.len(), updated)
}

/// Sets the status of a locked session and reads it as of `now`.
pub(crate) async fn set_status(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    session_id: Uuid,
    status: Status,
    now: OffsetDateTime,
) -> Result<Session, DbError> {
    let row: Row = pg::sql(pg::once!(format!(
        "UPDATE sessions.sessions
         SET status = $3, is_active = $4, status_set_at = $5, updated_at = greatest(updated_at, $5)
         WHERE user_id = $1 AND session_id = $2 RETURNING {}",
        Row::list("sessions")
    )))
    .bind::<Text, _>(user.as_str())
    .bind::<SqlUuid, _>(session_id)
    .bind::<Text, _>(status.as_str())
    .bind::<Bool, _>(status.is_active())
    .bind::<Timestamptz, _>(now)
    .get_result(conn)
    .await?;
    Ok(row.read_at(now))
}

/// Changes a locked session and reads it as of `now`.
pub(crate) async fn change(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    session_id: Uuid,
    change: &SessionChange,
    now: OffsetDateTime,
) -> Result<Session, DbError> {
    let SessionChange { title, metadata, session_summary, expires_at } = change;
    let row: Row = pg::sql(pg::once!(format!(
        "UPDATE sessions.sessions
         SET title = CASE WHEN $3 THEN $4 ELSE title END, metadata = coalesce($5, metadata),
             session_summary = coalesce($6, session_summary), expires_at = CASE WHEN $7 THEN $8 ELSE expires_at END,
             updated_at = greatest(updated_at, $9)
         WHERE user_id = $1 AND session_id = $2 RETURNING {}",
        Row::list("sessions")
    )))
    .bind::<Text, _>(user.as_str())
    .bind::<SqlUuid, _>(session_id)
    .bind::<Bool, _>(title.is_some())
    .bind::<Nullable<Text>, _>(title.as_ref().and_then(Option::as_deref))
    .bind::<Nullable<Jsonb>, _>(metadata.as_ref().map(Json::new))
    .bind::<Nullable<Text>, _>(session_summary.as_deref())
    .bind::<Bool, _>(expires_at.is_some())
    .bind::<Nullable<Timestamptz>, _>(expires_at.flatten())
    .bind::<Timestamptz, _>(now)
    .get_result(conn)
    .await?;
    Ok(row.read_at(now))
}

/// Deletes a locked session; its messages go with it.
pub(crate) async fn delete(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    session_id: Uuid,
) -> Result<(), DbError> {
    let deleted = pg::sql("DELETE FROM sessions.sessions WHERE user_id = $1 AND session_id = $2")
        .bind::<Text, _>(user.as_str())
        .bind::<SqlUuid, _>(session_id)
        .execute(conn)
        .await?;
    DbError::expect_rows("deletion of a session", 1, deleted)
}

/// The CASE is `StoredStatus::at`; both must say the same.
pub(super) static LIST: LazyLock<String> = LazyLock::new(|| {
    format!(
        "
SELECT {}
FROM (
    SELECT page.*, count(*) OVER () AS found, row_number() OVER walk AS nth, sum(size_bytes) OVER walk AS bytes
    FROM (
        SELECT * FROM sessions.sessions
        WHERE user_id = $1 AND (created_at, id) < ($2, $3)
          AND CASE WHEN $4::text IS NULL THEN true ELSE $4 = CASE
                  WHEN expires_at <= $5 AND coalesce(status_set_at < expires_at, true) THEN 'expired' ELSE status END END
        ORDER BY created_at DESC, id DESC LIMIT $6 OFFSET $7
    ) AS page
    WINDOW walk AS (ORDER BY created_at DESC, id DESC ROWS UNBOUNDED PRECEDING)
) AS measured
WHERE nth = 1 OR (nth <= $8 AND bytes <= $9) ORDER BY created_at DESC, id DESC",
        PageRow::list("measured")
    )
});

pub(super) static UPDATE: LazyLock<String> = LazyLock::new(|| {
    let columns = ChangedTally::COLUMNS;
    format!(
        "UPDATE sessions.sessions AS s
         SET message_count = new.message_count, total_tokens = new.total_tokens, total_cost = new.total_cost,
             last_activity = new.last_activity, updated_at = greatest(s.updated_at, new.last_activity)
         FROM {} AS new ({})
         WHERE s.user_id = new.user_id AND s.session_id = new.session_id",
        Placeholders::default().unnest(columns),
        columns::names(columns)
    )
});

impl Row {
    fn read_at(self, now: OffsetDateTime) -> Session {
        let Session { status, expires_at, .. } = self.session;
        let stored = StoredStatus { status, set_at: self.status_set_at, expires_at };
        Session { status: stored.at(now), ..self.session }
    }
}
