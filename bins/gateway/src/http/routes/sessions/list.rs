//! `GET /api/v1/users/{user_id}/sessions`: sessions, newest first (HTTP contract 5).

use sessions::{SessionFilter, Status};

use crate::http::{fault::Problem, prelude::*, routes::sessions::body::SessionBody};

const LIMIT: i64 = 50;

input! {
    /// Filter of the sessions.
    pub struct SessionsInput {
        /// Only sessions whose status is `active`.
        active_only: Option<bool> = optional(Query, parse::boolean()), default(false), example(false);
        /// Only sessions of this status.
        status: Option<Status> = optional(Query, parse::one_of(super::body::STATUSES)), check(|fields| {
            if active_only == Some(true) && status.is_some_and(|status| status != Status::Active) {
                fields.fault("query", "status", Problem::value("active_only asks for another status"));
            }
        });
    }
}

pub fn doc() -> Doc {
    Doc::new("sessions", "Sessions of a user")
        .description("Newest created first.")
        .query::<SessionsInput>()
        .paged(LIMIT)
        .reply_list::<SessionBody>("Retrieved 1 sessions", super::body::session_example())
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let scope = call.list_scope();
    let (SessionsInput { active_only, status }, page) = call.fields.list(LIMIT, &scope)?;
    let status = if active_only == Some(true) { Some(Status::Active) } else { status };
    let filter = SessionFilter { status };
    let user_id = call.user().await?;
    let clock = &*call.app.clock;
    let slice = call.read(async |conn| sessions::list(conn, clock, &user_id, filter, &page).await).await?;
    call.list_reply(&scope, slice, SessionBody::from, ("sessions", "会话"))
}
