#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    deny(
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod core;
pub mod error;
pub mod model;
pub mod rules;
pub mod service;
mod store;

pub use error::UsageRefusal;
pub use model::{
    Corrected, Correction, EventId, NewRecord, Outcome, Record, RecordFilter, Recorded, Replay, Stats,
};
pub use rules::{CORRECTION, TOKENS_MAX, UNKNOWN, UNRATED, UsageInput};
pub use service::{correct, list, record, stats};
pub use store::AUDITS;

/// The schema of this crate, for the one ordered list of migrations.
pub const MIGRATIONS: &[pg::Migration] = pg::migrations!(
    "usage": "20261121120500_create_usage_records", "20261121143005_measure_records",
    "20261122110000_partition_records", "20261122110100_create_dedupe", "20261122110200_create_rollups"
);
