//! `GET /openapi.json`: the description of every route here (HTTP contract 2).

use serde_json::{Value, json};

use crate::http::{openapi, packed::Packed, prelude::*};

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
        handler: |call| Box::pin(async move { handle(&call) }),
    }
}

fn doc() -> Doc {
    Doc::new("system", "This description").reply_as(
        "application/json",
        json!({"type": "object"}),
        Value::Null,
    )
}

fn handle(call: &Call) -> Result<Reply, ApiError> {
    let document = call.app.openapi.get_or_init(|| {
        Packed::of_plain(openapi::json(&call.app.config, web::route::routes(&call.request)).into())
    });
    document.reply(call, "application/json")
}
