//! `GET /api/user/balance`: the credits of a user (HTTP contract 9).

use kernel::Credits;

use crate::http::{call::rejected_caller, prelude::*};

/// Credits of a user.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserBalance {
    /// The posted balance.
    #[serde(serialize_with = "Credits::serialize_plain")]
    #[schema(value_type = f64)]
    balance: Credits,
}

pub fn doc() -> Doc {
    Doc::new("accounts", "Balance").named_user().reply::<UserBalance>(json!({"balance": 1000}))
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    let (user_id, check) = call.user_unchecked()?;
    let balance = call.app.balances.ask(&user_id, check).await.map_err(ApiError::answered)?;
    let balance = balance.map_err(|why| rejected_caller(why, &user_id))?;
    let balance = balance.ok_or_else(|| ApiError::user_not_found(&user_id))?;
    Reply::json(&UserBalance { balance: balance.posted })
}
