//! `POST /api/v1/users/{user_id}/credits/grants`: gives credits that are not bought (HTTP contract 6.5).

use credits::{Action, GrantKind, NewGrant, NewGrantKind, ReferenceScope};
use kernel::{Credits, FreeForm, fingerprint::v1};
use time::OffsetDateTime;

use super::order::{self, Order, SCOPES, is_global};
use crate::http::{
    fields::{input::word_of, time::instant},
    idempotency,
    prelude::*,
    routes::credits::bodies::{Grant, Transaction},
};

const KINDS: &[(&str, NewGrantKind)] =
    &[("promo", NewGrantKind::Promo), ("plan", NewGrantKind::Plan), ("purchase", NewGrantKind::Purchase)];

input! {
    /// Credits to give.
    pub keyed struct CreateGrant {
        /// Credits, above zero, at most 6 decimals.
        amount: Credits = required(Body, parse::credits_to_move()), example(100.0);
        /// user or global (with a reference): among whom the reference is unique. A global one is refused if a service or
        /// administrator credited another user with it before, in whichever scope.
        reference_scope: Option<ReferenceScope> = optional(Body, parse::one_of(SCOPES)), default("user"), hashed(reference_scope.map(word_of(SCOPES)));
        /// One grant per user and reference.
        reference_id: Option<String> = required_if(is_global(reference_scope), Body, parse::text(1, 255));
        /// 0 to 255; the lowest is spent first.
        priority: Option<u8> = optional(Body, parse::integer(0, 255)), default(100);
        /// Kind of the grant.
        kind: Option<NewGrantKind> = optional(Body, parse::one_of(KINDS)), default("promo"), hashed(kind.map(word_of(KINDS)));
        /// From when on it counts; now if absent. A date without a time is the first instant of that day in UTC.
        effective_at: Option<OffsetDateTime> = optional(Body, instant());
        /// End of its validity; none if absent. A date without a time is the first instant of that day in UTC, so the
        /// credits cannot be spent on that day: for a grant until the end of a day, give the day after.
        expires_at: Option<OffsetDateTime> = optional(Body, instant());
        /// Purpose.
        description: Option<String> = optional(Body, parse::text(0, 255));
        /// Anything to keep with it.
        metadata: Option<FreeForm> = optional(Body, parse::object());
    }
}

/// The grant, and the transaction that booked it.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedGrant {
    grant: Grant,
    /// Null while the grant is scheduled.
    transaction: Option<Transaction>,
}

/// The fingerprint as version 1 made it, for keys that it stored. Nothing of it may change.
fn as_version_1(input: &CreateGrant, asked: v1::Fingerprint) -> v1::Fingerprint {
    order::scoped(asked, input.reference_scope)
        .credits(Some(input.amount))
        .maybe(input.kind.map(|kind| GrantKind::from(kind).as_str()))
        .number(input.priority.map(i64::from))
        .instant(input.effective_at)
        .instant(input.expires_at)
        .maybe(input.reference_id.as_deref())
        .maybe(input.description.as_deref())
        .object(input.metadata.as_ref())
}

pub fn doc() -> Doc {
    Doc::new("credits", "Give credits")
        .idempotent()
        .body::<CreateGrant>(json!({"amount": 100.0, "kind": "promo", "description": "Welcome back"}))
        .reply_envelope::<CreatedGrant>(
            "Granted 100.0 credits successfully",
            json!({"grant": super::bodies::grant_example(), "transaction": super::bodies::transaction_example()}),
        )
        .errors(&[&catalogue::BALANCE_LIMIT_EXCEEDED, &catalogue::REFERENCE_CONFLICT])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let input = call.input::<CreateGrant>().await?;
    let scope = order::permitted(&call, input.reference_scope)?;
    let (input, key) = idempotency::key(&call, input, as_version_1).await?;
    let amount = input.amount;
    let plain = NewGrant::new(input.kind.unwrap_or(NewGrantKind::Promo), amount);
    let order = Order {
        action: Action::Grant(NewGrant {
            priority: input.priority.unwrap_or(plain.priority),
            effective_at: input.effective_at,
            expires_at: input.expires_at,
            reference_id: input.reference_id,
            scope,
            ..plain
        }),
        description: input.description,
        metadata: input.metadata.unwrap_or_default(),
        key,
    };
    let answer = order::run(&call, order).await?;
    let grant = answer.applied.grant.clone().ok_or_else(|| order::broken("a grant made no grant"))?;
    let data = CreatedGrant {
        grant: grant.into(),
        transaction: answer.applied.entry.clone().map(Transaction::from),
    };
    let message =
        Text::new(format!("Granted {amount} credits successfully"), format!("成功发放 {amount} 积分"));
    Ok(answer.with_replay_header(call.envelope_at(answer.at, &message, data)?))
}
