//! Reading and purging `usage.dedupe`.

use std::sync::LazyLock;

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{CallerClass, UserId};
use pg::{DbError, columns::get};
use time::OffsetDateTime;

use super::{Shared, price_book::Edition};

/// An event that was recorded before.
#[derive(Debug)]
pub(crate) struct Known {
    /// Index among the events that were asked for.
    pub(crate) place: usize,
    /// The class of the caller; `None` if an earlier version stored it, which knew no classes, and for corrections.
    pub(crate) caller: Option<CallerClass>,
    /// Where it is stored.
    pub(crate) shelf: Shelf,
    pub(crate) payload: Vec<u8>,
    /// With its user the key of its record.
    pub(crate) occurred_at: OffsetDateTime,
    pub(crate) record_id: i64,
}

/// Table of an event id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shelf {
    /// `usage.dedupe`, whose unique key knows no classes: that of the first caller.
    First,
    /// `usage.dedupe_shared`: that of another caller of the same id.
    Shared,
}

/// Query before events are recorded.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The present edition of the price book.
    pub(crate) edition: Edition,
    /// Ids for records, rising.
    pub(crate) ids: Vec<i64>,
    /// Those of the events that were recorded before.
    pub(crate) known: Vec<Known>,
}

/// Draws `count` ids, and finds which of `events` were recorded before.
///
/// Does not read the records: nearly every event is new.
pub(crate) async fn ask(
    mut conn: Shared<'_>,
    events: &[(&UserId, &str)],
    count: usize,
) -> Result<Asked, DbError> {
    let users: Vec<&str> = events.iter().map(|(user, _)| user.as_str()).collect();
    let names: Vec<&str> = events.iter().map(|(_, event)| *event).collect();
    let rows: Vec<AskedRow> = pg::sql(ASK)
        .bind::<Array<Text>, _>(users)
        .bind::<Array<Text>, _>(names)
        .bind::<BigInt, _>(i64::try_from(count).unwrap_or(i64::MAX))
        .load(&mut conn)
        .await?;
    let (mut first, mut known) = (None, Vec::new());
    for row in rows {
        match (row.edition, row.claim) {
            (Some(edition), None) => first = Some((edition, row.ids.unwrap_or_default())),
            (None, Some(claim)) => known.push(claim),
            _ => return Err(DbError::Inconsistent("an event that is no event".to_owned())),
        }
    }
    let (edition, ids) = first.ok_or_else(|| DbError::Inconsistent("there is no price book".to_owned()))?;
    DbError::expect_rows("draw ids of usage records", count, ids.len())?;
    Ok(Asked { edition, ids, known })
}

/// Forgets at most `rows_max` events of each table that occurred before `limit`; answers how many.
pub(crate) async fn purge(
    conn: &mut AsyncPgConnection,
    limit: OffsetDateTime,
    rows_max: i64,
) -> Result<usize, DbError> {
    let mut gone = 0_usize;
    for text in [&PURGE, &PURGE_SHARED] {
        let rows =
            pg::sql(text).bind::<Timestamptz, _>(limit).bind::<BigInt, _>(rows_max).execute(conn).await?;
        gone = gone.saturating_add(rows);
    }
    Ok(gone)
}

/// The ids are drawn in the transaction that uses them: what a crash takes with it was never handed out.
pub(super) const ASK: &str = "
SELECT version, stamp::text AS stamp, ARRAY(SELECT nextval('usage.record_ids') FROM generate_series(1, $3)) AS ids,
       NULL::bigint AS place, NULL::text AS caller, NULL::boolean AS shared, NULL::bytea AS payload, NULL::timestamptz AS occurred_at, NULL::bigint AS record_id
FROM usage.price_book
UNION ALL
SELECT NULL, NULL, NULL, given.place - 1, claim.caller, false, claim.payload, claim.occurred_at, claim.record_id
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS given (user_id, event_id, place)
JOIN usage.dedupe AS claim ON claim.user_id = given.user_id AND claim.event_id = given.event_id
UNION ALL
SELECT NULL, NULL, NULL, given.place - 1, claim.caller, true, claim.payload, claim.occurred_at, claim.record_id
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS given (user_id, event_id, place)
JOIN usage.dedupe_shared AS claim ON claim.user_id = given.user_id AND claim.event_id = given.event_id";

static PURGE: LazyLock<String> = LazyLock::new(|| purge_of("usage.dedupe"));
static PURGE_SHARED: LazyLock<String> = LazyLock::new(|| purge_of("usage.dedupe_shared"));

/// By physical place: the index leads to block ranges, not to an order in which a chunk could go on.
fn purge_of(table: &str) -> String {
    format!(
        "DELETE FROM {table} WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM {table} WHERE occurred_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED))"
    )
}

#[derive(QueryableByName)]
struct AskedRow {
    #[diesel(embed)]
    edition: Option<Edition>,
    #[diesel(sql_type = Nullable<Array<BigInt>>)]
    ids: Option<Vec<i64>>,
    #[diesel(embed)]
    claim: Option<Known>,
}

pg::read_columns! {
    Known: { caller, payload, occurred_at, record_id } also { place, shared } made |row| {
        place: usize::try_from(get::<i64>(row, "place")?)?,
        shelf: if get(row, "shared")? { Shelf::Shared } else { Shelf::First },
    }
}
