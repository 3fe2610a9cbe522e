//! Own accounts: a login name, which is an e-mail address, and a password (HTTP contract 3.7 and 9).
//!
//! The login name is no more than that. The address belongs to the user only once it is confirmed: until then another user may
//! come to hold it, and its owner takes the account over by a new password (HTTP contract 3.1).

use kernel::{Clock, UserId};
use pg::{DbError, PgConnection, Tx};

use crate::{
    IdentityRefusal,
    mail::{LinkPurpose, LinkToken},
    model::{User, fold},
    store,
};

pub use crate::model::Credential;

/// The effect of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkUsed {
    /// The user of the account.
    pub user_id: UserId,
    /// True if the address became theirs by it; false if it was before, or if another user holds it.
    pub confirmed: bool,
}

/// The spelling of an address by which logins are compared.
#[must_use]
pub fn login_name(email: &str) -> String {
    fold(email)
}

/// Gives a user who was just created a login name and a password.
///
/// # Errors
/// Refused with [`IdentityRefusal::EmailTaken`] when another user holds the address, or when it is the login name of another
/// account.
pub async fn create(
    tx: &mut Tx,
    clock: &dyn Clock,
    user: &UserId,
    email: &str,
    password_hash: &str,
) -> Result<Result<(), IdentityRefusal>, DbError> {
    let (conn, folded) = (tx.conn(), fold(email));
    if store::users::holder(conn, &folded).await?.is_some() {
        return Ok(Err(IdentityRefusal::EmailTaken));
    }
    let created =
        store::credentials::insert_unless_taken(conn, clock.now(), user, &folded, password_hash).await?;
    Ok(if created { Ok(()) } else { Err(IdentityRefusal::EmailTaken) })
}

/// The account with this login name, compared without case.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn find(conn: &mut PgConnection, email: &str) -> Result<Option<Credential>, DbError> {
    store::credentials::find(conn, &fold(email)).await
}

/// The account of a user; `None` for users of other issuers.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn of_user(conn: &mut PgConnection, user: &UserId) -> Result<Option<Credential>, DbError> {
    store::credentials::find_of_user(conn, user).await
}

/// Locks a user and their account until the transaction ends, and returns it as it is then, if its password is still the one
/// that was checked.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn lock_unchanged(tx: &mut Tx, checked: &Credential) -> Result<Option<Credential>, DbError> {
    let conn = tx.conn();
    lock(conn, &checked.user_id).await?;
    let account = store::credentials::find_of_user(conn, &checked.user_id).await?;
    Ok(account.filter(|account| account.password_hash == checked.password_hash))
}

/// Stores another hash of the same password. The account must be locked.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn renew_hash(tx: &mut Tx, user: &UserId, password_hash: &str) -> Result<(), DbError> {
    store::credentials::set_hash(tx.conn(), user, password_hash).await
}

/// Sets a new password. The account must be locked. Links to set one do not work any more; logins are not ended.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn set_password(
    tx: &mut Tx,
    clock: &dyn Clock,
    user: &UserId,
    password_hash: &str,
) -> Result<(), DbError> {
    let conn = tx.conn();
    store::credentials::set_password(conn, clock.now(), user, password_hash).await?;
    store::mails::delete_links(conn, user, &[LinkPurpose::Reset]).await
}

/// Returns true if a link to set a new password works.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn reset_link_works(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    token: &LinkToken,
) -> Result<bool, DbError> {
    let link = store::mails::find_link(conn, clock.now(), LinkPurpose::Reset, &token.digest()).await?;
    Ok(link.is_some())
}

/// Sets a new password by a link, and returns the user, whose logins are not ended. The link proves that the address and the password
/// are theirs: the address becomes confirmed, unless another user holds it, and then stays what it was, a login name.
///
/// # Errors
/// Refused with [`IdentityRefusal::LinkInvalid`].
pub async fn reset_password(
    tx: &mut Tx,
    clock: &dyn Clock,
    token: &LinkToken,
    password_hash: &str,
) -> Result<Result<LinkUsed, IdentityRefusal>, DbError> {
    let account = match use_link(tx, clock, LinkPurpose::Reset, token).await? {
        Ok(account) => account,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let confirmed = vouch(tx, clock, &account).await? == Vouched::Now;
    set_password(tx, clock, &account.user_id, password_hash).await?;
    store::credentials::prove_password(tx.conn(), &account.user_id).await?;
    Ok(Ok(LinkUsed { user_id: account.user_id, confirmed }))
}

/// Confirms the address of an account by a link, and returns the user. It does not prove that the password is theirs, too.
///
/// # Errors
/// Refused with [`IdentityRefusal::LinkInvalid`], and with [`IdentityRefusal::EmailTaken`] when another user holds the address.
pub async fn confirm_email(
    tx: &mut Tx,
    clock: &dyn Clock,
    token: &LinkToken,
) -> Result<Result<LinkUsed, IdentityRefusal>, DbError> {
    let account = match use_link(tx, clock, LinkPurpose::Confirm, token).await? {
        Ok(account) => account,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let confirmed = match vouch(tx, clock, &account).await? {
        Vouched::Now => true,
        Vouched::Before => false,
        Vouched::ForAnother => return Ok(Err(IdentityRefusal::EmailTaken)),
    };
    Ok(Ok(LinkUsed { user_id: account.user_id, confirmed }))
}

/// Holder of the address of an account after its link was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vouched {
    /// Its user, by the link.
    Now,
    /// Its user, before the link; or there is no address.
    Before,
    /// Another user.
    ForAnother,
}

/// Locks a user, and with them their account and its links.
pub(crate) async fn lock(conn: &mut PgConnection, user: &UserId) -> Result<Option<User>, DbError> {
    store::users::lock(conn, user).await
}

/// Uses up a link and all others of its purpose, and returns its account, locked. That of a disabled user has no links.
async fn use_link(
    tx: &mut Tx,
    clock: &dyn Clock,
    purpose: LinkPurpose,
    token: &LinkToken,
) -> Result<Result<Credential, IdentityRefusal>, DbError> {
    let (conn, now, digest) = (tx.conn(), clock.now(), token.digest());
    let Some(found) = store::mails::find_link(conn, now, purpose, &digest).await? else {
        return Ok(Err(IdentityRefusal::LinkInvalid));
    };
    lock(conn, &found.user_id).await?;
    // Looked up again: of two who use it at once, the second one finds nothing.
    let link = store::mails::find_link(conn, now, purpose, &digest).await?;
    let account = store::credentials::find_of_user(conn, &found.user_id).await?;
    let (Some(link), Some(account)) = (link, account.filter(|account| account.is_active)) else {
        return Ok(Err(IdentityRefusal::LinkInvalid));
    };
    // The link proves the address that it was sent to, and no later one.
    if account.email.as_deref().map(fold) != Some(link.email_folded) {
        return Ok(Err(IdentityRefusal::LinkInvalid));
    }
    store::mails::delete_links(conn, &account.user_id, &[purpose]).await?;
    Ok(Ok(account))
}

/// Makes the address of an account its user's own, unless another user holds it.
async fn vouch(tx: &mut Tx, clock: &dyn Clock, account: &Credential) -> Result<Vouched, DbError> {
    let Some(email) = account.email.as_deref().filter(|_| !account.email_vouched) else {
        return Ok(Vouched::Before);
    };
    let vouched = store::users::vouch_unless_held(tx.conn(), clock.now(), &account.user_id, email).await?;
    Ok(if vouched.is_some() { Vouched::Now } else { Vouched::ForAnother })
}
