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
pub mod rating;
pub mod rules;
pub mod service;
mod store;

pub use core::suggestion::suggestions;
pub use error::UsageRefusal;
pub use model::{
    Anomaly, AnomalyRule, Corrected, Correction, Counted, Coverage, Day, Dimension, EventId, Group, Line,
    Months, NewRecord, OldMonth, Outcome, POINTS_MAX, Point, Record, RecordFilter, Recorded, Replay,
    Retained, Selection, Series, SeriesQuery, Stats, Suggestion, Summary, SummaryQuery, TopQuery, TopSeries,
    Totals, Unit, UnratedModel, Users, Zone, Zones,
};
pub use rules::{CORRECTION, TOKENS_MAX, UNKNOWN, UNRATED, UsageInput};
pub use service::{
    ANOMALY_HOURS_MIN, Export, Exported, MONTHS_MIN, RecordsDropped, SUMMARY_GROUPS_MAX, active_users,
    buckets_back, correct, create_months, fold_deltas, forget_anomalies, hour_of, list, note_anomalies,
    old_months, record, retain, retain_telling, series, series_all, series_top, spenders, stats, stats_all,
    summary, top_users, zones,
};
pub use store::AUDITS;

/// The schema of this crate, for the one ordered list of migrations.
pub const MIGRATIONS: &[pg::Migration] = pg::migrations!(
    "usage": "20261121120500_create_usage_records", "20261121143005_measure_records",
    "20261122110000_partition_records", "20261122110100_create_dedupe", "20261122110200_create_rollups",
    "20261123140000_index_unrated_records", "20261123140200_create_anomalies"
);
