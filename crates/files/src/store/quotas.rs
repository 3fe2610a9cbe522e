//! The table `files.quotas`.

use diesel::{
    OptionalExtension,
    sql_types::{BigInt, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::UserId;
use pg::{DbError, columns::Read};

use crate::Quota;

pg::read_columns! { Quota: { used_bytes, used_files, reserved_bytes, reserved_files } }

/// Locks the quota of a user who is not erased meanwhile, and makes it if there is none.
pub(crate) async fn lock_or_make(conn: &mut AsyncPgConnection, user: &UserId) -> Result<Quota, DbError> {
    pg::sql("INSERT INTO files.quotas (user_id) VALUES ($1) ON CONFLICT (user_id) DO NOTHING")
        .bind::<Text, _>(user.as_str())
        .execute(conn)
        .await?;
    let quota = lock(conn, user).await?;
    quota.ok_or_else(|| DbError::Inconsistent("a quota of files is gone".to_owned()))
}

/// Locks the quota of a user; `None` if they have none, and so no files.
pub(crate) async fn lock(conn: &mut AsyncPgConnection, user: &UserId) -> Result<Option<Quota>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM files.quotas WHERE user_id = $1 FOR NO KEY UPDATE",
        Quota::list("quotas")
    )))
    .bind::<Text, _>(user.as_str())
    .get_result(conn)
    .await
    .optional()?)
}

/// Adds to a locked quota.
pub(crate) async fn add(conn: &mut AsyncPgConnection, user: &UserId, change: Quota) -> Result<(), DbError> {
    let updated = pg::sql(
        "UPDATE files.quotas SET used_bytes = used_bytes + $2, used_files = used_files + $3,
             reserved_bytes = reserved_bytes + $4, reserved_files = reserved_files + $5
         WHERE user_id = $1",
    )
    .bind::<Text, _>(user.as_str())
    .bind::<BigInt, _>(change.used_bytes)
    .bind::<BigInt, _>(change.used_files)
    .bind::<BigInt, _>(change.reserved_bytes)
    .bind::<BigInt, _>(change.reserved_files)
    .execute(conn)
    .await?;
    DbError::expect_rows("update of a quota", 1, updated)
}

pub(crate) async fn read(conn: &mut AsyncPgConnection, user: &UserId) -> Result<Quota, DbError> {
    let quota: Option<Quota> =
        pg::sql(pg::once!(format!("SELECT {} FROM files.quotas WHERE user_id = $1", Quota::list("quotas"))))
            .bind::<Text, _>(user.as_str())
            .get_result(conn)
            .await
            .optional()?;
    Ok(quota.unwrap_or_default())
}
