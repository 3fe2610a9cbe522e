//! Writing the tables of the message index.

use std::sync::LazyLock;

use diesel::{
    OptionalExtension,
    sql_types::{Array, BigInt, Binary, Bool, SmallInt, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::UserId;
use pg::{
    DbError,
    columns::{Placeholders, Read, Written},
};
use time::OffsetDateTime;
use uuid::Uuid;

use super::search::Stretch;
use crate::{
    IndexHorizon, SegmentSize,
    search::segment::{Segment, Source},
};

/// A message that is to be indexed.
pub(crate) struct SourceRow {
    pub(crate) source: Source,
    pub(crate) created_at: OffsetDateTime,
    /// False where the bytes are beyond the limit.
    pub(crate) fits: bool,
}
pg::read_columns! { Source: { id, content, role, session_id } }
pg::read_columns! { SourceRow: { created_at, fits } with { source: Source } }

/// A segment that is to be made again.
pub(crate) struct Stale {
    pub(crate) user_id: UserId,
    pub(crate) stretch: Stretch,
}
pg::read_columns! { Stale: { user_id } with { stretch: Stretch } }

/// Messages of which one is in no segment.
struct RestRow {
    messages: i64,
    bytes: i64,
}
pg::read_columns! { RestRow: { messages, bytes } }

struct HorizonRow {
    up_to: Option<i64>,
    until: i64,
}
pg::read_columns! { HorizonRow: { up_to, until } }

struct IsPastRow {
    is_past: bool,
}
pg::read_columns! { IsPastRow: { is_past } }

struct CountRow {
    count: i64,
}
pg::read_columns! { CountRow: { count } }

pg::written_columns! {
    BucketRow = (user, after_id, (bucket, postings)): (&'a UserId, i64, &'a (i16, Vec<u8>)) {
        user_id: Text = user.as_str(),
        after_id: BigInt = after_id,
        bucket: SmallInt = *bucket,
        postings: Binary = postings.as_slice(),
    }
}

/// Returns true if so many messages or bytes of a user are between two ids, the last one included.
pub(crate) async fn has_rest(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    (after, last): (i64, i64),
    (messages, bytes): (i64, i64),
) -> Result<bool, DbError> {
    let rest: RestRow = pg::sql(REST)
        .bind::<Text, _>(user.as_str())
        .bind::<BigInt, _>(after)
        .bind::<BigInt, _>(last)
        .bind::<BigInt, _>(messages)
        .get_result(conn)
        .await?;
    Ok(rest.messages >= messages || rest.bytes >= bytes)
}

/// The newest message of a user, with the transactions that may still add messages below it. They have an id when they take the
/// one of a message, as they have locked its session, so it is below the one that this transaction takes now. The end of the
/// snapshot would not do: transactions beyond it may have begun, as it follows the last one that has ended.
pub(crate) async fn horizon(
    conn: &mut AsyncPgConnection,
    user: &UserId,
) -> Result<Option<IndexHorizon>, DbError> {
    let row: HorizonRow = pg::sql(
        "SELECT max(id) AS up_to, pg_current_xact_id()::text::bigint AS until
         FROM sessions.messages WHERE user_id = $1",
    )
    .bind::<Text, _>(user.as_str())
    .get_result(conn)
    .await?;
    let user_id = user.clone();
    Ok(row.up_to.map(|up_to| IndexHorizon { user_id, up_to, until: row.until }))
}

/// Returns true if all transactions before this one have ended.
pub(crate) async fn is_past(conn: &mut AsyncPgConnection, until: i64) -> Result<bool, DbError> {
    let row: IsPastRow =
        pg::sql("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint >= $1 AS is_past")
            .bind::<BigInt, _>(until)
            .get_result(conn)
            .await?;
    Ok(row.is_past)
}

/// Messages of a user between two ids, the last one included, oldest first, at most as many as a segment has, with the texts that
/// are settled and fit into its bytes.
pub(crate) async fn sources(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    (after, last): (i64, i64),
    size: SegmentSize,
) -> Result<Vec<SourceRow>, DbError> {
    Ok(pg::sql(&SOURCES)
        .bind::<Text, _>(user.as_str())
        .bind::<BigInt, _>(after)
        .bind::<BigInt, _>(last)
        .bind::<BigInt, _>(size.messages)
        .bind::<BigInt, _>(size.bytes)
        .load(conn)
        .await?)
}

/// Adds a segment; false if another process has added one in its place.
pub(crate) async fn insert(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    stretch: &Stretch,
    segment: &Segment,
) -> Result<bool, DbError> {
    let sql = pg::sql(
        "INSERT INTO sessions.search_segments
             (user_id, after_id, last_id, first_at, last_at, is_full, message_ids, unsettled)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
    );
    let added = bound(sql, user, stretch, segment).execute(conn).await?;
    if added == 0 {
        return Ok(false);
    }
    insert_postings(conn, user, stretch.after_id, segment).await?;
    Ok(true)
}

/// Writes a locked segment anew.
pub(crate) async fn replace(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    stretch: &Stretch,
    segment: &Segment,
) -> Result<(), DbError> {
    pg::sql("DELETE FROM sessions.search_postings WHERE user_id = $1 AND after_id = $2")
        .bind::<Text, _>(user.as_str())
        .bind::<BigInt, _>(stretch.after_id)
        .execute(conn)
        .await?;
    let sql = pg::sql(
        "UPDATE sessions.search_segments SET last_id = $3, first_at = $4, last_at = $5, is_full = $6,
             message_ids = $7, unsettled = $8, is_stale = false
         WHERE user_id = $1 AND after_id = $2",
    );
    let updated = bound(sql, user, stretch, segment).execute(conn).await?;
    DbError::expect_rows("update of a segment", 1, updated)?;
    insert_postings(conn, user, stretch.after_id, segment).await
}

fn bound<'a>(sql: pg::Sql<'a>, user: &'a UserId, stretch: &Stretch, segment: &'a Segment) -> pg::Sql<'a> {
    sql.bind::<Text, _>(user.as_str())
        .bind::<BigInt, _>(stretch.after_id)
        .bind::<BigInt, _>(stretch.last_id)
        .bind::<Timestamptz, _>(stretch.first_at)
        .bind::<Timestamptz, _>(stretch.last_at)
        .bind::<Bool, _>(stretch.is_full)
        .bind::<Binary, _>(segment.message_ids.as_slice())
        .bind::<Binary, _>(segment.unsettled.as_slice())
}

async fn insert_postings(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    after_id: i64,
    segment: &Segment,
) -> Result<(), DbError> {
    let rows = segment.buckets.iter().map(|bucket| (user, after_id, bucket));
    let added =
        pg::sql(pg::once!(Placeholders::default().insert("sessions.search_postings", BucketRow::COLUMNS)))
            .bind_rows::<BucketRow>(rows)
            .execute(conn)
            .await?;
    DbError::expect_rows("insertion of postings", segment.buckets.len(), added)
}

/// Keeps these sessions from being deleted until the end of the transaction, as far as they exist; returns their number.
///
/// Waits for those that are being written, in the order in which all lock them.
pub(crate) async fn hold_sessions(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    session_ids: &[Uuid],
) -> Result<usize, DbError> {
    let row: CountRow = pg::sql(
        "SELECT count(*) AS count FROM (
             SELECT FROM sessions.sessions WHERE user_id = $1 AND session_id = ANY($2)
             ORDER BY session_id FOR KEY SHARE) AS held",
    )
    .bind::<Text, _>(user.as_str())
    .bind::<Array<SqlUuid>, _>(session_ids)
    .get_result(conn)
    .await?;
    Ok(usize::try_from(row.count).unwrap_or_default())
}

/// Locks a segment that still grows; false if another transaction has locked, changed or deleted it.
pub(crate) async fn lock_growing(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    stretch: &Stretch,
) -> Result<bool, DbError> {
    let locked = pg::sql(
        "SELECT FROM sessions.search_segments
         WHERE user_id = $1 AND after_id = $2 AND last_id = $3 AND NOT is_full FOR UPDATE SKIP LOCKED",
    )
    .bind::<Text, _>(user.as_str())
    .bind::<BigInt, _>(stretch.after_id)
    .bind::<BigInt, _>(stretch.last_id)
    .execute(conn)
    .await?;
    Ok(locked == 1)
}

/// Locks a segment that is stale and that no other transaction has locked.
pub(crate) async fn lock_stale(conn: &mut AsyncPgConnection) -> Result<Option<Stale>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM sessions.search_segments WHERE is_stale
         ORDER BY user_id, after_id LIMIT 1 FOR UPDATE SKIP LOCKED",
        Stale::list("search_segments")
    )))
    .get_result(conn)
    .await
    .optional()?)
}

/// Marks the segments with messages of a locked session as stale.
///
/// Also those that are marked already: one that is being made again may still have the messages, so it is waited for.
pub(crate) async fn mark_stale(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    session_id: Uuid,
) -> Result<(), DbError> {
    pg::sql(MARK_STALE).bind::<Text, _>(user.as_str()).bind::<SqlUuid, _>(session_id).execute(conn).await?;
    Ok(())
}

pub(super) static SOURCES: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {}
FROM (
    SELECT page.*, row_number() OVER walk = 1 OR sum(octet_length(content)) OVER walk <= $5 AS fits
    FROM (
        SELECT id, content, role, session_id, status, created_at FROM sessions.messages
        WHERE user_id = $1 AND id > $2 AND id <= $3 ORDER BY id LIMIT $4
    ) AS page
    WINDOW walk AS (ORDER BY id ROWS UNBOUNDED PRECEDING)
) AS measured ORDER BY id",
        SourceRow::list_but(
            "measured",
            &[("content", "CASE WHEN fits AND status NOT IN ('in_progress', 'failed') THEN content END")]
        )
    )
});

/// Messages in no segment are read, not counted beyond what fills a step.
pub(super) const REST: &str = "SELECT count(*) AS messages, coalesce(sum(size_bytes), 0)::bigint AS bytes
FROM (
    SELECT size_bytes FROM sessions.messages
    WHERE user_id = $1 AND id > $2 AND id <= $3 ORDER BY id LIMIT $4
) AS rest";

pub(super) const MARK_STALE: &str = "
WITH found AS MATERIALIZED (
    SELECT DISTINCT segment.after_id
    FROM sessions.messages AS message
    CROSS JOIN LATERAL (
        SELECT after_id, last_id FROM sessions.search_segments
        WHERE user_id = $1 AND after_id < message.id ORDER BY after_id DESC LIMIT 1
    ) AS segment
    WHERE message.user_id = $1 AND message.session_id = $2 AND message.id <= segment.last_id
), locked AS MATERIALIZED (
    SELECT after_id FROM sessions.search_segments
    WHERE user_id = $1 AND after_id IN (SELECT after_id FROM found) ORDER BY after_id FOR NO KEY UPDATE
)
UPDATE sessions.search_segments SET is_stale = true
WHERE user_id = $1 AND after_id IN (SELECT after_id FROM locked)";
