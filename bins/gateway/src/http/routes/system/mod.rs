//! Routes of the group `system`.

pub mod docs;
pub mod health;
pub mod livez;
pub mod metrics;
pub mod openapi;
pub mod readyz;
pub mod root;

use std::time::Duration;

use crate::app::App;

/// How long a probe waits for the database before it counts as down.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether the database answers now.
async fn database_answers(app: &App) -> bool {
    match tokio::time::timeout(PROBE_TIMEOUT, app.probes.ask()).await {
        Ok(Ok(())) => true,
        Ok(Err(rejected)) => {
            tracing::warn!(error = %rejected, "the database does not answer");
            false
        }
        Err(_elapsed) => {
            tracing::warn!("the database does not answer in time");
            false
        }
    }
}
