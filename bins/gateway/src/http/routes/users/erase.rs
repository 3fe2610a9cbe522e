//! `DELETE /api/v1/users/{user_id}`: erases a user (HTTP contract 3.4).

use flows::erasure::{self, Erasure};
use identity::audit::AuditActor;
use kernel::UserId;

use crate::http::{prelude::*, wire::Timestamp};

/// Erased user.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErasedUser {
    #[schema(value_type = String)]
    user_id: UserId,
    erased: bool,
    erased_at: Timestamp,
}

pub fn doc() -> Doc {
    Doc::new("users", "Erase a user")
        .description(
            "Profile, identities, credentials, logins, sessions and messages are deleted. Usage records stay without \
             `session_id`, `trace_id`, `event_id` and free objects; ledger entries, grants and holds stay without description and \
             metadata, under an id that leads to nobody. Open holds are released, and what is left of the credit is written off. \
             From the first commit on there is no such user; the answer comes when nothing is left. For a very large account that \
             may take longer than a request may (503): then the service goes on by itself, and a repeat waits for it. A user who \
             comes back with the same id continues the account at balance 0, without an initial grant.",
        )
        .reply_envelope::<ErasedUser>(
            "User erased",
            json!({"user_id": "auth0|test123", "erased": true, "erased_at": "2025-07-27T00:32:57.736450Z"}),
        )
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    let (user_id, actor) = {
        let target = call.target().cloned().ok_or_else(|| ApiError::new(&catalogue::INTERNAL))?;
        // The user may be gone already, while what is left of them is still being removed.
        if call.caller().facts.missing.as_ref().is_some_and(|missing| *missing != target) {
            call.known()?;
        }
        (target, AuditActor::from(call.principal()?))
    };
    let app = &call.app;
    let erasure = Erasure { user_id: user_id.clone(), actor, request_id: call.request_id() };
    let erased = erasure::run(&app.pool, &*app.clock, &*app.ids, app.sealer.as_deref(), &erasure).await;
    let erased_at = erased.map_err(ApiError::answered)?.ok_or_else(|| ApiError::user_not_found(&user_id))?;
    let message = Text::new("User erased", "用户数据已删除");
    call.envelope(&message, ErasedUser { user_id, erased: true, erased_at: Timestamp(erased_at) })
}
