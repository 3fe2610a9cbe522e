//! `GET /api/v1/subscriptions/plans`: what can be subscribed to (HTTP contract 8.1).

use std::future::{Ready, ready};

use crate::http::prelude::*;

pub fn doc() -> Doc {
    let plan = json!({"type": "object", "properties": {
        "name": {"type": "string"}, "price_monthly": {"type": "number"}, "credits": {"type": "integer"},
        "features": {"type": "array", "items": {"type": "string"}}, "duration_days": {"type": "integer"},
        "recommended": {"type": "boolean"},
    }});
    let schema = json!({"type": "object", "properties": {
        "plans": {"type": "object", "additionalProperties": plan},
        "currency": {"type": "string"}, "billing_cycle": {"type": "string"},
    }});
    let example = serde_json::to_value(billing::catalogue()).unwrap_or_default();
    Doc::new("subscriptions", "Plans").reply_as("application/json", schema, example)
}

pub fn handle(_call: Call) -> Ready<Result<Reply, ApiError>> {
    ready(answer())
}

fn answer() -> Result<Reply, ApiError> {
    Reply::json(&billing::catalogue())
}
