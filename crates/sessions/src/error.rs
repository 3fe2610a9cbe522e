//! Why something about a session was not done. A refusal is a decided "no"; nothing was changed.

use kernel::{Detail, Failure, Kind};

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
            Self::TotalTooLarge { .. } => "ValidationException",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::NotFound { .. } => Kind::NotFound,
            Self::Foreign { .. } => Kind::Forbidden,
            Self::TotalTooLarge { .. } => Kind::Invalid,
        }
    }

    fn details(&self) -> Vec<(&'static str, Detail)> {
        match self {
            Self::NotFound { session_id } | Self::Foreign { session_id } => {
                vec![("session_id", Detail::Text(session_id.clone()))]
            }
            Self::TotalTooLarge { session_id, field } => vec![
                ("session_id", Detail::Text(session_id.clone())),
                ("field", Detail::Text((*field).to_owned())),
            ],
        }
    }
}
