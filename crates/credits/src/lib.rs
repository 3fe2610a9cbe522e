#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    deny(
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod core;
pub mod error;
pub mod model;
pub mod service;
mod store;

pub use error::Refusal;
pub use model::{
    Action, Applied, Balance, Command, Direction, Entry, EntryKind, GrantKind, NewGrant, NewGrantKind,
    PRIORITY_DEFAULT, TransactionFilter, TransactionKind, UnknownTransactionKind, balance::BALANCE_MAX,
};
pub use service::{balances, execute, transactions};
pub use store::audits::AUDITS;

/// The schema `credits`.
pub const MIGRATIONS: &[pg::Migration] = pg::migrations!(
    "credits": "20261121030000_create_accounts_and_grants", "20261121030100_create_journal"
);
