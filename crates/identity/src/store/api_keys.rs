//! The table `identity.api_keys`.

use std::num::NonZeroU32;

use diesel::{
    OptionalExtension,
    sql_types::{Array, BigInt, Binary, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::Page;
use pg::{DbError, columns::Read};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::model::api_key::{ApiKey, KeyPlace, KeyScopes, MintedKey, NewApiKey, StoredKey};

pg::word_columns!(KeyScopes);

pg::read_columns! {
    ApiKey: {
        key_id, name, prefix, scopes = "array_to_string({}.scopes, ',')", created_at, expires_at, last_used_at,
        revoked_at,
    }
}

pg::read_columns! {
    StoredKey: { key_id, secret_digest, scopes = "array_to_string({}.scopes, ',')", expires_at, revoked_at }
        also { rate_limit_per_second }
        made |row| {
            requests_per_second: limit(pg::columns::get::<Option<i32>>(row, "rate_limit_per_second")?),
        }
}

fn limit(stored: Option<i32>) -> Option<NonZeroU32> {
    stored.and_then(|limit| u32::try_from(limit).ok()).and_then(NonZeroU32::new)
}

pub(crate) async fn insert(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    created_by: &str,
    minted: &MintedKey,
    new: &NewApiKey,
) -> Result<ApiKey, DbError> {
    let limit = new.requests_per_second.map(|limit| i32::try_from(limit.get()).unwrap_or(i32::MAX));
    Ok(pg::sql(pg::once!(format!(
        "INSERT INTO identity.api_keys
             (key_id, name, prefix, secret_digest, scopes, rate_limit_per_second, created_at, created_by, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING {}",
        ApiKey::list("api_keys")
    )))
    .bind::<SqlUuid, _>(minted.key_id)
    .bind::<Text, _>(new.name.as_str())
    .bind::<Text, _>(minted.prefix.as_str())
    .bind::<Binary, _>(minted.secret_digest.as_slice())
    .bind::<Array<Text>, _>(new.scopes.names())
    .bind::<Nullable<Integer>, _>(limit)
    .bind::<Timestamptz, _>(now)
    .bind::<Text, _>(created_by)
    .bind::<Nullable<Timestamptz>, _>(new.expires_at)
    .get_result(conn)
    .await?)
}

/// What is stored of a key; `None` if there is none with this id.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn find(conn: &mut AsyncPgConnection, key_id: Uuid) -> Result<Option<StoredKey>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM identity.api_keys WHERE key_id = $1",
        StoredKey::list("api_keys")
    )))
    .bind::<SqlUuid, _>(key_id)
    .get_result(conn)
    .await
    .optional()?)
}

/// A page of keys, newest first.
pub(crate) async fn list(
    conn: &mut AsyncPgConnection,
    page: &Page<KeyPlace>,
) -> Result<Vec<ApiKey>, DbError> {
    let after = page.after();
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM identity.api_keys
         WHERE (created_at, key_id) < (coalesce($1::timestamptz, 'infinity'), coalesce($2::uuid, '00000000-0000-0000-0000-000000000000'))
         ORDER BY created_at DESC, key_id DESC LIMIT $3 OFFSET $4",
        ApiKey::list("api_keys")
    )))
    .bind::<Nullable<Timestamptz>, _>(after.map(|place| place.created_at))
    .bind::<Nullable<SqlUuid>, _>(after.map(|place| place.key_id))
    .bind::<BigInt, _>(page.rows())
    .bind::<BigInt, _>(page.offset())
    .load(conn)
    .await?)
}

/// Revokes a key that is not revoked yet; `None` for any other.
pub(crate) async fn revoke(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    key_id: Uuid,
) -> Result<Option<ApiKey>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "UPDATE identity.api_keys SET revoked_at = greatest($2, created_at) WHERE key_id = $1 AND revoked_at IS NULL RETURNING {}",
        ApiKey::list("api_keys")
    )))
    .bind::<SqlUuid, _>(key_id)
    .bind::<Timestamptz, _>(now)
    .get_result(conn)
    .await
    .optional()?)
}

/// Notes the hour of the last use of keys; those that another transaction has locked are passed over.
///
/// # Errors
/// [`DbError`] when the database cannot be written.
pub async fn note_use(
    conn: &mut AsyncPgConnection,
    hour: OffsetDateTime,
    keys: &[Uuid],
) -> Result<(), DbError> {
    pg::sql(
        "UPDATE identity.api_keys SET last_used_at = $2 WHERE key_id IN ( \
           SELECT key_id FROM identity.api_keys WHERE key_id = ANY($1) AND coalesce(last_used_at < $2, true) \
           ORDER BY key_id FOR NO KEY UPDATE SKIP LOCKED)",
    )
    .bind::<Array<SqlUuid>, _>(keys)
    .bind::<Timestamptz, _>(hour)
    .execute(conn)
    .await?;
    Ok(())
}
