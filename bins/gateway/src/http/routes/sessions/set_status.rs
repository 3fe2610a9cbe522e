//! `PUT /api/v1/sessions/{session_id}/status`: sets the status of a session (HTTP contract 5).

use sessions::Status;

use crate::http::prelude::*;

input! {
    /// The status to set.
    pub struct SetStatus {
        /// The status.
        status: Status = required(Either, parse::one_of(super::body::STATUSES)), example("completed");
    }
}

pub fn doc() -> Doc {
    Doc::new("sessions", "Set the status of a session")
        .description("The status may be given in the query or in the body.")
        .optional_body::<SetStatus>(json!({"status": "completed"}))
        .reply_plain_envelope(json!({"type": "boolean"}), "Session status updated to completed", json!(true))
        .errors(&[&catalogue::SESSION_NOT_FOUND])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let SetStatus { status } = call.input().await?;
    call.known()?;
    let (session_id, scope) = (call.session_id()?, call.scope()?);
    let clock = &*call.app.clock;
    let done =
        call.decide(async |tx| sessions::set_status(tx, clock, session_id, &scope, status).await).await?;
    done.map_err(|refusal| ApiError::from_failure(&refusal))?;
    let status = status.as_str();
    let message =
        Text::new(format!("Session status updated to {status}"), format!("会话状态已更新为 {status}"));
    call.envelope(&message, true)
}
