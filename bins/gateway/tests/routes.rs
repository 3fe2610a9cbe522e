//! Routes, one file a route or a group that belongs together; the path mirrors the URL.

mod api;
mod auth;
pub mod v1;
mod well_known;
