//! Messages, in the group `sessions`.

pub mod add;
pub mod body;
pub mod list;

use serde_json::{Value, json};

fn message_example() -> Value {
    json!({
        "id": "ad941213-9d10-4be0-9052-5665fd5fa033", "session_id": "4da97cfa-b95f-4898-8b7d-2786ff703ce0",
        "user_id": "auth0|test123", "message_type": "chat", "role": "user", "content": "Hello", "tool_calls": null,
        "tool_call_id": null, "message_metadata": {}, "tokens_used": 5, "cost_usd": 0.001,
        "is_summary_candidate": true, "importance_score": 0.5, "status": "completed",
        "created_at": "2025-07-27T00:52:22.803244Z", "updated_at": "2025-07-27T00:52:22.803244Z",
    })
}
