//! The profile of a user, as the chat routes answer it.

use flows::CallerCheck;
use identity::User;
use kernel::{Credits, UserId};

use crate::http::{call::rejected_caller, prelude::*, wire::Timestamp};

/// A user, with their credits.
#[derive(Debug, Serialize, ToSchema)]
pub struct Profile {
    /// Integer id.
    id: i64,
    email: Option<String>,
    nickname: Option<String>,
    avatar_url: Option<String>,
    /// Credits left.
    #[serde(serialize_with = "Credits::serialize_plain")]
    #[schema(value_type = f64)]
    tokens: Credits,
    created_at: Timestamp,
    /// True if the user holds the address; others are contacts that nobody confirmed.
    email_verified: bool,
}

impl Profile {
    /// The body of a user with this balance.
    #[must_use]
    pub fn new(user: User, balance: Credits) -> Self {
        Self {
            id: user.id,
            email: user.email,
            nickname: user.name,
            avatar_url: user.avatar_url,
            tokens: balance,
            created_at: Timestamp(user.created_at),
            email_verified: user.email_vouched,
        }
    }
}

/// The user acted upon, and their balance.
///
/// # Errors
/// As [`AppCall::user`](crate::http::call::AppCall::user).
pub async fn of_caller(call: &Call) -> Result<(User, Credits), ApiError> {
    let user_id = call.user().await?;
    let user = call.look_up(async |conn| identity::users::find(conn, &user_id).await).await?;
    let user = user.ok_or_else(|| ApiError::user_not_found(&user_id))?;
    let balance = balance_of(call, &user_id).await?;
    Ok((user, balance))
}

/// The balance of a user whose status was looked at.
///
/// # Errors
/// 404, 503.
pub async fn balance_of(call: &Call, user_id: &UserId) -> Result<Credits, ApiError> {
    let balance = call.app.balances.ask(user_id, CallerCheck::Done).await.map_err(ApiError::answered)?;
    let balance = balance.map_err(|why| rejected_caller(why, user_id))?;
    Ok(balance.ok_or_else(|| ApiError::user_not_found(user_id))?.posted)
}
