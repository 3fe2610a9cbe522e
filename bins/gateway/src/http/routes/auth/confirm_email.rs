//! `POST /api/auth/confirm-email`: confirms an address by a mailed link (HTTP contract 3.7).

use identity::{credentials, mail::LinkToken};

use super::message::{Message, message};
use crate::http::prelude::*;

input! {
    /// A link that confirms an address.
    pub struct ConfirmEmail {
        /// The token in the link.
        token: String = required(Body, parse::secret(1, 255)), example("confirm_vrL0x2T3c4V5b6N7m8K9j0H1g2F3d4S5a6P7o8I9u0Y");
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
    let token = LinkToken::presented(token.into());
    let clock = &*call.app.clock;
    let confirmed = call.decide(async |tx| credentials::confirm_email(tx, clock, &token).await).await?;
    let user_id = confirmed.map_err(|refusal| ApiError::from_failure(&refusal))?;
    tracing::info!(user.id = %user_id, "an e-mail address was confirmed");
    message(&call, "The e-mail address is confirmed", "邮箱已确认")
}
