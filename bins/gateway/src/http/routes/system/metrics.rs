//! `GET /metrics`: measurements in Prometheus text format (HTTP contract 13).

use std::future::{Ready, ready};

use crate::http::prelude::*;

pub fn doc() -> Doc {
    Doc::new("system", "Measurements").description("Prometheus text format 0.0.4.").reply_as(
        "text/plain",
        json!({"type": "string"}),
        json!("user_service_http_requests_in_flight 1\n"),
    )
}

pub fn handle(call: Call) -> Ready<Result<Reply, ApiError>> {
    ready(answer(&call))
}

fn answer(call: &Call) -> Result<Reply, ApiError> {
    Ok(Reply::new("text/plain; version=0.0.4; charset=utf-8", call.app.metrics.render()))
}
