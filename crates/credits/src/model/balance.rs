//! The credit of an account.

use kernel::Credits;
use serde::{Deserialize, Serialize};

/// Greatest amount of one command, and greatest balance: 10^9 credits (HTTP contract 1.8).
pub const BALANCE_MAX: Credits = Credits::MAX;

/// The figures of an account at one instant, with everything that is due by then counted as gone or come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Balance {
    /// Booked credit, held or not. This is the balance that the documented routes show.
    #[serde(with = "kernel::stored::micro_credits")]
    pub posted: Credits,
    /// Part of it that open holds set aside.
    #[serde(with = "kernel::stored::micro_credits")]
    pub held: Credits,
    /// All that was ever granted or recharged; refunds do not count.
    #[serde(with = "kernel::stored::micro_credits")]
    pub lifetime_granted: Credits,
}

impl Balance {
    /// Available credit: posted less held.
    #[must_use]
    pub fn available(&self) -> Credits {
        self.posted.checked_sub(self.held).unwrap_or(Credits::ZERO)
    }
}
