//! What can be done with usage records.

mod correct;
mod export;
mod partitions;
mod reads;
mod record;
mod series;
mod summary;
mod top_series;
mod upkeep;

pub use correct::correct;
pub use export::{Export, Exported, RecordsDropped};
pub use partitions::{create_months, retain};
pub use reads::{list, stats, stats_all};
pub use record::record;
pub use series::{active_users, buckets_back, series, series_all, top_users, zones};
pub use summary::{SUMMARY_GROUPS_MAX, summary};
pub use top_series::series_top;
pub use upkeep::fold_deltas;
