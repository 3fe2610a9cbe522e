//! Between plain columns and the types of the ledger.

use diesel_async::AsyncPgConnection;
use kernel::UserId;

use crate::model::{BudgetPeriod, EntryKind, GrantKind, HoldStatus};

/// A connection that is shared by statements which run pipelined.
pub type Shared<'a> = &'a AsyncPgConnection;

pg::word_columns!(BudgetPeriod, EntryKind, GrantKind, HoldStatus);

/// The texts of some users, for an array.
pub fn texts<'a>(users: impl IntoIterator<Item = &'a UserId>) -> Vec<&'a str> {
    users.into_iter().map(UserId::as_str).collect()
}
