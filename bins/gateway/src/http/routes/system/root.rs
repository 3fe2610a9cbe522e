//! `GET /`: what answers here (HTTP contract 2).

use std::future::{Ready, ready};

use crate::http::{prelude::*, wire::Timestamp};

/// Name of the service.
#[derive(Debug, Serialize, ToSchema)]
pub struct About {
    service: String,
    status: &'static str,
    version: String,
    timestamp: Timestamp,
}

pub fn doc() -> Doc {
    Doc::new("system", "What answers here").reply::<About>(json!({
        "service": "User Management Service", "status": "operational", "version": "0.1.0",
        "timestamp": "2025-07-27T00:32:57.736450Z",
    }))
}

pub fn handle(call: Call) -> Ready<Result<Reply, ApiError>> {
    ready(answer(&call))
}

fn answer(call: &Call) -> Result<Reply, ApiError> {
    let app = &call.app.config.app;
    Reply::json(&About {
        service: app.name.clone(),
        status: "operational",
        version: app.version.clone(),
        timestamp: Timestamp(call.now),
    })
}
