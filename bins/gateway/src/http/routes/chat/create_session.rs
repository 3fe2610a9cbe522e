//! `POST /api/sessions`: begins a conversation (HTTP contract 9).

use kernel::{FreeForm, fingerprint::v1};
use sessions::NewSession;

use super::session_body::{ChatSession, session_example};
use crate::http::{idempotency, prelude::*, routes::sessions::create::created};

input! {
    /// A conversation to begin.
    pub keyed struct CreateChatSession {
        /// Title, at most 255 characters.
        title: Option<String> = optional(Body, parse::text(0, 255)), example("会话标题");
    }
}

pub fn doc() -> Doc {
    Doc::new("chat", "Begin a conversation")
        .named_user()
        .idempotent()
        .optional_body::<CreateChatSession>(json!({"title": "会话标题"}))
        .reply::<ChatSession>(session_example())
}

/// The fingerprint of version 1, which knew nothing of this route.
fn as_version_1(input: &CreateChatSession, asked: v1::Fingerprint) -> v1::Fingerprint {
    asked.maybe(input.title.as_deref())
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let input = call.input::<CreateChatSession>().await?;
    let (input, key) = idempotency::key(&call, input, as_version_1).await?;
    let new = NewSession {
        user_id: call.user().await?,
        session_id: call.app.ids.uuid(),
        title: input.title,
        conversation_data: FreeForm::empty(),
        metadata: FreeForm::empty(),
        expires_at: None,
    };
    let (session, is_repeat) = created(&call, &new, key).await?;
    let number = super::session_body::number_of(&call, &new.user_id).await?;
    Ok(Reply::json(&ChatSession::new(session, number))?.with_replay_header(is_repeat))
}
