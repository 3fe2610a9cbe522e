//! Table `credits.entries`: listed. It is appended to in [`super::book`].

use std::{ops::Range, sync::LazyLock};

use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::try_join;
use kernel::{Found, Page, UserId, page::PAGE_BYTES_MAX};
use pg::{DbError, columns::Read};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::{
    core,
    model::{Entry, TransactionFilter, TransactionKind},
    store::{columns::Shared, transactions},
};

pg::read_columns! {
    Entry: {
        id, transaction_id, user_id, seq, kind = "{}.type", amount, balance_before, balance_after, usage_record_id, reference_id,
        hold_id, description, metadata, actor, created_at
    }
}

/// An entry on a page that was measured.
struct PageRow {
    entry: Entry,
    /// Number of rows found for the page, those that were too large for it included.
    found: i64,
}
pg::read_columns! { PageRow: { found } with { entry: Entry } }

struct SeqRow {
    seq: i64,
}
pg::read_columns! { SeqRow: { seq } }

/// A page of entries that meet a constant condition. Only a literal type lets PostgreSQL use the index of rare entries.
///
/// The innermost part reads the rows of the page by an index, the next adds up what they measure, the outermost sends
/// those that fit: their large values are fetched only then.
pub(super) fn listing(condition: &str) -> String {
    format!(
        "
SELECT {}
FROM (
    SELECT page.*, count(*) OVER () AS found, row_number() OVER walk AS nth, sum(size_bytes) OVER walk AS bytes
    FROM (
        SELECT * FROM credits.entries e WHERE e.user_id = $1 AND e.seq >= $2 AND e.seq < $3 AND e.type {condition}
        ORDER BY e.seq DESC OFFSET $4 LIMIT $5
    ) AS page
    WINDOW walk AS (ORDER BY seq DESC ROWS UNBOUNDED PRECEDING)
) AS e
WHERE e.nth = 1 OR (e.nth < $5 AND e.bytes <= $6) ORDER BY e.seq DESC",
        PageRow::list("e")
    )
}

/// Entries that are shown: a hold changes no balance.
pub(super) const LISTED: &str = "NOT IN ('hold', 'release')";

/// The range of `seq` whose entries were created within the dates of the filter.
pub async fn window(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    filter: &TransactionFilter,
) -> Result<Range<i64>, DbError> {
    let conn = &*conn;
    // Both ends are inclusive and instants have microseconds, so the range ends where one more begins.
    let behind = filter.to.map(|to| to.checked_add(Duration::microseconds(1)).unwrap_or(to));
    let (start, end) = try_join!(seq_at(conn, user, filter.from, 1), seq_at(conn, user, behind, i64::MAX))?;
    Ok(start..end)
}

/// A page of the entries in `window`, newest first, as far as their bytes fit, and how many there were.
pub async fn list(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    kind: Option<TransactionKind>,
    window: Range<i64>,
    page: &Page<i64>,
) -> Result<Found<Entry>, DbError> {
    let text = match kind {
        None => pg::once!(listing(LISTED)),
        Some(TransactionKind::Consume) => pg::once!(listing("IN ('consume', 'capture')")),
        Some(TransactionKind::Recharge) => pg::once!(listing("= 'recharge'")),
        Some(TransactionKind::Refund) => pg::once!(listing("= 'refund'")),
        Some(TransactionKind::Grant) => pg::once!(listing("= 'grant'")),
        Some(TransactionKind::Expire) => pg::once!(listing("= 'expire'")),
        Some(TransactionKind::Adjust) => pg::once!(listing("= 'adjust'")),
    };
    let rows: Vec<PageRow> = pg::sql(text)
        .bind::<Text, _>(user.as_str())
        .bind::<BigInt, _>(window.start)
        .bind::<BigInt, _>(end_of(&window, page))
        .bind::<BigInt, _>(page.offset())
        .bind::<BigInt, _>(page.rows())
        .bind::<BigInt, _>(PAGE_BYTES_MAX)
        .load(conn)
        .await?;
    let found = rows.as_slice().first().map_or(0, |row| row.found);
    Ok(Found { items: rows.into_iter().map(|row| row.entry).collect(), rows: found })
}

/// The entry that charged this hold, as a page.
pub async fn list_of_hold(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    hold_id: Uuid,
    window: Range<i64>,
    page: &Page<i64>,
) -> Result<Vec<Entry>, DbError> {
    let text = pg::once!(listing("= 'capture' AND e.hold_id = $7"));
    let rows: Vec<PageRow> = pg::sql(text)
        .bind::<Text, _>(user.as_str())
        .bind::<BigInt, _>(window.start)
        .bind::<BigInt, _>(end_of(&window, page))
        .bind::<BigInt, _>(page.offset())
        .bind::<BigInt, _>(page.rows())
        .bind::<BigInt, _>(PAGE_BYTES_MAX)
        .bind::<SqlUuid, _>(hold_id)
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|row| row.entry).collect())
}

/// The entry that booked this payment or gift, as a page.
pub async fn list_of_reference(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    reference_id: &str,
    window: Range<i64>,
    page: &Page<i64>,
) -> Result<Vec<Entry>, DbError> {
    let rows: Vec<Entry> = pg::sql(pg::once!(format!(
        "SELECT {} FROM credits.grants g JOIN credits.entries e ON e.user_id = g.user_id AND e.seq = g.booked_seq 
         WHERE g.user_id = $1 AND g.reference_id = $6 AND e.seq >= $2 AND e.seq < $3 OFFSET $4 LIMIT $5",
        Entry::list("e")
    )))
    .bind::<Text, _>(user.as_str())
    .bind::<BigInt, _>(window.start)
    .bind::<BigInt, _>(end_of(&window, page))
    .bind::<BigInt, _>(page.offset())
    .bind::<BigInt, _>(page.rows())
    .bind::<Text, _>(reference_id)
    .load(conn)
    .await?;
    Ok(rows)
}

/// The listed entry of this transaction.
pub async fn find_of_transaction(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    transaction_id: Uuid,
) -> Result<Option<Entry>, DbError> {
    let rows: Vec<Entry> = pg::sql(&FIND)
        .bind::<Text, _>(user.as_str())
        .bind::<SqlUuid, _>(transaction_id)
        .bind::<Nullable<BigInt>, _>(core::place(transaction_id))
        .load(conn)
        .await?;
    Ok(rows.into_iter().next())
}

pub(super) static FIND: LazyLock<String> = LazyLock::new(|| {
    format!(
        "
SELECT {}
FROM (SELECT $1::text AS user_id, $2::uuid AS transaction_id, $3::bigint AS place) AS w CROSS JOIN LATERAL ({}
) AS e
WHERE e.type NOT IN ('hold', 'release') ORDER BY e.seq LIMIT 1",
        Entry::list("e"),
        transactions::ENTRIES
    )
});

/// The listed entry of this integer id.
///
/// Ids of one account grow along `seq`, because they are drawn while the account is locked: a bisection finds the entry,
/// and the hot path carries no index for it.
pub async fn find_of_id(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    id: i64,
) -> Result<Option<Entry>, DbError> {
    let rows: Vec<Entry> = pg::sql(pg::once!(format!(
        "WITH RECURSIVE search (low, high) AS ( 
           SELECT 1::bigint, a.entry_seq + 1 FROM credits.accounts a WHERE a.user_id = $1 
           UNION ALL 
           SELECT CASE WHEN probe.lower THEN probe.middle + 1 ELSE probe.low END, 
             CASE WHEN probe.lower THEN probe.high ELSE probe.middle END 
           FROM (SELECT s.low, s.high, (s.low + s.high) / 2 AS middle, 
             (SELECT e.id < $2 FROM credits.entries e WHERE e.user_id = $1 AND e.seq = (s.low + s.high) / 2) AS lower 
             FROM search s WHERE s.low < s.high) AS probe) 
         SELECT {} FROM search JOIN credits.entries e ON e.user_id = $1 AND e.seq = search.low 
         WHERE search.low = search.high AND e.id = $2 AND e.type NOT IN ('hold', 'release')",
        Entry::list("e")
    )))
    .bind::<Text, _>(user.as_str())
    .bind::<BigInt, _>(id)
    .load(conn)
    .await?;
    Ok(rows.into_iter().next())
}

fn end_of(window: &Range<i64>, page: &Page<i64>) -> i64 {
    page.after().map_or(window.end, |after| window.end.min(*after))
}

/// The first `seq` created at `instant` or later, one past the newest if there is none; `open` without an instant.
///
/// A bisection: `created_at` never decreases along `seq`, which has no gap. Each step is one probe of the primary key, so
/// a million entries take twenty.
async fn seq_at(
    mut conn: Shared<'_>,
    user: &UserId,
    instant: Option<OffsetDateTime>,
    open: i64,
) -> Result<i64, DbError> {
    let Some(instant) = instant else {
        return Ok(open);
    };
    let found: Vec<SeqRow> = pg::sql(
        "WITH RECURSIVE search (low, high) AS ( \
           SELECT 1::bigint, a.entry_seq + 1 FROM credits.accounts a WHERE a.user_id = $1 \
           UNION ALL \
           SELECT CASE WHEN probe.earlier THEN probe.middle + 1 ELSE probe.low END, \
             CASE WHEN probe.earlier THEN probe.high ELSE probe.middle END \
           FROM (SELECT s.low, s.high, (s.low + s.high) / 2 AS middle, \
             (SELECT e.created_at < $2 FROM credits.entries e WHERE e.user_id = $1 AND e.seq = (s.low + s.high) / 2) \
               AS earlier \
             FROM search s WHERE s.low < s.high) AS probe) \
         SELECT low AS seq FROM search WHERE low = high",
    )
    .bind::<Text, _>(user.as_str())
    .bind::<Timestamptz, _>(instant)
    .load(&mut conn)
    .await?;
    Ok(found.into_iter().next().map_or(open, |row| row.seq))
}
