//! `GET /api/v1/users/{user_id}/credits/balance`: what the user has (HTTP contract 6.3).

use crate::http::{call::rejected_caller, prelude::*};

pub fn doc() -> Doc {
    Doc::new("credits", "Balance")
        .description("The posted balance. Every read after an acknowledged write shows it.")
        .reply_plain_envelope(
            json!({"type": "number"}),
            "Credit balance retrieved successfully",
            json!(1000.0),
        )
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    let (user_id, check) = call.user_unchecked()?;
    let balance = call.app.balances.ask(&user_id, check).await.map_err(ApiError::answered)?;
    let balance = balance.map_err(|why| rejected_caller(why, &user_id))?;
    let balance = balance.ok_or_else(|| ApiError::user_not_found(&user_id))?;
    call.envelope(&Text::new("Credit balance retrieved successfully", "积分余额查询成功"), balance.posted)
}
