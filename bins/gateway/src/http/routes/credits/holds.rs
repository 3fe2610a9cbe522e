//! `GET /api/v1/users/{user_id}/credits/holds`: holds, newest first (HTTP contract 6.5).

use actix_web::http::Method;
use credits::{HoldFilter, HoldStatus};
use serde_json::json;

use crate::http::{
    call::{Call, next_cursor, retrieved},
    doc::Doc,
    error::ApiError,
    fields::{Source, parse},
    reply::Reply,
    route::{Access, BodyRule, Origin, Route},
    wire::Hold,
};

const LIMIT: i64 = 50;

const FILTERS: &[(&str, HoldFilter)] = &[
    ("open", HoldFilter::Open),
    ("captured", HoldFilter::Only(HoldStatus::Captured)),
    ("released", HoldFilter::Only(HoldStatus::Released)),
    ("expired", HoldFilter::Only(HoldStatus::Expired)),
    ("all", HoldFilter::All),
];

/// The route.
#[must_use]
pub fn route() -> Route {
    Route {
        method: Method::GET,
        path: "/api/v1/users/{user_id}/credits/holds",
        access: Access::HiddenPathUser,
        body: BodyRule::Ignored,
        origin: Origin::Extension,
        operation: "list_holds",
        doc,
        handler: |call| Box::pin(handle(call)),
    }
}

fn doc() -> Doc {
    let names: Vec<_> = FILTERS.iter().map(|(name, _)| *name).collect();
    Doc::new("credits", "Holds")
        .description("Newest first.")
        .query(
            "status",
            "Which holds.",
            json!({"type": "string", "enum": names, "default": "open"}),
            json!("open"),
        )
        .paged(LIMIT)
        .reply_list::<Hold>("Retrieved 1 holds", super::hold_example())
}

async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let scope = call.list_scope();
    let (filter, page) = call.fields.read(|fields| {
        let filter = fields.optional(Source::Query, "status", parse::one_of(FILTERS)).unwrap_or_default();
        Some((filter, fields.page(LIMIT, &scope)?))
    })?;
    let user_id = call.user().await?;
    let clock = &*call.app.clock;
    let slice = call.read(async |conn| credits::holds(conn, clock, &user_id, filter, &page).await).await?;
    let items: Vec<Hold> = slice.items.into_iter().map(Hold::from).collect();
    let message = retrieved(items.len(), "holds", "预留记录");
    Ok(call.envelope(&message, items)?.next_cursor(next_cursor(&scope, slice.next.as_ref())))
}
