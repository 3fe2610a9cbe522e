//! The types of this domain. They know no SQL.

mod filter;
mod outcome;
mod record;
mod stats;

pub use filter::RecordFilter;
pub use outcome::{Corrected, Correction, Outcome, Recorded, Replay};
pub use record::{EventId, NewRecord, Record};
pub use stats::Stats;
