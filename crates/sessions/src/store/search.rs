//! The tables of the message index, and reading messages for a search.

use std::sync::LazyLock;

use diesel::{
    OptionalExtension,
    sql_types::{Array, BigInt, Binary, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{UserId, page::PAGE_BYTES_MAX};
use pg::{
    DbError,
    columns::{Placeholders, Read, Written},
};
use time::{OffsetDateTime, macros::datetime};
use uuid::Uuid;

use crate::{
    IndexHorizon, Message, Role, SearchQuery, SegmentSize,
    search::segment::{Segment, Source},
};

/// Instants that every message lies between.
const ALWAYS: (OffsetDateTime, OffsetDateTime) =
    (datetime!(0001-01-01 0:00 UTC), datetime!(9999-12-31 23:59:59.999999 UTC));

/// Ids and times of the messages of a segment.
pub(crate) struct Stretch {
    pub(crate) after_id: i64,
    pub(crate) last_id: i64,
    pub(crate) first_at: OffsetDateTime,
    pub(crate) last_at: OffsetDateTime,
}
pg::read_columns! { Stretch: { after_id, last_id, first_at, last_at } }

/// A segment without its postings.
pub(crate) struct SegmentRow {
    pub(crate) stretch: Stretch,
    pub(crate) unsettled: Vec<u8>,
}
pg::read_columns! { SegmentRow: { unsettled } with { stretch: Stretch } }

/// A bucket of a segment.
pub(crate) struct Bucket {
    pub(crate) after_id: i64,
    pub(crate) bucket: i16,
    pub(crate) postings: Vec<u8>,
}
pg::read_columns! { Bucket: { after_id, bucket, postings } }

/// The ids of the messages of a segment.
pub(crate) struct Ids {
    pub(crate) after_id: i64,
    pub(crate) message_ids: Vec<u8>,
}
pg::read_columns! { Ids: { after_id, message_ids } }

/// A message that was read.
pub(crate) struct TextRow {
    pub(crate) id: i64,
    /// The text, if the message passes the filter.
    pub(crate) content: Option<String>,
    /// Number of rows found, those that were too large for this reading included.
    pub(crate) found: i64,
}
pg::read_columns! { TextRow: { id, content, found } }

/// A message with the title of its session.
pub(crate) struct TitledRow {
    pub(crate) message: Message,
    pub(crate) session_title: Option<String>,
}
pg::read_columns! { TitledRow: { session_title = "session.title" } with { message: Message } }

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
    pub(crate) after_id: i64,
    pub(crate) last_id: i64,
}
pg::read_columns! { Stale: { user_id, after_id, last_id } }

struct HorizonRow {
    up_to: Option<i64>,
    until: i64,
}
pg::read_columns! { HorizonRow: { up_to, until } }

struct IsPastRow {
    is_past: bool,
}
pg::read_columns! { IsPastRow: { is_past } }

struct IdRow {
    id: Option<i64>,
}
pg::read_columns! { IdRow: { id } }

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

/// The last message of a user that is in a segment; 0 if there is none.
pub(crate) async fn covered(conn: &mut AsyncPgConnection, user: &UserId) -> Result<i64, DbError> {
    let row: Option<IdRow> = pg::sql(
        "SELECT last_id AS id FROM sessions.search_segments WHERE user_id = $1 ORDER BY after_id DESC LIMIT 1",
    )
    .bind::<Text, _>(user.as_str())
    .get_result(conn)
    .await
    .optional()?;
    Ok(row.and_then(|row| row.id).unwrap_or(0))
}

/// Segments with messages below an id, newest first.
pub(crate) async fn segments(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    below: i64,
    limit: i64,
) -> Result<Vec<SegmentRow>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM sessions.search_segments
         WHERE user_id = $1 AND after_id < $2 - 1 ORDER BY after_id DESC LIMIT $3",
        SegmentRow::list("search_segments")
    )))
    .bind::<Text, _>(user.as_str())
    .bind::<BigInt, _>(below)
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?)
}

/// Some buckets of segments.
pub(crate) async fn postings(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    segments: &[i64],
    buckets: &[i16],
) -> Result<Vec<Bucket>, DbError> {
    Ok(pg::sql(&POSTINGS)
        .bind::<Text, _>(user.as_str())
        .bind::<Array<BigInt>, _>(segments)
        .bind::<Array<SmallInt>, _>(buckets)
        .load(conn)
        .await?)
}

/// The ids of the messages of segments.
pub(crate) async fn message_ids(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    segments: &[i64],
) -> Result<Vec<Ids>, DbError> {
    Ok(pg::sql(&MESSAGE_IDS)
        .bind::<Text, _>(user.as_str())
        .bind::<Array<BigInt>, _>(segments)
        .load(conn)
        .await?)
}

/// Reads the messages of a user between two ids, newest first, as far as their bytes fit; the first always does.
pub(crate) async fn texts_between(
    conn: &mut AsyncPgConnection,
    query: &SearchQuery,
    (after, below): (i64, i64),
    (rows, bytes): (i64, i64),
) -> Result<Vec<TextRow>, DbError> {
    let sql = pg::sql(&TEXTS_BETWEEN).bind::<Text, _>(query.user_id.as_str());
    let sql = sql.bind::<BigInt, _>(rows).bind::<BigInt, _>(bytes);
    Ok(filtered(sql, query).bind::<BigInt, _>(after).bind::<BigInt, _>(below).load(conn).await?)
}

/// Reads those of these messages of a user that still exist, as [`texts_between`] does.
pub(crate) async fn texts_of(
    conn: &mut AsyncPgConnection,
    query: &SearchQuery,
    ids: &[i64],
    bytes: i64,
) -> Result<Vec<TextRow>, DbError> {
    let rows = i64::try_from(ids.len()).unwrap_or(i64::MAX);
    let sql = pg::sql(&TEXTS_OF).bind::<Text, _>(query.user_id.as_str());
    let sql = sql.bind::<BigInt, _>(rows).bind::<BigInt, _>(bytes);
    Ok(filtered(sql, query).bind::<Array<BigInt>, _>(ids).load(conn).await?)
}

fn filtered<'a>(sql: pg::Sql<'a>, query: &'a SearchQuery) -> pg::Sql<'a> {
    sql.bind::<Nullable<SqlUuid>, _>(query.session_id)
        .bind::<Nullable<Text>, _>(query.role.map(Role::as_str))
        .bind::<Timestamptz, _>(query.from.unwrap_or(ALWAYS.0))
        .bind::<Timestamptz, _>(query.to.unwrap_or(ALWAYS.1))
}

/// Whole messages by their ids, newest first, as far as they fit on a page.
pub(crate) async fn titled(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    ids: &[i64],
) -> Result<Vec<TitledRow>, DbError> {
    Ok(pg::sql(&TITLED)
        .bind::<Text, _>(user.as_str())
        .bind::<Array<BigInt>, _>(ids)
        .bind::<BigInt, _>(PAGE_BYTES_MAX)
        .load(conn)
        .await?)
}

/// The newest message of a user, with the transactions that may still add messages below it. They have an id when they take the
/// one of a message: they have locked its session.
pub(crate) async fn horizon(
    conn: &mut AsyncPgConnection,
    user: &UserId,
) -> Result<Option<IndexHorizon>, DbError> {
    let row: HorizonRow = pg::sql(
        "SELECT max(id) AS up_to, pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS until
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
    let added = pg::sql(
        "INSERT INTO sessions.search_segments (user_id, after_id, last_id, message_ids, unsettled, first_at, last_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
    )
    .bind::<Text, _>(user.as_str())
    .bind::<BigInt, _>(stretch.after_id)
    .bind::<BigInt, _>(stretch.last_id)
    .bind::<Binary, _>(segment.message_ids.as_slice())
    .bind::<Binary, _>(segment.unsettled.as_slice())
    .bind::<Timestamptz, _>(stretch.first_at)
    .bind::<Timestamptz, _>(stretch.last_at)
    .execute(conn)
    .await?;
    if added == 0 {
        return Ok(false);
    }
    insert_postings(conn, user, stretch.after_id, segment).await?;
    Ok(true)
}

/// Writes a locked segment anew.
pub(crate) async fn replace(
    conn: &mut AsyncPgConnection,
    stale: &Stale,
    segment: &Segment,
) -> Result<(), DbError> {
    pg::sql("DELETE FROM sessions.search_postings WHERE user_id = $1 AND after_id = $2")
        .bind::<Text, _>(stale.user_id.as_str())
        .bind::<BigInt, _>(stale.after_id)
        .execute(conn)
        .await?;
    let updated = pg::sql(
        "UPDATE sessions.search_segments SET message_ids = $3, unsettled = $4, is_stale = false
         WHERE user_id = $1 AND after_id = $2",
    )
    .bind::<Text, _>(stale.user_id.as_str())
    .bind::<BigInt, _>(stale.after_id)
    .bind::<Binary, _>(segment.message_ids.as_slice())
    .bind::<Binary, _>(segment.unsettled.as_slice())
    .execute(conn)
    .await?;
    DbError::expect_rows("update of a segment", 1, updated)?;
    insert_postings(conn, &stale.user_id, stale.after_id, segment).await
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

/// Here and below: each row is looked up by its whole key. By ANY, or by a join, a plan that is made without values may read all
/// rows of the user.
pub(super) static POSTINGS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {}
FROM unnest($2::bigint[]) AS segment (wanted_segment) CROSS JOIN unnest($3::smallint[]) AS bucket (wanted_bucket)
CROSS JOIN LATERAL (
    SELECT * FROM sessions.search_postings
    WHERE user_id = $1 AND after_id = wanted_segment AND bucket = wanted_bucket LIMIT 1
) AS found",
        Bucket::list("found")
    )
});

pub(super) static MESSAGE_IDS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {}
FROM unnest($2::bigint[]) AS segment (wanted_segment)
CROSS JOIN LATERAL (
    SELECT * FROM sessions.search_segments WHERE user_id = $1 AND after_id = wanted_segment LIMIT 1
) AS found",
        Ids::list("found")
    )
});

/// The filter decides which texts are sent, not which rows are read: a filter that nothing passes must not make one statement
/// read everything.
fn texts(messages: &str) -> String {
    format!(
        "SELECT id, CASE WHEN passes THEN content END AS content, found
FROM (
    SELECT page.*, count(*) OVER () AS found, row_number() OVER walk AS nth,
        sum(CASE WHEN passes THEN size_bytes ELSE 0 END) OVER walk AS bytes
    FROM (
        SELECT id, content, size_bytes,
            ($4::uuid IS NULL OR session_id = $4) AND ($5::text IS NULL OR role = $5)
                AND created_at BETWEEN $6 AND $7 AS passes
        FROM {messages} ORDER BY id DESC LIMIT $2
    ) AS page
    WINDOW walk AS (ORDER BY id DESC ROWS UNBOUNDED PRECEDING)
) AS measured
WHERE nth = 1 OR bytes <= $3 ORDER BY id DESC"
    )
}

pub(super) static TEXTS_BETWEEN: LazyLock<String> =
    LazyLock::new(|| texts("sessions.messages WHERE user_id = $1 AND id > $8 AND id < $9"));

pub(super) static TEXTS_OF: LazyLock<String> = LazyLock::new(|| texts(&messages_of("$8")));

/// The messages of the user `$1` with the ids of an array.
fn messages_of(ids: &str) -> String {
    format!(
        "unnest({ids}::bigint[]) AS wanted (wanted_id)
        CROSS JOIN LATERAL (SELECT * FROM sessions.messages WHERE user_id = $1 AND id = wanted_id LIMIT 1) AS messages"
    )
}

pub(super) static TITLED: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {}
FROM (
    SELECT page.*, row_number() OVER walk AS nth, sum(size_bytes) OVER walk AS bytes
    FROM (SELECT messages.* FROM {}) AS page
    WINDOW walk AS (ORDER BY id DESC ROWS UNBOUNDED PRECEDING)
) AS measured
JOIN sessions.sessions AS session ON session.user_id = $1 AND session.session_id = measured.session_id
WHERE nth = 1 OR bytes <= $3 ORDER BY measured.id DESC",
        TitledRow::list("measured"),
        messages_of("$2")
    )
});

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
