//! Mails with links, as they are stored.

use kernel::UserId;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

/// The effect of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkPurpose {
    /// Confirms the address of an account.
    Confirm,
    /// Sets a new password, and confirms the address.
    Reset,
}

/// A mail of the outbox whose turn it is.
#[derive(Debug)]
pub(crate) struct StoredMail {
    pub(crate) id: Uuid,
    pub(crate) sealed: Vec<u8>,
    pub(crate) created_at: OffsetDateTime,
}

/// A link that was mailed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredLink {
    pub(crate) user_id: UserId,
    pub(crate) email_folded: String,
}

impl LinkPurpose {
    /// The word in the database and at the begin of a token.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::Reset => "reset",
        }
    }
}
