//! `GET /docs`: the documentation with Swagger UI. Everything it loads is embedded (ADR 0007).

use std::future::{Ready, ready};

use serde_json::Value;
use web::pages;

use crate::http::prelude::*;

pub fn doc() -> Doc {
    Doc::new("system", "Interactive documentation").reply_as(
        "text/html",
        json!({"type": "string"}),
        Value::Null,
    )
}

pub fn handle(_call: Call) -> Ready<Result<Reply, ApiError>> {
    ready(pages::swagger("User service API"))
}
