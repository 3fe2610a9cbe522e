//! What callers say to the ledger and hear from it. No diesel, no HTTP.

pub mod balance;
pub mod command;
pub mod entry;
pub mod grant;
pub mod listing;

pub use balance::Balance;
pub use command::{Action, Applied, Command, NewGrant};
pub use entry::{Direction, Entry, EntryKind};
pub use grant::{GrantKind, NewGrantKind, PRIORITY_DEFAULT};
pub use listing::{TransactionFilter, TransactionKind, UnknownTransactionKind};
