//! `GET /openapi.json`: the description of every route here (HTTP contract 2).

use actix_web::http::Method;
use serde_json::{Value, json};

use crate::http::{
    call::Call,
    doc::Doc,
    openapi,
    reply::Reply,
    route::{Access, BodyRule, Origin, Route},
};

/// The route.
#[must_use]
pub fn route() -> Route {
    Route {
        method: Method::GET,
        path: "/openapi.json",
        access: Access::Anyone,
        body: BodyRule::Ignored,
        origin: Origin::Extension,
        operation: "openapi",
        doc,
        handler: |call| Box::pin(async move { Ok(handle(&call)) }),
    }
}

fn doc() -> Doc {
    Doc::new("system", "This description").reply_as(
        "application/json",
        json!({"type": "object"}),
        Value::Null,
    )
}

fn handle(call: &Call) -> Reply {
    let text = call
        .app
        .openapi
        .get_or_init(|| openapi::json(&call.app.config).into());
    Reply::of("application/json", text.clone())
}
