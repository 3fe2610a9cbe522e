//! What can be done with usage records and prices.

mod correct;
mod partitions;
mod price_cache;
pub mod prices;
mod reads;
mod record;
mod recording;
mod series;
mod upkeep;

pub use correct::correct;
pub use partitions::{create_months, retain};
pub use price_cache::Prices;
pub use reads::{find, find_all, list, stats, stats_all};
pub use record::record;
pub use recording::{Draft, Next, Recording, correction_events, look_up};
pub use series::{active_users, series, series_all, top_users, zones};
pub use upkeep::fold_deltas;
