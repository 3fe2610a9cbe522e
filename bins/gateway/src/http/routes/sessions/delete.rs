//! `DELETE /api/v1/sessions/{session_id}`: deletes a session with all that belongs to it (HTTP contract 5).

use uuid::Uuid;

use crate::http::prelude::*;

/// Deleted session.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeletedSession {
    session_id: Uuid,
    deleted: bool,
}

pub fn doc() -> Doc {
    Doc::new("sessions", "Delete a session")
        .description("The session and its messages go in one transaction.")
        .reply_envelope::<DeletedSession>(
            "Session 975e7037-9a9a-475f-ac2a-3d86e6b44aba deleted successfully",
            json!({"session_id": "975e7037-9a9a-475f-ac2a-3d86e6b44aba", "deleted": true}),
        )
        .errors(&[&catalogue::SESSION_NOT_FOUND])
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    call.known()?;
    let (session_id, scope) = (call.session_id()?, call.scope()?);
    let done = call.decide(async |tx| sessions::delete(tx, session_id, &scope).await).await?;
    done.map_err(|refusal| ApiError::from_failure(&refusal))?;
    let message = Text::new(
        format!("Session {session_id} deleted successfully"),
        format!("会话 {session_id} 删除成功"),
    );
    call.envelope(&message, DeletedSession { session_id, deleted: true })
}
