#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    deny(
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod model;
pub mod rating;
pub mod rules;
pub mod service;
mod store;

pub use model::{NewRecord, Record, RecordFilter, Stats};
pub use rules::{TOKENS_MAX, UNKNOWN, UNRATED, UsageInput};
pub use service::{list, record, stats};
pub use store::AUDITS;

/// The schema of this crate, for the one ordered list of migrations.
pub const MIGRATIONS: &[pg::Migration] = pg::migrations!(
    "usage": "20261121120500_create_usage_records", "20261121143005_measure_records"
);
