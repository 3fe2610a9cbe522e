//! `/api/v1/...`

mod guide;
mod prices;
mod sessions;
mod subscriptions;
mod usage;
pub mod users;
