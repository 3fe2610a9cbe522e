//! `GET /api/sessions/{session_id}/messages`: the messages of a conversation, oldest first (HTTP contract 9).

use sessions::{Message, MessageFilter};
use uuid::Uuid;

use super::{body::own_session, list_sessions::LIMIT};
use crate::http::{
    fields::page::next_cursor,
    prelude::*,
    routes::messages::body::{MessageStatusName, RoleName},
    wire::Timestamp,
};

/// A message of a conversation.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatMessage {
    /// Integer id.
    id: i64,
    /// Integer id of the session.
    session_id: i64,
    content: String,
    #[schema(value_type = RoleName)]
    role: &'static str,
    /// Tokens of the message.
    tokens: i64,
    created_at: Timestamp,
    /// completed, failed, in_progress, incomplete or cancelled.
    #[schema(value_type = MessageStatusName)]
    status: &'static str,
    /// UUID of the message.
    message_id: Uuid,
}

impl ChatMessage {
    fn new(message: Message, session_number: i64) -> Self {
        Self {
            id: message.id,
            session_id: session_number,
            content: message.content,
            role: message.role.as_str(),
            tokens: message.tokens_used,
            created_at: Timestamp(message.created_at),
            status: message.status.as_str(),
            message_id: message.message_id,
        }
    }
}

/// Messages of a conversation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(transparent)]
pub struct ChatMessages(Vec<ChatMessage>);

pub fn doc() -> Doc {
    Doc::new("chat", "Messages of a conversation")
        .description("Oldest first; `X-Next-Cursor` leads on.")
        .named_user()
        .paged(LIMIT)
        .reply::<ChatMessages>(json!([{
            "id": 789, "session_id": 456, "content": "消息内容", "role": "user", "tokens": 50,
            "created_at": "2023-01-01T00:00:00.000000Z", "status": "completed",
            "message_id": "ad941213-9d10-4be0-9052-5665fd5fa033",
        }]))
        .errors(&[&catalogue::SESSION_NOT_FOUND])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let scope = call.list_scope();
    let page = call.fields.read(|fields| fields.page(LIMIT, &scope))?;
    let user_id = call.user().await?;
    let session = own_session(&call, &user_id).await?;
    let filter = MessageFilter::default();
    let slice = call.read(async |conn| sessions::messages(conn, &session, filter, &page).await).await?;
    let next = next_cursor(&scope, slice.next.as_ref());
    let items: Vec<_> =
        slice.items.into_iter().map(|message| ChatMessage::new(message, session.id)).collect();
    Ok(Reply::json(&ChatMessages(items))?.next_cursor(next))
}
