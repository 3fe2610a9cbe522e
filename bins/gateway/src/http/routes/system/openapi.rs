//! `GET /openapi.json`: the description of every route here (HTTP contract 2).

use actix_web::http::Method;
use serde_json::{Value, json};

use crate::http::{
    doc::Doc,
    openapi,
    reply::Reply,
    route::{Access, BodyRule, Route},
};

/// The route.
#[must_use]
pub fn route() -> Route {
    Route {
        method: Method::GET,
        path: "/openapi.json",
        access: Access::Anyone,
        body: BodyRule::Ignored,
        operation: "openapi",
        doc,
        handler: |_call| Box::pin(async { Ok(Reply::of("application/json", openapi::json())) }),
    }
}

fn doc() -> Doc {
    Doc::new("system", "This description").reply_as(
        "application/json",
        json!({"type": "object"}),
        Value::Null,
    )
}
