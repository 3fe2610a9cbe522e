//! The ledger on a database.

mod blocked;
mod budgets;
mod close;
mod cool;
mod decided;
mod deciding;
mod execute;
mod reads;
mod spend;
mod sweep;
mod trace;

pub use blocked::blocked;
pub use budgets::{budgets, replace_budgets, set_budgets};
pub use close::close;
pub use cool::cool;
pub use decided::{Decided, Preview};
pub use deciding::{Deciding, Locked, Savepoint, lock, prepare};
pub use execute::execute;
pub use reads::{
    account, balances, find_transaction, grants, holds, is_due, set_low_balance_at, taken_from, transactions,
};
pub use spend::{PlainCharge, spend};
pub use sweep::{Swept, book_due, find_due, sweep};
pub use trace::{Trace, entries_at, trace};

use pg::DbError;

use crate::core::Fault;

fn inconsistent(fault: Fault) -> DbError {
    DbError::Inconsistent(fault.to_string())
}
