//! `GET /api/v1/sessions/{session_id}/messages`: messages, oldest first (HTTP contract 5).

use sessions::{MessageFilter, Role};

use super::add::ROLES;
use crate::http::{prelude::*, routes::messages::body::MessageBody};

const LIMIT: i64 = 100;

input! {
    /// Filter of the messages.
    pub struct MessagesInput {
        /// Only messages of this speaker.
        role: Option<Role> = optional(Query, parse::one_of(ROLES));
    }
}

pub fn doc() -> Doc {
    Doc::new("sessions", "Messages of a session")
        .description(
            "Oldest first. A page of large messages ends before its limit: while there are more, `X-Next-Cursor` leads on, \
             and so does `offset` plus the number of messages received.",
        )
        .query::<MessagesInput>()
        .paged(LIMIT)
        .reply_list::<MessageBody>("Retrieved 1 messages", super::body::message_example())
        .errors(&[&catalogue::SESSION_NOT_FOUND])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let list = call.list_scope();
    let (MessagesInput { role }, page) = call.fields.list(LIMIT, &list)?;
    let filter = MessageFilter { role };
    call.known()?;
    let (session_id, scope) = (call.session_id()?, call.scope()?);
    let clock = &*call.app.clock;
    let found = call
        .read(async |conn| match sessions::find_in_scope(conn, clock, session_id, &scope).await? {
            Ok(session) => sessions::messages(conn, &session, filter, &page).await.map(Ok),
            Err(refusal) => Ok(Err(refusal)),
        })
        .await?;
    let slice = found.map_err(|refusal| ApiError::from_failure(&refusal))?;
    call.list_reply(&list, slice, MessageBody::from, ("messages", "消息"))
}
