//! `POST /api/auth/refresh`: the next tokens of a login (HTTP contract 3.7).

use identity::logins;

use super::tokens::{self, Tokens, own_tokens};
use crate::http::prelude::*;

input! {
    /// A refresh token.
    pub struct Refresh {
        /// The refresh token of the last answer.
        refresh_token: parse::Secret = required(Body, parse::secret(1, 255)), example("<86 characters>");
    }
}

pub fn doc() -> Doc {
    Doc::new("auth", "Refresh tokens")
        .description(
            "Each refresh token is used once and replaced by that of the answer. Repeating the previous one within 10 seconds, \
             because the answer was lost, returns the present one again; using it later, or an older one, ends the login.",
        )
        .body::<Refresh>(json!({"refresh_token": "<86 characters>"}))
        .reply::<Tokens>(tokens::example())
        .errors(&[&catalogue::REFRESH_TOKEN_INVALID, &catalogue::PROVIDER_NOT_CONFIGURED])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let presented = call.input::<Refresh>().await?.refresh_token.0;
    let own = own_tokens(&call)?;
    let (clock, origin) = (&*call.app.clock, call.audit_origin());
    // Committed also where it is refused: a token that was used again ends its login.
    let tokens = call.write(async |tx| logins::refresh(own, tx, clock, &presented, origin).await).await?;
    let tokens = tokens.ok_or_else(|| ApiError::new(&catalogue::REFRESH_TOKEN_INVALID))?;
    tokens::reply(&call, &tokens)
}
