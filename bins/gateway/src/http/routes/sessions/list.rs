//! `GET /api/v1/users/{user_id}/sessions`: sessions, newest first (HTTP contract 5).

use actix_web::http::Method;
use kernel::{Page, TimePlace};
use serde_json::{Value, json};
use sessions::{SessionFilter, Status};

use crate::http::{
    call::{Call, next_cursor, retrieved},
    doc::Doc,
    error::ApiError,
    fault::Problem,
    fields::{Fields, Source, parse},
    reply::Reply,
    route::{Access, BodyRule, Origin, Route},
    wire::SessionBody,
};

const LIMIT: i64 = 50;

/// The route.
#[must_use]
pub fn route() -> Route {
    Route {
        method: Method::GET,
        path: "/api/v1/users/{user_id}/sessions",
        access: Access::PathUser,
        body: BodyRule::Ignored,
        origin: Origin::Documented,
        operation: "list_sessions",
        doc,
        handler: |call| Box::pin(handle(call)),
    }
}

fn doc() -> Doc {
    let statuses: Vec<_> = super::STATUSES.iter().map(|(name, _)| *name).collect();
    Doc::new("sessions", "Sessions of a user")
        .description("Newest created first.")
        .query(
            "active_only",
            "Only sessions whose status is `active`.",
            json!({"type": "boolean", "default": false}),
            json!(false),
        )
        .query(
            "status",
            "Only sessions of this status.",
            json!({"type": "string", "enum": statuses}),
            Value::Null,
        )
        .paged(LIMIT)
        .reply_list::<SessionBody>("Retrieved 1 sessions", super::session_example())
}

fn read(fields: &mut Fields, scope: &str) -> Option<(SessionFilter, Page<TimePlace>)> {
    let active_only = fields.optional(Source::Query, "active_only", parse::boolean).unwrap_or(false);
    let status = fields.optional(Source::Query, "status", parse::one_of(super::STATUSES));
    let status = match (active_only, status) {
        (true, Some(status)) if status != Status::Active => {
            fields.fault("query", "status", Problem::value("active_only asks for another status"));
            None
        }
        (true, _) => Some(Status::Active),
        (false, status) => status,
    };
    Some((SessionFilter { status }, fields.page(LIMIT, scope)?))
}

async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let scope = call.list_scope();
    let (filter, page) = call.fields.read(|fields| read(fields, &scope))?;
    let user_id = call.user().await?;
    let clock = &*call.app.clock;
    let slice = call.read(async |conn| sessions::list(conn, clock, &user_id, filter, &page).await).await?;
    let items: Vec<SessionBody> = slice.items.into_iter().map(SessionBody::from).collect();
    let message = retrieved(items.len(), "sessions", "会话");
    Ok(call.envelope(&message, items)?.next_cursor(next_cursor(&scope, slice.next.as_ref())))
}
