//! An account as it is shown.

use kernel::UserId;
use time::OffsetDateTime;

use crate::model::{Balance, GrantView};

/// An account at one instant, with everything that is due by then counted as gone or come (HTTP contract 6.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountView {
    /// Whose.
    pub user_id: UserId,
    /// The figures.
    pub balance: Balance,
    /// Open grants in burn order.
    pub grants: Vec<GrantView>,
    /// When the newest entry took effect, or the account was opened.
    pub updated_at: OffsetDateTime,
}
