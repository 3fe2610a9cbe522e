//! Operations on usage records and prices.

mod anomalies;
mod export;
mod partitions;
mod price_cache;
pub mod prices;
mod reads;
mod record;
mod recording;
mod series;
mod summary;
mod top_series;

pub use crate::store::{
    presence::fold as fold_presence, records::lock_to_write, rollups::fold as fold_deltas,
};
pub use anomalies::{ANOMALY_HOURS_MIN, forget_anomalies, hour_of, note_anomalies, spenders};
pub use export::{Export, Exported, RecordsDropped};
pub use partitions::{MONTHS_MIN, create_months, hold_months, old_months, retain, retain_telling};
pub use price_cache::Prices;
pub use reads::{find, find_all, find_all_at, list, stats, stats_all};
pub use record::record;
pub use recording::{Draft, Next, Recording, correction_events, look_up};
pub use series::{beginnings_of_days, buckets_back, series, series_all, top_users, zones};
pub use summary::{SUMMARY_GROUPS_MAX, summary};
pub use top_series::series_top;
