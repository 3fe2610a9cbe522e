//! A message in answers.

use kernel::{FreeForm, Usd, UserId};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;
use web::words;

use crate::http::wire::Timestamp;

words! {
    /// Speaker of a message.
    RoleName = sessions::Role::WORDS;
    /// Status of a message.
    MessageStatusName = sessions::MessageStatus::WORDS;
}

/// A message of a session.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageBody {
    /// Id of the message.
    pub id: Uuid,
    /// Session it belongs to.
    pub session_id: Uuid,
    /// Owner.
    #[schema(value_type = String, example = "auth0|test123")]
    pub user_id: UserId,
    /// Message type, set by the caller.
    #[schema(example = "chat")]
    pub message_type: String,
    /// user, assistant, system or tool.
    #[schema(value_type = RoleName, example = "user")]
    pub role: &'static str,
    /// The text.
    #[schema(example = "Hello")]
    pub content: String,
    /// Tool calls, as the caller sent them.
    #[schema(value_type = Option<Vec<Object>>)]
    pub tool_calls: Option<FreeForm>,
    /// Tool call this message answers.
    pub tool_call_id: Option<String>,
    /// Metadata of the caller.
    #[schema(value_type = Object)]
    pub message_metadata: FreeForm,
    /// Tokens of the message.
    pub tokens_used: i64,
    /// Cost of the message, in US dollars.
    #[schema(value_type = f64, example = 0.001)]
    pub cost_usd: Usd,
    /// True if a summary may include it.
    pub is_summary_candidate: bool,
    /// Importance, 0 to 1.
    pub importance_score: f64,
    /// completed, failed or in_progress.
    #[schema(value_type = MessageStatusName, example = "completed")]
    pub status: &'static str,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Timestamp,
}

impl From<sessions::Message> for MessageBody {
    fn from(message: sessions::Message) -> Self {
        Self {
            id: message.message_id,
            session_id: message.session_id,
            user_id: message.user_id,
            message_type: message.message_type,
            role: message.role.as_str(),
            content: message.content,
            tool_calls: message.tool_calls,
            tool_call_id: message.tool_call_id,
            message_metadata: message.message_metadata,
            tokens_used: message.tokens_used,
            cost_usd: message.cost_usd,
            is_summary_candidate: message.is_summary_candidate,
            importance_score: message.importance_score.get(),
            status: message.status.as_str(),
            created_at: Timestamp(message.created_at),
            updated_at: Timestamp(message.updated_at),
        }
    }
}

/// A message in the documents.
pub fn message_example() -> Value {
    json!({
        "id": "ad941213-9d10-4be0-9052-5665fd5fa033", "session_id": "4da97cfa-b95f-4898-8b7d-2786ff703ce0",
        "user_id": "auth0|test123", "message_type": "chat", "role": "user", "content": "Hello", "tool_calls": null,
        "tool_call_id": null, "message_metadata": {}, "tokens_used": 5, "cost_usd": 0.001,
        "is_summary_candidate": true, "importance_score": 0.5, "status": "completed",
        "created_at": "2025-07-27T00:52:22.803244Z", "updated_at": "2025-07-27T00:52:22.803244Z",
    })
}
