//! Routes of the group `subscriptions`.

pub mod plans;
