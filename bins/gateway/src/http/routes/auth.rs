//! Routes of the group `auth`.

pub mod dev_token;
