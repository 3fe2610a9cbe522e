//! The roles in `identity.users` that the configuration decides.

use diesel::sql_types::{Array, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::UserId;
use pg::DbError;
use time::OffsetDateTime;

use super::users::texts;

/// Lets one transaction at a time apply a list. Without it two could lock the same users in different orders.
pub(crate) async fn lock(conn: &mut AsyncPgConnection) -> Result<(), DbError> {
    pg::sql("SELECT pg_advisory_xact_lock(7284018846117465006)").execute(conn).await?;
    Ok(())
}

/// Makes administrators of those listed who are not, and returns them by id.
pub(crate) async fn promote(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    listed: &[UserId],
) -> Result<Vec<UserId>, DbError> {
    let rows: Vec<IdRow> = pg::sql(
        "UPDATE identity.users SET role = 'admin', role_source = 'configuration', updated_at = greatest($2, created_at) \
         WHERE user_id = ANY ($1) AND role <> 'admin' RETURNING user_id",
    )
    .bind::<Array<Text>, _>(texts(listed))
    .bind::<Timestamptz, _>(now)
    .load(conn)
    .await?;
    Ok(sorted(rows))
}

/// Takes the role from administrators by configuration who are not listed, and returns them by id.
pub(crate) async fn demote_others(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    listed: &[UserId],
) -> Result<Vec<UserId>, DbError> {
    let rows: Vec<IdRow> = pg::sql(
        "UPDATE identity.users SET role = 'user', updated_at = greatest($2, created_at) \
         WHERE role = 'admin' AND role_source = 'configuration' AND user_id <> ALL ($1) RETURNING user_id",
    )
    .bind::<Array<Text>, _>(texts(listed))
    .bind::<Timestamptz, _>(now)
    .load(conn)
    .await?;
    Ok(sorted(rows))
}

struct IdRow {
    user_id: UserId,
}
pg::read_columns! { IdRow: { user_id } }

fn sorted(rows: Vec<IdRow>) -> Vec<UserId> {
    let mut ids: Vec<UserId> = rows.into_iter().map(|row| row.user_id).collect();
    ids.sort_unstable();
    ids
}
