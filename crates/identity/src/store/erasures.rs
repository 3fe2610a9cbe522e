//! The tables `identity.erased_users` and `identity.erased_addresses`.

use diesel::{
    OptionalExtension,
    sql_types::{Array, BigInt, Binary, Bool, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use kernel::{Clock, UserId};
use pg::{DbError, Tx, columns::Read};
use time::OffsetDateTime;

/// An id of a user who was erased.
pub(crate) struct Erased {
    pub(crate) issuer: Option<String>,
    pub(crate) is_finished: bool,
}
pg::read_columns! { Erased: { issuer, is_finished = "{}.finished_at IS NOT NULL" } }

struct InstantRow {
    erased_at: OffsetDateTime,
}
pg::read_columns! { InstantRow: { erased_at } }

struct UserRow {
    user_id: UserId,
}
pg::read_columns! { UserRow: { user_id } }

struct FoundRow {
    found: bool,
}
pg::read_columns! { FoundRow: { found } }

/// Moves the ids of a user here, each with its issuer.
pub(crate) async fn begin(
    conn: &mut AsyncPgConnection,
    pinned: Option<OffsetDateTime>,
    user_id: &UserId,
) -> Result<OffsetDateTime, DbError> {
    let row: InstantRow = pg::sql(
        "WITH clock AS MATERIALIZED (SELECT coalesce($2, clock_timestamp()) AS now),
         gone AS (DELETE FROM identity.identities WHERE user_id = $1 RETURNING id, issuer),
         noted AS (
             INSERT INTO identity.erased_users AS old (user_id, issuer, erased_at, finished_at)
             SELECT id, max(issuer), now, CASE WHEN id <> $1 THEN now END
             FROM (SELECT id, issuer FROM gone UNION ALL SELECT $1 COLLATE \"C\", NULL) AS ids (id, issuer), clock GROUP BY id, now
             ON CONFLICT (user_id) DO UPDATE SET issuer = coalesce(excluded.issuer, old.issuer),
                 erased_at = excluded.erased_at, finished_at = excluded.finished_at)
         SELECT now AS erased_at FROM clock",
    )
    .bind::<Text, _>(user_id.as_str())
    .bind::<Nullable<Timestamptz>, _>(pinned)
    .get_result(conn)
    .await?;
    Ok(row.erased_at)
}

pub(crate) async fn insert_address(
    conn: &mut AsyncPgConnection,
    digest: &[u8],
    vouched: bool,
) -> Result<(), DbError> {
    pg::sql(
        "INSERT INTO identity.erased_addresses AS old (digest, vouched) VALUES ($1, $2)
         ON CONFLICT (digest) DO UPDATE SET vouched = old.vouched OR excluded.vouched",
    )
    .bind::<Binary, _>(digest)
    .bind::<Bool, _>(vouched)
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn had_address(
    conn: &mut AsyncPgConnection,
    digests: &[&[u8]],
    is_vouched: bool,
) -> Result<bool, DbError> {
    let row: FoundRow = pg::sql(
        "SELECT EXISTS (SELECT FROM identity.erased_addresses WHERE digest = ANY ($1) AND (vouched OR NOT $2)) AS found",
    )
    .bind::<Array<Binary>, _>(digests)
    .bind::<Bool, _>(is_vouched)
    .get_result(conn)
    .await?;
    Ok(row.found)
}

pub(crate) async fn find(conn: &mut AsyncPgConnection, id: &UserId) -> Result<Option<Erased>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM identity.erased_users WHERE user_id = $1",
        Erased::list("erased_users")
    )))
    .bind::<Text, _>(id.as_str())
    .get_result(conn)
    .await
    .optional()?)
}

pub(crate) async fn restore_issuer(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    id: &UserId,
) -> Result<(), DbError> {
    pg::sql(
        "INSERT INTO identity.identities (id, user_id, issuer, created_at)
         SELECT user_id, user_id, issuer, $2 FROM identity.erased_users WHERE user_id = $1 AND issuer IS NOT NULL
         ON CONFLICT (id) DO NOTHING",
    )
    .bind::<Text, _>(id.as_str())
    .bind::<Timestamptz, _>(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Users whose erase has begun and not ended, those that wait longest first.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn unfinished(conn: &mut AsyncPgConnection, limit: i64) -> Result<Vec<UserId>, DbError> {
    let rows: Vec<UserRow> = pg::sql(
        "SELECT user_id FROM identity.erased_users WHERE finished_at IS NULL ORDER BY erased_at LIMIT $1",
    )
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.user_id).collect())
}

/// The instant at which an erase began that has not ended.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn begun_at(
    conn: &mut AsyncPgConnection,
    user_id: &UserId,
) -> Result<Option<OffsetDateTime>, DbError> {
    let row: Option<InstantRow> =
        pg::sql("SELECT erased_at FROM identity.erased_users WHERE user_id = $1 AND finished_at IS NULL")
            .bind::<Text, _>(user_id.as_str())
            .get_result(conn)
            .await
            .optional()?;
    Ok(row.map(|row| row.erased_at))
}

/// Notes that nothing is left of a user. From here on the id may be made again.
///
/// # Errors
/// [`DbError`] when the database cannot be written.
pub async fn finish(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    user_id: &UserId,
) -> Result<(), DbError> {
    pg::sql(
        "UPDATE identity.erased_users SET finished_at = greatest(erased_at, coalesce($2, clock_timestamp()))
         WHERE user_id = $1 AND finished_at IS NULL",
    )
    .bind::<Text, _>(user_id.as_str())
    .bind::<Nullable<Timestamptz>, _>(clock.pinned())
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps [`wait_for_operations`] waiting until the transaction ends. Reads of users that are sent later see every erase that did not
/// wait.
pub(crate) async fn note_operations(mut conn: &AsyncPgConnection) -> Result<(), DbError> {
    Ok(conn.batch_execute("SELECT pg_advisory_xact_lock_shared(7284018846117465015)").await?)
}

/// Waits for the transactions of operations that may have read a user before they were removed: milliseconds, in which
/// operations of all users wait as well.
///
/// # Errors
/// [`DbError::LockTimeout`] when one of them takes too long.
pub async fn wait_for_operations(tx: &mut Tx) -> Result<(), DbError> {
    Ok(tx.conn().batch_execute("SELECT pg_advisory_xact_lock(7284018846117465015)").await?)
}
