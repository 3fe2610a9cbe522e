//! `POST /api/v1/users/{user_id}/usage`: records what a call used, and deducts what it costs if that is wanted (HTTP
//! contract 4.1).

use flows::Replay;
use kernel::Credits;

use super::item::{self, RecordPlace, RecordUsage, recorded};
use crate::http::{
    call::rejected_caller,
    fields::input::Input,
    idempotency,
    prelude::*,
    routes::usage::record_body::UsageBody,
    wire::{SuccessWord, Timestamp},
};

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
    /// Time of recording.
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

pub fn doc() -> Doc {
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
            "timestamp": "2025-07-25T01:15:30.123000Z", "data": super::record_body::record_example(),
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

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let input = call.input_with(|fields| RecordUsage::read(fields, &RecordPlace::Body)).await?;
    call.agree_on_user(input.user_id.as_ref())?;
    let (input, key) = idempotency::key(&call, input, item::as_version_1).await?;
    let (user_id, check) = call.user_unchecked()?;
    let metered = item::metered(input, user_id.clone(), call.principal()?, call.app.ids.uuid(), key.clone())?;
    let done = call.app.writes.usage(metered, check).await;
    let done = done.map_err(|rejected| ApiError::of_rejected(rejected, key.as_ref()))?;
    let outcome = done.map_err(|why| rejected_caller(why, &user_id))?;
    let is_repeat = outcome.replay == Replay::ByKey;
    let (recorded, at) = recorded(&call.app, outcome).map_err(|error| error.with_replay_header(is_repeat))?;
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
