//! Tests of the gateway: the real application in process, and the real binary as a process.

#![expect(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "a test that cannot go on says so by panicking"
)]

mod access;
mod accounts;
mod examples;
mod generated;
mod issuers;
mod openapi;
mod own_logins;
mod prelude;
mod process;
mod protocol;
mod routes;
