//! What can be done with users.

use diesel_async::AsyncPgConnection;
use kernel::{Clock, UserId};
use pg::{DbError, Tx};
use time::OffsetDateTime;

use crate::{
    IdentityRefusal,
    model::{Activity, Ensured, NewUser, User, UserStatus},
    store,
};

/// Creates the user if he is not there yet; one who is there is returned unchanged (HTTP contract 3.1).
///
/// Concurrent calls for one user make one user, and exactly one call sees `created`. A call that meets the open
/// transaction of another waits until that one ends.
///
/// # Errors
/// Refused with [`IdentityRefusal::EmailTaken`] when another user has the address. [`DbError::Contention`] when the user
/// in the way vanished in the same moment: try again.
pub async fn ensure(
    tx: &mut Tx,
    clock: &dyn Clock,
    new: &NewUser,
) -> Result<Result<Ensured, IdentityRefusal>, DbError> {
    let conn = tx.conn();
    // Most calls are repeats. Looking first spares them a write, and spares the sequence of ids a gap.
    if let Some(user) = store::users::find(conn, &new.user_id).await? {
        return Ok(Ok(Ensured { user, created: false }));
    }
    if let Some(user) = store::users::insert_unless_conflict(conn, clock.now(), new).await? {
        return Ok(Ok(Ensured { user, created: true }));
    }
    // READ COMMITTED: this statement sees what the insert ran into.
    if let Some(user) = store::users::find(conn, &new.user_id).await? {
        return Ok(Ok(Ensured { user, created: false }));
    }
    if store::users::email_exists(conn, &new.email_folded()).await? {
        return Ok(Err(IdentityRefusal::EmailTaken));
    }
    Err(store::users::vanished())
}

/// The user with this id; `None` if he never signed up.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn find(conn: &mut AsyncPgConnection, user: &UserId) -> Result<Option<User>, DbError> {
    store::users::find(conn, user).await
}

/// Activity and role of many users at once, in the order asked; `None` for those who never signed up.
///
/// One statement, made to be coalesced: every authenticated request asks it.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn statuses(
    conn: &AsyncPgConnection,
    users: &[UserId],
) -> Result<Vec<Option<UserStatus>>, DbError> {
    store::users::statuses(conn, users).await
}

/// How many users were made in each of the spans that begin at `starts`, in order; each ends where the next begins, the last
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
    store::users::created_between(conn, starts, end).await
}

/// Gives these users the role of administrator and answers how many did not have it yet.
///
/// Ids that never signed up are passed over (`ADMIN_USER_IDS`, HTTP contract 14). Nobody loses the role here.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn promote_admins(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    users: &[UserId],
) -> Result<usize, DbError> {
    store::users::promote_admins(conn, clock.now(), users).await
}

/// Activates or deactivates a user and answers what he is afterwards; `None` if he never signed up.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn set_active(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    user: &UserId,
    activity: Activity,
) -> Result<Option<User>, DbError> {
    store::users::set_active(conn, clock.now(), user, activity).await
}
