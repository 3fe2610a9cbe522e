//! An event, before anything is decided about it.

use kernel::{CallerClass, Credits, FreeForm, Usd, UserId};
use time::OffsetDateTime;

/// An event as a caller describes it. Shapes and limits were checked where it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageInput {
    /// See [`crate::NewRecord::user_id`].
    pub user_id: UserId,
    /// See [`crate::NewRecord::event_type`].
    pub event_type: String,
    /// See [`crate::NewRecord::recorded_by`].
    pub recorded_by: CallerClass,
    /// See [`crate::EventId::id`].
    pub event_id: Option<String>,
    /// See [`crate::NewRecord::occurred_at`].
    pub occurred_at: Option<OffsetDateTime>,
    /// See [`crate::NewRecord::endpoint`].
    pub endpoint: Option<String>,
    /// See [`crate::NewRecord::session_id`].
    pub session_id: Option<String>,
    /// See [`crate::NewRecord::trace_id`].
    pub trace_id: Option<String>,
    /// See [`crate::NewRecord::model_name`]. An empty text counts as absent.
    pub model_name: Option<String>,
    /// See [`crate::NewRecord::provider`]. An empty text counts as absent.
    pub provider: Option<String>,
    /// See [`crate::NewRecord::tool_name`]. An empty text counts as absent.
    pub tool_name: Option<String>,
    /// See [`crate::NewRecord::operation_name`].
    pub operation_name: Option<String>,
    /// The charge; absent means what the price of the model says, or 0 without a price.
    pub credits_charged: Option<Credits>,
    /// The cost; absent means what the price of the model says, or 0 without a price.
    pub cost_usd: Option<Usd>,
    /// How the charge came about; absent means [`crate::PRICE_LIST`], [`crate::UNKNOWN`] or [`crate::UNRATED`].
    pub calculation_method: Option<String>,
    /// All tokens; absent means those of question and answer.
    pub tokens_used: Option<i64>,
    /// Tokens of the question; absent means 0.
    pub prompt_tokens: Option<i64>,
    /// Tokens of the answer; absent means 0.
    pub completion_tokens: Option<i64>,
    /// Part of the tokens of the question that the provider had in its cache; absent means 0.
    pub cached_prompt_tokens: Option<i64>,
    /// Absent means `{}`.
    pub billing_metadata: Option<FreeForm>,
    /// Absent means `{}`.
    pub request_data: Option<FreeForm>,
    /// Absent means `{}`.
    pub response_data: Option<FreeForm>,
}

impl UsageInput {
    /// An event of which nothing but user and kind is known, recorded by a service.
    #[must_use]
    pub fn new(user_id: UserId, event_type: impl Into<String>) -> Self {
        Self {
            user_id,
            event_type: event_type.into(),
            recorded_by: CallerClass::Service,
            event_id: None,
            occurred_at: None,
            endpoint: None,
            session_id: None,
            trace_id: None,
            model_name: None,
            provider: None,
            tool_name: None,
            operation_name: None,
            credits_charged: None,
            cost_usd: None,
            calculation_method: None,
            tokens_used: None,
            prompt_tokens: None,
            completion_tokens: None,
            cached_prompt_tokens: None,
            billing_metadata: None,
            request_data: None,
            response_data: None,
        }
    }
}
