//! The tidy test: the invariants of `docs/architecture.md`, checked on manifests, sources and the schema.
//!
//! A failure names the rule, why it exists, and every place that breaks it. Each checker is a function of plain values, so
//! that its own tests can show that it fails where it should.

#![cfg(test)]

mod catalogue;
mod cycles;
mod edges;
mod error_codes;
mod files;
mod migrations;
mod money;
mod network;
mod outside_world;
mod routes;
mod rule;
mod schema;
mod source;
mod sql_places;
mod tables;
mod workspace;
