//! Reading `usage.records`.

use std::sync::LazyLock;

use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{CallerClass, Found, Page, TimePlace, UserId, page::PAGE_BYTES_MAX};
use pg::{DbError, columns::Read};
use time::OffsetDateTime;

use super::Shared;
use crate::{Record, RecordFilter};

/// Enters the records as one who writes, for a transaction that reads some of them before it records. Looking up does so
/// itself.
///
/// The transaction that makes a month keeps writers out at the table itself, and later readers of DEFAULT. One that had read
/// there and then wanted to write would wait for it, and it for the end of that one.
///
/// # Errors
/// [`DbError::LockTimeout`] while a month is made.
pub async fn lock_to_write(mut conn: Shared<'_>) -> Result<(), DbError> {
    pg::sql("LOCK TABLE ONLY usage.records IN ROW EXCLUSIVE MODE").execute(&mut conn).await?;
    Ok(())
}

/// The record of a user that has this id; `None` if there is none, or it was dropped with its month.
///
/// # Errors
/// [`DbError`].
pub async fn find(conn: &mut AsyncPgConnection, user: &UserId, id: i64) -> Result<Option<Record>, DbError> {
    let rows: Vec<Record> =
        pg::sql(&FIND).bind::<Text, _>(user.as_str()).bind::<BigInt, _>(id).load(conn).await?;
    Ok(rows.into_iter().next())
}

/// The records of these users that occurred at these instants and have these ids, in any order.
///
/// # Errors
/// [`DbError`].
pub async fn find_all_at(
    mut conn: Shared<'_>,
    wanted: &[(&UserId, OffsetDateTime, i64)],
) -> Result<Vec<Record>, DbError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let users: Vec<&str> = wanted.iter().map(|(user, ..)| user.as_str()).collect();
    let times: Vec<OffsetDateTime> = wanted.iter().map(|(_, at, _)| *at).collect();
    let ids: Vec<i64> = wanted.iter().map(|(.., id)| *id).collect();
    let rows: Vec<Record> = pg::sql(&FIND_ALL_AT)
        .bind::<Array<Text>, _>(users)
        .bind::<Array<Timestamptz>, _>(times)
        .bind::<Array<BigInt>, _>(ids)
        .load(&mut conn)
        .await?;
    Ok(rows)
}

/// The records that these users have under these ids, in any order; those that were dropped with their month are left out.
///
/// # Errors
/// [`DbError`].
pub async fn find_all(
    conn: &mut AsyncPgConnection,
    wanted: &[(&UserId, i64)],
) -> Result<Vec<Record>, DbError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let users: Vec<&str> = wanted.iter().map(|(user, _)| user.as_str()).collect();
    let ids: Vec<i64> = wanted.iter().map(|(_, id)| *id).collect();
    let rows: Vec<Record> =
        pg::sql(&FIND_ALL).bind::<Array<Text>, _>(users).bind::<Array<BigInt>, _>(ids).load(conn).await?;
    Ok(rows)
}

/// The rows of one page, newest first, as far as their bytes fit, and how many there were.
pub(crate) async fn newest(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    filter: &RecordFilter,
    page: &Page<TimePlace>,
) -> Result<Found<Record>, DbError> {
    let before = filter.upper_bound(page.after());
    let rows: Vec<PageRow> = pg::sql(&NEWEST)
        .bind::<Text, _>(user.as_str())
        .bind::<Nullable<Timestamptz>, _>(filter.first_microsecond())
        .bind::<Timestamptz, _>(before.at)
        .bind::<BigInt, _>(before.id)
        .bind::<Nullable<Text>, _>(filter.event_type.as_deref())
        .bind::<Nullable<Text>, _>(filter.model_name.as_deref())
        .bind::<Nullable<Text>, _>(filter.provider.as_deref())
        .bind::<Nullable<Text>, _>(filter.tool_name.as_deref())
        .bind::<Nullable<Text>, _>(filter.session_id.as_deref())
        .bind::<Nullable<Text>, _>(filter.recorded_by.map(CallerClass::as_str))
        .bind::<BigInt, _>(page.rows())
        .bind::<BigInt, _>(page.offset())
        .bind::<BigInt, _>(page.limit())
        .bind::<BigInt, _>(PAGE_BYTES_MAX)
        .load(conn)
        .await?;
    let found = rows.as_slice().first().map_or(0, |row| row.found);
    Ok(Found { items: rows.into_iter().map(|row| row.record).collect(), rows: found })
}

/// The innermost part reads the rows of the page by the primary key, the next adds up what they measure, the outermost
/// sends those that fit: their large values are fetched only then.
///
/// The plan is made without the values (docs/adr/0008). A bare `($5 IS NULL OR ...)` would count as rare, and the planner
/// would sort the few rows it expects instead of walking the index until the page is full; a CASE it takes for even.
pub(super) static NEWEST: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT found, {}
FROM (
    SELECT page.*, count(*) OVER () AS found, row_number() OVER walk AS nth, sum(size_bytes) OVER walk AS bytes
    FROM (
        SELECT * FROM usage.records
        WHERE user_id = $1 AND occurred_at >= coalesce($2::timestamptz, '-infinity') AND (occurred_at, id) < ($3, $4)
          AND CASE WHEN ($5::text IS NULL OR event_type = $5) AND ($6::text IS NULL OR model_name = $6)
                    AND ($7::text IS NULL OR provider = $7) AND ($8::text IS NULL OR tool_name = $8)
                    AND ($9::text IS NULL OR session_id = $9) AND ($10::text IS NULL OR recorded_by = $10)
                   THEN true ELSE false END
        ORDER BY occurred_at DESC, id DESC LIMIT $11 OFFSET $12
    ) AS page
    WINDOW walk AS (ORDER BY occurred_at DESC, id DESC ROWS UNBOUNDED PRECEDING)
) AS record
WHERE nth = 1 OR (nth <= $13 AND bytes <= $14)
ORDER BY occurred_at DESC, id DESC",
        Record::list("record")
    )
});

/// By the summary of block ranges that ids have: a record without its instant is asked for rarely.
pub(super) static FIND: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM usage.records AS record WHERE record.user_id = $1 AND record.id = $2",
        Record::list("record")
    )
});

static FIND_ALL_AT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM unnest($1, $2, $3) AS wanted (user_id, occurred_at, id)
JOIN usage.records AS record
  ON record.user_id = wanted.user_id AND record.occurred_at = wanted.occurred_at AND record.id = wanted.id",
        Record::list("record")
    )
});

static FIND_ALL: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM unnest($1, $2) AS wanted (user_id, id)
CROSS JOIN LATERAL (
    SELECT * FROM usage.records AS one WHERE one.user_id = wanted.user_id AND one.id = wanted.id
) AS record",
        Record::list("record")
    )
});

/// A record on a page that was measured.
struct PageRow {
    record: Record,
    /// Number of rows found for the page, those that were too large for it included.
    found: i64,
}
pg::read_columns! { PageRow: { found } with { record: Record } }
