//! The issuers that user ids belong to (HTTP contract 1.3 and 3.1).

use diesel_async::AsyncPgConnection;
use kernel::{Clock, UserId};
use pg::DbError;

pub use crate::store::identities::users_of;
use crate::{
    IdentityRefusal,
    model::{EmailVoucher, Identity, NewUser, Role, User},
    store::identities::claim,
    token::IssuerIds,
};

/// Gives the id of a user, whom a service made, to the issuer whose token brings it now, if it is of the form of that issuer.
/// Concurrent calls agree on one owner.
///
/// # Errors
/// Refused with [`IdentityRefusal::OfAnotherIssuer`] when it has another form or another owner.
pub async fn adopt(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    user_id: &UserId,
    issuer: &IssuerIds,
) -> Result<Result<UserId, IdentityRefusal>, DbError> {
    if !issuer.may_adopt(user_id) {
        return Ok(Err(IdentityRefusal::OfAnotherIssuer));
    }
    owned(conn, clock, user_id, user_id, issuer).await
}

/// The id of a user who was just created belongs to the token's issuer.
pub(crate) async fn bring(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    new: &NewUser,
) -> Result<Result<(), IdentityRefusal>, DbError> {
    match &new.brought_by {
        Some(brought) => {
            is_user(owned(conn, clock, &new.user_id, &new.user_id, &brought.issuer).await?, &new.user_id)
        }
        None => Ok(Ok(())),
    }
}

/// The id of a user who was there before, and whose owner is not known.
pub(crate) async fn bring_again(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    new: &NewUser,
) -> Result<Result<(), IdentityRefusal>, DbError> {
    match &new.brought_by {
        Some(brought) => is_user(adopt(conn, clock, &new.user_id, &brought.issuer).await?, &new.user_id),
        None => Ok(Ok(())),
    }
}

/// Links the id to the user who holds the address, if the token vouches for it and that is wanted. Administrators are not linked:
/// an address alone must not give their role.
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
            is_user(owned(conn, clock, &new.user_id, holder, &brought.issuer).await?, holder)
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
    let wanted = Identity { user_id: user_id.clone(), issuer: issuer.name().to_owned() };
    let owner = claim(conn, clock.now(), id, &wanted).await?;
    Ok(if owner.issuer == wanted.issuer { Ok(owner.user_id) } else { Err(IdentityRefusal::OfAnotherIssuer) })
}

/// An id that was linked to another user in the same moment: a new attempt finds that user.
fn is_user(
    owner: Result<UserId, IdentityRefusal>,
    user_id: &UserId,
) -> Result<Result<(), IdentityRefusal>, DbError> {
    match owner {
        Ok(owner) if owner != *user_id => Err(DbError::overtaken()),
        owner => Ok(owner.map(|_| ())),
    }
}
