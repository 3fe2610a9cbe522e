//! `/api/v1/users/...`

mod credits;
mod ensure;
mod me;
mod sessions;
pub mod usage;
