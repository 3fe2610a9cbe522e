//! `POST /api/v1/users/{user_id}/sessions`: begins a conversation (HTTP contract 5).

use kernel::{FreeForm, UserId};
use sessions::NewSession;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::http::{
    fields::time::instant,
    prelude::*,
    routes::sessions::body::{SessionBody, SessionStatusName},
    wire::Timestamp,
};

input! {
    /// A session to create; every field is optional.
    pub struct CreateSession {
        /// Must be the user of the path.
        user_id: Option<UserId> = optional(Body, parse::user_id());
        /// Title.
        title: Option<String> = optional(Body, parse::text(0, 255));
        /// Anything to keep about the conversation.
        conversation_data: Option<FreeForm> = optional(Body, parse::object());
        /// Anything to attach.
        metadata: Option<FreeForm> = optional(Body, parse::object());
        /// End of the session. A date without a time is the first instant of that day in UTC; the date of today has passed.
        expires_at: Option<OffsetDateTime> = optional(Body, instant());
    }
}

/// The session that was made, flat as the documents show it and whole in `data`.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedSession {
    success: bool,
    session_id: Uuid,
    #[schema(value_type = String)]
    user_id: UserId,
    #[schema(value_type = SessionStatusName)]
    status: &'static str,
    message_count: i64,
    created_at: Timestamp,
    message: String,
    title: Option<String>,
    data: SessionBody,
}

pub fn doc() -> Doc {
    Doc::new("sessions", "Create a session")
        .optional_body::<CreateSession>(json!({
            "conversation_data": {"topic": "test session"}, "metadata": {"source": "test"},
        }))
        .reply::<CreatedSession>(json!({
            "success": true, "session_id": "4da97cfa-b95f-4898-8b7d-2786ff703ce0", "user_id": "auth0|test123",
            "status": "active", "message_count": 0, "created_at": "2025-07-27T00:11:26.479685Z",
            "message": "Session created successfully", "title": null, "data": super::body::session_example(),
        }))
        .errors(&[&catalogue::USER_ID_MISMATCH])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let input = call.input::<CreateSession>().await?;
    call.agree_on_user(input.user_id.as_ref())?;
    let new = NewSession {
        user_id: call.user().await?,
        session_id: call.app.ids.uuid(),
        title: input.title,
        conversation_data: input.conversation_data.unwrap_or_default(),
        metadata: input.metadata.unwrap_or_default(),
        expires_at: input.expires_at,
    };
    let clock = &*call.app.clock;
    let session = call.write_for(&new.user_id, async |tx| sessions::create(tx, clock, &new).await).await?;
    let message = Text::new("Session created successfully", "会话创建成功");
    let data = SessionBody::from(session);
    Reply::json(&CreatedSession {
        success: true,
        session_id: data.session_id,
        user_id: data.user_id.clone(),
        status: data.status,
        message_count: data.message_count,
        created_at: data.created_at,
        message: message.in_language(call.language).to_owned(),
        title: data.title.clone(),
        data,
    })
}
