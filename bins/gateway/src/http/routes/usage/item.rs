//! A usage record as a caller describes it, alone or in a batch (HTTP contract 4.1).

use credits::Payer;
use flows::{MeterRefusal, UsageCommand, UsageOutcome};
use kernel::{
    CallerClass, Credits, Detail, FreeForm, IdempotencyKey, Principal, Usd, UserId, fingerprint::v1,
};
use time::OffsetDateTime;
use usage::UsageInput;
use uuid::Uuid;
use web::input;

use crate::http::{
    catalogue,
    error::{ApiError, Errors as _},
    fault::Problem,
    fields::time::instant,
    parse,
};

/// Place of a usage record in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordPlace {
    /// It is the body.
    Body,
    /// It is an item of a batch.
    Item,
    /// It replaces another one.
    Replacement,
}

input! {
    /// Usage of a call.
    pub keyed struct RecordUsage for place: RecordPlace {
        /// User of the record. If the path names a user, it must be that one.
        user_id: Option<UserId> =
            required_if(*place == RecordPlace::Item, Body, parse::user_id()), unhashed();
        /// Endpoint.
        endpoint: Option<String> =
            required_if(*place == RecordPlace::Body, Body, parse::text(1, 255)), example("/api/chat/completion");
        /// Event type.
        event_type: String = required(Body, parse::text(1, 255)), example("ai_chat");
        /// Deducts `credits_charged` in the same commit. Refused, nothing is recorded either.
        charge: Option<bool> = optional(Body, parse::boolean()), default(false);
        /// The hold that pays, with `charge`; what it does not cover comes from what is available. Users name only holds of users.
        /// A hold cannot pay for a replacement.
        hold_id: Option<String> =
            optional(Body, parse::text(1, 255)), example("0b6f2a9e-5a3e-4f57-9f0e-6a4c1f8f6f10"), check(|fields| {
            // A hold that is named and not settled would be held for nothing.
            if hold_id.is_some() && charge != Some(true) {
                fields.fault("body", "hold_id", Problem::value("a hold pays only with charge true"));
            }
            if hold_id.is_some() && *place == RecordPlace::Replacement {
                fields.fault("body", "hold_id", Problem::value("a hold cannot pay for a replacement"));
            }
        });
        /// The caller's id of the event, unique for the user and the class of the caller (user; service and administrator): it is
        /// recorded and charged once.
        event_id: Option<String> = optional(Body, parse::text(1, 255));
        /// Time of the use, from 35 days past to 5 minutes ahead; now if absent. A date without a time is the first instant of that
        /// day in UTC.
        occurred_at: Option<OffsetDateTime> = optional(Body, instant());
        /// Session, as the caller names it; not checked to exist.
        session_id: Option<String> = optional(Body, parse::text(0, 255));
        /// Trace, as the caller names it.
        trace_id: Option<String> = optional(Body, parse::text(0, 255));
        /// Model.
        model_name: Option<String> = optional(Body, parse::text(0, 255));
        /// Provider of the model.
        provider: Option<String> = optional(Body, parse::text(0, 255));
        /// Tool.
        tool_name: Option<String> = optional(Body, parse::text(0, 255));
        /// Operation of the tool.
        operation_name: Option<String> = optional(Body, parse::text(0, 255));
        /// Method of the charge; if absent `price_list`, `unrated` or `unknown`.
        calculation_method: Option<String> = optional(Body, parse::text(0, 255));
        /// Tokens in all; prompt and completion together if absent.
        tokens_used: Option<i64> = optional(Body, parse::tokens());
        /// Tokens of the prompt.
        prompt_tokens: Option<i64> = optional(Body, parse::tokens());
        /// Tokens of the completion.
        completion_tokens: Option<i64> = optional(Body, parse::tokens());
        /// Part of the prompt's tokens that the provider had in its cache.
        cached_prompt_tokens: Option<i64> = optional(Body, parse::tokens()), check(|fields| {
            if cached_prompt_tokens.unwrap_or(0) > prompt_tokens.unwrap_or(0) {
                let problem = Problem::value("cached_prompt_tokens are a part of prompt_tokens");
                fields.fault("body", "cached_prompt_tokens", problem);
            }
        });
        /// Anything to keep about billing.
        billing_metadata: Option<FreeForm> = optional(Body, parse::object());
        /// Anything to keep of the request.
        request_data: Option<FreeForm> = optional(Body, parse::object());
        /// Anything to keep of the response.
        response_data: Option<FreeForm> = optional(Body, parse::object());
        /// Value in credits, zero or more; if absent, by the price of the model, or zero without a price.
        credits_charged: Option<Credits> = optional(Body, parse::credits_to_note());
        /// Cost in US dollars, zero or more, at most 9 decimals; if absent, by the price of the model.
        cost_usd: Option<Usd> = optional(Body, parse::usd_to_note());
    }
}

/// The fingerprint as version 1 made it, for keys that it stored. Nothing of it may change.
pub fn as_version_1(input: &RecordUsage, asked: v1::Fingerprint) -> v1::Fingerprint {
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
        .number(input.cost_usd.map(Usd::nano))
        .number(input.tokens_used)
        .number(input.prompt_tokens)
        .number(input.completion_tokens)
        .number(input.cached_prompt_tokens)
        .object(input.billing_metadata.as_ref())
        .object(input.request_data.as_ref())
        .object(input.response_data.as_ref())
}

/// The record as it is wanted for a user. What is not a UUID is an unknown hold.
///
/// # Errors
/// 404 `HoldNotFoundException`.
pub fn metered(
    record: RecordUsage,
    user_id: UserId,
    principal: &Principal,
    nonce: Uuid,
    idempotency: Option<IdempotencyKey>,
) -> Result<UsageCommand, ApiError> {
    let from = match (record.charge, &record.hold_id) {
        (None | Some(false), _) => None,
        (Some(true), None) => Some(Payer::Available),
        (Some(true), Some(text)) => Some(Payer::Hold(Uuid::try_parse(text).map_err(|_| {
            ApiError::new(&catalogue::HOLD_NOT_FOUND).detail("hold_id", Detail::Text(text.clone()))
        })?)),
    };
    let caller = principal.class_for(&user_id);
    let input = input(record, user_id, caller);
    Ok(UsageCommand { input, from, actor: principal.actor(), nonce, idempotency })
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

/// Outcome of a record, for its caller. Counts it.
///
/// # Errors
/// The refusal, with the instant it was decided at.
pub fn recorded(
    app: &crate::app::App,
    outcome: UsageOutcome,
) -> Result<(flows::Recorded, OffsetDateTime), ApiError> {
    app.moved.count_metered(&outcome);
    match outcome.result {
        Ok(recorded) => Ok((recorded, outcome.at)),
        Err(refusal) => Err(refused(&refusal, outcome.at)),
    }
}
