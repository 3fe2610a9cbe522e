//! `GET /health`: the documented health report, with a real probe of the database (HTTP contract 2).

use actix_web::http::StatusCode;

use crate::http::{prelude::*, wire::Timestamp};

words! {
    /// The service as a whole.
    HealthWord = ["healthy", "unhealthy"];
    /// Degree to which the service works.
    OperationWord = ["operational", "degraded"];
    /// The report on the services.
    ServicesWord = ["success", "error"];
    /// The database.
    RepositoryWord = ["active", "unavailable"];
}

/// Version of the documented API; the version of this program shows at `/`.
const API_VERSION: &str = "2.0.0";

/// The health report.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// healthy or unhealthy.
    #[schema(value_type = HealthWord)]
    status: &'static str,
    timestamp: Timestamp,
    services: Services,
    /// operational or degraded.
    #[schema(value_type = OperationWord)]
    uptime: &'static str,
}

/// The services behind the gateway.
#[derive(Debug, Serialize, ToSchema)]
pub struct Services {
    /// success or error.
    #[schema(value_type = ServicesWord)]
    status: &'static str,
    message: &'static str,
    data: ServiceStatus,
    error_code: Option<&'static str>,
    #[schema(value_type = Option<Object>)]
    error_details: Option<()>,
    timestamp: Timestamp,
}

/// The user service itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServiceStatus {
    service: &'static str,
    /// operational or degraded.
    #[schema(value_type = OperationWord)]
    status: &'static str,
    version: &'static str,
    /// active or unavailable.
    #[schema(value_type = RepositoryWord)]
    repository: &'static str,
    timestamp: Timestamp,
    features: [&'static str; 4],
}

pub fn doc() -> Doc {
    Doc::new("system", "Health report")
        .description("Probes the database; 503 with the same members when it does not answer or does not take writes.")
        .reply::<Health>(json!({
            "status": "healthy", "timestamp": "2025-07-25T01:10:11.348229Z",
            "services": {
                "status": "success", "message": "Service status retrieved successfully",
                "data": {
                    "service": "UserServiceV2", "status": "operational", "version": "2.0.0", "repository": "active",
                    "timestamp": "2025-07-25T01:10:11.348229Z",
                    "features": ["user_management", "credit_management", "subscription_integration", "analytics"],
                },
                "error_code": null, "error_details": null, "timestamp": "2025-07-25T01:10:11.348229Z",
            },
            "uptime": "operational",
        }))
        .unavailable("The database does not answer or does not take writes.")
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    let up = call.app.readiness.ask().await.database;
    let word = |good, bad| if up { good } else { bad };
    let timestamp = Timestamp(call.now);
    let report = Health {
        status: word("healthy", "unhealthy"),
        timestamp,
        services: Services {
            status: word("success", "error"),
            message: word("Service status retrieved successfully", "The database is not available"),
            data: ServiceStatus {
                service: "UserServiceV2",
                status: word("operational", "degraded"),
                version: API_VERSION,
                repository: word("active", "unavailable"),
                timestamp,
                features: ["user_management", "credit_management", "subscription_integration", "analytics"],
            },
            error_code: (!up).then_some("ServiceUnavailableException"),
            error_details: None,
            timestamp,
        },
        uptime: word("operational", "degraded"),
    };
    let status = if up { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(Reply::json(&report)?.status(status))
}
