//! The table `identity.credentials`.

use diesel::{
    OptionalExtension,
    sql_types::{Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::UserId;
use pg::{DbError, columns::Read};
use time::OffsetDateTime;

use crate::model::Credential;

/// The unique index of login names.
const LOGIN_NAME_KEY: &str = "credentials_login_email_key";

/// Stores the password of a new account; false if the login name is taken, after the transaction that took it has ended.
pub(crate) async fn insert_unless_taken(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    user: &UserId,
    login_email_folded: &str,
    password_hash: &str,
) -> Result<bool, DbError> {
    let inserted = pg::sql(
        "INSERT INTO identity.credentials (user_id, login_email_folded, password_hash, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $4) ON CONFLICT (login_email_folded) DO NOTHING",
    )
    .bind::<Text, _>(user.as_str())
    .bind::<Text, _>(login_email_folded)
    .bind::<Text, _>(password_hash)
    .bind::<Timestamptz, _>(now)
    .execute(conn)
    .await?;
    Ok(inserted == 1)
}

/// The account with this login name.
pub(crate) async fn find(
    conn: &mut AsyncPgConnection,
    login_email_folded: &str,
) -> Result<Option<Credential>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM identity.credentials JOIN identity.users USING (user_id) WHERE login_email_folded = $1",
        Credential::list("credentials")
    )))
    .bind::<Text, _>(login_email_folded)
    .get_result(conn)
    .await
    .optional()?)
}

/// The account of a user.
pub(crate) async fn find_of_user(
    conn: &mut AsyncPgConnection,
    user: &UserId,
) -> Result<Option<Credential>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM identity.credentials JOIN identity.users USING (user_id) WHERE user_id = $1",
        Credential::list("credentials")
    )))
    .bind::<Text, _>(user.as_str())
    .get_result(conn)
    .await
    .optional()?)
}

/// Gives the account of a user, if there is one, another login name, and returns the user of the account that had it.
pub(crate) async fn rename(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    login_email_folded: &str,
) -> Result<Option<UserId>, DbError> {
    let loser: Option<UserRow> = pg::sql(
        "UPDATE identity.credentials SET login_email_folded = NULL WHERE login_email_folded = $2 AND user_id <> $1 \
         AND EXISTS (SELECT FROM identity.credentials AS own WHERE own.user_id = $1) RETURNING user_id",
    )
    .bind::<Text, _>(user.as_str())
    .bind::<Text, _>(login_email_folded)
    .get_result(conn)
    .await
    .optional()?;
    let renamed = pg::sql("UPDATE identity.credentials SET login_email_folded = $2 WHERE user_id = $1")
        .bind::<Text, _>(user.as_str())
        .bind::<Text, _>(login_email_folded)
        .execute(conn)
        .await
        .map_err(DbError::from);
    match renamed {
        Err(DbError::Constraint { constraint, .. }) if constraint == LOGIN_NAME_KEY => {
            Err(DbError::overtaken())
        }
        renamed => renamed.map(|_| loser.map(|loser| loser.user_id)),
    }
}

struct UserRow {
    user_id: UserId,
}
pg::read_columns! { UserRow: { user_id } }

/// Replaces the hash of a password.
pub(crate) async fn set_hash(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    password_hash: &str,
) -> Result<(), DbError> {
    pg::sql("UPDATE identity.credentials SET password_hash = $2 WHERE user_id = $1")
        .bind::<Text, _>(user.as_str())
        .bind::<Text, _>(password_hash)
        .execute(conn)
        .await?;
    Ok(())
}

/// Replaces a password.
pub(crate) async fn set_password(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    user: &UserId,
    password_hash: &str,
) -> Result<(), DbError> {
    let changed = pg::sql(
        "UPDATE identity.credentials SET password_hash = $2, updated_at = greatest($3, created_at) WHERE user_id = $1",
    )
    .bind::<Text, _>(user.as_str())
    .bind::<Text, _>(password_hash)
    .bind::<Timestamptz, _>(now)
    .execute(conn)
    .await?;
    DbError::expect_rows("change of a password", 1, changed)
}

/// Notes that a reader of the mailbox set the password.
pub(crate) async fn prove_password(conn: &mut AsyncPgConnection, user: &UserId) -> Result<(), DbError> {
    let changed = pg::sql("UPDATE identity.credentials SET password_proven = true WHERE user_id = $1")
        .bind::<Text, _>(user.as_str())
        .execute(conn)
        .await?;
    DbError::expect_rows("proof of a password", 1, changed)
}

/// Returns true unless the user has a password that nobody who reads their mailbox is known to have set.
pub(crate) async fn is_proven(conn: &mut AsyncPgConnection, user: &UserId) -> Result<bool, DbError> {
    let row: ProvenRow = pg::sql(
        "SELECT NOT EXISTS (SELECT FROM identity.credentials WHERE user_id = $1 AND NOT password_proven) AS is_proven",
    )
    .bind::<Text, _>(user.as_str())
    .get_result(conn)
    .await?;
    Ok(row.is_proven)
}

struct ProvenRow {
    is_proven: bool,
}
pg::read_columns! { ProvenRow: { is_proven } }

pg::read_columns! {
    Credential: { user_id, password_hash, email = "users.email", email_vouched = "users.email_vouched", is_active = "users.is_active" }
}
