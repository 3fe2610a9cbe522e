//! The table `sessions.sessions`.

use std::collections::{BTreeMap, BTreeSet};

use diesel::{
    OptionalExtension, QueryableByName,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{Found, FreeForm, Page, TimePlace, Usd, UserId, page::PAGE_BYTES_MAX};
use pg::DbError;
use time::{OffsetDateTime, macros::datetime};
use uuid::Uuid;

use crate::{NewSession, Session, SessionFilter, Status, rules::StoredStatus, rules::Tally};

/// What a [`Row`] is loaded from. JSON travels as text, so that no number becomes a float on the way.
macro_rules! columns {
    () => {
        "id, session_id, user_id, title, conversation_data::text AS conversation_data, metadata::text AS metadata, \
         status, message_count, total_tokens, total_cost, session_summary, created_at, updated_at, last_activity, \
         expires_at, status_set_at"
    };
}

/// The place in front of the newest session there can be. A first page then runs the same statement, and the same range
/// of the index, as every other page.
const NEWEST: TimePlace = TimePlace { at: datetime!(9999-12-31 23:59:59.999999 UTC), id: i64::MAX };

/// A session on a page that was measured.
#[derive(QueryableByName)]
struct PageRow {
    #[diesel(embed)]
    session: Row,
    /// How many rows were found for the page, those that were too large for it included.
    #[diesel(sql_type = BigInt)]
    found: i64,
}

#[derive(QueryableByName)]
struct IdRow {
    #[diesel(sql_type = SqlUuid)]
    session_id: Uuid,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = SqlUuid)]
    session_id: Uuid,
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = Nullable<Text>)]
    title: Option<String>,
    #[diesel(sql_type = Text)]
    conversation_data: String,
    #[diesel(sql_type = Text)]
    metadata: String,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = BigInt)]
    message_count: i64,
    #[diesel(sql_type = BigInt)]
    total_tokens: i64,
    #[diesel(sql_type = BigInt)]
    total_cost: i64,
    #[diesel(sql_type = Text)]
    session_summary: String,
    #[diesel(sql_type = Timestamptz)]
    created_at: OffsetDateTime,
    #[diesel(sql_type = Timestamptz)]
    updated_at: OffsetDateTime,
    #[diesel(sql_type = Timestamptz)]
    last_activity: OffsetDateTime,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    expires_at: Option<OffsetDateTime>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    status_set_at: Option<OffsetDateTime>,
}

#[derive(QueryableByName)]
struct TallyRow {
    #[diesel(sql_type = SqlUuid)]
    session_id: Uuid,
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = BigInt)]
    message_count: i64,
    #[diesel(sql_type = BigInt)]
    total_tokens: i64,
    #[diesel(sql_type = BigInt)]
    total_cost: i64,
    #[diesel(sql_type = Timestamptz)]
    last_activity: OffsetDateTime,
}

/// Adds a session and reads it as of `now`.
pub(crate) async fn insert(
    conn: &mut AsyncPgConnection,
    new: &NewSession,
    now: OffsetDateTime,
) -> Result<Session, DbError> {
    let row: Row = pg::sql(concat!(
        "INSERT INTO sessions.sessions (user_id, session_id, title, conversation_data, metadata, expires_at, \
             created_at, updated_at, last_activity) \
         VALUES ($1, $2, $3, $4::text::jsonb, $5::text::jsonb, $6, $7, $7, $7) RETURNING ",
        columns!()
    ))
    .bind::<Text, _>(new.user_id.as_str())
    .bind::<SqlUuid, _>(new.session_id)
    .bind::<Nullable<Text>, _>(new.title.as_deref())
    .bind::<Text, _>(new.conversation_data.as_json())
    .bind::<Text, _>(new.metadata.as_json())
    .bind::<Nullable<Timestamptz>, _>(new.expires_at)
    .bind::<Timestamptz, _>(now)
    .get_result(conn)
    .await?;
    row.read_at(now)
}

/// The session with this id as of `now`, whoever owns it.
pub(crate) async fn find(
    conn: &mut AsyncPgConnection,
    session_id: Uuid,
    now: OffsetDateTime,
) -> Result<Option<Session>, DbError> {
    let row: Option<Row> =
        pg::sql(concat!("SELECT ", columns!(), " FROM sessions.sessions WHERE session_id = $1"))
            .bind::<SqlUuid, _>(session_id)
            .get_result(conn)
            .await
            .optional()?;
    row.map(|row| row.read_at(now)).transpose()
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
    // The CASE is `StoredStatus::at`; both must say the same.
    let rows: Vec<PageRow> = pg::sql(concat!(
        "SELECT ",
        columns!(),
        ", found FROM ( \
             SELECT page.*, count(*) OVER () AS found, row_number() OVER walk AS nth, \
                 sum(size_bytes) OVER walk AS bytes \
             FROM ( \
                 SELECT * FROM sessions.sessions \
                 WHERE user_id = $1 AND (created_at, id) < ($2, $3) \
                     AND CASE WHEN $4::text IS NULL THEN true ELSE $4 = CASE \
                         WHEN expires_at <= $5 AND coalesce(status_set_at < expires_at, true) THEN 'expired' \
                         ELSE status END END \
                 ORDER BY created_at DESC, id DESC LIMIT $6 OFFSET $7 \
             ) AS page \
             WINDOW walk AS (ORDER BY created_at DESC, id DESC ROWS UNBOUNDED PRECEDING) \
         ) AS measured \
         WHERE nth = 1 OR (nth <= $8 AND bytes <= $9) ORDER BY created_at DESC, id DESC"
    ))
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
    let items = rows.into_iter().map(|row| row.session.read_at(now));
    Ok(Found { items: items.collect::<Result<_, _>>()?, rows: found })
}

/// Locks the sessions that exist among `session_ids` until the end of the transaction and reads their counters.
///
/// The order of locking is the same for everyone, so two batches cannot wait for each other.
pub(crate) async fn lock(
    conn: &mut AsyncPgConnection,
    session_ids: &[Uuid],
) -> Result<BTreeMap<Uuid, Tally>, DbError> {
    let rows: Vec<TallyRow> = pg::sql(
        "SELECT session_id, user_id, message_count, total_tokens, total_cost, last_activity \
         FROM sessions.sessions WHERE session_id = ANY($1) ORDER BY session_id FOR UPDATE",
    )
    .bind::<Array<SqlUuid>, _>(session_ids)
    .load(conn)
    .await?;
    rows.into_iter().map(|row| Ok((row.session_id, row.into_tally()?))).collect()
}

/// Those of the sessions that another transaction has locked. Locks the others, and waits for none.
pub(crate) async fn held_up(
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
    let column =
        |value: fn(&Tally) -> i64| -> Vec<i64> { tallies.iter().map(|(_, tally)| value(tally)).collect() };
    let updated = pg::sql(
        "UPDATE sessions.sessions AS s \
         SET message_count = new.message_count, total_tokens = new.total_tokens, total_cost = new.total_cost, \
             last_activity = new.last_activity, updated_at = greatest(s.updated_at, new.last_activity) \
         FROM unnest($1, $2, $3, $4, $5, $6) \
             AS new (user_id, session_id, message_count, total_tokens, total_cost, last_activity) \
         WHERE s.user_id = new.user_id AND s.session_id = new.session_id",
    )
    .bind::<Array<Text>, _>(
        tallies
            .iter()
            .map(|(_, tally)| tally.user_id.as_str())
            .collect::<Vec<_>>(),
    )
    .bind::<Array<SqlUuid>, _>(tallies.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(column(|tally| tally.message_count))
    .bind::<Array<BigInt>, _>(column(|tally| tally.total_tokens))
    .bind::<Array<BigInt>, _>(column(|tally| tally.total_cost.nano()))
    .bind::<Array<Timestamptz>, _>(
        tallies
            .iter()
            .map(|(_, tally)| tally.last_activity)
            .collect::<Vec<_>>(),
    )
    .execute(&mut conn)
    .await?;
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
    let row: Row = pg::sql(concat!(
        "UPDATE sessions.sessions \
         SET status = $3, is_active = $4, status_set_at = $5, updated_at = greatest(updated_at, $5) \
         WHERE user_id = $1 AND session_id = $2 RETURNING ",
        columns!()
    ))
    .bind::<Text, _>(user.as_str())
    .bind::<SqlUuid, _>(session_id)
    .bind::<Text, _>(status.as_str())
    .bind::<Bool, _>(status.is_active())
    .bind::<Timestamptz, _>(now)
    .get_result(conn)
    .await?;
    row.read_at(now)
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

impl Row {
    fn read_at(self, now: OffsetDateTime) -> Result<Session, DbError> {
        let status = StoredStatus {
            status: self
                .status
                .parse()
                .map_err(|_| super::inconsistent("session", &self.session_id, "status"))?,
            set_at: self.status_set_at,
            expires_at: self.expires_at,
        };
        Ok(Session {
            id: self.id,
            session_id: self.session_id,
            user_id: super::user_id(&self.user_id, "session", &self.session_id)?,
            title: self.title,
            conversation_data: FreeForm::stored(self.conversation_data),
            metadata: FreeForm::stored(self.metadata),
            status: status.at(now),
            message_count: self.message_count,
            total_tokens: self.total_tokens,
            total_cost: Usd::from_nano(self.total_cost),
            session_summary: self.session_summary,
            created_at: self.created_at,
            updated_at: self.updated_at,
            last_activity: self.last_activity,
            expires_at: self.expires_at,
        })
    }
}

impl TallyRow {
    fn into_tally(self) -> Result<Tally, DbError> {
        Ok(Tally {
            user_id: super::user_id(&self.user_id, "session", &self.session_id)?,
            message_count: self.message_count,
            total_tokens: self.total_tokens,
            total_cost: Usd::from_nano(self.total_cost),
            last_activity: self.last_activity,
        })
    }
}
