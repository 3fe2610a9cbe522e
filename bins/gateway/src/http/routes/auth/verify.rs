//! `GET /api/auth/verify`: the user of a token (HTTP contract 9).

use kernel::Credits;

use crate::http::{prelude::*, routes::profile::body::of_caller};

/// The user of a token.
#[derive(Debug, Serialize, ToSchema)]
pub struct VerifiedUser {
    user: TokenUser,
}

/// A user, in short.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenUser {
    /// Integer id.
    id: i64,
    email: Option<String>,
    nickname: Option<String>,
    /// Credits left.
    #[serde(serialize_with = "Credits::serialize_plain")]
    #[schema(value_type = f64)]
    tokens: Credits,
    /// True if the user holds the address; others are contacts that nobody confirmed.
    email_verified: bool,
}

pub fn doc() -> Doc {
    Doc::new("accounts", "The user of the token")
        .description("Any accepted token works, from whatever issuer.")
        .named_user()
        .reply::<VerifiedUser>(json!({
            "user": {"id": 123, "email": "user@example.com", "nickname": "用户名", "tokens": 1000, "email_verified": true},
        }))
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    let (user, balance) = of_caller(&call).await?;
    let user = TokenUser {
        id: user.id,
        email: user.email,
        nickname: user.name,
        tokens: balance,
        email_verified: user.email_vouched,
    };
    Reply::json(&VerifiedUser { user })
}
