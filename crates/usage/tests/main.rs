//! Usage records through the public surface, on a real PostgreSQL.

#![cfg(test)]

mod access;
mod audits;
mod classes;
mod corrections;
mod events;
mod export;
mod list;
mod local_time;
mod migrations;
mod oracle;
mod partitions;
mod presence;
mod price_cache;
mod price_seeds;
mod prices;
mod rating;
mod record;
mod series_oracle;
mod stats;
mod summary;
mod support;
mod top_series;
mod verify;
mod zones;
