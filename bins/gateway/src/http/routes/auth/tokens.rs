//! The tokens of a login, as every login route answers them (HTTP contract 3.7 and 9).

use actix_web::http::header;
use identity::{OwnTokens, logins::LoginTokens};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::http::prelude::*;

/// Tokens of a login.
#[derive(Serialize, ToSchema)]
pub struct Tokens {
    /// Send it as `Authorization: Bearer <token>`.
    access_token: String,
    /// `bearer`.
    token_type: &'static str,
    /// Validity of the access token, in seconds.
    expires_in: i64,
    /// Exchange it for the next pair by `POST /api/auth/refresh`.
    refresh_token: String,
}

/// The tokens of this service, if it signs any.
///
/// # Errors
/// 503 `ProviderNotConfiguredException` outside development without SECRETS_KEY.
pub fn own_tokens(call: &Call) -> Result<&OwnTokens, ApiError> {
    call.app.own_tokens.as_ref().ok_or_else(|| ApiError::not_configured("tokens"))
}

/// The answer with the tokens of a login, which nobody on the way may keep.
///
/// # Errors
/// 503 as [`own_tokens`].
pub fn reply(call: &Call, tokens: &LoginTokens) -> Result<Reply, ApiError> {
    let body = Tokens {
        access_token: tokens.access_token.expose_secret().to_owned(),
        token_type: "bearer",
        expires_in: own_tokens(call)?.validity().access.whole_seconds(),
        refresh_token: tokens.refresh_token.expose_secret().to_owned(),
    };
    Ok(Reply::json(&body)?.header(header::CACHE_CONTROL, "no-store"))
}

/// The documented answer.
pub fn example() -> Value {
    json!({
        "access_token": "<jwt>", "token_type": "bearer", "expires_in": 3600,
        "refresh_token": "<86 characters>",
    })
}
