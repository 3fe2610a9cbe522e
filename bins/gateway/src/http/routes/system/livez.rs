//! `GET /livez`: whether the process runs. Touches nothing (HTTP contract 2).

use crate::http::prelude::*;

/// The route.
#[must_use]
pub fn route() -> Route {
    Route {
        method: Method::GET,
        path: "/livez",
        access: Access::Anyone,
        body: BodyRule::Ignored,
        origin: Origin::Extension,
        operation: "livez",
        doc,
        handler: |_call| Box::pin(async { Reply::json(&json!({"status": "ok"})) }),
    }
}

fn doc() -> Doc {
    Doc::new("system", "Is the process alive?").reply_as(
        "application/json",
        json!({"type": "object", "properties": {"status": {"type": "string"}}}),
        json!({"status": "ok"}),
    )
}
