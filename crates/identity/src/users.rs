//! Operations on users.

use diesel_async::AsyncPgConnection;
use kernel::{Clock, Page, Slice, TimePlace, UserId};
use pg::{DbError, Tx};
use serde_json::json;
use time::OffsetDateTime;

use crate::{
    IdentityRefusal,
    audit::{self, Action, AuditActor, AuditEvent, AuditOrigin},
    erasures, identities,
    model::{Ensured, LoginSelection, NewUser, ProfileChange, Role, RoleChanges, User, fold},
    store,
};

pub use crate::model::{UserChange, UserChanged, user_filter::UserFilter};
pub use store::{
    statuses::{acting, acting_to_write, statuses},
    users::{created_between, find, hold, note_seen},
};

/// Creates the user if he is not there yet; one who is there is returned unchanged, except that a token that vouches for the
/// stored address makes it the user's own if nobody holds it (HTTP contract 3.1).
///
/// An address that nobody vouches for is stored as a contact: it holds nothing and blocks nobody.
///
/// Concurrent calls for one user make one user, and exactly one call sees `created`. A call that meets the open
/// transaction of another waits until that one ends.
///
/// # Errors
/// Refused with [`IdentityRefusal::EmailTaken`] when the address is vouched for and another user holds it, unless the id may be
/// linked to that user, who is returned then; with [`IdentityRefusal::OfAnotherIssuer`] when the id belongs to another issuer;
/// with [`IdentityRefusal::HolderDisabled`] when that user is disabled.
/// [`DbError::Contention`] when another transaction took or gave up the address in the same moment: try again.
pub async fn ensure(
    tx: &mut Tx,
    clock: &dyn Clock,
    new: &NewUser,
) -> Result<Result<Ensured, IdentityRefusal>, DbError> {
    let conn = tx.conn();
    // Most calls are repeats. Looking first spares them a write, and spares the sequence of ids a gap.
    if let Some(user) = store::users::find_by_identity(conn, &new.user_id).await? {
        return existing(conn, clock, user, new).await;
    }
    // An id becomes a user, or is linked to one, and never both.
    store::identities::lock(conn, &new.user_id).await?;
    if let Some(user) = store::users::find_by_identity(conn, &new.user_id).await? {
        return existing(conn, clock, user, new).await;
    }
    if let Some(user) = store::users::insert_unless_conflict(conn, clock.now(), new).await? {
        erasures::come_back(conn, clock, &new.user_id).await?;
        if let Err(refusal) = identities::claim_for_new_user(conn, clock, new).await? {
            return Ok(Err(refusal));
        }
        if user.role == Role::Admin {
            let event = by_configuration(clock.now(), &user.user_id, Role::Admin);
            audit::record(conn, std::slice::from_ref(&event)).await?;
        }
        return Ok(Ok(Ensured { user, created: true }));
    }
    // READ COMMITTED: this statement sees what the insert ran into.
    if let Some(user) = store::users::find_by_identity(conn, &new.user_id).await? {
        return existing(conn, clock, user, new).await;
    }
    let holder = match new.email_folded() {
        Some(folded) => store::users::holder(conn, &folded).await?,
        None => None,
    };
    match holder {
        None => Err(store::users::vanished()),
        Some(holder) => {
            let linked = identities::link(conn, clock, new, &holder).await?;
            Ok(linked.map(|()| Ensured { user: holder, created: false }))
        }
    }
}

async fn existing(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    user: User,
    new: &NewUser,
) -> Result<Result<Ensured, IdentityRefusal>, DbError> {
    if let Err(refusal) = identities::claim_for_known_user(conn, clock, new, &user.user_id).await? {
        return Ok(Err(refusal));
    }
    let user = vouch(conn, clock, user, new).await?;
    Ok(Ok(Ensured { user, created: false }))
}

/// Gives exactly these users the role of administrator by configuration (`ADMIN_USER_IDS`, HTTP contract 14): who is listed
/// has it afterwards, who has it from an earlier list and is not listed any more loses it.
///
/// Ids that never signed up are passed over; [`ensure`] gives them the role. A user who was promoted otherwise keeps the role.
/// Processes that start at once wait for one another; with different lists the last one decides.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn apply_admins(tx: &mut Tx, clock: &dyn Clock, listed: &[UserId]) -> Result<RoleChanges, DbError> {
    let (conn, now) = (tx.conn(), clock.now());
    store::roles::lock(conn).await?;
    let changes = RoleChanges {
        promoted: store::roles::promote(conn, now, listed).await?,
        demoted: store::roles::demote_others(conn, now, listed).await?,
    };
    let promoted = changes.promoted.iter().map(|user_id| by_configuration(now, user_id, Role::Admin));
    let demoted = changes.demoted.iter().map(|user_id| by_configuration(now, user_id, Role::User));
    audit::record(conn, &promoted.chain(demoted).collect::<Vec<_>>()).await?;
    Ok(changes)
}

/// The audit of a role that the configuration decides.
fn by_configuration(at: OffsetDateTime, user_id: &UserId, role: Role) -> AuditEvent {
    let from = if role == Role::Admin { Role::User } else { Role::Admin };
    let details = json!({"from": from.as_str(), "to": role.as_str(), "source": "configuration"});
    AuditEvent::new(at, AuditActor::System, Action::RoleChanged, AuditOrigin::default())
        .of_user(user_id.clone())
        .with(&details)
}

/// Locks a user until the transaction ends, and returns them as they are then.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn lock(tx: &mut Tx, user: &UserId) -> Result<Option<User>, DbError> {
    store::users::lock(tx.conn(), user).await
}

/// Changes the profile of a user, and returns them as they are then; `None` if they never signed up.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn set_profile(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    user: &UserId,
    change: &ProfileChange,
) -> Result<Option<User>, DbError> {
    store::users::set_profile(conn, clock.now(), user, change).await
}

/// Changes a user; `None` if they never signed up. A user who is deactivated is logged out everywhere, and stays so when they
/// are activated again (HTTP contract 3.3). The login name of an own account follows the address, and is taken from an account
/// whose user never confirmed it; that user keeps everything else. A role that is given or taken so is one by promotion, which lists do not change.
///
/// # Errors
/// Refused with [`IdentityRefusal::EmailTaken`] when another user holds the address. [`DbError::Contention`] when another transaction took it in the same moment: try again.
pub async fn change(
    tx: &mut Tx,
    clock: &dyn Clock,
    user_id: &UserId,
    change: &UserChange,
) -> Result<Option<Result<UserChanged, IdentityRefusal>>, DbError> {
    let (conn, now) = (tx.conn(), clock.now());
    let Some(before) = store::users::lock(conn, user_id).await? else {
        return Ok(None);
    };
    if let Some(email) = &change.email
        && let Some(holder) = store::users::holder(conn, &fold(email)).await?
        && holder.user_id != *user_id
    {
        return Ok(Some(Err(IdentityRefusal::EmailTaken)));
    }
    let renamed = match &change.email {
        Some(email) => store::credentials::rename(conn, user_id, &fold(email)).await?,
        None => None,
    };
    let after = store::users::change(conn, now, &before, change).await?;
    if before.is_active && !after.is_active {
        store::logins::end(conn, clock.pinned(), user_id, LoginSelection::All).await?;
    }
    Ok(Some(Ok(UserChanged { before, after, renamed })))
}

/// A page of users, newest first. It may have fewer than were asked for although more follow: then they have to be looked for
/// further, from [`Slice::next`] on.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn list(
    conn: &mut AsyncPgConnection,
    filter: &UserFilter,
    page: &Page<TimePlace>,
) -> Result<Slice<User, TimePlace>, DbError> {
    store::user_lists::page(conn, filter, page).await
}

/// Makes the stored address the user's own if the token vouches for it and nobody holds it.
async fn vouch(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    user: User,
    new: &NewUser,
) -> Result<User, DbError> {
    let vouched = match &user.email {
        Some(email) if !user.email_vouched && new.email_voucher.is_token_for(email) => {
            store::users::vouch_unless_held(conn, clock.now(), &user.user_id, email).await?
        }
        _ => None,
    };
    Ok(vouched.unwrap_or(user))
}
