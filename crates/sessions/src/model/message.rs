//! One message of a session.

use kernel::{FreeForm, Scope, Usd, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{ImportanceScore, MessageStatus, Role};

/// Most bytes the content of a message may have: 1 MiB (HTTP contract 5).
pub const CONTENT_BYTES_MAX: usize = 1024 * 1024;

/// Most characters the type of a message may have (HTTP contract 5).
pub const MESSAGE_TYPE_CHARS_MAX: usize = 20;

/// A stored message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Integer id of the chat surface; rises with `seq` within a session.
    pub id: i64,
    /// Public id.
    pub message_id: Uuid,
    /// Its session.
    pub session_id: Uuid,
    /// Owner of the session.
    pub user_id: UserId,
    /// 1, 2, 3 ... within the session, without a gap.
    pub seq: i64,
    /// The caller's word for the kind of message, `chat` as a rule.
    pub message_type: String,
    /// The speaker.
    pub role: Role,
    /// The text.
    pub content: String,
    /// A JSON array.
    pub tool_calls: Option<FreeForm>,
    /// The call that a [`Role::Tool`] message answers.
    pub tool_call_id: Option<String>,
    /// A JSON object.
    pub message_metadata: FreeForm,
    /// Tokens it took.
    pub tokens_used: i64,
    /// Its cost.
    pub cost_usd: Usd,
    /// True if summaries should look at it.
    pub is_summary_candidate: bool,
    /// Importance for a summary.
    pub importance_score: ImportanceScore,
    /// Its progress.
    pub status: MessageStatus,
    /// When it was added; never before the message in front of it.
    pub created_at: OffsetDateTime,
    /// When it was last changed.
    pub updated_at: OffsetDateTime,
}

/// A message to be added. The caller has checked lengths and ranges (HTTP contract 5): what breaks them is refused by
/// constraints and counts as a fault of ours.
#[derive(Debug, Clone, PartialEq)]
pub struct NewMessage {
    /// Users whose sessions the caller may touch.
    pub scope: Scope,
    /// The session it goes to.
    pub session_id: Uuid,
    /// Its public id, fresh from [`kernel::Ids`].
    pub message_id: Uuid,
    /// The speaker.
    pub role: Role,
    /// The text: at most [`CONTENT_BYTES_MAX`] bytes, without NUL.
    pub content: String,
    /// At most [`MESSAGE_TYPE_CHARS_MAX`] characters, without NUL.
    pub message_type: String,
    /// At least 0.
    pub tokens_used: i64,
    /// At least nothing.
    pub cost_usd: Usd,
    /// A JSON array.
    pub tool_calls: Option<FreeForm>,
    /// At most 255 characters, without NUL.
    pub tool_call_id: Option<String>,
    /// A JSON object.
    pub message_metadata: FreeForm,
    /// True if summaries should look at it; true as a rule.
    pub is_summary_candidate: bool,
    /// Importance for a summary.
    pub importance_score: ImportanceScore,
    /// Its progress; completed as a rule.
    pub status: MessageStatus,
}

impl NewMessage {
    /// A whole chat message of which nothing else is known.
    #[must_use]
    pub fn chat(scope: Scope, session_id: Uuid, message_id: Uuid, role: Role, content: String) -> Self {
        Self {
            scope,
            session_id,
            message_id,
            role,
            content,
            message_type: "chat".to_owned(),
            tokens_used: 0,
            cost_usd: Usd::ZERO,
            tool_calls: None,
            tool_call_id: None,
            message_metadata: FreeForm::empty(),
            is_summary_candidate: true,
            importance_score: ImportanceScore::default(),
            status: MessageStatus::Completed,
        }
    }
}

/// Filter of the messages of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MessageFilter {
    /// Those of this speaker; `None`: all.
    pub role: Option<Role>,
}
