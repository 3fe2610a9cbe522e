//! The issuers that user ids belong to (HTTP contract 1.3 and 3.1).

use diesel_async::AsyncPgConnection;
use kernel::{Clock, UserId};
use pg::{DbError, Tx};

pub use crate::store::identities::{of_user, users_of};
use crate::{
    IdentityRefusal,
    model::{EmailVoucher, Identity, NewUser, Role, User},
    store::{
        credentials::is_proven,
        erasures,
        identities::{claim, find, lock},
        users::find_by_identity,
    },
    token::IssuerIds,
};

/// Finds the user whom an id names, for a token of this issuer. The id of a user whom a service made, and which nobody owns, becomes
/// the issuer's if it has the form of its ids. Concurrent calls agree on one owner.
///
/// # Errors
/// Refused with [`IdentityRefusal::OfAnotherIssuer`] when it has another owner, or another form.
pub async fn adopt(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    id: &UserId,
    issuer: &IssuerIds,
) -> Result<Result<UserId, IdentityRefusal>, DbError> {
    match find(conn, id).await? {
        Some(owner) => Ok(judged(owner, issuer)),
        None if issuer.may_adopt(id) => owned(conn, clock, id, id, issuer).await,
        None => Ok(Err(IdentityRefusal::OfAnotherIssuer)),
    }
}

/// Finds the user of this service whom one of these ids names, the first that names anybody; the ids that name nobody stand for them
/// from then on. Until the transaction ends no other one decides for whom these ids stand.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn own_user(tx: &mut Tx, clock: &dyn Clock, ids: &[&UserId]) -> Result<Option<User>, DbError> {
    let conn = tx.conn();
    let mut in_order = ids.to_vec();
    in_order.sort_unstable();
    for id in in_order {
        lock(conn, id).await?;
    }
    let (mut user, mut free) = (None, Vec::new());
    for id in ids {
        match find_by_identity(conn, id).await? {
            Some(found) => user = user.or(Some(found)),
            None => free.push(*id),
        }
    }
    if let Some(user) = &user {
        let issuer = IssuerIds::own();
        for id in free {
            let identity = Identity { user_id: user.user_id.clone(), issuer: issuer.name().to_owned() };
            claim(conn, clock.now(), id, &identity).await?;
        }
    }
    Ok(user)
}

/// Claims the id of a user who was just created for the token's issuer.
pub(crate) async fn claim_for_new_user(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    new: &NewUser,
) -> Result<Result<(), IdentityRefusal>, DbError> {
    match &new.brought_by {
        Some(brought) => {
            expect_user(owned(conn, clock, &new.user_id, &new.user_id, &brought.issuer).await?, &new.user_id)
        }
        None => Ok(Ok(())),
    }
}

/// Claims the id of a user who was there before, and whose owner is not known.
pub(crate) async fn claim_for_known_user(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    new: &NewUser,
    user_id: &UserId,
) -> Result<Result<(), IdentityRefusal>, DbError> {
    match &new.brought_by {
        Some(brought) => expect_user(adopt(conn, clock, &new.user_id, &brought.issuer).await?, user_id),
        None => Ok(Ok(())),
    }
}

/// Links the id to the user who holds the address, if the token vouches for it and that is wanted. Administrators are not linked:
/// an address alone must not give their role. Nor is an own account whose password the owner of the mailbox may not know: a stranger
/// may have registered it, and would share what the owner does from now on (ADR 0026).
pub(crate) async fn link(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    new: &NewUser,
    holder: &User,
) -> Result<Result<(), IdentityRefusal>, DbError> {
    let is_vouched = matches!(new.email_voucher, EmailVoucher::Token(_)) && new.email_vouched();
    match &new.brought_by {
        Some(brought) if brought.may_link && is_vouched && holder.role == Role::User => {
            if !holder.is_active {
                return Ok(Err(IdentityRefusal::HolderDisabled));
            }
            let holder = &holder.user_id;
            if !is_proven(conn, holder).await? {
                return Ok(Err(IdentityRefusal::EmailTaken));
            }
            expect_user(owned(conn, clock, &new.user_id, holder, &brought.issuer).await?, holder)
        }
        _ => Ok(Err(IdentityRefusal::EmailTaken)),
    }
}

/// Notes the owner of an id unless it has one, and returns its user if that owner is the issuer.
async fn owned(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    id: &UserId,
    user_id: &UserId,
    issuer: &IssuerIds,
) -> Result<Result<UserId, IdentityRefusal>, DbError> {
    let erased = erasures::find(conn, id).await?;
    if erased.and_then(|erased| erased.issuer).is_some_and(|name| name != issuer.name()) {
        return Ok(Err(IdentityRefusal::OfAnotherIssuer));
    }
    let wanted = Identity { user_id: user_id.clone(), issuer: issuer.name().to_owned() };
    Ok(judged(claim(conn, clock.now(), id, &wanted).await?, issuer))
}

/// The user, if the id belongs to the issuer.
fn judged(owner: Identity, issuer: &IssuerIds) -> Result<UserId, IdentityRefusal> {
    if owner.issuer == issuer.name() { Ok(owner.user_id) } else { Err(IdentityRefusal::OfAnotherIssuer) }
}

/// Makes sure that an id leads to this user. One that was linked to another user in the same moment: a new attempt finds that user.
fn expect_user(
    owner: Result<UserId, IdentityRefusal>,
    user_id: &UserId,
) -> Result<Result<(), IdentityRefusal>, DbError> {
    match owner {
        Ok(owner) if owner != *user_id => Err(DbError::overtaken()),
        owner => Ok(owner.map(|_| ())),
    }
}
