//! What can be done with usage records.

mod anomalies;
mod correct;
mod export;
mod partitions;
mod reads;
mod record;
mod series;
mod summary;
mod top_series;
mod upkeep;

pub use anomalies::{ANOMALY_HOURS_MIN, forget_anomalies, hour_of, note_anomalies, spenders};
pub use correct::correct;
pub use export::{Export, Exported, RecordsDropped};
pub use partitions::{MONTHS_MIN, create_months, old_months, retain, retain_telling};
pub use reads::{list, stats, stats_all};
pub use record::record;
pub use series::{active_users, buckets_back, series, series_all, top_users, zones};
pub use summary::{SUMMARY_GROUPS_MAX, summary};
pub use top_series::series_top;
pub use upkeep::fold_deltas;
