//! An account as it is shown.

use kernel::{Credits, UserId};
use time::OffsetDateTime;

use crate::model::{Balance, GrantView};

/// Defaults for accounts without settings of their own; empty by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Defaults {
    /// The balance that an owner hears of when it is reached; `None` for no such news.
    pub low_balance_at: Option<Credits>,
}

/// An account at one instant, with everything that is due by then counted as gone or come (HTTP contract 6.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountView {
    /// The user.
    pub user_id: UserId,
    /// The figures.
    pub balance: Balance,
    /// Open grants in burn order.
    pub grants: Vec<GrantView>,
    /// When the newest entry took effect, or the account was opened.
    pub updated_at: OffsetDateTime,
}
