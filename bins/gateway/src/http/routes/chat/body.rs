//! A reply in answers, and the replies that paths name.

use flows::replies::Replies;
use kernel::{Credits, Detail, UserId};
use serde_json::{Value, json};
use sessions::{Reply as StoredReply, ReplyName, Session, SessionRefusal, replies};
use uuid::Uuid;

use crate::http::{
    call::path_parameter, prelude::*, routes::messages::body::MessageStatusName, wire::Timestamp,
};

/// A reply of the model.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReplyBody {
    /// Integer id of the message.
    id: i64,
    /// Integer id of the session.
    session_id: i64,
    /// The text.
    content: String,
    /// Always `assistant`.
    role: &'static str,
    /// Tokens of the text.
    tokens: i64,
    created_at: Timestamp,
    /// Integer id of the message that it answers.
    user_message_id: i64,
    /// Credits that prompt and text cost.
    #[serde(serialize_with = "Credits::serialize_plain")]
    #[schema(value_type = f64)]
    credits_charged: Credits,
    /// Credits left after it.
    #[serde(serialize_with = "Credits::serialize_plain")]
    #[schema(value_type = f64)]
    balance: Credits,
    /// completed; incomplete or cancelled if it was cut short.
    #[schema(value_type = MessageStatusName)]
    status: &'static str,
    /// UUID of the message.
    message_id: Uuid,
}

impl From<StoredReply> for ReplyBody {
    fn from(reply: StoredReply) -> Self {
        let message = reply.message;
        Self {
            id: message.id,
            session_id: reply.session_number,
            content: message.content,
            role: message.role.as_str(),
            tokens: message.tokens_used,
            created_at: Timestamp(message.created_at),
            user_message_id: reply.question_number,
            credits_charged: reply.credits_charged.unwrap_or_default(),
            balance: reply.balance_after.unwrap_or_default(),
            status: message.status.as_str(),
            message_id: message.message_id,
        }
    }
}

/// A reply in the documents.
pub fn reply_example() -> Value {
    json!({
        "id": 790, "session_id": 456, "content": "AI回复内容", "role": "assistant", "tokens": 50,
        "created_at": "2023-01-01T00:00:00.000000Z", "user_message_id": 789, "credits_charged": 50, "balance": 950,
        "status": "completed", "message_id": "ad941213-9d10-4be0-9052-5665fd5fa033",
    })
}

/// Replies, where a model is configured.
///
/// # Errors
/// 503.
pub fn replies_of(call: &Call) -> Result<&Replies, ApiError> {
    call.app.replies.as_ref().ok_or_else(|| ApiError::not_configured("chat"))
}

/// The session of the user that the path names, by its integer id or its UUID.
///
/// # Errors
/// 404, also for that of another user; 503 when the database cannot be asked.
pub async fn own_session(call: &Call, user_id: &UserId) -> Result<Session, ApiError> {
    let (text, clock) = (path_parameter(&call.request, "session_id"), &*call.app.clock);
    let found = match (text.parse::<i64>(), text.parse::<Uuid>()) {
        (Ok(number), _) => {
            call.look_up(async |conn| sessions::find_by_number(conn, clock, user_id, number).await).await?
        }
        (_, Ok(id)) => call.look_up(async |conn| sessions::find(conn, clock, id).await).await?,
        _ => None,
    };
    found
        .filter(|session| session.user_id == *user_id)
        .ok_or_else(|| ApiError::new(&catalogue::SESSION_NOT_FOUND).detail("session_id", Detail::Text(text)))
}

/// The reply of the session that the path names, by the integer id or the UUID of its message.
///
/// # Errors
/// As [`own_session`]; 404 for a message that is no reply.
pub async fn own_reply(call: &Call, user_id: &UserId) -> Result<ReplyName, ApiError> {
    let session_id = own_session(call, user_id).await?.session_id;
    let text = path_parameter(&call.request, "message_id");
    let found = match (text.parse::<i64>(), text.parse::<Uuid>()) {
        (Ok(number), _) => {
            call.look_up(async |conn| replies::find_by_number(conn, user_id, number).await).await?
        }
        (_, Ok(id)) => {
            let found = call.look_up(async |conn| replies::find(conn, user_id, id).await).await?;
            found.map(|reply| reply.name())
        }
        _ => None,
    };
    found.filter(|name| name.session_id == session_id).ok_or_else(|| {
        let session_id = session_id.to_string();
        ApiError::from_failure(&SessionRefusal::MessageNotFound { session_id, message_id: text })
    })
}
