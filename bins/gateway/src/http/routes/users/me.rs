//! `GET /api/v1/users/me`: the caller's own profile and balance (HTTP contract 3.2).

use flows::CallerCheck;
use kernel::{Credits, UserId};

use crate::http::{call::rejected_caller, prelude::*, wire::PlanName};

/// A user with their credits.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    /// External id.
    #[schema(value_type = String)]
    user_id: UserId,
    email: Option<String>,
    name: Option<String>,
    /// Credits left.
    #[serde(serialize_with = "Credits::serialize_plain")]
    #[schema(value_type = f64)]
    credits: Credits,
    /// Credits ever granted and recharged.
    #[serde(serialize_with = "Credits::serialize_plain")]
    #[schema(value_type = f64)]
    credits_total: Credits,
    /// free, pro or enterprise.
    #[schema(value_type = PlanName)]
    plan: String,
    is_active: bool,
}

pub fn doc() -> Doc {
    Doc::new("users", "The user of the token").named_user().reply::<Me>(json!({
        "user_id": "auth0|test123", "email": "test.user@example.com", "name": "Test User", "credits": 974.5,
        "credits_total": 1000, "plan": "free", "is_active": true,
    }))
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    let user_id = call.user().await?;
    let user = call.look_up(async |conn| identity::users::find(conn, &user_id).await).await?;
    let user = user.ok_or_else(|| ApiError::user_not_found(&user_id))?;
    let balance = call.app.balances.ask(&user_id, CallerCheck::Done).await.map_err(ApiError::answered)?;
    let balance = balance.map_err(|why| rejected_caller(why, &user_id))?;
    let balance = balance.ok_or_else(|| ApiError::user_not_found(&user_id))?;
    Reply::json(&Me {
        user_id,
        email: user.email,
        name: user.name,
        credits: balance.posted,
        credits_total: balance.lifetime_granted,
        plan: user.plan.as_str().to_owned(),
        is_active: user.is_active,
    })
}
