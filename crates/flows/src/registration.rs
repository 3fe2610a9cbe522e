//! Registration of an own account: the user, their credits, the login name and its password, the mail that confirms the address,
//! and the audit, in one commit.
//!
//! Touches identity, credits and webhooks.

use identity::{
    IdentityRefusal, User,
    audit::{self, AuditEvent},
    credentials, mail,
    mail::SealedMail,
};
use kernel::{Clock, Ids};
use pg::{Attempts, DbError, Pool, Tx};

use crate::sign_up::{self, SignUp};

/// An account to register. The address of the user is its login name.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The user, with an address that nobody vouches for.
    pub sign_up: SignUp,
    /// The address.
    pub email: String,
    /// Hash of the password.
    pub password_hash: String,
    /// The mail that confirms the address, where mail is configured.
    pub mail: Option<SealedMail>,
    /// The event of the audit log.
    pub event: AuditEvent,
}

/// Registers an account.
///
/// # Errors
/// Refused with [`IdentityRefusal::EmailTaken`] when another user holds the address, or when it is the login name of another
/// account; then nothing is stored.
pub async fn run(
    pool: &Pool,
    clock: &dyn Clock,
    ids: &dyn Ids,
    request: &Registration,
) -> Result<Result<User, IdentityRefusal>, DbError> {
    let mut attempts = Attempts::up_to(3);
    loop {
        let outcome = Tx::decide(pool, async |tx| in_tx(tx, clock, ids, request).await).await;
        match outcome {
            Err(error) if attempts.again(&error).await => {}
            outcome => return outcome,
        }
    }
}

async fn in_tx(
    tx: &mut Tx,
    clock: &dyn Clock,
    ids: &dyn Ids,
    request: &Registration,
) -> Result<Result<User, IdentityRefusal>, DbError> {
    let user = match sign_up::in_tx(tx, clock, ids, &request.sign_up).await? {
        Ok(signed_up) => signed_up.user,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let created =
        credentials::create(tx, clock, &user.user_id, &request.email, &request.password_hash).await?;
    if let Err(refusal) = created {
        return Ok(Err(refusal));
    }
    if let Some(mail) = &request.mail {
        mail::enqueue(tx.conn(), clock, mail).await?;
    }
    audit::record(tx.conn(), std::slice::from_ref(&request.event)).await?;
    Ok(Ok(user))
}
