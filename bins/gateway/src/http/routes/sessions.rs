//! Routes of the group `sessions`.

pub mod body;
pub mod create;
pub mod delete;
pub mod list;
pub mod set_status;

use ::sessions::Status;
use serde_json::{Value, json};

const STATUSES: &[(&str, Status)] = &[
    ("active", Status::Active),
    ("completed", Status::Completed),
    ("ended", Status::Ended),
    ("archived", Status::Archived),
    ("expired", Status::Expired),
];

fn session_example() -> Value {
    json!({
        "id": 736, "session_id": "4da97cfa-b95f-4898-8b7d-2786ff703ce0", "user_id": "auth0|test123", "title": null,
        "conversation_data": {"topic": "test session"}, "status": "active", "metadata": {"source": "test"},
        "is_active": true, "message_count": 0, "total_tokens": 0, "total_cost": 0.0, "session_summary": "",
        "created_at": "2025-07-27T00:11:26.479685Z", "updated_at": "2025-07-27T00:11:26.479685Z",
        "last_activity": "2025-07-27T00:11:26.479685Z", "expires_at": null,
    })
}
