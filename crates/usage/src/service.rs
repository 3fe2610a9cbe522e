//! What can be done with usage records.

use diesel_async::AsyncPgConnection;
use kernel::{Clock, Page, Slice, TimePlace, UserId};
use pg::{DbError, Tx};

use crate::{NewRecord, Record, RecordFilter, Stats, store};

/// Records events, all at the present instant, in one statement. Answers them in the order they were given.
///
/// The outcome is that of recording one by one: ids rise in the order of `new`, so that a later event of a batch stands
/// before an earlier one in a list. The answer carries the callers' JSON as they wrote it; what is read back later is
/// equal as JSON, but may order members and write numbers differently.
///
/// # Errors
/// [`DbError`]; a constraint is violated only when `new` breaks what [`NewRecord`] promises.
pub async fn record(tx: &mut Tx, clock: &dyn Clock, new: &[NewRecord]) -> Result<Vec<Record>, DbError> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let now = clock.now();
    let ids = store::records::insert(tx.conn(), now, new).await?;
    DbError::expect_rows("insert usage records", new.len(), ids.len())?;
    let stored = new.iter().zip(ids).map(|(one, id)| one.clone().stored(id, now));
    Ok(stored.collect())
}

/// The records of a user that the filter matches, newest first (HTTP contract 4.2).
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
