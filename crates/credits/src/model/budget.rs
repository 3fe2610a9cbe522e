//! Limits of spending in a window of time.

use std::{fmt, str::FromStr};

use kernel::Credits;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Length of the windows of a budget, shortest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetPeriod {
    /// From midnight to midnight in the zone of the budget: 23 to 25 hours.
    Day,
    /// From the first of a month to the first of the next, likewise.
    Month,
    /// One window without an end.
    Lifetime,
}

/// A limit to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBudget {
    /// Length of its windows. An account has at most one of each.
    pub period: BudgetPeriod,
    /// Time zone of days and months: a name of the IANA time zone database that PostgreSQL knows.
    pub zone: String,
    /// Most that may be spent in a window: from zero, which lets nothing be spent, to [`BALANCE_MAX`](crate::BALANCE_MAX).
    pub limit: Credits,
}

/// A budget at one instant (HTTP contract 6.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetView {
    /// Length of its windows.
    pub period: BudgetPeriod,
    /// Time zone of days and months.
    pub zone: String,
    /// Most that may be spent in a window.
    pub limit: Credits,
    /// Charges in the window of the instant, less their refunds.
    pub spent: Credits,
    /// Credit in open holds: it counts against the window too.
    pub held: Credits,
    /// When the next window begins; `None` for a lifetime.
    pub resets_at: Option<OffsetDateTime>,
}

/// Why budgets are not set. Nothing is changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BudgetsRefused {
    /// There is no such account.
    #[error("there is no such account")]
    NoAccount,
    /// PostgreSQL knows no such time zone.
    #[error("{zone:?} is not a time zone")]
    UnknownZone {
        /// The zone.
        zone: String,
    },
    /// Two of them have the same period. Callers check this before.
    #[error("there are two budgets of a {period}")]
    Repeated {
        /// The period.
        period: BudgetPeriod,
    },
    /// A limit is below zero, or too large. Callers check this before.
    #[error("{limit} credits cannot be a limit")]
    InvalidLimit {
        /// The limit.
        limit: Credits,
    },
}

/// The text is not a period of a budget.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a period of a budget")]
pub struct UnknownBudgetPeriod(String);

impl BudgetPeriod {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Day, Self::Month, Self::Lifetime];

    /// The word on the wire and in the books.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
            Self::Lifetime => "lifetime",
        }
    }
}

impl FromStr for BudgetPeriod {
    type Err = UnknownBudgetPeriod;

    fn from_str(text: &str) -> Result<Self, UnknownBudgetPeriod> {
        Self::ALL
            .into_iter()
            .find(|period| period.as_str() == text)
            .ok_or_else(|| UnknownBudgetPeriod(text.to_owned()))
    }
}

impl fmt::Display for BudgetPeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
