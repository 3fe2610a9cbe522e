//! `GET /redoc`: the documentation with Redoc. Everything it loads is embedded (ADR 0007).

use std::future::{Ready, ready};

use serde_json::Value;
use web::pages;

use crate::http::prelude::*;

pub fn doc() -> Doc {
    Doc::new("system", "Reference page").reply_as("text/html", json!({"type": "string"}), Value::Null)
}

pub fn handle(_call: Call) -> Ready<Result<Reply, ApiError>> {
    ready(pages::redoc("User service API reference"))
}
