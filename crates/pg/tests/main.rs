//! Real servers, real failures. One test binary, so that it is linked once.
//!
//! What is shown here is what the domains rely on: a transaction is whole or not at all, failures are told apart by what a
//! caller can do, batches lose nothing.

#![cfg(test)]

mod coalescer;
mod columns;
mod committer;
mod errors;
mod held;
mod isolation;
mod migrations;
mod note_work;
mod plain;
mod poolers;
mod pools;
mod probe;
mod server;
mod sessions;
mod shares;
mod silence;
mod statements;
mod support;
mod tls;
mod transactions;
mod urls;
mod workers;
