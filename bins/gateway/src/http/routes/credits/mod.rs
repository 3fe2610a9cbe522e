//! Routes of the group `credits`.

pub mod balance;
pub mod consume;
pub mod recharge;
pub mod transactions;

use ::credits::{Applied, Balance, Command, Entry};
use serde_json::{Value, json};

use crate::http::{call::Call, catalogue, error::ApiError};

/// Runs a command; a refusal becomes its documented error.
async fn apply(call: &Call, command: Command) -> Result<Applied, ApiError> {
    let result = call.app.writes.ledger(command).await?;
    result.map_err(|refusal| {
        metrics::counter!("credits_refused_total").increment(1);
        ApiError::from_failure(&refusal)
    })
}

/// Runs a command that always makes an entry.
async fn run(call: &Call, command: Command) -> Result<(Entry, Balance), ApiError> {
    let applied = apply(call, command).await?;
    Ok((applied.entry.ok_or_else(no_entry)?, applied.balance))
}

fn no_entry() -> ApiError {
    tracing::error!("a command of the ledger made no entry");
    ApiError::new(&catalogue::INTERNAL)
}

fn transaction_example() -> Value {
    json!({
        "id": 456, "transaction_id": "txn_0190a6c8-1c2b-7def-8abc-0123456789ab", "user_id": "auth0|test123",
        "transaction_type": "consume", "direction": "debit", "amount": 25.5, "credits_amount": 25.5,
        "balance_before": 1000.0, "credits_before": 1000.0, "balance_after": 974.5, "credits_after": 974.5,
        "usage_record_id": null, "reference_id": null, "hold_id": null, "description": "chat completion",
        "metadata": {}, "created_at": "2025-07-28T00:35:31.550198Z", "updated_at": "2025-07-28T00:35:31.550198Z",
    })
}
