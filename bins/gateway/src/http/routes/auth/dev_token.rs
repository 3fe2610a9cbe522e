//! `POST /auth/dev-token`: a token for trying things out, in development only (HTTP contract 2).

use std::future::{Ready, ready};

use kernel::UserId;

use crate::http::{prelude::*, wire::Timestamp};

/// Validity of a development token, in seconds.
const EXPIRES_IN: u32 = 3_600;

/// A token for development.
#[derive(Debug, Serialize, ToSchema)]
pub struct DevToken {
    /// Send it as `Authorization: Bearer <token>`.
    token: String,
    #[schema(value_type = String)]
    user_id: UserId,
    email: String,
    /// Seconds.
    expires_in: u32,
    provider: &'static str,
    timestamp: Timestamp,
}

input! {
    /// For whom the token is.
    pub struct DevTokenInput {
        /// External id of the user.
        user_id: UserId = required(Query, parse::user_id()), example("auth0|test123");
        /// Their e-mail address.
        email: String = required(Query, parse::email()), example("test.user@example.com");
    }
}

pub fn doc() -> Doc {
    Doc::new("auth", "A token for development")
        .description("Answers in the development environment only, and without `DEVELOPMENT_ON_NETWORK=true` only callers on this machine. \
             It creates no user.")
        .query::<DevTokenInput>()
        .reply::<DevToken>(json!({
            "token": "<jwt>", "user_id": "auth0|test123", "email": "test.user@example.com", "expires_in": 3600,
            "provider": "supabase", "timestamp": "2025-07-27T00:09:58.678236Z",
        }))
        .errors(&[&catalogue::NOT_FOUND])
}

pub fn handle(call: Call) -> Ready<Result<Reply, ApiError>> {
    ready(answer(call))
}

fn answer(mut call: Call) -> Result<Reply, ApiError> {
    let DevTokenInput { user_id, email } = call.fields.input()?;
    let secret = call.app.development_secret.as_ref().ok_or_else(|| {
        tracing::error!("the development environment has no secret to sign tokens with");
        ApiError::new(&catalogue::INTERNAL)
    })?;
    let token = identity::dev_token(secret, &user_id, &email, call.now);
    Reply::json(&DevToken {
        token,
        user_id,
        email,
        expires_in: EXPIRES_IN,
        provider: "supabase",
        timestamp: Timestamp(call.now),
    })
}
