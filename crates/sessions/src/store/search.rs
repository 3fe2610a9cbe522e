//! Reading the tables of the message index, and messages, for a search.

use std::sync::LazyLock;

use diesel::{
    OptionalExtension,
    sql_types::{Array, BigInt, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{UserId, page::PAGE_BYTES_MAX};
use pg::{DbError, columns::Read};
use time::{OffsetDateTime, macros::datetime};

use crate::{Message, Role, SearchQuery};

/// Instants that every message lies between.
const ALWAYS: (OffsetDateTime, OffsetDateTime) =
    (datetime!(0001-01-01 0:00 UTC), datetime!(9999-12-31 23:59:59.999999 UTC));

/// Ids and times of the messages of a segment.
#[derive(Debug, Clone)]
pub(crate) struct Stretch {
    pub(crate) after_id: i64,
    pub(crate) last_id: i64,
    pub(crate) first_at: OffsetDateTime,
    pub(crate) last_at: OffsetDateTime,
    /// False if it still grows: only the last one of a user does.
    pub(crate) is_full: bool,
}
pg::read_columns! { Stretch: { after_id, last_id, first_at, last_at, is_full } }

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

/// The last segment of a user.
pub(crate) async fn last_segment(
    conn: &mut AsyncPgConnection,
    user: &UserId,
) -> Result<Option<Stretch>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM sessions.search_segments WHERE user_id = $1 ORDER BY after_id DESC LIMIT 1",
        Stretch::list("search_segments")
    )))
    .bind::<Text, _>(user.as_str())
    .get_result(conn)
    .await
    .optional()?)
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
