//! `GET /api/v1/users/{user_id}/messages/search`: messages by a part of their text, newest first (HTTP contract 5).

use flows::message_index;
use sessions::{Hit, Role, SearchPlace, SearchQuery};
use uuid::Uuid;

use super::{add::ROLES, body::message_example};
use crate::http::{
    fields::dates::{Dates, Days, End},
    prelude::*,
    routes::messages::body::MessageBody,
};

const LIMIT: i64 = 50;
/// Most characters that are looked for (HTTP contract 5).
const TEXT_CHARS_MAX: usize = 200;

input! {
    /// The text that is looked for.
    pub struct SearchInput {
        /// Part of the text of a message, without case.
        q: String = required(Query, parse::text(1, TEXT_CHARS_MAX)), example("hello");
        /// Only messages of this session.
        session_id: Option<Uuid> = optional(Query, parse::uuid());
        /// Only messages of this speaker.
        role: Option<Role> = optional(Query, parse::one_of(ROLES));
        /// When they were added.
        dates: Dates = flat(Dates, &Days::default());
    }
}

/// A message that was found.
#[derive(Debug, Serialize, ToSchema)]
pub struct HitBody {
    #[serde(flatten)]
    message: MessageBody,
    /// Title of its session.
    session_title: Option<String>,
    /// The part of the content around the first hit, at most 300 characters.
    snippet: String,
}

impl From<Hit> for HitBody {
    fn from(Hit { message, session_title, snippet }: Hit) -> Self {
        Self { message: message.into(), session_title, snippet }
    }
}

pub fn doc() -> Doc {
    let mut example = message_example();
    example["session_title"] = "Greetings".into();
    example["snippet"] = "Hello".into();
    Doc::new("sessions", "Search messages")
        .description(
            "Messages of the user that contain a text, newest first. Characters are compared without case; all others, such as \
             `%` and blanks, stand for themselves. A page may have fewer messages than `limit`, even none, while more follow: go \
             on with `X-Next-Cursor`.",
        )
        .query::<SearchInput>()
        .paged(LIMIT)
        .reply_list::<HitBody>("Retrieved 1 messages", example)
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let scope = call.list_scope();
    let (input, page) = call.fields.list::<SearchInput, SearchPlace>(LIMIT, &scope)?;
    let query = SearchQuery {
        user_id: call.user().await?,
        text: input.q,
        session_id: input.session_id,
        role: input.role,
        from: input.dates.start,
        to: input.dates.end.map(End::last),
    };
    let slot = call.slot().await;
    let found = message_index::find(&call.app.lists, &call.app.index_requests, &query, &page).await;
    drop(slot);
    call.list_reply(&scope, found.map_err(ApiError::answered)?, HitBody::from, ("messages", "消息"))
}
