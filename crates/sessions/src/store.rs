//! All SQL of this domain.

mod audits;
pub(crate) mod messages;
pub(crate) mod sessions;

pub use audits::AUDITS;
