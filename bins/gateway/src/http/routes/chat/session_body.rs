//! A conversation in answers of the chat routes.

use kernel::UserId;
use serde_json::{Value, json};
use sessions::Session;
use uuid::Uuid;

use crate::http::{prelude::*, wire::Timestamp};

/// A conversation.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatSession {
    /// Integer id.
    id: i64,
    /// Integer id of the user.
    user_id: i64,
    title: Option<String>,
    created_at: Timestamp,
    /// The same session in paths of `/api/v1`.
    session_id: Uuid,
}

impl ChatSession {
    /// A session of the user with this integer id.
    #[must_use]
    pub fn new(session: Session, user_number: i64) -> Self {
        Self {
            id: session.id,
            user_id: user_number,
            title: session.title,
            created_at: Timestamp(session.created_at),
            session_id: session.session_id,
        }
    }
}

/// The integer id of a user.
///
/// # Errors
/// 404, 503.
pub async fn number_of(call: &Call, user_id: &UserId) -> Result<i64, ApiError> {
    let user = call.look_up(async |conn| identity::users::find(conn, user_id).await).await?;
    Ok(user.ok_or_else(|| ApiError::user_not_found(user_id))?.id)
}

/// A conversation in the documents.
pub fn session_example() -> Value {
    json!({
        "id": 456, "user_id": 123, "title": "会话标题", "created_at": "2023-01-01T00:00:00.000000Z",
        "session_id": "4da97cfa-b95f-4898-8b7d-2786ff703ce0",
    })
}
