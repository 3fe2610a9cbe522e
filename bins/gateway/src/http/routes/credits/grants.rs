//! `GET /api/v1/users/{user_id}/credits/grants`: grants in burn order (HTTP contract 6.5).

use actix_web::http::Method;
use credits::{GrantFilter, GrantPlace};
use kernel::Page;
use serde_json::json;

use crate::http::{
    call::{Call, next_cursor, retrieved},
    doc::Doc,
    error::ApiError,
    fields::{Fields, Source, parse},
    reply::Reply,
    route::{Access, BodyRule, Origin, Route},
    wire::Grant,
};

const LIMIT: i64 = 50;

const FILTERS: &[(&str, GrantFilter)] = &[
    ("open", GrantFilter::Open),
    ("used", GrantFilter::Used),
    ("expired", GrantFilter::Expired),
    ("all", GrantFilter::All),
];

/// The route.
#[must_use]
pub fn route() -> Route {
    Route {
        method: Method::GET,
        path: "/api/v1/users/{user_id}/credits/grants",
        access: Access::HiddenPathUser,
        body: BodyRule::Ignored,
        origin: Origin::Extension,
        operation: "list_grants",
        doc,
        handler: |call| Box::pin(handle(call)),
    }
}

fn doc() -> Doc {
    let names: Vec<_> = FILTERS.iter().map(|(name, _)| *name).collect();
    Doc::new("credits", "Grants")
        .description("In the order in which they are spent.")
        .query(
            "status",
            "Which grants.",
            json!({"type": "string", "enum": names, "default": "open"}),
            json!("open"),
        )
        .paged(LIMIT)
        .reply_list::<Grant>("Retrieved 1 grants", super::grant_example())
}

fn read(fields: &mut Fields, scope: &str) -> Option<(GrantFilter, Page<GrantPlace>)> {
    let filter =
        fields.optional(Source::Query, "status", parse::one_of(FILTERS)).unwrap_or(GrantFilter::Open);
    Some((filter, fields.page(LIMIT, scope)?))
}

async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let scope = call.list_scope();
    let (filter, page) = call.fields.read(|fields| read(fields, &scope))?;
    let user_id = call.user().await?;
    let clock = &*call.app.clock;
    let slice = call.read(async |conn| credits::grants(conn, clock, &user_id, filter, &page).await).await?;
    let items: Vec<Grant> = slice.items.into_iter().map(Grant::from).collect();
    let message = retrieved(items.len(), "grants", "积分批次");
    Ok(call.envelope(&message, items)?.next_cursor(next_cursor(&scope, slice.next.as_ref())))
}
