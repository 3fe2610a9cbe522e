//! Routes of the group `usage`.

pub mod all_timeseries;
pub mod batch;
mod cell;
pub mod correct;
pub mod explain;
pub mod export;
pub mod export_all;
pub mod export_format;
pub mod export_stream;
mod item;
pub mod list;
pub mod record;
pub mod record_body;
pub mod series_body;
pub mod series_query;
pub mod stats;
pub mod summary;
pub mod summary_body;
pub mod timeseries;

use ::usage::RecordFilter;
use kernel::{CallerClass, Detail};
use serde_json::{Value, json};

use crate::http::{
    call::path_parameter,
    fields::dates::{Dates, Days, End},
    prelude::*,
};

const CLASSES: &[(&str, CallerClass)] = &[("user", CallerClass::User), ("service", CallerClass::Service)];

/// The usage record of the path. What is not an integer is an unknown record.
fn record_id(call: &Call) -> Result<i64, ApiError> {
    let text = path_parameter(&call.request, "id");
    text.parse()
        .map_err(|_| ApiError::new(&catalogue::USAGE_RECORD_NOT_FOUND).detail("id", Detail::Text(text)))
}

input! {
    /// Filters without dates.
    pub struct SelectionInput {
        /// Only records by callers of this class; records without a class, made before it was stored, are left out. Sums with this
        /// filter read the records of the window, as far back as they are kept.
        recorded_by: Option<CallerClass> = optional(Query, parse::one_of(CLASSES));
        /// Only this kind of use.
        event_type: Option<String> = optional(Query, parse::text(0, 255)), example("ai_chat");
        /// Only this model.
        model_name: Option<String> = optional(Query, parse::text(0, 255));
        /// Only this provider.
        provider: Option<String> = optional(Query, parse::text(0, 255));
        /// Only this tool.
        tool_name: Option<String> = optional(Query, parse::text(0, 255));
        /// Only this session.
        session_id: Option<String> = optional(Query, parse::text(0, 255));
    }
}

input! {
    /// The filters that the list, the statistics and the exports share (HTTP contract 4.2).
    pub struct FilterInput {
        /// Time window.
        dates: Dates = flat(Dates, &Days::default());
        /// Which.
        selection: SelectionInput = flat(SelectionInput, &());
    }
}

impl From<SelectionInput> for RecordFilter {
    fn from(input: SelectionInput) -> Self {
        Self {
            from: None,
            to: None,
            event_type: input.event_type,
            model_name: input.model_name,
            provider: input.provider,
            tool_name: input.tool_name,
            session_id: input.session_id,
            recorded_by: input.recorded_by,
        }
    }
}

impl From<FilterInput> for RecordFilter {
    fn from(FilterInput { dates, selection }: FilterInput) -> Self {
        Self { from: dates.start, to: dates.end.map(End::last), ..selection.into() }
    }
}

fn record_example() -> Value {
    json!({
        "id": 1001, "user_id": "auth0|test123", "session_id": "sess_abc123def456", "trace_id": "trace_xyz789abc",
        "endpoint": "/api/chat/completion", "event_type": "ai_chat", "credits_charged": 5.5, "cost_usd": 0.011,
        "calculation_method": "gpt4_pricing", "tokens_used": 1250, "prompt_tokens": 800, "completion_tokens": 450,
        "model_name": "gpt-4", "provider": "openai", "tool_name": "chat_service",
        "operation_name": "generate_response", "billing_metadata": {"billing_tier": "pro"},
        "request_data": {"temperature": 0.7}, "response_data": {"finish_reason": "stop"},
        "created_at": "2025-07-25T01:15:30.123000Z", "recorded_by": "service", "event_id": null, "charged": false, "credits_uncollected": 0.0,
        "transaction_id": null, "correction_of": null,
    })
}
