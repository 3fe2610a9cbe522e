//! Finding accounts with due items.

use std::collections::BTreeSet;

use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::UserId;
use pg::DbError;
use time::OffsetDateTime;

use crate::store::{accounts::UserRow, columns::texts};

/// Accounts that have something due, those that wait longest first, found by the three indexes of due items: at most
/// `limit` of each kind. The accounts of `except` are read past.
pub async fn find_due(
    conn: &mut AsyncPgConnection,
    pinned: Option<OffsetDateTime>,
    except: &BTreeSet<UserId>,
    limit: i64,
) -> Result<BTreeSet<UserId>, DbError> {
    let rows: Vec<UserRow> = pg::sql(
        "WITH clock AS MATERIALIZED (SELECT coalesce($1, clock_timestamp()) AS now) \
         (SELECT user_id FROM credits.holds WHERE state = 'open' AND expires_at <= (SELECT now FROM clock) \
           AND user_id <> ALL($3) ORDER BY expires_at LIMIT $2) \
         UNION (SELECT user_id FROM credits.grants WHERE live AND expires_at <= (SELECT now FROM clock) \
           AND booked_seq IS NOT NULL AND stored_remaining > held AND user_id <> ALL($3) ORDER BY expires_at LIMIT $2) \
         UNION (SELECT user_id FROM credits.grants WHERE booked_seq IS NULL \
           AND effective_at <= (SELECT now FROM clock) AND user_id <> ALL($3) ORDER BY effective_at LIMIT $2)",
    )
    .bind::<Nullable<Timestamptz>, _>(pinned)
    .bind::<BigInt, _>(limit)
    .bind::<Array<Text>, _>(texts(except))
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.user_id).collect())
}
