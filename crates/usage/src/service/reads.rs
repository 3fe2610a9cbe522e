//! Lists and sums.

use diesel_async::AsyncPgConnection;
use kernel::{Page, Slice, TimePlace, UserId};
use pg::DbError;

use crate::{Record, RecordFilter, Selection, Stats, core::window::Window, store};

pub use store::records::{find, find_all, find_all_at};

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

/// Sums of the records of a user that match the filter, as of one snapshot (HTTP contract 4.3).
///
/// Whole quarters of an hour come from roll-ups, so the cost depends on the window and not on how many records there are;
/// with a session it is that of reading the records.
///
/// # Errors
/// [`DbError`].
pub async fn stats(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    filter: &RecordFilter,
) -> Result<Stats, DbError> {
    sums(conn, Some(user), filter).await
}

/// [`stats`] across all users.
///
/// # Errors
/// [`DbError`].
pub async fn stats_all(conn: &mut AsyncPgConnection, filter: &RecordFilter) -> Result<Stats, DbError> {
    sums(conn, None, filter).await
}

async fn sums(
    conn: &mut AsyncPgConnection,
    user: Option<&UserId>,
    filter: &RecordFilter,
) -> Result<Stats, DbError> {
    match Window::from_filter(filter) {
        None => Ok(Stats::default()),
        Some(window) => store::stats::load(conn, user, window, &Selection::from(filter)).await,
    }
}
