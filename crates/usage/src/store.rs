//! All SQL of this domain. Rows hold plain types and become those of the model at this edge.

mod audits;
mod json;
pub(crate) mod records;
mod rows;
pub(crate) mod stats;

pub use audits::AUDITS;
