//! `POST /api/v1/users/{user_id}/usage`: records what a call used, and deducts what it costs if that is wanted (HTTP
//! contract 4.1).

use flows::Replay;
use kernel::{Credits, FreeForm, Usd, UserId};
use time::OffsetDateTime;

use super::item::{self, recorded};
use crate::http::{
    call::barred,
    fault::Problem,
    fields::{input::Input, time::instant},
    idempotency::{self, v1},
    prelude::*,
    routes::usage::record_body::UsageBody,
    wire::{SuccessWord, Timestamp},
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
    /// What a call used.
    pub keyed struct RecordUsage for place: RecordPlace {
        /// User of the record. If the path names a user, it must be that one.
        user_id: Option<UserId> =
            required_if(*place == RecordPlace::Item, Body, parse::user_id()), unhashed();
        /// What was called.
        endpoint: Option<String> =
            required_if(*place == RecordPlace::Body, Body, parse::text(1, 255)), example("/api/chat/completion");
        /// What kind of use it was.
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
        /// How the charge was found; if absent `price_list`, `unrated` or `unknown`.
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
        /// What the use is worth in credits, zero or more; if absent, what the price of the model says, or zero without a price.
        credits_charged: Option<Credits> = optional(Body, parse::credits_to_note());
        /// What it cost in US dollars, zero or more, at most 9 decimals; if absent, what the price of the model says.
        cost_usd: Option<Usd> = optional(Body, parse::usd_to_note());
    }
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordedUsage {
    /// Always true.
    success: bool,
    /// Always `success`.
    #[schema(value_type = SuccessWord)]
    status: &'static str,
    /// A sentence in the caller's language.
    message: String,
    /// When it was recorded.
    timestamp: Timestamp,
    /// The record; the first one, if the event was known.
    data: UsageBody,
    /// The balance behind it; with `charge` only.
    #[schema(value_type = Option<f64>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining_credits: Option<Credits>,
    /// True if the event was recorded before; nothing was done then.
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed: Option<bool>,
}

/// The route.
#[must_use]
pub fn route() -> Route {
    Route {
        method: Method::POST,
        path: "/api/v1/users/{user_id}/usage",
        access: Access::Metering,
        body: BodyRule::Json,
        origin: Origin::Documented,
        operation: "record_usage",
        doc,
        handler: |call| Box::pin(handle(call)),
    }
}

fn doc() -> Doc {
    Doc::new("usage", "Record usage")
        .idempotent()
        .description(
            "Records only, unless `charge` is true: then record and deduction are one commit, and a refused charge \
             records nothing. Without `credits_charged` the price of the model decides what it is worth.",
        )
        .body_for::<RecordUsage>(&RecordPlace::Body, true, json!({
            "session_id": "sess_abc123def456", "trace_id": "trace_xyz789abc", "endpoint": "/api/chat/completion",
            "event_type": "ai_chat", "credits_charged": 5.5, "cost_usd": 0.011,
            "calculation_method": "gpt4_pricing", "tokens_used": 1250, "prompt_tokens": 800,
            "completion_tokens": 450, "model_name": "gpt-4", "provider": "openai", "tool_name": "chat_service",
            "operation_name": "generate_response", "billing_metadata": {"billing_tier": "pro"},
            "request_data": {"temperature": 0.7}, "response_data": {"finish_reason": "stop"},
        }))
        .reply::<RecordedUsage>(json!({
            "success": true, "status": "success", "message": "Usage recorded successfully",
            "timestamp": "2025-07-25T01:15:30.123000Z", "data": super::record_example(),
        }))
        .errors(&[
            &catalogue::USER_ID_MISMATCH,
            &catalogue::INSUFFICIENT_CREDITS,
            &catalogue::BUDGET_EXCEEDED,
            &catalogue::HOLD_NOT_FOUND,
            &catalogue::HOLD_NOT_OPEN,
            &catalogue::USAGE_CONFLICT,
            &catalogue::PRICE_NOT_FOUND,
        ])
}

async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let input = call.input_with(|fields| RecordUsage::read(fields, &RecordPlace::Body)).await?;
    call.agree_on_user(input.user_id.as_ref())?;
    let (input, key) = idempotency::key(&call, input, v1::record).await?;
    let (user_id, check) = call.user_unchecked()?;
    let metered = item::metered(input, user_id.clone(), call.principal()?, call.app.ids.uuid(), key.clone())?;
    let done = call.app.writes.usage(metered, check).await;
    let done = done.map_err(|rejected| ApiError::of_rejected(rejected, key.as_ref()))?;
    let meterage = done.map_err(|why| barred(why, &user_id))?;
    let is_repeat = meterage.replay == Replay::ByKey;
    let (recorded, at) =
        recorded(&call.app, meterage).map_err(|error| error.with_replay_header(is_repeat))?;
    let message = Text::new("Usage recorded successfully", "使用记录成功");
    let reply = Reply::json(&RecordedUsage {
        success: true,
        status: "success",
        message: message.in_language(call.language).to_owned(),
        timestamp: Timestamp(at),
        data: recorded.record.into(),
        remaining_credits: recorded.balance.map(|balance| balance.posted),
        replayed: (recorded.replay == usage::Replay::ByEvent).then_some(true),
    })?;
    Ok(reply.with_replay_header(is_repeat))
}
