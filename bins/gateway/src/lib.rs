//! The deployed gateway: configuration, wiring and the HTTP skin in front of the domain crates.

pub mod accounts;
pub mod administrators;
pub mod app;
pub mod cli;
pub mod commit_thread;
pub mod config;
pub mod connections;
pub mod database;
pub mod descriptors;
mod files;
pub mod housekeeping;
pub mod http;
pub mod own_tokens;
pub mod receivers;
pub mod replies;
pub mod telemetry;
