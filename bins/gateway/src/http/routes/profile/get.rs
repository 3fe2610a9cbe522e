//! `GET /api/user/profile`: the user, as they show themselves (HTTP contract 9).

use super::body::{Profile, of_caller};
use crate::http::prelude::*;

pub fn doc() -> Doc {
    Doc::new("accounts", "Profile").named_user().reply::<Profile>(json!({
        "id": 123, "email": "user@example.com", "nickname": "用户名", "avatar_url": null, "tokens": 1000,
        "created_at": "2023-01-01T00:00:00.000000Z", "email_verified": true,
    }))
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    let (user, balance) = of_caller(&call).await?;
    Reply::json(&Profile::new(user, balance))
}
