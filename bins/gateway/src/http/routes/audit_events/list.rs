//! `GET /api/v1/audit-events`: who did what, newest first (HTTP contract 3.6).

use identity::audit::{self, Action, AuditFilter, StoredAuditEvent};
use kernel::{FreeForm, UserId};

use crate::http::{
    fields::dates::{Dates, Days, End},
    prelude::*,
    wire::Timestamp,
};

const LIMIT: i64 = 50;

input! {
    /// Filter of the events.
    pub struct AuditEventsInput {
        /// Only those of this actor: `user:<id>`, `admin:<id>`, `key:<key_id>`, `bootstrap`, `system` or `anonymous`.
        actor: Option<String> = optional(Query, parse::text(1, 300)), example("admin:auth0|test123");
        /// Only those about this user.
        user_id: Option<UserId> = optional(Query, parse::user_id()), example("auth0|test123");
        /// Only those of this action.
        action: Option<Action> = optional(Query, parse::one_of(Action::ALL)), example("api_key.created");
        /// When.
        dates: Dates = flat(Dates, &Days::default());
    }
}

/// An event of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEventBody {
    id: i64,
    at: Timestamp,
    /// `user:<id>`, `admin:<id>`, `key:<key_id>`, `bootstrap`, `system` or `anonymous`.
    actor: String,
    action: String,
    /// The user acted upon.
    #[schema(value_type = Option<String>)]
    user_id: Option<UserId>,
    /// Address of the client; null for commands, and after the user was erased.
    address: Option<String>,
    /// `X-Request-Id`; null for commands and jobs.
    request_id: Option<String>,
    /// Plain values about the change.
    #[schema(value_type = Object)]
    details: FreeForm,
}

impl From<StoredAuditEvent> for AuditEventBody {
    fn from(event: StoredAuditEvent) -> Self {
        Self {
            id: event.id,
            at: Timestamp(event.at),
            actor: event.actor,
            action: event.action,
            user_id: event.user_id,
            address: event.address,
            request_id: event.request_id,
            details: event.details,
        }
    }
}

pub fn doc() -> Doc {
    Doc::new("administration", "Audit log")
        .description(
            "Newest first. An event is stored in the commit of the change that it reports, is never changed, and is kept \
             `AUDIT_RETENTION_DAYS`.",
        )
        .query::<AuditEventsInput>()
        .paged(LIMIT)
        .reply_list::<AuditEventBody>(
            "Retrieved 1 audit events",
            json!({
                "id": 7, "at": "2025-07-28T00:35:31.550198Z", "actor": "admin:auth0|test123",
                "action": "credits.granted", "user_id": "auth0|test456", "address": "203.0.113.7",
                "request_id": "0190a6c8-1c2b-7def-8abc-0123456789ab",
                "details": {"transaction_id": "txn_0190a6c8-1c2b-7def-8abc-0123456789ab", "amount": 100.0},
            }),
        )
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let scope = call.list_scope();
    let (input, page) = call.fields.list::<AuditEventsInput, _>(LIMIT, &scope)?;
    call.known()?;
    let filter = AuditFilter {
        actor: input.actor,
        user_id: input.user_id,
        action: input.action,
        from: input.dates.start,
        to: input.dates.end.map(End::last),
    };
    let slice = call.read(async |conn| audit::list(conn, &filter, &page).await).await?;
    call.list_reply(&scope, slice, AuditEventBody::from, ("audit events", "审计事件"))
}
