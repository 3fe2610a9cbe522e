//! The table `identity.logins`.
//!
//! The clock is that of the database: processes agree on how long a repeat is one.

use diesel::{
    OptionalExtension,
    sql_types::{BigInt, Binary, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::UserId;
use pg::DbError;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::model::LoginSelection;

/// A login whose row is locked, with its user.
pub(crate) struct LockedLogin {
    pub(crate) user_id: UserId,
    pub(crate) refresh_digest: Vec<u8>,
    pub(crate) previous_digest: Option<Vec<u8>>,
    pub(crate) rotated_at: OffsetDateTime,
    /// It has neither ended nor expired, and its user is active.
    pub(crate) is_live: bool,
    /// The address of the user, if it is confirmed.
    pub(crate) email: Option<String>,
    /// The time of the database.
    pub(crate) now: OffsetDateTime,
}
pg::read_columns! {
    LockedLogin: { user_id, refresh_digest, previous_digest, rotated_at, is_live, email, now }
}

/// A login, as it is opened.
pub(crate) struct NewLogin<'a> {
    pub(crate) user_id: &'a UserId,
    pub(crate) id: Uuid,
    pub(crate) refresh_digest: [u8; 32],
    pub(crate) ttl: Duration,
}

/// Inserts a login of an active user. Their row stays locked, so that a deactivation either comes first or ends the login.
pub(crate) async fn insert(
    conn: &mut AsyncPgConnection,
    pinned: Option<OffsetDateTime>,
    new: &NewLogin<'_>,
) -> Result<(), DbError> {
    let rows = pg::sql(
        "INSERT INTO identity.logins (user_id, id, refresh_digest, created_at, rotated_at, expires_at)
         SELECT $2, $3, $4, now, now, now + $5 * interval '1 second'
         FROM (SELECT coalesce($1, clock_timestamp()) AS now) AS present,
             (SELECT FROM identity.users WHERE user_id = $2 AND is_active FOR SHARE) AS active",
    )
    .bind::<Nullable<Timestamptz>, _>(pinned)
    .bind::<Text, _>(new.user_id.as_str())
    .bind::<SqlUuid, _>(new.id)
    .bind::<Binary, _>(new.refresh_digest.as_slice())
    .bind::<BigInt, _>(new.ttl.whole_seconds())
    .execute(conn)
    .await?;
    if rows == 0 { Err(DbError::overtaken()) } else { Ok(()) }
}

/// Locks a login, after those who hold it, and reads it.
pub(crate) async fn lock(
    conn: &mut AsyncPgConnection,
    pinned: Option<OffsetDateTime>,
    id: Uuid,
) -> Result<Option<LockedLogin>, DbError> {
    Ok(pg::sql(
        "SELECT logins.user_id, refresh_digest, previous_digest, rotated_at, now,
             ended_at IS NULL AND expires_at > now AND users.is_active AS is_live,
             CASE WHEN users.email_vouched THEN users.email END AS email
         FROM identity.logins JOIN identity.users ON users.user_id = logins.user_id
             CROSS JOIN LATERAL (SELECT coalesce($1, clock_timestamp()) AS now) AS present
         WHERE logins.id = $2 FOR UPDATE OF logins",
    )
    .bind::<Nullable<Timestamptz>, _>(pinned)
    .bind::<SqlUuid, _>(id)
    .get_result(conn)
    .await
    .optional()?)
}

/// Replaces the refresh token of a login that is locked.
pub(crate) async fn rotate(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    new: &NewLogin<'_>,
) -> Result<(), DbError> {
    let rows = pg::sql(
        "UPDATE identity.logins SET previous_digest = refresh_digest, refresh_digest = $4,
             rotated_at = greatest($1, created_at), expires_at = greatest($1, created_at) + $5 * interval '1 second'
         WHERE user_id = $2 AND id = $3",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<Text, _>(new.user_id.as_str())
    .bind::<SqlUuid, _>(new.id)
    .bind::<Binary, _>(new.refresh_digest.as_slice())
    .bind::<BigInt, _>(new.ttl.whole_seconds())
    .execute(conn)
    .await?;
    DbError::expect_rows("rotation of a refresh token", 1, rows)
}

/// Ends logins of a user, and returns how many were live.
pub(crate) async fn end(
    conn: &mut AsyncPgConnection,
    pinned: Option<OffsetDateTime>,
    user_id: &UserId,
    selection: LoginSelection,
) -> Result<usize, DbError> {
    let (only, but) = match selection {
        LoginSelection::One(id) => (Some(id), None),
        LoginSelection::Others(id) => (None, Some(id)),
        LoginSelection::All => (None, None),
    };
    // Locked in one order, so that two who end the logins of one user do not wait for each other.
    Ok(pg::sql(
        "WITH locked AS (
             SELECT id FROM identity.logins
             WHERE user_id = $2 AND ended_at IS NULL AND (id = $3 OR $3 IS NULL) AND (id <> $4 OR $4 IS NULL)
             ORDER BY id FOR UPDATE
         )
         UPDATE identity.logins SET ended_at = greatest(coalesce($1, clock_timestamp()), created_at)
         FROM locked WHERE logins.user_id = $2 AND logins.id = locked.id",
    )
    .bind::<Nullable<Timestamptz>, _>(pinned)
    .bind::<Text, _>(user_id.as_str())
    .bind::<Nullable<SqlUuid>, _>(only)
    .bind::<Nullable<SqlUuid>, _>(but)
    .execute(conn)
    .await?)
}

/// Deletes logins that have ended or expired, at most `limit`, and returns how many there were.
pub(crate) async fn prune(
    conn: &mut AsyncPgConnection,
    pinned: Option<OffsetDateTime>,
    limit: i64,
) -> Result<usize, DbError> {
    Ok(pg::sql(
        "DELETE FROM identity.logins WHERE (user_id, id) IN (
             SELECT user_id, id FROM identity.logins
             WHERE ended_at IS NOT NULL OR expires_at < coalesce($1, clock_timestamp())
             LIMIT $2 FOR UPDATE SKIP LOCKED
         )",
    )
    .bind::<Nullable<Timestamptz>, _>(pinned)
    .bind::<BigInt, _>(limit)
    .execute(conn)
    .await?)
}
