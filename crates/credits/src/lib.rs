#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    deny(clippy::as_conversions, clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

pub mod core;
pub mod error;
pub mod model;
pub mod port;
pub mod service;
mod store;
pub mod verify;

pub use self::core::{Effect, INITIAL_REFERENCE, REFUND_LIFE};
pub use error::{PeriodFault, Refusal};
pub use model::{
    AccountView, Action, Adjustment, Applied, Balance, BudgetPeriod, BudgetView, BudgetsRefused, Command,
    Defaults, Direction, Entry, EntryKind, Executed, GrantFilter, GrantKind, GrantPlace, GrantStatus,
    GrantView, HoldFilter, HoldMode, HoldStatus, HoldView, LowCrossing, NewBudget, NewGrant, NewGrantKind,
    Outcome, PRIORITY_DEFAULT, Payer, ReferenceScope, TransactionFilter, TransactionKind, TransactionName,
    UnknownTransactionKind, UsageCharge,
    balance::BALANCE_MAX,
    hold::{HOLD_TTL_DEFAULT, HOLD_TTL_MAX, HOLD_TTL_MIN, HOLDS_OPEN_MAX},
};
pub use port::{Change, Ledger, LedgerError, Request};
pub use service::{
    Decided, Deciding, Locked, PlainCharge, Preview, Savepoint, Swept, Trace, account, balances, blocked,
    book_due, budgets, close, cool, entries_at, execute, find_due, find_transaction, grants, holds, is_due,
    lock, prepare, replace_budgets, set_budgets, set_low_balance_at, spend, sweep, taken_from, trace,
    transactions,
};
pub use store::{
    audits::AUDITS,
    personal::PERSONAL_DATA,
    spend::{Guards, text as spend_text},
    statements,
};

/// The schema `credits`.
pub const MIGRATIONS: &[pg::Migration] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));
