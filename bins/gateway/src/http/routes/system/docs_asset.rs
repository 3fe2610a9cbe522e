//! `GET /docs/assets/{file}`: a file that the documentation pages load, embedded (ADR 0007).

use std::future::{Ready, ready};

use serde_json::Value;
use web::pages;

use crate::http::{call::path_parameter, prelude::*};

pub fn doc() -> Doc {
    Doc::new("system", "A file of the documentation pages")
        .reply_as("application/octet-stream", json!({"type": "string"}), Value::Null)
        .errors(&[&catalogue::NOT_FOUND])
}

pub fn handle(call: Call) -> Ready<Result<Reply, ApiError>> {
    ready(pages::asset(&call, &path_parameter(&call.request, "file")))
}
