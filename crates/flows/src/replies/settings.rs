//! The settings of replies, and their refusals.

use idempotency::Replay;
use kernel::{Credits, Failure};
use sessions::SessionRefusal;
use time::OffsetDateTime;

use crate::{CallerRejected, KeyConflict};

/// The kind of usage that a reply is.
pub(super) const EVENT_TYPE: &str = "ai_chat";

/// Settings of replies.
#[derive(Debug, Clone)]
pub struct ReplySettings {
    /// Name of the model, for the upstream and for its price.
    pub model: String,
    /// Instructions in front of every conversation.
    pub system_prompt: Option<String>,
    /// Most tokens of a reply.
    pub max_tokens: u32,
    /// Most earlier messages that the model gets.
    pub history: u32,
    /// The charge of a token of prompt or reply, where the model has no price.
    pub credits_per_token: Credits,
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyRefusal {
    /// The session is unknown, or has a reply in progress.
    #[error(transparent)]
    Session(#[from] SessionRefusal),
    /// There is not enough credit. Under a key the refusal is remembered as other refusals of the ledger are.
    #[error("{refusal}")]
    Ledger {
        /// The refusal of the hold.
        refusal: credits::Refusal,
        /// Time of the decision.
        at: OffsetDateTime,
        /// Shows whether an earlier request was refused so under the key.
        replay: Replay,
    },
    /// The idempotency key was used for another request.
    #[error(transparent)]
    Key(#[from] KeyConflict),
    /// The process is about to end.
    #[error("this process begins no reply any more")]
    Stopping,
    /// The caller may do nothing.
    #[error("the caller may do nothing")]
    Caller(CallerRejected),
}

impl ReplyRefusal {
    /// The refusal of a domain, if it is one.
    #[must_use]
    pub fn failure(&self) -> Option<&dyn Failure> {
        match self {
            Self::Session(refusal) => Some(refusal),
            Self::Ledger { refusal, .. } => Some(refusal),
            Self::Key(conflict) => Some(conflict),
            Self::Stopping | Self::Caller(_) => None,
        }
    }
}
