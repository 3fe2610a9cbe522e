//! The tidy test: the invariants of `docs/architecture.md`, checked on manifests, sources and the schema.
//!
//! A failure names the rule, why it exists, and every place that breaks it. Each checker is a function of plain values, so
//! that its own tests can show that it fails where it should.

#[cfg(test)]
mod catalogue;
#[cfg(test)]
mod cycles;
#[cfg(test)]
mod edges;
#[cfg(test)]
mod error_codes;
#[cfg(test)]
mod files;
#[cfg(test)]
mod migrations;
#[cfg(test)]
mod money;
#[cfg(test)]
mod network;
#[cfg(test)]
mod outside_world;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod rule;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod source;
#[cfg(test)]
mod sql_places;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod workspace;
