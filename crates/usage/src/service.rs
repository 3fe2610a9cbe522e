//! What can be done with usage records.

mod correct;
mod reads;
mod record;

pub use correct::correct;
pub use reads::{list, stats};
pub use record::record;
