//! `GET /livez`: whether the process runs. Touches nothing (HTTP contract 2).

use std::future::{Ready, ready};

use crate::http::prelude::*;

pub fn doc() -> Doc {
    Doc::new("system", "Is the process alive?").reply_as(
        "application/json",
        json!({"type": "object", "properties": {"status": {"type": "string"}}}),
        json!({"status": "ok"}),
    )
}

pub fn handle(_call: Call) -> Ready<Result<Reply, ApiError>> {
    ready(Reply::json(&json!({"status": "ok"})))
}
