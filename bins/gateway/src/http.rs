//! The HTTP of this service: its routes, error codes and access rules, on the mechanism of [`web`].

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

pub mod access;
pub mod call;
pub mod catalogue;
pub mod error;
pub(crate) mod lease;
pub mod openapi;
pub mod page_stream;
pub mod parse;
pub mod prelude;
pub mod route;
pub mod routes;
pub mod service;
pub mod settings;
pub mod wire;

pub use catalogue::markdown as errors_markdown;
pub use routes::openapi_json;
pub use service::server;
pub use web::{dispatch, doc, exact, fault, fields, idempotency, isolation, language, packed, reply};
