//! The HTTP skin: it authenticates, parses, calls one function and renders.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

pub mod access;
pub mod call;
pub mod catalogue;
pub mod dispatch;
pub mod doc;
pub mod error;
pub mod exact;
pub mod fault;
pub mod fields;
pub mod idempotency;
mod isolation;
pub mod language;
pub mod observe;
pub mod openapi;
pub mod read_slots;
pub mod reply;
pub mod route;
pub mod routes;
pub mod server;
mod watched;
pub mod wire;

pub use catalogue::markdown as errors_markdown;
pub use openapi::pretty_json as openapi_json;
pub use server::{configure, cors, server};
