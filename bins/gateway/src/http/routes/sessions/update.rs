//! `PATCH /api/v1/sessions/{session_id}`: changes a session (HTTP contract 5).

use kernel::FreeForm;
use sessions::SessionChange;
use time::OffsetDateTime;

use crate::http::{
    fields::{Patch, parser::Parse as _, time::instant},
    prelude::*,
    routes::sessions::body::SessionBody,
};

input! {
    /// Changes of a session; what is absent stays.
    pub struct UpdateSession {
        /// Title, at most 255 characters; null removes it.
        title: Patch<String> = custom(
            |fields| fields.patch("title", parse::text(0, 255)), false, (parse::text(0, 255).schema(), Vec::new())
        ), example("Travel plans");
        /// Replaces all metadata.
        metadata: Option<FreeForm> = optional(Body, parse::object());
        /// Summary of the conversation.
        session_summary: Option<String> = optional(Body, parse::text(0, 100_000));
        /// End of the session; null removes it.
        expires_at: Patch<OffsetDateTime> = custom(
            |fields| fields.patch("expires_at", instant()), false, (instant().schema(), Vec::new())
        );
    }
}

pub fn doc() -> Doc {
    Doc::new("sessions", "Change a session")
        .description("The given fields replace what is stored. The status is changed by another route, or by `expires_at`.")
        .body::<UpdateSession>(json!({"title": "Travel plans"}))
        .reply_envelope::<SessionBody>("Session updated successfully", super::body::session_example())
        .errors(&[&catalogue::SESSION_NOT_FOUND])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let input = call.input::<UpdateSession>().await?;
    call.known()?;
    let change = SessionChange {
        title: optional(input.title),
        metadata: input.metadata,
        session_summary: input.session_summary,
        expires_at: optional(input.expires_at),
    };
    let (session_id, scope, clock) = (call.session_id()?, call.scope()?, &*call.app.clock);
    let changed =
        call.decide(async |tx| sessions::change(tx, clock, session_id, &scope, &change).await).await?;
    let session = changed.map_err(|_hidden| super::body::not_found(session_id))?;
    call.envelope(&Text::new("Session updated successfully", "会话更新成功"), SessionBody::from(session))
}

/// The new value, if it changes; `None` in it removes it.
fn optional<T: PartialEq>(patch: Patch<T>) -> Option<Option<T>> {
    match patch {
        Patch::Keep => None,
        Patch::Clear => Some(None),
        Patch::Set(value) => Some(Some(value)),
    }
}
