//! What happened, for others to be told.

use kernel::{FreeForm, UserId};
use time::OffsetDateTime;

/// An event that is about to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Whom it concerns.
    pub user_id: UserId,
    /// Type, as receivers see it (HTTP contract 10): `credit_consumed`, ...
    pub event_type: &'static str,
    /// Members besides `event_type`, `user_id` and `timestamp`; a JSON object.
    pub payload: FreeForm,
    /// When the cause took effect.
    pub at: OffsetDateTime,
}

/// An event of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Order within the user.
    pub id: i64,
    /// Whom it concerns.
    pub user_id: UserId,
    /// Type, as receivers see it.
    pub event_type: String,
    /// Members besides `event_type`, `user_id` and `timestamp`.
    pub payload: FreeForm,
    /// When the cause took effect.
    pub at: OffsetDateTime,
}
