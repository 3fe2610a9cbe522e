//! The table `identity.users`.

use diesel::{
    OptionalExtension,
    sql_types::{Array, Bool, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::UserId;
use pg::{DbError, columns::Read};
use time::OffsetDateTime;

use crate::model::{Activity, AvatarChange, NewUser, Plan, ProfileChange, Role, User, UserChange, fold};

/// The unique index of addresses that are vouched for.
const VOUCHED_EMAIL_KEY: &str = "users_vouched_email_key";

/// A condition in SQL: the user `old.user_id` may act, and does so as themselves and not as an administrator.
pub const MAY_ACT: &str = "EXISTS (SELECT FROM identity.users WHERE users.user_id = old.user_id AND users.is_active AND users.role = 'user')";

/// The user with this id; `None` if they never signed up.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn find(conn: &mut AsyncPgConnection, user: &UserId) -> Result<Option<User>, DbError> {
    Ok(pg::sql(pg::once!(format!("SELECT {} FROM identity.users WHERE user_id = $1", User::list("users"))))
        .bind::<Text, _>(user.as_str())
        .get_result(conn)
        .await
        .optional()?)
}

/// The user whom this id names: their own id, or that of an identity that was linked to them.
pub(crate) async fn find_by_identity(
    conn: &mut AsyncPgConnection,
    id: &UserId,
) -> Result<Option<User>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM identity.users
         WHERE user_id = coalesce((SELECT identities.user_id FROM identity.identities WHERE identities.id = $1), $1)",
        User::list("users")
    )))
    .bind::<Text, _>(id.as_str())
    .get_result(conn)
    .await
    .optional()?)
}

/// Keeps a user from being erased until the transaction ends; false if there is no such user.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn hold(conn: &mut AsyncPgConnection, user: &UserId) -> Result<bool, DbError> {
    let held = pg::sql("SELECT FROM identity.users WHERE user_id = $1 FOR KEY SHARE")
        .bind::<Text, _>(user.as_str())
        .execute(conn)
        .await?;
    Ok(held > 0)
}

/// The address of a user who was removed.
pub(crate) struct RemovedAddress {
    pub(crate) email_folded: Option<String>,
    pub(crate) email_vouched: bool,
    /// Of an own account.
    pub(crate) login_name: Option<String>,
}
pg::read_columns! {
    RemovedAddress: {
        email_folded,
        email_vouched,
        login_name = "(SELECT login_email_folded FROM identity.credentials WHERE credentials.user_id = {}.user_id)",
    }
}

/// Deletes a user; `None` if there is no such user.
pub(crate) async fn remove(
    conn: &mut AsyncPgConnection,
    user: &UserId,
) -> Result<Option<RemovedAddress>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "DELETE FROM identity.users WHERE user_id = $1 RETURNING {}",
        RemovedAddress::list("users")
    )))
    .bind::<Text, _>(user.as_str())
    .get_result(conn)
    .await
    .optional()?)
}

/// Inserts a user; `None` if the id is taken or the address, vouched for, is held, after the transaction that did so has
/// ended.
pub(crate) async fn insert_unless_conflict(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    new: &NewUser,
) -> Result<Option<User>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "INSERT INTO identity.users (user_id, email, email_folded, email_vouched, name, role, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT DO NOTHING
         RETURNING {}",
        User::list("users")
    )))
    .bind::<Text, _>(new.user_id.as_str())
    .bind::<Nullable<Text>, _>(new.email.as_deref())
    .bind::<Nullable<Text>, _>(new.email_folded())
    .bind::<Bool, _>(new.email_vouched())
    .bind::<Nullable<Text>, _>(new.name.as_deref())
    .bind::<Text, _>(new.role.as_str())
    .bind::<Timestamptz, _>(now)
    .get_result(conn)
    .await
    .optional()?)
}

/// The user who holds an address that is folded to this.
pub(crate) async fn holder(conn: &mut AsyncPgConnection, folded: &str) -> Result<Option<User>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM identity.users WHERE email_folded = $1 AND email_vouched",
        User::list("users")
    )))
    .bind::<Text, _>(folded)
    .get_result(conn)
    .await
    .optional()?)
}

/// Makes the stored address the user's own; `None` if another user holds it, or if the user has another address by now.
///
/// Addresses from before the service folded them itself are folded anew.
pub(crate) async fn vouch_unless_held(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    user: &UserId,
    email: &str,
) -> Result<Option<User>, DbError> {
    let updated = pg::sql(pg::once!(format!(
        "UPDATE identity.users SET email_vouched = true, email_folded = $2, updated_at = greatest($3, created_at)
         WHERE user_id = $1 AND email = $4 AND NOT email_vouched AND NOT EXISTS
             (SELECT FROM identity.users AS holder WHERE holder.email_folded = $2 AND holder.email_vouched)
         RETURNING {}",
        User::list("users")
    )))
    .bind::<Text, _>(user.as_str())
    .bind::<Text, _>(fold(email))
    .bind::<Timestamptz, _>(now)
    .bind::<Text, _>(email)
    .get_result(conn)
    .await
    .optional()
    .map_err(DbError::from);
    match updated {
        Err(DbError::Constraint { constraint, .. }) if constraint == VOUCHED_EMAIL_KEY => {
            Err(DbError::overtaken())
        }
        updated => updated,
    }
}

/// The error for an obstacle of an insert that was gone when it was read: a new attempt helps.
pub(crate) fn vanished() -> DbError {
    DbError::Contention(diesel::result::Error::NotFound)
}

/// Returns the number of users made in each of the spans that begin at `starts`, in order; each ends where the next begins, the last
/// one at `end`.
///
/// One statement, whose cost depends on the window and not on how many users there are.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn created_between(
    conn: &mut AsyncPgConnection,
    starts: &[OffsetDateTime],
    end: OffsetDateTime,
) -> Result<Vec<i64>, DbError> {
    let mut counts = vec![0; starts.len()];
    let Some(first) = starts.first() else {
        return Ok(counts);
    };
    let rows: Vec<SpanRow> = pg::sql(
        "SELECT width_bucket(created_at, $1)::bigint AS place, count(*) AS users FROM identity.users \
         WHERE created_at >= $2 AND created_at < $3 GROUP BY place",
    )
    .bind::<Array<Timestamptz>, _>(starts)
    .bind::<Timestamptz, _>(*first)
    .bind::<Timestamptz, _>(end)
    .load(conn)
    .await?;
    for row in rows {
        let place = usize::try_from(row.place.saturating_sub(1)).ok();
        match place.and_then(|place| counts.get_mut(place)) {
            Some(count) => *count = row.users,
            None => return Err(DbError::Inconsistent(format!("users in span {}", row.place))),
        }
    }
    Ok(counts)
}

/// Changes the profile of a user.
pub(crate) async fn set_profile(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    user: &UserId,
    change: &ProfileChange,
) -> Result<Option<User>, DbError> {
    let (keeps_avatar, avatar_url) = match &change.avatar {
        AvatarChange::Keep => (true, None),
        AvatarChange::Remove => (false, None),
        AvatarChange::Set(url) => (false, Some(url.as_str())),
    };
    Ok(pg::sql(pg::once!(format!(
        "UPDATE identity.users SET name = coalesce($2, name),
         avatar_url = CASE WHEN $3 THEN avatar_url ELSE $4 END, updated_at = greatest($5, created_at)
         WHERE user_id = $1
         RETURNING {}",
        User::list("users")
    )))
    .bind::<Text, _>(user.as_str())
    .bind::<Nullable<Text>, _>(change.name.as_deref())
    .bind::<Bool, _>(keeps_avatar)
    .bind::<Nullable<Text>, _>(avatar_url)
    .bind::<Timestamptz, _>(now)
    .get_result(conn)
    .await
    .optional()?)
}

/// The user, locked until the end of the transaction.
pub(crate) async fn lock(conn: &mut AsyncPgConnection, user: &UserId) -> Result<Option<User>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM identity.users WHERE user_id = $1 FOR NO KEY UPDATE",
        User::list("users")
    )))
    .bind::<Text, _>(user.as_str())
    .get_result(conn)
    .await
    .optional()?)
}

/// Writes what a change leaves of a locked user; one who stays as they are keeps `updated_at`.
pub(crate) async fn change(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    before: &User,
    change: &UserChange,
) -> Result<User, DbError> {
    let name = change.name.as_deref().or(before.name.as_deref());
    let email = change.email.as_deref().or(before.email.as_deref());
    let email_vouched = change.email.is_some() || before.email_vouched;
    let role = change.role.unwrap_or(before.role);
    let is_active = change.activity.map_or(before.is_active, |activity| activity == Activity::Active);
    let is_same = name == before.name.as_deref()
        && email == before.email.as_deref()
        && (email_vouched, role, is_active) == (before.email_vouched, before.role, before.is_active);
    let updated = pg::sql(pg::once!(format!(
        "UPDATE identity.users SET name = $2, email = $3, email_vouched = $5, role = $6, is_active = $7,
             email_folded = CASE WHEN $8 THEN $4 ELSE email_folded END,
             role_source = CASE WHEN $9 THEN 'promotion' ELSE role_source END,
             updated_at = CASE WHEN $10 THEN updated_at ELSE greatest($11, created_at) END
         WHERE user_id = $1 RETURNING {}",
        User::list("users")
    )))
    .bind::<Text, _>(before.user_id.as_str())
    .bind::<Nullable<Text>, _>(name)
    .bind::<Nullable<Text>, _>(email)
    .bind::<Nullable<Text>, _>(change.email.as_deref().map(fold))
    .bind::<Bool, _>(email_vouched)
    .bind::<Text, _>(role.as_str())
    .bind::<Bool, _>(is_active)
    .bind::<Bool, _>(change.email.is_some())
    .bind::<Bool, _>(change.role.is_some())
    .bind::<Bool, _>(is_same)
    .bind::<Timestamptz, _>(now)
    .get_result(conn)
    .await
    .map_err(DbError::from);
    match updated {
        Err(DbError::Constraint { constraint, .. }) if constraint == VOUCHED_EMAIL_KEY => {
            Err(DbError::overtaken())
        }
        updated => updated,
    }
}

/// Notes the hour of the last request of users; those whose row another transaction has locked are passed over.
///
/// # Errors
/// [`DbError`] when the database cannot be written.
pub async fn note_seen(
    conn: &mut AsyncPgConnection,
    hour: OffsetDateTime,
    users: &[UserId],
) -> Result<(), DbError> {
    pg::sql(
        "UPDATE identity.users SET last_seen_at = $2 WHERE user_id IN ( \
           SELECT user_id FROM identity.users WHERE user_id = ANY($1) AND coalesce(last_seen_at < $2, true) \
           ORDER BY user_id FOR NO KEY UPDATE SKIP LOCKED)",
    )
    .bind::<Array<Text>, _>(texts(users))
    .bind::<Timestamptz, _>(hour)
    .execute(conn)
    .await?;
    Ok(())
}

pg::read_columns! {
    User: {
        id, user_id, email, email_vouched, name, avatar_url, role, plan, is_active, last_seen_at, created_at, updated_at
    }
}

struct SpanRow {
    /// From 1.
    place: i64,
    users: i64,
}
pg::read_columns! { SpanRow: { place, users } }

pg::word_columns!(Plan, Role; from_name);

pub(super) fn texts(users: &[UserId]) -> Vec<&str> {
    users.iter().map(UserId::as_str).collect()
}
