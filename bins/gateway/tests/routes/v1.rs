//! `/api/v1/...`

mod api_keys;
mod audit_events;
mod guide;
mod prices;
mod sessions;
mod subscriptions;
mod usage;
pub mod users;
