//! `GET /api/sessions`: conversations of a user, newest first (HTTP contract 9).

use sessions::SessionFilter;

use super::session_body::{ChatSession, number_of, session_example};
use crate::http::{fields::page::next_cursor, prelude::*};

/// Items of a list of the chat routes.
pub const LIMIT: i64 = 500;

/// Conversations.
#[derive(Debug, Serialize, ToSchema)]
#[serde(transparent)]
pub struct ChatSessions(Vec<ChatSession>);

pub fn doc() -> Doc {
    Doc::new("chat", "Conversations")
        .description("Newest first; `X-Next-Cursor` leads on.")
        .named_user()
        .paged(LIMIT)
        .reply::<ChatSessions>(json!([session_example()]))
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let scope = call.list_scope();
    let page = call.fields.read(|fields| fields.page(LIMIT, &scope))?;
    let user_id = call.user().await?;
    let (clock, filter) = (&*call.app.clock, SessionFilter::default());
    let slice = call.read(async |conn| sessions::list(conn, clock, &user_id, filter, &page).await).await?;
    let number = number_of(&call, &user_id).await?;
    let next = next_cursor(&scope, slice.next.as_ref());
    let items = slice.items.into_iter().map(|session| ChatSession::new(session, number)).collect();
    Ok(Reply::json(&ChatSessions(items))?.next_cursor(next))
}
