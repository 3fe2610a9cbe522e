//! What a worker does beside the requests.

use diesel_async::AsyncPgConnection;
use pg::DbError;

use crate::store;

/// Moves at most `rows_max` sums of single transactions into the sums across users; answers how many. When it is as many as
/// were asked for, there may be more.
///
/// Reads across users are exact whether this runs or not, only slower the more is left. Any number of processes may do it at
/// the same time.
///
/// # Errors
/// [`DbError`]; then nothing was moved.
pub async fn fold_deltas(conn: &mut AsyncPgConnection, rows_max: i64) -> Result<i64, DbError> {
    store::rollups::fold(conn, rows_max).await
}

/// Moves at most `rows_max` notes of single transactions, who came to which quarter of an hour, into the sets of users that
/// users are counted from; answers how many. When it is as many as were asked for, there may be more.
///
/// As [`fold_deltas`] in all else.
///
/// # Errors
/// [`DbError`]; then nothing was moved.
pub async fn fold_presence(conn: &mut AsyncPgConnection, rows_max: i64) -> Result<i64, DbError> {
    store::presence::fold(conn, rows_max).await
}
