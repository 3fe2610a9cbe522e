//! Routes, one file a route or a group that belongs together; the path mirrors the URL.

mod auth;
pub mod v1;
