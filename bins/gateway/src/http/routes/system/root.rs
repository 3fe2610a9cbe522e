//! `GET /`: what answers here (HTTP contract 2).

use crate::http::{prelude::*, wire::Timestamp};

/// Name of the service.
#[derive(Debug, Serialize, ToSchema)]
pub struct About {
    service: String,
    status: &'static str,
    version: String,
    timestamp: Timestamp,
}

/// The route.
#[must_use]
pub fn route() -> Route {
    Route {
        method: Method::GET,
        path: "/",
        access: Access::Anyone,
        body: BodyRule::Ignored,
        origin: Origin::Extension,
        operation: "root",
        doc,
        handler: |call| Box::pin(async move { handle(&call) }),
    }
}

fn doc() -> Doc {
    Doc::new("system", "What answers here").reply::<About>(json!({
        "service": "User Management Service", "status": "operational", "version": "0.1.0",
        "timestamp": "2025-07-27T00:32:57.736450Z",
    }))
}

fn handle(call: &Call) -> Result<Reply, ApiError> {
    let app = &call.app.config.app;
    Reply::json(&About {
        service: app.name.clone(),
        status: "operational",
        version: app.version.clone(),
        timestamp: Timestamp(call.now),
    })
}
