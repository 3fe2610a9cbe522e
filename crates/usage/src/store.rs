//! All SQL of this domain. Rows hold plain types and become those of the model at this edge.

pub(crate) mod anomalies;
mod audits;
pub(crate) mod dedupe;
pub(crate) mod export;
mod json;
pub(crate) mod partitions;
pub(crate) mod records;
pub(crate) mod rollups;
mod rows;
pub(crate) mod series;
mod sources;
pub(crate) mod stats;
pub(crate) mod summary;
pub(crate) mod top_series;
pub(crate) mod zones;

use diesel_async::AsyncPgConnection;
use futures_util::try_join;
use pg::{DbError, Tx};
use time::OffsetDateTime;

pub use audits::AUDITS;

use crate::{Record, core::rollup};

/// A connection whose statements may be under way at the same time.
pub(crate) type Shared<'a> = &'a AsyncPgConnection;

/// Writes records with their roll-ups: three statements, sent together.
///
/// Rows of roll-ups are locked in the order of their keys, so that transactions which do this once never deadlock.
pub(crate) async fn write(tx: &mut Tx, now: OffsetDateTime, records: &[Record]) -> Result<(), DbError> {
    if records.is_empty() {
        return Ok(());
    }
    let by_user = rollup::by_user(records);
    let across = rollup::across_users(&by_user);
    let conn = &*tx.conn();
    try_join!(
        records::insert(conn, now, records),
        rollups::add(conn, &by_user),
        rollups::append_deltas(conn, &across),
    )?;
    Ok(())
}
