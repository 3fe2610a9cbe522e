//! Users are erased (HTTP contract 3.4): what this domain has of them, and what it keeps.
//!
//! An erase begins with a commit after which there is no such user; it ends when nothing is left of them in any domain. In between
//! the id cannot be made again.

use diesel_async::AsyncPgConnection;
use kernel::{Clock, UserId};
use pg::{DbError, Tx};
use time::OffsetDateTime;

use crate::{
    model::NewUser,
    seal::Sealer,
    store::{
        erasures::{self, Erased},
        personal::PERSONAL_DATA_AT_ONCE,
        users,
    },
};

pub use erasures::{Begun, OPERATIONS, begun_at, finish, goes_on, operations, unfinished};

/// Purpose of the digests of addresses.
const ADDRESS: &str = "address of a user who was erased";

/// Removes the user with what belongs to this domain. Their ids stay with their issuers; the address that they held, and the login
/// name of an own account, stay as digests, which a sealer makes. An address that anybody may have given leaves nothing. Waits for
/// transactions that hold the user ([`users::hold`](crate::users::hold)). Returns the instant; `None` if there is
/// no such user.
///
/// # Errors
/// [`DbError`]; then the transaction must be given up.
pub async fn begin(
    tx: &mut Tx,
    clock: &dyn Clock,
    sealer: Option<&Sealer>,
    user_id: &UserId,
) -> Result<Option<OffsetDateTime>, DbError> {
    let Some(removed) = users::remove(tx.conn(), user_id).await? else {
        return Ok(None);
    };
    let erased_at = erasures::begin(tx.conn(), clock.pinned(), user_id).await?;
    let held = removed.email_folded.filter(|_| removed.email_vouched);
    for (address, is_vouched) in [(held, true), (removed.login_name, false)] {
        if let (Some(sealer), Some(address)) = (sealer, address)
            && let Some(digest) = sealer.derive(ADDRESS, address.as_bytes()).next()
        {
            erasures::insert_address(tx.conn(), digest.as_slice(), is_vouched).await?;
        }
    }
    pg::personal::erase_in(tx, PERSONAL_DATA_AT_ONCE, user_id.as_str()).await?;
    Ok(Some(erased_at))
}

/// Returns true if a new user was there before: their id is one of a user who was erased, or their address one that such a user had.
/// Against a user who holds the address it counts only if the erased one held it too: anybody may have registered with it.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn was_there(
    conn: &mut AsyncPgConnection,
    sealer: Option<&Sealer>,
    new: &NewUser,
) -> Result<bool, DbError> {
    let digests: Vec<_> = match (sealer, new.email_folded()) {
        (Some(sealer), Some(folded)) => sealer.derive(ADDRESS, folded.as_bytes()).collect(),
        _ => Vec::new(),
    };
    let digests: Vec<&[u8]> = digests.iter().map(|digest| digest.as_slice()).collect();
    erasures::was_there(conn, &new.user_id, &digests, new.email_vouched()).await
}

/// Gives an id that was just made again back to the issuer that it had.
///
/// # Errors
/// [`DbError::Contention`] while the former user is being erased.
pub(crate) async fn come_back(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    user_id: &UserId,
) -> Result<(), DbError> {
    match erasures::find(conn, user_id).await? {
        Some(Erased { is_finished: false, .. }) => Err(DbError::overtaken()),
        Some(Erased { issuer: Some(_), .. }) => erasures::restore_issuer(conn, clock.now(), user_id).await,
        Some(Erased { issuer: None, .. }) | None => Ok(()),
    }
}
