//! `GET /api/v1/users/{user_id}`: one user (HTTP contract 3.3).

use flows::CallerCheck;

use super::body::{UserBody, example};
use crate::http::{call::rejected_caller, prelude::*};

pub fn doc() -> Doc {
    Doc::new("users", "A user").reply_envelope::<UserBody>("User retrieved successfully", example())
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    let user_id = call.user().await?;
    let user = call.look_up(async |conn| identity::users::find(conn, &user_id).await).await?;
    let user = user.ok_or_else(|| ApiError::user_not_found(&user_id))?;
    let balance = call.app.balances.ask(&user_id, CallerCheck::Done).await.map_err(ApiError::answered)?;
    let balance = balance.map_err(|why| rejected_caller(why, &user_id))?;
    let message = Text::new("User retrieved successfully", "用户信息获取成功");
    call.envelope(&message, UserBody::new(user, balance.as_ref()))
}
