//! Routes of the group `usage`.

pub mod all_timeseries;
pub mod batch;
pub mod correct;
pub mod explain;
pub mod export;
pub mod export_all;
pub mod export_format;
pub mod export_stream;
mod item;
pub mod list;
pub mod record;
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
    call::{Call, path_parameter},
    catalogue,
    doc::Doc,
    error::ApiError,
    fields::{
        Fields, Source,
        dates::{Days, End},
        parse,
    },
};

const CLASSES: &[(&str, CallerClass)] = &[("user", CallerClass::User), ("service", CallerClass::Service)];

/// The usage record of the path. What is not an integer is an unknown record.
fn record_id(call: &Call) -> Result<i64, ApiError> {
    let text = path_parameter(&call.request, "id");
    text.parse()
        .map_err(|_| ApiError::new(&catalogue::USAGE_RECORD_NOT_FOUND).detail("id", Detail::Text(text)))
}

/// The filters that the list and the statistics share (HTTP contract 4.2).
fn read_filter(fields: &mut Fields) -> RecordFilter {
    let dates = fields.dates(&Days::default());
    RecordFilter { from: dates.start, to: dates.end.map(End::last), ..read_selection(fields) }
}

/// The filters without the dates.
fn read_selection(fields: &mut Fields) -> RecordFilter {
    let recorded_by = read_class(fields);
    let mut text = |name| fields.optional(Source::Query, name, parse::text(0, 255));
    RecordFilter {
        from: None,
        to: None,
        event_type: text("event_type"),
        model_name: text("model_name"),
        provider: text("provider"),
        tool_name: text("tool_name"),
        session_id: text("session_id"),
        recorded_by,
    }
}

/// The filter for the class of the caller who recorded (HTTP contract 4.1).
fn read_class(fields: &mut Fields) -> Option<CallerClass> {
    fields.optional(Source::Query, "recorded_by", parse::one_of(CLASSES))
}

fn filtered(doc: Doc) -> Doc {
    selected(doc.dated())
}

/// The filters without the dates.
fn selected(doc: Doc) -> Doc {
    let text = || json!({"type": "string"});
    let doc = doc
        .query("event_type", "Only this kind of use.", text(), json!("ai_chat"))
        .query("model_name", "Only this model.", text(), Value::Null)
        .query("provider", "Only this provider.", text(), Value::Null)
        .query("tool_name", "Only this tool.", text(), Value::Null)
        .query("session_id", "Only this session.", text(), Value::Null);
    classed(doc)
}

/// The parameter `recorded_by`, described.
fn classed(doc: Doc) -> Doc {
    let names: Vec<_> = CLASSES.iter().map(|(name, _)| *name).collect();
    doc.query(
        "recorded_by",
        "Only records by callers of this class; records without a class, made before it was stored, are left out. Sums with this \
         filter read the records of the window, as far back as they are kept.",
        json!({"type": "string", "enum": names}),
        Value::Null,
    )
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
