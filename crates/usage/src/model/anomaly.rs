//! Spending that is unusual for its user.

use kernel::{Credits, CreditsSum, UserId};
use time::OffsetDateTime;

/// When the spending of an hour is odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnomalyRule {
    /// It is more than so many times what is usual.
    pub factor: u32,
    /// And no less than this.
    pub least: Credits,
}

/// An hour in which a user was charged far more than usual.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anomaly {
    /// The user.
    pub user_id: UserId,
    /// Beginning of the hour, of UTC.
    pub hour: OffsetDateTime,
    /// Charges of the user in it so far.
    pub spent: CreditsSum,
    /// The usual amount: see [`crate::note_anomalies`].
    pub usual: CreditsSum,
}
