//! The table `identity.identities`.

use diesel::{
    OptionalExtension,
    sql_types::{Array, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::UserId;
use pg::{DbError, columns::Read};
use time::OffsetDateTime;

use crate::model::{Identity, OwnedId};

/// Notes that an id stands for a user and belongs to an issuer, unless it is noted already; waits for a transaction that does
/// so at the same time, and for one that erases the user. Returns what is noted.
///
/// # Errors
/// [`DbError::Contention`] if there is no such user any more, and nothing is noted.
pub(crate) async fn claim(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    id: &UserId,
    identity: &Identity,
) -> Result<Identity, DbError> {
    pg::sql(
        "INSERT INTO identity.identities (id, user_id, issuer, created_at) \
         SELECT $1, user_id, $3, $4 FROM identity.users WHERE user_id = $2 FOR KEY SHARE \
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

/// Lets one transaction at a time create the user with an id, or link the id to another user.
pub(crate) async fn lock(conn: &mut AsyncPgConnection, id: &UserId) -> Result<(), DbError> {
    pg::sql("SELECT pg_advisory_xact_lock(hashtextextended($1, 7284018846117465021))")
        .bind::<Text, _>(id.as_str())
        .execute(conn)
        .await?;
    Ok(())
}

/// The users that ids name, in the order asked: each id itself unless it was linked.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn users_of(conn: &mut AsyncPgConnection, ids: &[UserId]) -> Result<Vec<UserId>, DbError> {
    let rows: Vec<UserOf> = pg::sql(
        "SELECT coalesce(identities.user_id, asked.id) AS user_id FROM unnest($1) WITH ORDINALITY AS asked (id, place) \
         LEFT JOIN identity.identities ON identities.id = asked.id COLLATE \"C\" ORDER BY asked.place",
    )
    .bind::<Array<Text>, _>(super::users::texts(ids))
    .load(conn)
    .await?;
    DbError::expect_rows("users of ids", ids.len(), rows.len())?;
    Ok(rows.into_iter().map(|row| row.user_id).collect())
}

/// The owner of an id.
pub(crate) async fn find(conn: &mut AsyncPgConnection, id: &UserId) -> Result<Option<Identity>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM identity.identities WHERE id = $1",
        Identity::list("identities")
    )))
    .bind::<Text, _>(id.as_str())
    .get_result(conn)
    .await
    .optional()?)
}

struct UserOf {
    user_id: UserId,
}
pg::read_columns! { UserOf: { user_id } }

/// The ids of a user, those that were brought first first.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn of_user(conn: &mut AsyncPgConnection, user_id: &UserId) -> Result<Vec<OwnedId>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM identity.identities WHERE user_id = $1 ORDER BY created_at, id",
        OwnedId::list("identities")
    )))
    .bind::<Text, _>(user_id.as_str())
    .load(conn)
    .await?)
}

pg::read_columns! { OwnedId: { id, issuer, created_at } }
pg::read_columns! { Identity: { user_id, issuer } }
