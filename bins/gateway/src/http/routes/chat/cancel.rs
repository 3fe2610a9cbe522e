//! `POST /api/sessions/{session_id}/messages/{message_id}/cancel`: ends a reply (HTTP contract 9.1).

use chat::COMPLETION_MAX;

use super::body::{ReplyBody, own_reply, replies_of, reply_example};
use crate::http::prelude::*;

pub fn doc() -> Doc {
    Doc::new("chat", "Cancel a reply")
        .description("The reply ends with the status `cancelled`, and is charged for what was produced.")
        .named_user()
        .reply::<ReplyBody>(reply_example())
        .errors(&[
            &catalogue::SESSION_NOT_FOUND,
            &catalogue::MESSAGE_NOT_FOUND,
            &catalogue::REPLY_FINISHED,
            &catalogue::PROVIDER_NOT_CONFIGURED,
        ])
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    let user_id = call.user().await?;
    let replies = replies_of(&call)?;
    let name = own_reply(&call, &user_id).await?;
    call.allow(COMPLETION_MAX);
    let cancelled = replies.cancel(&name).await.map_err(ApiError::answered)?;
    let reply = cancelled.map_err(|refusal| ApiError::from_failure(&refusal))?;
    Reply::json(&ReplyBody::from(reply))
}
