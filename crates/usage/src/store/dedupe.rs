//! Reading and purging `usage.dedupe`.

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Binary, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::UserId;
use pg::DbError;
use time::OffsetDateTime;

use super::{Shared, price_book::Edition};

/// An event that was recorded before.
#[derive(Debug)]
pub(crate) struct Known {
    /// Which of the events that were asked for.
    pub(crate) place: usize,
    pub(crate) payload: Vec<u8>,
    /// With its user the key of its record.
    pub(crate) occurred_at: OffsetDateTime,
    pub(crate) record_id: i64,
}

/// Which events were recorded before, and the present edition of the price book: both are asked before each batch.
///
/// Does not read the records: nearly every event is new.
pub(crate) async fn known(
    mut conn: Shared<'_>,
    events: &[(&UserId, &str)],
) -> Result<(Edition, Vec<Known>), DbError> {
    let users: Vec<&str> = events.iter().map(|(user, _)| user.as_str()).collect();
    let ids: Vec<&str> = events.iter().map(|(_, event)| *event).collect();
    let rows: Vec<KnownRow> = pg::sql(KNOWN)
        .bind::<Array<Text>, _>(users)
        .bind::<Array<Text>, _>(ids)
        .load(&mut conn)
        .await?;
    let mut edition = None;
    let mut known = Vec::new();
    for row in rows {
        edition = Some(row.edition);
        if let Some(claim) = row.claim {
            known.push(claim.known()?);
        }
    }
    let edition = edition.ok_or_else(|| DbError::Inconsistent("there is no price book".to_owned()))?;
    Ok((edition, known))
}

/// Forgets at most `rows_max` events that occurred before `limit`; answers how many.
pub(crate) async fn purge(
    conn: &mut AsyncPgConnection,
    limit: OffsetDateTime,
    rows_max: i64,
) -> Result<usize, DbError> {
    let gone = pg::sql(PURGE)
        .bind::<Timestamptz, _>(limit)
        .bind::<BigInt, _>(rows_max)
        .execute(conn)
        .await?;
    Ok(gone)
}

const KNOWN: &str = "
SELECT book.version, book.stamp::text AS stamp, known.*
FROM usage.price_book AS book
LEFT JOIN (
    SELECT given.place - 1 AS place, claim.payload, claim.occurred_at, claim.record_id
    FROM unnest($1, $2) WITH ORDINALITY AS given (user_id, event_id, place)
    JOIN usage.dedupe AS claim ON claim.user_id = given.user_id AND claim.event_id = given.event_id
) AS known ON true";

/// By physical place: the index leads to block ranges, not to an order in which a chunk could go on.
const PURGE: &str = "
DELETE FROM usage.dedupe WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM usage.dedupe WHERE occurred_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED))";

#[derive(QueryableByName)]
struct KnownRow {
    #[diesel(embed)]
    edition: Edition,
    #[diesel(embed)]
    claim: Option<ClaimRow>,
}

#[derive(QueryableByName)]
struct ClaimRow {
    #[diesel(sql_type = BigInt)]
    place: i64,
    #[diesel(sql_type = Binary)]
    payload: Vec<u8>,
    #[diesel(sql_type = Timestamptz)]
    occurred_at: OffsetDateTime,
    #[diesel(sql_type = BigInt)]
    record_id: i64,
}

impl ClaimRow {
    fn known(self) -> Result<Known, DbError> {
        Ok(Known {
            place: usize::try_from(self.place)
                .map_err(|_| DbError::Inconsistent(format!("known event {}", self.place)))?,
            payload: self.payload,
            occurred_at: self.occurred_at,
            record_id: self.record_id,
        })
    }
}
