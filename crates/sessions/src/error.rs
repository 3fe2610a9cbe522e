//! Why something about a session was not done. A refusal is a decided "no"; nothing was changed.

use kernel::{Detail, Failure, Kind};
use uuid::Uuid;

/// A refusal of this domain (HTTP contract 1.4, 1.6 and 5).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionRefusal {
    /// No session has this id. The id is kept as the caller wrote it, for it need not be a UUID (HTTP contract 1.2).
    #[error("session {session_id} does not exist")]
    NotFound {
        /// The id that was asked for.
        session_id: String,
    },
    /// The session belongs to a user outside the caller's scope.
    #[error("session {session_id} belongs to another user")]
    Foreign {
        /// The id that was asked for.
        session_id: String,
    },
    /// The session has no such message, or it is no reply.
    #[error("session {session_id} has no reply {message_id}")]
    MessageNotFound {
        /// The session.
        session_id: String,
        /// The id that was asked for.
        message_id: String,
    },
    /// A reply is being written in the session.
    #[error("reply {message_id} is in progress")]
    ReplyInProgress {
        /// The message of the assistant.
        message_id: Uuid,
    },
    /// The reply has ended.
    #[error("reply {message_id} has ended")]
    ReplyFinished {
        /// The message of the assistant.
        message_id: Uuid,
    },
    /// The total of the session would leave the range that can be counted exactly (2^63 - 1 tokens or nano-dollars).
    #[error("the total of {field} of session {session_id} would be too large to count")]
    TotalTooLarge {
        /// The session.
        session_id: String,
        /// The number of the message that does not fit: `tokens_used` or `cost_usd`.
        field: &'static str,
    },
}

impl Failure for SessionRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "SessionNotFoundException",
            Self::Foreign { .. } => "PermissionDeniedException",
            Self::MessageNotFound { .. } => "MessageNotFoundException",
            Self::ReplyInProgress { .. } => "ReplyInProgressException",
            Self::ReplyFinished { .. } => "ReplyFinishedException",
            Self::TotalTooLarge { .. } => "ValidationException",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::NotFound { .. } | Self::MessageNotFound { .. } => Kind::NotFound,
            Self::ReplyInProgress { .. } | Self::ReplyFinished { .. } => Kind::Conflict,
            Self::Foreign { .. } => Kind::Forbidden,
            Self::TotalTooLarge { .. } => Kind::Invalid,
        }
    }

    fn details(&self) -> Vec<(&'static str, Detail)> {
        match self {
            Self::NotFound { session_id } | Self::Foreign { session_id } => {
                vec![("session_id", Detail::Text(session_id.clone()))]
            }
            Self::MessageNotFound { session_id, message_id } => vec![
                ("session_id", Detail::Text(session_id.clone())),
                ("message_id", Detail::Text(message_id.clone())),
            ],
            Self::ReplyInProgress { message_id } | Self::ReplyFinished { message_id } => {
                vec![("message_id", Detail::Text(message_id.to_string()))]
            }
            Self::TotalTooLarge { session_id, field } => vec![
                ("session_id", Detail::Text(session_id.clone())),
                ("field", Detail::Text((*field).to_owned())),
            ],
        }
    }
}
