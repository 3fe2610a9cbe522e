//! The user of a login with WeChat: found by any of their ids, or signed up, with the event of the audit log, in one commit.
//!
//! Touches identity, credits and webhooks.

use identity::{
    IdentityRefusal, User,
    audit::{self, AuditEvent},
    identities,
    wechat::WechatUser,
};
use kernel::{Clock, Ids, UserId};
use pg::{DbError, Tx};

use crate::sign_up::{self, SignUp};

/// A login with WeChat.
#[derive(Debug, Clone)]
pub struct WechatSignUp {
    /// The ids that WeChat gave.
    pub wechat: WechatUser,
    /// The user, if they are new.
    pub sign_up: SignUp,
    /// The event of the audit log about a new user.
    pub event: AuditEvent,
}

/// Finds or creates the user. All ids of the login stand for them afterwards, so that a later login with one of them finds them.
///
/// # Errors
/// As [`sign_up::in_tx`]. [`DbError::Contention`] when another login decided in the same moment: try again.
pub async fn in_tx(
    tx: &mut Tx,
    clock: &dyn Clock,
    ids: &dyn Ids,
    request: &WechatSignUp,
) -> Result<Result<User, IdentityRefusal>, DbError> {
    let user_ids: Vec<&UserId> = request.wechat.user_ids().collect();
    if let Some(user) = identities::own_user(tx, clock, &user_ids).await? {
        return Ok(Ok(user));
    }
    let signed_up = match sign_up::in_tx(tx, clock, ids, &request.sign_up).await? {
        Ok(signed_up) => signed_up,
        Err(refusal) => return Ok(Err(refusal)),
    };
    audit::record(tx.conn(), std::slice::from_ref(&request.event)).await?;
    identities::own_user(tx, clock, &user_ids).await?;
    Ok(Ok(signed_up.user))
}
