//! The table `identity.signing_keys`.
//!
//! The clock is that of the database, so that all processes change the key in the same instant.

use diesel::{
    OptionalExtension,
    sql_types::{BigInt, Binary, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use pg::DbError;
use time::OffsetDateTime;

/// A key signs until a newer one does.
const KEYS: &str = "SELECT *, min(signs_from) OVER (ORDER BY number ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS signs_until \
                    FROM identity.signing_keys";
/// The last token of the key has expired. A process may have read the keys up to a minute ago, and clocks differ.
const IS_OVER: &str = "coalesce(signs_until + (token_ttl_seconds + 600) * interval '1 second' < coalesce($1, clock_timestamp()), false)";

/// A key that was made or imported.
pub(crate) struct NewSigningKey<'a> {
    pub(crate) kid: &'a str,
    pub(crate) public_key: &'a [u8],
    pub(crate) sealed_key: &'a [u8],
    /// From its creation to its first signature.
    pub(crate) delay_seconds: i64,
    pub(crate) token_ttl_seconds: i64,
}

/// A public key.
pub(crate) struct PublishedKey {
    pub(crate) kid: String,
    pub(crate) public_key: Vec<u8>,
}
pg::read_columns! { PublishedKey: { kid, public_key } }

/// The key that signs now.
pub(crate) struct Signer {
    pub(crate) kid: String,
    pub(crate) public_key: Vec<u8>,
    pub(crate) sealed_key: Vec<u8>,
}
pg::read_columns! { Signer: { kid, public_key, sealed_key } }

/// When a key begins to sign.
pub(crate) struct SignsFrom {
    pub(crate) signs_from: OffsetDateTime,
}
pg::read_columns! { SignsFrom: { signs_from } }

/// Lets one transaction at a time make a key.
pub(crate) async fn lock(conn: &mut AsyncPgConnection) -> Result<(), DbError> {
    pg::sql("SELECT pg_advisory_xact_lock(7284018846117465012)").execute(conn).await?;
    Ok(())
}

/// Inserts a key. It expects tokens as long-lived as those of the keys before it.
pub(crate) async fn insert(
    conn: &mut AsyncPgConnection,
    pinned: Option<OffsetDateTime>,
    new: NewSigningKey<'_>,
) -> Result<OffsetDateTime, DbError> {
    let row: SignsFrom = pg::sql(
        "INSERT INTO identity.signing_keys (kid, public_key, sealed_key, created_at, signs_from, token_ttl_seconds)
         SELECT $2, $3, $4, now, now + $5 * interval '1 second',
             greatest($6, (SELECT max(token_ttl_seconds) FROM identity.signing_keys))
         FROM (SELECT coalesce($1, clock_timestamp()) AS now) AS present
         RETURNING signs_from",
    )
    .bind::<Nullable<Timestamptz>, _>(pinned)
    .bind::<Text, _>(new.kid)
    .bind::<Binary, _>(new.public_key)
    .bind::<Binary, _>(new.sealed_key)
    .bind::<BigInt, _>(new.delay_seconds)
    .bind::<BigInt, _>(new.token_ttl_seconds)
    .get_result(conn)
    .await?;
    Ok(row.signs_from)
}

/// Notes that tokens may be this long-lived from now on.
pub(crate) async fn raise_token_ttl(conn: &mut AsyncPgConnection, seconds: i64) -> Result<(), DbError> {
    pg::sql("UPDATE identity.signing_keys SET token_ttl_seconds = $1 WHERE token_ttl_seconds < $1")
        .bind::<BigInt, _>(seconds)
        .execute(conn)
        .await?;
    Ok(())
}

/// The key that signs now: the newest whose time has come.
pub(crate) async fn signer(
    conn: &mut AsyncPgConnection,
    pinned: Option<OffsetDateTime>,
) -> Result<Option<Signer>, DbError> {
    Ok(pg::sql(
        "SELECT kid, public_key, sealed_key FROM identity.signing_keys
         WHERE signs_from <= coalesce($1, clock_timestamp()) ORDER BY number DESC LIMIT 1",
    )
    .bind::<Nullable<Timestamptz>, _>(pinned)
    .get_result(conn)
    .await
    .optional()?)
}

/// The key that signs now, and those that will.
pub(crate) async fn signers(
    conn: &mut AsyncPgConnection,
    pinned: Option<OffsetDateTime>,
) -> Result<Vec<Signer>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT kid, public_key, sealed_key FROM ({KEYS}) AS keys
         WHERE signs_until IS NULL OR signs_until > coalesce($1, clock_timestamp()) ORDER BY number DESC"
    )))
    .bind::<Nullable<Timestamptz>, _>(pinned)
    .load(conn)
    .await?)
}

/// The keys whose tokens may still be valid, or that will sign, newest first.
pub(crate) async fn published(
    conn: &mut AsyncPgConnection,
    pinned: Option<OffsetDateTime>,
) -> Result<Vec<PublishedKey>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT kid, public_key FROM ({KEYS}) AS keys WHERE NOT {IS_OVER} ORDER BY number DESC"
    )))
    .bind::<Nullable<Timestamptz>, _>(pinned)
    .load(conn)
    .await?)
}

/// Deletes the keys whose tokens have all expired; returns their number.
pub(crate) async fn prune(
    conn: &mut AsyncPgConnection,
    pinned: Option<OffsetDateTime>,
) -> Result<usize, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "DELETE FROM identity.signing_keys WHERE number IN (SELECT number FROM ({KEYS}) AS keys WHERE {IS_OVER})"
    )))
    .bind::<Nullable<Timestamptz>, _>(pinned).execute(conn).await?)
}
