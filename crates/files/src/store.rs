//! All SQL of this domain.

mod audits;
pub(crate) mod files;
mod personal;
pub(crate) mod quotas;
pub(crate) mod removals;

pub use audits::AUDITS;
pub use personal::PERSONAL_DATA;
