//! `/api/v1/...`

mod guide;
mod sessions;
mod subscriptions;
mod usage;
mod users;
