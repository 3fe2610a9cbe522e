//! `GET /openapi.json`: the description of every route here (HTTP contract 2).

use std::future::{Ready, ready};

use serde_json::{Value, json};

use crate::http::{openapi, packed::Packed, prelude::*};

pub fn doc() -> Doc {
    Doc::new("system", "This description").reply_as(
        "application/json",
        json!({"type": "object"}),
        Value::Null,
    )
}

pub fn handle(call: Call) -> Ready<Result<Reply, ApiError>> {
    ready(answer(&call))
}

fn answer(call: &Call) -> Result<Reply, ApiError> {
    let document = call.app.openapi.get_or_init(|| {
        Packed::of_plain(openapi::json(&call.app.config, web::route::routes(&call.request)).into())
    });
    document.reply(call, "application/json")
}
