//! Pages of grants and holds as they stand at the instant of reading.

use diesel::sql_types::{BigInt, Bool, Nullable, SmallInt, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{Found, Page, UserId, page::PAGE_BYTES_MAX};
use pg::{DbError, columns::Read};
use time::OffsetDateTime;

use crate::{
    core::{Grant, Hold},
    model::{GrantFilter, GrantPlace, HoldFilter, HoldStatus},
    store::grants::NotedGrantRow,
};

/// A page of grants, as far as their bytes fit.
#[derive(Debug, Default)]
pub struct Grants {
    /// The grants as they are stored, with their notes.
    pub grants: Vec<Grant>,
    /// Number of rows found.
    pub rows: i64,
    /// The instant of reading; `None` without grants.
    pub now: Option<OffsetDateTime>,
    /// True if something has come due that the figures do not show.
    pub is_due: bool,
}

struct ListedGrantRow {
    grant: NotedGrantRow,
    now: OffsetDateTime,
    is_due: bool,
    found: i64,
}
pg::read_columns! { ListedGrantRow: { now, is_due, found } with { grant: NotedGrantRow } }

struct ListedHoldRow {
    hold: Hold,
    found: i64,
}
pg::read_columns! { ListedHoldRow: { found } with { hold: Hold } }

/// A page of grants that meet a condition on their stored columns and on `a.now`: none of these changes when due items
/// are applied, but for what `now` tells already.
pub(super) fn grants_that(condition: &str) -> String {
    format!(
        "
WITH a AS MATERIALIZED (
    SELECT user_id, greatest(as_of, coalesce($2, clock_timestamp())) AS now, next_due_at
    FROM credits.accounts WHERE user_id = $1
)
SELECT {}
FROM (
    SELECT page.*, count(*) OVER () AS found, row_number() OVER walk AS nth, sum(size_bytes) OVER walk AS bytes
    FROM (
        SELECT g.*, a.now, coalesce(a.next_due_at <= a.now, false) AS is_due
        FROM a JOIN credits.current_grants g ON g.user_id = a.user_id
        WHERE {condition}
          AND ($3::smallint IS NULL OR (g.priority, coalesce(g.expires_at, 'infinity'), g.paid, g.effective_at, g.id)
                                     > ($3, coalesce($4::timestamptz, 'infinity'), $5, $6, $7))
        ORDER BY g.priority, g.expires_at NULLS LAST, g.paid, g.effective_at, g.id OFFSET $8 LIMIT $9
    ) AS page
    WINDOW walk AS (ORDER BY priority, expires_at NULLS LAST, paid, effective_at, id ROWS UNBOUNDED PRECEDING)
) AS g
WHERE g.nth = 1 OR (g.nth < $9 AND g.bytes <= $10) ORDER BY g.nth",
        ListedGrantRow::list("g")
    )
}

/// A page of the holds that a query finds in order; those whose life has ended are shown as expired whether or not anything
/// booked it. No join with the account: the order of an index would be lost in it, and every hold read and sorted.
fn holds_of(page: &str) -> String {
    let shown = [
        ("status", "CASE WHEN h.ended THEN 'expired' ELSE h.state END"),
        ("released", "CASE WHEN h.ended THEN h.amount ELSE h.released END"),
        ("resolved_at", "CASE WHEN h.ended THEN h.expires_at ELSE h.resolved_at END"),
    ];
    format!(
        "
WITH a AS MATERIALIZED (
    SELECT greatest(as_of, coalesce($2, clock_timestamp())) AS now FROM credits.accounts WHERE user_id = $1
)
SELECT {}
FROM (
    SELECT page.*, count(*) OVER () AS found, row_number() OVER walk AS nth, sum(size_bytes) OVER walk AS bytes
    FROM (
        SELECT o.*, o.state = 'open' AND o.expires_at <= (SELECT now FROM a) AS ended
        FROM {page} ORDER BY o.entry_seq DESC OFFSET $4 LIMIT $5
    ) AS page
    WINDOW walk AS (ORDER BY entry_seq DESC ROWS UNBOUNDED PRECEDING)
) AS h
WHERE h.nth = 1 OR (h.nth < $5 AND h.bytes <= $6) ORDER BY h.nth",
        ListedHoldRow::list_but("h", &shown)
    )
}

/// A page of the holds that meet a condition.
pub(super) fn holds_that(condition: &str) -> String {
    holds_of(&format!("credits.holds o WHERE o.user_id = $1 AND o.entry_seq < $3 AND {condition}"))
}

/// A page of the holds that expired: those that were booked, in the order of their index, and those that are not yet, which
/// cannot be many.
pub(super) fn expired_holds() -> String {
    holds_of(
        "(
            (SELECT * FROM credits.holds WHERE user_id = $1 AND entry_seq < $3 AND state = 'expired'
             ORDER BY entry_seq DESC LIMIT $4::bigint + $5)
            UNION ALL
            (SELECT * FROM credits.holds WHERE user_id = $1 AND entry_seq < $3 AND state = 'open'
             AND expires_at <= (SELECT now FROM a))) AS o",
    )
}

/// Grants that are left.
pub(super) const OPEN: &str = "g.live AND (g.expires_at IS NULL OR g.expires_at > a.now)
          AND (g.booked_seq IS NOT NULL OR g.effective_at <= a.now)";

/// A page of grants in burn order.
pub async fn grants(
    conn: &mut AsyncPgConnection,
    pinned: Option<OffsetDateTime>,
    user: &UserId,
    filter: GrantFilter,
    page: &Page<GrantPlace>,
) -> Result<Grants, DbError> {
    let text = match filter {
        GrantFilter::Open => pg::once!(grants_that(OPEN)),
        GrantFilter::Used => {
            pg::once!(grants_that("NOT g.live AND (g.expires_at IS NULL OR g.expires_at > a.now)"))
        }
        GrantFilter::Expired => pg::once!(grants_that("g.expires_at <= a.now")),
        GrantFilter::All => pg::once!(grants_that("true")),
    };
    let after = page.after();
    let rows: Vec<ListedGrantRow> = pg::sql(text)
        .bind::<Text, _>(user.as_str())
        .bind::<Nullable<Timestamptz>, _>(pinned)
        .bind::<Nullable<SmallInt>, _>(after.map(|place| i16::from(place.priority)))
        .bind::<Nullable<Timestamptz>, _>(after.and_then(|place| place.expires_at))
        .bind::<Nullable<Bool>, _>(after.map(|place| place.paid))
        .bind::<Nullable<Timestamptz>, _>(after.map(|place| place.effective_at))
        .bind::<Nullable<BigInt>, _>(after.map(|place| place.grant_id))
        .bind::<BigInt, _>(page.offset())
        .bind::<BigInt, _>(page.rows())
        .bind::<BigInt, _>(PAGE_BYTES_MAX)
        .load(conn)
        .await?;
    let mut found = Grants::default();
    for row in rows {
        found.now = Some(row.now);
        found.is_due = row.is_due;
        found.rows = row.found;
        found.grants.push(row.grant.into_row().grant);
    }
    Ok(found)
}

/// A page of holds, newest first, as far as their bytes fit, and how many there were.
pub async fn holds(
    conn: &mut AsyncPgConnection,
    pinned: Option<OffsetDateTime>,
    user: &UserId,
    filter: HoldFilter,
    page: &Page<i64>,
) -> Result<Found<Hold>, DbError> {
    let text = match filter.status() {
        None => pg::once!(holds_that("true")),
        Some(HoldStatus::Open) => {
            pg::once!(holds_that("o.state = 'open' AND o.expires_at > (SELECT now FROM a)"))
        }
        Some(HoldStatus::Captured) => pg::once!(holds_that("o.state = 'captured'")),
        Some(HoldStatus::Released) => pg::once!(holds_that("o.state = 'released'")),
        Some(HoldStatus::Expired) => pg::once!(expired_holds()),
    };
    let rows: Vec<ListedHoldRow> = pg::sql(text)
        .bind::<Text, _>(user.as_str())
        .bind::<Nullable<Timestamptz>, _>(pinned)
        .bind::<BigInt, _>(page.after().copied().unwrap_or(i64::MAX))
        .bind::<BigInt, _>(page.offset())
        .bind::<BigInt, _>(page.rows())
        .bind::<BigInt, _>(PAGE_BYTES_MAX)
        .load(conn)
        .await?;
    let found = rows.as_slice().first().map_or(0, |row| row.found);
    Ok(Found { items: rows.into_iter().map(|row| row.hold).collect(), rows: found })
}
