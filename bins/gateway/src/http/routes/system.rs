//! Routes of the group `system`.

pub mod docs;
pub mod health;
pub mod livez;
pub mod metrics;
pub mod openapi;
pub mod readyz;
pub mod root;
