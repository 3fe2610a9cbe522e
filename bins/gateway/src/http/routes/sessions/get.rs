//! `GET /api/v1/sessions/{session_id}`: a session (HTTP contract 5).

use crate::http::{prelude::*, routes::sessions::body::SessionBody};

pub fn doc() -> Doc {
    Doc::new("sessions", "A session")
        .reply_envelope::<SessionBody>("Session retrieved successfully", super::body::session_example())
        .errors(&[&catalogue::SESSION_NOT_FOUND])
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    call.known()?;
    let (session_id, scope, clock) = (call.session_id()?, call.scope()?, &*call.app.clock);
    let found =
        call.look_up(async |conn| sessions::find_in_scope(conn, clock, session_id, &scope).await).await?;
    let session = found.map_err(|_hidden| super::body::not_found(session_id))?;
    call.envelope(&Text::new("Session retrieved successfully", "会话获取成功"), SessionBody::from(session))
}
