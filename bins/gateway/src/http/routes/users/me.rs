//! `GET /api/v1/users/me`: the caller's own profile and balance (HTTP contract 3.2).

use flows::CallerCheck;

use super::body::Me;
use crate::http::{call::rejected_caller, prelude::*};

pub fn doc() -> Doc {
    Doc::new("users", "The user of the token").named_user().reply::<Me>(json!({
        "user_id": "auth0|test123", "email": "test.user@example.com", "name": "Test User", "credits": 974.5,
        "credits_total": 1000, "plan": "free", "is_active": true, "email_verified": true,
    }))
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    let user_id = call.user().await?;
    let user = call.look_up(async |conn| identity::users::find(conn, &user_id).await).await?;
    let user = user.ok_or_else(|| ApiError::user_not_found(&user_id))?;
    let balance = call.app.balances.ask(&user_id, CallerCheck::Done).await.map_err(ApiError::answered)?;
    let balance = balance.map_err(|why| rejected_caller(why, &user_id))?;
    let balance = balance.ok_or_else(|| ApiError::user_not_found(&user_id))?;
    Reply::json(&Me::new(user, Some(&balance)))
}
