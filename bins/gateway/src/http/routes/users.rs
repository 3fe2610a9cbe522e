//! Routes of the group `users`.

pub mod ensure;
pub mod me;
