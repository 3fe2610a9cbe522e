//! The tables `identity.erased_users` and `identity.erased_addresses`.

use std::collections::BTreeSet;

use diesel::{
    OptionalExtension,
    sql_types::{Array, BigInt, Binary, Bool, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
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

/// An erase that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// The user.
    pub user_id: UserId,
    /// The instant of the first commit, which no other erase of the user has.
    pub erased_at: OffsetDateTime,
}
pg::read_columns! { Begun: { user_id, erased_at } }

struct HolderRow {
    holder: String,
}
pg::read_columns! { HolderRow: { holder } }

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
        "WITH clock AS MATERIALIZED (SELECT greatest(coalesce($2, clock_timestamp()),
             (SELECT erased_at + interval '1 microsecond' FROM identity.erased_users WHERE user_id = $1)) AS now),
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

pub(crate) async fn was_there(
    conn: &mut AsyncPgConnection,
    user_id: &UserId,
    digests: &[&[u8]],
    is_vouched: bool,
) -> Result<bool, DbError> {
    let row: FoundRow = pg::sql(
        "SELECT EXISTS (SELECT FROM identity.erased_addresses WHERE digest = ANY ($1) AND (vouched OR NOT $2))
             OR EXISTS (SELECT FROM identity.erased_users WHERE user_id = $3) AS found",
    )
    .bind::<Array<Binary>, _>(digests)
    .bind::<Bool, _>(is_vouched)
    .bind::<Text, _>(user_id.as_str())
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

/// Erases that began before an instant and have not ended, those that wait longest first; those after `after`.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn unfinished(
    conn: &mut AsyncPgConnection,
    before: OffsetDateTime,
    after: Option<&Begun>,
    limit: i64,
) -> Result<Vec<Begun>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM identity.erased_users
         WHERE finished_at IS NULL AND erased_at < $1 AND (erased_at, user_id) > (coalesce($2, '-infinity'), coalesce($3, ''))
         ORDER BY erased_at, user_id LIMIT $4",
        Begun::list("erased_users")
    )))
    .bind::<Timestamptz, _>(before)
    .bind::<Nullable<Timestamptz>, _>(after.map(|begun| begun.erased_at))
    .bind::<Nullable<Text>, _>(after.map(|begun| begun.user_id.as_str()))
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?)
}

/// The erase of a user that has begun and not ended.
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

/// Returns true if an erase has not ended, and keeps it so until the transaction does: the user cannot come back meanwhile. Each
/// transaction that removes what is left of a user asks this first.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn goes_on(tx: &mut Tx, erase: &Begun) -> Result<bool, DbError> {
    let found = pg::sql(
        "SELECT FROM identity.erased_users WHERE user_id = $1 AND erased_at = $2 AND finished_at IS NULL FOR UPDATE",
    )
    .bind::<Text, _>(erase.user_id.as_str())
    .bind::<Timestamptz, _>(erase.erased_at)
    .execute(tx.conn())
    .await?;
    Ok(found > 0)
}

/// Notes that nothing is left of a user. From here on the id may be made again.
///
/// # Errors
/// [`DbError`] when the database cannot be written.
pub async fn finish(tx: &mut Tx, clock: &dyn Clock, erase: &Begun) -> Result<(), DbError> {
    pg::sql(
        "UPDATE identity.erased_users SET finished_at = greatest(erased_at, coalesce($3, clock_timestamp()))
         WHERE user_id = $1 AND erased_at = $2 AND finished_at IS NULL",
    )
    .bind::<Text, _>(erase.user_id.as_str())
    .bind::<Timestamptz, _>(erase.erased_at)
    .bind::<Nullable<Timestamptz>, _>(clock.pinned())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Lock of transactions that write for users whom they have read before.
pub const OPERATIONS: i64 = 7_284_018_846_117_465_015;

/// Shows the transaction in [`operations`] until it ends. Reads of users that are sent later see every erase that began before.
pub(crate) async fn note_operations(mut conn: &AsyncPgConnection) -> Result<(), DbError> {
    pg::sql("SELECT pg_advisory_xact_lock_shared(7284018846117465015)").execute(&mut conn).await?;
    Ok(())
}

/// The transactions, in all processes, that hold one of these advisory locks ([`OPERATIONS`]): they may have read users and are still
/// to write for them.
///
/// An erase waits until those of this moment have ended. It does not wait for their lock: others would queue after it.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn operations(conn: &mut AsyncPgConnection, locks: &[i64]) -> Result<BTreeSet<String>, DbError> {
    let rows: Vec<HolderRow> = pg::sql(
        "SELECT virtualtransaction AS holder FROM pg_locks
         WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND (classid::bigint << 32 | objid::bigint) = ANY ($1) AND objsubid = 1 AND granted",
    )
    .bind::<Array<BigInt>, _>(locks)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.holder).collect())
}
