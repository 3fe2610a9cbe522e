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
        .description("The session and its messages go in one transaction. A reply in progress ends, and its hold is released.")
        .reply_envelope::<DeletedSession>(
            "Session 975e7037-9a9a-475f-ac2a-3d86e6b44aba deleted successfully",
            json!({"session_id": "975e7037-9a9a-475f-ac2a-3d86e6b44aba", "deleted": true}),
        )
        .errors(&[&catalogue::SESSION_NOT_FOUND])
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    call.known()?;
    let (session_id, scope) = (call.session_id()?, call.scope()?);
    let (pool, clock, ids) = (&call.app.pool, &*call.app.clock, &*call.app.ids);
    let done = flows::session_end::delete(pool, clock, ids, session_id, &scope).await;
    done.map_err(ApiError::answered)?.map_err(|refusal| ApiError::from_failure(&refusal))?;
    let message = Text::new(
        format!("Session {session_id} deleted successfully"),
        format!("会话 {session_id} 删除成功"),
    );
    call.envelope(&message, DeletedSession { session_id, deleted: true })
}
