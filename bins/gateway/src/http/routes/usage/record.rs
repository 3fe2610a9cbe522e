//! `POST /api/v1/users/{user_id}/usage`: records what a call used; deducts nothing (HTTP contract 4.1).

use actix_web::http::Method;
use kernel::{Credits, FreeForm, Usd, UserId};
use serde_json::json;
use usage::UsageInput;
use utoipa::ToSchema;

use crate::http::{
    call::{Call, barred},
    catalogue,
    doc::Doc,
    error::ApiError,
    fault::Problem,
    fields::{Fields, Source, Value, parse},
    language::Text,
    reply::Reply,
    route::{Access, BodyRule, Route},
    wire::UsageBody,
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
    /// What the use is worth in credits, zero or more.
    #[schema(value_type = Option<f64>)]
    pub credits_charged: Option<Credits>,
    /// What it cost in US dollars, zero or more, at most 9 decimals.
    #[schema(value_type = Option<f64>)]
    pub cost_usd: Option<Usd>,
    /// How the charge was found.
    pub calculation_method: Option<String>,
    /// Tokens in all; prompt and completion together if absent.
    pub tokens_used: Option<i64>,
    /// Tokens of the prompt.
    pub prompt_tokens: Option<i64>,
    /// Tokens of the completion.
    pub completion_tokens: Option<i64>,
    /// Anything to keep about billing.
    #[schema(value_type = Option<Object>)]
    pub billing_metadata: Option<FreeForm>,
    /// Anything to keep of the request.
    #[schema(value_type = Option<Object>)]
    pub request_data: Option<FreeForm>,
    /// Anything to keep of the response.
    #[schema(value_type = Option<Object>)]
    pub response_data: Option<FreeForm>,
}

/// The route.
#[must_use]
pub fn route() -> Route {
    Route {
        method: Method::POST,
        path: "/api/v1/users/{user_id}/usage",
        access: Access::PathUser,
        body: BodyRule::Json,
        operation: "record_usage",
        doc,
        handler: |call| Box::pin(handle(call)),
    }
}

fn doc() -> Doc {
    Doc::new("usage", "Record usage")
        .description("Records only: no credits are deducted. Call `/credits/consume` for that.")
        .body::<RecordUsage>(json!({
            "session_id": "sess_abc123def456", "trace_id": "trace_xyz789abc", "endpoint": "/api/chat/completion",
            "event_type": "ai_chat", "credits_charged": 5.5, "cost_usd": 0.011,
            "calculation_method": "gpt4_pricing", "tokens_used": 1250, "prompt_tokens": 800,
            "completion_tokens": 450, "model_name": "gpt-4", "provider": "openai", "tool_name": "chat_service",
            "operation_name": "generate_response", "billing_metadata": {"billing_tier": "pro"},
            "request_data": {"temperature": 0.7}, "response_data": {"finish_reason": "stop"},
        }))
        .reply_envelope::<UsageBody>("Usage recorded successfully", super::record_example())
        .errors(&[&catalogue::USER_ID_MISMATCH])
}

fn read(fields: &mut Fields) -> Option<(Option<UserId>, UsageInput)> {
    refuse_charging(fields);
    let named = fields.optional(Source::Body, "user_id", parse::user_id);
    let endpoint = fields.required(Source::Body, "endpoint", parse::text(1, 255));
    let event_type = fields.required(Source::Body, "event_type", parse::text(1, 255));
    let mut text = |name| fields.optional(Source::Body, name, parse::text(0, 255));
    let session_id = text("session_id");
    let trace_id = text("trace_id");
    let model_name = text("model_name");
    let provider = text("provider");
    let tool_name = text("tool_name");
    let operation_name = text("operation_name");
    let calculation_method = text("calculation_method");
    let mut tokens = |name| fields.optional(Source::Body, name, parse::tokens);
    let (tokens_used, prompt_tokens, completion_tokens) = (
        tokens("tokens_used"),
        tokens("prompt_tokens"),
        tokens("completion_tokens"),
    );
    let mut object = |name| fields.optional(Source::Body, name, parse::object);
    let (billing_metadata, request_data, response_data) = (
        object("billing_metadata"),
        object("request_data"),
        object("response_data"),
    );
    let credits_charged = fields.optional(Source::Body, "credits_charged", parse::credits_to_note);
    let cost_usd = fields.optional(Source::Body, "cost_usd", parse::usd_to_note);
    // The owner is put in by the handler, which knows whom the path names.
    let owner = "unnamed".parse().ok()?;
    let input = UsageInput {
        endpoint: Some(endpoint?),
        session_id,
        trace_id,
        model_name,
        provider,
        tool_name,
        operation_name,
        credits_charged,
        cost_usd,
        calculation_method,
        tokens_used,
        prompt_tokens,
        completion_tokens,
        billing_metadata,
        request_data,
        response_data,
        ..UsageInput::new(owner, event_type?)
    };
    Some((named, input))
}

/// Fields that ask for a charge or for deduplication, which this version does not do. Ignoring them would let a caller
/// believe that he was charged, or that a repeat is safe.
fn refuse_charging(fields: &mut Fields) {
    let unserved = |_: Value<'_>| -> Result<(), Problem> {
        Err(Problem::value(
            "this version records usage without charging or deduplicating it",
        ))
    };
    let _charge = fields.optional(Source::Body, "charge", |value| match parse::boolean(value)? {
        false => Ok(()),
        true => unserved(value),
    });
    for name in ["hold_id", "event_id", "occurred_at", "cached_prompt_tokens"] {
        let _refused = fields.optional(Source::Body, name, unserved);
    }
}

async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let (named, input) = call.fields.read(read)?;
    call.agree_on_user(named.as_ref())?;
    let (user_id, check) = call.user_unchecked()?;
    let input = UsageInput {
        user_id: user_id.clone(),
        ..input
    };
    let outcome = call.app.writes.usage(input.complete(), check).await?;
    let recorded = outcome
        .map_err(|why| barred(why, &user_id))?
        .map_err(|refusal| ApiError::from_failure(&refusal))?;
    metrics::counter!("usage_records_total").increment(1);
    call.envelope(
        &Text::new("Usage recorded successfully", "使用记录成功"),
        UsageBody::from(recorded.record),
    )
}
