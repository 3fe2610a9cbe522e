//! `/api/v1/users/...`

mod credits;
mod ensure;
pub mod erase;
mod export;
mod files;
mod list;
mod me;
mod messages;
mod sessions;
mod update;
pub mod usage;
