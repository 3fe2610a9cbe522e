//! Usage records through the public surface, on a real PostgreSQL.

#[cfg(test)]
mod access;
#[cfg(test)]
mod audits;
#[cfg(test)]
mod classes;
#[cfg(test)]
mod corrections;
#[cfg(test)]
mod events;
#[cfg(test)]
mod export;
#[cfg(test)]
mod list;
#[cfg(test)]
mod local_time;
#[cfg(test)]
mod migrations;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod partitions;
#[cfg(test)]
#[cfg(test)]
mod presence;
#[cfg(test)]
mod price_cache;
#[cfg(test)]
mod price_seeds;
#[cfg(test)]
mod prices;
#[cfg(test)]
mod rating;
#[cfg(test)]
mod record;
#[cfg(test)]
mod series_oracle;
#[cfg(test)]
#[cfg(test)]
mod stats;
#[cfg(test)]
mod summary;
#[cfg(test)]
mod support;
#[cfg(test)]
mod top_series;
#[cfg(test)]
mod verify;
#[cfg(test)]
mod zones;
