//! A session in answers.

use kernel::{Detail, FreeForm, Usd, UserId};
use serde::Serialize;
use serde_json::{Value, json};
use sessions::Status;
use utoipa::ToSchema;
use uuid::Uuid;
use web::{ApiError, words};

use crate::http::{catalogue, wire::Timestamp};

words! {
    /// Status of a session.
    SessionStatusName = sessions::Status::WORDS;
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionBody {
    /// Integer id.
    pub id: i64,
    /// Id used in paths.
    pub session_id: Uuid,
    /// Owner.
    #[schema(value_type = String, example = "auth0|test123")]
    pub user_id: UserId,
    /// Title, if it has one.
    pub title: Option<String>,
    /// Conversation data of the caller.
    #[schema(value_type = Object)]
    pub conversation_data: FreeForm,
    /// active, completed, ended, archived or expired.
    #[schema(value_type = SessionStatusName, example = "active")]
    pub status: &'static str,
    /// Metadata of the caller.
    #[schema(value_type = Object)]
    pub metadata: FreeForm,
    /// False once ended, archived or expired.
    pub is_active: bool,
    /// Messages so far.
    pub message_count: i64,
    /// Tokens of all messages.
    pub total_tokens: i64,
    /// Cost of all messages, in US dollars.
    #[schema(value_type = f64, example = 0.003)]
    pub total_cost: Usd,
    /// Summary, empty until there is one.
    pub session_summary: String,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Timestamp,
    /// Time of the last activity.
    pub last_activity: Timestamp,
    /// Time of its expiry, if any.
    pub expires_at: Option<Timestamp>,
}

impl From<sessions::Session> for SessionBody {
    fn from(session: sessions::Session) -> Self {
        let is_active = session.is_active();
        Self {
            id: session.id,
            session_id: session.session_id,
            user_id: session.user_id,
            title: session.title,
            conversation_data: session.conversation_data,
            status: session.status.as_str(),
            metadata: session.metadata,
            is_active,
            message_count: session.message_count,
            total_tokens: session.total_tokens,
            total_cost: session.total_cost,
            session_summary: session.session_summary,
            created_at: Timestamp(session.created_at),
            updated_at: Timestamp(session.updated_at),
            last_activity: Timestamp(session.last_activity),
            expires_at: session.expires_at.map(Timestamp),
        }
    }
}

/// 404 for a session that is unknown, or of somebody else on a route beyond the documents.
pub fn not_found(session_id: Uuid) -> ApiError {
    ApiError::new(&catalogue::SESSION_NOT_FOUND).detail("session_id", Detail::Text(session_id.to_string()))
}

/// The statuses by their names.
pub const STATUSES: &[(&str, Status)] = &[
    ("active", Status::Active),
    ("completed", Status::Completed),
    ("ended", Status::Ended),
    ("archived", Status::Archived),
    ("expired", Status::Expired),
];

/// A session in the documents.
pub fn session_example() -> Value {
    json!({
        "id": 736, "session_id": "4da97cfa-b95f-4898-8b7d-2786ff703ce0", "user_id": "auth0|test123", "title": null,
        "conversation_data": {"topic": "test session"}, "status": "active", "metadata": {"source": "test"},
        "is_active": true, "message_count": 0, "total_tokens": 0, "total_cost": 0.0, "session_summary": "",
        "created_at": "2025-07-27T00:11:26.479685Z", "updated_at": "2025-07-27T00:11:26.479685Z",
        "last_activity": "2025-07-27T00:11:26.479685Z", "expires_at": null,
    })
}
