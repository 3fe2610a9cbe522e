//! `/api/v1/...`

mod guide;
mod sessions;
mod subscriptions;
mod users;
