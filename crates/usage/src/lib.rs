#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    deny(clippy::as_conversions, clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

mod core;
pub mod error;
pub mod model;
pub mod port;
pub mod rating;
pub mod rules;
pub mod service;
mod store;
pub mod verify;

pub use core::suggestion::suggestions;
pub use error::UsageRefusal;
pub use model::{
    Anomaly, AnomalyRule, Charge, Corrected, Correction, Counted, Coverage, Day, Dimension, EventId, Group,
    Line, Months, NewPrice, NewRecord, Offer, OldMonth, Outcome, POINTS_MAX, PRICES_MAX, Point, PriceFilter,
    PriceVersion, Pricing, Record, RecordFilter, Recorded, Replay, Retained, Selection, Series, SeriesQuery,
    Stats, Suggestion, Summary, SummaryQuery, TopQuery, TopSeries, Totals, UNKNOWN, UNRATED, Unit,
    UnratedModel, UsageInput, Users, Zone, Zones,
};
pub use port::{Meter, MeterError};
pub use rules::{CORRECTION, PRICE_LIST, TOKENS_MAX};
pub use service::{
    ANOMALY_HOURS_MIN, Draft, Export, Exported, MONTHS_MIN, Next, Prices, Recording, RecordsDropped,
    SUMMARY_GROUPS_MAX, beginnings_of_days, buckets_back, correction_events, create_months, find, find_all,
    find_all_at, fold_deltas, fold_presence, forget_anomalies, hold_months, hour_of, list, lock_to_write,
    look_up, note_anomalies, old_months, prices, record, retain, retain_telling, series, series_all,
    series_top, spenders, stats, stats_all, summary, top_users, zones,
};
pub use store::{AUDITS, PERSONAL_DATA, statements};

/// The schema of this crate, for the one ordered list of migrations.
pub const MIGRATIONS: &[pg::Migration] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));
