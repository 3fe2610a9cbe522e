//! A usage record in answers and in files: its members, each named once.

use kernel::{Credits, FreeForm, Usd, UserId};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::cell::Cell;
use crate::http::{
    routes::credits::bodies::transaction_id,
    wire::{CallerClassName, Timestamp},
};

/// A type with one member for each line, in answers (JSON) and as a column of CSV files.
macro_rules! record_members {
    ($(#[$about:meta])* pub struct $name:ident from $record:ident {
        $($(#[$meta:meta])* $member:ident: $type:ty = $value:expr;)*
    }) => {
        $(#[$about])*
        #[derive(Debug, Serialize, ToSchema)]
        pub struct $name {
            $($(#[$meta])* pub $member: $type,)*
        }

        impl From<usage::Record> for $name {
            fn from($record: usage::Record) -> Self {
                Self { $($member: $value,)* }
            }
        }

        impl $name {
            /// The names of the columns.
            pub const COLUMNS: &[&str] = &[$(stringify!($member)),*];

            /// The cells of the row.
            #[must_use]
            pub fn cells(&self) -> [String; Self::COLUMNS.len()] {
                [$(self.$member.cell()),*]
            }
        }
    };
}

record_members! {
    /// A usage record.
    pub struct UsageBody from record {
        /// Integer id.
        id: i64 = record.id;
        /// User.
        #[schema(value_type = String, example = "auth0|test123")]
        user_id: UserId = record.user_id;
        /// Session, as the caller names it.
        session_id: Option<String> = record.session_id;
        /// Trace, as the caller names it.
        trace_id: Option<String> = record.trace_id;
        /// Endpoint.
        #[schema(example = "/api/chat/completion")]
        endpoint: Option<String> = record.endpoint;
        /// Event type.
        #[schema(example = "ai_chat")]
        event_type: String = record.event_type;
        /// Value in credits; deducted if `charged`.
        #[schema(value_type = f64, example = 5.5)]
        credits_charged: Credits = record.credits_charged;
        /// Cost in US dollars.
        #[schema(value_type = f64, example = 0.011)]
        cost_usd: Usd = record.cost_usd;
        /// Method of the charge.
        #[schema(example = "gpt4_pricing")]
        calculation_method: String = record.calculation_method;
        /// Tokens in all.
        tokens_used: i64 = record.tokens_used;
        /// Tokens of the prompt.
        prompt_tokens: i64 = record.prompt_tokens;
        /// Tokens of the completion.
        completion_tokens: i64 = record.completion_tokens;
        /// Model.
        #[schema(example = "gpt-4")]
        model_name: Option<String> = record.model_name;
        /// Provider of the model.
        #[schema(example = "openai")]
        provider: Option<String> = record.provider;
        /// Tool.
        tool_name: Option<String> = record.tool_name;
        /// Operation of the tool.
        operation_name: Option<String> = record.operation_name;
        /// Billing metadata of the caller.
        #[schema(value_type = Object)]
        billing_metadata: FreeForm = record.billing_metadata;
        /// Request data of the caller.
        #[schema(value_type = Object)]
        request_data: FreeForm = record.request_data;
        /// Response data of the caller.
        #[schema(value_type = Object)]
        response_data: FreeForm = record.response_data;
        /// Time of the event.
        created_at: Timestamp = Timestamp(record.occurred_at);
        /// user or service: whose word the record is; null for records made before it was stored.
        #[schema(value_type = Option<CallerClassName>, example = "service")]
        recorded_by: Option<&'static str> = record.recorded_by.map(kernel::CallerClass::as_str);
        /// Id of the event, set by the caller; identifies repeats.
        event_id: Option<String> = record.event_id;
        /// True if it was charged.
        charged: bool = record.charge.is_some();
        /// Credits that were charged and not available.
        #[schema(value_type = f64, example = 0.0)]
        credits_uncollected: Credits = record.credits_uncollected;
        /// Transaction that took the credits.
        transaction_id: Option<String> = record.charge.map(|charge| transaction_id(charge.transaction_id));
        /// Record that this one takes back: its figures are those, negated.
        correction_of: Option<i64> = record.correction_of;
    }
}

/// A usage record in the documents.
pub fn record_example() -> Value {
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
