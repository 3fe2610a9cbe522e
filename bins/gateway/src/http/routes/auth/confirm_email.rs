//! `POST /api/auth/confirm-email`: confirms an address by a mailed link (HTTP contract 3.7).

use identity::{
    audit::{self, Action, AuditActor},
    credentials::{self, LinkUsed},
    mail::LinkToken,
};

use super::message::{Message, message};
use crate::http::prelude::*;

input! {
    /// A link that confirms an address.
    pub struct ConfirmEmail {
        /// The token in the link.
        token: parse::Secret = required(Body, parse::secret(1, 255)), example("confirm_vrL0x2T3c4V5b6N7m8K9j0H1g2F3d4S5a6P7o8I9u0Y");
    }
}

pub fn doc() -> Doc {
    Doc::new("accounts", "Confirm an e-mail address")
        .description("The address then belongs to the user of the account, and to nobody else.")
        .body::<ConfirmEmail>(json!({"token": "confirm_vrL0x2T3c4V5b6N7m8K9j0H1g2F3d4S5a6P7o8I9u0Y"}))
        .reply::<Message<'_>>(json!({"message": "邮箱已确认"}))
        .errors(&[&catalogue::LINK_INVALID, &catalogue::DUPLICATE_ENTRY, &catalogue::PROVIDER_NOT_CONFIGURED])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let ConfirmEmail { token } = call.input().await?;
    call.app.accounts.needs_mail()?;
    let token = LinkToken::presented(token.0);
    let clock = &*call.app.clock;
    let event = call.audit_event(Action::UserUpdated).with(&json!({"fields": ["email"]}));
    let used = call
        .decide(async |tx| {
            let LinkUsed { user_id, confirmed } = match credentials::confirm_email(tx, clock, &token).await? {
                Ok(used) => used,
                Err(refusal) => return Ok(Err(refusal)),
            };
            if confirmed {
                let mut event = event.of_user(user_id.clone());
                event.actor = AuditActor::User(user_id.clone());
                audit::record(tx.conn(), &[event]).await?;
            }
            Ok(Ok(user_id))
        })
        .await?;
    let user_id = used.map_err(|refusal| ApiError::from_failure(&refusal))?;
    tracing::info!(user.id = %user_id, "an e-mail address was confirmed");
    message(&call, "The e-mail address is confirmed", "邮箱已确认")
}
