//! `GET /readyz`: whether requests should be sent here (HTTP contract 2).

use actix_web::http::StatusCode;

use crate::http::prelude::*;

words! {
    /// True if requests should be sent here.
    ReadinessWord = ["ready", "not_ready"];
    /// Outcome of a check.
    CheckWord = ["ok", "failed"];
}

/// True if requests should be sent here.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// ready or not_ready.
    #[schema(value_type = ReadinessWord)]
    status: &'static str,
    checks: Checks,
}

/// Check: `ok` or `failed`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Checks {
    /// `ok` if the database accepts writes and every queue moves.
    #[schema(value_type = CheckWord)]
    database: &'static str,
    /// `ok` if every migration of this version is applied; `failed` also while the database does not answer.
    #[schema(value_type = CheckWord)]
    migrations: &'static str,
    /// `ok` if the storage of files answers, or none is configured.
    #[schema(value_type = CheckWord)]
    storage: &'static str,
}

pub fn doc() -> Doc {
    Doc::new("system", "Should requests be sent here?")
        .description("503 while the database does not take writes, writes or reads are stuck, a migration is missing, the storage of \
                      files does not answer, or the process is shutting down. Answers within 2 seconds.")
        .reply::<Readiness>(json!({"status": "ready", "checks": {"database": "ok", "migrations": "ok", "storage": "ok"}}))
        .unavailable("Requests should not be sent here.")
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    let storage = async {
        match &call.app.files {
            Some(files) => files.is_ready().await,
            None => !call.app.storage_is_broken,
        }
    };
    let (found, storage) = tokio::join!(call.app.readiness.ask(), storage);
    let (database, migrations) = (found.database, found.migrations);
    let ready = database && migrations && storage && call.app.is_serving();
    let word = |fine| if fine { "ok" } else { "failed" };
    let report = Readiness {
        status: if ready { "ready" } else { "not_ready" },
        checks: Checks { database: word(database), migrations: word(migrations), storage: word(storage) },
    };
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(Reply::json(&report)?.status(status))
}
