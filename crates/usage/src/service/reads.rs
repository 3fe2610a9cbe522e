//! Lists and sums.

use diesel_async::AsyncPgConnection;
use kernel::{Page, Slice, TimePlace, UserId};
use pg::DbError;

use crate::{Record, RecordFilter, Stats, store};

/// The records of a user that the filter matches, newest first (HTTP contract 4.2); corrections stand among them.
///
/// Going on from the place a page ends at shows each record once, also while others are recorded. A page ends early
/// rather than hold more than [`kernel::page::PAGE_BYTES_MAX`]; who pages by offset goes on behind the records that came.
///
/// # Errors
/// [`DbError`].
pub async fn list(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    filter: &RecordFilter,
    page: &Page<TimePlace>,
) -> Result<Slice<Record, TimePlace>, DbError> {
    let records = store::records::newest(conn, user, filter, page).await?;
    Ok(page.cut_found(records, Record::place))
}

/// What the records of a user that the filter matches sum up to, as of one snapshot (HTTP contract 4.3).
///
/// # Errors
/// [`DbError`].
pub async fn stats(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    filter: &RecordFilter,
) -> Result<Stats, DbError> {
    store::stats::load(conn, user, filter).await
}
