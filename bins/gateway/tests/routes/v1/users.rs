//! `/api/v1/users/...`

mod credits;
mod ensure;
mod erase;
mod export;
mod list;
mod me;
mod sessions;
mod update;
pub mod usage;
