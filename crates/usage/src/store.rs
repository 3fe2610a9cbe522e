//! All SQL of this domain. Columns become types of the model at this edge.

pub(crate) mod aliases;
pub(crate) mod anomalies;
mod audits;
pub(crate) mod dedupe;
pub(crate) mod export;
pub(crate) mod partitions;
pub(crate) mod presence;
pub(crate) mod price_book;
pub(crate) mod prices;
pub(crate) mod records;
pub(crate) mod rollups;
mod rows;
pub(crate) mod saving;
pub(crate) mod series;
mod sources;
mod statements;
pub(crate) mod stats;
pub(crate) mod summary;
pub(crate) mod top_series;
pub(crate) mod verify;
pub(crate) mod zones;

use diesel_async::AsyncPgConnection;

pub use audits::AUDITS;
pub use statements::statements;

/// A connection whose statements may be under way at the same time.
pub(crate) type Shared<'a> = &'a AsyncPgConnection;
