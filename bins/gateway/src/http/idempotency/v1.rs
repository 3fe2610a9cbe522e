//! Fingerprints as version 1 made them, for keys that it stored: every field in a fixed order, also those that are absent.
//!
//! Keys and their fingerprints are kept for good, so nothing here may change. New fields have no place here: a request that has
//! one is none that version 1 knew.

use credits::{GrantKind, HoldMode, ReferenceScope, TransactionName};
use kernel::fingerprint::v1::Fingerprint;
use uuid::Uuid;

use crate::http::routes::{
    credits::{
        capture::CaptureHold, consume::ConsumeCredits, create_grant::CreateGrant, create_hold::CreateHold,
        recharge::RechargeCredits, refund::RefundCharge,
    },
    usage::{correct::CorrectUsage, record::RecordUsage},
};

/// Spending credits.
pub fn consume(input: &ConsumeCredits, asked: Fingerprint) -> Fingerprint {
    asked
        .credits(Some(input.amount))
        .maybe(input.reason.as_deref())
        .maybe(input.description.as_deref())
        .number(input.usage_record_id)
        .maybe(input.endpoint.as_deref())
        .object(input.metadata.as_ref())
}

/// Holding credits.
pub fn create_hold(input: &CreateHold, asked: Fingerprint) -> Fingerprint {
    asked
        .credits(Some(input.amount))
        .maybe(input.mode.map(HoldMode::as_str))
        .number(input.ttl_seconds)
        .maybe(input.description.as_deref())
        .object(input.metadata.as_ref())
}

/// Capturing a hold.
pub fn capture(hold_id: Uuid, input: &CaptureHold, asked: Fingerprint) -> Fingerprint {
    asked
        .id(hold_id)
        .credits(input.amount)
        .maybe(input.description.as_deref())
        .number(input.usage_record_id)
        .object(input.metadata.as_ref())
}

/// Releasing a hold.
pub fn release(hold_id: Uuid, asked: Fingerprint) -> Fingerprint {
    asked.id(hold_id)
}

/// Giving credits.
pub fn create_grant(input: &CreateGrant, asked: Fingerprint) -> Fingerprint {
    scoped(asked, input.reference_scope)
        .credits(Some(input.amount))
        .maybe(input.kind.map(|kind| GrantKind::from(kind).as_str()))
        .number(input.priority.map(i64::from))
        .instant(input.effective_at)
        .instant(input.expires_at)
        .maybe(input.reference_id.as_deref())
        .maybe(input.description.as_deref())
        .object(input.metadata.as_ref())
}

/// Adding purchased credits.
pub fn recharge(input: &RechargeCredits, asked: Fingerprint) -> Fingerprint {
    scoped(asked, input.reference_scope)
        .credits(Some(input.amount))
        .maybe(input.description.as_deref())
        .maybe(input.reference_id.as_deref())
        .object(input.metadata.as_ref())
}

fn scoped(asked: Fingerprint, scope: Option<ReferenceScope>) -> Fingerprint {
    match scope.unwrap_or_default() {
        ReferenceScope::User => asked,
        ReferenceScope::Global => asked.word("global"),
    }
}

/// Giving a charge back.
pub fn refund(input: &RefundCharge, asked: Fingerprint) -> Fingerprint {
    let named = match input.transaction_id {
        TransactionName::Id(id) => asked.word("id").number(Some(id)),
        TransactionName::Transaction(id) => asked.word("transaction_id").id(id),
    };
    named.credits(input.amount).word(&input.reason)
}

/// Recording a use, alone, in a batch or as a replacement.
pub fn record(input: &RecordUsage, asked: Fingerprint) -> Fingerprint {
    asked
        .word(if input.charge == Some(true) { "charge" } else { "record" })
        .maybe(input.hold_id.as_deref())
        .maybe(input.event_id.as_deref())
        .instant(input.occurred_at)
        .maybe(input.endpoint.as_deref())
        .word(&input.event_type)
        .maybe(input.session_id.as_deref())
        .maybe(input.trace_id.as_deref())
        .maybe(input.model_name.as_deref())
        .maybe(input.provider.as_deref())
        .maybe(input.tool_name.as_deref())
        .maybe(input.operation_name.as_deref())
        .maybe(input.calculation_method.as_deref())
        .credits(input.credits_charged)
        .number(input.cost_usd.map(kernel::Usd::nano))
        .number(input.tokens_used)
        .number(input.prompt_tokens)
        .number(input.completion_tokens)
        .number(input.cached_prompt_tokens)
        .object(input.billing_metadata.as_ref())
        .object(input.request_data.as_ref())
        .object(input.response_data.as_ref())
}

/// Taking a usage record back.
pub fn correct(record_id: i64, input: &CorrectUsage, asked: Fingerprint) -> Fingerprint {
    let asked = asked.number(Some(record_id)).word(&input.reason);
    match &input.replacement {
        Some(replacement) => record(replacement, asked.word("replacement")),
        None => asked,
    }
}
