//! The table `identity.identities`.

use diesel::{
    OptionalExtension,
    sql_types::{Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::UserId;
use pg::{DbError, columns::Read};
use time::OffsetDateTime;

use crate::model::Identity;

/// Notes that an id stands for a user and belongs to an issuer, unless it is noted already; waits for a transaction that does
/// so at the same time. Returns what is noted.
pub(crate) async fn claim(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    id: &UserId,
    identity: &Identity,
) -> Result<Identity, DbError> {
    pg::sql(
        "INSERT INTO identity.identities (id, user_id, issuer, created_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind::<Text, _>(id.as_str())
    .bind::<Text, _>(identity.user_id.as_str())
    .bind::<Text, _>(identity.issuer.as_str())
    .bind::<Timestamptz, _>(now)
    .execute(conn)
    .await?;
    // A statement of its own sees what the insert ran into.
    find(conn, id).await?.ok_or_else(super::users::vanished)
}

/// The owner of an id.
async fn find(conn: &mut AsyncPgConnection, id: &UserId) -> Result<Option<Identity>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM identity.identities WHERE id = $1",
        Identity::list("identities")
    )))
    .bind::<Text, _>(id.as_str())
    .get_result(conn)
    .await
    .optional()?)
}

pg::read_columns! { Identity: { user_id, issuer } }
