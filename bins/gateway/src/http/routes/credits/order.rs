//! Commands of the routes to the ledger.

use credits::{Action, Applied, Command, Entry, ReferenceScope, Refusal};
use flows::{CommandRefusal, Replay};
use kernel::{FreeForm, IdempotencyKey, UserId, fingerprint::v1};
use time::OffsetDateTime;

use crate::http::{call::rejected_caller, prelude::*, routes::credits::bodies::Hold};

/// Order of a route to the ledger.
pub struct Order {
    pub action: Action,
    pub description: Option<String>,
    pub metadata: FreeForm,
    pub key: Option<IdempotencyKey>,
}

/// Its outcome: the instant, and whether it had been answered before.
pub struct Answer {
    pub user_id: UserId,
    pub applied: Applied,
    pub at: OffsetDateTime,
    pub replay: Replay,
}

impl Answer {
    /// The entry of a command that always makes one.
    pub fn entry(&self) -> Result<Entry, ApiError> {
        self.applied.entry.clone().ok_or_else(|| broken("a command of the ledger made no entry"))
    }

    /// The hold of a command that always makes or resolves one.
    pub fn hold(&self) -> Result<Hold, ApiError> {
        let hold = self.applied.hold.clone().map(|hold| Hold::new(self.user_id.clone(), hold));
        hold.ok_or_else(|| broken("a command of the ledger had no hold"))
    }

    /// Marks an answer that was given before.
    pub fn with_replay_header(&self, reply: Reply) -> Reply {
        reply.with_replay_header(self.replay == Replay::ByKey)
    }
}

/// Runs a command for the user of the call; a refusal becomes its documented error.
pub async fn run(call: &Call, order: Order) -> Result<Answer, ApiError> {
    let (user_id, check) = call.user_unchecked()?;
    let is_audited =
        matches!(order.action, Action::Recharge { .. } | Action::Grant(_) | Action::Refund { .. });
    let audited = is_audited.then(|| call.audited());
    let command = Command {
        user_id: user_id.clone(),
        actor: call.principal()?.actor(),
        caller: call.principal()?.class_for(&user_id),
        nonce: call.app.ids.uuid(),
        description: order.description,
        metadata: order.metadata,
        action: order.action,
    };
    let done = call.app.writes.audited_ledger(command, order.key.clone(), check, audited).await;
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

/// Name of the scope of a reference in requests.
pub const SCOPES: &[(&str, ReferenceScope)] =
    &[("user", ReferenceScope::User), ("global", ReferenceScope::Global)];

/// The scope of a reference in fingerprints of version 1.
pub fn scoped(asked: v1::Fingerprint, scope: Option<ReferenceScope>) -> v1::Fingerprint {
    match scope.unwrap_or_default() {
        ReferenceScope::User => asked,
        ReferenceScope::Global => asked.word("global"),
    }
}

/// Returns whether a reference is required: one that is unique among all users.
pub fn is_global(scope: Option<ReferenceScope>) -> bool {
    scope == Some(ReferenceScope::Global)
}

/// The scope of a reference: only services and administrators name that of all users, or a user could claim the reference
/// of somebody else's payment.
pub fn permitted(call: &Call, scope: Option<ReferenceScope>) -> Result<ReferenceScope, ApiError> {
    let scope = scope.unwrap_or_default();
    if scope == ReferenceScope::Global && !call.principal()?.is_staff() {
        return Err(ApiError::new(&catalogue::PERMISSION_DENIED));
    }
    Ok(scope)
}

pub fn broken(what: &'static str) -> ApiError {
    tracing::error!("{what}");
    ApiError::new(&catalogue::INTERNAL)
}
