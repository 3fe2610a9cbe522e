//! `POST /api/v1/users/{user_id}/sessions`: begins a conversation (HTTP contract 5).

use flows::{
    Replay,
    session_keys::{self, Keyed},
};
use kernel::{FreeForm, IdempotencyKey, UserId, fingerprint::v1};
use sessions::{NewSession, Session};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::http::{
    fields::time::instant,
    idempotency,
    prelude::*,
    routes::sessions::body::{SessionBody, SessionStatusName},
    wire::Timestamp,
};

input! {
    /// A session to create; every field is optional.
    pub keyed struct CreateSession {
        /// Must be the user of the path.
        user_id: Option<UserId> = optional(Body, parse::user_id()), unhashed();
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

/// The fingerprint of version 1, which knew no keys of sessions.
fn as_version_1(input: &CreateSession, asked: v1::Fingerprint) -> v1::Fingerprint {
    asked.maybe(input.title.as_deref())
}

pub fn doc() -> Doc {
    Doc::new("sessions", "Create a session")
        .idempotent()
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
    let (input, key) = idempotency::key(&call, input, as_version_1).await?;
    let new = NewSession {
        user_id: call.user().await?,
        session_id: call.app.ids.uuid(),
        title: input.title,
        conversation_data: input.conversation_data.unwrap_or_default(),
        metadata: input.metadata.unwrap_or_default(),
        expires_at: input.expires_at,
    };
    let (session, is_repeat) = created(&call, &new, key).await?;
    let message = Text::new("Session created successfully", "会话创建成功");
    let data = SessionBody::from(session);
    let reply = Reply::json(&CreatedSession {
        success: true,
        session_id: data.session_id,
        user_id: data.user_id.clone(),
        status: data.status,
        message_count: data.message_count,
        created_at: data.created_at,
        message: message.in_language(call.language).to_owned(),
        title: data.title.clone(),
        data,
    })?;
    Ok(reply.with_replay_header(is_repeat))
}

/// Creates a session, or finds the one that the same request made under the key; then the answer is true.
///
/// # Errors
/// 404 if that one is gone, 422 for a key of another request, 503.
pub async fn created(
    call: &Call,
    new: &NewSession,
    key: Option<IdempotencyKey>,
) -> Result<(Session, bool), ApiError> {
    let clock = &*call.app.clock;
    let Some(key) = key else {
        let created = call.write_for(&new.user_id, async |tx| sessions::create(tx, clock, new).await).await?;
        return Ok((created, false));
    };
    let caller = call.principal()?.class_for(&new.user_id);
    let keyed = Keyed { user_id: new.user_id.clone(), key, caller };
    let created =
        session_keys::create(&call.app.pool, clock, new, &keyed).await.map_err(ApiError::answered)?;
    let (session, replay) = created.map_err(|refusal| ApiError::from_failure(refusal.failure()))?;
    Ok((session, replay == Replay::ByKey))
}
