//! Events for receivers.

mod kinds;
mod wanted;

use kernel::{FreeForm, UserId};
use time::OffsetDateTime;

pub use kinds::{Anomaly, BalanceChange, EventKind, ExpiredHold, FileFacts, LowBalance, Nothing, markdown};
pub use wanted::{Receiver, Wanted};

/// An event that is about to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// Whom it concerns.
    pub user_id: UserId,
    /// The event.
    pub kind: EventKind,
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
