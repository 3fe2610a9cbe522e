//! Outcomes of recording and correcting.

use crate::{Record, UsageInput, UsageRefusal};
use kernel::UserId;

/// Outcome of an event.
pub type Outcome = Result<Recorded, UsageRefusal>;

/// An event that is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The record: the first one, if the event was known.
    pub record: Record,
    /// True if it was recorded now.
    pub replay: Replay,
}

/// Novelty of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// It was done now.
    First,
    /// The event id was known: nothing was done.
    ByEvent,
}

/// A record that is to be taken back.
#[derive(Debug, Clone)]
pub struct Correction {
    /// User of the record.
    pub user_id: UserId,
    /// Id of the record.
    pub record_id: i64,
    /// Why; kept with the correction.
    pub reason: String,
    /// The replacement, at the same instant unless it states its own.
    pub replacement: Option<UsageInput>,
}

/// A record that was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corrected {
    /// The statement that takes it back.
    pub correction: Record,
    /// The replacement.
    pub replacement: Option<Record>,
}
