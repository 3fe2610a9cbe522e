//! `POST /api/v1/users/{user_id}/usage`: records what a call used, and deducts what it costs if that is wanted (HTTP
//! contract 4.1).

use actix_web::http::Method;
use credits::Replay;
use kernel::{Credits, FreeForm, Usd, UserId};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::item::{Form, Item, recorded};
use crate::http::{
    call::{Call, barred},
    catalogue,
    doc::Doc,
    error::ApiError,
    idempotency::{self, IDEMPOTENCY_REPLAYED},
    language::Text,
    reply::Reply,
    route::{Access, BodyRule, Origin, Route},
    wire::{Timestamp, UsageBody},
};

/// What a call used.
#[derive(Debug, ToSchema)]
pub struct RecordUsage {
    /// What was called.
    #[schema(example = "/api/chat/completion")]
    pub endpoint: String,
    /// What kind of use it was.
    #[schema(example = "ai_chat")]
    pub event_type: String,
    /// Must be the user of the path.
    #[schema(value_type = Option<String>)]
    pub user_id: Option<UserId>,
    /// Session, as the caller names it; not checked to exist.
    pub session_id: Option<String>,
    /// Trace, as the caller names it.
    pub trace_id: Option<String>,
    /// Model.
    pub model_name: Option<String>,
    /// Provider of the model.
    pub provider: Option<String>,
    /// Tool.
    pub tool_name: Option<String>,
    /// Operation of the tool.
    pub operation_name: Option<String>,
    /// What the use is worth in credits, zero or more; if absent, what the price of the model says, or zero without a price.
    #[schema(value_type = Option<f64>)]
    pub credits_charged: Option<Credits>,
    /// What it cost in US dollars, zero or more, at most 9 decimals; if absent, what the price of the model says.
    #[schema(value_type = Option<f64>)]
    pub cost_usd: Option<Usd>,
    /// How the charge was found; if absent `price_list`, `unrated` or `unknown`.
    pub calculation_method: Option<String>,
    /// Tokens in all; prompt and completion together if absent.
    pub tokens_used: Option<i64>,
    /// Tokens of the prompt.
    pub prompt_tokens: Option<i64>,
    /// Tokens of the completion.
    pub completion_tokens: Option<i64>,
    /// Part of the prompt's tokens that the provider had in its cache.
    pub cached_prompt_tokens: Option<i64>,
    /// Anything to keep about billing.
    #[schema(value_type = Option<Object>)]
    pub billing_metadata: Option<FreeForm>,
    /// Anything to keep of the request.
    #[schema(value_type = Option<Object>)]
    pub request_data: Option<FreeForm>,
    /// Anything to keep of the response.
    #[schema(value_type = Option<Object>)]
    pub response_data: Option<FreeForm>,
    /// Deducts `credits_charged` in the same commit. Refused, nothing is recorded either.
    pub charge: Option<bool>,
    /// The hold that pays, with `charge`; what it does not cover comes from what is available. Users name only holds of users.
    #[schema(example = "0b6f2a9e-5a3e-4f57-9f0e-6a4c1f8f6f10")]
    pub hold_id: Option<String>,
    /// The caller's id of the event, unique for the user and the class of the caller (user; service and administrator): it is
    /// recorded and charged once.
    pub event_id: Option<String>,
    /// When it happened, from 35 days past to 5 minutes ahead; now if absent. A date without a time is the first instant of that
    /// day in UTC.
    pub occurred_at: Option<String>,
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordedUsage {
    /// Always true.
    success: bool,
    /// Always `success`.
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
        .body::<RecordUsage>(json!({
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
    let item = call.input(|fields| Item::read(fields, Form::Single)).await?;
    call.agree_on_user(item.named.as_ref())?;
    let (item, key) = idempotency::key(&call, item, Item::identify).await?;
    let (user_id, check) = call.user_unchecked()?;
    let metered = item.metered(
        user_id.clone(),
        call.principal()?,
        call.app.ids.uuid(),
        key.clone(),
    )?;
    let done = call.app.writes.usage(metered, check).await;
    let done = done.map_err(|rejected| ApiError::of_rejected(rejected, key.as_ref()))?;
    let meterage = done.map_err(|why| barred(why, &user_id))?;
    let replay = meterage.replay;
    let mark = |error: ApiError| match replay {
        Replay::First => error,
        Replay::ByKey => error.replayed(),
    };
    let (recorded, at) = recorded(&call.app, meterage).map_err(mark)?;
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
    Ok(match replay {
        Replay::First => reply,
        Replay::ByKey => reply.header(IDEMPOTENCY_REPLAYED, "true"),
    })
}
