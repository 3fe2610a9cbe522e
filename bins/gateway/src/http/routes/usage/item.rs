//! A usage record as a caller describes it, alone or in a batch (HTTP contract 4.1).

use credits::Payer;
use flows::{MeterRefusal, Meterage, Metered};
use kernel::{CallerClass, Detail, IdempotencyKey, Principal, UserId};
use time::OffsetDateTime;
use usage::UsageInput;
use uuid::Uuid;

use super::record::RecordUsage;
use crate::http::{catalogue, error::ApiError};

/// The record as it is wanted for a user. What is not a UUID is an unknown hold.
///
/// # Errors
/// 404 `HoldNotFoundException`.
pub fn metered(
    record: RecordUsage,
    user_id: UserId,
    principal: &Principal,
    transaction_id: Uuid,
    idempotency: Option<IdempotencyKey>,
) -> Result<Metered, ApiError> {
    let from = match (record.charge, &record.hold_id) {
        (None | Some(false), _) => None,
        (Some(true), None) => Some(Payer::Available),
        (Some(true), Some(text)) => Some(Payer::Hold(Uuid::try_parse(text).map_err(|_| {
            ApiError::new(&catalogue::HOLD_NOT_FOUND).detail("hold_id", Detail::Text(text.clone()))
        })?)),
    };
    let caller = principal.class_for(&user_id);
    let input = input(record, user_id, caller);
    Ok(Metered { input, from, actor: principal.actor(), transaction_id, idempotency })
}

/// The usage input of a user, recorded by a caller of this class.
pub fn input(record: RecordUsage, user_id: UserId, recorded_by: CallerClass) -> UsageInput {
    UsageInput {
        user_id,
        recorded_by,
        endpoint: record.endpoint,
        event_type: record.event_type,
        event_id: record.event_id,
        occurred_at: record.occurred_at,
        session_id: record.session_id,
        trace_id: record.trace_id,
        model_name: record.model_name,
        provider: record.provider,
        tool_name: record.tool_name,
        operation_name: record.operation_name,
        calculation_method: record.calculation_method,
        tokens_used: record.tokens_used,
        prompt_tokens: record.prompt_tokens,
        completion_tokens: record.completion_tokens,
        cached_prompt_tokens: record.cached_prompt_tokens,
        billing_metadata: record.billing_metadata,
        request_data: record.request_data,
        response_data: record.response_data,
        credits_charged: record.credits_charged,
        cost_usd: record.cost_usd,
    }
}

/// The error of a refusal that was decided at an instant.
pub fn refused(refusal: &MeterRefusal, at: OffsetDateTime) -> ApiError {
    ApiError::from_failure(refusal.failure()).at(at)
}

/// What became of a record, for its caller. Counts it.
///
/// # Errors
/// The refusal, with the instant it was decided at.
pub fn recorded(
    app: &crate::app::App,
    meterage: Meterage,
) -> Result<(flows::Recorded, OffsetDateTime), ApiError> {
    app.moved.count_metered(&meterage);
    match meterage.result {
        Ok(recorded) => Ok((recorded, meterage.at)),
        Err(refusal) => Err(refused(&refusal, meterage.at)),
    }
}
