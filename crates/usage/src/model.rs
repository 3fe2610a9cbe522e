//! The types of this domain. They know no SQL.

mod filter;
mod record;
mod stats;

pub use filter::RecordFilter;
pub use record::{NewRecord, Record};
pub use stats::Stats;
