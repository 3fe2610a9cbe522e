//! `GET /api/sessions/{session_id}/messages/{message_id}/stream`: the events of a reply behind one of them (HTTP contract 9.1).

use actix_web::http::header::HeaderName;

use super::{
    body::{own_reply, replies_of, reply_example},
    events::{self, Start},
};
use crate::http::prelude::*;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

input! {
    /// Where to begin.
    pub struct StreamInput {
        /// Id of the last event that was read; instead of the header `Last-Event-ID`.
        starting_after: Option<i64> = optional(Query, parse::integer(0, i64::MAX)), default(0);
    }
}

pub fn doc() -> Doc {
    Doc::new("chat", "Read a reply")
        .description(
            "Server-sent events of a running or finished reply, from any process. The pieces of text may differ from those of an \
             earlier answer; the joined text does not.",
        )
        .named_user()
        .query::<StreamInput>()
        .reply::<super::body::ReplyBody>(reply_example())
        .errors(&[&catalogue::SESSION_NOT_FOUND, &catalogue::MESSAGE_NOT_FOUND, &catalogue::PROVIDER_NOT_CONFIGURED])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let StreamInput { starting_after } = call.fields.input()?;
    let by_header = call.header(&LAST_EVENT_ID).and_then(|text| text.trim().parse::<i64>().ok());
    let user_id = call.user().await?;
    let replies = replies_of(&call)?.clone();
    let name = own_reply(&call, &user_id).await?;
    let behind = starting_after.or(by_header).and_then(|id| u64::try_from(id).ok()).unwrap_or(0);
    let start = Start::behind(behind);
    let reader = replies.read(name, start.offset());
    let stored = reader.stored().await.map_err(ApiError::answered)?;
    let stored = stored.ok_or_else(|| ApiError::new(&catalogue::MESSAGE_NOT_FOUND))?;
    Ok(events::reply(&call, reader, stored, start))
}
