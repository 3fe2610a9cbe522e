//! `POST /api/auth/reset-password`: sets a new password by a mailed link (HTTP contract 3.7).

use identity::{
    Password,
    audit::{self, Action, AuditActor},
    credentials::{self, LinkUsed},
    logins::{self, LoginSelection},
    mail::LinkToken,
};

use super::message::{Message, message};
use crate::http::prelude::*;

input! {
    /// A new password.
    pub struct ResetPassword {
        /// The token in the link.
        token: parse::Secret = required(Body, parse::secret(1, 255)), example("reset_vrL0x2T3c4V5b6N7m8K9j0H1g2F3d4S5a6P7o8I9u0Y");
        /// Any 8 to 128 characters, except for the most common passwords.
        new_password: Password = required(Body, parse::new_password()), example("correct horse battery staple");
    }
}

pub fn doc() -> Doc {
    Doc::new("accounts", "Set a new password by a link")
        .description(
            "Ends all logins of the account. The link proves that the address is the caller's: it becomes confirmed, unless another \
             user holds it.",
        )
        .body::<ResetPassword>(json!({
            "token": "reset_vrL0x2T3c4V5b6N7m8K9j0H1g2F3d4S5a6P7o8I9u0Y", "new_password": "correct horse battery staple",
        }))
        .reply::<Message<'_>>(json!({"message": "密码已重置"}))
        .errors(&[&catalogue::LINK_INVALID, &catalogue::PROVIDER_NOT_CONFIGURED])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let ResetPassword { token, new_password } = call.input().await?;
    call.app.accounts.needs_mail()?;
    let (clock, token) = (&*call.app.clock, LinkToken::presented(token.0));
    // A link that does not work costs no hash.
    if !call.look_up(async |conn| credentials::reset_link_works(conn, clock, &token).await).await? {
        return Err(ApiError::new(&catalogue::LINK_INVALID));
    }
    let hashed = call.app.accounts.passwords.hash(call.client_network(), new_password).await;
    let hash = hashed.map_err(|error| ApiError::from_failure(&error))?;
    let event = call.audit_event(Action::UserUpdated);
    let reset = call
        .decide(async |tx| {
            let used = credentials::reset_password(tx, clock, &token, &hash).await?;
            let LinkUsed { user_id, confirmed } = match used {
                Ok(used) => used,
                Err(refusal) => return Ok(Err(refusal)),
            };
            logins::end(tx, clock, &user_id, LoginSelection::All).await?;
            let fields = if confirmed { &["password", "email"][..] } else { &["password"] };
            let mut event = event.of_user(user_id.clone()).with(&json!({"fields": fields}));
            event.actor = AuditActor::User(user_id.clone());
            audit::record(tx.conn(), &[event]).await?;
            Ok(Ok(user_id))
        })
        .await?;
    let user_id = reset.map_err(|refusal| ApiError::from_failure(&refusal))?;
    tracing::info!(user.id = %user_id, "a password was reset by a link");
    message(&call, "The password was reset", "密码已重置")
}
