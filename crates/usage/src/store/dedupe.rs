//! Writing and reading `usage.dedupe`.

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Binary, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::UserId;
use pg::DbError;
use time::OffsetDateTime;

use super::{
    Shared,
    rows::{RecordRow, record_columns},
};
use crate::Record;

/// An event id that is to stand for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim<'a> {
    pub(crate) user_id: &'a UserId,
    pub(crate) event_id: &'a str,
    pub(crate) payload: &'a [u8; 32],
    pub(crate) record_id: i64,
    pub(crate) occurred_at: OffsetDateTime,
}

/// An event that was recorded before.
#[derive(Debug)]
pub(crate) struct Known {
    /// Which of the events that were asked for.
    pub(crate) place: usize,
    pub(crate) payload: Vec<u8>,
    pub(crate) record: Record,
}

/// Claims event ids; answers how many were new.
///
/// `claims` are in the order of their keys, so that batches of any processes wait for one another in one direction only.
/// A claim that another transaction has under way waits for its end; how it ended is known to statements that follow.
pub(crate) async fn claim(mut conn: Shared<'_>, claims: &[Claim<'_>]) -> Result<usize, DbError> {
    if claims.is_empty() {
        return Ok(0);
    }
    let new = pg::sql(CLAIM)
        .bind::<Array<Text>, _>(column(claims, |one| one.user_id.as_str()))
        .bind::<Array<Text>, _>(column(claims, |one| one.event_id))
        .bind::<Array<Binary>, _>(column(claims, |one| one.payload.as_slice()))
        .bind::<Array<BigInt>, _>(column(claims, |one| one.record_id))
        .bind::<Array<Timestamptz>, _>(column(claims, |one| one.occurred_at))
        .execute(&mut conn)
        .await?;
    Ok(new)
}

/// The first records of events that were recorded before; `place` is that in `events`.
pub(crate) async fn known(mut conn: Shared<'_>, events: &[(&UserId, &str)]) -> Result<Vec<Known>, DbError> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let users: Vec<&str> = events.iter().map(|(user, _)| user.as_str()).collect();
    let ids: Vec<&str> = events.iter().map(|(_, event)| *event).collect();
    let rows: Vec<KnownRow> = pg::sql(KNOWN)
        .bind::<Array<Text>, _>(users)
        .bind::<Array<Text>, _>(ids)
        .load(&mut conn)
        .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Known {
                place: usize::try_from(row.place)
                    .map_err(|_| DbError::Inconsistent(format!("known event {}", row.place)))?,
                payload: row.payload,
                record: row.record.try_into()?,
            })
        })
        .collect()
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

const CLAIM: &str = "
INSERT INTO usage.dedupe (user_id, event_id, payload, record_id, occurred_at)
SELECT user_id, event_id, payload, record_id, occurred_at
FROM unnest($1, $2, $3, $4, $5) WITH ORDINALITY AS given (user_id, event_id, payload, record_id, occurred_at, place)
ORDER BY place
ON CONFLICT (user_id, event_id) DO NOTHING";

const KNOWN: &str = concat!(
    "SELECT given.place - 1 AS place, claim.payload, ",
    record_columns!(),
    "
FROM unnest($1, $2) WITH ORDINALITY AS given (user_id, event_id, place)
JOIN usage.dedupe AS claim ON claim.user_id = given.user_id AND claim.event_id = given.event_id
JOIN usage.records AS record
  ON record.user_id = claim.user_id AND record.occurred_at = claim.occurred_at AND record.id = claim.record_id"
);

/// By physical place: the index leads to block ranges, not to an order in which a chunk could go on.
const PURGE: &str = "
DELETE FROM usage.dedupe WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM usage.dedupe WHERE occurred_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED))";

#[derive(QueryableByName)]
struct KnownRow {
    #[diesel(sql_type = BigInt)]
    place: i64,
    #[diesel(sql_type = Binary)]
    payload: Vec<u8>,
    #[diesel(embed)]
    record: RecordRow,
}

fn column<'a, T>(claims: &'a [Claim<'a>], value: impl FnMut(&'a Claim<'a>) -> T) -> Vec<T> {
    claims.iter().map(value).collect()
}
