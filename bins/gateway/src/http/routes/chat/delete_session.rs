//! `DELETE /api/sessions/{session_id}`: deletes a conversation (HTTP contract 9).

use kernel::Scope;

use super::body::own_session;
use crate::http::{
    prelude::*,
    routes::auth::message::{Message, message},
};

pub fn doc() -> Doc {
    Doc::new("chat", "Delete a conversation")
        .description("A reply in progress ends, and its hold is released.")
        .named_user()
        .reply::<Message<'_>>(json!({"message": "会话删除成功"}))
        .errors(&[&catalogue::SESSION_NOT_FOUND])
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    let user_id = call.user().await?;
    let session_id = own_session(&call, &user_id).await?.session_id;
    let (pool, clock, ids) = (&call.app.pool, &*call.app.clock, &*call.app.ids);
    let done = flows::session_end::delete(pool, clock, ids, session_id, &Scope::Own(user_id)).await;
    done.map_err(ApiError::answered)?.map_err(|refusal| ApiError::from_failure(&refusal))?;
    message(&call, "Session deleted successfully", "会话删除成功")
}
