//! `GET /metrics`: measurements in Prometheus text format (HTTP contract 13).

use crate::http::prelude::*;

/// The route.
#[must_use]
pub fn route() -> Route {
    Route {
        method: Method::GET,
        path: "/metrics",
        access: Access::Metrics,
        body: BodyRule::Ignored,
        origin: Origin::Documented,
        operation: "metrics",
        doc,
        handler: |call| Box::pin(async move { handle(&call) }),
    }
}

fn doc() -> Doc {
    Doc::new("system", "Measurements").description("Prometheus text format 0.0.4.").reply_as(
        "text/plain",
        json!({"type": "string"}),
        json!("user_service_http_requests_in_flight 1\n"),
    )
}

fn handle(call: &Call) -> Result<Reply, ApiError> {
    Ok(Reply::new("text/plain; version=0.0.4; charset=utf-8", call.app.metrics.render()))
}
