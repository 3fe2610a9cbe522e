//! The table `files.removals`.

use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::Clock;
use pg::DbError;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::upload_key;

struct KeyRow {
    object_key: String,
}
pg::read_columns! { KeyRow: { object_key } }

/// Time after the end of an offer at which nothing is written by its link any more: an upload that began before may go on.
const AFTER_OFFER: Duration = Duration::hours(1);

/// Notes what a link may still write to, once it has expired.
pub(crate) async fn note_upload(
    conn: &mut AsyncPgConnection,
    file_id: Uuid,
    offered_until: OffsetDateTime,
) -> Result<(), DbError> {
    pg::sql(
        "INSERT INTO files.removals (object_key, due_at) VALUES ($1, $2) ON CONFLICT (object_key) DO NOTHING",
    )
    .bind::<Text, _>(upload_key(file_id))
    .bind::<Timestamptz, _>(offered_until.saturating_add(AFTER_OFFER))
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn take(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    lease: Duration,
    limit: i64,
) -> Result<Vec<String>, DbError> {
    let rows: Vec<KeyRow> = pg::sql(
        "WITH clock AS MATERIALIZED (SELECT coalesce($1, clock_timestamp()) AS now),
         due AS MATERIALIZED (
             SELECT object_key FROM files.removals
             WHERE due_at <= (SELECT now FROM clock) ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED)
         UPDATE files.removals SET due_at = now + $2 * interval '1 second'
         FROM clock, due WHERE removals.object_key = due.object_key RETURNING removals.object_key",
    )
    .bind::<Nullable<Timestamptz>, _>(clock.pinned())
    .bind::<BigInt, _>(lease.whole_seconds())
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.object_key).collect())
}

pub(crate) async fn forget(conn: &mut AsyncPgConnection, keys: &[String]) -> Result<(), DbError> {
    pg::sql("DELETE FROM files.removals WHERE object_key = ANY($1)")
        .bind::<Array<Text>, _>(keys)
        .execute(conn)
        .await?;
    Ok(())
}
