//! A conversation of one user.

use kernel::{FreeForm, Scope, TimePlace, Usd, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{SessionRefusal, Status};

/// A session as it reads at one instant: past its `expires_at` the status is [`Status::Expired`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Integer id of the chat surface.
    pub id: i64,
    /// Public id.
    pub session_id: Uuid,
    /// Owner of the session; never changes.
    pub user_id: UserId,
    /// Title of the caller.
    pub title: Option<String>,
    /// Data of the caller at creation: a JSON object.
    pub conversation_data: FreeForm,
    /// Further metadata of the caller: a JSON object.
    pub metadata: FreeForm,
    /// Status at the instant of reading.
    pub status: Status,
    /// Messages of the session.
    pub message_count: i64,
    /// Sum of the tokens of its messages.
    pub total_tokens: i64,
    /// Sum of the costs of its messages.
    pub total_cost: Usd,
    /// Summary of the conversation, empty while there is none.
    pub session_summary: String,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// When it was last changed, messages included.
    pub updated_at: OffsetDateTime,
    /// Time of the newest message, or of creation.
    pub last_activity: OffsetDateTime,
    /// From when on it reads as expired.
    pub expires_at: Option<OffsetDateTime>,
}

/// A session to be created. It begins as [`Status::Active`] with no messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// Owner of the session.
    pub user_id: UserId,
    /// Its public id, fresh from [`kernel::Ids`].
    pub session_id: Uuid,
    /// At most 255 characters, without NUL.
    pub title: Option<String>,
    /// A JSON object.
    pub conversation_data: FreeForm,
    /// A JSON object.
    pub metadata: FreeForm,
    /// From when on it reads as expired.
    pub expires_at: Option<OffsetDateTime>,
}

/// Changes of a session; `None` leaves what is stored, an inner `None` removes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionChange {
    /// At most 255 characters, without NUL.
    pub title: Option<Option<String>>,
    /// A JSON object, instead of the whole one.
    pub metadata: Option<FreeForm>,
    /// Without NUL.
    pub session_summary: Option<String>,
    /// From when on it reads as expired.
    pub expires_at: Option<Option<OffsetDateTime>>,
}

/// Filter of the sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionFilter {
    /// Those that have this status at the instant of reading; `None`: all. `active_only` is [`Status::Active`].
    pub status: Option<Status>,
}

/// Content of a deleted session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// The session.
    pub session_id: Uuid,
    /// Its owner.
    pub user_id: UserId,
    /// Messages that went with it.
    pub message_count: i64,
    /// The hold of a reply that was running.
    pub hold_id: Option<Uuid>,
}

impl Session {
    /// Returns true if the session counts as active (HTTP contract 5): it does while `active` or `completed`.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.status.is_active()
    }

    /// Where the session stands in the list of its user.
    #[must_use]
    pub fn place(&self) -> TimePlace {
        TimePlace { at: self.created_at, id: self.id }
    }

    /// The session, if its owner is inside `scope`.
    ///
    /// # Errors
    /// [`SessionRefusal::Foreign`].
    pub fn within(self, scope: &Scope) -> Result<Self, SessionRefusal> {
        if scope.covers(&self.user_id) {
            Ok(self)
        } else {
            Err(SessionRefusal::Foreign { session_id: self.session_id.to_string() })
        }
    }
}
