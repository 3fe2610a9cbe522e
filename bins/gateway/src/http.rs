//! The HTTP skin: it authenticates, parses, calls one function and renders.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

pub mod access;
pub mod bodies;
mod body_readers;
pub mod call;
pub mod catalogue;
pub mod connection;
pub mod connections;
pub mod dispatch;
pub mod doc;
pub mod echo;
pub mod error;
pub mod exact;
pub mod expect;
pub mod fault;
pub mod fields;
pub mod idempotency;
mod isolation;
pub mod keep_alive;
pub mod language;
mod local_caller;
pub mod observe;
pub mod openapi;
pub mod packed;
pub mod prelude;
pub mod rate_limit;
pub mod read_slots;
pub mod reply;
pub mod route;
pub mod routes;
pub mod server;
pub mod stream_end;
pub mod traffic;
mod watched;
pub mod wire;

pub use catalogue::markdown as errors_markdown;
pub use openapi::pretty_json as openapi_json;
pub use server::{configure, cors, server};
