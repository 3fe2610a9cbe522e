//! The status of callers, read with every request.

use diesel::{
    QueryableByName,
    sql_types::{Array, Bool, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::try_join;
use pg::DbError;
use uuid::Uuid;

use super::erasures;
use crate::model::{Acting, ActingStatus, Identity, Standing, StatusQuery, UserStatus};

/// The users, identities, logins and keys of many requests at once, in the order asked.
///
/// One statement, made to be coalesced: every authenticated request asks it.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn statuses(mut conn: &AsyncPgConnection, asked: &[StatusQuery]) -> Result<Vec<Standing>, DbError> {
    let users: Vec<_> = asked.iter().map(|asked| asked.user_id.as_ref().map(|id| id.as_str())).collect();
    let logins: Vec<_> = asked.iter().map(|asked| asked.login_id).collect();
    let keys: Vec<_> = asked.iter().map(|asked| asked.key_id).collect();
    let rows: Vec<StandingRow> = pg::sql(
        "SELECT users.is_active, users.role, identities.user_id, identities.issuer, \
             logins.id IS NOT NULL AS login_is_live, api_keys.key_id IS NOT NULL AS key_is_live \
         FROM unnest($1, $2, $3) WITH ORDINALITY AS asked (id, login_id, key_id, place) \
         LEFT JOIN identity.identities ON identities.id = asked.id COLLATE \"C\" \
         LEFT JOIN identity.users ON users.user_id = coalesce(identities.user_id, asked.id) COLLATE \"C\" \
         LEFT JOIN identity.logins ON logins.user_id = users.user_id AND logins.id = asked.login_id \
             AND logins.ended_at IS NULL \
         LEFT JOIN identity.api_keys ON api_keys.key_id = asked.key_id AND api_keys.revoked_at IS NULL \
         ORDER BY asked.place",
    )
    .bind::<Array<Nullable<Text>>, _>(users)
    .bind::<Array<Nullable<SqlUuid>>, _>(logins)
    .bind::<Array<Nullable<SqlUuid>>, _>(keys)
    .load(&mut conn)
    .await?;
    DbError::expect_rows("statuses of callers", asked.len(), rows.len())?;
    Ok(rows.into_iter().map(Standing::from).collect())
}

/// As [`acting`], for a transaction that writes: none of them is erased until it ends.
///
/// # Errors
/// As [`acting`].
pub async fn acting_to_write(
    conn: &AsyncPgConnection,
    asked: &[&Acting],
) -> Result<Vec<Option<ActingStatus>>, DbError> {
    // The second statement is sent at once, and sees what was committed when the first one ended.
    let ((), statuses) = try_join!(erasures::note_operations(conn), acting(conn, asked))?;
    Ok(statuses)
}

/// Activity, role and login of users who act in one transaction, in the order asked; `None` for those who were never ensured.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn acting(
    mut conn: &AsyncPgConnection,
    asked: &[&Acting],
) -> Result<Vec<Option<ActingStatus>>, DbError> {
    let users: Vec<_> = asked.iter().map(|asked| asked.user_id.as_str()).collect();
    let logins: Vec<Option<Uuid>> = asked.iter().map(|asked| asked.login_id).collect();
    let rows: Vec<ActingRow> = pg::sql(
        "SELECT users.is_active, users.role, asked.login_id IS NULL OR logins.id IS NOT NULL AS login_is_live \
         FROM unnest($1, $2) WITH ORDINALITY AS asked (user_id, login_id, place) \
         LEFT JOIN identity.users ON users.user_id = asked.user_id COLLATE \"C\" \
         LEFT JOIN identity.logins ON logins.user_id = asked.user_id COLLATE \"C\" AND logins.id = asked.login_id \
             AND logins.ended_at IS NULL \
         ORDER BY asked.place",
    )
    .bind::<Array<Text>, _>(users)
    .bind::<Array<Nullable<SqlUuid>>, _>(logins)
    .load(&mut conn)
    .await?;
    DbError::expect_rows("statuses of users", asked.len(), rows.len())?;
    Ok(rows
        .into_iter()
        .map(|row| row.user.map(|user| ActingStatus { user, login_is_live: row.login_is_live }))
        .collect())
}

#[derive(QueryableByName)]
struct StandingRow {
    #[diesel(embed)]
    identity: Option<Identity>,
    #[diesel(embed)]
    user: Option<UserStatus>,
    #[diesel(sql_type = Bool)]
    login_is_live: bool,
    #[diesel(sql_type = Bool)]
    key_is_live: bool,
}

impl From<StandingRow> for Standing {
    fn from(row: StandingRow) -> Self {
        let StandingRow { identity, user, login_is_live, key_is_live } = row;
        Self { identity, user, login_is_live, key_is_live }
    }
}

#[derive(QueryableByName)]
struct ActingRow {
    #[diesel(embed)]
    user: Option<UserStatus>,
    #[diesel(sql_type = Bool)]
    login_is_live: bool,
}

pg::read_columns! { UserStatus: { is_active, role } }
