//! Routes of the group `credits`.

pub mod account;
pub mod balance;
pub mod bodies;
pub mod budgets;
pub mod capture;
pub mod consume;
pub mod create_grant;
pub mod create_hold;
pub mod grants;
pub mod holds;
pub mod recharge;
pub mod refund;
pub mod release;
pub mod set_budgets;
pub mod transactions;

use ::credits::{Action, Applied, Command, Entry, ReferenceScope, Refusal};
use flows::{CommandRefusal, Replay};
use kernel::{Detail, FreeForm, IdempotencyKey, UserId, fingerprint::v1};
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::http::{
    call::{path_parameter, rejected_caller},
    prelude::*,
    routes::credits::bodies::Hold,
};

/// What a route asks of the ledger.
struct Order {
    action: Action,
    description: Option<String>,
    metadata: FreeForm,
    key: Option<IdempotencyKey>,
}

/// What became of it: the instant, and whether it had been answered before.
struct Answer {
    user_id: UserId,
    applied: Applied,
    at: OffsetDateTime,
    replay: Replay,
}

impl Answer {
    /// The entry of a command that always makes one.
    fn entry(&self) -> Result<Entry, ApiError> {
        self.applied.entry.clone().ok_or_else(|| broken("a command of the ledger made no entry"))
    }

    /// The hold of a command that always makes or resolves one.
    fn hold(&self) -> Result<Hold, ApiError> {
        let hold = self.applied.hold.clone().map(|hold| Hold::new(self.user_id.clone(), hold));
        hold.ok_or_else(|| broken("a command of the ledger had no hold"))
    }

    /// Marks an answer that was given before.
    fn with_replay_header(&self, reply: Reply) -> Reply {
        reply.with_replay_header(self.replay == Replay::ByKey)
    }
}

/// Runs a command for the user of the call; a refusal becomes its documented error.
async fn run(call: &Call, order: Order) -> Result<Answer, ApiError> {
    let (user_id, check) = call.user_unchecked()?;
    let command = Command {
        user_id: user_id.clone(),
        actor: call.principal()?.actor(),
        caller: call.principal()?.class_for(&user_id),
        transaction_id: call.app.ids.uuid(),
        description: order.description,
        metadata: order.metadata,
        action: order.action,
    };
    let done = call.app.writes.ledger(command, order.key.clone(), check).await;
    let done = done.map_err(|rejected| ApiError::of_rejected(rejected, order.key.as_ref()))?;
    let outcome = done.map_err(|why| rejected_caller(why, &user_id))?;
    call.app.moved.count(&outcome);
    match outcome.result {
        Ok(applied) => Ok(Answer { user_id, applied, at: outcome.at, replay: outcome.replay }),
        Err(refusal) => {
            let error = refused(&refusal).at(outcome.at);
            Err(error.with_replay_header(outcome.replay == Replay::ByKey))
        }
    }
}

fn refused(refusal: &CommandRefusal) -> ApiError {
    let error = ApiError::from_failure(refusal.failure());
    match refusal {
        CommandRefusal::Ledger(Refusal::ReferenceTaken) => error
            .text(Text::new("reference_id was used before for another user", "reference_id 已用于其他用户")),
        _ => error,
    }
}

/// What a request calls the scope of a reference.
const SCOPES: &[(&str, ReferenceScope)] =
    &[("user", ReferenceScope::User), ("global", ReferenceScope::Global)];

/// The scope of a reference in fingerprints of version 1.
fn scoped(asked: v1::Fingerprint, scope: Option<ReferenceScope>) -> v1::Fingerprint {
    match scope.unwrap_or_default() {
        ReferenceScope::User => asked,
        ReferenceScope::Global => asked.word("global"),
    }
}

/// Returns whether a reference is required: one that is unique among all users.
fn is_global(scope: Option<ReferenceScope>) -> bool {
    scope == Some(ReferenceScope::Global)
}

/// The scope of a reference: only services and administrators name that of all users, or a user could claim the reference
/// of somebody else's payment.
fn permitted(call: &Call, scope: Option<ReferenceScope>) -> Result<ReferenceScope, ApiError> {
    let scope = scope.unwrap_or_default();
    if scope == ReferenceScope::Global && !call.principal()?.is_staff() {
        return Err(ApiError::new(&catalogue::PERMISSION_DENIED));
    }
    Ok(scope)
}

fn broken(what: &'static str) -> ApiError {
    tracing::error!("{what}");
    ApiError::new(&catalogue::INTERNAL)
}

/// The hold of the path. What is not a UUID is an unknown hold.
fn hold_id(call: &Call) -> Result<Uuid, ApiError> {
    let text = path_parameter(&call.request, "hold_id");
    Uuid::try_parse(&text)
        .map_err(|_| ApiError::new(&catalogue::HOLD_NOT_FOUND).detail("hold_id", Detail::Text(text)))
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

fn grant_example() -> Value {
    json!({
        "grant_id": 1, "kind": "initial", "amount": 1000.0, "remaining": 974.5, "held": 0.0, "priority": 100,
        "effective_at": "2025-07-27T00:11:26.479685Z", "expires_at": null, "status": "open",
        "description": "Initial credits", "transaction_id": "txn_0190a6c8-1c2b-7def-8abc-0123456789ab",
        "created_at": "2025-07-27T00:11:26.479685Z",
    })
}

fn hold_example() -> Value {
    json!({
        "hold_id": "0b6f2a9e-5a3e-4f57-9f0e-6a4c1f8f6f10", "user_id": "auth0|test123", "made_by": "service",
        "amount": 70.0, "captured": 0.0, "released": 0.0, "uncollected": 0.0, "status": "open",
        "expires_at": "2025-07-28T00:50:31.550198Z", "description": null, "metadata": {},
        "created_at": "2025-07-28T00:35:31.550198Z", "resolved_at": null,
    })
}
