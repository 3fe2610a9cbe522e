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
pub mod port;
pub mod rating;
pub mod rules;
pub mod service;
mod store;

pub use error::UsageRefusal;
pub use model::{
    Charge, Corrected, Correction, Coverage, Dimension, EventId, Group, Line, Months, NewPrice, NewRecord,
    Offer, Outcome, POINTS_MAX, PRICES_MAX, PriceFilter, PriceVersion, Pricing, Record, RecordFilter,
    Recorded, Replay, Retained, Selection, Series, SeriesQuery, Stats, Totals, Unit, Zone, Zones,
};
pub use port::{Meter, MeterError, PgMeter};
pub use rules::{CORRECTION, PRICE_LIST, TOKENS_MAX, UNKNOWN, UNRATED, UsageInput};
pub use service::{
    Draft, Next, Prices, Recording, active_users, correct, correction_events, create_months, find, find_all,
    fold_deltas, list, look_up, prices, record, retain, series, series_all, stats, stats_all, top_users,
    zones,
};
pub use store::AUDITS;

/// The schema of this crate, for the one ordered list of migrations.
pub const MIGRATIONS: &[pg::Migration] = pg::migrations!(
    "usage": "20261121120500_create_usage_records", "20261121143005_measure_records",
    "20261122110000_partition_records", "20261122110100_create_dedupe", "20261122110200_create_rollups",
    "20261123090100_link_charges", "20261123100000_create_prices"
);
