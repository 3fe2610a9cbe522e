//! Commands to the ledger and its answers. No diesel, no HTTP.

pub mod account;
pub mod balance;
pub mod budget;
pub mod command;
pub mod entry;
pub mod grant;
pub mod grant_place;
pub mod hold;
pub mod listing;
pub mod outcome;

pub use account::{AccountView, Defaults};
pub use balance::Balance;
pub use budget::{BudgetPeriod, BudgetView, BudgetsRefused, NewBudget};
pub use command::{Action, Adjustment, Command, NewGrant, Payer, ReferenceScope, UsageCharge};
pub use entry::{Direction, Entry, EntryKind};
pub use grant::{GrantFilter, GrantKind, GrantStatus, GrantView, NewGrantKind, PRIORITY_DEFAULT};
pub use grant_place::GrantPlace;
pub use hold::{HoldFilter, HoldMode, HoldStatus, HoldView};
pub use listing::{TransactionFilter, TransactionKind, TransactionName, UnknownTransactionKind};
pub use outcome::{Applied, Executed, LowCrossing, Outcome};
