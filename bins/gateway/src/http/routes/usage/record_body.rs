//! A usage record in answers.

use kernel::{Credits, FreeForm, Usd, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::{
    routes::credits::bodies::transaction_id,
    wire::{CallerClassName, Timestamp},
};

/// A usage record.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageBody {
    /// Integer id.
    pub id: i64,
    /// Who used it.
    #[schema(value_type = String, example = "auth0|test123")]
    pub user_id: UserId,
    /// Session, as the caller names it.
    pub session_id: Option<String>,
    /// Trace, as the caller names it.
    pub trace_id: Option<String>,
    /// What was called.
    #[schema(example = "/api/chat/completion")]
    pub endpoint: Option<String>,
    /// What kind of use it was.
    #[schema(example = "ai_chat")]
    pub event_type: String,
    /// What the use is worth, in credits; deducted if it was `charged`.
    #[schema(value_type = f64, example = 5.5)]
    pub credits_charged: Credits,
    /// What it cost, in US dollars.
    #[schema(value_type = f64, example = 0.011)]
    pub cost_usd: Usd,
    /// How the charge was found.
    #[schema(example = "gpt4_pricing")]
    pub calculation_method: String,
    /// Tokens in all.
    pub tokens_used: i64,
    /// Tokens of the prompt.
    pub prompt_tokens: i64,
    /// Tokens of the completion.
    pub completion_tokens: i64,
    /// Model.
    #[schema(example = "gpt-4")]
    pub model_name: Option<String>,
    /// Provider of the model.
    #[schema(example = "openai")]
    pub provider: Option<String>,
    /// Tool.
    pub tool_name: Option<String>,
    /// Operation of the tool.
    pub operation_name: Option<String>,
    /// What the caller keeps about billing.
    #[schema(value_type = Object)]
    pub billing_metadata: FreeForm,
    /// What the caller keeps of the request.
    #[schema(value_type = Object)]
    pub request_data: FreeForm,
    /// What the caller keeps of the response.
    #[schema(value_type = Object)]
    pub response_data: FreeForm,
    /// When it happened.
    pub created_at: Timestamp,
    /// user or service: whose word the record is; null for records made before it was stored.
    #[schema(value_type = Option<CallerClassName>, example = "service")]
    pub recorded_by: Option<&'static str>,
    /// Id the caller gave the event, by which repeats are known.
    pub event_id: Option<String>,
    /// Whether recording it took credits.
    pub charged: bool,
    /// Credits that should have been taken and were not there.
    #[schema(value_type = f64, example = 0.0)]
    pub credits_uncollected: Credits,
    /// Transaction that took the credits.
    pub transaction_id: Option<String>,
    /// Record that this one takes back: its figures are those, negated.
    pub correction_of: Option<i64>,
}

impl From<usage::Record> for UsageBody {
    fn from(record: usage::Record) -> Self {
        Self {
            id: record.id,
            user_id: record.user_id,
            session_id: record.session_id,
            trace_id: record.trace_id,
            endpoint: record.endpoint,
            event_type: record.event_type,
            credits_charged: record.credits_charged,
            cost_usd: record.cost_usd,
            calculation_method: record.calculation_method,
            tokens_used: record.tokens_used,
            prompt_tokens: record.prompt_tokens,
            completion_tokens: record.completion_tokens,
            model_name: record.model_name,
            provider: record.provider,
            tool_name: record.tool_name,
            operation_name: record.operation_name,
            billing_metadata: record.billing_metadata,
            request_data: record.request_data,
            response_data: record.response_data,
            created_at: Timestamp(record.occurred_at),
            recorded_by: record.recorded_by.map(kernel::CallerClass::as_str),
            event_id: record.event_id,
            charged: record.charge.is_some(),
            credits_uncollected: record.credits_uncollected,
            transaction_id: record.charge.map(|charge| transaction_id(charge.transaction_id)),
            correction_of: record.correction_of,
        }
    }
}
